"""
What every part of the slow lane works with, in one value made once per worker; and the errand that they pass on.

Decides nothing. An :class:`Errand` is one question that an origin has answered: on whose behalf, why, and what came back.
The parts hand it on to each other until somebody has carried the reply where it belongs.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.worker.flights import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import trio

    from edge.cache.copy import Copy
    from edge.cache.storing import NotStored
    from edge.clock import Clock
    from edge.exchange.decision import Decision, Fetch
    from edge.exchange.rooms import Rooms
    from edge.message.head import ReplyHead
    from edge.observe.ledger import Cells
    from edge.observe.names import OriginCells
    from edge.worker.coding import Coders
    from edge.worker.flights import Flight, Flights
    from edge.worker.mirroring import Mirrors
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.origins import Origins
    from edge.worker.session import Exchange


@dataclass(slots=True, eq=False)
class Means:
    """
    What the slow lane's parts share.

    Attributes:
        rooms: what is decided with.
        origins: who is asked.
        flights: who is asking; None without a store.
        nursery: where what outlives its caller runs.
        clock: for what is measured and logged.
        cells: this worker's counters.
        coders: who makes codings.
        codings: those that are made; asked of no origin where one may be made here.
        origin_cells: where each origin's counters are.
        next_id: gives a request its id.
        hand_over: lets another task carry an exchange on, from the given walk to its end. The task that calls this must
            not touch the exchange's client any more.
        walk: carries out a decision, and what it leads to, on behalf of an exchange.
        mirrors: who lets other origins hear what is asked.
    """

    rooms: Rooms
    origins: Origins
    flights: Flights | None
    nursery: trio.Nursery
    clock: Clock
    cells: Cells
    coders: Coders
    codings: tuple[bytes, ...]
    origin_cells: Mapping[str, OriginCells]
    next_id: Callable[[], bytes]
    hand_over: Callable[[Exchange, Callable[[], Awaitable[None]]], None]
    walk: Callable[[Exchange, Decision], Awaitable[None]]
    mirrors: Mirrors


@dataclass(slots=True, eq=False)
class Errand:
    """
    A question that an origin is asked, or has answered.

    Attributes:
        x: on whose behalf.
        plan: why and what for.
        flight: what others share, if they may; None: it is for this client only.
        ox: the exchange with the origin, from which the body is still to be read.
        asked_mono, asked_wall: when it was asked.
        is_answered: its final head has come: ``reply`` may be looked at.
        pieces: of its body that have been read already.
        verdict: whether it may be kept, where that has been weighed: weighing counts the fetch.
    """

    x: Exchange
    plan: Fetch
    flight: Flight | None
    ox: OriginExchange
    asked_mono: float
    asked_wall: float
    is_answered: bool = False
    reply: ReplyHead = field(init=False)
    pieces: Sequence[bytes] = ()
    verdict: Copy | NotStored | None = None

    def bound(self) -> AbstractContextManager[None]:
        """End with the client from here on; a fetch that was the client's own from the start does so already."""
        return nullcontext() if self.flight is None else self.x.bound()

    def land(self, flights: Flights | None) -> None:
        """The flight is of no more use to others: let them look for themselves, now."""
        if self.flight is not None:
            assert flights is not None
            self.flight.end(State.OVER)
            flights.touch_down(self.flight)
