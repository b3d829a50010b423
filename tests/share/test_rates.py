"""What senders owe, in one table for all workers: who is found, what is forgotten, and what a race costs."""

from __future__ import annotations

import os
import secrets
import time

from hypothesis import given
from hypothesis import strategies as st

from edge.policy.rate import Quota
from edge.share.page import Page
from edge.share.rates import CLOCK_BITS, HEADER, LINE, MOST_US, Rates

SECOND = 1_000_000


def take(rates: Rates, key: bytes, quota: Quota, now_us: int) -> bool:
    """One request, as the worker counts it."""
    key_hash = rates.hash(key)
    while True:
        spot = rates.look(key_hash, now_us)
        owed = quota.owed(spot.debt_us)
        if owed is None:
            return False
        if rates.write(spot, key_hash, owed, now_us):
            return True


def test_a_debt_is_found_again_and_paid_off_by_time() -> None:
    rates = Rates(64)
    key = rates.hash(b"a")
    assert rates.write(rates.look(key, 0), key, 5 * SECOND, 0)

    assert [5 * SECOND, 2 * SECOND, 0, 0] == [rates.look(key, at * SECOND).debt_us for at in (0, 3, 5, 100)]


def test_others_owe_nothing() -> None:
    rates = Rates(64)
    key = rates.hash(b"a")
    rates.write(rates.look(key, 0), key, 5 * SECOND, 0)

    assert 0 == rates.look(rates.hash(b"b"), 0).debt_us


@given(st.integers(0, (1 << 50)), st.integers(0, MOST_US))
def test_the_clock_may_come_round(now_us: int, debt_us: int) -> None:
    """42 bits last for 50 days; a debt across the turn is the same debt."""
    rates = Rates(64)
    key = rates.hash(b"a")
    rates.write(rates.look(key, now_us), key, debt_us, now_us)

    assert debt_us == rates.look(key, now_us).debt_us
    assert max(0, debt_us - 7) == rates.look(key, now_us + 7).debt_us
    assert 0 == rates.look(key, now_us + MOST_US + 1).debt_us


def test_a_word_of_long_ago_is_no_debt() -> None:
    rates = Rates(64)
    key = rates.hash(b"a")
    rates.write(rates.look(key, 0), key, SECOND, 0)

    assert 0 == rates.look(key, (1 << CLOCK_BITS) - 3 * 86400 * SECOND).debt_us


def test_a_word_that_has_changed_is_looked_at_again() -> None:
    rates = Rates(64)
    key = rates.hash(b"a")
    spot = rates.look(key, 0)
    assert rates.write(spot, key, 1, 0)

    assert not rates.write(spot, key, 2, 0)


def test_in_a_full_line_the_least_debt_is_forgiven() -> None:
    rates = Rates(LINE)
    for debt in range(LINE):
        key = (debt + 1 << CLOCK_BITS) | debt << 32
        assert rates.write(rates.look(key, 0), key, (10 + debt) * SECOND, 0)
    newcomer = 77 << CLOCK_BITS
    rates.write(rates.look(newcomer, 0), newcomer, SECOND, 0)

    owed = [rates.look((debt + 1 << CLOCK_BITS) | debt << 32, 0).debt_us // SECOND for debt in range(LINE)]
    assert [0, *range(11, 10 + LINE)] == owed
    assert SECOND == rates.look(newcomer, 0).debt_us


def test_what_owes_nothing_gives_way_before_what_owes() -> None:
    rates = Rates(LINE)
    for at in range(LINE):
        key = (at + 1 << CLOCK_BITS) | at << 32
        rates.write(rates.look(key, 0), key, SECOND if at == 3 else 60 * SECOND, 0)
    newcomer = 77 << CLOCK_BITS
    rates.write(rates.look(newcomer, 2 * SECOND), newcomer, SECOND, 2 * SECOND)

    assert 58 * SECOND == rates.look(1 << CLOCK_BITS, 2 * SECOND).debt_us


def test_a_flood_of_addresses_takes_no_more_memory_and_forgives_the_least() -> None:
    """Twenty times as many senders as there is room for; who is far over its limit stays so for a while."""
    rates = Rates(1024)
    size = len(rates.page.words)
    culprit = rates.hash(b"culprit")
    rates.write(rates.look(culprit, 0), culprit, 3600 * SECOND, 0)
    quota = Quota("q", 60, 60.0, 10)
    for number in range(20_000):
        assert take(rates, b"%d" % number, quota, number)

    assert size == len(rates.page.words)
    assert 0 < rates.look(culprit, 20_000).debt_us


def test_senders_are_spread_evenly() -> None:
    """Half full, few have been forgotten."""
    rates = Rates(4096)
    keys = [rates.hash(secrets.token_bytes(8)) for _ in range(2048)]
    for key in keys:
        rates.write(rates.look(key, 0), key, SECOND, 0)

    assert sum(rates.look(key, 0).debt_us == 0 for key in keys) < 100


def test_nobody_can_foresee_a_place() -> None:
    assert Rates(64).hash(b"a") != Rates(64).hash(b"a")


def test_a_page_that_is_handed_over_keeps_its_key_and_its_debts() -> None:
    rates = Rates(64)
    key = rates.hash(b"a")
    rates.write(rates.look(key, 0), key, SECOND, 0)
    heir = Rates(64, Page(Rates.size(64), "rates", os.dup(rates.page.fd)))

    assert key == heir.hash(b"a")
    assert SECOND == heir.look(key, 0).debt_us
    assert HEADER * 8 + 64 * 8 == heir.page.size


RACERS = 4
RACE_S = 0.4


def race(quota: Quota) -> int:
    """How many pass where *RACERS* processes ask for one budget as fast as they can, in real time, which is the same for all."""
    rates, passed_by = Rates(64), Page(8 * 8, "passed")
    children = []
    began = time.monotonic()
    for number in range(RACERS):
        child = os.fork()
        if child == 0:
            passed = 0
            while (now := time.monotonic()) < began + RACE_S:
                passed += take(rates, b"one", quota, int(now * SECOND))
            passed_by.words[number] = passed
            os._exit(0)
        children.append(child)
    assert {0} == {os.waitpid(child, 0)[1] for child in children}
    return sum(passed_by.words[:RACERS])


def test_a_race_lets_hardly_anything_more_pass() -> None:
    """
    They ask as no worker does, whose every request costs thirty times as much: with two cores to themselves a quarter more passes.

    Who is put to sleep between looking and writing forgives what passed meanwhile. That is the scheduler's doing and no race:
    on a busy machine one round in several is without it.
    """
    quota = Quota("q", 10_000, 1.0, 10)
    fair = quota.burst + RACE_S * 10_000
    rounds = []
    while len(rounds) < 12 and (not rounds or min(rounds) > fair * 1.5):
        rounds.append(race(quota))

    assert 0 < min(rounds) <= fair * 1.5, rounds
    assert max(rounds) <= RACERS * fair, "even if none saw what another had passed"
