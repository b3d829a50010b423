"""
A body, framed for the wire: by its length, in chunks, or by the connection's end.

Decides how body bytes are wrapped; whoever writes the head decides the framing. Serves both directions.

States are :class:`~edge.message.head.Framing`, or None while no head is out. The framing's promise is kept or
``AssertionError`` is raised: exactly Content-Length bytes. Where the head alone is the
message (HEAD, 204, 304) what is written is dropped: who answers need not know that the client asked for less.
Source: RFC 9112 §6, §7.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.message.head import Framing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.http.out import Out
    from edge.message.head import Field

SMALL_CHUNK = 16 * 1024
"""Bytes. Up to here a chunk is copied together with its frame; above, three pieces are cheaper than the copy."""


class BodyWriter:
    """
    Writes one body after the other into an :class:`Out`.

    Attributes:
        framing: of the body that is being written; None: none is.
    """

    __slots__ = ("_left", "_out", "framing")

    def __init__(self, out: Out) -> None:
        self._out = out
        self._left = 0
        self.framing: Framing | None = None

    def begin(self, framing: Framing, length: int = 0) -> None:
        """Note that a head with this framing is out."""
        assert self.framing is None, "a head inside a body"
        self.framing = framing
        self._left = length

    def write(self, data: bytes | memoryview) -> None:
        """Write some of the body; no bytes are none."""
        size = len(data)
        if not size:
            return
        framing = self.framing
        if framing is Framing.LENGTH:
            assert size <= self._left, "more body than Content-Length says"
            self._left -= size
            self._out.append(data)
        elif framing is Framing.CHUNKED:
            if size <= SMALL_CHUNK:
                self._out.append(b"".join((b"%x\r\n" % size, data, b"\r\n")))
            else:
                self._out.append(b"%x\r\n" % size)
                self._out.append(data)
                self._out.append(b"\r\n")
        elif framing is Framing.CLOSE:
            self._out.append(data)
        else:
            assert framing is Framing.NONE, "a body before its head"

    def end(self, trailers: Sequence[Field] = ()) -> None:
        """End the body; trailers are dropped unless it is chunked."""
        framing = self.framing
        assert framing is not None, "an end before the head"
        if framing is Framing.CHUNKED:
            lines = b"".join([b"%b: %b\r\n" % entry for entry in trailers])
            assert lines.count(b"\n") == len(trailers), "a trailer would break its line"
            self._out.append(b"0\r\n%b\r\n" % lines)
        else:
            assert framing is not Framing.LENGTH or not self._left, "less body than Content-Length says"
        self.framing = None

    def __repr__(self) -> str:
        if self.framing is None:
            return "<BodyWriter between bodies>"
        owed = f", {self._left} bytes owed" if self.framing is Framing.LENGTH else ""
        return f"<BodyWriter {self.framing.value}{owed}>"
