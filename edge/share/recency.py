"""
When each copy was last used, to the second: what eviction goes by. And how often, for people.

A hit is one store into a shared page, never a write to the database. Two copies may share a word and then look as
young as the younger; eviction is a matter of thrift, so that is right enough. The keeper reads, workers write; a
lost race between two writers of the same second loses nothing. Counts are added up in each worker and brought here now and
then; two that do so at once may lose one of the sums.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import Page

SIZE: Final = 1 << 20
"""Copies told apart: 8 MiB, of which only the touched pages are ever backed by memory."""
COPY_BYTES: Final = 8
"""A second, and a count."""
_MOST: Final = 0xFFFF_FFFF


class Recency:
    """
    *size* seconds and counts, a power of two.

    Attributes:
        halves: the seconds, and behind them the counts; ``halves[copy_id & mask]`` is that copy's second. For hot paths.
        mask: ``size - 1``.
    """

    __slots__ = ("halves", "mask", "page")

    def __init__(self, size: int = SIZE, page: Page | None = None) -> None:
        assert size & (size - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(size * COPY_BYTES, "recency")
        self.halves = self.page.halves
        self.mask = size - 1

    def touch(self, copy_id: int, now_s: int) -> None:
        """Note that the copy was used at *now_s*, a whole wall-clock second below 2³²."""
        self.halves[copy_id & self.mask] = now_s

    def read(self, copy_id: int) -> int:
        """Return the second the copy was last used; 0 = not since the machine started."""
        return self.halves[copy_id & self.mask]

    def begin(self, copy_id: int, now_s: int) -> None:
        """Note a new copy: used now, and never before, whoever had its words."""
        self.halves[copy_id & self.mask] = now_s
        self.halves[self.mask + 1 + (copy_id & self.mask)] = 0

    def count(self, copy_id: int, uses: int = 1) -> None:
        """Add to how often the copy was used."""
        at = self.mask + 1 + (copy_id & self.mask)
        self.halves[at] = min(self.halves[at] + uses, _MOST)

    def uses(self, copy_id: int) -> int:
        """Return how often the copy was used, to within a second of every worker's."""
        return self.halves[self.mask + 1 + (copy_id & self.mask)]
