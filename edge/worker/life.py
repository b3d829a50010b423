"""
A worker's life: what it makes of its heritage, the tasks it runs, and how it leaves.

It accepts, serves, listens to the master, and leaves by one door: asked to, or because the master is gone, it takes what
is still pending in its queues, finishes what it carries, and ends within ``drain``.

Tasks: the fast lane; a ticker, which once a second (or more often: :func:`tick_s`) sweeps deadlines and rings our own bell so
that the fast lane turns and renews the heartbeat; a flusher for the ledger; in one worker of the node, those that check the health of origins; and one per
exchange in the slow lane.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import secrets
import socket
from typing import TYPE_CHECKING, Final

import trio

from edge import clock as clocks
from edge.cache.lookup import AHEAD_S
from edge.cache.store import Store
from edge.exchange.admin import Admin
from edge.exchange.rooms import Rooms
from edge.exchange.servers import Servers
from edge.http.h1.server import ServerConnection
from edge.http.limits import HeadLimits
from edge.observe.access_log import AccessLog, make_format
from edge.observe.error_log import current as current_error_log
from edge.observe.ledger import Ledger
from edge.observe.metrics import Gauge
from edge.observe.sink import Sink
from edge.policy.operators import Operators
from edge.share.channel import Message, Word
from edge.worker.checking import Checker
from edge.worker.discovering import Discovery, discovers
from edge.worker.doors import Doors
from edge.worker.fast import FastLane
from edge.worker.flights import Flights
from edge.worker.gate import Gate
from edge.worker.origins import Origins
from edge.worker.slow import SlowLane
from edge.worker.tide import Tide

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.config.tree import Config, Listener
    from edge.exchange.decision import Answer
    from edge.exchange.recognise import Door
    from edge.message.head import RequestHead
    from edge.observe.names import RouteCells
    from edge.share.heritage import Heritage

log = logging.getLogger("edge.worker")

ACCEPTS: Final = 64
"""Connections taken per turn and queue."""

UNSENT: Final = 256 * 1024
"""
Bytes that the kernel takes for a client beyond what is on its way to it.

Without it the kernel takes up to 4 MB for whoever asks for something long and reads nothing of it, and a thousand of those have
all the memory that TCP may have (``tcp_mem``): then nobody is sent anything. What is on its way is not counted, so a fast
client is sent as fast as before. Source: tcp(7), TCP_NOTSENT_LOWAT; h2o, Chromium.
"""

TICK_S: Final = 1.0
"""How often deadlines are swept, at least."""
BEATS: Final = 4
"""
Turns that a worker at rest makes within ``hang``: its ticks are its only sign of life, and one that comes late, because
the machine is busy, is to be held against nobody.
"""
FLUSH_S: Final = 0.1

REST_S: Final = 1.0
"""(Draining) A session that has been at rest for so long is closed; one that is busy learns it from its next reply."""

SHORT_OF: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

NOT_OURS: Final = {
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EPROTO,
    errno.ETIMEDOUT,
}
"""What accept(2) tells of the connection it was about to give, not of the listener: the next may be well."""


def live(heritage: Heritage, *, clock: Clock = clocks.SYSTEM) -> int:
    """Serve until asked to leave; return the exit code."""
    worker = Worker(heritage, clock)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # exchanges are freed by reference count; cycles are rare and small
    try:
        trio.run(worker.run)
    finally:
        worker.close()
    return 0


class Worker:
    """
    One worker.

    Raises:
        OSError, lmdb.Error: the store, or a log, cannot be opened.
    """

    def __init__(self, heritage: Heritage, clock: Clock) -> None:
        self.heritage = heritage
        self.clock = clock
        self.config: Config = heritage.config
        config = self.config
        slot = heritage.slot
        self.cells = heritage.counters.slot(slot)
        self.store: Store | None = None
        self.flights: Flights | None = None
        if config.cache.path is not None:
            self.store = Store.open(
                config.cache.path,
                config.cache.size,
                stamps=heritage.stamps,
                recency=heritage.recency,
                bells=heritage.bells,
            )
            if self.store.note:
                log.warning("%s", self.store.note)
            self.flights = Flights(heritage.claims.of(slot), self.store, heritage.bells, slot)
        self.ledger = Ledger(self.cells, self._access_log(), route_of=_cells_of_route, slow_s=config.log.slow_s)
        self.rooms = Rooms(
            config,
            store=self.store,
            stamps=heritage.stamps,
            recency=heritage.recency,
            shunned=heritage.shunned,
            uses=heritage.uses,
            rates=heritage.rates,
            under_way=heritage.under_way,
            slot=slot,
            ledger=self.ledger,
            cells=self.cells,
            clock=clock,
            admin=self._say,
            route_blocks=heritage.route_blocks,
        )
        self.admin = Admin(
            heritage.counters,
            heritage.scoreboard,
            heritage.origin_blocks,
            self._gauges,
            lambda: self.is_leaving,
            self.rooms,
            Operators(heritage.operators),
            Servers(heritage.fleet, config.origins, lambda name: self.origins.groups[name].members, clock),
            heritage.route_blocks,
        )
        self.doors = Doors(heritage.tls)
        limits = config.limits
        self._limits = HeadLimits(
            limits.line_bytes, limits.header_bytes, limits.header_count, self.rooms.steering.most_body_bytes
        )
        self.fast = FastLane(self.rooms, clock, self._connect, self.doors.named)
        self.origins = Origins(
            config.origins,
            clock,
            ears=self.fast.ears,
            fleet=heritage.fleet,
            slot=slot,
            credentials=heritage.credentials,
            cells=self.cells,
            blocks=heritage.origin_blocks,
            bells=heritage.bells,
            alive=lambda: [row.slot for row in heritage.scoreboard.rows if row.pid],
        )
        self.checker = Checker(self.origins.groups.values())
        self.discovery: Discovery | None = None
        if any(discovers(origin) for origin in config.origins.values()):
            self.discovery = Discovery(self.origins.groups, config.discovery, heritage.notices, clock, self.cells)
        self.gate = Gate(self.fast, heritage.crowd, slot, clock)
        self.tide = Tide()
        self._offset_s = self.fast.now_wall_ahead()
        self.is_leaving = False
        self._leave = trio.Event()
        self._paused: list[tuple[Listener, socket.socket]] = []
        self._queues: list[tuple[Listener, socket.socket]] = list(heritage.listeners)
        if heritage.admin is not None:
            admin_listener = self.config.admin.listener
            assert admin_listener is not None
            self._queues.append((admin_listener, heritage.admin))
        self._by_address = {listener.address: self._door_of(listener, sock) for listener, sock in self._queues}

    # -- making ---------------------------------------------------------------------------------------------

    def _access_log(self) -> AccessLog | None:
        target = self.config.log.access
        if target == "off":
            return None
        fd = self.heritage.logs.get("access")
        return AccessLog(Sink(target, fd), make_format(self.config.log.format))

    def _say(self, head: RequestHead, now_wall: float, peer: str) -> Answer:
        """Answer an operator."""
        return self.admin(head, now_wall, peer)

    def _connect(self, door: Door) -> ServerConnection:
        return ServerConnection(door.scheme, self._limits, door.memo)

    def _gauges(self) -> list[Gauge]:
        gauges = [Gauge("edge_memory_bytes", "Prepared copies of the answering worker.", self.rooms.memory.used)]
        if self.store is not None:
            gauges.append(Gauge("edge_cache_used_bytes", "Pages of the store in use.", self.store.used()))
            gauges.append(Gauge("edge_cache_size_bytes", "Pages the store may use.", self.store.size))
        if self.heritage.tls is not None:
            help_ = "When each certificate ends, seconds since the epoch."
            for source, until in self.heritage.tls.expiry.items():
                gauges.append(Gauge("edge_certificate_expiry_seconds", help_, until, (("chain", source),)))
        return gauges

    # -- living ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until asked to leave, then drain."""
        heritage = self.heritage
        row = heritage.row
        hang_s = self.config.server.hang_s
        bell = heritage.bells.fd(heritage.slot)
        fast = self.fast
        async with trio.open_nursery() as nursery:
            fast.slow = SlowLane(
                self.rooms,
                self.origins,
                self.flights,
                nursery,
                self.clock,
                prefix=secrets.token_hex(8),
                origin_blocks=heritage.origin_blocks,
            )
            fast.watch(bell, self._rung)
            fast.watch(heritage.channel.fileno(), self._hear)
            for listener, sock in self._queues:
                self._listen(listener, sock)

            def heartbeat(now_mono: float) -> None:
                row.deadline = now_mono + hang_s

            heartbeat(self.clock.mono())
            if self.discovery is not None:
                nursery.start_soon(self.discovery.run)
                await self.discovery.first()
            nursery.start_soon(fast.run, heartbeat)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._flush)
            nursery.start_soon(self.origins.tend)
            nursery.start_soon(self.checker.run)
            row.ready = True
            heritage.channel.send(Word.READY)
            await self._leave.wait()
            await self._drain()
            fast.slow.quick.close()
            nursery.cancel_scope.cancel()
        row.ready = False

    def close(self) -> None:
        """Let go of everything: sessions, origin connections, the log, and last the store."""
        for session in list(self.fast.sessions.values()):
            self.fast.close(session)
        self.fast.slow.quick.close()
        self.fast.epoll.close()
        self.origins.leave()
        self.ledger.close()
        if self.flights is not None:
            self.flights.claims.close()
        if self.store is not None:
            self.store.close()
        self.heritage.channel.close()

    async def _tick(self) -> None:
        """Every tick: deadlines, idle origin connections, queues that had to be left alone, and a turn."""
        every_s = tick_s(self.config.server.hang_s)
        while True:
            await trio.sleep(every_s)
            self.fast.sweep()
            self._watch_clock()
            self.tide.look(len(self.fast.sessions))
            self.origins.sweep()
            if self.discovery is not None:
                self.discovery.look()
            self.rooms.memory.count()
            for listener, sock in self._paused:
                self._listen(listener, sock)
            self._paused.clear()
            self.heritage.bells.ring(self.heritage.slot)
            self.heritage.channel.flush()

    def _watch_clock(self) -> None:
        """See whether the clock has been set: what is ready in memory was found fresh by another time."""
        offset_s = self.fast.now_wall_ahead()
        jumped_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(jumped_s) > AHEAD_S:
            log.warning("the clock was set %s by %.0f s", "forward" if jumped_s > 0 else "back", abs(jumped_s))
            self.heritage.stamps.bump_all()

    async def _flush(self) -> None:
        """Count and log what has ended, a batch at a time, between turns."""
        while True:
            await trio.sleep(FLUSH_S)
            while self.ledger.flush():
                await trio.lowlevel.checkpoint()

    def _rung(self) -> None:
        if self.flights is not None:
            self.flights.heard()
        else:
            self.heritage.bells.clear(self.heritage.slot)
        self.origins.heard()

    # -- accepting ------------------------------------------------------------------------------------------

    def _listen(self, listener: Listener, sock: socket.socket) -> None:
        door = self._by_address[listener.address]
        self.fast.watch(sock.fileno(), lambda: self._accept(listener, sock, door))

    def _door_of(self, listener: Listener, sock: socket.socket) -> Door:
        is_admin = self.heritage.admin is not None and sock is self.heritage.admin
        return self.doors.plain(listener, is_admin=is_admin)

    def _accept(self, listener: Listener, sock: socket.socket, door: Door) -> int:
        """Take connections that are pending; return how many."""
        for count in range(ACCEPTS):
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                return count
            except OSError as error:
                if error.errno in NOT_OURS:
                    continue  # it left while it was waiting, or what befell its connection is told here
                if error.errno == errno.EINVAL:  # it listens no more: the master has given the place up
                    self.fast.unwatch(sock.fileno())
                    return count
                if error.errno not in SHORT_OF:
                    raise
                shed = self.gate.relieve()
                if (held_back := self.gate.may_say("short")) is not None:
                    log.error(
                        "cannot take connections on %s: %s; closing those at rest, and trying again (%d more since the last time)",
                        listener.address,
                        error.strerror,
                        held_back,
                    )
                if shed:
                    continue
                self.fast.unwatch(sock.fileno())
                self._paused.append((listener, sock))
                return count
            self._welcome(connection, address, door)
        return ACCEPTS

    def _welcome(self, connection: socket.socket, address: object, door: Door) -> None:
        peer = ""
        if isinstance(address, tuple):
            peer = address[0].removeprefix("::ffff:")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self.gate.let_in(connection, peer, door)

    def _take(self, message: Message) -> None:
        """Serve connections that were accepted from a queue nobody holds any more."""
        door = self._by_address.get(message.payload.decode())
        while message.fds:
            connection = socket.socket(fileno=message.fds.pop())
            if door is None:
                connection.close()
                continue
            try:
                address: object = connection.getpeername() if connection.family != socket.AF_UNIX else ""
            except OSError:  # getpeername(2): reset on its way here
                connection.close()
                continue
            self._welcome(connection, address, door)

    # -- the master -----------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Do what the master says."""
        channel = self.heritage.channel
        while (message := channel.receive_nowait()) is not None:
            try:
                match message.word:
                    case Word.LEAVE:
                        self._begin_to_leave()
                    case Word.GONE:
                        log.warning("the master is gone; leaving")
                        self.fast.unwatch(channel.fileno())
                        self._begin_to_leave()
                        return
                    case Word.RELOAD_CERTS:
                        self._renew(message)
                    case Word.REOPEN_LOGS:
                        self._reopen(message)
                    case Word.TAKE:
                        self._take(message)
                    case other:
                        log.error("the master said %s, which is not for a worker", other)
            finally:
                for fd in message.fds:
                    os.close(fd)

    def _renew(self, message: Message) -> None:
        """Use new certificates from the next handshake on; nothing else changes."""
        why = ""
        try:
            self.heritage.tls.accept(message.payload, message.fds)
            self.doors.renewed()
        except (OSError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            log.error("new certificates cannot be used, the old ones stay: %s", why)
        self.heritage.channel.send(Word.RELOADED, why.encode())

    def _reopen(self, message: Message) -> None:
        """Write to the files the master has opened anew."""
        for name, fd in zip(message.payload.decode().split(","), list(message.fds), strict=False):
            message.fds.remove(fd)
            if name == "access":
                self.ledger.replace_log(fd)
            elif name == "errors" and (errors := current_error_log()) is not None:
                errors.replace(fd)
            else:
                os.close(fd)

    # -- leaving --------------------------------------------------------------------------------------------

    def _begin_to_leave(self) -> None:
        """Take what is pending, then no more; say good-bye with every reply."""
        if self.is_leaving:
            return
        self.is_leaving = True
        self.heritage.row.ready = False
        for listener, sock in self._queues:
            while self._accept(listener, sock, self._by_address[listener.address]):
                pass
            self.fast.unwatch(sock.fileno())
            sock.close()  # or the kernel would go on letting clients in whom nobody will accept
        self._paused.clear()
        self.checker.leave()
        self.origins.leave()
        self.fast.drain()
        self._leave.set()

    async def _drain(self) -> None:
        """Wait until the last session has ended, at most ``drain``."""
        with trio.move_on_after(self.config.server.drain_s) as limit:
            while self.fast.sessions or self.fast.slow.carried:
                self.fast.tick_clock()
                self.fast.rest(REST_S)
                if not self.fast.sessions and not self.fast.slow.carried:
                    break
                with trio.move_on_after(0.1):
                    await self.fast.emptied.wait()
                    await trio.sleep(0.02)  # sessions are gone; a flight may still be landing
        if limit.cancelled_caught:
            log.warning("drain is over: %d connections are cut", len(self.fast.sessions))
        for session in list(self.fast.sessions.values()):
            self.fast.close(session)


def tick_s(hang_s: float) -> float:
    """Return how often a worker ticks that is ended when it has shown no sign of life for *hang_s*."""
    return min(TICK_S, hang_s / BEATS)


def _cells_of_route(head: RequestHead) -> RouteCells | None:
    """Return where the route of a request is counted: the one of clients that no network rule sends elsewhere."""
    known = head.known
    return None if known is None or known.way is None else known.way.cells
