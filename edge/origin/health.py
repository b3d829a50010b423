"""
Whether a server can be reached, learnt from the attempts themselves.

Decides how long a server is left alone after it could not be connected to. Does not know why, and does not count
what happens later: a slow or wrong answer is about that request, and taking a server out for it would let one bad
page empty the house.

States: see :class:`Condition`. The pause doubles with every failed trial, from ``FIRST_PAUSE_S`` to ``LONGEST_PAUSE_S``.
Invariant: an ill server gets at most one trial per pause, even if the one who tried never tells how it went.

Source: nginx ``max_fails`` / ``fail_timeout``; Envoy's outlier ejection (growing time).
"""

from __future__ import annotations

from enum import Enum

FIRST_PAUSE_S = 1.0
"""One refused connection is enough to look elsewhere; a second is what a service needs to restart its listener."""

LONGEST_PAUSE_S = 30.0
"""A server that comes back is found within this time."""


class Condition(Enum):
    """How a server is."""

    WELL = "well"  # the last connection was made; everyone may try
    ILL = "ill"  # the last connection failed; nobody tries before ``again_mono``, then one may
    TRIAL = "trial"  # one is trying; the others wait, until ``again_mono`` in case it never tells


class Event(Enum):
    """What can be learnt."""

    TRIED = "tried"  # someone has been sent to it while it was ill and its pause was over
    REACHED = "reached"  # a connection was made
    FAILED = "failed"  # a connection could not be made


NEXT: dict[tuple[Condition, Event], Condition] = {
    (Condition.WELL, Event.TRIED): Condition.WELL,
    (Condition.WELL, Event.REACHED): Condition.WELL,
    (Condition.WELL, Event.FAILED): Condition.ILL,
    (Condition.ILL, Event.TRIED): Condition.TRIAL,
    (Condition.ILL, Event.REACHED): Condition.WELL,  # an attempt begun before it fell ill, or by one who had no choice
    (Condition.ILL, Event.FAILED): Condition.ILL,  # the same outage seen by another: the pause does not grow
    (Condition.TRIAL, Event.TRIED): Condition.TRIAL,  # the last trial never told: another one
    (Condition.TRIAL, Event.REACHED): Condition.WELL,
    (Condition.TRIAL, Event.FAILED): Condition.ILL,
}


class Health:
    """
    One server's condition.

    Attributes:
        condition: see :class:`Condition`.
        again_mono: when the next trial may begin; meaningless while WELL.
        pause_s: how long it is left alone after the next failure.
        failures: connections failed in a row.
    """

    __slots__ = ("again_mono", "condition", "failures", "pause_s")

    def __init__(self) -> None:
        self.condition = Condition.WELL
        self.again_mono = 0.0
        self.pause_s = FIRST_PAUSE_S
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Health {self.condition.value} failures={self.failures} pause={self.pause_s:g}s>"

    def may_try(self, now_mono: float) -> bool:
        """Return whether a request may be sent there."""
        return self.condition is Condition.WELL or now_mono >= self.again_mono

    def tried(self, now_mono: float) -> None:
        """Someone goes there now. While it is ill this is the trial, and the next may begin a pause later."""
        if self.condition is not Condition.WELL and now_mono >= self.again_mono:
            self.condition = NEXT[self.condition, Event.TRIED]
            self.again_mono = now_mono + self.pause_s

    def reached(self) -> bool:
        """A connection was made; return whether that is news."""
        was = self.condition
        self.condition = NEXT[was, Event.REACHED]
        self.failures = 0
        self.pause_s = FIRST_PAUSE_S
        return was is not Condition.WELL

    def failed(self, now_mono: float) -> bool:
        """A connection could not be made; return whether that is news (it was well until now)."""
        was = self.condition
        self.condition = NEXT[was, Event.FAILED]
        self.failures += 1
        if was is not Condition.ILL:
            self.again_mono = now_mono + self.pause_s
            self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)
        return was is Condition.WELL
