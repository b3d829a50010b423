"""
The slow lane: one trio task for each exchange that must wait.

It carries out what :mod:`edge.exchange` decided: asks the origin, joins another's flight, reads a long body from the
store, makes a coding, carries a tunnel. It writes through the session and waits for room there; it never touches a
socket of a client's.

What is of use to one client only is done inside :meth:`Exchange.bound` and ends with the client. A fetch whose reply may be
kept is not: it ends with its reply, whoever is still waiting, since the next one who asks has the use of it.

Every exchange, whatever befell it, ends in :meth:`SlowLane._settle`.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import trio

from edge.cache.ask import Method
from edge.cache.copy import IDENTITY, Copy
from edge.cache.lookup import ERROR_STATUSES, Fwd, select
from edge.cache.refresh import after_head, conditions, confirmed, invalidated, refresh
from edge.cache.storing import NotStored, Unstored, may_store
from edge.compress.encoder import Encoder, compress_whole, encoder, is_heavy
from edge.errors import ClientGone, EdgeFault, Fault, OriginFault, Side
from edge.exchange.decision import Answer, Decision, Fetch, Serve, ServeStale, Stored, Tunnel
from edge.exchange.rooms import WHOLE_CODING
from edge.exchange.send import Shaped, Span, not_modified, send_answer, send_serve, shape, whole
from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.message.headers import end_to_end
from edge.observe import names
from edge.observe.ledger import add_durations
from edge.origin.request import Aim, OriginRequest, origin_request, sent_request_id
from edge.reply.cache_status import forwarded, hit
from edge.reply.compose import compose_forwarded, ttl_at
from edge.reply.errors import error_reply
from edge.worker.flights import PIECE, Flight, Flights, Reader, State
from edge.worker.session import HIGH, Exchange, Phase, Unattended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge.clock import Clock
    from edge.exchange.recognise import Known
    from edge.exchange.rooms import Rooms
    from edge.worker.fast import FastLane
    from edge.worker.origins import OriginExchange, Origins

log = logging.getLogger("edge")

WHOLE: Final = 256 * 1024
"""A reply that is here to its end, and no longer than this, is stored in one go and answered from memory."""

SHUN_S: Final = 120
"""How long a key whose reply was not storable is fetched by everyone for himself (Varnish's hit-for-miss: 120 s)."""

VARIANT_S: Final = 5.0
"""How long to wait for a coding that another exchange is making; then identity is sent."""


class SlowLane:
    """
    The exchanges that must wait.

    Args:
        rooms: what is decided with.
        fast: the other lane, whose sessions we write to.
        origins: who is asked.
        flights: who is asking; None without a store.
        nursery: where the tasks live.
        clock: for deadlines of our own and for what is logged.
        levels: how hard each coding is tried.
        prefix: of the request ids this worker gives out.
        origin_blocks: where each origin's counters are.
    """

    def __init__(
        self,
        rooms: Rooms,
        fast: FastLane,
        origins: Origins,
        flights: Flights | None,
        nursery: trio.Nursery,
        clock: Clock,
        *,
        prefix: str,
        origin_blocks: Mapping[str, int],
    ) -> None:
        self.rooms = rooms
        self.fast = fast
        self.origins = origins
        self.flights = flights
        self.nursery = nursery
        self.clock = clock
        self.carried = 0
        self._levels = {coding.encode(): level for coding, level in rooms.config.compression.levels.items()}
        self._codings = tuple(coding.encode() for coding in rooms.config.compression.encodings)
        self._prefix = prefix
        self._number = 0
        self._cells = rooms.cells
        self._origin_cells = {name: names.OriginCells.of(block) for name, block in origin_blocks.items()}
        self._variants = trio.lowlevel.ParkingLot()

    def take(self, exchange: Exchange, decision: Decision) -> None:
        """Carry *exchange* in a task of its own. Returns at once."""
        self.carried += 1
        self._cells[names.SLOW_LANE] += 1
        self._cells[names.EXCHANGES_OPEN] += 1
        self.nursery.start_soon(self._carry, exchange, self._walk, decision)

    async def _carry(
        self, x: Exchange, walk: Callable[[Exchange, Decision], Awaitable[bool]], decision: Decision
    ) -> None:
        """Carry one exchange to its end, whatever that is."""
        handed_over = False
        try:
            handed_over = await walk(x, decision)
            if not handed_over:
                await x.session.room(0)
        except Fault as fault:
            self._failed(x, fault)
        except trio.Cancelled:
            x.word = x.word or "connection_terminated"
            raise
        except Exception:
            self._cells[names.BUGS] += 1
            log.exception("an error of our own, on %r: please report it", x)
            self._failed(x, EdgeFault("an error of our own; see the error log"))
        finally:
            if not handed_over:
                self._settle(x)

    async def _walk(self, x: Exchange, decision: Decision) -> bool:
        """Carry out a decision. True: the exchange was handed to another task, which settles it."""
        match decision:
            case Serve():
                x.outcome = "hit"
                x.encoding = decision.coding
                x.status, x.sent_bytes = send_serve(
                    x.session.conn, x.stream, x.known, decision, self.rooms.now_s, collapsed=x.collapsed
                )
                self._sent(x)
            case Answer():
                x.outcome, x.word = decision.outcome, decision.word
                x.status, x.sent_bytes = decision.head.status, len(decision.body)
                send_answer(x.session.conn, x.stream, decision)
                self._sent(x)
            case Stored():
                x.outcome = "hit"
                with x.bound():
                    await self._stored(x, decision, None)
            case ServeStale():
                self._cells[names.CACHE_STALE_SERVED] += 1
                self.nursery.start_soon(self._behind, x.known, decision.refresh)
                return await self._walk(x, decision.stored)
            case Fetch():
                return await self._fetch(x, decision)
            case Tunnel():
                with x.bound():
                    await self._tunnel(x)
        return False

    def _sent(self, x: Exchange) -> None:
        x.complete = True
        x.push()

    # -- the end --------------------------------------------------------------------------------------------

    def _failed(self, x: Exchange, fault: Fault) -> None:
        """Say what can still be said: an error reply, or a connection that breaks where the reply did."""
        x.word, x.detail = x.word or fault.word, x.detail or fault.detail
        if x.session.phase is not Phase.OPEN or x.complete:
            return
        if x.status:
            x.abort()
            return
        if fault.reply is None:
            x.abort()
            return
        head, body = error_reply(
            fault.reply,
            now_wall=self.rooms.now_wall,
            accept=x.head.get(b"accept"),
            request_id=x.request_id.decode("latin-1") or None,
            proxy_error=None if fault.side is Side.CLIENT else fault.word,
            to_head=x.head.method == b"HEAD" and fault.side is not Side.CLIENT,
        )
        if fault.side is Side.CLIENT:
            x.refuse(head, body)
            return
        x.reply(head)
        if body:
            x.send(body)
        x.end()

    def _settle(self, x: Exchange) -> None:
        """Every exchange ends here: one entry, and nothing left behind."""
        self.carried -= 1
        self._cells[names.EXCHANGES_OPEN] -= 1
        session = x.session
        if session.carried.get(x.stream) is x:
            del session.carried[x.stream]
        if x.status and not x.complete and not x.word:
            x.word = "connection_terminated"
        self.rooms.record(
            (
                self.clock.wall(),
                self.rooms.client(session.peer, x.head).address,
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

    # -- from the store -------------------------------------------------------------------------------------

    async def _stored(self, x: Exchange, decision: Stored, cache_status: bytes | None) -> None:
        """Send a copy whose body, or coding, must first be got."""
        copy, coding = decision.copy, decision.coding
        ref = copy.bodies.get(coding)
        if ref is None and copy.length <= WHOLE_CODING:
            copy, data = await self._variant(copy, coding)
            if data is not None:
                stamp = self.rooms.stamps.read(x.known.ask.hash)
                serve = self.rooms.ready(copy, coding, data, stamp, eligible=decision.eligible)
                self._send_ready(x, serve, cache_status)
                return
            ref = copy.bodies.get(coding)
            if ref is None:
                coding = IDENTITY
                ref = copy.bodies[IDENTITY]
        if ref is None:
            shaped = self._shape(x, copy, coding, None, cache_status, eligible=decision.eligible)
            body = copy.bodies[IDENTITY]
            await self._send_parts(
                x, shaped, whole(body.length), self._from_store(body.body_id), self._encoder(coding, body.length)
            )
            return
        store = self.rooms.store
        assert store is not None
        if ref.length <= self.rooms.memory.largest:
            stamp = self.rooms.stamps.read(x.known.ask.hash)
            collected = []
            for start in range(0, ref.length, PIECE):
                part = store.read(ref.body_id, start, min(ref.length, start + PIECE))
                if part is None:
                    break
                collected.append(part)
                await trio.lowlevel.checkpoint()
            else:
                serve = self.rooms.ready(copy, coding, b"".join(collected), stamp, eligible=decision.eligible)
                self._send_ready(x, serve, cache_status)
                return
            raise EdgeFault("a stored body is gone", reply=503)
        shaped = self._shape(x, copy, coding, ref.length, cache_status, eligible=decision.eligible)
        await self._send_parts(x, shaped, whole(ref.length), self._from_store(ref.body_id), None)

    def _send_ready(self, x: Exchange, serve: Serve, cache_status: bytes | None) -> None:
        x.encoding = serve.coding
        x.status, x.sent_bytes = send_serve(
            x.session.conn, x.stream, x.known, serve, self.rooms.now_s, cache_status=cache_status, collapsed=x.collapsed
        )
        self._sent(x)

    def _shape(
        self,
        x: Exchange,
        copy: Copy,
        coding: bytes,
        length: int | None,
        cache_status: bytes | None,
        *,
        eligible: bool,
    ) -> Shaped:
        x.encoding = "" if coding == IDENTITY else coding.decode()
        if cache_status is None and x.collapsed:
            cache_status = hit(ttl_at(self.rooms.now_s, copy.fresh_until_wall), detail="collapsed")
        return shape(
            x.known,
            copy,
            self.rooms.now_s,
            coding=coding,
            length=length,
            eligible=eligible,
            cache_status=cache_status,
        )

    def _from_store(self, body_id: int) -> Callable[[int, int], bytes]:
        store = self.rooms.store
        assert store is not None

        def read(start: int, end: int) -> bytes:
            data = store.read(body_id, start, end)
            if data is None:
                raise EdgeFault("a stored body is gone", reply=503)
            return data

        return read

    async def _send_parts(
        self,
        x: Exchange,
        shaped: Shaped,
        all_of_it: list[bytes | Span],
        read: Callable[[int, int], bytes],
        coder: Encoder | None,
    ) -> None:
        """Send what was shaped, reading a piece at a time."""
        x.reply(shaped.head)
        if shaped.head.framing is Framing.NONE:
            x.end()
            return
        for piece in all_of_it if shaped.pieces is None else shaped.pieces:
            if isinstance(piece, bytes):
                x.send(piece)
                continue
            start, end = piece
            for at in range(start, end, PIECE):
                data = read(at, min(end, at + PIECE))
                await self._send_some(x, data, coder)
                await trio.lowlevel.checkpoint()
        if coder is not None:
            x.send(coder.finish())
        x.end()

    async def _send_some(self, x: Exchange, data: bytes, coder: Encoder | None) -> None:
        """Send a part of a body, coded if need be, and wait for room."""
        if coder is not None:
            data = await self._fed(coder, x.encoding.encode(), data)
        if data:
            x.send(data)
        if x.session.phase is not Phase.OPEN or x.session.conn.out.pending > HIGH:
            await x.room()

    async def _fed(self, coder: Encoder, coding: bytes, data: bytes) -> bytes:
        """Feed a coder, in a thread when it would hold up the lanes."""
        if is_heavy(coding, self._levels[coding], len(data)):
            return await trio.to_thread.run_sync(coder.feed, data)
        return coder.feed(data)

    def _encoder(self, coding: bytes, length: int | None) -> Encoder | None:
        return None if coding == IDENTITY else encoder(coding, self._levels[coding], length)

    async def _variant(self, copy: Copy, coding: bytes) -> tuple[Copy, bytes | None]:
        """
        Make a coding of a stored body, once per node, and store it beside.

        Returns:
            The copy, and the coded body if it was made here. Without either the coding is not to be had.
        """
        store, flights = self.rooms.store, self.flights
        assert store is not None
        assert flights is not None
        number = int.from_bytes(blake2b(b"%d %b" % (copy.copy_id, coding), digest_size=7).digest())
        with trio.move_on_after(VARIANT_S):
            while not flights.claims.claim(number):
                with flights.waiting():
                    if flights.claims.holder(number) is not None:
                        await flights.rung()
                found = next((other for other in store.copies(copy.key) if other.copy_id == copy.copy_id), None)
                if found is None or coding in found.bodies:
                    return found or copy, None
            try:
                found = next((other for other in store.copies(copy.key) if other.copy_id == copy.copy_id), copy)
                if coding in found.bodies:
                    return found, None
                body = self._from_store(found.bodies[IDENTITY].body_id)(0, found.length)
                data = await self.code(coding, body)
                self._cells[names.CACHE_VARIANTS] += 1
                return store.add_variant(found, coding, data) or found, data
            finally:
                flights.claims.release(number)
                flights.ring()
        return copy, None

    async def code(self, coding: bytes, body: bytes) -> bytes:
        """Code a whole body, in a thread when it would hold up the lanes."""
        level = self._levels[coding]
        if is_heavy(coding, level, len(body)):
            return await trio.to_thread.run_sync(compress_whole, coding, body, level)
        return compress_whole(coding, body, level)

    # -- from the origin ------------------------------------------------------------------------------------

    async def _fetch(self, x: Exchange, plan: Fetch) -> bool:
        """Ask the origin, or join whoever is asking it already."""
        x.outcome = plan.fwd.value
        known = x.known
        ask = known.ask
        flights = self.flights
        while plan.shared and flights is not None:
            flight = flights.take_off(ask.key, ask.hash)
            decision: Decision
            if flight is not None:
                # Whoever had the key until now may have stored what we want.
                decision = self.rooms.decide(known)
                if type(decision) is Fetch and decision.shared:
                    return await self._fly(x, known, decision, flight)
                flights.touch_down(flight)
            else:
                x.collapsed = True
                self._cells[names.FLIGHTS_JOINED] += 1
                with x.bound():
                    joined = await self._join(x, plan)
                if joined:
                    return False
                decision = self.rooms.decide(known)
            if type(decision) is not Fetch:
                return await self._walk(x, decision)
            plan = decision
            if x.collapsed and plan.shared and self._has_passed(known):
                break
        with x.bound():
            await self._alone(x, plan)
        return False

    def _has_passed(self, known: Known) -> bool:
        """Whether the flight that was joined is of no use to this request, which must not queue for the next one."""
        flights = self.flights
        return flights is not None and flights.claims.holder(known.ask.hash) is not None

    async def _join(self, x: Exchange, plan: Fetch) -> bool:
        """Send what another's flight brings; False if it brings nothing for us."""
        flights = self.flights
        assert flights is not None
        ask = x.known.ask
        with flights.joined(ask.key, ask.hash) as flight:
            while flight.state is State.ASKED:
                await flight.change()
            draft = flight.draft
            if draft is None or flight.state is State.OVER or select(ask, [draft]) is None or draft.no_cache:
                return False
            await self._read_flight(x, flight, draft, plan.fwd.value)
        return True

    async def _read_flight(self, x: Exchange, flight: Flight, draft: Copy, fwd: str) -> None:
        """Send a body while it lands."""
        known = x.known
        eligible = self.rooms.is_coded(draft)
        coding = self.rooms.coding_for(known, eligible=eligible)
        length = draft.length if coding == IDENTITY and draft.length else None
        x.outcome = fwd
        status = forwarded(
            fwd,
            ttl=ttl_at(self.rooms.now_s, draft.fresh_until_wall),
            stored=not x.collapsed,
            collapsed=x.collapsed,
        )
        with flight.reading(self.rooms.store) as reader:
            shaped = self._shape(x, draft, coding, length, status, eligible=eligible)
            spans = [(0, -1)] if shaped.pieces is None else shaped.pieces
            coder = self._encoder(coding, draft.length or None)
            x.reply(shaped.head)
            if shaped.head.framing is Framing.NONE:
                x.end()
                return
            for piece in spans:
                if isinstance(piece, bytes):
                    x.send(piece)
                    continue
                start, end = piece
                if reader.at > start:  # ranges need not come in order
                    with flight.reading(self.rooms.store) as again:
                        await self._read_span(x, again, start, end, coder)
                else:
                    await self._read_span(x, reader, start, end, coder)
            if coder is not None:
                x.send(coder.finish())
            x.end()

    async def _read_span(self, x: Exchange, reader: Reader, start: int, end: int, coder: Encoder | None) -> None:
        """Send the bytes *start* to *end* (-1: all) as they land."""
        moved = 0
        while end < 0 or reader.at < end:
            data = reader.next_nowait()
            if data is None:
                if coder is not None:
                    x.send(coder.flush())
                x.push()
                data = await reader.next()
                moved = 0
            if not data:
                return
            before = reader.at - len(data)
            if reader.at <= start:
                continue
            if before < start or -1 < end < reader.at:
                data = data[max(0, start - before) : len(data) if end < 0 else max(0, end - before)]
            await self._send_some(x, data, coder)
            moved += len(data)
            if moved >= HIGH:
                moved = 0
                await trio.lowlevel.checkpoint()

    async def _fly(self, x: Exchange, known: Known, plan: Fetch, flight: Flight) -> bool:
        """Fetch on behalf of everyone who wants the key. True: the exchange was handed to another task."""
        self._cells[names.FLIGHTS] += 1
        flights = self.flights
        assert flights is not None
        try:
            return await self._ask(x, known, plan, flight)
        finally:
            flight.end(State.OVER)
            flights.touch_down(flight)

    async def _alone(self, x: Exchange, plan: Fetch) -> None:
        """Fetch for this client only; keep the reply if it may be kept."""
        await self._ask(x, x.known, plan, None)

    async def _behind(self, known: Known, plan: Fetch) -> None:
        """Refresh a copy behind a client that has been served, unless somebody does already."""
        flights = self.flights
        assert flights is not None
        flight = flights.take_off(known.ask.key, known.ask.hash)
        if flight is None:
            return
        try:
            await self._fly(Unattended(known, self.clock.mono()), known, plan, flight)
        except Fault as fault:
            log.warning("refreshing %s failed: %s %s", known.ask.url.decode("latin-1"), fault.word, fault.detail)
        except Exception:
            self._cells[names.BUGS] += 1
            log.exception("an error of our own, refreshing %r: please report it", known.ask.url)

    async def _ask(self, x: Exchange, known: Known, plan: Fetch, flight: Flight | None) -> bool:
        """Ask the origin and carry its reply where it belongs. True: the exchange was handed to another task."""
        origin = known.origin
        assert origin is not None
        request = self._request(x, known, plan)
        asked_mono, asked_wall = self.clock.mono(), self.clock.wall()
        client = self.rooms.client(x.session.peer, x.head).address.encode() if x.is_attended else b""
        try:
            async with self.origins.exchange(origin.name, request, client, x.interim) as ox:
                if request.framing is not Framing.NONE:
                    async with ox.sending(x.more):
                        reply = await ox.reply()
                        self._answered(x, known, ox, reply, asked_mono)
                        await self._pass(x, known, plan, ox, reply, Unstored.METHOD)
                    return False
                reply = await ox.reply()
                self._answered(x, known, ox, reply, asked_mono)
                return await self._received(x, known, plan, flight, ox, reply, asked_wall)
        except OriginFault as fault:
            x.origin = x.origin or origin.name
            self._cells[self._origin_cells[origin.name].faults] += 1
            stale = plan.stale
            if stale is None or not stale.on_disconnect or x.status:
                raise
            x.word, x.detail = fault.word, fault.detail
            await self._serve_stale(x, known, plan, None)
            return False

    def _request(self, x: Exchange, known: Known, plan: Fetch) -> OriginRequest:
        """Say to the origin what it is to know."""
        head = known.head
        peer = x.session.peer if x.is_attended else ""
        trusted = self.rooms.trusted.trusts(peer)
        x.request_id = sent_request_id(head, trusted=trusted) or self._next_id()
        etag = modified = None
        if plan.aim is Aim.REFRESH:
            for name, value in conditions([plan.stale.copy] if plan.stale is not None else plan.others):
                if name == b"if-none-match":
                    etag = value
                else:
                    modified = value
        request = origin_request(
            head,
            peer=peer.encode(),
            trusted=trusted,
            request_id=x.request_id,
            aim=plan.aim,
            identity=bool(self._codings),
            encodings=self._codings,
            etag=etag,
            last_modified=modified,
        )
        if request.expect_continue:
            request.fields.append((b"expect", b"100-continue"))  # the origin decides, as RFC 9110 §10.1.1 wants it
        return request

    def _next_id(self) -> bytes:
        self._number += 1
        return b"%b-%x" % (self._prefix.encode(), self._number)

    def _answered(self, x: Exchange, known: Known, ox: OriginExchange, reply: ReplyHead, asked_mono: float) -> None:
        """Note who answered, how, and how soon."""
        assert known.origin is not None
        x.origin = f"{known.origin.name}/{ox.server}"
        x.origin_s = self.clock.mono() - asked_mono
        cells = self._origin_cells[known.origin.name]
        self._cells[cells.replies + min(reply.status // 100, 5) - 1] += 1
        add_durations([x.origin_s], cells.duration, self._cells)
        if ox.reused:
            self._cells[names.ORIGIN_REUSED] += 1
        if ox.attempts > 1:
            self._cells[names.ORIGIN_RETRIES] += 1
        store = self.rooms.store
        if store is not None and known.ask.method is Method.UNSAFE:
            for key in invalidated(known.ask, reply):
                store.mark_stale(key, self.clock.wall())
                self._cells[names.CACHE_INVALIDATED] += 1

    async def _received(
        self,
        x: Exchange,
        known: Known,
        plan: Fetch,
        flight: Flight | None,
        ox: OriginExchange,
        reply: ReplyHead,
        asked_wall: float,
    ) -> bool:
        """A final head has come: confirm, store or pass on. True: the exchange was handed to another task."""
        ask = known.ask
        store = self.rooms.store
        stale = plan.stale
        now = self.clock.wall()
        if plan.aim is Aim.REFRESH and reply.status == 304:
            candidates = [stale.copy] if stale is not None else plan.others
            copy = confirmed(candidates, reply)
            ox.release()
            if copy is None:  # a 304 that speaks of nothing we have: ask for the whole
                return await self._ask(x, known, Fetch(Aim.WHOLE, plan.fwd, shared=plan.shared), flight)
            await self._confirmed(x, known, plan, flight, copy, reply, asked_wall)
            return False
        if stale is not None and stale.on_error and reply.status in ERROR_STATUSES:
            x.detail = f"the origin answered {reply.status}"
            ox.kill()
            await self._serve_stale(x, known, plan, reply.status)
            return False
        if store is not None and ask.method is Method.HEAD and ask.bypass is None:
            self._heard_head(known, reply, asked_wall)
        verdict: Copy | NotStored
        if store is None:
            verdict = NotStored(Unstored.OFF)
        elif plan.aim is Aim.PASS and (ask.range is not None or ask.is_conditional):
            verdict = NotStored(Unstored.REQUEST_SPECIFIC)
        else:
            verdict = may_store(
                ask,
                reply,
                request_wall=asked_wall,
                response_wall=now,
                max_object=self.rooms.config.cache.max_object,
            )
        if isinstance(verdict, NotStored):
            if ask.bypass is None and store is not None:
                self._cells[names.CACHE_NOT_STORED] += 1
                self.rooms.shunned.shun(ask.hash, int(now) + SHUN_S)
            if flight is not None:
                self._land(flight)
            if x.is_attended:
                with self._bound(x, flight):
                    await self._pass(x, known, plan, ox, reply, verdict.reason)
            return False
        return await self._store(x, known, plan, flight, ox, reply, verdict)

    def _bound(self, x: Exchange, flight: Flight | None) -> AbstractContextManager[None]:
        """End with the client from here on; a fetch that was the client's own from the start does so already."""
        return nullcontext() if flight is None else x.bound()

    def _land(self, flight: Flight) -> None:
        """The flight is of no more use to others: let them look for themselves, now."""
        assert self.flights is not None
        flight.end(State.OVER)
        self.flights.touch_down(flight)

    def _heard_head(self, known: Known, reply: ReplyHead, asked_wall: float) -> None:
        """A reply to HEAD confirms the copy a GET would get, or shows that it is out of date (RFC 9111 §4.3.5)."""
        store = self.rooms.store
        assert store is not None
        ask = known.ask
        copies = store.copies(ask.key)
        if not copies:
            return
        now = self.clock.wall()
        told = after_head(ask, copies, reply, request_wall=asked_wall, response_wall=now)
        old = select(ask, copies)
        if told is None or old is None:
            return
        if isinstance(told, Copy):
            store.update(old, told)
        elif told.reason is None:
            store.update(old, told.copy)
        elif told.forget:
            store.forget(old, now)

    async def _confirmed(
        self,
        x: Exchange,
        known: Known,
        plan: Fetch,
        flight: Flight | None,
        copy: Copy,
        reply: ReplyHead,
        asked_wall: float,
    ) -> None:
        """The origin says that a copy still stands."""
        store = self.rooms.store
        assert store is not None
        now = self.clock.wall()
        self._cells[names.CACHE_REVALIDATED] += 1
        told = refresh(known.ask, copy, reply, request_wall=asked_wall, response_wall=now)
        fresh = told.copy
        if told.reason is None:
            fresh = store.update(copy, fresh) or fresh
        elif told.forget:
            store.forget(copy, now)
        if flight is not None:
            self._land(flight)
        if not x.is_attended:
            return
        status = forwarded(
            plan.fwd.value,
            fwd_status=304,
            ttl=ttl_at(self.rooms.now_s, fresh.fresh_until_wall),
            stored=told.reason is None,
            detail=None if told.reason is None else told.reason.value,
        )
        with self._bound(x, flight):
            await self._from_copy(x, known, fresh, status)

    async def _serve_stale(self, x: Exchange, known: Known, plan: Fetch, fwd_status: int | None) -> None:
        """The origin failed, and a stale copy may be used instead (RFC 5861 §4, RFC 9111 §4.2.4)."""
        assert plan.stale is not None
        if not x.is_attended:
            return
        copy = plan.stale.copy
        self._cells[names.CACHE_STALE_SERVED] += 1
        status = forwarded(
            plan.fwd.value,
            fwd_status=fwd_status,
            ttl=ttl_at(self.rooms.now_s, copy.fresh_until_wall),
            detail="stale-if-error",
        )
        await self._from_copy(x, known, copy, status)

    async def _from_copy(self, x: Exchange, known: Known, copy: Copy, status: bytes) -> None:
        """Answer from a copy after the origin was asked."""
        stamp = self.rooms.stamps.read(known.ask.hash)
        ready = self.rooms.with_copy(known, copy, stamp)
        if ready is None:
            raise EdgeFault("a stored body is gone", reply=503)
        if type(ready) is Serve:
            self._send_ready(x, ready, status)
        else:
            assert isinstance(ready, Stored)
            await self._stored(x, ready, status)

    # -- storing --------------------------------------------------------------------------------------------

    async def _store(
        self,
        x: Exchange,
        known: Known,
        plan: Fetch,
        flight: Flight | None,
        ox: OriginExchange,
        reply: ReplyHead,
        draft: Copy,
    ) -> bool:
        """Keep a reply, and answer with it. True: the exchange was handed to another task."""
        store = self.rooms.store
        assert store is not None
        pieces: list[bytes] = []
        size = 0
        ended = reply.framing is Framing.NONE
        while not ended and size <= WHOLE:
            data = ox.body_nowait()
            if data is None:
                if reply.framing is Framing.LENGTH and (reply.length or 0) <= WHOLE and flight is None:
                    data = await ox.body()
                else:
                    break
            if not data:
                ended = True
            else:
                pieces.append(data)
                size += len(data)
        if ended and size <= WHOLE:
            await self._store_whole(x, known, plan, flight, draft, b"".join(pieces))
            return False
        if flight is None:
            # Fetched for one client: it goes to that client only. The next one stores it in a flight of its own.
            await self._pass(x, known, plan, ox, reply, Unstored.STORE_BUSY, pieces)
            return False
        return await self._store_landing(x, plan, flight, ox, draft, pieces)

    async def _store_whole(
        self, x: Exchange, known: Known, plan: Fetch, flight: Flight | None, draft: Copy, body: bytes
    ) -> None:
        """A reply that is all here: one transaction, and the answer from memory."""
        rooms = self.rooms
        store = rooms.store
        assert store is not None
        draft.length = len(body)
        eligible = rooms.is_coded(draft)
        coding = rooms.coding_for(known, eligible=eligible)
        variants = None
        data = body
        if coding != IDENTITY and x.is_attended:
            data = await self.code(coding, body)
            variants = {coding: data}
        kept = store.put(draft, body, variants=variants)
        self._count_stored(kept, known)
        if variants and isinstance(kept, Copy):
            self._cells[names.CACHE_VARIANTS] += 1
        if flight is not None:
            self._land(flight)
        if not x.is_attended:
            return
        copy = kept if isinstance(kept, Copy) else draft
        reason = kept.reason.value if isinstance(kept, NotStored) else None
        status = forwarded(
            plan.fwd.value,
            ttl=ttl_at(rooms.now_s, copy.fresh_until_wall),
            stored=reason is None,
            collapsed=x.collapsed,
            detail=reason,
        )
        shaped = self._shape(x, copy, coding, len(data), status, eligible=eligible)
        if x.session.phase is not Phase.OPEN:
            raise ClientGone("the client has left")
        x.reply(shaped.head)
        if shaped.head.framing is not Framing.NONE:
            view = memoryview(data)
            for piece in whole(len(data)) if shaped.pieces is None else shaped.pieces:
                x.send_later(piece if isinstance(piece, bytes) else view[piece[0] : piece[1]])
        x.end()

    def _count_stored(self, kept: Copy | NotStored, known: Known) -> None:
        if isinstance(kept, Copy):
            self._cells[names.CACHE_STORED] += 1
            self.rooms.shunned.forgive(known.ask.hash)
            return
        self._cells[names.CACHE_NOT_STORED] += 1
        if kept.reason is Unstored.STORE_FULL:
            self._cells[names.CACHE_FULL] += 1
            self.rooms.say_full()

    async def _store_landing(
        self, x: Exchange, plan: Fetch, flight: Flight, ox: OriginExchange, draft: Copy, pieces: list[bytes]
    ) -> bool:
        """
        Store a body as it arrives, readable by everyone from its first piece on.

        The client that started it becomes one reader among others, in a task of its own, so that a slow one holds
        nobody up. Without the store (no room), and beyond max_object, the body goes from hand to hand instead.
        """
        rooms = self.rooms
        store = rooms.store
        assert store is not None
        assert self.flights is not None
        fill = store.begin_fill(draft)
        body_id = 0
        if isinstance(fill, NotStored):
            self._count_stored(fill, x.known)
            flight.unstored = True
        else:
            body_id = fill.body_id
        flight.begin(draft, body_id)
        self.flights.ring()
        if x.is_attended:
            self.nursery.start_soon(self._carry_reader, x, flight, draft, plan)
            await trio.lowlevel.checkpoint()
        most = rooms.config.cache.max_object
        try:
            while True:
                data = b"".join(pieces)
                pieces.clear()
                if data:
                    if not isinstance(fill, NotStored):
                        refused = fill.append(data)
                        if flight.landed + len(data) > most:
                            fill.abandon(Unstored.TOO_LARGE)
                            refused = fill.refused
                        if refused is not None:
                            self._count_stored(refused, x.known)
                            fill = refused
                            flight.unstored = True
                    flight.land(data)
                    if flight.unstored:
                        await flight.room()
                if not await self._gather(ox, pieces):
                    break
        except OriginFault as fault:
            if not isinstance(fill, NotStored):
                fill.abandon(Unstored.TRUNCATED)
            flight.end(State.OVER, fault)
            return x.is_attended
        except BaseException:
            if not isinstance(fill, NotStored):
                fill.abandon(Unstored.CLIENT_LEFT)
            raise
        if not isinstance(fill, NotStored):
            self._count_stored(fill.commit(), x.known)
        flight.end(State.LANDED)
        return x.is_attended

    async def _gather(self, ox: OriginExchange, pieces: list[bytes]) -> bool:
        """Wait for more of a body and take what is here, up to a piece; False at its end."""
        data = await ox.body()
        size = 0
        while data:
            pieces.append(data)
            size += len(data)
            if size >= PIECE:
                return True
            more = ox.body_nowait()
            if more is None:
                return True
            data = more
        return bool(pieces)

    async def _carry_reader(self, x: Exchange, flight: Flight, draft: Copy, plan: Fetch) -> None:
        """Carry on with an exchange whose fetch has become a flight that others may share."""

        async def walk(x: Exchange, _: Decision) -> bool:
            with x.bound():
                await self._read_flight(x, flight, draft, plan.fwd.value)
            return False

        await self._carry(x, walk, plan)

    # -- passing on -----------------------------------------------------------------------------------------

    async def _pass(
        self,
        x: Exchange,
        known: Known,
        plan: Fetch,
        ox: OriginExchange,
        reply: ReplyHead,
        reason: Unstored,
        pieces: list[bytes] | None = None,
    ) -> None:
        """Send the origin's reply as it arrives."""
        ask = known.ask
        to_head = ask.method is Method.HEAD
        eligible = self.rooms.is_coded_head(reply)
        coding = IDENTITY
        if eligible and not to_head and reply.framing is not Framing.NONE:
            coding = self.rooms.coding_for(known, eligible=True)
        x.encoding = "" if coding == IDENTITY else coding.decode()
        status = forwarded(
            plan.fwd.value,
            fwd_status=reply.status,
            collapsed=x.collapsed,
            detail=None if ask.bypass is not None else reason.value,
        )
        head = compose_forwarded(
            reply,
            now_wall=self.rooms.now_wall,
            cache_status=status,
            encoding=coding,
            eligible=eligible,
            to_head=to_head,
        )
        if plan.aim is not Aim.PASS and reply.status == 200 and self._is_unchanged(known, head):
            ox.kill() if reply.framing is not Framing.NONE else ox.release()
            fields = [pair for pair in head.fields if pair[0] not in {b"content-type", b"content-encoding"}]
            x.reply(ReplyHead(304, fields))
            x.end()
            return
        x.reply(head)
        if head.framing is Framing.NONE:
            ox.release()
            x.end()
            return
        coder = self._encoder(coding, reply.length)
        for data in pieces or ():
            await self._send_some(x, data, coder)
        while True:
            more = ox.body_nowait()
            if more is None:
                if coder is not None:
                    x.send(coder.flush())
                x.push()
                more = await ox.body()
            if not more:
                break
            await self._send_some(x, more, coder)
        if coder is not None:
            x.send(coder.finish())
        x.end(ox.trailers)

    def _is_unchanged(self, known: Known, head: ReplyHead) -> bool:
        """Whether the client's own conditions, which the origin was not told, are met by the reply it gave."""
        ask = known.ask
        if ask.if_none_match is None and ask.if_modified_since is None:
            return False
        return not_modified(ask, head.get(b"etag"), parse_date(head.get(b"last-modified")), None)

    # -- tunnels --------------------------------------------------------------------------------------------

    async def _tunnel(self, x: Exchange) -> None:
        """Ask for another protocol, and carry its bytes both ways until both sides have ended."""
        known = x.known
        plan = Fetch(Aim.PASS, Fwd.BYPASS)
        x.outcome = plan.fwd.value
        request = self._request(x, known, plan)
        asked_mono = self.clock.mono()
        assert known.origin is not None
        client = self.rooms.client(x.session.peer, x.head).address.encode()
        async with self.origins.exchange(known.origin.name, request, client, x.interim) as ox:
            reply = await ox.reply()
            self._answered(x, known, ox, reply, asked_mono)
            if reply.status != 101:
                await self._pass(x, known, plan, ox, reply, Unstored.METHOD)
                return
            fields = end_to_end(reply.fields, reply.index)
            x.status = 101
            x.session.conn.tunnel(x.stream, ReplyHead(101, fields, reply.reason))
            x.ended = False
            x.push()
            self._cells[names.TUNNELS_OPEN] += 1
            try:
                async with trio.open_nursery() as both:
                    both.start_soon(self._up, x, ox)
                    while data := await ox.pull():
                        x.send(data)
                        await x.room()
                    both.cancel_scope.cancel()
            except* Fault as group:
                first = group.exceptions[0]
                assert isinstance(first, Fault)
                x.word, x.detail = first.word, first.detail
            finally:
                self._cells[names.TUNNELS_OPEN] -= 1
            x.end()

    async def _up(self, x: Exchange, ox: OriginExchange) -> None:
        """Carry a tunnel's bytes from the client to the origin."""
        while (data := await x.more()) is not None:
            await ox.push(data)
        ox.push_eof()
