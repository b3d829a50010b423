"""A scripted origin: real HTTP/1.1 on a loopback socket, answers given by the test as bytes."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11
import trio

from edge.message.proxy_protocol import Ends, read_header


@dataclass
class Asked:
    """A request as the origin saw it; *shown* is the subject of the certificate that came with its connection."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    connection: int = 0
    shown: str = ""
    ends: Ends | None = None

    def get(self, name: bytes) -> bytes | None:
        found = [value for other, value in self.headers if other == name]
        return b", ".join(found) if found else None


class Wire:
    """What a script writes its reply to."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream, rest: bytes = b"") -> None:
        self.stream = stream
        self._rest = rest

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self, most: int = 65536) -> bytes:
        """What comes behind the request's head, where its body was not read; b"" at the end."""
        if self._rest:
            data, self._rest = self._rest[:most], self._rest[most:]
            return data
        return await self.stream.receive_some(most)

    async def exactly(self, count: int) -> bytes:
        """So many bytes of it."""
        got = b""
        while len(got) < count:
            more = await self.receive(count - len(got))
            assert more, f"ended after {got!r}"
            got += more
        return got


Script = Callable[[Asked, Wire], Awaitable[None]]


def reply(status: int = 200, body: bytes = b"", **fields: str) -> bytes:
    """Render a reply with a Content-Length; field names are given with ``_`` for ``-``."""
    lines = [f"HTTP/1.1 {status} X".encode()]
    lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in fields.items()]
    if status not in {204, 304} and "transfer_encoding" not in fields:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def _introduction(stream: trio.SocketStream) -> Ends:
    """Read a PROXY header, and not a byte more."""
    data = b""
    while (header := read_header(data)) is None:
        data += await stream.receive_some(1)
    return header.ends


@dataclass
class Origin:
    """
    Answers by path: a value of ``pages`` is the reply's bytes, or a script that writes it.

    Attributes:
        asked: every request, in order of its head.
        port: where it serves; 0 asks for a free one.
        tls: to speak TLS by, from the next connection on; None: plain.
        introduced: each connection begins with a PROXY header.
    """

    pages: dict[bytes, bytes | Script] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    read_body: bool = True
    port: int = 0
    tls: ssl.SSLContext | None = None
    introduced: bool = False
    host: str = "127.0.0.1"
    listeners: list[trio.SocketListener] = field(default_factory=list)
    connections: int = 0

    def paths(self) -> list[bytes]:
        return [asked.target for asked in self.asked]

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = self.listeners or await trio.open_tcp_listeners(self.port, host=self.host)
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve_safely, listeners)
            task_status.started(self.port)

    async def _serve_safely(self, stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True) if self.tls else stream
        try:
            await self._serve(secured)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass

    async def _serve(self, stream: trio.SocketStream | trio.SSLStream) -> None:
        self.connections += 1
        number = self.connections
        shown, ends = "", None
        if self.introduced:
            ends = await _introduction(stream)
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
            shown = "".join(value for ((_, value),) in (stream.getpeercert() or {}).get("subject", ()))
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                asked = None
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        if connection.they_are_waiting_for_100_continue:
                            await stream.send_all(
                                connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                            )
                        connection.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Request):
                        asked = Asked(
                            bytes(event.method),
                            bytes(event.target),
                            [(bytes(k), bytes(v)) for k, v in event.headers],
                            connection=number,
                            shown=shown,
                            ends=ends,
                        )
                        self.asked.append(asked)
                        if not self.read_body:
                            break
                    elif isinstance(event, h11.Data):
                        asked.body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                page = self.pages.get(asked.target, self.pages.get(b"*"))
                if page is None:
                    page = reply(404, b"nothing here")
                if callable(page):
                    await page(asked, Wire(stream, b"" if self.read_body else connection.trailing_data[0]))
                else:
                    await stream.send_all(page)
                if (asked.get(b"connection") or b"").lower() == b"close":
                    return
                # h11 only parses here; what was sent went round it
                rest = connection.trailing_data[0] if connection.our_state is h11.SEND_RESPONSE else b""
                connection = h11.Connection(h11.SERVER)
                if rest:
                    connection.receive_data(rest)


async def serve_on_one_port(nursery: trio.Nursery, *origins: Origin) -> int:
    """Start origins on addresses of their own and a port that all of them have; return it."""
    while True:
        [first] = await trio.open_tcp_listeners(0, host=origins[0].host)
        port = first.socket.getsockname()[1]
        opened = [first]
        try:
            for origin in origins[1:]:
                opened += await trio.open_tcp_listeners(port, host=origin.host)
            break
        except OSError:  # somebody has it on one of the other addresses
            for listener in opened:
                await listener.aclose()
    for origin, listener in zip(origins, opened, strict=True):
        origin.listeners = [listener]
        await nursery.start(origin.serve)
    return port
