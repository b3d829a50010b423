"""
The first part of what was not stored: a reply to a question for some slices.

An origin may answer with the whole (it knows no ranges, or does not care): then all is as it would have been. A part that turns out
to be all there is is kept as the whole that it is. One that belongs to something longer begins a copy of which parts are
stored, if what it belongs to may be kept and a strong validator will tell its other parts: without that the whole is
asked for, as it would have been; and what may not be kept is asked for as the client wanted it.

Source: RFC 9110 §15.3.7, §15.5.17; RFC 9111 §3, §3.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge.cache.combine import as_whole, may_combine, part_of
from edge.cache.storing import NotStored, Unstored, may_store, not_stored
from edge.exchange.decision import Combine, Fetch
from edge.origin.request import Aim
from edge.reply.cache_status import forwarded
from edge.reply.compose import ttl_at
from edge.worker.gaps import Run, claim_number
from edge.worker.landing import note_kept, note_not_kept

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.worker.means import Errand, Means

PARTED: Final = frozenset({206, 416})
"""What an origin says about ranges."""


async def parted(means: Means, errand: Errand) -> Fetch | bool:
    """
    Do what a reply to a question for a part asks for.

    Returns:
        How to ask instead; or whether the errand's reply is to be treated as a whole one from here on. False: all is done.
    """
    x, ox, reply, plan = errand.x, errand.ox, errand.reply, errand.plan
    assert plan.part is not None
    part = part_of(reply)
    if part is None or part.start != plan.part[0]:
        if reply.status == 416 and x.known.ask.range is not None and b"," not in x.known.ask.range:
            return True  # what begins before the one range begins is not there: nor is that
        ox.kill()
        return Fetch(Aim.PASS, plan.fwd)
    errand.reply = as_whole(reply, part)
    if part.is_all:
        return True
    draft = _storable(means, errand)
    if isinstance(draft, NotStored):
        note_not_kept(means, x, draft.reason)
        ox.kill()
        return Fetch(Aim.PASS, plan.fwd)
    if not may_combine(draft):
        ox.kill()
        return Fetch(Aim.WHOLE, plan.fwd, stale=plan.stale, shared=True)
    assert means.rooms.parts is not None
    copy = means.rooms.parts.begin(draft)
    note_kept(means, x, copy)
    if isinstance(copy, NotStored):
        ox.kill()
        return Fetch(Aim.PASS, plan.fwd)
    chunk = means.rooms.store.chunk_bytes if means.rooms.store is not None else 1
    end = part.end if part.end == part.length else part.end - part.end % chunk
    await _land(means, errand, copy, part.start, end)
    return False


def _storable(means: Means, errand: Errand) -> Copy | NotStored:
    """May the whole that the part belongs to be kept?"""
    request, rooms = errand.x.known.ask, means.rooms
    if errand.flight is None or rooms.parts is None:
        return not_stored(Unstored.STORE_BUSY)
    way = errand.x.known.way
    if way is not None and way.may_vary_by_client(errand.reply.get(b"vary")):
        return not_stored(Unstored.VARY_STAR)
    verdict = may_store(
        request,
        errand.reply,
        request_wall=errand.asked_wall,
        response_wall=means.clock.wall(),
        max_object=rooms.max_object(request),
    )
    if not isinstance(verdict, NotStored) and errand.plan.stale is None and rooms.is_too_new(request):
        return not_stored(Unstored.MIN_USES)
    return verdict


async def _land(means: Means, errand: Errand, copy: Copy, start: int, end: int) -> None:
    """Store the part, while the client that asked is served from what has landed, like everybody else."""
    x, flights, parts = errand.x, means.flights, means.rooms.parts
    assert flights is not None
    assert parts is not None
    each = parts.slice_bytes(copy.length)
    is_ours = start < end and flights.claims.claim(claim_number(copy, start, each))
    run = Run(means, x.known, copy, start, end) if is_ours else None
    if x.is_attended:
        ttl = ttl_at(means.rooms.now_s, copy.fresh_until_wall)
        status = forwarded(errand.plan.fwd.value, ttl=ttl, stored=True)
        means.hand_over(x, lambda: means.walk(x, Combine(copy, status)))
    errand.land(flights)
    if run is None:
        errand.ox.kill()
    else:
        await run.end_with(run.land(errand.ox, errand.asked_wall))


def without_part(plan: Fetch) -> Fetch:
    """Return *plan* for a client that asks for itself alone: in its own words."""
    return replace(plan, aim=Aim.PASS, part=None, shared=False)
