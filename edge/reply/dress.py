"""
What a reply carries for one client only: fields that are put on as it leaves, and are in no copy.

Limits tell a client how much is left to it, and a page's origin is told what it may do: neither may be stored, nor be got
out of the store for another. A :class:`Dress` is made for one request; whatever reply that gets, of a copy, of an origin or of
the edge itself, wears it.

Does not know what the fields mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.message.head import ReplyHead

if TYPE_CHECKING:
    from edge.message.head import Field


class Dress:
    """
    Fields for one reply.

    Args:
        fields: put on, at the end.
        without: fields whose names begin so are taken off first; None: nothing is.

    Attributes:
        lines: the fields as they stand on an HTTP/1.1 wire.
    """

    __slots__ = ("_without", "fields", "lines")

    def __init__(self, fields: list[Field], without: bytes | None = None) -> None:
        self.fields = fields
        self.lines = b"".join([b"%b: %b\r\n" % entry for entry in fields])
        self._without = without

    def on(self, head: ReplyHead) -> ReplyHead:
        """Return *head* with these fields; the same head is left as it was."""
        fields = head.fields
        if self._without is not None:
            fields = [entry for entry in fields if not entry[0].startswith(self._without)]
        return ReplyHead(
            head.status,
            fields + self.fields,
            head.reason,
            head.version,
            head.framing,
            head.length,
            head.keep_alive,
        )

    def fits_over(self, fields: list[Field]) -> bool:
        """Whether nothing has to be taken off a reply with *fields*, so that lines may simply be added."""
        without = self._without
        return without is None or not any(name.startswith(without) for name, _ in fields)
