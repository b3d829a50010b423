"""
What a decision costs, from a head to what is to be sent (``edge/exchange/rooms.py``, ``edge/exchange/memory.py``).

Run ``pytest bench/micro/test_decide.py``. The first row is paid by every hit on a head seen before, the second by a hit on a new one, the
third by a hit whose copy memory has let go of: the store is asked, and the copy made ready. ``extra_info`` has microseconds for one.
"""

from __future__ import annotations

import pytest

from edge.exchange.decision import Serve
from tests.exchange.kit import FRESH, Desk

COPIES = 500
BODY = bytes(4096)


@pytest.fixture
def desk(tmp_path):
    """A memory that holds a tenth of what is stored."""
    made = Desk(tmp_path, memory=COPIES // 10 * 6000)
    made.turn(0)
    return made


@pytest.fixture
def knowns(desk):
    found = [desk.known(f"/{number}") for number in range(COPIES)]
    for known in found:
        desk.keep(FRESH, BODY, asked=known.ask)
    return found


def each(benchmark, act, times):
    benchmark.pedantic(act, rounds=20, warmup_rounds=2)
    benchmark.extra_info["us"] = benchmark.stats.stats.median / times * 1e6


def test_what_the_head_remembers(benchmark, desk, knowns):
    known = knowns[0]
    assert isinstance(desk.rooms.decide(known), Serve)

    each(benchmark, lambda: [desk.rooms.decide(known) for _ in range(1000)], 1000)


def test_a_head_that_is_new_and_a_copy_at_hand(benchmark, desk, knowns):
    def decide():
        for _ in range(100):
            desk.rooms.decide(desk.known("/0"))

    each(benchmark, decide, 100)


def test_a_copy_that_memory_has_let_go(benchmark, desk, knowns):
    each(benchmark, lambda: [desk.rooms.decide(known) for known in knowns], COPIES)
