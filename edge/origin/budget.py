"""
How many further attempts there may be: a share of the node's own requests to an origin.

An origin that fails every request must not get each of them twice: that is when it can bear it least. So what is sent
again is counted against what was asked, over all workers and the last seconds, and stops where the share is used up. A few are
allowed however little there is to do, since a share of nearly nothing is nothing.

Each slot counts in its own half of the origin's row, in two spans that take turns; a span is cleared by its slot when it comes
round again. Decides from sums; does not know who counts.

Invariant: over any time, further attempts are at most ``share`` of the requests of that time and of the span before it, or
``reserve`` per pair of spans, and one more for each worker that looked at the same moment.

Source: Finagle's retry budgets; Envoy's ``retry_budget``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.share.fleet import Fleet

SPAN_S: Final = 5.0
"""Two of them are looked at: what was asked in the last five to ten seconds."""

PENDING: Final = 0
"""An own column of an origin: exchanges that wait for a server."""

_FIRST: Final = 2
_NUMBER, _ASKED, _AGAIN = range(3)
_WIDTH: Final = 3


def may_spend(asked: int, again: int, share: float, reserve: int) -> bool:
    """Return whether one more attempt may be made, after *again* of them beside *asked* requests."""
    return again + 1 <= max(share * asked, reserve)


class Budget:
    """
    The budget of one origin, as one slot sees and spends it.

    Args:
        fleet, row, slot: where our own half of the origin's row is.
        share, reserve: see :func:`may_spend`.

    Attributes:
        asked_at: where in the page's words the present span's requests are counted: ``words[asked_at] += 1`` for each.
    """

    __slots__ = ("_first", "_fleet", "_number", "_reserve", "_row", "_share", "asked_at")

    def __init__(self, fleet: Fleet, row: int, slot: int, share: float, reserve: int) -> None:
        self._fleet = fleet
        self._row = row
        self._first = fleet.own(row, slot) + _FIRST
        self._share = share
        self._reserve = reserve
        self._number = -1
        self.asked_at = self._first + _ASKED

    def turn(self, now_mono: float) -> None:
        """Count in the span that *now_mono* is in. Call about once a second."""
        number = int(now_mono / SPAN_S) + 1
        if number == self._number:
            return
        self._number = number
        words, at = self._fleet.words, self._first + number % 2 * _WIDTH
        if words[at + _NUMBER] != number:
            words[at + _NUMBER] = 0
            words[at + _ASKED] = words[at + _AGAIN] = 0
            words[at + _NUMBER] = number
        self.asked_at = at + _ASKED

    def spend(self, now_mono: float, slots: Iterable[int]) -> bool:
        """Make one more attempt, if the node's budget allows it. *slots*: who is alive."""
        self.turn(now_mono)
        asked, again = self.spent(slots)
        if not may_spend(asked, again, self._share, self._reserve):
            return False
        self._fleet.words[self.asked_at - _ASKED + _AGAIN] += 1
        return True

    def spent(self, slots: Iterable[int]) -> tuple[int, int]:
        """Return requests and further attempts of the whole node in the present span and the one before it."""
        words, fleet, number = self._fleet.words, self._fleet, self._number
        asked = again = 0
        for slot in slots:
            first = fleet.own(self._row, slot) + _FIRST
            for at in (first, first + _WIDTH):
                if number - 1 <= words[at + _NUMBER] <= number + 1:  # another's clock may have turned a moment earlier
                    asked += words[at + _ASKED]
                    again += words[at + _AGAIN]
        return asked, again
