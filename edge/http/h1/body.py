"""
Bodies whose end is known from outside them: by a length, or by the connection's end.

One shape for these and for :mod:`edge.http.h1.chunked`: ``decode`` takes bytes as they came and returns what of them is
body; once ``done``, ``rest`` holds what came behind the body. Nothing is held back to make pieces larger.
Source: RFC 9112 §6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge.message.head import Field


class BodyDecoder(Protocol):
    """
    Finds the end of one body.

    Attributes:
        done: the body is complete; ``decode`` must not be called again.
        rest: bytes that came behind the body.
        trailers: fields behind a chunked body.
    """

    done: bool
    rest: bytes
    trailers: list[Field]

    def decode(self, data: bytes) -> bytes:
        """Return what of *data* is body; may be none. Raises the Fault of whoever sent it."""
        ...

    def most_left(self) -> int | None:
        """Return the bytes still to come, None if that is not known."""
        ...


class LengthDecoder:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.rest = b""
        self.trailers: list[Field] = []

    def decode(self, data: bytes) -> bytes:
        """Return *data* up to the length."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.done = True
        if left:
            self.rest = data[left:]
            data = data[:left]
        self._left = 0
        return data

    def most_left(self) -> int | None:
        """Return what is missing of the length."""
        return self._left

    def __repr__(self) -> str:
        return f"<LengthDecoder {self._left} bytes left>"


class CloseDecoder:
    """A body that lasts until the connection ends; only an origin's. Its reader sets ``done`` at the end of file."""

    __slots__ = ("done", "rest", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: list[Field] = []

    def decode(self, data: bytes) -> bytes:
        """Return *data*."""
        return data

    def most_left(self) -> int | None:
        """Return None: only the end itself tells."""
        return None

    def __repr__(self) -> str:
        return "<CloseDecoder>"
