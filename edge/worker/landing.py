"""
Keeping a reply: at once when it is here and short, else as it lands, readable by everyone from its first piece on.

Decides how a reply gets into the store, not whether it may (:mod:`edge.cache.storing`). Without room in the store, and
beyond ``max_object``, a flight goes on without it: the body goes from hand to hand, as fast as its slowest reader, to those
who read it already. Its key is given back at once, for nobody else can join any more.

Invariant: every fill that was begun is committed or abandoned; a flight ends LANDED only when its body is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.cache.copy import IDENTITY, Copy
from edge.cache.policy import NEVER_STOPPING
from edge.cache.storing import FOR_EVERYBODY, NUMBER, NotStored, Unstored
from edge.errors import ClientGone, OriginFault
from edge.exchange.send import whole
from edge.message.head import Framing
from edge.observe import names
from edge.reply.cache_status import forwarded
from edge.reply.compose import ttl_at
from edge.worker.flights import PIECE, State
from edge.worker.following import follow
from edge.worker.passing import pass_on
from edge.worker.session import Phase
from edge.worker.shaping import shape_copy

if TYPE_CHECKING:
    from edge.cache.fill import Fill
    from edge.worker.flights import Flight
    from edge.worker.means import Errand, Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange

WHOLE: Final = 256 * 1024
"""A reply that is here to its end, and no longer than this, is stored in one go and answered from memory."""

SHUN_S: Final = 120
"""How long a key whose reply was not storable is fetched by everyone for himself (Varnish's hit-for-miss: 120 s)."""


async def keep(means: Means, errand: Errand, draft: Copy) -> None:
    """Keep a reply that may be kept, and answer with it."""
    ox, reply, flight = errand.ox, errand.reply, errand.flight
    pieces = list(errand.pieces)
    size = sum(map(len, pieces))
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
        await _keep_whole(means, errand, draft, b"".join(pieces))
    elif flight is None:
        # Fetched for one client: it goes to that client only. The next one stores it in a flight of its own.
        errand.pieces = pieces
        await pass_on(means, errand, Unstored.STORE_BUSY)
    else:
        await _let_land(means, errand, flight, draft, pieces)


async def _keep_whole(means: Means, errand: Errand, draft: Copy, body: bytes) -> None:
    """Keep a reply that is all here, and the coding of it that the client wants."""
    rooms, x = means.rooms, errand.x
    draft.length = len(body)
    eligible = rooms.is_coded(draft)
    coding = rooms.coding_for(x.known, eligible=eligible)
    variants = None
    data = body
    if coding != IDENTITY and x.is_attended:
        data = await means.coders.whole(coding, body)
        variants = {coding: data}
    put_whole(means, errand, draft, body, coding, data, variants, eligible=eligible)


def put_whole(
    means: Means,
    errand: Errand,
    draft: Copy,
    body: bytes,
    coding: bytes,
    data: bytes,
    variants: dict[bytes, bytes] | None,
    *,
    eligible: bool,
) -> None:
    """
    Store a reply in one transaction, and answer with it. Never waits.

    Args:
        means: of the lane.
        errand: whose reply.
        draft: what is kept, with its length.
        body: as the origin sent it.
        coding: what the client gets.
        data: the body in that coding.
        variants: stored beside the body.
        eligible: it is coded for clients that ask.
    """
    rooms, x = means.rooms, errand.x
    store = rooms.store
    assert store is not None
    kept = store.put(draft, body, variants=variants)
    note_kept(means, x, kept)
    if variants and isinstance(kept, Copy):
        means.cells[names.CACHE_VARIANTS] += 1
    errand.land(means.flights)
    if not x.is_attended:
        return
    copy = kept if isinstance(kept, Copy) else draft
    reason = kept.reason.value if isinstance(kept, NotStored) else None
    status = forwarded(
        errand.plan.fwd.value,
        ttl=ttl_at(rooms.now_s, copy.fresh_until_wall),
        stored=reason is None,
        collapsed=x.collapsed,
        detail=reason,
    )
    shaped = shape_copy(rooms, x, copy, coding, len(data), status, eligible=eligible)
    if x.session.phase is not Phase.OPEN:
        raise ClientGone("the client has left")
    x.reply(shaped.head)
    if shaped.head.framing is not Framing.NONE:
        view = memoryview(data)
        for piece in whole(len(data)) if shaped.pieces is None else shaped.pieces:
            x.send_later(piece if isinstance(piece, bytes) else view[piece[0] : piece[1]])
    x.end()


async def _let_land(means: Means, errand: Errand, flight: Flight, draft: Copy, pieces: list[bytes]) -> None:
    """
    Store a body as it arrives.

    The client that started it becomes one reader among others, in a task of its own, so that a slow one holds
    nobody up.
    """
    x = errand.x
    store = means.rooms.store
    assert store is not None
    assert means.flights is not None
    errand.ox.is_kept = True
    fill = store.begin_fill(draft)
    body_id = 0
    if not isinstance(fill, NotStored):
        body_id = fill.body_id
    flight.begin(draft, body_id)
    means.flights.ring()
    if x.is_attended:
        reader = flight.seat(store)  # now, not when its task first runs: a flight without readers would be given up

        async def walk() -> None:
            try:
                with x.bound():
                    await follow(means, x, flight, draft, errand.plan.fwd.value, reader)
            finally:
                flight.leave(reader)

        means.hand_over(x, walk)
    if isinstance(fill, NotStored):
        _go_on_unstored(means, errand, flight, fill)
    policy = x.known.ask.policy
    stopping = NEVER_STOPPING if policy is None or not x.is_attended else policy.stopping
    try:
        while True:
            data = b"".join(pieces)
            pieces.clear()
            if data:
                if not isinstance(fill, NotStored):
                    refused = _append(fill, data, means.rooms.max_object(x.known.ask))
                    if refused is not None:
                        _go_on_unstored(means, errand, flight, refused)
                        fill = refused
                flight.land(data)
                if flight.unstored and not await flight.room():
                    flight.end(State.OVER)
                    return
            if stopping.stops(flight.landed, draft.length) and not means.flights.is_wanted(flight):
                raise ClientGone("everybody has left who waited for it")
            if not await _gather(errand.ox, pieces):
                break
    except ClientGone as fault:
        if not isinstance(fill, NotStored):
            fill.abandon(Unstored.CLIENT_LEFT)
            note_not_kept(means, x, Unstored.CLIENT_LEFT)
        flight.end(State.OVER, fault)
        return
    except OriginFault as fault:
        if not isinstance(fill, NotStored):
            fill.abandon(Unstored.TRUNCATED)
        flight.end(State.OVER, fault)
        origin = x.known.origin
        assert origin is not None
        means.cells[means.origin_cells[origin.name].faults] += 1
        return
    except BaseException:
        if not isinstance(fill, NotStored):
            fill.abandon(Unstored.CLIENT_LEFT)
        raise
    if not isinstance(fill, NotStored):
        note_kept(means, x, fill.commit())
    flight.end(State.LANDED)


def _go_on_unstored(means: Means, errand: Errand, flight: Flight, refused: NotStored) -> None:
    """The store does not take (more of) it. Whoever comes from now on could not read it from its beginning."""
    assert means.flights is not None
    note_not_kept(means, errand.x, refused.reason)
    flight.unstored = refused.reason
    means.flights.touch_down(flight)


def _append(fill: Fill, data: bytes, most: int) -> NotStored | None:
    """Store a piece; or say why the fill was given up."""
    refused = fill.append(data)
    if refused is None and fill.progress.landed_bytes > most:
        fill.abandon(Unstored.TOO_LARGE)
        refused = fill.refused
    return refused


async def _gather(ox: OriginExchange, pieces: list[bytes]) -> bool:
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


# -- what was kept, and what was not ------------------------------------------------------------------------


def note_kept(means: Means, x: Exchange, kept: Copy | NotStored) -> None:
    """Count a copy, and let its key be shared again; or note why there is none."""
    if isinstance(kept, Copy):
        means.cells[names.CACHE_STORED] += 1
        means.rooms.shunned.forgive(x.known.ask.hash)
    else:
        note_not_kept(means, x, kept.reason)


def note_not_kept(means: Means, x: Exchange, reason: Unstored) -> None:
    """Count it; tell the operator of want of room; and let nobody wait for a reply that will be like this one."""
    cells, shunned, now_s = means.cells, means.rooms.shunned, int(means.clock.wall())
    cells[names.CACHE_NOT_STORED] += 1
    shunned.note(x.known.ask.hash, NUMBER[reason], now_s)
    if reason in FOR_EVERYBODY:
        shunned.shun(x.known.ask.hash, now_s + SHUN_S)
    elif reason is Unstored.STORE_FULL:
        cells[names.CACHE_FULL] += 1
        means.rooms.say_full()
