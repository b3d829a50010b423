"""
Sending copies from the store, and making the codings that are wanted of them.

A coding is made once per node: whoever comes first claims it, and the others wait for it a while. It is stored beside
the identity, which always stays.

A copy may be taken away at any moment: evicted, purged, replaced. If nothing of it has been sent, the origin is asked as if it had
never been there (:class:`BodyGone`); if its reply has begun, the rest comes from the origin, where a strong validator says
that it is the rest.

Invariant: what is sent of a body lies in the store to its end, or is the origin's of the same validator, or the exchange ends with a
fault.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from edge.cache.combine import may_combine
from edge.cache.copy import IDENTITY
from edge.errors import EdgeFault
from edge.exchange.decision import Combine, Serve
from edge.exchange.rooms import WHOLE_CODING
from edge.exchange.send import send_serve, whole
from edge.message.head import Framing
from edge.observe import names
from edge.worker.flights import PIECE
from edge.worker.parts import PartsReader
from edge.worker.shaping import shape_copy

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.cache.copy import BodyRef, Copy
    from edge.compress.encoder import Encoder
    from edge.exchange.decision import Stored
    from edge.exchange.rooms import Rooms
    from edge.exchange.send import Shaped, Span
    from edge.worker.means import Means
    from edge.worker.session import Exchange

VARIANT_S: Final = 5.0
"""How long to wait for a coding that another exchange is making; then identity is sent."""


class BodyGone(EdgeFault):
    """A copy was taken away between being found and being read."""

    def __init__(self) -> None:
        super().__init__("a stored body is gone", reply=503)


def send_ready(rooms: Rooms, x: Exchange, serve: Serve, cache_status: bytes | None = None) -> None:
    """Send a copy that is ready in memory."""
    x.encoding = serve.coding
    x.status, x.sent_bytes = send_serve(
        x.session.conn,
        x.stream,
        x.known,
        serve,
        rooms.now_s,
        cache_status=cache_status,
        collapsed=x.outcome if x.collapsed else "",
        dress=x.dress,
    )
    x.sent()


async def send_copy(means: Means, x: Exchange, copy: Copy, cache_status: bytes) -> None:
    """
    Send a copy that was asked about, or is used because the origin failed.

    Raises:
        BodyGone: before anything was sent.
        Fault: after that.
    """
    rooms = means.rooms
    ready = rooms.with_copy(x.known, copy, None)
    if ready is None:
        _forget(means, copy)
        raise BodyGone
    if isinstance(ready, Serve):
        send_ready(rooms, x, ready, cache_status)
    elif isinstance(ready, Combine):
        ready.cache_status = cache_status
        await means.walk(x, ready)
    else:
        await send_stored(means, x, ready, cache_status)


async def send_stored(means: Means, x: Exchange, stored: Stored, cache_status: bytes | None = None) -> None:
    """
    Send a copy whose body, or coding, must first be got.

    Raises:
        BodyGone: before anything was sent.
        Fault: after that.
    """
    try:
        await _send_stored(means, x, stored, cache_status)
    except BodyGone:
        _forget(means, stored.copy)
        raise


def _forget(means: Means, copy: Copy) -> None:
    """A head without its body is of no use to anybody."""
    store = means.rooms.store
    assert store is not None
    store.forget(copy, means.clock.wall())


async def _send_stored(means: Means, x: Exchange, stored: Stored, cache_status: bytes | None) -> None:
    rooms, coders = means.rooms, means.coders
    copy, coding = stored.copy, stored.coding
    ref = copy.bodies.get(coding)
    if ref is None and copy.length <= WHOLE_CODING:
        copy, data = await variant(means, copy, coding)
        if data is not None:
            stamp = rooms.stamps.read(x.known.ask.hash)
            serve = rooms.ready(x.known, copy, coding, data, stamp, eligible=stored.eligible)
            send_ready(rooms, x, serve, cache_status)
            return
        ref = copy.bodies.get(coding)
        if ref is None:
            coding = IDENTITY
            ref = copy.bodies[IDENTITY]
    if ref is None:  # too long to be coded before it is sent, or to keep a variant of
        shaped = shape_copy(rooms, x, copy, coding, None, cache_status, eligible=stored.eligible)
        body = copy.bodies[IDENTITY]
        await _send_spans(means, x, copy, shaped, body, coders.begin(coding, body.length))
        return
    if ref.length <= rooms.memory.largest:
        stamp = rooms.stamps.read(x.known.ask.hash)
        data = await _read_all(rooms, ref.body_id, ref.length)
        serve = rooms.ready(x.known, copy, coding, data, stamp, eligible=stored.eligible)
        send_ready(rooms, x, serve, cache_status)
        return
    shaped = shape_copy(rooms, x, copy, coding, ref.length, cache_status, eligible=stored.eligible)
    await _send_spans(means, x, copy, shaped, ref, None)


async def variant(means: Means, copy: Copy, coding: bytes) -> tuple[Copy, bytes | None]:
    """
    Make a coding of a stored body, once per node, and store it beside.

    Returns:
        The copy, and the coded body if it was made here. Without either the coding is not to be had.
    """
    store, flights = means.rooms.store, means.flights
    assert store is not None
    assert flights is not None

    def newest() -> Copy | None:
        return next((other for other in store.copies(copy.key) if other.copy_id == copy.copy_id), None)

    number = int.from_bytes(blake2b(b"%d %b" % (copy.copy_id, coding), digest_size=7).digest())
    with trio.move_on_after(VARIANT_S):
        while not flights.claims.claim(number):
            with flights.waiting():
                if flights.claims.holder(number) is not None:
                    await flights.rung()
            found = newest()
            if found is None or coding in found.bodies:
                return found or copy, None
        try:
            found = newest() or copy
            if coding in found.bodies:
                return found, None
            identity = found.bodies[IDENTITY]
            data = await means.coders.whole(coding, _reader(means.rooms, identity.body_id)(0, found.length))
            means.cells[names.CACHE_VARIANTS] += 1
            return store.add_variant(found, coding, data) or found, data
        finally:
            flights.claims.release(number)
            flights.ring()
    return copy, None


# -- reading -------------------------------------------------------------------------------------------------


def _reader(rooms: Rooms, body_id: int) -> Callable[[int, int], bytes]:
    """Return what reads a span of a stored body, and faults where it is gone."""
    store = rooms.store
    assert store is not None

    def read(start: int, end: int) -> bytes:
        data = store.read(body_id, start, end)
        if data is None:
            raise BodyGone
        return data

    return read


async def _read_all(rooms: Rooms, body_id: int, length: int) -> bytes:
    """Read a whole body, letting others run between two pieces."""
    read = _reader(rooms, body_id)
    pieces = []
    for start in range(0, length, PIECE):
        pieces.append(read(start, min(length, start + PIECE)))
        await trio.lowlevel.checkpoint()
    return b"".join(pieces)


async def _send_spans(
    means: Means, x: Exchange, copy: Copy, shaped: Shaped, body: BodyRef, coder: Encoder | None
) -> None:
    """Send what was shaped of a stored body, reading a piece at a time."""
    read = _reader(means.rooms, body.body_id)
    pieces: list[bytes | Span] = whole(body.length) if shaped.pieces is None else shaped.pieces
    if shaped.head.framing is Framing.NONE:
        pieces = []
    rest: PartsReader | None = None
    first = next((piece[0] for piece in pieces if not isinstance(piece, bytes)), None)
    if first is not None:
        read(first, first + 1)  # while something else can still be said
    x.reply(shaped.head)
    for piece in pieces:
        if isinstance(piece, bytes):
            x.send(piece)
            continue
        at, end = piece
        while rest is None and at < end:
            try:
                data = read(at, min(end, at + PIECE))
            except BodyGone:
                rest = _rest(means, x, copy, body)
                if rest is None:
                    raise
            else:
                at += len(data)
                await means.coders.send(x, data, coder)
                await trio.lowlevel.checkpoint()
        if rest is not None:
            await rest.send(at, end, coder)
    if coder is not None:
        x.send(coder.finish())
    x.end()


def _rest(means: Means, x: Exchange, copy: Copy, body: BodyRef) -> PartsReader | None:
    """Return who goes on where a body was taken away; None: nobody can say what its rest would be."""
    if means.rooms.parts is None or body is not copy.bodies[IDENTITY] or not may_combine(copy):
        return None
    return PartsReader(means, x, replace(copy, spans=()))
