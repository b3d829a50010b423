"""
How a server stands: what an operator ordered, what its checks say, and what the attempts themselves have shown.

Decides whether a server may be asked, how long it is left alone after it could not be reached or has failed several times in a
row, and how much of its share it has while it comes back. What it goes by lies in the server's row of the fleet page, so
that all workers know at once what one has learnt. Does not know who is asked, nor what a failure is: callers say.

Three things are kept apart, and a server is asked only where none of them forbids it:

- its :class:`Order`: enabled, draining (only who is bound to it already still comes) or disabled;
- what its *checks* say: up or down; unknown counts as up;
- its :class:`Condition`, learnt from attempts. The pause doubles with every failed trial and begins anew once the server has
  been well for as long as the longest pause.

Invariant: a server that is out gets at most one trial per pause from each worker that looks at the same moment, usually one in
all, even if the one who tried never tells how it went. Two workers that write at once write the same thing, or the later one
wins; nothing that is lost lasts longer than the next pause.

Source: nginx ``max_fails`` / ``fail_timeout``; Envoy's outlier ejection (growing time, a floor) and slow start; HAProxy's
``drain`` and ``maint``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.share.fleet import Fleet

FIRST_PAUSE_S: Final = 1.0
"""One refused connection is enough to look elsewhere; a second is what a service needs to restart its listener."""

LONGEST_PAUSE_S: Final = 30.0
"""A server that comes back is found within this time."""

FIRST_SHARE: Final = 0.1
"""Of its share, with which a server that comes back begins: as in Envoy's ``min_weight_percent``."""

# Columns of a server's common half. The first line is seldom written.
ORDER, CHECKED, CONDITION, CAUSE, AGAIN, PAUSE, SINCE = range(1, 8)
# The second is written by requests. 8, 9 and 10 are the balancer's; see there.
FAILURES, EJECTIONS, CHECK_STATUS, CHECK_MONO = range(11, 15)


class Order(IntEnum):
    """What an operator ordered."""

    ENABLED = 0  # it is asked
    DRAINING = 1  # only clients that are bound to it by a cookie still come
    DISABLED = 2  # nobody comes


class Checked(IntEnum):
    """What the checks say."""

    UNKNOWN = 0  # nobody has checked
    UP = 1
    DOWN = 2


class Condition(IntEnum):
    """How a server is, as attempts have shown."""

    WELL = 0  # everyone may try
    OUT = 1  # nobody tries before AGAIN, then one may
    TRIAL = 2  # one is trying; the others wait, until AGAIN in case it never tells


class Cause(IntEnum):
    """Why it is out, and so what brings it back."""

    NONE = 0
    UNREACHABLE = 1  # a connection could not be made: one that is made brings it back
    FAILING = 2  # it failed several times in a row: a good reply brings it back


class Event(IntEnum):
    """What can be learnt."""

    TRIED = 0  # someone has been sent to it while it was out and its pause was over
    WENT_WELL = 1  # what it was out for is over
    FAILED = 2  # the last attempt failed, and that is enough


NEXT: Final[dict[tuple[Condition, Event], Condition]] = {
    (Condition.WELL, Event.TRIED): Condition.WELL,
    (Condition.WELL, Event.WENT_WELL): Condition.WELL,
    (Condition.WELL, Event.FAILED): Condition.OUT,
    (Condition.OUT, Event.TRIED): Condition.TRIAL,
    (Condition.OUT, Event.WENT_WELL): Condition.WELL,  # an attempt begun before it was out, or by one who had no choice
    (Condition.OUT, Event.FAILED): Condition.OUT,  # the same outage seen by another: the pause does not grow
    (Condition.TRIAL, Event.TRIED): Condition.TRIAL,  # the last trial never told: another one
    (Condition.TRIAL, Event.WENT_WELL): Condition.WELL,
    (Condition.TRIAL, Event.FAILED): Condition.OUT,
}


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a server is left alone: at first, and at most, in seconds."""

    first_s: float = FIRST_PAUSE_S
    longest_s: float = LONGEST_PAUSE_S


class Health:
    """
    How one server stands, read from and written to its row.

    Args:
        fleet: where the row is.
        row: which.

    Every method that changes something that others go by says so to the fleet.
    """

    __slots__ = ("_at", "_fleet", "_floats", "_words")

    def __init__(self, fleet: Fleet, row: int) -> None:
        self._fleet = fleet
        self._at = fleet.common(row)
        self._words = fleet.words
        self._floats = fleet.floats

    def __repr__(self) -> str:
        return (
            f"<Health {self.order.name.lower()} {self.checked.name.lower()} {self.condition.name.lower()} "
            f"failures={self.failures}>"
        )

    # -- what is known --------------------------------------------------------------------------------------

    @property
    def order(self) -> Order:
        """What an operator ordered."""
        return Order(self._words[self._at + ORDER])

    @property
    def checked(self) -> Checked:
        """What the checks say."""
        return Checked(self._words[self._at + CHECKED])

    @property
    def condition(self) -> Condition:
        """What attempts have shown."""
        return Condition(self._words[self._at + CONDITION])

    @property
    def cause(self) -> Cause:
        """Why it is out."""
        return Cause(self._words[self._at + CAUSE])

    @property
    def again_mono(self) -> float:
        """When the next trial may begin; meaningless while WELL."""
        return self._floats[self._at + AGAIN]

    @property
    def since_mono(self) -> float:
        """When it last came back; 0.0: it was never away."""
        return self._floats[self._at + SINCE]

    @property
    def failures(self) -> int:
        """Failures in a row; not 0 for as long as it is out."""
        return self._words[self._at + FAILURES]

    @property
    def ejections(self) -> int:
        """How often it has been out since the page was made."""
        return self._words[self._at + EJECTIONS]

    @property
    def last_check(self) -> tuple[int, float]:
        """The status of the last check's reply (0: there was none), and when it was; 0.0: there was no check."""
        return self._words[self._at + CHECK_STATUS], self._floats[self._at + CHECK_MONO]

    @property
    def trouble_at(self) -> int:
        """Where in the page's words a number stands that is 0 while there is nothing to forget: for whoever asks often."""
        return self._at + FAILURES

    def may_ask(self, now_mono: float) -> bool:
        """Return whether a request may be sent there."""
        words, at = self._words, self._at
        return (
            words[at + ORDER] == Order.ENABLED
            and words[at + CHECKED] != Checked.DOWN
            and (words[at + CONDITION] == Condition.WELL or now_mono >= self._floats[at + AGAIN])
        )

    def share(self, now_mono: float, slow_start_s: float) -> float:
        """Return how much of its weight it has: FIRST_SHARE when it comes back, then more, 1.0 after *slow_start_s*."""
        back_mono = self._floats[self._at + SINCE]
        if not slow_start_s or not back_mono:
            return 1.0
        return min(1.0, max(FIRST_SHARE, (now_mono - back_mono) / slow_start_s))

    def state(self, now_mono: float, slow_start_s: float) -> str:
        """Return how it stands in one word, for people and labels."""
        if self.order is not Order.ENABLED:
            return self.order.name.lower()
        if self.checked is Checked.DOWN:
            return "down"
        if self.condition is not Condition.WELL:
            return "unreachable" if self.cause is Cause.UNREACHABLE else "ejected"
        return "up" if self.share(now_mono, slow_start_s) == 1.0 else "slow-start"

    # -- what is learnt -------------------------------------------------------------------------------------

    def tried(self, now_mono: float, pauses: Pauses = Pauses()) -> None:
        """Someone goes there now. While it is out this is the trial, and the next may begin a pause later."""
        if self.condition is not Condition.WELL and now_mono >= self.again_mono:
            self._step(Event.TRIED)
            self._floats[self._at + AGAIN] = now_mono + (self._floats[self._at + PAUSE] or pauses.first_s)
            self._fleet.changed()

    def reached(self, now_mono: float) -> bool:
        """A connection was made; return whether that is news."""
        return self.cause is Cause.UNREACHABLE and self._came_back(now_mono)

    def unreachable(self, now_mono: float, pauses: Pauses = Pauses()) -> bool:
        """A connection could not be made; return whether that is news (it was well until now)."""
        self._words[self._at + FAILURES] += 1
        return self._goes_out(Cause.UNREACHABLE, now_mono, pauses)

    def failed(self, now_mono: float, limit: int, pauses: Pauses, *, may_eject: bool) -> bool:
        """
        It failed in a way that counts.

        Args:
            now_mono: the time.
            limit: failures in a row after which it is out; one is enough for a trial.
            pauses: how long.
            may_eject: enough others are in.

        Returns:
            Whether it is out from now on.
        """
        failures = self._words[self._at + FAILURES] = self._words[self._at + FAILURES] + 1
        if self.condition is Condition.WELL and (failures < limit or not may_eject):
            return False
        return self._goes_out(Cause.FAILING, now_mono, pauses)

    def answered(self, now_mono: float) -> bool:
        """It gave a good reply; return whether it is back by that."""
        self._words[self._at + FAILURES] = 0
        return self._came_back(now_mono)

    def joined(self, now_mono: float) -> None:
        """It is new among servers that are at work already: it begins slowly."""
        if not self.since_mono:
            self._floats[self._at + SINCE] = now_mono
            self._fleet.changed()

    def checked_as(self, verdict: Checked, now_mono: float) -> bool:
        """The checks say *verdict* now; return whether that is news. Who comes up begins slowly, and with a clean record."""
        before = self.checked
        if verdict is before:
            return False
        self._words[self._at + CHECKED] = verdict
        if before is Checked.DOWN:
            self._words[self._at + FAILURES] = 0
            self._words[self._at + CONDITION] = Condition.WELL
            self._words[self._at + CAUSE] = Cause.NONE
            self._floats[self._at + SINCE] = now_mono
        self._fleet.changed()
        return before is not Checked.UNKNOWN or verdict is Checked.DOWN

    def note_check(self, status: int, now_mono: float) -> None:
        """Note a check's outcome for whoever asks."""
        self._words[self._at + CHECK_STATUS] = status
        self._floats[self._at + CHECK_MONO] = now_mono

    def obey(self, order: Order, now_mono: float) -> bool:
        """Do what an operator orders; return whether that changes anything. Who is enabled again begins slowly."""
        before = self.order
        if order is before:
            return False
        self._words[self._at + ORDER] = order
        if order is Order.ENABLED:
            self._floats[self._at + SINCE] = now_mono
        self._fleet.changed()
        return True

    # -- within ---------------------------------------------------------------------------------------------

    def _step(self, event: Event) -> Condition:
        after = NEXT[self.condition, event]
        self._words[self._at + CONDITION] = after
        return after

    def _goes_out(self, cause: Cause, now_mono: float, pauses: Pauses) -> bool:
        floats, at = self._floats, self._at
        was = self.condition
        self._step(Event.FAILED)
        if was is Condition.OUT:
            return False
        pause_s = floats[at + PAUSE]
        if not pause_s or (was is Condition.WELL and now_mono - floats[at + SINCE] >= pauses.longest_s):
            pause_s = pauses.first_s
        floats[at + AGAIN] = now_mono + pause_s
        floats[at + PAUSE] = min(pause_s * 2, pauses.longest_s)
        self._words[at + CAUSE] = cause
        if was is Condition.WELL:
            self._words[at + EJECTIONS] += 1
        self._fleet.changed()
        return was is Condition.WELL

    def _came_back(self, now_mono: float) -> bool:
        if self.condition is Condition.WELL:
            return False
        self._step(Event.WENT_WELL)
        self._words[self._at + CAUSE] = Cause.NONE
        self._words[self._at + FAILURES] = 0
        self._floats[self._at + SINCE] = now_mono
        self._fleet.changed()
        return True
