"""
The exchange with an origin, as an awaiting shell: connections kept, dialled, lent and given back; bytes both ways.

Asks the rooms in :mod:`edge.origin` what to do and the sans-IO :class:`~edge.http.h1.client.ClientConnection` what
bytes mean; adds the waiting and the deadlines. Does not know clients, caches or what a reply is for.

An exchange goes through these steps, and :class:`OriginExchange` has a method for each::

    async with origins.exchange("shop", request, client=b"192.0.2.1") as exchange:    # a connection is lent
        head = await exchange.reply()                                               # sent, and answered
        while data := await exchange.body():                                        # the end gives the connection back
            ...

A body that lies here already is sent with ``send_body`` and ``send_end`` before ``reply``. One that is still coming
is sent by a task beside, ``async with exchange.sending(source)``: the origin may answer, or say 100, at any time.

Waiting and fairness
    - Nothing waits that need not: reads and writes are tried first, except that right after sending a request nobody
      looks for the reply before the socket says so. A deadline exists only around a wait.
    - A wait for the origin of ten seconds or more has no ``CancelScope``, which with its place in trio's heap costs
      10 µs of 44 per exchange: it is written down, and :meth:`Origins.sweep` ends it, up to a second late. Short waits, and
      all of them while nobody sweeps, have a scope and are exact.
    - trio's scheduler runs others only when a task waits. An exchange between two fast peers might never wait, so after
      ``TURN_BYTES`` without waiting it takes a checkpoint: 256 KiB is about 100 µs of copying, what the fast
      lane's turn may take as well. A small reply never takes one, because it was waited for.

Invariants
    - A connection is in exactly one place: lent to one exchange, idle in its pool, or closed.
    - Only a connection on which the request was sent whole and the reply read to its framed end, with nothing behind it,
      is lent again; one that is readable before its next use is closed instead.
    - A request is sent again only where :func:`edge.origin.retry.may_retry` says so.

Hot: once per miss. Cost in ``bench/micro/test_origin.py``.
Source: RFC 9110 §7.5, §9.2.2, §10.1.1; RFC 9112 §9; RFC 9209 §2.3.
"""

from __future__ import annotations

import logging
import math
import select
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

import trio
from trio.lowlevel import ParkingLot, checkpoint, notify_closing, wait_readable, wait_writable

from edge.errors import EdgeFault, Fault, OriginFault, Retry, Side
from edge.http.events import Body, End, Reply
from edge.http.h1.client import ClientConnection
from edge.message.head import Framing
from edge.origin.balance import KeyedBy, make_balancer
from edge.origin.health import Health
from edge.origin.pool import Pool, keep_for
from edge.origin.retry import Verdict, may_retry
from edge.tls.contexts import client_context
from edge.worker.dial import Dialler, Door

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType

    from edge.clock import Clock
    from edge.config.tree import Origin, OriginServer
    from edge.message.head import Field, ReplyHead
    from edge.origin.request import OriginRequest
    from edge.tls.stream import Stream

log = logging.getLogger("edge.origin")

TURN_BYTES = 262144
"""Most bytes one exchange moves without letting others run."""

QUEUE_PER_CONNECTION = 1
"""Exchanges that may wait for a connection, per connection allowed: who would wait longer than one whole exchange is told
so at once."""

SWEPT_S = 10.0
"""Waits from here on are ended by the sweep; and a sweep that is longer ago than this is not counted on."""

_SWITCHING = 101
_NOBODY: frozenset[int] = frozenset()


class Standing(NamedTuple):
    """How one server stands, for ``/metrics``."""

    origin: str
    server: str
    is_well: bool
    lent: int
    idle: int
    waiting: int  # exchanges queued for the origin (the same on each of its servers)


class _Watch:
    """
    The long waits of all exchanges, for the sweep.

    Attributes:
        waits: who waits, and until when.
        swept_mono: when the last sweep was.
    """

    __slots__ = ("swept_mono", "waits")

    def __init__(self) -> None:
        self.waits: dict[OriginExchange, float] = {}
        self.swept_mono = -math.inf

    def sweep(self, now_mono: float) -> None:
        """Wake everyone whose time is over."""
        self.swept_mono = now_mono
        for exchange in [one for one, until_mono in self.waits.items() if until_mono <= now_mono]:
            exchange.overdue()


class _Link:
    """One connection to a server."""

    __slots__ = ("fd", "server", "speaks", "stream", "uses", "wire")

    def __init__(self, server: _Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        self.fd = stream.fileno()
        self.wire = ClientConnection()
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


class _Server:
    """One server of an origin: its door, its connections, its health."""

    __slots__ = ("authority", "door", "group", "health", "index", "label", "pool")

    def __init__(self, group: _Group, index: int, settings: OriginServer, tls: ssl.SSLContext | None) -> None:
        origin = group.settings
        self.group = group
        self.index = index
        self.label, self.authority = _names(settings)
        self.door = Door(
            self.label,
            settings.host,
            settings.port,
            settings.unix_path,
            tls,
            None if tls is None else origin.tls.server_name or settings.host,
        )
        self.pool: Pool[_Link] = Pool(origin.max_connections, origin.max_idle)
        self.health = Health()

    def take(self, now_mono: float) -> _Link | None:
        """Lend an idle connection that is still silent, closing those that are not."""
        while True:
            link, may_use = self.pool.take(now_mono)
            if link is None:
                return None
            if may_use and link.is_silent():
                link.uses += 1
                return link
            self.discard(link)

    def give_back(self, link: _Link, now_mono: float, keep_s: float) -> None:
        """Keep a lent connection for the next exchange, or close what there is too much of."""
        if not link.uses and self.door.tls is not None:
            self.door.session = getattr(link.stream, "session", None)  # TLS 1.3 tickets come with the first reply
        condemned = self.pool.give_back(link, now_mono, keep_s)
        if condemned is not None:
            self.discard(condemned)
        self.group.freed()

    def discard(self, link: _Link) -> None:
        """Close a lent connection. Whoever still waits on it (a sender beside) is woken with ClosedResourceError."""
        stream = link.stream
        if self.door.tls is not None:
            stream.shut()
        notify_closing(link.fd)
        stream.close()
        self.pool.gone()
        self.group.freed()

    def sweep(self, now_mono: float) -> None:
        """Close idle connections that are too old, or that the server has closed or written to."""
        pool = self.pool
        for link in pool.aged(now_mono):
            self.discard(link)
        for link in pool.kept():
            if not link.is_silent():
                pool.condemn(link)
                self.discard(link)


class _Group:
    """One origin: its servers, and those who wait for one of their connections."""

    def __init__(self, settings: Origin, clock: Clock, dialler: Dialler, watch: _Watch) -> None:
        self.settings = settings
        self.watch = watch
        self.clock = clock
        self.dialler = dialler
        tls: ssl.SSLContext | None = None
        if any(server.scheme == "https" for server in settings.servers):
            tls = client_context(verify=settings.tls.verify, ca=settings.tls.ca)
        self.servers = [
            _Server(self, at, server, tls if server.scheme == "https" else None)
            for at, server in enumerate(settings.servers)
        ]
        self.balancer = make_balancer(
            settings.balance,
            [server.weight for server in settings.servers],
            [server.label.encode() for server in self.servers],
        )
        self.keeps = settings.max_idle > 0 and settings.idle_s > 0.0
        self.lot = ParkingLot()
        self.waiting = 0  # parked, or woken and not yet running: whoever comes later queues behind
        self.most_waiting = QUEUE_PER_CONNECTION * settings.max_connections * len(self.servers)

    def choose(self, exchange: OriginExchange, tried: set[int] | frozenset[int], now_mono: float) -> _Server | None:
        """Pick a server with room, a well one if there is any; None if all (untried) are full."""
        servers = self.servers
        if len(servers) == 1:
            server = servers[0]
            return server if server.pool.has_room else None
        open_to_us = [server for server in servers if server.index not in tried and server.pool.has_room]
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

    async def lend(self, exchange: OriginExchange, chosen: _Server | None, *, fresh: bool = False) -> _Link:
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
        tried: set[int] = set()
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
                    link = server.take(now_mono)
                    if link is not None:
                        return link
                    # what was idle has been closed: there is room for a new one
                try:
                    return await self._open(server, now_mono)
                except Fault as fault:
                    if fault.side is not Side.ORIGIN:
                        raise
                    tried.add(server.index)
                    if len(tried) == len(self.servers):
                        raise
        finally:
            if queued:
                self.freed()  # more may have come free than woke us

    async def _open(self, server: _Server, now_mono: float) -> _Link:
        server.pool.opening()
        server.health.tried(now_mono)
        try:
            stream = await self.dialler.dial(server.door, self.settings.connect_s)
        except BaseException as cause:
            server.pool.gone()
            self.freed()
            if isinstance(cause, OriginFault) and server.health.failed(self.clock.mono()):
                log.warning("origin %s: %s cannot be reached: %s", self.settings.name, server.label, cause.detail)
            raise
        if server.health.reached():
            log.warning("origin %s: %s can be reached again", self.settings.name, server.label)
        return _Link(server, stream)

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


class Origins:
    """
    Every origin of the configuration, with its servers, their connections and their health. One per worker.

    Args:
        origins: by name.
        clock: for ages and health; deadlines are trio's.
        dialler: instead of the system's resolver and sockets.

    Raises:
        OSError: a CA file named by the configuration cannot be read.
    """

    def __init__(self, origins: Mapping[str, Origin], clock: Clock, *, dialler: Dialler | None = None) -> None:
        self._clock = clock
        dialler = dialler or Dialler(clock)
        self._watch = watch = _Watch()
        self._groups = {name: _Group(settings, clock, dialler, watch) for name, settings in origins.items()}

    def exchange(
        self,
        name: str,
        request: OriginRequest,
        client: bytes = b"",
        on_interim: Callable[[ReplyHead], None] | None = None,
    ) -> OriginExchange:
        """
        Begin an exchange: ``async with origins.exchange(...) as exchange``. Entering gets a connection.

        Args:
            name: of the origin in the configuration.
            request: from :func:`edge.origin.request.origin_request`.
            client: the client's address as text, for balancing by client.
            on_interim: called with every 1xx but 101; must not wait.

        Raises (entering):
            OriginFault: no server could be reached.
            EdgeFault: no connection came free in time (503).
        """
        return OriginExchange(self._groups[name], request, client, on_interim)

    def sweep(self) -> None:
        """
        End waits that are overdue, and close kept connections that are too old or that the origin has closed.

        Call about once a second, from a task that does not wait inside.
        """
        now_mono = self._clock.mono()
        self._watch.sweep(now_mono)
        for group in self._groups.values():
            for server in group.servers:
                server.sweep(now_mono)

    def leave(self) -> None:
        """Keep nothing any more: close what is idle, and close the rest as it comes back (draining)."""
        for group in self._groups.values():
            group.keeps = False
            for server in group.servers:
                for link in server.pool.aged(math.inf):
                    server.discard(link)

    def standing(self) -> list[Standing]:
        """Return how every server stands now."""
        return [
            Standing(
                name,
                server.label,
                server.health.may_try(self._clock.mono()),
                server.pool.lent,
                server.pool.idle,
                group.waiting,
            )
            for name, group in self._groups.items()
            for server in group.servers
        ]


class OriginExchange:
    """
    One request to one origin. Leaving the ``async with`` block closes the connection unless it was given back before.

    Attributes:
        server: which one was asked, for the log: ``127.0.0.1:8001`` or the socket's path.
        reused: its connection had carried an exchange before.
        attempts: times the request was sent, or begun to be sent.
        request_bytes: sent in the last attempt, head included.
        reply_bytes: received in the last attempt, head included.
        trailers: of the reply, once its body has ended.
        upgraded: a 101 came: ``pull`` and ``push`` carry the tunnel.
    """

    # Defaults live on the class: an exchange writes only what differs, half of the cost of filling 15 slots.
    server = ""
    reused = False
    attempts = 0
    request_bytes = 0
    reply_bytes = 0
    upgraded = False
    trailers: list[Field] = []  # noqa: RUF012 - never written to, only replaced
    _link: _Link | None = None
    _asked = False  # the head was given to the connection
    _body_begun = False
    _whole = False  # the request is sent to its end
    _ended = False  # the reply is read to its end
    _pumping = False  # a task beside sends the body
    _head: ReplyHead | None = None
    _broken: Fault | None = None  # sending failed: nothing more can be sent, a reply may still have come
    _scope: trio.CancelScope | None = None  # around the wait for the reply while a body is being sent
    _overdue = False  # the sweep ended our wait
    _unwaited = 0  # bytes moved since this exchange last waited

    def __init__(
        self,
        group: _Group,
        request: OriginRequest,
        client: bytes,
        on_interim: Callable[[ReplyHead], None] | None,
    ) -> None:
        self._group = group
        self.request = request
        self.client = client
        self._on_interim = on_interim

    def __repr__(self) -> str:
        state = "ended" if self._ended else "answered" if self._head else "asked" if self._asked else "new"
        return f"<OriginExchange {state} {self.request.method!r} {self.server} attempts={self.attempts}>"

    async def __aenter__(self) -> Self:
        group = self._group
        server = link = None
        if not group.waiting:
            now_mono = group.clock.mono()
            server = group.choose(self, _NOBODY, now_mono)
            if server is not None:
                link = server.take(now_mono)
        self._take(await group.lend(self, server) if link is None else link)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._link is not None:
            self.kill()

    # -- the request ----------------------------------------------------------------------------------------

    async def send_head(self) -> None:
        """
        Send the request's head. Optional: the first of send_body, send_end, sending and reply does it.

        Raises:
            OriginFault: it could not be sent, nor to another connection.
        """
        while not self._asked:
            self._ask()
            if not self._flush_nowait():
                await self._flush()
            if self._broken is not None and not self.request_bytes:
                await self._again(self._broken)

    async def send_body(self, data: bytes | memoryview) -> bool:
        """
        Send a part of the body; waits while the origin takes no more.

        Returns:
            False when the origin has answered, or closed, instead of taking it: stop sending and call reply().
        """
        if not self._asked:
            await self.send_head()
        if not self._is_open:
            return False
        self._body_begun = True
        self._lent().wire.send_body(data)
        self._unwaited += len(data)
        if not self._flush_nowait():
            return await self._flush()
        if self._unwaited >= TURN_BYTES:
            self._unwaited = 0
            await checkpoint()
        return self._broken is None

    async def send_end(self, trailers: list[Field] | None = None) -> None:
        """End the request's body (not needed when there is none)."""
        if not self._asked:
            await self.send_head()
        if self._whole or not self._is_open:
            return
        self._lent().wire.send_end(trailers or [])
        if self._flush_nowait() or await self._flush():
            self._whole = True

    @asynccontextmanager
    async def sending(self, source: Callable[[], Awaitable[bytes | memoryview | None]]) -> AsyncIterator[None]:
        """
        Send the body in a task beside, while the block awaits the reply: for every body that is not already here.

            async with exchange.sending(session_body):
                head = await exchange.reply()
                while data := await exchange.body(): ...

        An origin that takes no more ends the sending, not the block: its reply decides. Leaving the block stops the
        sending; a request that was not sent whole costs the connection its next use.

        Args:
            source: gives the next part, None at the end.

        Raises:
            Fault: what *source* raised (the client left), or the origin took nothing for too long: the block is
                cancelled, and this is raised from it.
        """
        await self.send_head()
        failed: list[Fault] = []
        raised: list[Fault] = []

        async def pump() -> None:
            try:
                while (data := await source()) is not None:
                    if not await self.send_body(data):
                        return
                await self.send_end()
            except trio.ClosedResourceError:
                return  # the reply has ended and the connection with it
            except Fault as fault:
                failed.append(fault)
                nursery.cancel_scope.cancel()
            finally:
                self._pumping = False
                self._rearm()

        self._pumping = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            try:
                yield
            except Fault as fault:
                raised.append(fault)  # carried around the nursery, which would wrap it in a group
            nursery.cancel_scope.cancel()
        for told in failed or raised:
            raise told

    # -- the reply ------------------------------------------------------------------------------------------

    async def reply(self) -> ReplyHead:
        """
        Wait for the final reply's head, or a 101.

        A reused connection that died unanswered is replaced, if the request may be sent again.

        Raises:
            OriginFault: ``http_response_timeout``, ``connection_terminated``, ``http_protocol_error`` and the like.
        """
        while True:
            try:
                if not self._asked:
                    await self.send_head()
                head = self._head
                while head is None:
                    await self._readable(self._group.settings.first_byte_s, "http_response_timeout")
                    head = self.reply_nowait()
            except OriginFault as fault:
                await self._again(fault)
            else:
                return head

    def reply_nowait(self) -> ReplyHead | None:
        """Return the final reply's head if it has come; None: wait."""
        if self._head is not None:
            return self._head
        link = self._lent()
        wire, stream = link.wire, link.stream
        while True:
            data = stream.pull()
            if data is None:
                return None
            if data:
                self.reply_bytes += len(data)
                wire.receive(data)
            elif not self.reply_bytes:
                raise OriginFault("closed without a reply", word="connection_terminated", retry=Retry.IF_REUSED)
            else:
                wire.receive_eof()
            while type(event := wire.next_event()) is Reply:
                head = event.head
                if head.status >= 200:
                    self._head = head
                    if head.framing is Framing.NONE:
                        self._finish([])
                    return head
                if head.status == _SWITCHING:  # only after having been asked for: the connection sees to that
                    self._head = head
                    self.upgraded = True
                    wire.tunnel()
                    return head
                if self._on_interim is not None:
                    self._on_interim(head)
            if stream.drained:
                return None

    def body_nowait(self) -> bytes | None:
        """
        Return what has come of the body without waiting.

        Returns:
            b"" at the end, at which the connection is given back at once: a slow client does not hold it. None: nothing
            yet, or this exchange has had its turn; use ``body``.

        Raises:
            OriginFault: the body is cut short.
        """
        if self._ended:
            return b""
        link = self._lent()
        wire, stream = link.wire, link.stream
        while True:
            event = wire.next_event()
            if type(event) is Body:
                self._unwaited += len(event.data)
                return event.data
            if type(event) is End:
                self._finish(event.trailers)
                return b""
            if self._unwaited >= TURN_BYTES:
                return None
            more = stream.pull()
            if more is None:
                return None
            if more:
                self.reply_bytes += len(more)
                wire.receive(more)
            else:
                wire.receive_eof()

    async def body(self) -> bytes:
        """
        Wait for the next part of the reply's body.

        Returns:
            b"" at its end.

        Raises:
            OriginFault: it is cut short (``http_response_incomplete``) or pauses too long (``connection_read_timeout``).
        """
        return await self._next(self._group.settings.between_bytes_s)

    # -- the end --------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Done: the connection goes back if it may serve again (the end of the body does this by itself)."""
        if self._link is not None:
            if self._ended and self._whole and not self.upgraded:
                self._give_back(self._link)
            else:
                self.kill()

    def kill(self) -> None:
        """Done: the connection is closed. May be called twice."""
        link, self._link = self._link, None
        if link is not None:
            link.server.discard(link)

    # -- tunnels --------------------------------------------------------------------------------------------

    async def pull(self) -> bytes:
        """Tunnel: wait, however long, for bytes from the origin; b"" once it says no more."""
        return await self._next(math.inf)

    async def push(self, data: bytes | memoryview) -> None:
        """Tunnel: send bytes, waiting for room however long."""
        link = self._lent()
        view = memoryview(data)
        self._unwaited += len(view)
        while view:
            taken = link.stream.push(view)
            view = view[taken:]
            if view and link.stream.wants_write:
                await wait_writable(link.fd)
                self._unwaited = 0
        if self._unwaited >= TURN_BYTES:
            self._unwaited = 0
            await checkpoint()

    def push_eof(self) -> None:
        """Tunnel: nothing more will be sent."""
        self._lent().stream.shut()

    # -- within ---------------------------------------------------------------------------------------------

    def _lent(self) -> _Link:
        if self._link is None:
            raise AssertionError(f"{self!r} has no connection")
        return self._link

    @property
    def _is_open(self) -> bool:
        """More of the body can be sent: nothing broke, and an answer stops only who sends without a task beside."""
        return self._broken is None and self._link is not None and (self._head is None or self._pumping)

    def _take(self, link: _Link) -> None:
        self._link = link
        self.server = link.server.label
        self.reused = link.uses > 0

    def _ask(self) -> None:
        """Give the head (and without a body the whole request) to the connection; nothing is sent yet."""
        link, request = self._lent(), self.request
        self._asked = True
        self.attempts += 1
        link.wire.send_request(
            request.method,
            request.target,
            link.server.authority if self._group.settings.host_header == "server" else request.authority,
            request.fields,
            request.framing,
            request.length,
            upgrade=request.upgrade,
            last=not self._group.keeps,
        )
        self._whole = request.framing is Framing.NONE

    def _flush_nowait(self) -> bool:
        """Send what waits to be sent; False if the origin takes no more for now."""
        link = self._lent()
        out, stream = link.wire.out, link.stream
        try:
            while out:
                taken = stream.push(out.first())
                if taken:
                    out.sent(taken)
                    self.request_bytes += taken
                elif stream.wants_write:
                    return False
        except OriginFault as fault:
            # the origin may have answered before it closed: whoever awaits the reply finds out
            if not self.request_bytes:
                fault.retry = Retry.YES
            self._broken = fault
        return True

    async def _flush(self) -> bool:
        """Send all that waits to be sent; False if the origin answered or closed instead of taking it."""
        while not self._flush_nowait():
            self._unwaited = 0
            if self._pumping:
                await self._writable()
            elif await self._writable_or_answered():
                return False
        return self._broken is None

    async def _writable(self) -> None:
        pause_s = self._group.settings.between_bytes_s
        with trio.CancelScope(relative_deadline=pause_s):
            await wait_writable(self._lent().fd)
            return
        raise OriginFault(f"took nothing for {pause_s:g}s", word="connection_write_timeout", reply=504)

    async def _writable_or_answered(self) -> bool:
        """Wait for room to write or for the reply, whichever is first; True: the reply. Rare, so a nursery is cheap."""
        fd = self._lent().fd
        readable = False

        async def watch() -> None:
            nonlocal readable
            await wait_readable(fd)
            readable = True
            nursery.cancel_scope.cancel()

        pause_s = self._group.settings.between_bytes_s
        with trio.CancelScope(relative_deadline=pause_s) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await wait_writable(fd)
                nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            raise OriginFault(f"took nothing for {pause_s:g}s", word="connection_write_timeout", reply=504)
        return readable and self.reply_nowait() is not None

    def _rearm(self) -> None:
        """The sender beside is done: whoever waits for the origin waits with a deadline from now on."""
        scope = self._scope
        if scope is not None:
            settings = self._group.settings
            wait_s = settings.first_byte_s if self._head is None else settings.between_bytes_s
            scope.deadline = trio.current_time() + wait_s

    async def _readable(self, wait_s: float, word: str) -> None:
        """Wait until something can be read. While a body is still being sent, the origin cannot be late."""
        link, group = self._lent(), self._group
        watch = group.watch
        now_mono = group.clock.mono()
        if wait_s >= SWEPT_S and now_mono - watch.swept_mono < SWEPT_S and not self._pumping:
            watch.waits[self] = now_mono + wait_s
            try:
                await wait_readable(link.fd)
            except trio.ClosedResourceError:
                if not self._overdue:
                    raise
            else:
                self._unwaited = 0
                return
            finally:
                del watch.waits[self]
        else:
            with trio.CancelScope(relative_deadline=math.inf if self._pumping else wait_s) as self._scope:
                try:
                    await wait_readable(link.fd)
                finally:
                    self._scope = None
                self._unwaited = 0
                return
        raise OriginFault(f"{link.server.label}: nothing within {wait_s:g}s", word=word, reply=504)

    def overdue(self) -> None:
        """End the wait for the origin (the sweep's part of :meth:`_readable`): it gets a fault of its own."""
        self._overdue = True
        notify_closing(self._lent().fd)

    async def _next(self, wait_s: float) -> bytes:
        while (data := self.body_nowait()) is None:
            if self._unwaited >= TURN_BYTES:
                self._unwaited = 0
                await checkpoint()
            else:
                await self._readable(wait_s, "connection_read_timeout")
        return data

    async def _again(self, fault: Fault) -> None:
        """Replace the connection and forget the attempt if the request may be sent again; else raise *fault*."""
        verdict = may_retry(
            fault.retry,
            method=self.request.method,
            reused=self.reused,
            body_begun=self._body_begun,
            answered=self.reply_bytes > 0,
            attempts=self.attempts,
            retries=self._group.settings.retries,
        )
        if verdict is not Verdict.AGAIN or self._link is None:
            raise fault
        self.kill()
        self._asked = self._whole = False
        self._broken = None
        self.request_bytes = 0
        self._take(await self._group.lend(self, None, fresh=True))

    def _finish(self, trailers: list[Field]) -> None:
        """The reply is read to its end. A tunnel's connection stays: the other direction may go on."""
        self._ended = True
        self.trailers = trailers
        link = self._lent()
        if self.upgraded:
            return
        if self._whole and self._broken is None and not link.wire.out and link.wire.reusable:
            self._give_back(link)
        else:
            self.kill()

    def _give_back(self, link: _Link) -> None:
        self._link = None
        group = self._group
        head = self._head
        keep_s = 0.0
        if group.keeps and head is not None:
            said = head.index.get(b"keep-alive")
            keep_s = group.settings.idle_s if said is None else keep_for(group.settings.idle_s, said)
        link.server.give_back(link, group.clock.mono(), keep_s)


def _names(settings: OriginServer) -> tuple[str, bytes]:
    """Return a server's label for logs and its authority for ``host``, which leaves out the scheme's own port."""
    if settings.unix_path is not None:
        return settings.unix_path, b"localhost"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    usual = 443 if settings.scheme == "https" else 80
    return f"{host}:{settings.port}", (host if settings.port == usual else f"{host}:{settings.port}").encode()
