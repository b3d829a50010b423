"""
What we count: one row of 64-bit words per slot, summed by whoever is asked.

A row is written by its slot's holder only, so ``row[HITS] += 1`` needs no lock. Totals never go back: a row keeps
its numbers when its holder dies and the next holder counts on. *Gauges* (how many now) are the exception: they
describe the holder and are set to zero when it is gone. What the names mean is not known here.

Cost: one increment is two item accesses on a memoryview, about 60 ns.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import CACHE_LINE, Page

_LINE: Final = CACHE_LINE // 8


class Counters:
    """
    The numbers of *slots* processes, one column per name.

    Attributes:
        names: the columns, in order; a constant like ``HITS`` is an index into it.
        gauges: those of them that say how many there are now.
    """

    __slots__ = ("_width", "_words", "gauges", "names", "page", "slots")

    def __init__(
        self, names: tuple[str, ...], slots: int, gauges: frozenset[str] = frozenset(), page: Page | None = None
    ) -> None:
        assert len(set(names)) == len(names), "a name counts one thing"
        assert gauges <= set(names), "a gauge is one of the names"
        self.names = names
        self.slots = slots
        self.gauges = gauges
        self._width = self._row_words(len(names))
        self.page = page or Page(self.size(len(names), slots), "counters")
        self._words = self.page.words

    @staticmethod
    def _row_words(columns: int) -> int:
        return max(1, -(-columns // _LINE)) * _LINE

    @classmethod
    def size(cls, columns: int, slots: int) -> int:
        """Bytes that *slots* rows of *columns* numbers need."""
        return cls._row_words(columns) * 8 * slots

    def slot(self, slot: int) -> memoryview[int]:
        """Return the row of *slot*, to be indexed and written in place by its holder only."""
        start = slot * self._width
        return self._words[start : start + len(self.names)]

    def add(self, slot: int, index: int, amount: int = 1) -> None:
        """Count *amount* in the row of *slot*: for those who count too seldom to keep a row at hand."""
        self._words[slot * self._width + index] += amount

    def total(self, index: int) -> int:
        """Return the sum of one column."""
        return sum(self._words[index :: self._width])

    def totals(self) -> list[int]:
        """Return the sum of every column, in the order of the names."""
        return [self.total(index) for index in range(len(self.names))]

    def forget_gauges(self, slot: int) -> None:
        """Set the gauges of *slot* to zero: its holder is gone and with it what they counted."""
        row = self.slot(slot)
        for index, name in enumerate(self.names):
            if name in self.gauges:
                row[index] = 0
