"""
What goes when room is needed, and when a copy is of no use to anybody.

The contract is least recently used, to the second: whoever was used last longest ago goes first, whatever its size. Decides
which; does not know where use is noted nor how a copy is removed. Works on rows as they stream by and keeps one number per
second of use in memory, so that a million copies cost it kilobytes.

Source: DESIGN §4 (the keeper); RFC 9111 §4.2.4 for how long a stale copy may still be of use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

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


@dataclass(slots=True)
class Row:
    """
    What eviction needs to know of a copy.

    Attributes:
        copy_id: ids grow: of two, the smaller was stored first.
        size: bytes it occupies, all bodies together.
        used_s: the wall second of its last use, or of its storing if that is later.
        dead_s: the wall second from which nobody can use it.
    """

    copy_id: int
    size: int
    used_s: int
    dead_s: int


@dataclass(slots=True)
class Cut:
    """
    Where the line is: everything used before *second* goes, and of that second itself *within* bytes.

    ``spent`` counts them while :meth:`takes` is asked row by row, in ascending order of ids.
    """

    second: int
    within: int
    spent: int = 0

    def takes(self, row: Row) -> bool:
        """Whether *row* goes."""
        if row.used_s != self.second:
            return row.used_s < self.second
        if self.spent >= self.within:
            return False
        self.spent += row.size
        return True


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


def count(rows: Iterable[Row], per_second: dict[int, int]) -> None:
    """Add up how many bytes were used last in each second."""
    for row in rows:
        per_second[row.used_s] = per_second.get(row.used_s, 0) + row.size


def cut(per_second: dict[int, int], wanted: int) -> Cut:
    """
    Find the line below which *wanted* bytes lie.

    Args:
        per_second: of every copy, see :func:`count`.
        wanted: bytes to free. If there are fewer, everything goes.
    """
    freed = 0
    for second in sorted(per_second):
        if freed + per_second[second] >= wanted:
            return Cut(second, wanted - freed)
        freed += per_second[second]
    return Cut(MAX_SECOND, 0)


def dead_wall(copy: Copy) -> float:
    """Return the wall second from which *copy* is of no use: all its lifetimes over, and a day for validating it."""
    extra = max(copy.swr_s, copy.sie_s or 0)
    if copy.etag is not None or copy.last_modified is not None or not copy.must_revalidate:
        extra = max(extra, OF_USE_S)
    return copy.fresh_until_wall + extra


def second_of(wall: float) -> int:
    """Return *wall* as the whole second that is kept in 32 bits."""
    return max(0, min(int(wall), MAX_SECOND))
