"""
Eviction as the edge does it: the real keeper, the real choice and the real page of last uses, over a shelf in memory.

What is real: :class:`edge.cache.keeper.Keeper` with its marks, batches and pace, :class:`edge.cache.evict.Oldest`, and
:class:`edge.share.recency.Recency`, written to by each of the workers to the second, each by its own clock. What is not: bodies
and transactions. The clock is the trace's, and the keeper takes its time on it, so that requests come between any two of its
portions. ``run.py`` replays one trace through a real store as well, to show that the shelf tells the truth.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.cache import evict
from edge.cache.ask import Ask, ask_of
from edge.cache.copy import Copy
from edge.cache.keeper import Keeper
from edge.cache.store import Store
from edge.cache.storing import may_store
from edge.cache.upkeep import NONE_LEFT
from edge.message.head import Framing, ReplyHead, RequestHead
from edge.share.recency import Recency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from shapes import Trace

START = 1_800_000_000
WORKERS = 4
ROW_S = 2e-6
EVICTED_S = 100e-6
YIELD_S = 100e-6
"""What reading a row, removing a copy, and whatever else a portion does takes the keeper: more than measured, for it is nice."""
TURN_S = 0.01
"""How old a worker's second may be."""
SHORT = 4 * 4096
"""What the store wants free beside a body before it takes one."""


class TraceClock:
    """The time of the trace."""

    def __init__(self) -> None:
        self.now = 0.0

    def mono(self) -> float:
        """Return seconds since the trace began."""
        return self.now

    def wall(self) -> float:
        """Return the same, since 1970."""
        return START + self.now


class Shelf:
    """What the keeper sees of a store, and what it does to it: rows in memory."""

    is_broken = False

    def __init__(self, size: int) -> None:
        self.size = size
        self.where: dict[int, int] = {}
        self._rows: dict[int, tuple[int, int, int]] = {}  # copy id, ascending → object, bytes, second
        self._used = 0
        self._wished = 0
        self._next_id = 1
        self._records = None
        self.took_s = 0.0

    def used(self) -> int:
        """Return the bytes that are taken."""
        return self._used

    def put(self, each: int, size: int, now_s: int) -> int | None:
        """Take *each* in and return its copy's id; None if there is no room."""
        if size > evict.largest(self.size):
            return None
        if not evict.may_grow(self._used, size + SHORT, self.size):
            self._wished = max(self._wished, size)
            return None
        copy_id = self._next_id
        self._next_id += 1
        self._rows[copy_id] = (each, size, now_s)
        self.where[each] = copy_id
        self._used += size
        return copy_id

    # What the keeper asks of an Upkeep.

    def rows(self, after: int, limit: int, used: Callable[[int], int]) -> list[evict.Row]:
        """Return rows as the keeper wants them. The snapshot is one pass's: ids that come meanwhile are young."""
        if after == 0:
            self._snapshot = iter(list(self._rows.items()))
        found: list[evict.Row] = []
        for copy_id, (_, size, stored_s) in self._snapshot:
            if copy_id in self._rows:
                found.append((copy_id, size, max(stored_s, used(copy_id)), 0xFFFF_FFFF, stored_s))
                if len(found) == limit:
                    break
        self.took_s += len(found) * ROW_S
        return found

    def evict(self, ids: Iterable[int], now_wall: float) -> int:
        """Let go of *ids*."""
        count = 0
        for copy_id in ids:
            each, size, _ = self._rows.pop(copy_id)
            del self.where[each]
            self._used -= size
            count += 1
        self.took_s += count * EVICTED_S
        return count

    def wished(self) -> int:
        """Return what was refused since."""
        wished, self._wished = self._wished, 0
        return wished

    def clear_grave(self, before_wall: float, limit: int) -> int:
        """There are no graves: a body in memory is gone at once."""
        return NONE_LEFT

    def sweep_orphans(self, *about: object) -> int:
        """There are no fills."""
        return 0

    def reap_readers(self) -> int:
        """There are no readers."""
        return 0

    def purges(self) -> list[object]:
        """Nobody purges."""
        return []

    def forget_purges(self, *about: object) -> None:
        """Nobody did."""


class Pace:
    """Lets the keeper do what is due, a portion at a time, at its own pace on the clock of the trace."""

    def __init__(self, keeper: Keeper, clock: TraceClock, shelf: Shelf | None = None) -> None:
        self._shelf = shelf
        self._keeper = keeper
        self._clock = clock
        self._work: Iterator[None] | None = None
        self.next_at = 0.0

    def until(self, now: float) -> None:
        """Go on until *now*."""
        while self.next_at <= now:
            self._clock.now = self.next_at
            self._work = self._work or self._keeper.work()
            try:
                next(self._work)
            except StopIteration:
                self._work = None
                self.next_at += self._keeper.rest_s()
            else:
                self.next_at += YIELD_S
            if self._shelf is not None:
                self.next_at += self._shelf.took_s
                self._shelf.took_s = 0.0
        self._clock.now = now


@dataclass(slots=True)
class Outcome:
    """
    Attributes:
        hits: how many requests.
        refused: bodies that found no room.
        mean_used: bytes taken, on average since the first eviction.
        evicted: copies.
    """

    hits: int
    refused: int
    mean_used: float
    evicted: int


def replay(trace: Trace, size: int, *, admits: Callable[[int], bool] | None = None, workers: int = WORKERS) -> Outcome:
    """
    Put *trace* to a cache of *size* bytes with the edge's own eviction.

    Args:
        admits: asked about each miss whether it may be stored; None: everything may.
        workers: among whom requests are dealt at random.
    """
    chance = random.Random(0)
    clock = TraceClock()
    recency = Recency()
    shelf = Shelf(size)
    keeper = Keeper(shelf, recency.read, clock)
    keeper._upkeep = shelf
    pace = Pace(keeper, clock, shelf)
    seconds = [START] * workers
    turns = [-TURN_S] * workers
    dealt = chance.choices(range(workers), k=len(trace.asked))
    where, sizes = shelf.where, trace.sizes
    hits = refused = full = filled = 0
    for at, (each, worker) in enumerate(zip(trace.asked, dealt, strict=True)):
        now = at / trace.per_s
        if pace.next_at <= now:
            pace.until(now)
        if now - turns[worker] >= TURN_S:
            turns[worker] = now
            seconds[worker] = int(START + now)
        copy_id = where.get(each)
        if copy_id is not None:
            recency.touch(copy_id, seconds[worker])
            hits += 1
        elif admits is None or admits(each):
            copy_id = shelf.put(each, sizes[each], seconds[worker])
            if copy_id is None:
                refused += 1
            else:
                recency.touch(copy_id, seconds[worker])
        if keeper.evicted:
            full += 1
            filled += shelf._used
    return Outcome(hits, refused, filled / full if full else shelf.used(), keeper.evicted)


def replay_stored(trace: Trace, size: int, folder: Path) -> Outcome:
    """Do the same with a real store in *folder*: bodies, transactions, pages and all."""
    clock = TraceClock()
    recency = Recency()
    store = Store.open(folder, size, recency=recency)
    keeper = Keeper(store, recency.read, clock)
    pace = Pace(keeper, clock)
    asks: dict[int, Ask] = {}
    head = ReplyHead(200, [(b"cache-control", b"max-age=86400"), (b"etag", b'"a"')], framing=Framing.CHUNKED)
    hits = refused = full = filled = used = 0
    for at, each in enumerate(trace.asked):
        now = at / trace.per_s
        if pace.next_at <= now:
            pace.until(now)
            used = store.used()
        wall = START + now
        ask = asks.get(each)
        if ask is None:
            ask = ask_of(RequestHead(b"GET", b"https", b"shop.example", b"/%d" % each, []), ())
            asks[each] = ask
        copies = store.copies(ask.key)
        if copies:
            recency.touch(copies[0].copy_id, int(wall))
            hits += 1
        else:
            draft = may_store(ask, head, request_wall=wall, response_wall=wall)
            assert isinstance(draft, Copy)
            refused += not isinstance(store.put(draft, bytes(trace.lengths[each])), Copy)
        if keeper.evicted:
            full += 1
            filled += used
    outcome = Outcome(hits, refused, filled / full if full else store.used(), keeper.evicted)
    store.close()
    return outcome


def second_time(window: int) -> Callable[[int], bool]:
    """Return a filter that lets in what was asked for before, among the last *window* or so that were not let in."""
    seen: tuple[set[int], set[int]] = (set(), set())

    def admits(each: int) -> bool:
        nonlocal seen
        young, old = seen
        if each in young or each in old:
            return True
        young.add(each)
        if len(young) >= window // 2:
            seen = (set(), young)
        return False

    return admits
