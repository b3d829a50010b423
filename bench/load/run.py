"""
The whole house beside its peers: ``python bench/load/run.py``.

Sets up an origin, the edge and its peers on this machine, one core for the servers and one for the load, puts the same
rows to each in turn (A B A B), and writes tables: requests per second, their ratio, processor time per request, latency,
memory. What it measures and how to read it is in ``bench/README.md``. What is measured is kept after every row: a run that
was stopped goes on with ``--continue``. Nothing but ``bench/out/`` is left behind, or what ``--keep`` asks for.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import special
from generator import Refused, Sample, drive
from others import SERVERS
from plot import plot
from rows import FILES, ROWS, By, Load, Row
from servers import REPOSITORY, NotHere, Origin, Server, output
from table import Results, middle, others_share, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

sys.path.insert(0, str(REPOSITORY))

from edge.cli.shop import catalog

OUT = REPOSITORY / "bench" / "out"
KEPT = REPOSITORY / "bench" / "load" / "results"
COMPARED = 2
"""The first servers of the list are measured ``--rounds`` times; the others, who show where both stand, ``--peer-rounds``."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "--peers", default=",".join(SERVERS), help="comma-separated; the first two are compared, the others beside them"
    )
    parser.add_argument("--rows", default="", help="only rows whose name contains one of these, comma-separated")
    parser.add_argument("--seconds", type=float, default=3, help="each run")
    parser.add_argument("--rounds", type=int, default=2, help="how often A B is repeated for the first two")
    parser.add_argument("--peer-rounds", type=int, default=1, help="the same for the others")
    parser.add_argument("--quick", action="store_true", help="one round of a second: shows that it works, not how fast")
    parser.add_argument("--access-log", action="store_true", help="edge and nginx write their access logs to files")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument(
        "--continue", dest="previous", type=Path, help="a JSON of an earlier run: measure what it lacks"
    )
    parser.add_argument("--show", type=Path, help="measure nothing: print the tables of this JSON and plot it")
    parser.add_argument("--keep", action="store_true", help="also write bench/load/results.json, .md and .svg")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.rounds = 1, 1
    return given


def main() -> int:
    """Read the command line, measure, write; 1 if a row was refused or a server is missing."""
    given = arguments()
    if given.show:
        before = json.loads(given.show.read_text())
        write(read(before), before["about"], Path(given.show).with_suffix(""), keep=given.keep)
        return 0
    wanted = [each.strip().lower() for each in given.rows.split(",")]
    rows = [row for row in ROWS if any(each in row.name.lower() for each in wanted)]
    if not rows:
        print(f"no row is called {given.rows}; there are: {', '.join(row.name for row in ROWS)}", file=sys.stderr)
        return 2
    results: Results = read(json.loads(given.previous.read_text())) if given.previous else {}
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = given.previous.with_suffix("") if given.previous else OUT / f"load-{stamp}"
    missing = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        site = Site(Path(name), given)
        site.origin = stack.enter_context(site.make(Origin))
        servers = []
        for each in given.peers.split(","):
            try:
                servers.append(stack.enter_context(site.make(SERVERS[each])))
            except KeyError:
                print(f"no peer is called {each}; there are: {', '.join(SERVERS)}", file=sys.stderr)
                return 2
            except (NotHere, RuntimeError) as why:
                print(f"{each} is left out: {why}", file=sys.stderr)
                missing += 1
        about = describe(servers, given)
        for row in rows:
            measure(row, servers, site, results)
            about["others"] = f"{others_share(results):.0%} of a core went to other work while this was measured"
            about["took"] = f"{time.monotonic() - started:.0f} s"
            save(results, about, path)
    write(results, about, path, keep=given.keep)
    refused = sum(isinstance(results[row.name][server.name], str) for row in rows for server in servers
                  if not lacks(row, server))  # fmt: skip
    return 1 if refused or missing else 0


class Site:
    """Where everything runs: a folder, its files and certificate, the cores, the origin."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder = folder
        self.given = given
        self.origin: Server
        has_cores = (os.cpu_count() or 1) > 1
        if not has_cores:
            print("One core only: nothing is pinned, and the load takes from the servers.", file=sys.stderr)
        self.server_cores: Sequence[int] | None = (given.server_core,) if has_cores else None
        self.load_cores: Sequence[int] | None = (given.load_core,) if has_cores else None
        self.all_cores = sorted({given.server_core, given.load_core}) if has_cores else None
        self._numbers = itertools.count()
        folder.chmod(0o755)  # servers that let go of root must still get in
        make_files(folder)
        make_certificate(folder)

    def make(self, kind: type[Server], *, workers: int = 1) -> Server:
        """Make a server in a folder of its own, on one core or, with more workers, on all."""
        folder = self.folder / f"{kind.name}-{next(self._numbers)}"
        folder.mkdir()
        for file in ("files", "fullchain.pem", "privkey.pem", "both.pem"):
            (folder / file).symlink_to(self.folder / file)
        words = {
            "USER": "user root;" if os.geteuid() == 0 else "",
            "WORKERS": str(workers),
            "MODULES": "",
            "BROTLI": "",
            "ACCESS_LOG": "",
            "ORIGIN_PORT": "" if kind is Origin else str(self.origin.port),
        }
        if kind.name == "edge":
            words["ACCESS_LOG"] = f'access = "{folder}/access.log"' if self.given.access_log else 'access = "off"'
        elif kind.name == "nginx":
            log = f"access_log {folder}/access.log combined buffer=64k flush=1s;"
            words["ACCESS_LOG"] = log if self.given.access_log else "access_log off;"
        return kind(folder, self.server_cores if workers == 1 else self.all_cores, words)


def lacks(row: Row, server: Server) -> str:
    """What *row* needs that *server* has not, in its words; empty if nothing."""
    return "; ".join(server.cannot[need] for need in sorted(row.needs) if need in server.cannot)


def measure(row: Row, servers: list[Server], site: Site, results: Results) -> None:
    """Put *row* to every server in turn, round after round, so that a slow minute of the machine hits all."""
    given = site.given
    outcomes = results.setdefault(row.name, {})
    for round_ in range(max(given.rounds, given.peer_rounds)):
        for at, server in enumerate(servers):
            rounds = given.rounds if at < COMPARED else given.peer_rounds
            samples = outcomes.setdefault(server.name, [])
            if row.load is Load.IDLE:
                rounds = 1
            if isinstance(samples, str) or len(samples) > round_ or round_ >= rounds:
                continue
            if missing := lacks(row, server):
                outcomes[server.name] = missing
                continue
            try:
                sample = one(row, server, servers[0], site, results)
            except (Refused, NotHere, RuntimeError, OSError, subprocess.SubprocessError) as why:
                outcomes[server.name] = f"refused: {why}"
                print(f"{row.name:40}{server.name:8}refused: {why}", file=sys.stderr)
                continue
            samples.append(sample)
            more = "".join(
                f"  {value:.1f} {unit}"
                for value, unit in ((sample.kib_each, "KiB each"), (sample.to_one, "x one worker's CPU"))
                if value is not None
            )
            print(
                f"{row.name:40}{server.name:8}{round_ + 1}/{rounds} {sample.per_s:>8.0f}/s {sample.mib_per_s:>6.0f} MiB/s"
                f"{sample.cpu_us:>8.1f} µs CPU  p50 {sample.p50_ms:.2f}  p99 {sample.p99_ms:.2f}"
                f"  p99.9 {sample.p999_ms or 0:.2f} ms{more}",
                file=sys.stderr,
            )


def one(row: Row, server: Server, first: Server, site: Site, results: Results) -> Sample:
    """Measure *row* on *server* once, in the row's own way."""
    seconds, origin, cores = site.given.seconds, site.origin, site.load_cores
    match row.load:
        case Load.STEADY:
            rate = peak(first, site, results) / 2
            return special.steady(row, server, origin, seconds=seconds, cores=cores, per_s=rate)
        case Load.STORM:
            rate = peak(first, site, results) / 4
            return special.storm(row, server, origin, seconds=seconds, cores=cores, per_s=rate)
        case Load.IDLE:
            return special.idle(row, lambda: site.make(type(server)), origin)
        case Load.WORKERS:
            return special.workers(
                row,
                lambda count: site.make(type(server), workers=count),
                origin,
                seconds=seconds,
                one_core=site.server_cores,
                all_cores=site.all_cores,
            )
        case Load.WRK | Load.AB:
            return drive(row, server, origin, seconds=seconds, cores=cores)


def peak(first: Server, site: Site, results: Results) -> float:
    """How many small hits a second the first server can, from this run's own row or measured now."""
    row = ROWS[0]
    known = results.setdefault(row.name, {}).setdefault(first.name, [])
    rate = middle(known, By.RATE)
    if rate is None:
        known_now = drive(row, first, site.origin, seconds=site.given.seconds, cores=site.load_cores)
        assert isinstance(known, list)
        known.append(known_now)
        rate = known_now.per_s
    return rate


def read(before: dict) -> Results:
    """Take an earlier run's samples; what was refused is tried again."""
    return {
        row: {
            server: [Sample(**sample) for sample in said] for server, said in each.items() if not isinstance(said, str)
        }
        for row, each in before["rows"].items()
    }


def save(results: Results, about: dict[str, object], path: Path) -> None:
    """Keep everything the tables are made from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        row: {name: out if isinstance(out, str) else [asdict(sample) for sample in out] for name, out in each.items()}
        for row, each in results.items()
    }
    path.with_suffix(".json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def write(results: Results, about: dict[str, object], path: Path, *, keep: bool) -> None:
    """Print the tables; write them, the plot and the samples to ``bench/out/`` and, with *keep*, beside this file."""
    text = "\n".join(f"{name}: {value}" for name, value in about.items()) + "\n\n" + tables(results) + "\n"
    for each in (path, KEPT) if keep else (path,):
        save(results, about, each)
        each.with_suffix(".md").write_text(text)
        each.with_suffix(".svg").write_text(plot(results))
    print(text)


def describe(servers: list[Server], given: argparse.Namespace) -> dict[str, object]:
    """What was measured on what: figures without this cannot be compared."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "when": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": f"{model[0] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "servers": "; ".join(type(server).version() for server in servers),
        "tls": output("openssl", "version"),
        "load": "; ".join(
            output(tool, flag).partition(" Copyright")[0] for tool, flag in (("wrk", "-v"), ("ab", "-V"))
        ),
        "runs": f"{given.rounds} (others {given.peer_rounds}) × {given.seconds:g} s, "
        f"access log {'on' if given.access_log else 'off'}",
    }


def make_files(folder: Path) -> None:
    """Write what the origin serves: noise, and the demo shop's catalog for text."""
    files = folder / "files"
    files.mkdir()
    chooser = random.Random(1)
    for name, length in FILES.items():
        whole = catalog.shelf() + catalog.manual() if name.endswith(".txt") else chooser.randbytes(length)
        (files / name).write_bytes(whole[:length])


def make_certificate(folder: Path) -> None:
    """Make a self-signed P-256 certificate, what most sites have."""
    if shutil.which("openssl") is None:
        raise SystemExit("openssl is needed to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
         "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example",
         "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    both = (folder / "fullchain.pem").read_text() + (folder / "privkey.pem").read_text()
    (folder / "both.pem").write_text(both)


if __name__ == "__main__":
    sys.exit(main())
