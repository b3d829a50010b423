"""
Asking once for everyone: who fetches a key claims it, and whoever wants the same meanwhile joins.

How a flight is told of and looked at lies in :mod:`~edge.worker.flights`. Here is what an exchange does about it: fly, join,
or fetch for itself. What the cache has may change while one waits, so it is looked up again after every wait.

Invariant: a key that was taken is given back, whatever happens, and never held while its own client is waited for.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge.cache.lookup import select
from edge.errors import Fault
from edge.exchange.decision import Fetch
from edge.message.ranges import parse_range
from edge.observe import names
from edge.worker.asking import ask, carry
from edge.worker.flights import State
from edge.worker.following import follow
from edge.worker.parting import without_part
from edge.worker.session import Unattended

if TYPE_CHECKING:
    from edge.exchange.decision import Decision
    from edge.exchange.recognise import Known
    from edge.worker.flights import Flight, Flights
    from edge.worker.means import Errand, Means
    from edge.worker.session import Exchange

log = logging.getLogger("edge")

FAR: Final = 8 << 20
"""Bytes that a client who wants a range lets land before it, rather than ask for it himself."""

MOST_PATIENCE: Final = 3
"""Flights that one request waits for in a row at most."""


async def fetch(means: Means, x: Exchange, plan: Fetch) -> Decision | None:
    """
    Ask the origin, or join whoever is asking it already.

    Returns:
        What to do instead, where another's fetch has brought something of use; None: the exchange has its reply.
    """
    x.outcome = plan.fwd.value
    known, flights = x.known, means.flights
    key, key_hash = known.ask.key, known.ask.hash
    patience = _patience(known)
    while plan.shared and flights is not None:
        flight = flights.take_off(key, key_hash)
        decision: Decision
        if flight is not None:
            try:
                # Whoever had the key until now may have stored what we want.
                decision = plan if means.rooms.stands(known, plan) else means.rooms.decide(known)
                if type(decision) is Fetch and decision.shared:
                    x.collapsed = False  # what it waited for was of no use to it
                    means.cells[names.FLIGHTS] += 1
                    await ask(means, x, decision, flight)
                    return None
            finally:
                _end(flights, flight)
        else:
            x.collapsed = True
            patience -= 1
            means.cells[names.FLIGHTS_JOINED] += 1
            with x.bound():
                if await _join(means, flights, x, plan):
                    return None
            decision = means.rooms.decide(known)
        if type(decision) is not Fetch:
            return decision
        plan = decision
        if patience <= 0 and plan.shared and flights.claims.holder(key_hash) is not None:
            break  # what was joined was of no use, and nobody queues again for nothing
    x.collapsed = False
    if known.ask.range is not None:
        plan = without_part(plan)  # nothing of it will be kept: what is not wanted need not come
    with x.bound():
        await ask(means, x, plan, None)
    return None


def _patience(known: Known) -> int:
    """How many flights a request waits for in vain: one, but for routes where the first replies are not kept by rule."""
    policy = known.ask.policy
    return 1 if policy is None else min(policy.min_uses, MOST_PATIENCE)


async def go_on(means: Means, errand: Errand) -> None:
    """Carry on, in a task, what was begun without one (:mod:`~edge.worker.quick`)."""
    flight = errand.flight
    try:
        if flight is not None:
            await carry(means, errand)
        else:
            # Nothing is carried if the client has left since: its connection is lent all the same.
            with errand.x.bound():
                await carry(means, errand)
    finally:
        errand.ox.kill()
        if flight is not None:
            assert means.flights is not None
            _end(means.flights, flight)


async def refresh_behind(means: Means, known: Known, plan: Fetch) -> None:
    """Refresh a copy behind a client that has been served, unless somebody does already."""
    flights = means.flights
    assert flights is not None
    flight = flights.take_off(known.ask.key, known.ask.hash)
    if flight is None:
        return
    try:
        if not means.rooms.stands(known, plan):
            return  # whoever had the key until now has refreshed it
        means.cells[names.FLIGHTS] += 1
        await ask(means, Unattended(known, means.clock.mono()), plan, flight)
    except Fault as fault:
        log.warning("refreshing %s failed: %s %s", known.ask.url.decode("latin-1"), fault.word, fault.detail)
    except Exception:
        means.cells[names.BUGS] += 1
        log.exception("an error of our own, refreshing %r: please report it", known.ask.url)
    finally:
        _end(flights, flight)


async def _join(means: Means, flights: Flights, x: Exchange, plan: Fetch) -> bool:
    """Send what another's flight brings; False if it brings nothing for us."""
    ask = x.known.ask
    with flights.joined(ask.key, ask.hash) as flight:
        while flight.state is State.ASKED:
            await flight.change()
        draft = flight.draft
        if draft is None or flight.state is State.OVER or select(ask, [draft]) is None or draft.no_cache:
            return False
        if means.rooms.is_late(draft):  # it was asked for before a purge, and we came after
            return False
        if _is_far(x.known.ask.range, draft.length, flight.landed):
            return False
        with flight.reading(means.rooms.store) as reader:
            await follow(means, x, flight, draft, plan.fwd.value, reader)
    return True


def _is_far(range_: bytes | None, length: int, landed: int) -> bool:
    """Whether what is wanted lies so far behind what has landed that it is sooner had by a question of its own."""
    if range_ is None or not length:
        return False
    spans = parse_range(range_, length)
    return isinstance(spans, list) and min(start for start, _ in spans) > landed + FAR


def _end(flights: Flights, flight: Flight) -> None:
    """Give the key back, if that has not been done already."""
    flight.end(State.OVER)
    flights.touch_down(flight)
