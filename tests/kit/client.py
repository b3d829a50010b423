"""A scripted client: bytes out as the test cuts them, replies in by h11, which is not our parser."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import trio


@dataclass
class Reply:
    """A reply as the client saw it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        found = [value for other, value in self.headers if other == name]
        return b", ".join(found) if found else None


class Gone(Exception):
    """The edge closed the connection before the reply was complete."""


class Client:
    """One connection to the edge."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.received = bytearray()
        self._rest = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def get(self, path: str, host: str = "shop.example", method: str = "GET", **fields: str) -> Reply:
        """Ask and wait for the reply."""
        await self.ask(path, host, method, **fields)
        return await self.reply(method)

    async def ask(self, path: str, host: str = "shop.example", method: str = "GET", **fields: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def reply(self, method: str = "GET") -> Reply:
        """Wait for one reply. Raises Gone if it is cut."""
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        if self._rest:
            connection.receive_data(self._rest)
            self._rest = b""
        got: Reply | None = None
        interim = []
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                raise Gone(str(error)) from error
            if event is h11.NEED_DATA:
                try:
                    data = await self.stream.receive_some(65536)
                except trio.BrokenResourceError as error:
                    raise Gone from error
                self.received += data
                connection.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
                if event.status_code == 101:
                    raise AssertionError("use upgrade()")
            elif isinstance(event, h11.Response):
                got = Reply(event.status_code, [(bytes(k), bytes(v)) for k, v in event.headers], interim=interim)
            elif isinstance(event, h11.Data):
                got.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                got.trailers = [(bytes(k), bytes(v)) for k, v in event.headers]
                self._rest = connection.trailing_data[0]
                return got
            else:
                raise Gone(repr(event))

    async def at_end(self) -> bytes:
        """Return what comes until the edge closes."""
        rest = bytes(self._rest)
        while True:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return rest
            if not data:
                return rest
            rest += data

    async def aclose(self) -> None:
        await self.stream.aclose()
