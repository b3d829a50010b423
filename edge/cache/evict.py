"""
What goes when room is needed, and when a copy is of no use to anybody.

The contract is least recently used, to the second: whoever was used last longest ago goes first, whatever its size. Decides
which; does not know where use is noted nor how a copy is removed. Works on rows as they stream by, and remembers no more of them
than will go.

Source: DESIGN §4 (the keeper); RFC 9111 §4.2.4 for how long a stale copy may still be of use.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.cache.copy import Copy

RESERVE: Final = 0.02
"""Of the size: never filled. A database needs free pages even to delete, or it could never be emptied again."""
LEAST_RESERVE: Final = 1 << 20
"""Bytes: what a transaction that removes a few copies may touch in the worst case, with room to spare. A quarter of a small store."""
HIGH: Final = 0.97
"""Of what may be filled: eviction begins above. The rest is for what arrives until the keeper looks again."""
LOW: Final = 0.92
"""Of what may be filled: eviction ends here, so that it comes in batches and not with every store."""

OF_USE_S: Final = 24 * 3600
"""How long beyond all its lifetimes a copy is kept: to be validated, or served while its origin is down."""

MAX_SECOND: Final = 0xFFFF_FFFF


Row = tuple[int, int, int, int, int]
"""
What eviction needs to know of a copy: its id (ids grow: of two, the smaller was stored first); the bytes it occupies, all
bodies together; the wall second of its last use, or of its storing if that is later; the second from which nobody can use it;
the second it was stored. A tuple, because a pass over a large store makes a million of them.
"""


class Oldest:
    """
    The least recently used copies that together occupy *wanted* bytes.

    Rows are offered in ascending order of ids. Of two used in the same second the one stored first is the older.
    """

    __slots__ = ("_heap", "_total", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._heap: list[tuple[int, int, int]] = []  # the youngest of them on top: second and id negated
        self._total = 0

    def offer(self, row: Row) -> None:
        """Take *row* in if it is among the oldest so far; whoever is too many then leaves."""
        copy_id, size, used_s, _, _ = row
        heap = self._heap
        if self._total >= self.wanted and used_s >= -heap[0][0]:
            return  # not older than the youngest of them: its id is greater
        heappush(heap, (-used_s, -copy_id, size))
        self._total += size
        while self._total - heap[0][2] >= self.wanted:
            self._total -= heappop(heap)[2]

    def is_settled(self, stored_s: int) -> bool:
        """Whether nothing stored at *stored_s* or later can be older than those it has: then the pass may end."""
        return self._total >= self.wanted and stored_s > -self._heap[0][0]

    def victims(self) -> list[tuple[int, int]]:
        """Return their ids, oldest first, each with the second of its last use."""
        return [(-copy_id, -used_s) for used_s, copy_id, _ in sorted(self._heap, reverse=True)]


def usable(size: int) -> int:
    """Return how many bytes of a store of *size* may be filled."""
    return size - max(int(size * RESERVE), min(size // 4, LEAST_RESERVE))


def high(size: int) -> int:
    """Return the bytes above which eviction begins."""
    return int(usable(size) * HIGH)


def low(size: int) -> int:
    """Return the bytes at which it ends."""
    return int(usable(size) * LOW)


def to_free(used: int, size: int, wished: int = 0) -> int:
    """
    Return how many bytes should go now: none up to the high mark, then down to the low one; more if *wished* bytes were refused
    and would still not fit.
    """
    wanted = used - low(size) if used > high(size) else 0
    return max(wanted, used + min(wished, largest(size)) - low(size)) if wished else wanted


def largest(size: int) -> int:
    """Return how long a body may be at most: half the store, or each one would sweep it empty."""
    return usable(size) // 2


def may_grow(used: int, extra: int, size: int) -> bool:
    """Whether *extra* bytes may still be stored."""
    return used + extra <= usable(size)


def dead_wall(copy: Copy) -> float:
    """Return the wall second from which *copy* is of no use: all its lifetimes over, and a day for validating it."""
    extra = max(copy.swr_s, copy.sie_s or 0)
    if copy.etag is not None or copy.last_modified is not None or not copy.must_revalidate:
        extra = max(extra, OF_USE_S)
    return copy.fresh_until_wall + extra


def second_of(wall: float) -> int:
    """Return *wall* as the whole second that is kept in 32 bits."""
    return max(0, min(int(wall), MAX_SECOND))
