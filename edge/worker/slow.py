"""
The slow lane: one trio task for each exchange that must wait; but none where the wait is for one short answer (``quick``).

It carries out what :mod:`edge.exchange` decided, through the parts beside it, which share one :class:`~edge.worker.means.Means`:

    quick        asks and answers without a task where that is simple
    sharing      asks once for everyone: claims a key, joins a flight, refreshes behind
    asking       asks the origin, and sees what its head means
    question     what an origin is told, and how long it has
    confirming   what that does to a copy we have
    landing      keeps a reply, whole or as it lands
    following    sends a body while it lands
    passing      sends a reply that is not kept
    stored       sends copies from the store, and makes codings of them
    shaping      says what reply a copy gives
    parting      begins to keep what an origin has sent a part of
    parts        sends from a copy of which parts are stored
    gaps         fetches what is missing of one
    replacing    puts an operator's page in the place of an origin's words
    mirroring    lets another origin hear what one is asked
    tunnel       carries another protocol
    admitting    asks first whether a request may pass, where that takes time
    overrun      interrupts policy functions whose time is over

All of them write through the session and wait for room there; none touches a socket of a client's.

What is of use to one client only is done inside :meth:`Exchange.bound` and ends with the client. A fetch whose reply may be
kept is not: it ends with its reply, whoever is still waiting, since the next one who asks has the use of it. Its client is
then handed over to a task of its own, and begins another *leg*.

Invariant: one task carries an exchange at a time, and the one that carries its last leg ends it in
:meth:`SlowLane.settle`, once, whatever befell it.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, assert_never

import trio

from edge.errors import EdgeFault, Fault, Side
from edge.exchange.decision import Admit, Answer, Combine, Decision, Fetch, Serve, ServeStale, Stored, Tunnel
from edge.exchange.send import send_answer
from edge.exchange.wording import changed
from edge.message.head import Framing
from edge.observe import names
from edge.reply.errors import error_reply
from edge.worker.admitting import Admitting
from edge.worker.coding import Coders
from edge.worker.means import Errand, Means
from edge.worker.mirroring import Mirrors
from edge.worker.parts import combine
from edge.worker.question import namer
from edge.worker.quick import Quick
from edge.worker.session import Exchange, Phase
from edge.worker.sharing import fetch, go_on, refresh_behind
from edge.worker.stored import BodyGone, send_ready, send_stored
from edge.worker.tunnel import tunnel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge.clock import Clock
    from edge.exchange.rooms import Rooms
    from edge.worker.flights import Flights
    from edge.worker.origins import Origins

log = logging.getLogger("edge")


class SlowLane:
    """
    The exchanges that must wait.

    Args:
        rooms: what is decided with.
        origins: who is asked.
        flights: who is asking; None without a store.
        nursery: where the tasks live.
        clock: for what is measured and logged.
        prefix: of the request ids this worker gives out.
        origin_blocks: where each origin's counters are.

    Attributes:
        carried: exchanges that have not been settled yet.
        quick: asks what needs no task.
        name: gives an id to a request that no origin was told of; None: such have none.
    """

    def __init__(
        self,
        rooms: Rooms,
        origins: Origins,
        flights: Flights | None,
        nursery: trio.Nursery,
        clock: Clock,
        *,
        prefix: str,
        origin_blocks: Mapping[str, int],
    ) -> None:
        self.rooms = rooms
        self.nursery = nursery
        self.clock = clock
        self.carried = 0
        self._cells = rooms.cells
        settings = rooms.config.compression
        numbers = count(1)
        beginning = prefix.encode().replace(b"%", b"%%") + b"-%x"
        self.means = Means(
            rooms=rooms,
            origins=origins,
            flights=flights,
            nursery=nursery,
            clock=clock,
            cells=rooms.cells,
            coders=Coders({coding.encode(): level for coding, level in settings.levels.items()}, settings.padding),
            codings=tuple(coding.encode() for coding in settings.encodings),
            origin_cells={name: names.OriginCells.of(block) for name, block in origin_blocks.items()},
            next_id=lambda: beginning % next(numbers),
            hand_over=self._hand_over,
            walk=self._walk,
            mirrors=Mirrors(nursery, origins, rooms.cells),
        )
        self._admitting: Admitting | None = None
        if rooms.admission is not None:
            self._admitting = Admitting(rooms.admission)
            self._admitting.begin(self.means)
        self.name = namer(self.means)
        self.quick = Quick(self.means, self)

    def take(self, exchange: Exchange, decision: Decision, *, is_quick: bool = True) -> None:
        """
        Carry *exchange* in a task of its own, or without one where that is simple. Returns at once.

        Args:
            exchange: taken from its session's connection.
            decision: what to do.
            is_quick: False gives everything a task; a test compares the bytes.
        """
        self.carried += 1
        self._cells[names.EXCHANGES_OPEN] += 1
        if exchange.head.framing is Framing.CHUNKED:
            way = exchange.known.way
            if way is not None and way.body_bytes is not None:
                exchange.session.conn.limit_body(exchange.stream, way.body_bytes)
        is_counted = exchange.visit is not None and not exchange.visit.is_uncounted
        try:
            if is_quick and type(decision) is Fetch and not is_counted and self.quick.take(exchange, decision):
                return
        except Exception as error:  # noqa: BLE001 - an error of our own costs this exchange, and is told where others are
            self.nursery.start_soon(self._carry, exchange, exchange.leg, partial(_raise, error))
            return
        self._cells[names.SLOW_LANE] += 1
        self.nursery.start_soon(self._carry, exchange, exchange.leg, lambda: self._walk(exchange, decision))

    def go_on(self, errand: Errand) -> None:
        """Carry on, in a task, what :class:`~edge.worker.quick.Quick` has begun."""
        self._cells[names.SLOW_LANE] += 1
        self.nursery.start_soon(self._carry, errand.x, errand.x.leg, lambda: go_on(self.means, errand))

    def finish(self, x: Exchange) -> None:
        """Settle an exchange whose reply is whole, now or when the client has taken it."""
        session = x.session
        if session.phase is Phase.OPEN:
            if session.conn.out:
                self.nursery.start_soon(self._carry, x, x.leg, _nothing_more)
                return
        elif session.conn.out:  # it was closed while this was being written
            x.word = x.word or "connection_terminated"
        self.settle(x)

    def fail(self, x: Exchange, fault: Fault) -> None:
        """End an exchange that no task carries with a fault."""
        self._failed(x, x.leg, fault)
        self.finish(x)

    def _hand_over(self, x: Exchange, walk: Callable[[], Awaitable[None]]) -> None:
        """Begin the next leg in another task: see :class:`Means`."""
        x.leg += 1
        self.nursery.start_soon(self._carry, x, x.leg, walk)

    async def _carry(self, x: Exchange, leg: int, walk: Callable[[], Awaitable[None]]) -> None:
        """Carry one leg of an exchange, and if it was the last, the exchange to its end, whatever that is."""
        try:
            try:
                await walk()
            except BodyGone:
                if x.leg != leg or x.status:
                    raise
                await self._walk(x, self.rooms.without_copy(x.known))
            if x.leg == leg:
                await x.session.room(0)
        except Fault as fault:
            self._failed(x, leg, fault)
        except trio.Cancelled:
            x.word = x.word or "connection_terminated"
            raise
        except Exception:
            self._cells[names.BUGS] += 1
            log.exception("an error of our own, on %r: please report it", x)
            self._failed(x, leg, EdgeFault("an error of our own; see the error log"))
        finally:
            if x.leg == leg:
                self.settle(x)

    async def _walk(self, x: Exchange, decision: Decision) -> None:
        """Carry out a decision, and what it leads to."""
        means = self.means
        if x.visit is not None:
            decision = x.visit.hold(decision, self.rooms.now_wall)
            x.detail = x.visit.detail
        following: Decision | None = decision
        while following is not None:
            match following:
                case Serve():
                    x.outcome = x.outcome if x.collapsed else "hit"
                    send_ready(self.rooms, x, following)
                    return
                case Answer():
                    x.outcome, x.word = following.outcome, following.word
                    x.detail = following.detail or x.detail
                    x.status, x.sent_bytes = following.head.status, len(following.body)
                    send_answer(x.session.conn, x.stream, following, x.dress)
                    x.sent()
                    return
                case Stored():
                    x.outcome = x.outcome if x.collapsed else "hit"
                    with x.bound():
                        await send_stored(means, x, following)
                    return
                case Combine():
                    with x.bound():
                        following = await combine(means, x, following)
                case ServeStale():
                    self._cells[names.CACHE_STALE_SERVED] += 1
                    self.nursery.start_soon(refresh_behind, means, x.known, following.refresh)
                    following = following.stored
                case Fetch():
                    following = await fetch(means, x, following)
                case Admit():
                    assert self._admitting is not None
                    visit = following.visit
                    following = visit.hold(await self._admitting.admit(means, x, following), self.rooms.now_wall)
                    x.detail = x.detail or visit.detail
                case Tunnel():
                    with x.bound():
                        await tunnel(means, x)
                    return
                case _:
                    assert_never(following)

    # -- the end --------------------------------------------------------------------------------------------

    def _failed(self, x: Exchange, leg: int, fault: Fault) -> None:
        """Say what can still be said: an error reply, or a connection that breaks where the reply did."""
        if x.leg != leg:  # the client is another's by now, who learns of it from the flight
            return
        session = x.session
        if x.complete and not session.conn.out:
            return  # all of it left; that the connection ended with it, as it was to, is no fault
        x.word, x.detail = x.word or fault.word, x.detail or fault.detail
        if session.phase is not Phase.OPEN or x.complete:
            return
        if x.status or fault.reply is None:
            x.abort()
            return
        self._name(x)
        head, body = error_reply(
            fault.reply,
            now_wall=self.rooms.now_wall,
            accept=x.head.get(b"accept"),
            request_id=x.request_id.decode("latin-1") or None,
            proxy_error=None if fault.side is Side.CLIENT else fault.word,
            retry_after_s=fault.retry_after_s,
            to_head=x.head.method == b"HEAD" and fault.side is not Side.CLIENT,
            pages=x.known.pages,
        )
        head = changed(x.known, head)
        if fault.side is Side.CLIENT:
            x.refuse(head, body)
            return
        x.reply(head)
        if body:
            x.send(body)
        x.end()

    def _name(self, x: Exchange) -> None:
        """See to it that an exchange has an id, where all of them have one."""
        if self.name is not None and not x.request_id:
            x.request_id = self.name(x.head, x.session.peer)

    def settle(self, x: Exchange) -> None:
        """Every exchange ends here: one entry, and nothing left behind."""
        self.carried -= 1
        self._cells[names.EXCHANGES_OPEN] -= 1
        if x.visit is not None:
            x.visit.release()
        session = x.session
        if session.carried.get(x.stream) is x:
            del session.carried[x.stream]
        if x.status and not x.complete and not x.word:
            x.word = "connection_terminated"
        self._name(x)
        self.rooms.record(
            (
                self.clock.wall(),
                self.rooms.address(session.peer, x.head),
                session.tls,
                x.head,
                x.status,
                x.sent_bytes,
                self.clock.mono() - x.started_mono,
                x.outcome,
                x.encoding,
                x.origin,
                x.origin_s,
                x.request_id.decode("latin-1"),
                x.word,
                x.detail,
            )
        )
        session.settled()


async def _raise(error: Exception) -> None:
    raise error


async def _nothing_more() -> None:
    """All is said; what is left is to wait until it has left."""
