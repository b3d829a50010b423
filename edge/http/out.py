"""
Bytes waiting to be written: what a connection appends to and a shell takes from.

Decides how pieces are cut for writing: small ones are joined, so that a head and a small body leave in one write, and
large ones are cut, so that one session cannot keep a turn. Does not know sockets.

Invariant: a piece that was offered is offered again unchanged or longer, never shorter, until ``sent`` was told of it:
OpenSSL demands that of a write that it refused.
Hot: every reply passes here. Bench: bench/micro/test_http.py.
"""

from __future__ import annotations

from collections import deque

JOIN = 16 * 1024
"""Bytes. Two pieces that fit one TLS record are worth a copy (1 µs) to save a write (5 µs and a record)."""

CUT = 256 * 1024
"""Bytes. What one write may offer: four times a socket's default send buffer."""


class Out:
    """
    A queue of bytes.

    Attributes:
        pending: bytes not yet written.
    """

    __slots__ = ("_pieces", "pending")

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self.pending = 0

    def __bool__(self) -> bool:
        return self.pending > 0

    def __len__(self) -> int:
        return self.pending

    def append(self, data: bytes | memoryview) -> None:
        """
        Add *data* behind what is waiting. It is kept, not copied, unless it is small: don't change it afterwards.

        A memoryview must be of single bytes (format ``B``).
        """
        size = len(data)
        pieces = self._pieces
        if pieces and size <= JOIN and type(last := pieces[-1]) is bytes and len(last) + size <= JOIN:
            pieces[-1] = b"".join((last, data))
        elif size > CUT:
            view = memoryview(data)
            pieces.extend([view[at : at + CUT] for at in range(0, size, CUT)])
        elif size:
            pieces.append(data)
        self.pending += size

    def first(self) -> bytes | memoryview:
        """Return what to write next; only while there is something."""
        return self._pieces[0]

    def sent(self, count: int) -> None:
        """Note that the first *count* bytes are gone."""
        self.pending -= count
        pieces = self._pieces
        while count:
            size = len(pieces[0])
            if count < size:
                pieces[0] = memoryview(pieces[0])[count:]
                return
            del pieces[0]
            count -= size

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self.pending = 0

    def __repr__(self) -> str:
        return f"<Out {self.pending} bytes in {len(self._pieces)} pieces>"
