"""
Origin servers as processes of their own, to be killed, stopped and slowed down.

Run as a module it is one server: it answers with its name, ``/healthz`` with ``ready`` and ``/seen`` with how many other requests it
has seen. ``USR1`` makes it slow, ``USR2`` quick again, ``HUP`` makes it answer 503, but to ``/healthz`` and ``/seen``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

REPOSITORY = Path(__file__).parent.parent.parent
SLOW_S = 0.2


class Mood:
    """How a server is, and what it has seen."""

    delay_s = 0.0
    is_out_of_order = False
    seen = 0


class Service(asyncio.Protocol):
    """One connection to a server."""

    transport: asyncio.Transport

    def __init__(self, name: bytes, mood: Mood) -> None:
        self.name = name
        self.mood = mood
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            status, body, delay_s = b"200 OK", self.name, self.mood.delay_s
            if target == b"/seen":
                body, delay_s = b"%d" % self.mood.seen, 0.0
            elif target == b"/healthz":
                body = b"ready"
            else:
                self.mood.seen += 1
                if self.mood.is_out_of_order:
                    status = b"503 Out Of Order"
            reply = b"HTTP/1.1 %b\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n%b" % (
                status,
                len(body),
                body,
            )
            asyncio.get_running_loop().call_later(delay_s, self.transport.write, reply)


async def serve(port: int, name: bytes) -> None:
    """Be a server until killed."""
    mood = Mood()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(mood, "delay_s", SLOW_S))
    loop.add_signal_handler(signal.SIGUSR2, lambda: setattr(mood, "delay_s", 0.0))
    loop.add_signal_handler(signal.SIGHUP, lambda: setattr(mood, "is_out_of_order", True))
    server = await loop.create_server(lambda: Service(name, mood), "127.0.0.1", port, reuse_address=True, backlog=512)
    await server.serve_forever()


@dataclass
class Machine:
    """One server, and the process that is it now."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.servers", str(self.port), self.name],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        for number in (signal.SIGCONT, signal.SIGKILL):
            self.process.send_signal(number)
        self.process.wait()

    def seen(self) -> int:
        """How many requests it has seen."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(b"GET /seen HTTP/1.1\r\nhost: x\r\n\r\n")
            reply = sock.recv(4096)
        return int(reply.rpartition(b"\r\n\r\n")[2])


@contextmanager
def machines(ports: list[int]) -> Iterator[list[Machine]]:
    """Run a server on each port, called a, b, c …"""
    made = [Machine("abcdefgh"[at], port) for at, port in enumerate(ports)]
    try:
        for machine in made:
            machine.start()
        yield made
    finally:
        for machine in made:
            if machine.process is not None:
                machine.kill()


@dataclass
class Flow:
    """
    Requests at a constant rate, and what became of them.

    Attributes:
        asked: requests begun.
        failures: what became of those that failed.
        answers: when each reply came, and from whom.
    """

    asked: int = 0
    failures: list[str] = field(default_factory=list)
    answers: list[tuple[float, str]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def told(self) -> str:
        """What became of those that failed."""
        return f"{len(self.failures)} of {self.asked} failed: {Counter(self.failures).most_common(8)}"

    def shares(self, since: float, until: float) -> dict[str, float]:
        """Who gave which part of the replies in a stretch of time."""
        counts = Counter(name for at, name in self.answers if since <= at < until)
        whole = sum(counts.values())
        return {name: count / whole for name, count in counts.items()}


@asynccontextmanager
async def flow(port: int, *, rate: float, clients: int, expects: int = 200) -> AsyncIterator[Flow]:
    """Ask for ``/`` on plain HTTP, *rate* times a second over *clients* kept connections, for as long as the block lasts."""
    made = Flow()
    over = False
    request = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"

    async def ask_on(number: int) -> None:
        due = trio.current_time() + number / rate
        stream: trio.SocketStream | None = None
        while not over:
            await trio.sleep_until(due)
            due = max(due + clients / rate, trio.current_time() - 1.0)
            made.asked += 1
            try:
                with trio.fail_after(15):
                    if stream is None:
                        stream = await trio.open_tcp_stream("127.0.0.1", port)
                    await stream.send_all(request)
                    status, body, why = await _reply(stream)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, EOFError) as error:
                made.failures.append(repr(error))
                if stream is not None:
                    await trio.aclose_forcefully(stream)
                stream = None
                continue
            made.statuses[status] += 1
            if status != expects:
                made.failures.append(f"{status} {why}")
            else:
                made.answers.append((trio.current_time(), body.decode("latin-1")))
        if stream is not None:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(ask_on, number)
        yield made
        over = True


async def _reply(stream: trio.SocketStream) -> tuple[int, bytes, str]:
    """Read one reply that has a length; return its status, its body, and what the edge says about its origin."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            raise EOFError("closed without a reply")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        more = await stream.receive_some(65536)
        if not more:
            raise EOFError("closed within a reply")
        body += more
    return int(head[9:12]), body, head.lower().partition(b"proxy-status:")[2].partition(b"\r\n")[0].decode("latin-1")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), os.fsencode(sys.argv[2])))
