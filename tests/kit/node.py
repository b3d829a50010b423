"""A whole node: the command an operator types, with its master, workers and keeper as processes of their own."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from edge.tls.selfsigned import Authority, Issued
from tests.kit.client import Client, Reply
from tests.kit.origin import Origin

T = TypeVar("T")

REPOSITORY = Path(__file__).parent.parent.parent
HOST = "shop.example"
ESTABLISHED, LISTEN = "01", "0A"
"""As ``/proc/net/tcp`` has it."""
LONG_S = 30.0
"""How long anything is waited for that takes a process to start; an idle machine needs a tenth."""


async def until(what: Callable[[], T], *, within_s: float = LONG_S, why: Callable[[], str] | str = "") -> T:
    """Look at *what* until it is true, and return it; fail with *why* when it does not become so in time."""
    with trio.move_on_after(within_s):
        while True:
            found = what()
            if found:
                return found
            await trio.sleep(0.01)
    raise AssertionError(f"not within {within_s:g}s: {why() if callable(why) else why or what}")


def free_ports(count: int) -> list[int]:
    """Return free loopback ports below those the kernel gives to outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(20_000, 32_000)
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def toml(tree: dict[str, Any]) -> str:
    """Write a configuration. Lists of tables, tables of tables, and plain values are all there is."""
    return "".join(_table((), tree))


def _table(path: tuple[str, ...], tree: dict[str, Any]) -> Iterator[str]:
    for name, value in tree.items():
        if not isinstance(value, dict) and not (isinstance(value, list) and value and isinstance(value[0], dict)):
            yield f"{name} = {_value(value)}\n"
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"\n[{'.'.join((*path, name))}]\n"
            yield from _table((*path, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for each in value:
                yield f"\n[[{'.'.join((*path, name))}]]\n"
                yield from _table((*path, name), each)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


@dataclass
class Node:
    """
    One node and what a test needs of it.

    Attributes:
        config: the configuration as a tree; change it and :meth:`write`.
        master: the process of the command; after ``USR2`` see :meth:`master_pid`.
        trust: a client's context that trusts the node's certificates.
    """

    folder: Path
    origin: Origin
    port: int
    admin_port: int
    config: dict[str, Any]
    authority: Authority = field(default_factory=Authority)
    master: subprocess.Popen[bytes] | None = None
    sockets: list[trio.socket.SocketType] = field(default_factory=list)

    # -- files ----------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the configuration."""
        (self.folder / "edge.toml").write_text(toml(self.config))

    def certify(self, *names: str) -> Issued:
        """Write a new certificate where the configuration expects it."""
        issued = self.authority.issue(names or (HOST,))
        issued.write(self.folder / "certs")
        return issued

    @property
    def trust(self) -> ssl.SSLContext:
        """A new client context."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        context.set_alpn_protocols(["http/1.1"])
        return context

    def log(self) -> str:
        """What the node has said so far: on standard error, and in its own error log if it has one."""
        paths = [self.folder / "edge.log", self.folder / "errors.log"]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def tail(self) -> str:
        """The last of it."""
        return "\n".join(self.log().splitlines()[-25:])

    async def said(self, pattern: str, *, since: int = 0, within_s: float = LONG_S) -> re.Match[str]:
        """Wait until the node says something, after the first *since* characters."""
        return await until(
            lambda: re.search(pattern, self.log()[since:]), within_s=within_s, why=lambda: f"{pattern!r}\n{self.tail()}"
        )

    # -- processes ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the command, and wait until its first generation is complete."""
        since = len(self.log())
        self.launch()
        await self.complete(since=since)
        await until((self.folder / "edge.pid").exists)

    def launch(self) -> None:
        """Start the command."""
        with (self.folder / "edge.log").open("ab") as log:
            self.master = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "-c", str(self.folder / "edge.toml")],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    async def complete(self, *, since: int = 0, program_ended: bool = False) -> int:
        """Wait until a generation is complete; return its number. *program_ended*: another has taken over."""

        def look() -> re.Match[str] | None:
            assert self.master is not None
            found = re.search(r"generation (\d+) is complete", self.log()[since:])
            assert found or program_ended or self.master.poll() is None, (
                f"it ended with {self.master.poll()}\n{self.tail()}"
            )
            return found

        return int((await until(look, why=self.tail)).group(1))

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal."""
        os.kill(self.master_pid(), number)

    def master_pid(self) -> int:
        """The process that is the service."""
        assert self.master is not None
        return int((self.folder / "edge.pid").read_text())

    def children(self, kind: str = "edge-worker") -> list[int]:
        """The master's children of a kind, by pid."""
        return [pid for pid in _children(self.master_pid()) if _comm(pid).startswith(kind)]

    workers = property(children)

    def descriptors(self) -> int:
        """How many the master has open."""
        return sum(1 for _ in _links(self.master_pid()))

    def open_files(self) -> set[str]:
        """What the node's processes have open."""
        return {link for pid in _descendants(self.master_pid()) for link in _links(pid)}

    async def ended(self, *, within_s: float = LONG_S) -> int:
        """Wait for the command's end; return its exit code."""
        assert self.master is not None
        master = self.master
        await until(lambda: master.poll() is not None, within_s=within_s, why=self.tail)
        return int(master.returncode)

    async def stop(self) -> None:
        """Ask the node to end, and see that it does so in order."""
        self.signal(signal.SIGTERM)
        code = await self.ended()
        assert code == 0, self.tail()

    def reap(self) -> None:
        """Leave nothing running, whatever has happened; every process of the node is in the command's group."""
        if self.master is not None:
            for sig in (signal.SIGCONT, signal.SIGKILL):
                try:
                    os.killpg(self.master.pid, sig)
                except ProcessLookupError:
                    break
            self.master.wait()
        for sock in self.sockets:
            sock.close()

    # -- clients --------------------------------------------------------------------------------------------

    async def client(
        self, *, tls: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None, name: str = HOST
    ) -> Caller:
        """Connect and shake hands."""
        caller = await self.connect(tls=tls, session=session, name=name)
        try:
            await caller.tls.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(caller.tls)
            raise
        return caller

    async def connect(
        self, *, tls: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None, name: str = HOST
    ) -> Caller:
        """Connect; the first use shakes hands."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.sockets.append(stream.socket)
        secured = trio.SSLStream(stream, tls or self.trust, server_hostname=name, https_compatible=True)
        if session is not None:
            secured.session = session
        return Caller(secured, stream.socket.getsockname()[1])

    async def clients_of(self, *pids: int, each: int = 1, tls: ssl.SSLContext | None = None) -> list[list[Caller]]:
        """Connect until each of *pids* has *each* connections; return them in that order."""
        found: dict[int, list[Caller]] = {pid: [] for pid in pids}
        with trio.fail_after(LONG_S):
            while missing := sum(max(each - len(callers), 0) for callers in found.values()):
                made = [await self.client(tls=tls) for _ in range(missing)]
                holders = self.holders()  # once for all of them: it reads through every connection of the machine
                for caller in made:
                    holder = holders.get(caller.port, 0)
                    if len(found.get(holder, [None] * each)) < each:
                        found[holder].append(caller)
                    else:
                        await caller.aclose()
        return [found[pid] for pid in pids]

    def holder(self, client_port: int) -> int:
        """Which of the children holds the connection from *client_port*; 0 if none does (yet)."""
        return self.holders().get(client_port, 0)

    def holders(self) -> dict[int, int]:
        """Who holds each connection, by the client's port."""
        inodes = {f"socket:[{inode}]": port for port, inode in _connections(self.port)}
        found = {}
        for pid in _descendants(self.master_pid()):
            for link in _links(pid):
                if link in inodes:
                    found[inodes[link]] = pid
        return found

    def unaccepted(self, port: int) -> int:
        """How many connections to *port* wait in a queue: the kernel has let them in, no process has."""
        return sum(inode == 0 for _, inode in _connections(port))

    def queues(self, port: int) -> int:
        """How many sockets listen on *port*."""
        return sum(1 for _ in _connections(port, LISTEN))

    async def admin(self, path: str) -> Reply:
        """Ask the admin address on a connection of its own."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.admin_port)
        async with stream:
            return await Client(stream).get(path, host="127.0.0.1", Connection="close")

    async def metrics(self) -> dict[str, float]:
        """Return every sample: ``name`` or ``name{label="value"}``."""
        text = (await self.admin("/metrics")).body.decode()
        return {
            sample.name + _labels(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class Caller(Client):
    """A client that knows its own port, by which the node's side of the connection is found."""

    def __init__(self, stream: trio.SSLStream, port: int) -> None:
        super().__init__(stream)
        self.port = port
        self.tls: Any = stream

    async def aclose(self) -> None:
        with trio.move_on_after(0.1):  # nobody waits for the other's good-bye
            await super().aclose()


def _connections(port: int, state: str = ESTABLISHED) -> Iterator[tuple[int, int]]:
    """The connections to a loopback port that are in *state*: the client's port, and the inode of our side."""
    here = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == here and fields[3] == state:
            yield int(fields[2].partition(":")[2], 16), int(fields[9])


def _labels(labels: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _descendants(pid: int) -> list[int]:
    return [pid, *(each for child in _children(pid) for each in _descendants(child))]


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; an orphan may stay a zombie where process 1 reaps nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _links(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return
    except PermissionError:
        pytest.skip("who holds a connection is seen by root alone: a worker does not let anyone look in")
    for name in names:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{name}")
        except (FileNotFoundError, ProcessLookupError):
            continue


@asynccontextmanager
async def node(
    folder: Path, *, start: bool = True, origin: Origin | None = None, **changes: Any
) -> AsyncIterator[Node]:
    """Run a node of two workers in front of a scripted origin; *changes* are merged into its configuration's tables."""
    origin = origin or Origin()
    port, admin_port = free_ports(2)
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.serve)
        config: dict[str, Any] = {
            "server": {"workers": 2, "pid_file": "edge.pid", "drain": "10s"},
            "listener": [{"address": f"127.0.0.1:{port}", "tls": True}],
            "certificate": [{"chain": "certs/fullchain.pem", "key": "certs/privkey.pem"}],
            "cache": {"path": "cache", "size": "64 MiB", "memory": "8 MiB", "max_object": "32 MiB"},
            "origin": {"shop": {"servers": [f"{'https' if origin.tls else 'http'}://127.0.0.1:{origin.port}"]}},
            "route": [{"origin": "shop"}],
            "log": {"access": "access.log"},
            "admin": {"address": f"127.0.0.1:{admin_port}"},
        }
        for table, settings in changes.items():
            if isinstance(settings, dict):
                config.setdefault(table, {}).update(settings)
            else:
                config[table] = settings
        made = Node(folder, origin, port, admin_port, config)
        made.certify()
        made.write()
        try:
            if start:
                await made.start()
            yield made
            assert "of our own" not in made.log(), made.tail()
            assert "Traceback" not in made.log(), made.tail()
        finally:
            made.reap()
            nursery.cancel_scope.cancel()


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Give the seconds since the block began."""
    began = time.monotonic()
    yield lambda: time.monotonic() - began
