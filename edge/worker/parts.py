"""
Sending from a copy of which parts are stored.

What is there is read from the store; for what is missing a :class:`~edge.worker.gaps.Run` is started, or another's is waited for
(in whichever worker: slices are claimed for the node). Where that leads nowhere, because the copy is gone or the store takes
nothing more, a client whose reply has begun is sent the rest straight from the origin; one whose reply has not begun
is asked for anew.

A reply begins when the origin has said that it still has what the parts are of: to this one's question, or just now to another's, whose
bytes are landing.

Invariant: all bytes of one reply are of the representation that its head names, or the connection breaks where they end.
Source: RFC 9110 §14.2, §15.3.7; RFC 9111 §3.3, §3.4; RFC 9211 §2.2 (``partial``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from edge.cache.combine import Fit, fit, may_combine, part_of
from edge.cache.copy import IDENTITY
from edge.cache.lookup import Fwd
from edge.cache.spans import run_end, wanted
from edge.errors import OriginFault
from edge.exchange.decide import unmet
from edge.exchange.decision import Combine, Fetch
from edge.exchange.send import whole
from edge.message.head import Framing
from edge.origin.request import Aim
from edge.reply.cache_status import forwarded
from edge.reply.compose import ttl_at
from edge.worker.flights import PIECE
from edge.worker.gaps import Changed, Run, ask, claim_number, fitting, is_landing
from edge.worker.shaping import shape_copy
from edge.worker.tally import count_reply

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.compress.encoder import Encoder
    from edge.exchange.decision import Decision
    from edge.exchange.send import Span
    from edge.worker.means import Means
    from edge.worker.session import Exchange

MOST_FAULTS: Final = 2
"""Runs of its own that may break off under one reply, each behind what the one before it has landed."""

MOST_VAIN: Final = 2
"""Runs of others' that one reply waits for in vain before it asks for itself."""


class PartsReader:
    """
    One exchange's way through a copy.

    Attributes:
        copy: as it was seen last.
        has_waited: for a run of somebody else's.
    """

    __slots__ = ("_faults", "_lost", "_means", "_run", "_vain", "_x", "copy", "has_waited")

    def __init__(self, means: Means, x: Exchange, copy: Copy) -> None:
        self._means = means
        self._x = x
        self._run: Run | None = None
        self._faults = 0
        self._vain = 0
        self._lost = 0  # the body that was not there though its copy was: it is not looked for again
        self.copy = copy
        self.has_waited = False

    def stored(self, at: int, end: int) -> bytes | None:
        """Return what is there from *at* on, a piece at most; None if that byte is missing."""
        copy = self.copy
        limit = min(end, at + PIECE, run_end(copy.spans, at, copy.length))
        if limit <= at:
            return None
        assert self._means.rooms.store is not None
        data = self._means.rooms.store.read(copy.bodies[IDENTITY].body_id, at, limit)
        if data is None:
            self._lost = copy.bodies[IDENTITY].body_id
            self.copy = replace(copy, spans=())
        return data

    async def come(self, at: int, end: int) -> bool:
        """
        Have the missing byte *at* fetched, and wait for it.

        Args:
            at: where to begin.
            end: of what is wanted.

        Returns:
            Whether it is there now; False: it will not be.

        Raises:
            Fault: the origin has failed.
        """
        means, flights, parts = self._means, self._means.flights, self._means.rooms.parts
        assert flights is not None
        assert parts is not None
        each = parts.slice_bytes(self.copy.length)
        waited: int | None = None
        while True:
            latest = parts.latest(self.copy)
            if latest is None or latest.bodies[IDENTITY].body_id == self._lost:
                return False
            self.copy = latest
            if run_end(latest.spans, at, latest.length) > at:
                if self._run is not None:
                    self._x.origin = self._run.server or self._x.origin
                return True
            if not self._may_go_on():
                return False
            assert latest.spans is not None
            number = claim_number(latest, at, each)
            if flights.claims.claim(number):
                latest = parts.latest(latest)  # whoever had it until now may have stored it
                if latest is None or run_end(latest.spans, at, latest.length) > at or latest.spans is None:
                    flights.claims.release(number)
                    flights.ring()  # whoever looked in between saw it taken
                    continue
                if waited == number:
                    waited = None
                    self._vain += 1
                    if self._vain > MOST_VAIN:
                        flights.claims.release(number)
                        flights.ring()
                        return False
                self._run = Run(means, self._x.known, latest, *wanted(latest.spans, at, end, latest.length, each))
                means.nursery.start_soon(self._run.carry)
                continue
            if self._run is None:
                self.has_waited = True
                waited = number
            with flights.waiting():
                if flights.claims.holder(number) is not None and not self._has_come(at):
                    await flights.rung()

    def is_coming(self, start: int, gap: int) -> bool:
        """Whether a reply may begin with the bytes from *start* on: the missing one *gap* is another's, who is heard of right now."""
        means, parts = self._means, self._means.rooms.parts
        assert means.flights is not None
        assert parts is not None
        claims = means.flights.claims
        number = claim_number(self.copy, gap, parts.slice_bytes(self.copy.length))
        if start == gap or claims.holder(number) is None or not is_landing(claims, self.copy):
            return False
        self.has_waited = True
        return True

    def _has_come(self, at: int) -> bool:
        assert self._means.rooms.parts is not None
        latest = self._means.rooms.parts.latest(self.copy)
        return latest is None or run_end(latest.spans, at, latest.length) > at

    def _may_go_on(self) -> bool:
        """See how a run of our own has ended, if it has; False if the store takes nothing more."""
        run = self._run
        if run is None or not run.is_over:
            return True
        self._run = None
        self._x.origin = run.server or self._x.origin
        if run.fault is not None:
            self._faults += 1
            if self._faults > MOST_FAULTS or not run.has_begun or isinstance(run.fault, Changed):
                raise run.fault
        return run.refused is None

    async def send(self, start: int, end: int, coder: Encoder | None) -> None:
        """
        Send the bytes *start* to *end*.

        Raises:
            Fault: the client is gone, or the origin has failed.
        """
        means, x = self._means, self._x
        at = start
        while at < end:
            data = self.stored(at, end)
            if data is not None:
                at += len(data)
                await means.coders.send(x, data, coder)
                await trio.lowlevel.checkpoint()
                continue
            if coder is not None:
                x.send(coder.flush())
            x.push()
            if not await self.come(at, end):
                at = await self._alone(at, end, coder)

    async def _alone(self, start: int, end: int, coder: Encoder | None) -> int:
        """Ask for this client only, and send what comes; returns how far that was."""
        means, x, copy = self._means, self._x, self.copy
        origin = x.known.origin
        assert origin is not None
        asked_mono = means.clock.mono()
        async with ask(means, x, copy, start, end) as ox:
            reply = await ox.reply()
            count_reply(means, origin.name, x.known.way, ox, reply, means.clock.mono() - asked_mono)
            found = fit(copy, reply, start)
            fitting(copy, found, reply.status)
            part = part_of(reply)
            if part is not None:
                end = min(end, part.end)
            skip = start if found is Fit.WHOLE else 0
            at = start
            while at < end:
                data = ox.body_nowait()
                if data is None:
                    if coder is not None:
                        x.send(coder.flush())
                    x.push()
                    data = await ox.body()
                if not data:
                    raise OriginFault("it sent fewer bytes than it said", word="http_response_incomplete")
                if skip:
                    data, skip = data[skip:], max(0, skip - len(data))
                data = data[: end - at]
                at += len(data)
                await means.coders.send(x, data, coder)
            ox.body_nowait()
        return at


async def combine(means: Means, x: Exchange, found: Combine) -> Decision | None:
    """
    Send what a request wants of a copy of which parts are stored.

    Returns:
        What to do instead, where it cannot be had so; None: the exchange has its reply.
    """
    rooms = means.rooms
    assert rooms.parts is not None
    copy = rooms.parts.latest(found.copy)
    if copy is None:
        return Fetch(Aim.WHOLE, Fwd.MISS, shared=True)
    if copy.spans is None and found.cache_status is None:
        return rooms.with_copy(x.known, copy, None) or Fetch(Aim.WHOLE, Fwd.MISS, shared=True)
    eligible = rooms.is_coded(copy)
    coding = rooms.coding_for(x.known, eligible=eligible)
    length = copy.length if coding == IDENTITY else None
    shaped = shape_copy(rooms, x, copy, coding, length, found.cache_status, eligible=eligible)
    pieces: list[bytes | Span] = whole(copy.length) if shaped.pieces is None else shaped.pieces
    if shaped.head.framing is Framing.NONE:
        pieces = []
    reader = PartsReader(means, x, copy)
    gap = _first_gap(copy, pieces)
    if found.cache_status is None and not (x.collapsed and gap is None):
        x.outcome = "hit" if gap is None else Fwd.PARTIAL.value
    if gap is not None:
        if x.known.ask.cc.only_if_cached:
            return unmet(x.known, rooms.now_wall)
        start = next(piece[0] for piece in pieces if not isinstance(piece, bytes))
        try:
            if not reader.is_coming(start, gap[0]) and not await reader.come(*gap):
                return Fetch(Aim.PASS, Fwd.PARTIAL)
        except OriginFault as fault:
            x.detail = fault.detail
            return Fetch(Aim.PASS, Fwd.PARTIAL)
        if found.cache_status is None:
            x.collapsed = reader.has_waited
            ttl = ttl_at(rooms.now_s, reader.copy.fresh_until_wall)
            status = forwarded(Fwd.PARTIAL.value, ttl=ttl, stored=True, collapsed=x.collapsed)
            shaped = shape_copy(rooms, x, reader.copy, coding, length, status, eligible=eligible)
            pieces = whole(copy.length) if shaped.pieces is None else shaped.pieces
    coder = means.coders.begin(coding, copy.length) if shaped.pieces is None and pieces else None
    x.reply(shaped.head)
    for piece in pieces:
        if isinstance(piece, bytes):
            x.send(piece)
        else:
            await reader.send(*piece, coder)
    if coder is not None:
        x.send(coder.finish())
    x.end()
    return None


def _first_gap(copy: Copy, pieces: list[bytes | Span]) -> Span | None:
    """Return the first bytes of *pieces* that are missing."""
    for piece in pieces:
        if not isinstance(piece, bytes):
            start, end = piece
            there = run_end(copy.spans, start, copy.length)
            if there < end:
                return there, end
    return None


def what_is_left(means: Means, draft: Copy) -> Copy | None:
    """Return what is stored of a flight that broke off, if the rest can be fetched behind it."""
    parts = means.rooms.parts
    if parts is None or not may_combine(draft):
        return None
    parts.adopt(draft.key)
    return parts.latest(draft)
