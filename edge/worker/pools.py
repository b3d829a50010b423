"""
The connections to origins: made, kept, lent to one exchange at a time, and awaited in the order of arrival.

Asks :mod:`edge.origin` which server is picked, which connection is used and which is closed, and adds the sockets and the
waiting. Does not know what is said on a connection.

Invariant: a connection is in exactly one place: lent to one exchange, idle in its pool, or closed. One that is readable
before its next use is closed instead of lent.

Hot: once per miss. Cost in ``bench/micro/test_origin.py``.
Source: RFC 9112 §9.
"""

from __future__ import annotations

import logging
import math
import select
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import ParkingLot

from edge.errors import EdgeFault, Fault, OriginFault, Side
from edge.http.h1.client import ClientConnection, ReplyMemo
from edge.message.proxy_protocol import NOWHERE, write_header
from edge.origin.balance import ASKED, OPEN
from edge.origin.budget import PENDING, Budget
from edge.origin.health import Health
from edge.origin.members import Member, Members
from edge.origin.pool import Pool, lasts_for
from edge.share.fleet import OWN
from edge.worker.choosing import Chooser
from edge.worker.dial import Door
from edge.worker.waits import SWEPT_S

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from edge.clock import Clock
    from edge.config.tree import Origin, OriginServer
    from edge.observe.ledger import Cells
    from edge.observe.names import OriginCells
    from edge.share.bells import Bells
    from edge.share.fleet import Fleet
    from edge.tls.credentials import Credentials
    from edge.tls.stream import Stream
    from edge.worker.choosing import Asker
    from edge.worker.dial import Dialler
    from edge.worker.ears import Ears

log = logging.getLogger("edge.origin")

QUEUE_PER_CONNECTION = 1
"""Exchanges that may wait for a connection, per connection allowed: who would wait longer than one whole exchange is told
so at once."""

MOST_RETRY_AFTER_S = 30
"""However long a queue may be waited in: who is told to come again later than this does not come."""


class Link:
    """One connection to a server."""

    __slots__ = ("born_mono", "fd", "preface", "server", "speaks", "stream", "uses", "wire")

    def __init__(self, server: Server, stream: Stream, born_mono: float, preface: bytes) -> None:
        self.born_mono = born_mono
        self.preface = preface  # the PROXY header it began with: it is that client's connection's alone
        self.server = server
        self.stream = stream
        self.fd = stream.fileno()
        self.wire: ClientConnection = ClientConnection(server.group.replies)
        self.uses = 0  # exchanges carried before this one
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        self.speaks = poll.poll

    def is_silent(self) -> bool:
        """
        Return whether nothing has come while it was idle: neither its end nor bytes nobody asked for.

        Cost: one system call. Asking the kernel (0.3 µs) is cheaper than a read that would block (1.2 µs, an exception). Not
        so with TLS: what has come may lie in OpenSSL already, and tickets make a socket readable that a read leaves silent.
        """
        if self.stream.version is None:
            return not self.speaks(0)
        try:
            return self.stream.pull() is None
        except Fault:
            return False


class Server:
    """
    One server of an origin: its door, its connections, its health.

    Attributes:
        index: its place among the group's servers, as long as these do not change.
        row, common: where the node keeps what it knows of it.
        trouble: where in the page's words a number stands that is 0 while it does nothing wrong.
        asked: where our own number of exchanges with it stands.
        has_left: it is a server of the origin no more; what it carries ends, and nothing is kept.
    """

    __slots__ = (
        "_limit",
        "_open",
        "_words",
        "asked",
        "authority",
        "common",
        "door",
        "group",
        "has_left",
        "health",
        "index",
        "label",
        "pool",
        "row",
        "settings",
        "trouble",
    )

    def __init__(self, group: Group, settings: Member, tls: ssl.SSLContext | None) -> None:
        origin, fleet = group.settings, group.node.fleet
        self.group = group
        self.index = 0
        self.settings = settings
        self.row = fleet.row(settings.row_name(origin.name))
        fleet.keep(self.row, int(group.clock.mono()))
        self.common = fleet.common(self.row)
        self._words = fleet.words
        self._open = fleet.own(self.row, group.node.slot) + OPEN
        self.asked = self._open - OPEN + ASKED
        self._limit = origin.max_requests
        self.has_left = False
        self.label = settings.label
        self.authority = settings.authority.encode()
        self.door = Door(
            self.label,
            settings.host,
            settings.port,
            settings.unix_path,
            tls,
            None if tls is None else origin.tls.server_name or settings.name or settings.host,
            sources=group.sources,
            preface=group.preface,
        )
        self.pool: Pool[Link] = Pool(origin.max_connections, origin.max_idle)
        self.health = Health(fleet, self.row)
        self.trouble = self.health.trouble_at

    @property
    def has_room(self) -> bool:
        """One more exchange may be carried."""
        return self.pool.has_room and (self._limit is None or self.busy() < self._limit)

    def busy(self) -> int:
        """Return how many exchanges it carries, of the whole node. Cost: 0.2 µs, and 0.1 µs for each other worker."""
        pool, words, row = self.pool, self._words, self.row * OWN
        busy = pool.lent
        for elsewhere in self.group.node.elsewhere:
            busy += words[elsewhere + row]
        return busy

    def take(self, now_mono: float, preface: bytes) -> Link | None:
        """Lend an idle connection that is still silent and began with *preface*, closing those that speak."""
        while True:
            if preface:
                link, may_use = self.pool.take_fit(lambda link: link.preface == preface, now_mono)
            else:
                link, may_use = self.pool.take(now_mono)
            if link is None:
                return None
            if may_use and link.is_silent():
                link.uses += 1
                self._words[self._open] = self.pool.lent
                return link
            self.discard(link)

    def opening(self) -> None:
        """Count a connection that is about to be opened."""
        self.pool.opening()
        self._words[self._open] = self.pool.lent

    def gone(self) -> None:
        """A lent connection was closed, or could not be opened."""
        self.pool.gone()
        self._words[self._open] = self.pool.lent
        self.group.freed()

    def give_back(self, link: Link, now_mono: float, keep_s: float) -> None:
        """Keep a lent connection for the next exchange, or close what there is too much of."""
        if self.door.tls is not None and (not link.uses or self.door.session is None):
            self.door.session = getattr(link.stream, "session", None)  # TLS 1.3 tickets come with the first reply
        settings = self.group.settings
        if self.group.limits_links:
            age_s = now_mono - link.born_mono
            keep_s = min(keep_s, lasts_for(link.uses + 1, age_s, settings.max_uses, settings.max_age_s))
        condemned = self.pool.give_back(link, now_mono, 0.0 if self.has_left else keep_s)
        self._words[self._open] = self.pool.lent
        if condemned is not None:
            self.discard(condemned)
        self.group.freed()

    def put_by(self, link: Link) -> None:
        """Keep a lent connection that nothing has been said on yet."""
        group = self.group
        now_mono = group.clock.mono()
        keep_s = group.settings.idle_s if group.keeps and not self.has_left else 0.0
        condemned = self.pool.give_back(link, now_mono, min(keep_s, group.settings.max_age_s or math.inf))
        self._words[self._open] = self.pool.lent
        if condemned is not None:
            self.discard(condemned)
        group.freed()

    def discard(self, link: Link) -> None:
        """Close a lent connection. Whoever still waits on it (a sender beside) is woken with ClosedResourceError."""
        stream = link.stream
        if self.door.tls is not None:
            stream.shut()
        self.group.ears.close(link.fd)
        stream.close()
        self.gone()

    def leave(self) -> None:
        """Keep no connection; those that are lent are closed as they come back."""
        self.has_left = True
        for link in self.pool.aged(math.inf):
            self.discard(link)

    def sweep(self, now_mono: float) -> None:
        """Close idle connections that are too old, or that the server has closed or written to."""
        pool = self.pool
        for link in pool.aged(now_mono):
            self.discard(link)
        for link in pool.kept():
            if not link.is_silent():
                pool.condemn(link)
                self.discard(link)

    # -- what an exchange has shown --------------------------------------------------------------------------

    def failed(self, why: str, now_mono: float) -> None:
        """An exchange failed in a way that counts."""
        group, limit = self.group, self.group.settings.ejection.failures
        if not limit:
            return
        may_eject = group.chooser.may_eject(now_mono)
        if self.health.failed(now_mono, limit, group.chooser.pauses, may_eject=may_eject):
            group.node.cells[group.at.ejections] += 1
            pause_s = self.health.again_mono - now_mono
            log.warning(
                "origin %s: %s is left alone for %.3gs: %d failures in a row, the last one: %s",
                group.settings.name,
                self.label,
                pause_s,
                self.health.failures,
                why,
            )

    def answered(self, now_mono: float) -> None:
        """A good reply came after something that counted against it."""
        if self.health.answered(now_mono):
            log.warning("origin %s: %s answers again", self.group.settings.name, self.label)


class Node:
    """
    What a worker's groups know of the node.

    Attributes:
        fleet: how servers stand.
        slot: which rows of it are our own.
        bells: who waits for a server that others keep busy is woken by them; None: nobody else is there.
        cells: this worker's counters.
        alive: the slots of processes that are there, ours included.
        elsewhere: where in the page's words row 0 of the others begins.
    """

    __slots__ = ("_look", "alive", "bells", "cells", "elsewhere", "fleet", "slot")

    def __init__(
        self, fleet: Fleet, slot: int, cells: Cells, bells: Bells | None, look: Callable[[], Iterable[int]] | None
    ) -> None:
        self.fleet = fleet
        self.slot = slot
        self.bells = bells
        self.cells = cells
        self._look = look
        self.alive: tuple[int, ...] = (slot,)
        self.elsewhere: tuple[int, ...] = ()
        self.look()

    def look(self) -> None:
        """See who else is there. Call about once a second."""
        if self._look is not None:
            self.alive = tuple(self._look())
            self.elsewhere = tuple(self.fleet.own(0, slot) + OPEN for slot in self.alive if slot != self.slot)


class Group:
    """
    One origin: its servers, and those who wait for one of their connections.

    Attributes:
        settings: the origin's.
        node: what is known of the node.
        at: where its counters are among the node's cells.
        members, servers: who they are, in the same order; :meth:`become` makes them others.
        replies: heads of replies that have been read.
        chooser: picks one of them.
        budget: of further attempts.
        bad_failures, bad_statuses: what counts against a server.
        is_patient: its deadlines are long enough to be kept by the sweep.
        keeps: connections are kept for later exchanges.
        limits_links: connections end by age or use.
        sources: the address connections come from, by family.
        preface: the PROXY header of connections that are nobody's but ours; none where no header is sent.
        waiting: exchanges parked, or woken and not yet running: whoever comes later queues behind.
    """

    def __init__(
        self,
        settings: Origin,
        clock: Clock,
        dialler: Dialler,
        ears: Ears,
        node: Node,
        credentials: Credentials,
        at: OriginCells,
    ) -> None:
        self.settings = settings
        self._credentials = credentials
        self.clock = clock
        self.dialler = dialler
        self.ears = ears
        self.node = node
        self.at = at
        self.words = node.fleet.words
        self._tls: ssl.SSLContext | None = None
        self.replies: ReplyMemo = {}
        self.is_patient = settings.first_byte_s >= SWEPT_S
        self.keeps = settings.max_idle > 0 and settings.idle_s > 0.0
        self.limits_links = settings.max_uses is not None or settings.max_age_s is not None
        self.sources = {AF_INET6 if ":" in address else AF_INET: address for address in settings.source}
        self.preface = (
            b"" if settings.proxy_protocol is None else write_header(NOWHERE, int(settings.proxy_protocol[1]))
        )
        self.lot = ParkingLot()
        self.waiting = 0
        self.row = node.fleet.row(settings.name.encode())
        node.fleet.keep(self.row, int(clock.mono()))
        self._pending_at = node.fleet.own(self.row, node.slot) + PENDING
        self.budget = Budget(node.fleet, self.row, node.slot, settings.retry_budget, settings.retry_reserve)
        self.budget.turn(clock.mono())
        self._rings = settings.max_requests is not None and node.bells is not None
        self.chooser = Chooser(settings, node.fleet, self.row)
        self.choose = self.chooser.choose
        on = settings.ejection.on
        self.bad_failures = frozenset(on)
        self.bad_statuses = frozenset(int(name) for name in on if name.isdigit())
        self.members = Members(())
        self.servers: list[Server] = []
        self.most_waiting = 0
        if (written := members_of(settings)).servers:  # else they are found later
            self.become(written)

    def become(self, members: Members) -> None:
        """
        Have these servers from now on, at least one. Those that stay keep their connections; what those that left
        carry goes on to its end.

        Raises:
            NoRowLeft: nothing has changed.
        """
        assert members.servers, "an origin has a server"
        stay = {server.settings.url: server for server in self.servers}
        is_first = not stay
        servers = []
        for settings in members.servers:
            server = stay.get(settings.url)
            if server is None:
                server = Server(self, settings, self._tls_for(settings))
                if not is_first:
                    server.health.joined(self.clock.mono())
            servers.append(server)
        for index, (server, settings) in enumerate(zip(servers, members.servers, strict=True)):
            server.index, server.settings = index, settings
            stay.pop(settings.url, None)
        self.members, self.servers = members, servers
        self.chooser.become(servers)
        self.most_waiting = QUEUE_PER_CONNECTION * self.settings.max_connections * len(servers)
        for left in stay.values():
            left.leave()
        self.freed()

    def _tls_for(self, server: Member) -> ssl.SSLContext | None:
        if server.scheme != "https":
            return None
        if self._tls is None:
            self._tls = self._credentials.context()
        return self._tls

    def sweep(self, now_mono: float) -> None:
        """Close what is too old, count what is left, and count in the present span. About once a second."""
        self.budget.turn(now_mono)
        fleet, now_s = self.node.fleet, int(now_mono)
        fleet.keep(self.row, now_s)
        for server in self.servers:
            fleet.keep(server.row, now_s)
            server.sweep(now_mono)
        self.node.cells[self.at.idle] = sum([server.pool.idle for server in self.servers])

    def spend(self, now_mono: float) -> bool:
        """Make one more attempt on behalf of a request that has had one, if the node's budget allows it."""
        if self.budget.spend(now_mono, self.node.alive):
            return True
        self.node.cells[self.at.retries_refused] += 1
        return False

    async def lend(self, exchange: Asker, chosen: Server | None, *, fresh: bool = False) -> Link:
        """
        Lend a connection, making or awaiting one; server after server while they cannot be reached.

        Args:
            exchange: who asks.
            chosen: already, for the first attempt: choosing twice would count twice.
            fresh: rather a new connection than an idle one, which may have died with the one before it.

        Raises:
            OriginFault: no server could be reached; the last one's reason.
            EdgeFault: none came free in time (503), or we are out of descriptors.
        """
        tried: set[Server] = set()
        queued = bool(self.waiting)
        if queued:
            await self._queue()
        try:
            while True:
                now_mono = self.clock.mono()
                server, chosen = chosen or self.choose(exchange, tried, now_mono), None
                if server is None:
                    await self._queue()
                    queued = True
                    continue
                if not (fresh and server.pool.may_open):
                    link = server.take(now_mono, exchange.request.preface)
                    if link is not None:
                        return link
                    # what was idle has been closed: there is room for a new one
                try:
                    return await self.open(server, now_mono, exchange.request.preface)
                except Fault as fault:
                    if fault.side is not Side.ORIGIN:
                        raise
                    tried.add(server)
                    now_mono = self.clock.mono()
                    if (
                        "connect" not in exchange.rules.kinds
                        or self.chooser.is_exhausted(tried, now_mono)
                        or not self.spend(now_mono)
                    ):
                        raise
        finally:
            if queued:
                self.freed()  # more may have come free than woke us

    async def open(self, server: Server, now_mono: float, preface: bytes = b"") -> Link:
        """
        Make a connection, which is lent; the pool must have room for it.

        Raises:
            Fault: it could not be made; noted for the server's health.
        """
        server.opening()
        if self.words[server.trouble]:
            server.health.tried(now_mono, self.chooser.pauses)
        try:
            stream = await self.dialler.dial(server.door, self.settings.connect_s, preface)
        except BaseException as cause:
            server.gone()
            if isinstance(cause, OriginFault) and server.health.unreachable(self.clock.mono(), self.chooser.pauses):
                self.node.cells[self.at.ejections] += 1
                log.warning("origin %s: %s cannot be reached: %s", self.settings.name, server.label, cause.detail)
            raise
        if self.words[server.trouble] and server.health.reached(self.clock.mono()):
            log.warning("origin %s: %s can be reached again", self.settings.name, server.label)
        self.node.cells[self.at.connects] += 1
        self.ears.open(stream.fileno())
        return Link(server, stream, self.clock.mono(), preface)

    async def _queue(self) -> None:
        """Wait until a server may have room, in the order of arrival."""
        node = self.node
        most = self.settings.max_pending
        if most is None:
            pending, most = len(self.lot), self.most_waiting
        else:
            pending = node.fleet.total(self.row, PENDING, node.alive)
        if pending >= most:
            raise self._is_full(f"{pending} wait already")
        self._wait(+1)
        try:
            with trio.CancelScope(relative_deadline=self.settings.queue_s):
                await self.lot.park()
                return
        finally:
            self._wait(-1)
        raise self._is_full("every connection is in use")

    def _is_full(self, why: str) -> EdgeFault:
        """Say that there is no room, and to come again when whoever waits now has been served or sent away."""
        after_s = min(max(math.ceil(self.settings.queue_s), 1), MOST_RETRY_AFTER_S)
        detail = f"{self.settings.name}: {why}"
        return EdgeFault(detail, word="connection_limit_reached", reply=503, retry_after_s=after_s)

    def _wait(self, change: int) -> None:
        self.waiting += change
        self.words[self._pending_at] = self.waiting
        if self._rings and self.node.bells is not None:
            self.node.bells.waiting(self.node.slot, change)

    def look_again(self) -> None:
        """Something has happened elsewhere: wake the first in the queue if there is room for it now."""
        if self.lot and any(server.has_room for server in self.servers):
            self.lot.unpark()

    def freed(self) -> None:
        """A connection came back or was closed: wake the first in the queue if there is room for it, here or elsewhere."""
        if self.lot and any(server.has_room for server in self.servers):
            self.lot.unpark()
        elif self._rings and self.node.bells is not None:
            self.node.bells.ring_all()


def members_of(settings: Origin) -> Members:
    """Return the servers that the configuration names itself; those that it only says how to find are not among them."""
    return Members.of(member_of(server) for server in settings.servers if server.discover is None)


def member_of(server: OriginServer) -> Member:
    """Return what the configuration says of a server."""
    return Member(server.url, server.scheme, server.host, server.port, server.unix_path, server.weight, server.backup)
