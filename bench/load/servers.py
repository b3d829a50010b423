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
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MODULES = Path("/usr/lib/nginx/modules")
READY_S = 20.0


class NotHere(Exception):
    """This server cannot be run on this machine; the message says what is missing."""


class Server:
    """
    One running server; a context manager.

    Args:
        folder: its own; made here if it is not there.
        cores: it may run on; None: any.
        words: what its configuration may name.

    Attributes:
        primed: names of rows whose objects it has.
        cannot: what rows may need that it has not, and why (see ``rows.Row.needs``).
    """

    name = ""
    cannot: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path, cores: Sequence[int] | None, words: Mapping[str, str]) -> None:
        self.folder = folder
        self.cores = cores
        self.port = free_port()
        self.words = {**words, "PORT": str(self.port), "FOLDER": str(folder)}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.primed: set[str] = set()

    def commands(self) -> list[list[str]]:
        """Write the configuration; return what to run, in this order."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        raise NotImplementedError

    def __enter__(self) -> Self:
        pin = ["taskset", "-c", ",".join(map(str, self.cores))] if self.cores is not None else []
        try:
            with (self.folder / f"{self.name}.out").open("wb") as out:
                for command in self.commands():
                    self.processes.append(
                        subprocess.Popen(
                            [*pin, *command],
                            cwd=REPOSITORY,
                            env=os.environ | self.environment,
                            stdout=out,
                            stderr=out,
                            stdin=subprocess.DEVNULL,
                        )
                    )
                    self.between()
            until = time.monotonic() + READY_S
            while not self.answers():
                if any(process.poll() is not None for process in self.processes) or time.monotonic() > until:
                    said = (self.folder / f"{self.name}.out").read_text(errors="replace")
                    raise RuntimeError(f"{self.name} did not start:\n{said}")
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in reversed(tree(process.pid)):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()

    def between(self) -> None:
        """Wait, after one of several programs was started, for what the next one needs."""

    def answers(self) -> bool:
        """Whether it replies, whatever it says: one that only accepts may have nobody behind it yet."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), 2) as plain,
                context.wrap_socket(plain) as sock,
            ):
                sock.sendall(b"GET /nothing HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n")
                return sock.recv(5) == b"HTTP/"
        except OSError:
            return False

    def pids(self) -> list[int]:
        """Every process of it."""
        return [pid for process in self.processes for pid in tree(process.pid)]

    def cpu_s(self) -> float:
        """Processor seconds the process tree has used, children that ended included."""
        return sum(ticks(pid) for pid in self.pids()) * TICK_S

    def rss_mib(self) -> float:
        """Memory of the process tree, shared pages divided among their users; pages of mapped files are not counted."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue
            total += sum(int(kib) for kib in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", text, re.MULTILINE))
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

    def commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "edge", "run", "-c", str(self.configured("edge.toml", "edge.toml"))]]

    @classmethod
    def version(cls) -> str:
        commit = output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
        return f"edge {commit}, Python {sys.version.split()[0]}"


class Nginx(Server):
    """Debian's nginx with its Brotli module."""

    name = "nginx"

    def commands(self) -> list[list[str]]:
        brotli = [MODULES / f"ngx_http_brotli_{kind}_module.so" for kind in ("filter", "static")]
        if not all(module.exists() for module in brotli):
            raise NotHere("nginx's Brotli module (Debian: libnginx-mod-http-brotli-filter, -static)")
        self.words["MODULES"] = "\n".join(f"load_module {module};" for module in brotli)
        self.words["BROTLI"] = "brotli on; brotli_comp_level 5; brotli_types text/plain;"
        return [[nginx(), "-c", str(self.configured("nginx.conf", "nginx.conf")), "-p", str(self.folder)]]

    @classmethod
    def version(cls) -> str:
        return output(nginx(), "-v")


class Origin(Server):
    """nginx again, serving files: the same origin for all."""

    name = "origin"

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def commands(self) -> list[list[str]]:
        self.words["ORIGIN_PORT"] = str(self.port)
        return [[nginx(), "-c", str(self.configured("origin.nginx.conf", "origin.conf")), "-p", str(self.folder)]]

    @classmethod
    def version(cls) -> str:
        return output(nginx(), "-v")


def nginx() -> str:
    """Where nginx is."""
    return program("nginx", "nginx-light")


def program(name: str, package: str = "") -> str:
    """Where *name* is, also where only root looks."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotHere(f"{name} (Debian: {package or name})")
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
