"""
The only reader of time.

Two kinds of now, never mixed: *mono* measures waits and deadlines and never jumps; *wall* is what dates on the
wire are compared with and may jump. Rooms that decide take a number and never read a clock; shells take a
:class:`Clock` so that a test can set it by hand.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a shell reads time from."""

    def mono(self) -> float:
        """Return seconds since an arbitrary start, never going back."""
        ...

    def wall(self) -> float:
        """Return seconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clocks. ``mono`` is CLOCK_MONOTONIC, the same number in every process."""

    __slots__ = ()

    mono = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


SYSTEM = SystemClock()
