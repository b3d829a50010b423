"""
How often a place has lost its child lately, and how long to wait before the next one.

Pure: numbers in, numbers out. A child that dies once is replaced at once. One that dies again and again, having been in
service only briefly, is waited for longer each time, up to half a minute, so that a crash at start does not eat
the machine. Only what befalls unasked is a setback; a child we asked to leave may end as it likes.

Source: systemd's RestartSteps=; Pitchfork (failures to become ready are counted apart from crashes in service).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FREE: Final = 2
"""Setbacks in a row that are answered at once: a bug met by one bad request should cost no capacity."""
FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
STEADY_S: Final = 60.0
"""A child that was in service so long has proved that the place is well."""


@dataclass(slots=True)
class _Record:
    in_a_row: int = 0
    boots_failed: int = 0
    not_before: float = 0.0
    last_reason: str = ""


@dataclass(slots=True)
class Setbacks:
    """The record of every place since it was last steady."""

    _places: dict[int, _Record] = field(default_factory=dict)

    def met(self, place: int, *, now_mono: float, ready_s: float | None, reason: str) -> float:
        """
        Note that a child of *place* died unasked.

        Args:
            place: as in the roster.
            now_mono: now.
            ready_s: how long it had been in service; None if it never was.
            reason: for whoever gives up over it.

        Returns:
            Seconds to wait before the next; 0.0 = none.
        """
        record = self._places.setdefault(place, _Record())
        if ready_s is not None and ready_s >= STEADY_S:
            record.in_a_row = 0
        record.in_a_row += 1
        record.boots_failed = record.boots_failed + 1 if ready_s is None else 0
        record.last_reason = reason
        wait_s = delay(record.in_a_row)
        record.not_before = now_mono + wait_s
        return wait_s

    def became_ready(self, place: int) -> None:
        """Note that the next child of *place* did start."""
        if place in self._places:
            self._places[place].boots_failed = 0

    def not_before(self, place: int) -> float:
        """Return the monotonic second before which *place* gets no new child."""
        return self._places[place].not_before if place in self._places else 0.0

    def boots_failed(self, place: int) -> int:
        """How often in a row a child of *place* died before it was ready."""
        return self._places[place].boots_failed if place in self._places else 0

    def last_reason(self, place: int) -> str:
        """Why the last child of *place* died."""
        return self._places[place].last_reason if place in self._places else ""

    def waiting(self, now_mono: float) -> list[int]:
        """Return the places that get no new child yet."""
        return sorted(place for place, record in self._places.items() if record.not_before > now_mono)

    def forget(self) -> None:
        """Begin anew: another configuration is tried, and deserves no blame for the last."""
        self._places.clear()


def delay(in_a_row: int) -> float:
    """Return how long to wait after that many setbacks in a row: 0, 0, 1, 2, 4 … 30 seconds."""
    if in_a_row <= FREE:
        return 0.0
    return min(LONGEST_S, FIRST_S * 2.0 ** min(in_a_row - FREE - 1, 16))
