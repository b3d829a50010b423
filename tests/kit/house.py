"""A whole worker in the test's own process: real sessions, lanes, store and origin; no master and no fork."""

from __future__ import annotations

import dataclasses
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from edge.config.tree import CacheConfig, Config, Listener, Log, OriginServer, Route, Server
from edge.config.tree import Origin as OriginConfig
from edge.observe.access_log import Entry
from edge.observe.names import GAUGES, NAMES, assign_origins, assign_routes
from edge.share.bells import Bells
from edge.share.channel import Channel, Word
from edge.share.claims import ClaimsPage
from edge.share.counters import Counters
from edge.share.crowd import Crowd
from edge.share.fleet import Fleet
from edge.share.heritage import Heritage
from edge.share.notices import Notices
from edge.share.rates import Rates
from edge.share.recency import Recency
from edge.share.scoreboard import Scoreboard
from edge.share.shunned import Shunned
from edge.share.stamps import Stamps
from edge.share.uses import Uses
from edge.worker.life import Worker
from tests.kit.client import Client
from tests.kit.origin import Origin

SLOTS = 4


class TrioClock:
    """Reads trio's clock, so that a virtual one governs deadlines and ages alike."""

    def __init__(self, start_wall: float = 1_800_000_000.0) -> None:
        self._start_wall = start_wall
        self._start = trio.current_time()

    def mono(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return self._start_wall + trio.current_time() - self._start


@dataclasses.dataclass
class Pages:
    """What the workers of a node share."""

    scoreboard: Scoreboard = dataclasses.field(default_factory=lambda: Scoreboard(SLOTS))
    counters: Counters = dataclasses.field(default_factory=lambda: Counters(NAMES, SLOTS, GAUGES))
    stamps: Stamps = dataclasses.field(default_factory=Stamps)
    recency: Recency = dataclasses.field(default_factory=lambda: Recency(1 << 12))
    bells: Bells = dataclasses.field(default_factory=lambda: Bells(SLOTS))
    shunned: Shunned = dataclasses.field(default_factory=lambda: Shunned(1 << 10))
    uses: Uses = dataclasses.field(default_factory=lambda: Uses(1 << 10))
    claims: ClaimsPage = dataclasses.field(default_factory=lambda: ClaimsPage(SLOTS))
    notices: Notices = dataclasses.field(default_factory=Notices)
    fleet: Fleet = dataclasses.field(default_factory=lambda: Fleet(SLOTS))
    crowd: Crowd = dataclasses.field(default_factory=lambda: Crowd(SLOTS))
    rates: Rates = dataclasses.field(default_factory=lambda: Rates(1 << 10))
    under_way: Crowd = dataclasses.field(default_factory=lambda: Crowd(SLOTS, name="under_way"))


class House:
    """One worker and what a test needs of it."""

    def __init__(self, worker: Worker, channel: Channel, origin: Origin) -> None:
        self.worker = worker
        self.channel = channel
        self.origin = origin
        self.entries: list[Entry] = []
        self.sockets: list[trio.socket.SocketType] = []
        self.listener = worker.config.listeners[0]

    async def client(
        self,
        *,
        listener: Listener | None = None,
        buffer: int = 0,
        tls: Any = None,
        name: str = "shop.example",
        preface: bytes = b"",
        peer: str = "192.0.2.7",
    ) -> Client:
        """Connect; *preface* is sent before anything else; with *tls* (a client context) through a handshake."""
        ours, theirs = socket.socketpair()
        if buffer:
            for sock in (ours, theirs):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        door = self.worker.doors.plain(listener or self.listener)
        self.worker.fast.admit(theirs, peer, door)
        near = trio.socket.from_stdlib_socket(ours)
        self.sockets.append(near)
        stream: trio.abc.Stream = trio.SocketStream(near)
        if preface:
            await stream.send_all(preface)
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_hostname=name, https_compatible=True)
            await stream.do_handshake()
        return Client(stream)

    def count(self, index: int) -> int:
        """Return a counter's total after a flush."""
        while self.worker.ledger.flush():
            pass
        return self.worker.heritage.counters.total(index)

    async def settled(self, count: int) -> list[Entry]:
        """Wait until so many exchanges have been settled."""
        with trio.fail_after(5):
            while len(self.entries) < count:
                await trio.sleep(0.001)
        return self.entries


def config_for(origin: Origin, path: Path | None, **changes: Any) -> Config:
    """A configuration in front of *origin*, on one plain listener."""
    settings: dict[str, Any] = {
        "server": Server(drain_s=5.0),
        "listeners": (Listener("127.0.0.1:0"),),
        "origins": {"shop": OriginConfig("shop", (OriginServer(f"http://127.0.0.1:{origin.port}"),))},
        "routes": (Route(None, "/", "shop"),),
        "cache": CacheConfig(path, 16 << 20, 1 << 20),
        "log": Log(access="off"),
    }
    settings.update(changes)
    return Config(**settings)


def heritage_of(
    pages: Pages, config: Config, channel: Channel, *, slot: int = 0, generation: int = 1, tls: Any = None
) -> Heritage:
    """What the master would leave to a worker in *slot*."""
    return Heritage(
        slot=slot,
        place=slot,
        generation=generation,
        config=config,
        tls=tls,
        scoreboard=pages.scoreboard,
        counters=pages.counters,
        stamps=pages.stamps,
        recency=pages.recency,
        bells=pages.bells,
        shunned=pages.shunned,
        uses=pages.uses,
        claims=pages.claims,
        fleet=pages.fleet,
        notices=pages.notices,
        crowd=pages.crowd,
        rates=pages.rates,
        under_way=pages.under_way,
        channel=channel,
        origin_blocks=assign_origins(config.origins),
        route_blocks=assign_routes(route.label for route in config.routes),
    )


@asynccontextmanager
async def house(
    path: Path | None,
    *,
    origin: Origin | None = None,
    serve_hits: bool = True,
    pages: Pages | None = None,
    slot: int = 0,
    tls: Any = None,
    clock: Any = None,
    **changes: Any,
):
    """Run one worker in front of a scripted origin."""
    origin = origin or Origin()
    ours, theirs = Channel.pair()
    made: House | None = None
    try:
        async with trio.open_nursery() as nursery:
            if not origin.port:
                await nursery.start(origin.serve)
            config = config_for(origin, path, **changes)
            pages = pages or Pages()
            heritage = heritage_of(pages, config, theirs, slot=slot, tls=tls)
            worker = Worker(heritage, clock or TrioClock())
            worker.fast.serve_hits = serve_hits
            made = House(worker, ours, origin)
            record = worker.rooms.record

            def remember(entry: Entry) -> None:
                made.entries.append(entry)
                record(entry)

            worker.rooms.record = remember
            nursery.start_soon(worker.run)
            with trio.fail_after(5):
                while (message := ours.receive_nowait()) is None:
                    await trio.sleep(0.001)
            assert message.word is Word.READY
            try:
                yield made
            finally:
                nursery.cancel_scope.cancel()
    finally:
        ours.close()
        if made is not None:
            for sock in made.sockets:
                sock.close()
            made.worker.close()
