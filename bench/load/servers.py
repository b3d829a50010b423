"""
The servers: how each is started on its core, found ready, accounted for, and stopped.

Configurations are the files in ``peers/`` with ``@WORDS@`` filled in. A server is its whole process tree: its processor
time is read from ``/proc`` for all of it, so a helper process is not free of charge.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MODULES = Path("/usr/lib/nginx/modules")
READY_S = 20.0


class NotHere(Exception):
    """This server cannot be run on this machine; the message says what is missing."""


class Server:
    """One running server; a context manager."""

    name = ""

    def __init__(self, folder: Path, core: int | None, words: dict[str, str]) -> None:
        self.folder = folder
        self.core = core
        self.port = free_port()
        self.words = words | {"PORT": str(self.port), "FOLDER": str(folder)}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        raise NotImplementedError

    def __enter__(self) -> Self:
        pin = ["taskset", "-c", str(self.core)] if self.core is not None else []
        with (self.folder / f"{self.name}.out").open("wb") as out:
            self.process = subprocess.Popen(
                [*pin, *self.command()], cwd=REPOSITORY, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        until = time.monotonic() + READY_S
        while not accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > until:
                self.__exit__()
                raise RuntimeError(f"{self.name} did not start:\n{(self.folder / f'{self.name}.out').read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def cpu_s(self) -> float:
        """Processor seconds the process tree has used, children that ended included."""
        assert self.process is not None
        return sum(ticks(pid) for pid in tree(self.process.pid)) * TICK_S

    def rss_mib(self) -> float:
        """Memory of the process tree, shared pages divided among their users."""
        assert self.process is not None
        total = 0
        for pid in tree(self.process.pid):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1])  # type: ignore[index]
        return total / 1024

    def configured(self, template: str, name: str) -> Path:
        """Fill *template* from ``peers/`` in and return where it was written."""
        text = (HERE / "peers" / template).read_text()
        path = self.folder / name
        path.write_text(re.sub(r"@(\w+)@", lambda found: self.words[found[1]], text))
        return path


class Edge(Server):
    """What all this is about."""

    name = "edge"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "edge", "run", "-c", str(self.configured("edge.toml", "edge.toml"))]

    @classmethod
    def version(cls) -> str:
        commit = output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
        return f"edge {commit}, Python {sys.version.split()[0]}"


class Nginx(Server):
    """Debian's nginx with its Brotli module."""

    name = "nginx"

    def command(self) -> list[str]:
        brotli = [MODULES / f"ngx_http_brotli_{kind}_module.so" for kind in ("filter", "static")]
        if not all(module.exists() for module in brotli):
            raise NotHere("nginx's Brotli module (Debian: libnginx-mod-http-brotli-filter, -static)")
        self.words["MODULES"] = "\n".join(f"load_module {module};" for module in brotli)
        self.words["BROTLI"] = "brotli on; brotli_comp_level 5; brotli_types text/plain;"
        return [nginx(), "-c", str(self.configured("nginx.conf", "nginx.conf")), "-p", str(self.folder)]

    @classmethod
    def version(cls) -> str:
        return output(nginx(), "-v")


class Origin(Server):
    """nginx again, serving files: the same origin for all."""

    name = "origin"

    def command(self) -> list[str]:
        self.words["ORIGIN_PORT"] = str(self.port)
        return [nginx(), "-c", str(self.configured("origin.nginx.conf", "origin.conf")), "-p", str(self.folder)]

    @classmethod
    def version(cls) -> str:
        return output(nginx(), "-v")


SERVERS: dict[str, type[Server]] = {server.name: server for server in (Edge, Nginx)}


def nginx() -> str:
    """Where nginx is."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotHere("nginx (Debian: nginx-light)")
    return found


def output(*command: str) -> str:
    """What *command* says, in one line; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return " ".join((done.stdout + done.stderr).split())


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return found


def machine_s() -> float:
    """Processor seconds all processes of this machine have used (proc(5): user, nice, system, steal; not interrupts)."""
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    return (int(user) + int(nice) + int(system) + int(steal)) * TICK_S


def ticks(pid: int) -> int:
    """Clock ticks used by a process and by its children that ended (proc(5): utime, stime, cutime, cstime)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(value) for value in text.rpartition(")")[2].split()[11:15])
