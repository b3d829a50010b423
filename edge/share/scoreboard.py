"""
Who is alive and until when: one row per slot, read by the master, written by the slot's holder.

The deadline is written by the master *before* the fork, so that a child that hangs while it boots is found like
any other, and renewed by the worker from the turn of its fast lane: a thread that renews it would prove nothing.
A deadline of 0.0 means that none is kept (a process that may sleep as long as it likes).

It does not know what becomes of an overdue process; that is the master's plan.

Source: Pitchfork ``shared_memory.rb``; DESIGN: a hung loop is killed and replaced.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import CACHE_LINE, Page

_WORDS: Final = CACHE_LINE // 8
_DEADLINE, _READY, _PID, _GENERATION = range(4)


class Row:
    """
    One slot's row. ``deadline`` is set once a turn: a single store into the page, nothing allocated but the float.

    Attributes:
        slot: whose row this is.
    """

    __slots__ = ("_at", "_floats", "_words", "slot")

    def __init__(self, page: Page, slot: int) -> None:
        self.slot = slot
        self._at = slot * _WORDS
        self._floats = page.floats
        self._words = page.words

    @property
    def deadline(self) -> float:
        """The monotonic second by which the holder promises to write here again; 0.0 = no promise."""
        return self._floats[self._at]

    @deadline.setter
    def deadline(self, mono: float) -> None:
        self._floats[self._at] = mono

    @property
    def ready(self) -> bool:
        """Whether the holder takes connections."""
        return self._words[self._at + _READY] != 0

    @ready.setter
    def ready(self, is_ready: bool) -> None:
        self._words[self._at + _READY] = int(is_ready)

    @property
    def pid(self) -> int:
        """The holder; 0 = the slot is free."""
        return self._words[self._at + _PID]

    @pid.setter
    def pid(self, pid: int) -> None:
        self._words[self._at + _PID] = pid

    @property
    def generation(self) -> int:
        """Which configuration the holder serves; counts up with every reload."""
        return self._words[self._at + _GENERATION]

    @generation.setter
    def generation(self, generation: int) -> None:
        self._words[self._at + _GENERATION] = generation

    def clear(self) -> None:
        """Make the slot free. Only the master does this, and only after it has reaped the holder."""
        self.ready = False
        self.deadline = 0.0
        self.generation = 0
        self.pid = 0

    def __repr__(self) -> str:
        return f"<Row {self.slot} pid={self.pid} ready={self.ready} deadline={self.deadline:.3f}>"


class Scoreboard:
    """*slots* rows. ``rows[slot]`` and ``row(slot)`` are the same object every time."""

    __slots__ = ("page", "rows", "slots")

    def __init__(self, slots: int, page: Page | None = None) -> None:
        self.slots = slots
        self.page = page or Page(self.size(slots), "scoreboard")
        self.rows = tuple(Row(self.page, slot) for slot in range(slots))

    @staticmethod
    def size(slots: int) -> int:
        """Bytes that *slots* rows need."""
        return slots * CACHE_LINE

    def row(self, slot: int) -> Row:
        """Return the row of *slot*."""
        return self.rows[slot]

    def ready(self) -> int:
        """How many processes take connections now."""
        return sum(row.ready for row in self.rows)
