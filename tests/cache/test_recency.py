"""
Least recently used is the contract, and four workers share one idea of it.

The whole of it at once: a real store, the real keeper and the shared page of last uses, beside least recently used as a textbook
has it, request by request. ``bench/traces`` does the same at length and for other traces.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from itertools import accumulate

import pytest

from edge.cache import evict
from edge.cache.keeper import Keeper
from edge.cache.store import Store
from edge.share.recency import Recency
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask
from tests.cache.test_store import draft

SIZE = 24 * MIB
LAID_OUT = 2 * 4096 + 512
"""Bytes in the store for a body of BODY."""
OBJECTS = 3000
REQUESTS = 12_000
PER_S = 100
BODY = 8000
WORKERS = 4


def trace() -> list[int]:
    """Few are asked for often; every other second a crawler asks for what nobody else wants."""
    chance = random.Random(11)
    weights = list(accumulate((rank + 1) ** -0.9 for rank in range(OBJECTS)))
    asked = chance.choices(range(OBJECTS), cum_weights=weights, k=REQUESTS)
    for at in range(0, REQUESTS, 3):
        if at // PER_S % 2:
            asked[at] = OBJECTS + at
    return asked


def hit_percent_of_exact_lru(asked: list[int], room: int) -> float:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for each in asked:
        if each in held:
            held.move_to_end(each)
            hits += 1
            continue
        held[each] = None
        if len(held) > room:
            held.popitem(last=False)
    return 100 * hits / len(asked)


class Clock:
    now = 0.0

    def mono(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW + self.now


def hit_percent_of_ours(asked: list[int], folder, *, noting: int = WORKERS) -> float:
    """Requests are dealt to the workers at random; the first *noting* of them note what they use."""
    chance = random.Random(12)
    clock = Clock()
    recency = Recency()
    store = Store.open(folder, SIZE, recency=recency)
    keeper = Keeper(store, recency.read, clock)
    keys = {each: ask(f"/{each}").key for each in set(asked)}
    body = bytes(BODY)
    hits, due = 0, 0.0
    for at, each in enumerate(asked):
        clock.now = at / PER_S
        if clock.now >= due:
            for _ in keeper.work():
                pass
            due = clock.now + keeper.rest_s()
        worker = chance.randrange(WORKERS)
        found = store.copies(keys[each])
        if found:
            hits += 1
            if worker < noting:
                recency.touch(found[0].copy_id, evict.second_of(clock.wall()))
            continue
        store.put(draft(f"/{each}", at=clock.wall()), body)
    assert keeper.evicted > 1000
    store.close()
    return 100 * hits / len(asked)


@pytest.mark.slow
def test_with_four_workers_as_many_are_hits_as_with_exact_lru_to_within_a_point(folder):
    """Exact means: all of the size for bodies, and every use in its order. We keep some free, and tell seconds apart."""
    asked = trace()

    assert hit_percent_of_ours(asked, folder) >= hit_percent_of_exact_lru(asked, SIZE // LAID_OUT) - 1.0


@pytest.mark.slow
def test_were_it_not_shared_it_would_show(folder):
    """The test above has teeth: if only one worker's uses were known, it would fail."""
    asked = trace()

    assert hit_percent_of_ours(asked, folder, noting=1) < hit_percent_of_exact_lru(asked, SIZE // LAID_OUT) - 1.5
