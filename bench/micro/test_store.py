"""
What the store costs: a look, a read, a small put, a body arriving; and how a full store fares with bodies of all sizes.

    python -m pytest bench/micro/test_store.py -q -s

The last one replays what decided the size of a chunk: bodies drawn from a heavy tail into a store kept full by the real
keeper. With chunks of 64 KiB the same run wrote at a third of the speed and was refused room seven thousand times.
"""

from __future__ import annotations

import random
import time

import pytest

from edge.cache.ask import ask_of
from edge.cache.copy import IDENTITY, Copy
from edge.cache.keeper import Keeper
from edge.cache.store import Store
from edge.cache.storing import may_store
from edge.message.head import Framing, ReplyHead, RequestHead

NOW = 1_800_000_000.0
FIELDS = [
    (b"content-type", b"text/html"),
    (b"cache-control", b"max-age=300"),
    (b"etag", b'"5f3c-9a1b"'),
    (b"date", b"Fri, 15 Jan 2027 08:00:00 GMT"),
]


def draft(number: int, length: int, at: float = NOW) -> Copy:
    asked = ask_of(RequestHead(b"GET", b"https", b"shop.example", b"/%d" % number, []), (b"br",))
    reply = ReplyHead(200, FIELDS, framing=Framing.LENGTH, length=length)
    return may_store(asked, reply, request_wall=at, response_wall=at)


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path, 256 << 20)
    yield opened
    opened.close()


@pytest.fixture
def copies(store):
    """Enough of them that the trees have their usual depth."""
    return [store.put(draft(number, 1024), bytes(1024)) for number in range(20_000)]


def test_looking_a_key_up(benchmark, store, copies):
    assert benchmark(store.copies, copies[777].key) == [copies[777]]


def test_reading_1_kib(benchmark, store, copies):
    assert len(benchmark(store.read_whole, copies[777].bodies[IDENTITY])) == 1024


def test_reading_64_kib(benchmark, store):
    copy = store.put(draft(1, 65536), bytes(65536))

    assert len(benchmark(store.read_whole, copy.bodies[IDENTITY])) == 65536


@pytest.mark.parametrize("length", [1024, 65536])
def test_putting(benchmark, store, copies, length):
    drafts = [draft(number, length) for number in range(1000)]
    body = bytes(length)
    at = iter(range(10**9))

    benchmark.pedantic(lambda: store.put(drafts[next(at) % 1000], body), rounds=1000)


def test_a_body_arriving_64_kib_at_a_time(benchmark, store):
    fill = store.begin_fill(draft(1, 0))
    data = bytes(65536)

    benchmark.pedantic(lambda: fill.append(data), rounds=1000)
    fill.abandon()


def test_how_full_it_is(benchmark, store, copies):
    benchmark(store.used)


def test_a_full_store_goes_on_taking_bodies_of_all_sizes(tmp_path):
    chance = random.Random(1)
    store = Store.open(tmp_path, 128 << 20)
    keeper = Keeper(store, lambda _: 0)
    written = refused = number = 0
    writing = keeping = 0.0
    end = time.monotonic() + 10
    while time.monotonic() < end:
        number += 1
        length = int(min(2 << 20, 300 / (1 - chance.random()) ** 1.1))
        body = bytes(length)
        begun = time.perf_counter()
        kept = store.put(draft(number, length, NOW + number), body)
        writing += time.perf_counter() - begun
        written += length if isinstance(kept, Copy) else 0
        refused += not isinstance(kept, Copy)
        if number % 200 == 0:
            begun = time.perf_counter()
            for _ in keeper.work():
                pass
            keeping += time.perf_counter() - begun
    print(
        f"\n{number} replies, {written >> 20} MiB, {written / writing / 1e6:.0f} MB/s, {refused} refused, "
        f"keeper {keeping:.1f} s for {keeper.evicted} copies, file {(tmp_path / 'data.mdb').stat().st_size >> 20} MiB"
    )
    store.close()

    assert refused < number / 100
