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
from typing import TYPE_CHECKING, Protocol

import trio
from trio.lowlevel import ParkingLot

from edge.errors import EdgeFault, Fault, OriginFault, Side
from edge.http.h1.client import ClientConnection, ReplyMemo
from edge.message.proxy_protocol import NOWHERE, write_header
from edge.origin.balance import KeyedBy, make_balancer
from edge.origin.health import Health
from edge.origin.members import Member, Members
from edge.origin.pool import Pool, lasts_for
from edge.worker.dial import Door
from edge.worker.waits import SWEPT_S

if TYPE_CHECKING:
    import ssl
    from collections.abc import Set as AbstractSet

    from edge.clock import Clock
    from edge.config.tree import Origin
    from edge.origin.balance import Balancer
    from edge.origin.request import OriginRequest
    from edge.share.fleet import Fleet
    from edge.tls.credentials import Credentials
    from edge.tls.stream import Stream
    from edge.worker.dial import Dialler
    from edge.worker.ears import Ears

log = logging.getLogger("edge.origin")

QUEUE_PER_CONNECTION = 1
"""Exchanges that may wait for a connection, per connection allowed: who would wait longer than one whole exchange is told
so at once."""


class Asker(Protocol):
    """What a balancer may look at: who asks, and what for."""

    request: OriginRequest
    client: bytes


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
        row: where the node keeps what it knows of it.
        has_left: it is a server of the origin no more; what it carries ends, and nothing is kept.
    """

    __slots__ = ("authority", "door", "group", "has_left", "health", "index", "label", "pool", "row", "settings")

    def __init__(self, group: Group, settings: Member, tls: ssl.SSLContext | None) -> None:
        origin = group.settings
        self.group = group
        self.index = 0
        self.settings = settings
        self.row = group.fleet.row(f"{origin.name}\0{settings.url}".encode())
        self.has_left = False
        self.label = settings.label
        self.authority = settings.authority.encode()
        self.door = Door(
            self.label,
            settings.host,
            settings.port,
            settings.unix_path,
            tls,
            None if tls is None else origin.tls.server_name or settings.host,
            sources=group.sources,
            preface=group.preface,
        )
        self.pool: Pool[Link] = Pool(origin.max_connections, origin.max_idle)
        self.health = Health()

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
                return link
            self.discard(link)

    def give_back(self, link: Link, now_mono: float, keep_s: float) -> None:
        """Keep a lent connection for the next exchange, or close what there is too much of."""
        if self.door.tls is not None and (not link.uses or self.door.session is None):
            self.door.session = getattr(link.stream, "session", None)  # TLS 1.3 tickets come with the first reply
        settings = self.group.settings
        if self.group.limits_links:
            age_s = now_mono - link.born_mono
            keep_s = min(keep_s, lasts_for(link.uses + 1, age_s, settings.max_uses, settings.max_age_s))
        condemned = self.pool.give_back(link, now_mono, 0.0 if self.has_left else keep_s)
        if condemned is not None:
            self.discard(condemned)
        self.group.freed()

    def put_by(self, link: Link) -> None:
        """Keep a lent connection that nothing has been said on yet."""
        group = self.group
        now_mono = group.clock.mono()
        keep_s = group.settings.idle_s if group.keeps and not self.has_left else 0.0
        condemned = self.pool.give_back(link, now_mono, min(keep_s, group.settings.max_age_s or math.inf))
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
        self.pool.gone()
        self.group.freed()

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


class Group:
    """
    One origin: its servers, and those who wait for one of their connections.

    Attributes:
        settings: the origin's.
        fleet: what the node knows of servers.
        slot: which rows of it are our own.
        members, servers: who they are, in the same order; :meth:`become` makes them others.
        replies: heads of replies that have been read.
        is_patient: its deadlines are long enough to be kept by the sweep.
        keeps: connections are kept for later exchanges.
        limits_links: connections end by age or use.
        sources: the address connections come from, by family.
        preface: the PROXY header of connections that are nobody's but ours; none where no header is sent.
        waiting: exchanges parked, or woken and not yet running: whoever comes later queues behind.
    """

    balancer: Balancer

    def __init__(
        self,
        settings: Origin,
        clock: Clock,
        dialler: Dialler,
        ears: Ears,
        fleet: Fleet,
        slot: int,
        credentials: Credentials,
    ) -> None:
        self.settings = settings
        self._credentials = credentials
        self.clock = clock
        self.dialler = dialler
        self.ears = ears
        self.fleet = fleet
        self.slot = slot
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
        self.members = Members(())
        self.servers: list[Server] = []
        self.become(members_of(settings))

    def become(self, members: Members) -> None:
        """
        Have these servers from now on, at least one. Those that stay keep their connections; what those that left
        carry goes on to its end.

        Raises:
            NoRowLeft: nothing has changed.
        """
        assert members.servers, "an origin has a server"
        stay = {server.settings.url: server for server in self.servers}
        servers = []
        for settings in members.servers:
            server = stay.get(settings.url)
            if server is None:
                server = Server(self, settings, self._tls_for(settings))
            servers.append(server)
        for index, (server, settings) in enumerate(zip(servers, members.servers, strict=True)):
            server.index, server.settings = index, settings
            stay.pop(settings.url, None)
        self.members, self.servers = members, servers
        self.balancer = make_balancer(
            self.settings.balance,
            [server.settings.weight for server in servers],
            [server.label.encode() for server in servers],
        )
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

    def choose(self, exchange: Asker, tried: AbstractSet[Server], now_mono: float) -> Server | None:
        """Pick a server with room, a well one if there is any; None if all (untried) are full."""
        servers = self.servers
        if len(servers) == 1:
            server = servers[0]
            return server if server.pool.has_room else None
        open_to_us = [server for server in servers if server not in tried and server.pool.has_room]
        # when nobody is well, guessing costs a failed connection at worst, and refusing costs a request for certain
        able = [server.index for server in open_to_us if server.health.may_try(now_mono)] or [
            server.index for server in open_to_us
        ]
        if not able:
            return None
        keyed_by = self.balancer.keyed_by
        if keyed_by is KeyedBy.NOTHING:
            key = b""
        elif keyed_by is KeyedBy.CLIENT:
            key = exchange.client
        else:
            key = exchange.request.authority + exchange.request.target
        return servers[self.balancer.pick(able, [server.pool.lent for server in servers], key)]

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
                pool = server.pool
                if not (fresh and pool.may_open):
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
                    if tried.issuperset(self.servers):
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
        server.pool.opening()
        server.health.tried(now_mono)
        try:
            stream = await self.dialler.dial(server.door, self.settings.connect_s, preface)
        except BaseException as cause:
            server.pool.gone()
            self.freed()
            if isinstance(cause, OriginFault) and server.health.failed(self.clock.mono()):
                log.warning("origin %s: %s cannot be reached: %s", self.settings.name, server.label, cause.detail)
            raise
        if server.health.reached():
            log.warning("origin %s: %s can be reached again", self.settings.name, server.label)
        self.ears.open(stream.fileno())
        return Link(server, stream, self.clock.mono(), preface)

    async def _queue(self) -> None:
        """Wait until a connection may have come free, in the order of arrival."""
        name = self.settings.name
        if len(self.lot) >= self.most_waiting:
            raise EdgeFault(f"{name}: {len(self.lot)} wait already", word="connection_limit_reached", reply=503)
        self.waiting += 1
        try:
            with trio.CancelScope(relative_deadline=self.settings.connect_s):
                await self.lot.park()
                return
        finally:
            self.waiting -= 1
        raise EdgeFault(f"{name}: every connection is in use", word="connection_limit_reached", reply=503)

    def freed(self) -> None:
        """A connection came back or was closed: wake the first in the queue if there is room for it."""
        if self.lot and any(server.pool.has_room for server in self.servers):
            self.lot.unpark()


def members_of(settings: Origin) -> Members:
    """Return the servers that the configuration names."""
    return Members.of(
        Member(server.url, server.scheme, server.host, server.port, server.unix_path, server.weight)
        for server in settings.servers
    )
