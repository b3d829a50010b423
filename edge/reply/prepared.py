"""
A copy made ready to send: the hottest module of the house (``bench/micro/test_prepared.py``).

A hit on a fresh copy costs one call and one compare, because everything else was done before: the lasting fields
are rendered once per copy and encoding; ``Age`` and the ttl in ``Cache-Status`` are filled in once per wall second,
and in between the very same bytes object is handed out again. A body of up to :data:`JOINED_BYTES` lies in that
object behind its head, so that both leave in one write; a larger one is sent beside it and never copied.

Does not know whether the copy may still be used: whoever asks compares :attr:`Prepared.fresh_until`,
:attr:`Prepared.stamp` and what the request said. The bytes are for an HTTP/1.1 connection that stays open; for anything
else (HTTP/1.0, close, ranges, later protocols) :func:`edge.reply.compose.compose_hit` makes the same fields, and a
test holds the two together.

States: none. ``_second`` names the second for which ``_wire`` is true; a call with another second, earlier or later,
renders again, so a clock that jumps is harmless.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.reply import cache_status
from edge.reply.compose import (
    BODILESS,
    IDENTITY,
    VIA,
    age_at,
    not_modified_fields,
    passing_fields,
    stored_fields,
    ttl_at,
)

if TYPE_CHECKING:
    from edge.message.head import Field
    from edge.reply.compose import Changes

JOINED_BYTES = 16 * 1024
"""Up to here one write of head + body beats two; beyond, the copy made each second costs more than it saves."""

_NEVER = -1

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Prepared:
    """
    One copy in one encoding, ready for the wire.

    Attributes:
        copy_id: of the copy in the store, for recency.
        stamp: what the coherence page said for the copy's key when this was made; use only while it still does.
        status: of the reply.
        reason: as stored; empty for the usual phrase.
        encoding: of ``body``, as negotiated (``identity`` for the origin's own bytes).
        etag: of this variant, as sent; None if the origin named none.
        last_modified: wall time that If-Modified-Since is compared with: Last-Modified, or else Date (RFC 9111 §4.3.2).
        fresh_until: wall time at which it becomes stale.
        length: the body's bytes.
        body: what must be sent after :meth:`wire`; None when ``wire`` holds everything.
        fields: the lasting fields, as sent.
        size: bytes this object keeps in memory, for the LRU.
    """

    __slots__ = (
        "_age_base",
        "_composed",
        "_composed_second",
        "_head",
        "_head_second",
        "_not_modified",
        "_not_modified_before",
        "_not_modified_second",
        "_second",
        "_split",
        "_wire",
        "_wire_after",
        "_wire_before",
        "body",
        "copy_id",
        "encoding",
        "etag",
        "fields",
        "fresh_until",
        "last_modified",
        "length",
        "reason",
        "size",
        "stamp",
        "status",
    )

    def __init__(
        self,
        status: int,
        reason: bytes,
        fields: list[Field],
        body: bytes,
        *,
        encoding: bytes,
        age_base_wall: float,
        fresh_until_wall: float,
        copy_id: int,
        stamp: int,
    ) -> None:
        self.status = status
        self.reason = reason
        self._composed: ReplyHead
        self.fields = fields
        self.encoding = encoding
        self.copy_id = copy_id
        self.stamp = stamp
        self.fresh_until = fresh_until_wall
        self.length = length = len(body)
        self.etag: bytes | None = None
        modified: float | None = None
        dated: float | None = None
        for name, value in fields:
            if name == b"etag":
                self.etag = value
            elif name == b"last-modified":
                modified = parse_date(value)
            elif name == b"date":
                dated = parse_date(value)
        self.last_modified = dated if modified is None else modified
        self._age_base = age_base_wall
        self._wire_before = _head_start(status, reason, fields)
        self._wire_after = b"\r\n\r\n" if status in BODILESS else b"\r\ncontent-length: %d\r\n\r\n" % length
        self._not_modified_before = b""  # most copies are never asked about
        joined = length <= JOINED_BYTES
        self.body: memoryview | None = None if joined else memoryview(body)
        self._second = self._head_second = self._not_modified_second = self._composed_second = _NEVER
        # A joined body is kept in the wire only: the next second's wire takes it from this one's tail.
        self._wire = body if joined else b""
        self._split = 0
        self._head = self._not_modified = b""
        lasting = sum(len(name) + len(value) for name, value in fields)
        self.size = length + 4 * lasting + 160 * len(fields) + 600

    def __repr__(self) -> str:
        return f"<Prepared {self.status} {self.encoding.decode()} {self.length} B copy={self.copy_id}>"

    def wire(self, now_s: int) -> bytes:
        """
        Return the reply to GET: the head and, unless :attr:`body` is set, the body.

        Cost: within the same second an attribute compare, no allocation; else :meth:`_render`, about a microsecond
        and one copy of a joined body.
        """
        if now_s == self._second:
            return self._wire
        return self._render(now_s)

    def wire_head(self, now_s: int) -> bytes:
        """Return the reply to HEAD: the same head, no body."""
        if now_s != self._head_second:
            self._head = self._wire_before + self._passing(now_s) + self._wire_after
            self._head_second = now_s
        return self._head

    def wire_304(self, now_s: int) -> bytes:
        """Return the reply to a condition that this copy's validators answer with "not modified"."""
        if now_s != self._not_modified_second:
            if not self._not_modified_before:
                self._not_modified_before = _head_start(304, b"", not_modified_fields(self.fields))
            self._not_modified = self._not_modified_before + self._passing(now_s) + b"\r\n\r\n"
            self._not_modified_second = now_s
        return self._not_modified

    def wire_with(self, now_s: int, lines: bytes) -> bytes:
        """Return :meth:`wire` with more lines in its head. Cost: one copy of a joined body."""
        wire = self.wire(now_s)
        head_ends = (self._split if self.body is None else len(wire)) - 2
        return b"".join((memoryview(wire)[:head_ends], lines, memoryview(wire)[head_ends:]))

    def head(self, now_s: int) -> ReplyHead:
        """Return the same head for a connection that frames it itself: one that closes, or speaks another version."""
        if now_s != self._composed_second:
            cache_word = cache_status.hit(ttl_at(now_s, self.fresh_until))
            fields = [*self.fields, *passing_fields(age_at(now_s, self._age_base), cache_word)]
            is_bodiless = self.status in BODILESS
            self._composed = ReplyHead(
                self.status,
                fields,
                self.reason,
                framing=Framing.NONE if is_bodiless else Framing.LENGTH,
                length=None if is_bodiless else self.length,
            )
            self._composed_second = now_s
        return self._composed

    def content(self) -> memoryview:
        """Return the body, wherever it lies; not a copy."""
        return memoryview(self._wire)[self._split :] if self.body is None else self.body

    def _render(self, now_s: int) -> bytes:
        """Make the wire for this second."""
        head = self._wire_before + self._passing(now_s) + self._wire_after
        if self.body is None:
            wire = b"".join((head, memoryview(self._wire)[self._split :]))
            self._split = len(head)
        else:
            wire = head
        self._wire = wire
        self._second = now_s
        return wire

    def _passing(self, now_s: int) -> bytes:
        """Render :func:`edge.reply.compose.passing_fields`, from ``Age``'s value on, without the last line's end."""
        return b"%d\r\ncache-status: %b" % (
            age_at(now_s, self._age_base),
            cache_status.hit(ttl_at(now_s, self.fresh_until)),
        )


def prepare(
    status: int,
    fields: list[Field],
    body: bytes,
    *,
    age_base_wall: float,
    fresh_until_wall: float,
    date_wall: float,
    encoding: bytes = IDENTITY,
    eligible: bool = False,
    reason: bytes = b"",
    via: bytes = VIA,
    copy_id: int = 0,
    stamp: int = 0,
    changes: Changes | None = None,
) -> Prepared:
    """
    Make a copy ready to send.

    Args:
        status: as stored.
        fields: as stored, without framing and without our ``Content-Encoding``.
        body: the whole of it, in that encoding; kept, not copied, until the first send.
        age_base_wall: the wall second at which the copy's age was zero.
        fresh_until_wall: when it becomes stale.
        date_wall: when the origin's reply arrived; becomes ``Date`` if the origin sent none.
        encoding: what we coded *body* with; ``identity`` for the origin's own bytes, coded or not.
        eligible: it would be coded for a client that asks, so ``Vary`` must name ``Accept-Encoding``.
        reason: as stored; empty for the usual phrase.
        via: our entry.
        copy_id: kept for the caller.
        stamp: kept for the caller.
        changes: what the route does to the header.
    """
    lasting = stored_fields(status, fields, encoding, date_wall, via, eligible=eligible, ranges=True, changes=changes)
    return Prepared(
        status,
        reason,
        lasting,
        b"" if status in BODILESS else body,
        encoding=encoding,
        age_base_wall=age_base_wall,
        fresh_until_wall=fresh_until_wall,
        copy_id=copy_id,
        stamp=stamp,
    )


def _head_start(status: int, reason: bytes, fields: list[Field]) -> bytes:
    """Render the status line and the lasting fields, up to and with the name of the first passing one."""
    lines = [b"HTTP/1.1 %d %b" % (status, reason or _REASONS.get(status, b""))]
    lines += [name + b": " + value for name, value in fields]
    lines.append(b"age: ")
    return b"\r\n".join(lines)
