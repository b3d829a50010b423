"""A body too long to be held: every block says where it lies, so that any span can be made, and checked, from its place alone."""

from __future__ import annotations

import re

from tests.kit.origin import Asked, Wire

BLOCK = 65536
_REST = bytes(range(256)) * (BLOCK // 256)
_RANGE = re.compile(rb"bytes=(\d+)-(\d+)?")


def span(start: int, end: int) -> bytes:
    """The bytes *start* to *end*."""
    first, last = start // BLOCK, (end - 1) // BLOCK
    made = b"".join(b"%012d" % block + _REST[12:] for block in range(first, last + 1))
    return made[start - first * BLOCK : end - first * BLOCK]


class Vast:
    """
    A page of such a body, under a strong tag.

    Attributes:
        length: of the body.
        sent: bytes of it, all together.
        spans: what was asked of it.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.sent = 0
        self.spans: list[tuple[int, int]] = []

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        match = _RANGE.fullmatch(asked.get(b"range") or b"")
        start, end, status = 0, self.length, b"200 OK"
        extra = b""
        if match is not None:
            start = int(match[1])
            end = min(self.length, int(match[2]) + 1) if match[2] else self.length
            status, extra = b"206 Partial Content", b"content-range: bytes %d-%d/%d\r\n" % (start, end - 1, self.length)
        self.spans.append((start, end))
        await wire.send(
            b'HTTP/1.1 %b\r\netag: "vast"\r\ncache-control: max-age=3600\r\n%bcontent-length: %d\r\n\r\n'
            % (status, extra, end - start)
        )
        for at in range(start, end, 4 * BLOCK):
            stop = min(end, at + 4 * BLOCK)
            await wire.send(span(at, stop))
            self.sent += stop - at
