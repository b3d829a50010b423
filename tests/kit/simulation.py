"""
A node in one process whose every choice comes from a seed: workers, clients, an origin, faults, reloads, and no time at all.

What is real is everything between the sockets: the lanes, the exchange, the cache, the flights and the connections to
origins, in several workers that share their pages and one store. What is not

- time: trio's virtual clock, which jumps to the next deadline when nobody has anything to do;
- the network: both ends of every connection are in this process, over socket pairs, so bytes are there at once or not at all;
- chance: trio's order of tasks and the dice of all who play come from the seed;
- threads: what would be coded beside the loop is coded in it.

So a schedule takes milliseconds, whatever it waits for, and the same seed gives the same schedule on the same Python.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from edge.cache.store import Store
from edge.config.tree import CacheConfig, Compression, OriginServer, Route, RouteCache, Server, Timeouts
from edge.config.tree import Origin as OriginConfig
from edge.errors import OriginFault, Retry, Side
from edge.observe import names
from edge.observe.access_log import Entry
from edge.share.channel import Channel, Word
from edge.tls.stream import PlainStream
from edge.worker.dial import Dialler
from edge.worker.life import Worker
from tests.kit.client import Client
from tests.kit.house import SLOTS, Pages, config_for, heritage_of
from tests.kit.origin import Origin, Script

DRAIN_S = 8.0
MEMFD, EVENTFD = os.memfd_create, os.eventfd
"""The system's own: pages and bells live as long as their process, and here they are closed with each schedule, by us alone."""

PATIENCE_S = 300.0
"""Of virtual time: whoever is not done by then never will be."""


class JumpyClock:
    """trio's virtual clock; the wall's may be set forward or back, as operators and NTP do."""

    def __init__(self) -> None:
        self.wall_at_start = 1_800_000_000.0

    def mono(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return self.wall_at_start + trio.current_time()

    def jump(self, seconds: float) -> None:
        self.wall_at_start += seconds


@dataclass
class Staff:
    """One worker of the simulated node."""

    worker: Worker
    channel: Channel
    scope: trio.CancelScope
    entries: list[Entry] = field(default_factory=list)
    begun: int = 0
    refused: int = 0
    was_killed: bool = False
    ended: trio.Event = field(default_factory=trio.Event)


class Simulation:
    """
    One node for one seed.

    Attributes:
        staff: workers that take connections now.
        retired: those that do no more: asked to leave, or ended.
        faults: what was done to it, counted.
        trace: what happened, in order; equal for equal seeds.
    """

    def __init__(self, seed: int, path: Path, script: Script, nursery: trio.Nursery) -> None:
        self.seed = seed
        self.path = path
        self.dice = Random(f"{seed} node")
        self.nursery = nursery
        self.pages = Pages()
        self.clock = JumpyClock()
        self.origin = Origin({b"*": script}, port=80)
        self.staff: list[Staff] = []
        self.retired: list[Staff] = []
        self.faults: Counter[str] = Counter()
        self.trace: list[tuple[Any, ...]] = []
        self.generation = 0
        self.sockets: list[Any] = []

    def note(self, *what: Any) -> None:
        self.trace.append((round(trio.current_time(), 6), *what))

    # -- the network ----------------------------------------------------------------------------------------

    async def connect(self) -> Client:
        """Connect a client to one of those who serve; while nobody does, it waits in the queue that outlives them."""
        while not self.staff:
            await trio.sleep(0.01)
        ours, theirs = socket.socketpair()
        staff = self.dice.choice(self.staff)
        buffer = self.dice.choice((0, 0, 4096))
        if buffer:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        staff.worker.fast.admit(theirs, "192.0.2.7", staff.worker.doors.plain(staff.worker.config.listeners[0]))
        near = trio.socket.from_stdlib_socket(ours)
        self.sockets.append(near)
        return Client(trio.SocketStream(near))

    async def dial(self) -> PlainStream:
        """Connect a worker to the origin; now and then that fails, or takes its time."""
        luck = self.dice.random()
        if luck < 0.03:
            self.faults["connections refused"] += 1
            raise OriginFault("refused", word="connection_refused", retry=Retry.YES)
        if luck < 0.06:
            self.faults["connections that take long"] += 1
            await trio.sleep(self.dice.choice((0.01, 0.5, 5.0)))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        far = trio.socket.from_stdlib_socket(theirs)
        self.sockets.append(far)
        self.nursery.start_soon(self.origin._serve_safely, trio.SocketStream(far))
        await trio.lowlevel.checkpoint()
        return PlainStream(ours, Side.ORIGIN)

    # -- the workers ----------------------------------------------------------------------------------------

    def config(self) -> Any:
        """A configuration; another one for each generation."""
        dice = Random(f"{self.seed} config {self.generation}")
        shop = OriginConfig(
            "shop",
            tuple(OriginServer(f"http://127.0.0.{number}:80") for number in range(1, dice.choice((2, 2, 4)))),
            balance=dice.choice(("round_robin", "least_connections", "ip_hash", "consistent_hash", "random_two")),
            retries=dice.choice((0, 1, 3)),
            max_uses=dice.choice((2, 1000)),
            max_age_s=dice.choice((3.0, 3600.0)),
            min_idle=dice.choice((0, 0, 2)),
            first_byte_s=1.0,
            between_bytes_s=1.0,
            connect_s=2.0,
            max_connections=dice.choice((2, 8, 100)),
            max_idle=dice.choice((0, 2, 64)),
        )
        rules = RouteCache(
            parts=dice.choice((True, False)), on_leave=dice.choice(("finish", "stop")), min_uses=dice.choice((1, 1, 2))
        )
        sizes = Random(f"{self.seed} sizes")  # of what outlives a reload
        return config_for(
            self.origin,
            self.path,
            origins={"shop": shop},
            routes=(Route(None, "/", "shop", rules),),
            server=Server(drain_s=DRAIN_S),
            cache=CacheConfig(
                self.path,
                sizes.choice((1 << 20, 4 << 20, 16 << 20)),
                dice.choice((50_000, 2 << 20)),
                max_object=dice.choice((100_000, 16 << 20)),
                purge_from=(ip_network("192.0.2.0/24"),),
            ),
            compression=Compression(encodings=dice.choice((("zstd", "br", "gzip"), ("gzip",)))),
            timeouts=Timeouts(head_s=2.0, body_s=2.0, write_s=5.0, idle_s=5.0),
        )

    async def hire(self) -> Staff:
        """Start one worker in a free slot, and wait until it is ready."""
        taken = {one.worker.heritage.slot for one in [*self.staff, *self.retired] if not one.ended.is_set()}
        slot = min(set(range(SLOTS)) - taken)
        ours, theirs = Channel.pair()
        heritage = heritage_of(self.pages, self.config(), theirs, slot=slot, generation=self.generation)
        worker = Worker(heritage, self.clock)
        worker.fast.serve_hits = self.dice.random() < 0.8
        staff = Staff(worker, ours, trio.CancelScope())
        self._watch(staff)
        self.nursery.start_soon(self._work, staff)
        while (message := ours.receive_nowait()) is None:
            await trio.lowlevel.checkpoint()
        assert message.word is Word.READY
        self.staff.append(staff)
        return staff

    async def _work(self, staff: Staff) -> None:
        """A worker's life, and what the master does after it."""
        heritage = staff.worker.heritage
        try:
            with staff.scope:
                await staff.worker.run()
        finally:
            while staff.worker.ledger.flush():
                pass
            staff.worker.close()
        self.pages.bells.reset(heritage.slot)
        self.pages.claims.clear(heritage.slot)
        self.pages.under_way.forget(heritage.slot)
        self.pages.bells.ring_all(waiting_only=False)
        staff.ended.set()

    def _watch(self, staff: Staff) -> None:
        """Count what it takes, what it refuses, and what it logs."""
        worker = staff.worker
        fast, record = worker.fast, worker.rooms.record
        begin, misunderstood = fast._begin, fast._misunderstood

        def count_begin(session: Any, event: Any) -> None:
            staff.begun += 1
            begin(session, event)

        def count_misunderstood(session: Any, fault: Any) -> None:
            staff.refused += all(x.complete for x in session.carried.values())
            misunderstood(session, fault)

        def remember(entry: Entry) -> None:
            staff.entries.append(entry)
            record(entry)

        fast._begin, fast._misunderstood = count_begin, count_misunderstood  # type: ignore[method-assign]
        worker.rooms.record = remember

    # -- what befalls it ------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Make a new generation; then ask the old one to leave."""
        self.faults["reloads"] += 1
        self.generation += 1
        before = list(self.staff)
        free = SLOTS - sum(not one.ended.is_set() for one in [*self.staff, *self.retired])
        if not free:
            return
        for _ in range(min(len(before), free)):
            await self.hire()
        for one in before:
            self.staff.remove(one)
            self.retired.append(one)
            one.channel.send(Word.LEAVE)

    async def end_one(self) -> None:
        """End a worker as it stands (its tasks are cancelled, wherever they are), and put another in its place."""
        self.faults["workers ended"] += 1
        one = self.dice.choice(self.staff)
        self.staff.remove(one)
        self.retired.append(one)
        one.was_killed = True
        one.scope.cancel()
        await one.ended.wait()
        await self.hire()

    async def jump(self) -> None:
        """Set the wall's clock."""
        self.faults["clock jumps"] += 1
        self.clock.jump(self.dice.choice((-3600.0, -5.0, 30.0, 3600.0)))

    async def run(self, workers: int, deeds: int, play: Callable[[], Any]) -> None:
        """Start *workers*, let *play* go on until it is done, and do *deeds* things to the node meanwhile."""
        for _ in range(workers):
            await self.hire()
        done = trio.Event()

        async def trouble() -> None:
            for _ in range(deeds):
                await trio.sleep(self.dice.expovariate(1 / 1.5))
                if done.is_set():
                    return
                deed = self.dice.choice((self.reload, self.end_one, self.jump))
                self.note(deed.__name__)
                await deed()

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trouble)
                await play()
                done.set()
            await self.calm()

    async def calm(self) -> None:
        """Wait until nothing is under way anywhere, and everyone who was asked to leave has left."""
        for one in self.retired:
            await one.ended.wait()
        for one in self.staff:
            worker = one.worker
            while worker.fast.sessions or worker.fast.slow.carried or worker.flights.known or worker.flights.claims:
                await trio.sleep(0.05)
            while any(standing.lent for standing in worker.origins.standing()):
                await trio.sleep(0.05)

    def check(self) -> None:
        """In the end nothing is left, nothing was lost, and the counters add up."""
        for one in self.staff:
            while one.worker.ledger.flush():
                pass
        everyone = [*self.staff, *self.retired]
        entries = sum(len(one.entries) for one in everyone)
        counters = self.pages.counters
        taken = sum(one.begun + one.refused for one in everyone)
        assert 0 == counters.total(names.BUGS), "an error of our own"
        assert entries == taken, f"{taken} requests, {entries} entries"
        assert entries == sum(counters.total(row) for row in names.REQUESTS.values())
        for row in (names.SESSIONS_OPEN, names.EXCHANGES_OPEN, names.TUNNELS_OPEN):
            assert 0 == sum(one.worker.cells[row] for one in self.staff)
        for one in self.staff:
            assert not one.worker.origins._watch.waits
            assert not len(one.worker.fast.deadlines)

    def close(self) -> None:
        for one in [*self.staff, *self.retired]:
            one.channel.close()
        for sock in self.sockets:
            sock.close()


@contextmanager
def no_threads_no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the simulation's hands on what is not simulated by itself."""

    async def inline(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return work(*args)

    async def dial(_dialler: Dialler, _door: Any, connect_s: float, *_: Any) -> PlainStream:
        with trio.move_on_after(connect_s):
            return await _current().dial()
        raise OriginFault("nothing", word="connection_timeout", reply=504, retry=Retry.YES)

    descriptors: list[int] = []

    def remembering(make: Callable[..., int]) -> Callable[..., int]:
        def wrapper(*args: Any) -> int:
            descriptors.append(make(*args))
            return descriptors[-1]

        return wrapper

    opened: dict[str, Store] = {}
    really_open, really_close = Store.open.__func__, Store.close  # type: ignore[attr-defined]

    def open_once(cls: type[Store], path: Any, *args: Any, **kwargs: Any) -> Store:
        """LMDB may not be opened twice by one process: its workers share the one they have."""
        if str(path) not in opened:
            opened[str(path)] = really_open(cls, path, *args, **kwargs)
        return opened[str(path)]

    with monkeypatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", inline)
        patch.setattr(Dialler, "dial", dial)
        patch.setattr(Store, "open", classmethod(open_once))
        patch.setattr(Store, "close", lambda _: None)
        patch.setattr(os, "memfd_create", remembering(MEMFD))
        patch.setattr(os, "eventfd", remembering(EVENTFD))
        patch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        try:
            yield
        finally:
            for store in opened.values():
                really_close(store)
            for fd in descriptors:
                os.close(fd)


CURRENT: list[Simulation] = []


def _current() -> Simulation:
    return CURRENT[-1]


def simulate(
    seed: int,
    path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    play: Callable[[Simulation], Any],
    **counts: int,
) -> Simulation:
    """Run one schedule to its end and check it; *play* is awaited once the workers are there."""
    made: list[Simulation] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            simulation = Simulation(seed, path, script, nursery)
            made.append(simulation)
            CURRENT.append(simulation)
            try:
                await simulation.run(play=lambda: play(simulation), **counts)
                simulation.check()
            finally:
                CURRENT.pop()
                simulation.close()
                nursery.cancel_scope.cancel()

    trio._core._run._r.seed(seed)
    with no_threads_no_network(monkeypatch):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return made[0]
