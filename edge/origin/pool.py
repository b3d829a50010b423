"""
Which connection to a server is used, how many there may be, and which are closed.

Bookkeeping only: connections are opaque, nothing here opens, reads or closes one. Whoever owns a :class:`Pool` opens
after :meth:`Pool.opening`, and closes whatever it is given back as condemned.

A connection is *lent* or *idle*. Idle ones are lent freshest first: the ones in use stay warm, the surplus ages and goes.

Invariant: ``count == lent + idle <= most`` at all times, and a connection that was given back as condemned is never
lent again.

Source: RFC 9112 §9.3 (persistence), §9.5 (either side may close an idle connection); httpcore's ``ConnectionPool``
(assign first, close what was condemned afterwards).
"""

from __future__ import annotations

import math
import re
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN_S = 1.0
"""We close this much earlier than the origin says it will: its FIN and our request must not cross on the way."""

_TIMEOUT = re.compile(rb'(?:^|[,;\s])timeout\s*=\s*"?(\d{1,9})', re.IGNORECASE)

L = TypeVar("L")


class Pool(Generic[L]):
    """
    The connections to one server.

    Args:
        most: connections at once.
        most_idle: connections kept unused.

    Attributes:
        count: connections there are: lent, idle or being opened.
    """

    __slots__ = ("_idle", "count", "most", "most_idle")

    def __init__(self, most: int, most_idle: int) -> None:
        self.most = most
        self.most_idle = most_idle
        self.count = 0
        self._idle: deque[tuple[L, float]] = deque()  # the freshest last

    def __repr__(self) -> str:
        return f"<Pool lent={self.lent} idle={self.idle} most={self.most}>"

    @property
    def idle(self) -> int:
        """Connections that could be lent, unless they turn out too old."""
        return len(self._idle)

    @property
    def lent(self) -> int:
        """Connections in use or being opened."""
        return self.count - len(self._idle)

    @property
    def has_room(self) -> bool:
        """Another exchange can be carried: a connection is idle, or one more may be opened."""
        return self.count < self.most or bool(self._idle)

    @property
    def may_open(self) -> bool:
        """One more connection is allowed."""
        return self.count < self.most

    def take(self, now_mono: float) -> tuple[L | None, bool]:
        """
        Lend the freshest idle connection.

        Returns:
            The connection, and whether it may be used: False means that it is condemned, and the caller closes it,
            says :meth:`gone` and asks again. (None, False) when none is idle.
        """
        if not self._idle:
            return None, False
        link, until_mono = self._idle.pop()
        return link, now_mono < until_mono

    def take_fit(self, is_fit: Callable[[L], bool], now_mono: float) -> tuple[L | None, bool]:
        """
        Lend the freshest idle connection that is fit, where connections are not alike.

        Returns:
            As :meth:`take`. Where none is fit and no more may be opened, the oldest is condemned to make room.
        """
        for at in range(len(self._idle) - 1, -1, -1):
            link, until_mono = self._idle[at]
            if is_fit(link):
                del self._idle[at]
                return link, now_mono < until_mono
        if self._idle and self.count >= self.most:
            return self._idle.popleft()[0], False
        return None, False

    def opening(self) -> None:
        """Count a connection that is about to be opened; it is lent from now on."""
        if self.count >= self.most:
            raise AssertionError("opened beyond the limit")
        self.count += 1

    def gone(self) -> None:
        """A lent connection was closed, or could not be opened."""
        if self.count <= len(self._idle):
            raise AssertionError("more connections gone than lent")
        self.count -= 1

    def give_back(self, link: L, now_mono: float, keep_s: float) -> L | None:
        """
        Take back a connection that may serve again.

        Args:
            link: lent until now.
            now_mono: the time.
            keep_s: how long it may wait for its next exchange; see :func:`keep_for`.

        Returns:
            A condemned connection to close and :meth:`gone`: this one if none are kept, the oldest if there are too
            many.
        """
        if keep_s <= 0.0 or not self.most_idle:
            return link
        self._idle.append((link, now_mono + keep_s))
        if len(self._idle) > self.most_idle:
            return self._idle.popleft()[0]
        return None

    def aged(self, now_mono: float) -> list[L]:
        """Give up every idle connection whose time is over; the caller closes each and says :meth:`gone`."""
        if not self._idle:
            return []
        condemned = [link for link, until_mono in self._idle if until_mono <= now_mono]
        if condemned:
            self._idle = deque(entry for entry in self._idle if entry[1] > now_mono)
        return condemned

    def kept(self) -> list[L]:
        """Return the idle connections, oldest first, to look at; they stay idle."""
        return [link for link, _ in self._idle]

    def condemn(self, link: L) -> None:
        """Give up one idle connection: the caller closes it and says :meth:`gone`."""
        self._idle = deque(entry for entry in self._idle if entry[0] is not link)


def lasts_for(carried: int, age_s: float, max_uses: int | None, max_age_s: float | None) -> float:
    """
    Return how long a connection may be used on, seconds; nothing or less: no more.

    Args:
        carried: exchanges it has carried.
        age_s: since it was made.
        max_uses: exchanges it may carry; None: any number.
        max_age_s: how old it may become; None: as old as it likes.
    """
    if max_uses is not None and carried >= max_uses:
        return 0.0
    return math.inf if max_age_s is None else max_age_s - age_s


def keep_for(idle_s: float, keep_alive: bytes | None) -> float:
    """
    Return how long a connection is kept unused.

    Args:
        idle_s: as configured.
        keep_alive: the reply's ``keep-alive`` field; its ``timeout`` shortens, never lengthens (RFC 9112 §C.2.2).
    """
    if keep_alive is None:
        return idle_s
    said = _TIMEOUT.search(keep_alive)
    return idle_s if said is None else min(idle_s, max(0.0, int(said[1]) - MARGIN_S))
