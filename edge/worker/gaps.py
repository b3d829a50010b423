"""
Fetching what is missing of a copy of which parts are stored.

A :class:`Run` asks for some slices in one request, in a task of its own, and stores what comes; those who want it read it from the
store and are woken as it lands. Its slices are claimed for the node before it asks, and given back one by one behind what has
landed: so no two runs fetch the same, and one asks no further than to where another's begins. Whoever is killed gives his
slices back by it, and the next who wants them goes on where he was.

A run is not given up when its client leaves: it is short (:data:`edge.cache.spans.RUN_SLICES`), and what it brings stays.

Every question says ``If-Range`` with the copy's strong validator, so that what comes belongs to what is there, or is known not to.

Source: RFC 9110 §13.1.5, §14.2, §15.3.7; RFC 9111 §3.4.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from edge.cache.combine import Fit, fit, part_of, validator_of
from edge.cache.lookup import Fwd
from edge.cache.refresh import refresh
from edge.cache.spans import gap_around
from edge.cache.storing import NotStored, not_stored
from edge.errors import EdgeFault, Fault, OriginFault
from edge.exchange.decision import Fetch
from edge.observe import names
from edge.origin.request import Aim
from edge.worker.flights import PIECE
from edge.worker.question import compose, put, within
from edge.worker.session import Unattended
from edge.worker.tally import count_reply

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from edge.cache.copy import Copy
    from edge.exchange.recognise import Known
    from edge.share.claims import Claims
    from edge.worker.means import Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange

log = logging.getLogger("edge")


class Changed(OriginFault):
    """The origin has another representation now: what was stored is no part of it."""


def claim_number(copy: Copy, at: int, each: int) -> int:
    """Return the number that stands for the slice that the byte *at* lies in."""
    return int.from_bytes(blake2b(b"%d part %d" % (copy.copy_id, at // each), digest_size=7).digest())


def is_landing(claims: Claims, copy: Copy) -> bool:
    """Whether bytes of *copy* are landing now, here or in another worker: its origin has just said that it still has it."""
    number = _landing_number(copy)
    return claims.shows(number) or claims.is_shown(number)


def _landing_number(copy: Copy) -> int:
    return int.from_bytes(blake2b(b"%d lands" % copy.copy_id, digest_size=7).digest())


def ask(means: Means, x: Exchange, copy: Copy, start: int, end: int) -> OriginExchange:
    """Ask for the bytes *start* to *end* of *copy*, on behalf of *x*. Nothing is sent yet."""
    mark = validator_of(copy)
    assert mark is not None
    request = compose(means, x, Fetch(Aim.WHOLE, Fwd.PARTIAL, part=(start, end)))
    request.fields.append((b"if-range", mark))
    return put(means, x, replace(request, method=b"GET"))


def fitting(copy: Copy, reply_fit: Fit, status: int) -> None:
    """
    Go on only if the reply has bytes of *copy*.

    Raises:
        OriginFault: it has not; Changed, if it shows that what is stored is out of date.
    """
    if reply_fit is Fit.CHANGED:
        raise Changed("it has changed since parts of it were fetched", word="http_response_incomplete")
    if reply_fit is Fit.NOTHING:
        raise OriginFault(
            f"asked for missing bytes of {copy.length}, it answered {status}", word="http_response_incomplete"
        )


class Run:
    """
    One question for bytes that are missing.

    Args:
        means: of the lane.
        known: a request that wants them, as whose they are asked for.
        copy: of which parts are stored.
        start, end: which bytes. The slice of *start* has been claimed, and is this run's to give back; the others are claimed here,
            as far as they are to be had.

    Attributes:
        copy: as it is now.
        at: the first byte that has not landed.
        has_begun: the origin has begun to send the bytes.
        fault: why it ended early, if the origin failed.
        refused: why it ended early, if the store took no more.
        is_over: nothing more will come of it.
        server: who answered.
    """

    __slots__ = (
        "_asked_wall",
        "_each",
        "_held",
        "_known",
        "_means",
        "at",
        "copy",
        "end",
        "fault",
        "has_begun",
        "is_over",
        "refused",
        "server",
    )

    def __init__(self, means: Means, known: Known, copy: Copy, start: int, end: int) -> None:
        assert means.rooms.parts is not None
        self._means = means
        self._known = known
        self._each = means.rooms.parts.slice_bytes(copy.length)
        self._held = [claim_number(copy, start, self._each)]
        self._asked_wall = 0.0
        self.copy = copy
        self.at = start
        self.end = end
        self.has_begun = False
        self.fault: Fault | None = None
        self.refused: NotStored | None = None
        self.is_over = False
        self.server = ""
        self._claim_more()

    def _claim_more(self) -> None:
        """Claim the slices behind the first; ask for no more than was to be had."""
        assert self._means.flights is not None
        for at in range((self.at // self._each + len(self._held)) * self._each, self.end, self._each):
            number = claim_number(self.copy, at, self._each)
            if not self._means.flights.claims.claim(number):
                self.end = at
                return
            self._held.append(number)

    async def carry(self) -> None:
        """Ask, and store what comes."""
        way = self._known.way
        total_s = None if way is None or way.timeouts is None else way.timeouts.total_s
        await self.end_with(self._ask() if total_s is None else self._ask_within(total_s))

    async def _ask_within(self, total_s: float) -> None:
        with within(total_s):
            await self._ask()

    async def end_with(self, bringing: Awaitable[None]) -> None:
        """Await what brings the bytes, and end: whoever waits for them learns of it."""
        means = self._means
        try:
            await bringing
        except Fault as fault:
            self.fault = fault
            assert self._known.origin is not None
            means.cells[means.origin_cells[self._known.origin.name].faults] += 1
        except Exception:
            means.cells[names.BUGS] += 1
            self.fault = EdgeFault("an error of our own; see the error log")
            log.exception("an error of our own, fetching a part of %r: please report it", self._known.ask.url)
        finally:
            self.is_over = True
            assert means.flights is not None
            for number in self._held:
                means.flights.claims.release(number)
            means.flights.ring()

    async def _ask(self) -> None:
        means, known, origin = self._means, self._known, self._known.origin
        assert origin is not None
        store = means.rooms.store
        assert store is not None
        asked_mono, asked_wall = means.clock.mono(), means.clock.wall()
        async with ask(means, Unattended(known, asked_mono), self.copy, self.at, self.end) as ox:
            reply = await ox.reply()
            self.server = f"{origin.name}/{ox.server}"
            count_reply(means, origin.name, known.way, ox, reply, means.clock.mono() - asked_mono)
            means.cells[names.CACHE_PARTS] += 1
            found = fit(self.copy, reply, self.at)
            if found is Fit.CHANGED:
                store.forget(self.copy, means.clock.wall())
            fitting(self.copy, found, reply.status)
            told = refresh(known.ask, self.copy, reply, request_wall=asked_wall, response_wall=means.clock.wall())
            if told.reason is not None:
                if told.forget:
                    store.forget(self.copy, means.clock.wall())
                self.refused = not_stored(told.reason)
                return
            self.copy = store.update(self.copy, told.copy) or self.copy
            part = part_of(reply)
            if part is not None and part.end < self.end:  # fewer than asked for, as it may
                self.end = part.end - part.end % store.chunk_bytes
            if found is Fit.WHOLE and self.copy.spans is not None:
                # It knows no ranges: all that is missing behind is taken too, or it would be sent again and again.
                self.end = gap_around(self.copy.spans, self.at, self.copy.length)[1]
                self._claim_more()
            await self.land(ox, asked_wall, skip=self.at if found is Fit.WHOLE else 0)

    async def land(self, ox: OriginExchange, asked_wall: float, *, skip: int = 0) -> None:
        """
        Store what comes of a body.

        Args:
            ox: from which it is read; its next byte is ``at``, behind *skip* others.
            asked_wall: when it was asked for.
            skip: bytes that are thrown away.

        Raises:
            OriginFault: it broke off.
        """
        assert self._means.flights is not None
        self._asked_wall = asked_wall
        self.has_begun = True
        claims, landing = self._means.flights.claims, _landing_number(self.copy)
        claims.show(landing)
        try:
            await self._land_all(ox, skip)
        finally:
            claims.hide(landing)

    async def _land_all(self, ox: OriginExchange, skip: int) -> None:
        assert self._means.rooms.store is not None
        chunk = self._means.rooms.store.chunk_bytes
        pending = bytearray()
        data: bytes | None = None
        while data != b"" and self.at + len(pending) < self.end:
            data = await ox.body()
            while data:
                if skip:
                    data, skip = data[skip:], max(0, skip - len(data))
                pending += data[: self.end - self.at - len(pending)]
                if len(pending) >= PIECE or self.at + len(pending) >= self.end:
                    break
                data = ox.body_nowait()
            ready = len(pending)
            if self.at + ready < self.copy.length:
                ready -= ready % chunk
            if ready and not self._land(bytes(pending[:ready])):
                return
            del pending[:ready]
        if self.at < self.end:
            raise OriginFault("it sent fewer bytes than it said", word="http_response_incomplete")
        ox.body_nowait()  # at the end of a part the connection is given back

    def _land(self, data: bytes) -> bool:
        """Store a piece, and give back the slices that are done; False if the store takes no more."""
        means = self._means
        assert means.rooms.parts is not None
        assert means.flights is not None
        grown = means.rooms.parts.land(self.copy, self.at, data, self._asked_wall)
        if isinstance(grown, NotStored):
            self.refused = grown
            return False
        done = -(self.at // self._each)
        self.copy = grown
        self.at += len(data)
        done += self.at // self._each
        for number in self._held[:done]:
            means.flights.claims.release(number)
        del self._held[:done]
        means.flights.ring()
        return True
