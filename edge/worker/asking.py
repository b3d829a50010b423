"""
Asking an origin: what is said to it, and what its final head means.

A head means one of four things: the copy we asked about still stands, the origin has failed and a stale copy may be used
instead, the reply may be kept, or it is only passed on. Here this is decided and noted; :mod:`~edge.worker.confirming`,
:mod:`~edge.worker.landing` and :mod:`~edge.worker.passing` carry it out.

Source: RFC 9110 §10.1.1, §15.4.5; RFC 9111 §4.3.3, §4.4; RFC 5861 §4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.cache.ask import Method
from edge.cache.lookup import ERROR_STATUSES
from edge.cache.purge import Purge, What
from edge.cache.refresh import confirmed, invalidated, invalidated_groups
from edge.cache.storing import NotStored, Unstored, may_store
from edge.errors import OriginFault
from edge.exchange.decision import Fetch
from edge.message.head import Framing
from edge.observe import names
from edge.origin.request import Aim, sent_trailers
from edge.policy.identity import without
from edge.worker.confirming import confirm, hear_head, serve_stale
from edge.worker.landing import WHOLE, keep, note_not_kept
from edge.worker.means import Errand, Means
from edge.worker.parting import PARTED, parted
from edge.worker.passing import pass_on
from edge.worker.question import candidates, compose, put, within
from edge.worker.replacing import replace_by
from edge.worker.tally import count_reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.cache.copy import Copy
    from edge.message.head import Field
    from edge.worker.flights import Flight
    from edge.worker.session import Exchange


async def ask(means: Means, x: Exchange, plan: Fetch, flight: Flight | None) -> None:
    """
    Ask the origin and carry its reply where it belongs.

    Args:
        means: of the lane.
        x: on whose behalf.
        plan: what for.
        flight: what others share, if they may; None: it is for this client only.

    Raises:
        Fault: there is no reply, or not all of it, and no stale copy that may be used.
    """
    await carry(means, begin(means, x, plan, flight))


def begin(means: Means, x: Exchange, plan: Fetch, flight: Flight | None) -> Errand:
    """Put the question. Nothing is sent yet."""
    request = compose(means, x, plan)
    ox = put(means, x, request)
    way = x.known.way
    if way is not None and not way.is_plain and way.mirror is not None and request.framing is Framing.NONE:
        means.mirrors.hear(way.mirror, request)
    return Errand(x, plan, flight, ox, means.clock.mono(), means.clock.wall())


async def carry(means: Means, errand: Errand) -> None:
    """Ask, if that has not been done, and carry the reply where it belongs. As :func:`ask`."""
    x, plan = errand.x, errand.plan
    try:
        way = x.known.way
        if way is None or way.timeouts is None or way.timeouts.total_s is None:
            await _carry(means, errand)
        else:
            with within(way.timeouts.total_s):
                await _carry(means, errand)
    except OriginFault as fault:
        origin = x.known.origin
        assert origin is not None
        x.origin = x.origin or origin.name
        means.cells[means.origin_cells[origin.name].faults] += 1
        stale = plan.stale
        if stale is None or not stale.on_disconnect or x.status:
            raise
        x.word, x.detail = fault.word, fault.detail
        await serve_stale(means, x, plan, None)


async def _carry(means: Means, errand: Errand) -> None:
    """Ask, hear the reply's head, and carry it on."""
    x = errand.x
    way = x.known.way
    async with errand.ox as ox:
        if ox.attempts:
            await ox.resume()
        if ox.request.framing is not Framing.NONE:
            source: Callable[[], Awaitable[bytes | None]] = x.more
            if way is not None and way.mirror is not None:
                source = means.mirrors.overhear(way.mirror, ox.request, source)
            async with ox.sending(source, lambda: _trailers(means, x)):
                errand.reply = await ox.reply()
                note(means, errand)
                _replace(errand)
                await _answered_body(means, errand)
            return
        if not errand.is_answered:
            errand.reply = await ox.reply()
            note(means, errand)
            _replace(errand)
        await _answered(means, errand)


def _replace(errand: Errand) -> None:
    """Put an operator's page in the place of what the origin says, where that is ruled."""
    pages = errand.x.known.pages
    if pages is not None and pages.of_origins and errand.reply.status >= 400:
        page = pages.get(errand.reply.status)
        if page is not None:
            replace_by(errand, page)


def _trailers(means: Means, x: Exchange) -> list[Field]:
    """Return which of the client's trailers the origin gets: by none may it say who it is."""
    admission = means.rooms.admission
    return sent_trailers(x.trailers if admission is None else without(x.trailers, admission.told))


# -- the answer ----------------------------------------------------------------------------------------------


def note(means: Means, errand: Errand) -> None:
    """Note who answered, how and how soon; what an unsafe method has changed is asked about before its next use."""
    errand.is_answered = True
    x, ox, reply = errand.x, errand.ox, errand.reply
    origin = x.known.origin
    assert origin is not None
    x.origin = f"{origin.name}/{ox.server}"
    x.origin_s = means.clock.mono() - errand.asked_mono
    count_reply(means, origin.name, x.known.way, ox, reply, x.origin_s)
    store = means.rooms.store
    if store is not None and x.known.ask.method is Method.UNSAFE:
        for key in invalidated(x.known.ask, reply, means.rooms.steering.keys_for):
            store.mark_stale(key, means.clock.wall())
            means.cells[names.CACHE_INVALIDATED] += 1
        for group in invalidated_groups(x.known.ask, reply):
            store.purge(Purge(What.GROUP, group, means.clock.wall()))
            means.cells[names.CACHE_INVALIDATED] += 1


async def _answered_body(means: Means, errand: Errand) -> None:
    """
    A request with a body has been answered. That is for its client alone, but for a POST whose answer is the target's own
    representation, explicitly fresh and short: a GET may have the use of it (RFC 9110 §9.3.3).
    """
    reply = errand.reply
    if b"content-location" in reply.index and reply.framing is Framing.LENGTH and (reply.length or 0) <= WHOLE:
        verdict = weigh(means, errand)
        if not isinstance(verdict, NotStored):
            await keep(means, errand, verdict)
            return
    await pass_on(means, errand, Unstored.METHOD)


async def _answered(means: Means, errand: Errand) -> None:
    """A final head has come: confirm, use the stale copy, keep, or pass on."""
    rooms = means.rooms
    x, plan, ox, reply = errand.x, errand.plan, errand.ox, errand.reply
    request, store, stale = x.known.ask, rooms.store, plan.stale
    if plan.aim is Aim.REFRESH and reply.status == 304:
        copy = confirmed(candidates(plan), reply)
        ox.release()
        if copy is None:  # a 304 that speaks of nothing we have: ask for the whole
            await ask(means, x, Fetch(Aim.WHOLE, plan.fwd, shared=plan.shared), errand.flight)
        else:
            await confirm(means, errand, copy)
        return
    if stale is not None and stale.on_error and reply.status in ERROR_STATUSES:
        x.detail = f"the origin answered {reply.status}"
        ox.kill()
        await serve_stale(means, x, plan, reply.status)
        return
    if plan.part is not None and reply.status in PARTED:
        how = await parted(means, errand)
        if isinstance(how, Fetch):
            if how.shared:
                await ask(means, x, how, errand.flight)
            elif x.is_attended:
                errand.land(means.flights)
                with errand.bound():
                    await ask(means, x, how, None)
        if how is not True:
            return
    if store is not None and request.method is Method.HEAD and request.bypass is None:
        hear_head(means, errand)
    verdict = weigh(means, errand) if errand.verdict is None else errand.verdict
    if not isinstance(verdict, NotStored):
        await keep(means, errand, verdict)
        return
    if request.bypass is None and store is not None:
        note_not_kept(means, x, verdict.reason)
    errand.land(means.flights)
    if x.is_attended:
        await pass_on(means, errand, verdict.reason)


def weigh(means: Means, errand: Errand) -> Copy | NotStored:
    """May the reply be kept? What was asked with this client's own ranges or conditions may not."""
    request, rooms = errand.x.known.ask, means.rooms
    if rooms.store is None:
        return NotStored(Unstored.OFF)
    if errand.plan.aim is Aim.PASS and (request.range is not None or request.is_conditional):
        return NotStored(Unstored.REQUEST_SPECIFIC)
    reply = errand.reply
    is_plain = (
        request.method is Method.GET and request.bypass is None and request.policy is None and not request.cc.no_store
    )
    if is_plain and reply.memo is not None and (refusal := reply.memo.get("refusal")) is not None:
        assert isinstance(refusal, NotStored)
        return refusal
    way = errand.x.known.way
    if way is not None and way.request_changes is not None and way.may_vary_by_client(errand.reply.get(b"vary")):
        return NotStored(Unstored.VARY_STAR)
    verdict = may_store(
        request,
        reply,
        request_wall=errand.asked_wall,
        response_wall=means.clock.wall(),
        max_object=rooms.max_object(request),
    )
    if not isinstance(verdict, NotStored) and errand.plan.stale is None and rooms.is_too_new(request):
        return NotStored(Unstored.MIN_USES)
    if is_plain and isinstance(verdict, NotStored) and verdict.reason in _SAID_BY_ORIGIN:
        if reply.memo is None:
            reply.memo = {}
        reply.memo["refusal"] = verdict  # whoever asks for whatever: see the reply's memo
    return verdict


_SAID_BY_ORIGIN: Final = frozenset({Unstored.NO_STORE, Unstored.PRIVATE})
"""What a reply says of itself, whoever asks."""
