"""
The rooms a journey passes through, as one worker holds them, and the steps that need no waiting: look up and decide.

One object per worker. It knows the order of the steps and nothing of sockets; its only shells are the store (memory
mapped, microseconds) and the shared pages.

Hot: :meth:`Rooms.decide`, 0.4 µs for what a head remembers, 21 µs when the copy must come from the store;
``bench/micro/test_decide.py``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from weakref import ref

from edge.cache.copy import IDENTITY
from edge.cache.lookup import Fwd, Hit, Miss, Stale, Unmet, Why, lookup
from edge.cache.parts import Parts
from edge.compress.eligible import Rules, is_eligible
from edge.exchange.admission import Admission
from edge.exchange.decide import fetch_for, unmet, without_cache
from edge.exchange.decision import Answer, Combine, Decision, Fetch, Serve, ServeStale, Stored
from edge.exchange.memory import GONE, Memory
from edge.exchange.purging import Purger, orders_of
from edge.exchange.recognise import Door, Known, recognise
from edge.exchange.steering import Steering
from edge.exchange.wording import refuse
from edge.message.head import ReplyHead, RequestHead
from edge.observe import names
from edge.observe.error_log import Seldom
from edge.origin.request import Aim
from edge.policy.access import AccessList
from edge.policy.forwarded import Client, TrustedProxies
from edge.reply.prepared import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.cache.ask import Ask
    from edge.cache.copy import Copy
    from edge.cache.store import Store
    from edge.clock import Clock
    from edge.config.tree import Config
    from edge.observe.ledger import Cells, Ledger
    from edge.share.crowd import Crowd
    from edge.share.rates import Rates
    from edge.share.recency import Recency
    from edge.share.shunned import Shunned
    from edge.share.stamps import Stamps
    from edge.share.uses import Uses

log = logging.getLogger("edge")

INLINE: Final = 256 * 1024
"""Bodies up to here are read from the store within a turn (30 µs); longer ones by the slow lane."""

WHOLE_CODING: Final = 8 * 1024 * 1024
"""Bodies up to here are coded whole and the result is kept; longer ones are coded as they are sent, each time anew."""


class Rooms:
    """
    What one worker decides with.

    Attributes:
        config: frozen.
        store: None when there is no cache.
        parts: what is stored in part there; None when there is no cache.
        slice_bytes: of a body of unknown length.
        cells: this slot's counters.
        steering: the routes and their rules.
        uses: how often keys were fetched; None: nobody counts.
        purger: carries purges out.
        admission: who may pass; None where everybody may.
        now_s, now_wall: this turn's wall clock, set by the fast lane.
        record: takes the entry of an exchange that has ended.
    """

    __slots__ = (
        "_admin",
        "_clock",
        "_https_port",
        "_preference",
        "_purge_from",
        "_rules",
        "_seldom",
        "admission",
        "cells",
        "config",
        "ledger",
        "memory",
        "now_s",
        "now_wall",
        "parts",
        "purger",
        "recency",
        "record",
        "shunned",
        "slice_bytes",
        "stamps",
        "steering",
        "store",
        "trusted",
        "uses",
    )

    def __init__(
        self,
        config: Config,
        *,
        store: Store | None,
        stamps: Stamps,
        recency: Recency,
        shunned: Shunned,
        ledger: Ledger,
        cells: Cells,
        clock: Clock,
        admin: Callable[[RequestHead, float, str], Answer] | None = None,
        uses: Uses | None = None,
        route_blocks: Mapping[str, int] | None = None,
        rates: Rates | None = None,
        under_way: Crowd | None = None,
        slot: int = 0,
    ) -> None:
        self.config = config
        self.store = store
        self.parts = None if store is None else Parts(store)
        self.slice_bytes = 0 if self.parts is None else self.parts.slice_bytes()
        self.stamps = stamps
        self.recency = recency
        self.shunned = shunned
        self.uses = uses
        self.ledger = ledger
        self.record = ledger.record
        self.cells = cells
        self.memory = Memory(config.cache.memory, recency)
        self.trusted = TrustedProxies(config.trusted_proxies)
        self.now_wall = 0.0
        self.now_s = 0
        self.purger = Purger(store, clock, cells)
        self._purge_from = AccessList(config.cache.purge_from)
        self._admin = admin
        self._clock = clock
        self._seldom = Seldom()
        self.steering = Steering(
            config.routes, config.origins, config.error_pages, config.limits.body_bytes, route_blocks
        )
        self._https_port = next((listener.port for listener in config.listeners if listener.tls and listener.port), 443)
        self._preference = tuple(coding.encode() for coding in config.compression.encodings)
        self.admission: Admission | None = None
        if rates is not None and under_way is not None:
            admission = Admission(config, cells, rates, under_way, slot)
            self.admission = admission if admission.is_needed else None
        self._rules = Rules(config.compression.types, config.compression.min_length)

    # -- admit, route, key: once per head --------------------------------------------------------------------

    def recognise(self, head: RequestHead, door: Door) -> Known:
        """Work out what *head* means; remembered on the head."""
        prepare = None if self.admission is None else self.admission.prepare
        known = recognise(head, door, self.steering, self._preference, self._https_port, prepare)
        if door.is_admin and self._admin is not None:
            admin = self._admin
            known.answer = lambda now, peer: admin(head, now, peer)
            known.pick = known.guard = None
        elif head.method == b"PURGE" and self._purge_from and (known.way is not None or known.pick is not None):
            known.answer = lambda now, peer: self._purge(head, peer, now)
            known.pick = known.guard = None  # who may purge is a rule of its own
        return known

    def picked(self, known: Known, peer: str) -> Known:
        """Say what a head means for this client: *known* itself, unless that depends on who asks."""
        return known if known.pick is None else known.pick(self.address(peer, known.head))

    def _purge(self, head: RequestHead, peer: str, now_wall: float) -> Answer:
        """Carry out a PURGE, if it comes from somebody who may ask for it."""
        address = self.address(peer, head)
        if not self._purge_from.admits(address):
            return refuse(head.known, 403, now_wall, "http_request_denied")
        orders, is_soft = orders_of(head, self.steering.keys_for)
        return self.purger.answer(head, orders, now_wall, is_soft=is_soft, by=address)

    def client(self, peer: str, head: RequestHead) -> Client:
        """Say who asks: the peer, or whom a proxy of ours names."""
        return self.trusted.client(peer, head)

    def address(self, peer: str, head: RequestHead) -> str:
        """Return the address of who asks."""
        trusted = self.trusted
        return trusted.client(peer, head).address if trusted else peer

    # -- look up, decide -------------------------------------------------------------------------------------

    def decide(self, known: Known, peer: str = "") -> Decision:
        """
        Look up what the cache has, and decide.

        Args:
            known: the request.
            peer: who sent it, where an answer may depend on that.

        Cost: 0.4 µs when the head was answered before and the copy stands; 4 µs when the key is known; 12 µs when the
        store must be asked.
        """
        ask = known.ask
        serve = known.serve()
        if (
            serve is not None
            and serve.stamp == self.stamps.words[ask.hash & self.stamps.mask]
            and serve.prepared.fresh_until > self.now_wall
        ):
            self.recency.halves[serve.prepared.copy_id & self.recency.mask] = self.now_s
            serve.uses += 1
            return serve
        if known.answer is not None:
            return known.answer(self.now_wall, peer)
        decision = without_cache(known)
        if decision is not None:
            return decision
        stamp = self.stamps.read(ask.hash)
        found = lookup(ask, self._copies(ask.key, stamp), self.now_wall)
        if type(found) is Hit:
            decision = self.with_copy(known, found.copy, stamp)
            if decision is not None:
                return decision
            assert self.store is not None
            self.store.forget(found.copy, self.now_wall)  # a head without its body is of no use to anybody
            return self.without_copy(known)
        if type(found) is Unmet:
            return unmet(known, self.now_wall)
        assert isinstance(found, Stale | Miss)
        if type(found) is Stale and found.why is Why.AHEAD and self.store is not None:
            self.store.forget(found.copy, self.now_wall)  # or it would take whatever comes for older than itself
            stamp = self.stamps.read(ask.hash)
            found = Miss(Fwd.MISS, [])
        fetch = fetch_for(known, found, self.slice_bytes)
        fetch.stamp = stamp
        if fetch.shared and (self.store is None or self.shunned.is_shunned(ask.hash, self.now_s)):
            fetch.shared = False
            if ask.range is not None or ask.is_conditional:
                # Nothing will be kept, so the origin may answer this client's own question.
                fetch = Fetch(Aim.PASS, fetch.fwd, stale=fetch.stale)
        if type(found) is Stale and found.while_revalidate and fetch.shared:
            decision = self.with_copy(known, found.copy, stamp)
            if decision is not None:
                return ServeStale(decision, fetch)
        return fetch

    def without_copy(self, known: Known) -> Decision:
        """Decide for a request whose copy was found, and then taken away before anything of it was sent."""
        if known.ask.cc.only_if_cached:
            return unmet(known, self.now_wall)
        return fetch_for(known, Miss(Fwd.MISS, []), self.slice_bytes)

    def stands(self, known: Known, fetch: Fetch) -> bool:
        """Whether nothing has happened to the key since *fetch* was decided, so that deciding again would say the same."""
        key_hash = known.ask.hash
        return fetch.stamp == self.stamps.read(key_hash) and not self.shunned.is_shunned(key_hash, self.now_s)

    def is_late(self, draft: Copy) -> bool:
        """Whether what is on its way was asked for before a purge or an invalidation of it, so that it is not to be shared."""
        return self.store is not None and self.store.is_late(draft)

    def _copies(self, key: bytes, stamp: int) -> list[Copy]:
        if self.store is None:
            return []
        copies = self.memory.known(key, stamp)
        if copies is None:
            copies = self.store.copies(key)
            self.memory.learn(key, stamp, copies)
        return copies

    def with_copy(self, known: Known, copy: Copy, stamp: int | None) -> Serve | Stored | Combine | None:
        """
        Choose the coding of *copy* for this request; None if its body is gone.

        Args:
            known: the request.
            copy: what is to be sent.
            stamp: the key's before *copy* was read from the store; None: it may have been changed or purged since, and is for
                this once.
        """
        eligible = self.is_coded(copy)
        coding = self.coding_for(known, eligible=eligible)
        self.recency.touch(copy.copy_id, self.now_s)
        self.recency.count(copy.copy_id)
        if copy.spans is not None:
            return Combine(copy)
        serve = self.memory.ready(copy, coding, stamp)
        if serve is None:
            body_ref = copy.bodies.get(coding)
            if body_ref is None or body_ref.length > INLINE:
                return Stored(copy, coding, eligible)
            assert self.store is not None
            body = self.store.read_whole(body_ref)
            if body is None:
                return None
            serve = self.ready(known, copy, coding, body, GONE if stamp is None else stamp, eligible=eligible)
        is_asked_about = copy.no_cache or copy.is_invalid  # however fresh it is
        if known.direct and stamp is not None and not is_asked_about:
            known.serve = ref(serve)
        return serve

    def ready(self, known: Known, copy: Copy, coding: bytes, body: bytes, stamp: int, *, eligible: bool) -> Serve:
        """Make a copy ready to send and remember it: for all who ask for the same address by the same route."""
        prepared = prepare(
            copy.status,
            copy.fields,
            body,
            age_base_wall=copy.age_base_wall,
            fresh_until_wall=copy.fresh_until_wall,
            date_wall=copy.response_wall,
            encoding=coding,
            eligible=eligible,
            reason=copy.reason,
            copy_id=copy.copy_id,
            stamp=stamp,
            changes=known.changes,
        )
        serve = Serve(prepared, copy, eligible, "" if coding == IDENTITY else coding.decode(), stamp)
        self.cells[names.CACHE_PREPARED] += 1
        if not self.memory.keep(coding, serve):
            serve.stamp = GONE
        return serve

    def max_object(self, ask: Ask) -> int:
        """Return how long a body may be to be kept."""
        if ask.policy is None or ask.policy.max_object is None:
            return self.config.cache.max_object
        return ask.policy.max_object

    def is_too_new(self, ask: Ask) -> bool:
        """Whether a reply, which could be kept, has not been fetched often enough for its route. Counts this fetch."""
        if ask.policy is None or ask.policy.min_uses == 1 or self.uses is None:
            return False
        return self.uses.count(ask.hash) < ask.policy.min_uses

    def say_full(self) -> None:
        """Tell the operator, once a minute, that replies are not stored for want of room."""
        held_back = self._seldom.may_say("full", self._clock.mono())
        if held_back is not None:
            log.warning(
                "the cache has no room: replies are served but not stored (%d more since the last time); "
                "see [cache] size and the disk",
                held_back,
            )

    # -- coding ----------------------------------------------------------------------------------------------

    def is_coded(self, copy: Copy) -> bool:
        """Whether *copy* is compressed for clients that ask."""
        if not self._preference or copy.no_transform:
            return False
        return is_eligible(ReplyHead(copy.status, copy.fields, length=copy.length), self._rules)

    def is_coded_head(self, reply: ReplyHead) -> bool:
        """Whether a reply on its way is compressed for clients that ask."""
        return bool(self._preference) and is_eligible(reply, self._rules)

    def coding_for(self, known: Known, *, eligible: bool) -> bytes:
        """
        Choose the coding for this request. A range is cut from the identity, whose bytes never change under it.

        A client that refuses identity and asks for what we do not code gets identity all the same: RFC 9110
        §12.5.3 leaves that to the server, and nobody is helped by a 406.
        """
        if not eligible:
            return IDENTITY
        encodings = known.ask.encodings
        if not encodings or (known.ask.range is not None and IDENTITY in encodings):
            return IDENTITY
        return encodings[0]
