"""
A node under mixed load for an hour, and whether it stays as it was: ``python bench/soak/run.py --minutes 60``.

Hits, misses, replies that may not be kept, origins that fail, slow readers and writers, silent connections and clients
that leave go on all the time (``world.py``). Meanwhile, in rounds, the node is reloaded, gets new certificates, is purged, and
has a worker killed, a worker stopped and its keeper killed. Every two seconds this process looks at the node's memory,
descriptors and the store's table of readers from outside, and in the end says whether they are flat:
the median of the last quarter against that of the second, per figure. A request may be cut only by what killed its worker.

Needs root, or the node's own user, for ``smaps_rollup``. Exits 1 if a figure grew, a reply was wrong, or one was lost without
a reason. Writes ``bench/out/soak-TIME.json`` and ``.svg``; ``--out`` another folder, under the plain name.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from plot import Strip, svg  # noqa: E402
from world import HOST  # noqa: E402

from edge.tls.selfsigned import Authority  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 2.0
HANG_S = 10
DRAIN_S = 20
MIB = 1 << 20

CONFIG = """\
[server]
workers = 2
pid_file = "edge.pid"
hang = "{hang}s"
drain = "{drain}s"
[[listener]]
address = "127.0.0.1:{port}"
tls = true
[[certificate]]
chain = "certs/fullchain.pem"
key = "certs/privkey.pem"
[cache]
path = "cache"
size = "96 MiB"
memory = "16 MiB"
[origin.shop]
servers = ["http://127.0.0.1:{origin}"]
[[route]]
path = "/"
origin = "shop"
[timeouts]
idle = "{idle}s"
[log]
access = "access.log"
[admin]
address = "127.0.0.1:{admin}"
"""


class Soak:
    """One run: the node, what is done to it, and what is seen."""

    def __init__(self, folder: Path, minutes: float, scale: float) -> None:
        self.folder = folder
        self.minutes = minutes
        self.scale = scale
        self.began = 0.0
        self.generation = 0
        self.samples: list[dict[str, float]] = []
        self.events: list[tuple[float, str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port, self.admin = free_port(), free_port()
        self.authority = Authority()
        self.stopped = 0

    # -- the node -------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write a configuration that differs from the last one, so that a reload makes new workers."""
        self.generation += 1
        (self.folder / "edge.toml").write_text(
            CONFIG.format(
                hang=HANG_S,
                drain=DRAIN_S,
                port=self.port,
                admin=self.admin,
                origin=(self.folder / "origin-port").read_text(),
                idle=30 + self.generation % 2,
            )
        )

    def certify(self) -> None:
        self.authority.issue((HOST,)).write(self.folder / "certs")

    def start(self) -> None:
        """Start the world and the node."""
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        self.certify()
        world = [sys.executable, str(Path(__file__).parent / "world.py"), "--port", str(self.port)]
        world += ["--ca", str(self.folder / "ca.pem"), "--scale", str(self.scale), "--out", str(self.folder / "world")]
        self.processes.append(subprocess.Popen(world))
        wait(lambda: (self.folder / "origin-port").exists() and (self.folder / "origin-port").read_text())
        self.write()
        with (self.folder / "edge.log").open("ab") as log:
            node = [sys.executable, "-m", "edge", "run", "-c", str(self.folder / "edge.toml")]
            self.processes.append(
                subprocess.Popen(node, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0)
            )
        wait(lambda: "is complete" in self.log())
        (self.folder / "go").touch()
        self.began = time.monotonic()

    def log(self) -> str:
        return (self.folder / "edge.log").read_text(errors="replace")

    def master(self) -> int:
        return self.processes[1].pid

    def members(self, kind: str) -> list[int]:
        return [pid for pid in children(self.master()) if comm(pid).startswith(kind)]

    def end(self) -> int | None:
        """End the node in order, and everything else; return the node's exit code."""
        code = None
        if len(self.processes) > 1:
            node = self.processes[1]
            node.terminate()
            with suppress(subprocess.TimeoutExpired):
                code = node.wait(DRAIN_S + 20)
            for sig in (signal.SIGCONT, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(node.pid, sig)
            node.wait()
        if self.processes:
            self.processes[0].kill()
            self.processes[0].wait()
        return code

    # -- what is done to it ---------------------------------------------------------------------------------

    def renew(self) -> None:
        self.certify()
        os.kill(self.master(), signal.SIGHUP)

    def reload(self) -> None:
        self.write()
        os.kill(self.master(), signal.SIGHUP)

    def kill_worker(self) -> None:
        os.kill(self.members("edge-worker")[0], signal.SIGKILL)

    def stop_worker(self) -> None:
        os.kill(self.members("edge-worker")[-1], signal.SIGSTOP)

    def kill_keeper(self) -> None:
        os.kill(self.members("edge-keeper")[0], signal.SIGKILL)

    def purge(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "edge", "purge", "-c", str(self.folder / "edge.toml"), "--all"],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    def plan(self) -> list[tuple[float, str, Callable[[], None]]]:
        """Say what is done when, in seconds: rounds of the same, the first after a while of peace."""
        length = self.minutes * 60
        round_s = min(max(length / 8, 60.0), 450.0)
        deeds = (
            (0.10, "new certificates", self.renew),
            (0.25, "reload", self.reload),
            (0.45, "worker killed", self.kill_worker),
            (0.60, "worker stopped", self.stop_worker),
            (0.75, "keeper killed", self.kill_keeper),
            (0.85, "purge of all", self.purge),
        )
        found = []
        start = min(length * 0.1, 120.0)
        while start + round_s <= length:
            found += [(start + round_s * share, name, deed) for share, name, deed in deeds]
            start += round_s
        return found

    # -- what is seen ---------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take one sample."""
        seen: Counter[str] = Counter()
        for pid in [self.master(), *children(self.master())]:
            kind = "master" if pid == self.master() else comm(pid).split("/")[0].removeprefix("edge-")
            kind = kind if kind in {"master", "keeper"} else "workers"
            with suppress(FileNotFoundError, ProcessLookupError):
                maps = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
                seen[f"{kind} anonymous MiB"] += int(maps["Pss_Anon"].split()[0]) / 1024
                seen["all PSS MiB"] += int(maps["Pss"].split()[0]) / 1024
                seen[f"{kind} descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
                seen[f"{kind} processes"] += 1
        with suppress(OSError, lmdb.Error):
            seen["LMDB readers"] = self.readers()
        with suppress(OSError):
            seen |= self.metrics()
        with suppress(FileNotFoundError):
            world = json.loads((self.folder / "world").read_text())
            seen |= {f"world {name}": value for name, value in world["counts"].items()}
        seen["minute"] = (time.monotonic() - self.began) / 60
        self.samples.append(dict(seen))

    def readers(self) -> int:
        """Count the slots of the table of readers that are, or were at some time, in use: those of the dead are freed and taken again."""
        env = lmdb.open(str(self.folder / "cache"), readonly=True, create=False, max_dbs=32)
        try:
            return env.info()["num_readers"]
        finally:
            env.close()

    def metrics(self) -> Counter[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        wanted = {
            "edge_sessions_open": "sessions", "edge_exchanges_open": "exchanges", "edge_cache_used_bytes": "store bytes",
            "edge_bugs_total": "bugs", "edge_origin_idle_connections": "idle origin connections",
        }  # fmt: skip
        found: Counter[str] = Counter()
        for line in lines:
            name = line.partition("{")[0].partition(" ")[0]
            if name in wanted:
                found[wanted[name]] += float(line.rsplit(" ", 1)[1])
        return found

    def run(self) -> None:
        """Look, and do what is planned, until the time is over."""
        plan = self.plan()
        end = self.began + self.minutes * 60
        while (now := time.monotonic()) < end:
            while plan and now - self.began >= plan[0][0]:
                _, name, deed = plan.pop(0)
                self.events.append(((time.monotonic() - self.began) / 60, name))
                try:
                    deed()
                except (IndexError, ProcessLookupError) as error:  # it is being replaced just now
                    print(f"{name}: {error!r}", flush=True)
            self.look()
            if any(process.poll() is not None for process in self.processes):
                raise RuntimeError("the node or the world has ended:\n" + self.log()[-3000:])
            time.sleep(max(0.0, now + LOOK_S - time.monotonic()))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait(what: Callable[[], object], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def comm(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def total(sample: dict[str, float], what: str) -> float:
    return sum(value for name, value in sample.items() if name.endswith(what))


FIGURES: dict[str, tuple[Callable[[dict[str, float]], float], float]] = {
    "master, anonymous memory MiB": (lambda one: one.get("master anonymous MiB", 0), 2.0),
    "workers and keeper, anonymous memory MiB": (
        lambda one: one.get("workers anonymous MiB", 0) + one.get("keeper anonymous MiB", 0), 6.0,
    ),
    "descriptors of the master": (lambda one: one.get("master descriptors", 0), 0.0),
    "descriptors of all": (lambda one: total(one, " descriptors"), 8.0),
    "readers in LMDB's table": (lambda one: one.get("LMDB readers", 0), 1.0),
    "idle connections to the origin": (lambda one: one.get("idle origin connections", 0), 8.0),
}  # fmt: skip
"""What must be flat: how it is read from a sample, and how much more than a tenth the last quarter's median may be above."""

CARRIED_S = DRAIN_S + HANG_S + 5
"""For how long after a kill, a stop or a reload something may be cut for it: the hang's deadline, and the drain."""

SIPPED_S = 40.0
"""How much later who reads slowly may learn of it: 3 MB may lie in the kernel for him, and he takes 160 KB/s on an idle machine."""

CUT = {"cut": CARRIED_S, "refused": CARRIED_S, "cut slowly": CARRIED_S + SIPPED_S}
"""What a client may say of a request that was not answered, and how long after a reason."""


def judge(soak: Soak, notes: list[str]) -> tuple[dict[str, object], list[str]]:
    """Say what was seen, and what is wrong with it."""
    quarter = len(soak.samples) // 4
    second, last = soak.samples[quarter : 2 * quarter], soak.samples[-quarter:]
    wrong: list[str] = []
    flat = {}
    for name, (read, slack) in FIGURES.items():
        before, after = (statistics.median(map(read, some)) for some in (second, last))
        flat[name] = {"second quarter": round(before, 2), "last quarter": round(after, 2)}
        if after > before * 1.1 + slack:
            wrong.append(f"{name} grew from {before:.1f} to {after:.1f}")
    final = soak.samples[-1]
    counts = {name.removeprefix("world "): value for name, value in final.items() if name.startswith("world ")}
    reasons = [minute * 60 for minute, what in soak.events if what in {"worker killed", "worker stopped", "reload"}]
    excused, lost = 0, 0
    for before, after in zip(soak.samples, soak.samples[1:], strict=False):
        at = after["minute"] * 60
        for what, carried_s in CUT.items():
            cut = after.get(f"world {what}", 0) - before.get(f"world {what}", 0)
            if any(0 <= at - reason <= carried_s for reason in reasons):
                excused += cut
            else:
                lost += cut
    if lost:
        wrong.append(f"{lost} requests were cut or refused without a reason")
    if counts.get("wrong"):
        wrong.append(f"{counts['wrong']} replies were wrong")
    if final.get("bugs"):
        wrong.append(f"{final['bugs']} errors of our own")
    if "Traceback" in soak.log():
        wrong.append("the node told a traceback")
    verdict: dict[str, object] = {
        "minutes": round(soak.minutes, 1),
        "python": platform.python_version(),
        "requests": counts,
        "cut by a kill, a stop or a drain": excused,
        "lost": lost,
        "done to the node": dict(Counter(what for _, what in soak.events)),
        "flat": flat,
        "wrong": wrong,
        "first notes": notes[:20],
    }
    return verdict, wrong


def draw(soak: Soak) -> str:
    """Return the plot."""
    samples = soak.samples[1:]
    rates = [
        (after.get("world right", 0) - before.get("world right", 0))
        / max(1e-9, (after["minute"] - before["minute"]) * 60)
        for before, after in zip(soak.samples, samples, strict=False)
    ]

    def line(read: Callable[[dict[str, float]], float]) -> list[float]:
        return [read(sample) for sample in samples]

    strips = [
        Strip(
            "anonymous memory, MiB",
            {kind: line(lambda one, kind=kind: one.get(f"{kind} anonymous MiB", 0)) for kind in ("workers", "master", "keeper")},
        ),
        Strip("open descriptors", {kind: line(lambda one, kind=kind: one.get(f"{kind} descriptors", 0)) for kind in ("workers", "master")}),
        Strip("readers in LMDB's table", {"": line(lambda one: one.get("LMDB readers", 0))}),
        Strip("connections", {"clients": line(lambda one: one.get("sessions", 0)), "idle, to origin": line(lambda one: one.get("idle origin connections", 0))}),
        Strip("store in use, MiB", {"": line(lambda one: one.get("store bytes", 0) / MIB)}),
        Strip("right replies a second", {"": rates}),
    ]  # fmt: skip
    title = f"{soak.minutes:.0f} minutes of mixed load"
    return svg(title, [sample["minute"] for sample in samples], strips, soak.events)


def main() -> int:
    """Run, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--scale", type=float, default=1.0, help="of the rate at which clients ask")
    parser.add_argument("--out", type=Path, help="write soak.json and soak.svg here")
    given = parser.parse_args()
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="edge-soak-", dir=base) as name:
        folder = Path(name)
        folder.chmod(0o755)
        soak = Soak(folder, given.minutes, given.scale)
        notes: list[str] = []
        try:
            soak.start()
            soak.run()
            notes = json.loads((folder / "world").read_text())["notes"]
        finally:
            code = soak.end()
        verdict, wrong = judge(soak, notes)
    if code != 0:
        wrong.append(f"the node ended with {code}")
    stem = Path(__file__).parents[1] / "out" / dt.datetime.now(dt.UTC).strftime("soak-%Y%m%dT%H%M%SZ")
    if given.out is not None:
        stem = given.out / "soak"
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".svg").write_text(draw(soak))
    stem.with_suffix(".json").write_text(json.dumps(verdict, indent=1) + "\n")
    print(json.dumps(verdict, indent=1))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
