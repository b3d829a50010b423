"""
Sending a body to a client while it lands: what everyone does who shares a flight, whoever flies it.

A flight may break off: its origin does, or its worker is killed. What has landed is then a copy of which parts are stored, where a
strong validator allows that, and everyone goes on from there, one of them fetching the rest.

Several ranges are sent in the order of the body, whatever order they were asked in: what passes by need not lie in the store,
and is not to be had again (RFC 9110 §15.3.7.2 would have the order of the request, where nothing speaks against it).

Invariant: a client that has been sent a head gets the whole body, or its connection breaks where the flight did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from edge.cache.copy import IDENTITY
from edge.errors import OriginFault
from edge.message.head import Framing
from edge.reply.cache_status import forwarded
from edge.reply.compose import ttl_at
from edge.worker.parts import PartsReader, what_is_left
from edge.worker.session import HIGH
from edge.worker.shaping import shape_copy

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.compress.encoder import Encoder
    from edge.exchange.send import Span
    from edge.worker.flights import Flight, Reader
    from edge.worker.means import Means
    from edge.worker.session import Exchange


async def follow(means: Means, x: Exchange, flight: Flight, draft: Copy, fwd: str, reader: Reader) -> None:
    """
    Send what a flight brings.

    Args:
        means: of the lane.
        x: to whom.
        flight: whose head is known.
        draft: its head.
        fwd: why the origin was asked, for Cache-Status.
        reader: a seat in the flight, the caller's to leave.
    """
    rooms = means.rooms
    eligible = rooms.is_coded(draft)
    coding = rooms.coding_for(x.known, eligible=eligible)
    length = draft.length if coding == IDENTITY and draft.length else None
    x.outcome = fwd
    status = forwarded(
        fwd,
        ttl=ttl_at(rooms.now_s, draft.fresh_until_wall),
        stored=not x.collapsed and flight.unstored is None,
        collapsed=x.collapsed,
        detail=None if flight.unstored is None else flight.unstored.value,
    )
    shaped = shape_copy(rooms, x, draft, coding, length, status, eligible=eligible, in_order=True)
    pieces: list[bytes | Span] = [(0, -1)] if shaped.pieces is None else shaped.pieces
    coder = means.coders.begin(coding, draft.length or None)
    x.reply(shaped.head)
    if shaped.head.framing is Framing.NONE:
        x.end()
        return
    rest: PartsReader | None = None
    for piece in pieces:
        if isinstance(piece, bytes):
            x.send(piece)
            continue
        start, end = piece
        if rest is None:
            try:
                await _send_span(means, x, reader, start, end, coder)
            except OriginFault:
                copy = what_is_left(means, draft)
                if copy is None:
                    raise
                rest = PartsReader(means, x, copy)
                start, end = max(start, reader.at), copy.length if end < 0 else end
        if rest is not None:
            await rest.send(start, end, coder)
    if coder is not None:
        x.send(coder.finish())
    x.end()


async def _send_span(means: Means, x: Exchange, reader: Reader, start: int, end: int, coder: Encoder | None) -> None:
    """
    Send the bytes *start* to *end* (-1: all) as they land.

    Raises:
        OriginFault: the flight broke off; what the reader has come by is sent.
    """
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
        await means.coders.send(x, data, coder)
        moved += len(data)
        if moved >= HIGH:
            moved = 0
            await trio.lowlevel.checkpoint()
