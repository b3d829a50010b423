"""
What an origin's answer does to a copy that we have: it is confirmed, found out of date, or used although it is stale.

Which of these it is lies in :mod:`edge.cache.refresh`; here the store is told, and the client answered from the copy.

Source: RFC 9111 §4.2.4, §4.3.4, §4.3.5; RFC 5861 §4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.copy import Copy
from edge.cache.lookup import select
from edge.cache.refresh import after_head, refresh
from edge.observe import names
from edge.reply.cache_status import forwarded
from edge.reply.compose import ttl_at
from edge.worker.stored import send_copy

if TYPE_CHECKING:
    from edge.exchange.decision import Fetch
    from edge.worker.means import Errand, Means
    from edge.worker.session import Exchange


async def confirm(means: Means, errand: Errand, copy: Copy) -> None:
    """The origin says that a copy still stands: bring it up to date, and answer with it."""
    rooms, x = means.rooms, errand.x
    store = rooms.store
    assert store is not None
    now = means.clock.wall()
    means.cells[names.CACHE_REVALIDATED] += 1
    told = refresh(x.known.ask, copy, errand.reply, request_wall=errand.asked_wall, response_wall=now)
    fresh = told.copy
    if told.reason is None:
        fresh = store.update(copy, fresh) or fresh
    elif told.forget:
        store.forget(copy, now)
    errand.land(means.flights)
    if not x.is_attended:
        return
    status = forwarded(
        errand.plan.fwd.value,
        fwd_status=304,
        ttl=ttl_at(rooms.now_s, fresh.fresh_until_wall),
        stored=told.reason is None,
        detail=None if told.reason is None else told.reason.value,
    )
    with errand.bound():
        await send_copy(means, x, fresh, status)


async def serve_stale(means: Means, x: Exchange, plan: Fetch, fwd_status: int | None) -> None:
    """The origin failed, and a stale copy may be used instead."""
    assert plan.stale is not None
    if not x.is_attended:
        return
    copy = plan.stale.copy
    means.cells[names.CACHE_STALE_SERVED] += 1
    status = forwarded(
        plan.fwd.value,
        fwd_status=fwd_status,
        ttl=ttl_at(means.rooms.now_s, copy.fresh_until_wall),
        detail="stale-if-error",
    )
    await send_copy(means, x, copy, status)


def hear_head(means: Means, errand: Errand) -> None:
    """A reply to HEAD confirms the copy that a GET would get, or shows that it is out of date."""
    store = means.rooms.store
    assert store is not None
    ask = errand.x.known.ask
    copies = store.copies(ask.key)
    if not copies:
        return
    now = means.clock.wall()
    told = after_head(ask, copies, errand.reply, request_wall=errand.asked_wall, response_wall=now)
    old = select(ask, copies)
    if told is None or old is None:
        return
    if isinstance(told, Copy):
        store.update(old, told)
    elif told.reason is None:
        store.update(old, told.copy)
    elif told.forget:
        store.forget(old, now)
