"""
When each copy was last used, to the second: what eviction goes by.

A hit is one store into a shared page, never a write to the database. Two copies may share a word and then look as
young as the younger; eviction is a matter of thrift, so that is right enough. The keeper reads, workers write; a
lost race between two writers of the same second loses nothing.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import Page

SIZE: Final = 1 << 20
"""Words: 4 MiB, of which only the touched pages are ever backed by memory."""


class Recency:
    """
    *size* seconds, a power of two.

    Attributes:
        halves: the seconds; ``halves[copy_id & mask]`` is that copy's. For hot paths.
        mask: ``size - 1``.
    """

    __slots__ = ("halves", "mask", "page")

    def __init__(self, size: int = SIZE, page: Page | None = None) -> None:
        assert size & (size - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(size * 4, "recency")
        self.halves = self.page.halves
        self.mask = size - 1

    def touch(self, copy_id: int, now_s: int) -> None:
        """Note that the copy was used at *now_s*, a whole wall-clock second below 2³²."""
        self.halves[copy_id & self.mask] = now_s

    def read(self, copy_id: int) -> int:
        """Return the second the copy was last used; 0 = not since the machine started."""
        return self.halves[copy_id & self.mask]
