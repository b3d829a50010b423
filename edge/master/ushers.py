"""
Let nobody wait in a queue that nobody empties.

New connections are steered to places whose worker takes them. What was already waiting for a place without a worker is
accepted here after a moment and handed to the others: a place in back-off keeps nobody waiting for half a minute,
and a place that is given up (``TTOU``, a smaller configuration) closes its queue only when it is empty.

A place whose worker died once is not such a case: its replacement is there before the moment is over.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge.master import plan

if TYPE_CHECKING:
    from edge.master.desk import Desk

EMPTY_S: Final = 1.0
"""
How long a queue that the kernel was told to leave out stays open before it is emptied and closed: handshakes begun
before (their SYN chose the queue) are over by then, or are repeated by their clients.
"""

_log = logging.getLogger("edge.master")


class Ushers:
    """Whoever waits at the doors of *desk*'s house."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._vacant_since: dict[int, float] = {}

    def tend(self, now: float) -> float | None:
        """
        Steer, and empty what is vacant.

        Returns:
            In how many seconds to come back; None: when something has happened.
        """
        desk = self._desk
        if desk.is_stopping or desk.settled is None:
            return None
        accepting = plan.accepting(desk.wish, desk.roster)
        desk.house.listening.steer(accepting or range(desk.wish.places))
        if not accepting:  # nobody to hand anything to: whatever waits is no worse off in the queue
            return None
        places = set(range(desk.wish.places)) | desk.house.listening.spare_places(desk.wish.places)
        vacant = places - {child.place for child in desk.roster.workers() if child.stays}
        self._vacant_since = {place: self._vacant_since.get(place, now) for place in vacant}
        return min((self._empty(place, now) for place in vacant), default=None)

    def _empty(self, place: int, now: float) -> float:
        rest_s = self._vacant_since[place] + EMPTY_S - now
        if rest_s > 0:
            return rest_s
        count = self._desk.house.hand_over(place, self._desk.roster.workers())
        if count:
            _log.info("%d connections waiting for worker %d were handed to others", count, place)
        if place >= self._desk.wish.places:
            self._desk.house.listening.give_up(place)
        return EMPTY_S
