"""Replies that a test holds open: a download that ends when it is told to, a page that is not begun before."""

from __future__ import annotations

import trio

from tests.kit.origin import Asked, Wire, reply

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"


class Download:
    """
    A long reply: its first half is sent at once, the second when :attr:`go_on` is set.

    Attributes:
        half: the bytes of each half.
        begun: set when the first half is on its way.
    """

    def __init__(
        self,
        half: int = 300_000,
        *,
        cache_control: str = "no-store",
        content_type: str = "application/octet-stream",
        head_at_once: bool = True,
    ) -> None:
        self.first = bytes(range(256)) * (half // 256)
        self.second = self.first[::-1]
        self.begun = trio.Event()
        self.go_on = trio.Event()
        self.times = 0
        self._fields = {"cache_control": cache_control, "content_type": content_type}
        self._head_at_once = head_at_once

    @property
    def body(self) -> bytes:
        return self.first + self.second

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        self.times += 1
        whole = reply(body=self.body, **self._fields)
        if not self._head_at_once:
            self.begun.set()
            await self.go_on.wait()
        await wire.send(whole[: -len(self.second)])
        self.begun.set()
        await self.go_on.wait()
        await wire.send(self.second)


async def echo_tunnel(asked: Asked, wire: Wire) -> None:
    """Switch to another protocol and say everything back until the other side ends."""
    await wire.send(SWITCH)
    while data := await wire.stream.receive_some(65536):
        await wire.send(data)
    await wire.stream.send_eof()
