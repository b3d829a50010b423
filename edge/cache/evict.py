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

HIGH: Final = 0.95
"""Of the size: eviction begins above. The rest is room for what arrives until the keeper looks again."""
LOW: Final = 0.90
"""Of the size: eviction ends here, so that it comes in batches and not with every store."""
CEILING: Final = 0.98
"""Of the size: nothing is stored above. A database needs free pages even to delete."""

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


def to_free(used: int, size: int) -> int:
    """Return how many bytes should go now: none until HIGH, then down to LOW."""
    return used - int(size * LOW) if used > size * HIGH else 0


def may_grow(used: int, extra: int, size: int) -> bool:
    """Whether *extra* bytes may still be stored."""
    return used + extra <= size * CEILING


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
