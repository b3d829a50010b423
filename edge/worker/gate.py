"""
Who is let in when many want to, and who has to go for it.

Three things run out: the connections one client may have (``[limits] connections_per_client``, counted over all workers), those
this worker may have (``[limits] connections``, or fewer where the process may not have so many descriptors), and descriptors
themselves. In the first case the newcomer is closed. In the others those who lose least make room (:mod:`edge.worker.shedding`);
where nobody can be spared, newcomers are closed, or stay in the kernel's queue, until somebody can: whoever is being served is
served on, and nothing has to be set right by hand afterwards.

Invariant: a session holds at most one seat, and gives it back when it closes.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING, Final

from edge.observe import names
from edge.observe.error_log import Seldom
from edge.policy.crowding import counted_as
from edge.worker.session import Phase, Waiting
from edge.worker.shedding import cheapest

if TYPE_CHECKING:
    import socket

    from edge.clock import Clock
    from edge.exchange.recognise import Door
    from edge.share.crowd import Crowd, Seat
    from edge.worker.fast import FastLane
    from edge.worker.session import Session

log = logging.getLogger("edge.worker")

LEAST_RESERVE: Final = 64
"""Descriptors that are never a client's: the store, logs, bells, and some for origins."""

AT_ONCE: Final = 64
"""Most sessions that make room at once: choosing costs a look at every session, so it is not done for one alone."""

RETRY_S: Final = 0.1
"""Where nobody could be spared, nobody is looked for again for so long."""

OPERATORS: Final = 32
"""How many more than allowed the admin address lets in: who looks after a full node must be able to ask it."""


def room_for(wanted: int, descriptors: int) -> int:
    """How many clients a process with so many *descriptors* can have: an eighth is kept for all else."""
    return min(wanted, max(1, descriptors - max(LEAST_RESERVE, descriptors // 8)))


class Gate:
    """
    The door of one worker.

    Args:
        fast: whose sessions there are.
        crowd, slot: where clients are counted, and by whom.
        clock: for how often something is said or tried.
    """

    def __init__(self, fast: FastLane, crowd: Crowd, slot: int, clock: Clock) -> None:
        self._fast = fast
        self._crowd = crowd
        self._slot = slot
        self._clock = clock
        self._cells = fast.cells
        limits = fast.rooms.config.limits
        self._per_client = limits.connections_per_client
        self._bits = limits.client_prefix
        self.room = room_for(limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._not_before = 0.0
        self._seldom = Seldom()
        if self.room < limits.connections:
            log.warning(
                "[limits] connections is %d, but this process may have too few descriptors for it: %d is what it takes",
                limits.connections,
                self.room,
            )
        fast.is_welcome = self.is_welcome
        fast.left = self.left

    def let_in(self, connection: socket.socket, peer: str, door: Door) -> Session | None:
        """Take a connection that was accepted, or close it."""
        seat = None
        if not door.is_admin:
            if door.introducers is None or not door.introducers.admits(peer):  # else it is not known yet who comes
                seat = self._seat_of(peer)
                if seat is not None and not self._has_room(seat):
                    connection.close()
                    return None
            is_full = len(self._fast.sessions) >= self.room and not self.relieve()
        else:
            is_full = len(self._fast.sessions) >= self.room + OPERATORS
        if is_full:
            self._cells[names.SESSIONS_REFUSED] += 1
            connection.close()
            return None
        if seat is not None:
            self._crowd.take(self._slot, seat)
        return self._fast.admit(connection, peer, door, seat)

    def is_welcome(self, session: Session) -> bool:
        """(Fast lane) Whether the client that a balancer has just named may have one connection more; if so it is counted."""
        seat = self._seat_of(session.peer)
        if seat is None:
            return True
        if not self._has_room(seat):
            return False
        self._crowd.take(self._slot, seat)
        session.seat = seat
        return True

    def _has_room(self, seat: Seat) -> bool:
        assert self._per_client is not None
        if self._crowd.count(seat) < self._per_client:
            return True
        self._cells[names.SESSIONS_CROWDED] += 1
        return False

    def relieve(self) -> int:
        """Close those who lose least by it; return how many. Nobody is looked for too often, see RETRY_S."""
        now_mono = self._clock.mono()
        if now_mono < self._not_before:
            return 0
        fast = self._fast
        most = min(AT_ONCE, max(1, self.room // 16))
        chosen = cheapest(fast.sessions.values(), now_mono, fast.rooms.config.timeouts, most)
        for session in chosen:
            self._cells[names.SHED[session.waiting.value]] += 1
            if session.phase is Phase.OPEN and session.waiting is Waiting.IDLE:
                fast.close_kindly(session)
            else:
                fast.close(session)
        if not chosen:
            self._not_before = now_mono + RETRY_S
        return len(chosen)

    def may_say(self, what: str) -> int | None:
        """Ask whether an operator is told of *what* now: once a minute (see :class:`edge.observe.error_log.Seldom`)."""
        return self._seldom.may_say(what, self._clock.mono())

    def left(self, session: Session) -> None:
        """(Fast lane) A session that had a seat has closed."""
        assert session.seat is not None
        self._crowd.leave(self._slot, session.seat)
        session.seat = None

    def _seat_of(self, peer: str) -> Seat | None:
        """Where a client is counted; None where nobody is, and for who is exempt: proxies of ours, and who has no address."""
        if self._per_client is None or self._fast.rooms.trusted.trusts(peer):
            return None
        client = counted_as(peer, self._bits)
        return None if client is None else self._crowd.seat(client)
