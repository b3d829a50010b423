"""An origin's page that knows ranges, conditions and validators: RFC 9110 §13, §14, as plainly as can be."""

from __future__ import annotations

import re
from collections.abc import Callable

import trio

from tests.kit.origin import Asked, Wire

_RANGE = re.compile(rb"bytes=(\d*)-(\d*)")


def numbered(length: int, salt: int = 0) -> bytes:
    """A body in which every eight bytes say where they lie."""
    record = b"%07d" + b"%d" % (salt % 10)
    return b"".join(map(record.__mod__, range(-(-length // 8))))[:length]


class Ranged:
    """
    A page.

    Attributes:
        body, etag, modified, cache_control: what it is; change them and it has changed.
        fields: more of its fields.
        knows_ranges: False: every answer is the whole.
        spans: what was sent of it, in order: the bytes of each answer, as asked.
        sent: bytes of bodies, all together.
        cut_at: the connection is closed before this byte of the representation, for the next *cuts* answers that reach it.
        hold_at: an answer that reaches this byte waits there for ``go_on``.
        held: set when one does.
    """

    def __init__(self, body: bytes, *, etag: str | None = '"1"', cache_control: str = "max-age=3600") -> None:
        self.body = body
        self.etag = etag
        self.modified: str | None = None
        self.cache_control = cache_control
        self.fields: dict[str, str] = {}
        self.knows_ranges = True
        self.spans: list[tuple[int, int]] = []
        self.asked: list[Asked] = []
        self.sent = 0
        self.cut_at: int | None = None
        self.cuts = 0
        self.hold_at: int | None = None
        self.held = trio.Event()
        self.go_on = trio.Event()
        self.before: Callable[[], None] | None = None

    @property
    def wholes(self) -> int:
        """How often all of it was asked for."""
        return self.spans.count((0, len(self.body)))

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        self.asked.append(asked)
        fields = {"cache-control": self.cache_control, **self.fields}
        if self.etag is not None:
            fields["etag"] = self.etag
        if self.modified is not None:
            fields["last-modified"] = self.modified
        told = asked.get(b"if-none-match")
        if told is not None and self.etag is not None and self.etag.encode() in told:
            self.spans.append((0, 0))
            await wire.send(_head(304, fields))
            return
        span = self._span(asked)
        start, end = span or (0, len(self.body))
        if start >= len(self.body) > 0:
            fields["content-range"] = f"bytes */{len(self.body)}"
            await wire.send(_head(416, fields | {"content-length": "0"}))
            return
        self.spans.append((start, end))
        if span is not None:
            fields["content-range"] = f"bytes {start}-{end - 1}/{len(self.body)}"
        body = self.body
        await wire.send(_head(200 if span is None else 206, fields | {"content-length": str(end - start)}))
        if asked.method == b"HEAD":
            return
        for at in range(start, end, 65536):
            stop = min(end, at + 65536)
            if self.cuts and self.cut_at is not None and at <= self.cut_at < stop:
                self.cuts -= 1
                await wire.send(body[at : self.cut_at])
                await wire.stream.aclose()
                return
            if self.hold_at is not None and at <= self.hold_at < stop and not self.go_on.is_set():
                await wire.send(body[at : self.hold_at])
                at = self.hold_at
                self.held.set()
                await self.go_on.wait()
            await wire.send(body[at:stop])
            self.sent += stop - at

    def _span(self, asked: Asked) -> tuple[int, int] | None:
        match = _RANGE.fullmatch(asked.get(b"range") or b"")
        if match is None or not self.knows_ranges:
            return None
        said = asked.get(b"if-range")
        if said is not None and said.decode() not in {self.etag, self.modified}:
            return None
        first, last = match.groups()
        if not first:
            return max(0, len(self.body) - int(last)), len(self.body)
        return int(first), min(len(self.body), int(last) + 1) if last else len(self.body)


def _head(status: int, fields: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
