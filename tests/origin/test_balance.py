"""Who is asked next: fair by weight over all workers, and the same server for the same key."""

import math
import os
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.origin.balance import (
    BALANCERS,
    MOST_TURNS,
    ConsistentHash,
    IpHash,
    KeyedBy,
    LeastLoaded,
    Load,
    RandomTwo,
    RoundRobin,
    Turns,
    cost,
    make_balancer,
    measured,
    order_of_turns,
    site,
)
from edge.share.fleet import Fleet

NAMES = [b"10.0.0.1:80", b"10.0.0.2:80", b"10.0.0.3:80"]
KEYS = [b"key-%d" % at for at in range(3000)]
EVEN = [1, 1, 1]
IDLE = [0, 0, 0]
ALL = [0, 1, 2]

fleets = st.integers(2, 8).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(1, 20), min_size=count, max_size=count),
        st.sets(st.integers(0, count - 1), min_size=1).map(sorted),
        st.lists(st.integers(0, 50), min_size=count, max_size=count),
    )
)


def named(count):
    return [b"10.0.0.%d:80" % number for number in range(count)]


@pytest.mark.parametrize("balance", sorted(BALANCERS))
@pytest.mark.parametrize("bound", [None, 1.25])
@settings(deadline=None)
@given(fleet=fleets, key=st.binary(max_size=12))
def test_every_balancer_picks_among_the_able_only(balance, bound, fleet, key):
    weights, able, load = fleet
    balancer = make_balancer(balance, weights, named(len(weights)), bound=bound, random=Random(1))
    balancer.prepare(range(len(weights)), weights)

    for _ in range(4):
        assert balancer.pick(able, weights, load, key) in able


def test_the_configuration_names_every_balancer():
    """The words an operator may write are the keys of the table."""
    expected = {"round_robin", "least_connections", "least_time", "ip_hash", "consistent_hash", "random_two"}

    assert expected == set(BALANCERS)
    assert isinstance(make_balancer("round_robin", [1], [b"a"]), RoundRobin)


def turns_of(weights, able=None, make=RoundRobin):
    balancer = make(Turns.alone())
    balancer.prepare(able or range(len(weights)), weights)
    return balancer


# -- turns ---------------------------------------------------------------------------------------------------


def test_turns_are_spread_out_not_in_runs():
    """Five in a row to one server is a burst, not a share."""
    balancer = turns_of([5, 1, 1])
    order = "".join("abc"[balancer.pick(ALL, [5, 1, 1], IDLE, b"")] for _ in range(14))

    assert "aabacaa" * 2 == order


@settings(deadline=None)
@given(fleet=fleets)
def test_turns_are_never_further_from_their_share_than_one_round(fleet):
    """Whatever the weights: after a round of all weights everyone has had exactly his own."""
    weights, able, _ = fleet
    balancer = turns_of(weights, able)
    counts = Counter(balancer.pick(able, weights, IDLE, b"") for _ in range(sum(weights[server] for server in able)))

    assert {server: weights[server] for server in able} == counts


def test_turns_keep_their_proportion_while_one_is_away():
    balancer = turns_of([1, 2, 3], [0, 2])
    counts = Counter(balancer.pick([0, 2], [1, 2, 3], IDLE, b"") for _ in range(400))

    assert {0: 100, 2: 300} == counts


def test_the_turns_of_who_has_no_room_now_go_to_its_neighbours_alike():
    """Nobody prepares for one pick; and nobody shall get all of what another cannot take."""
    balancer = turns_of(EVEN)
    counts = Counter(balancer.pick([0, 2], EVEN, IDLE, b"") for _ in range(600))

    assert {0: 300, 2: 300} == counts
    assert 7 == balancer.pick([7], EVEN, IDLE, b""), "one that had no turn at all"


def test_who_comes_back_is_owed_nothing():
    """Otherwise it would get everything until it had caught up."""
    balancer = turns_of(EVEN, [0, 1])
    for _ in range(1000):
        balancer.pick([0, 1], EVEN, IDLE, b"")
    balancer.prepare(ALL, EVEN)
    counts = Counter(balancer.pick(ALL, EVEN, IDLE, b"") for _ in range(30))

    assert {0: 10, 1: 10, 2: 10} == counts


def test_a_part_of_a_weight_is_a_part_of_a_share():
    """Slow start: a tenth of a weight of one, beside two whole ones."""
    balancer = turns_of([1, 1, 0.1])
    counts = Counter(balancer.pick(ALL, [1, 1, 0.1], IDLE, b"") for _ in range(2100))

    assert 100 == pytest.approx(counts[2], abs=3)
    assert 1000 == pytest.approx(counts[0], abs=3)


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(1, 1000), st.floats(0.1, 1000)), min_size=2, max_size=60))
def test_an_order_is_bounded_and_right(weights):
    order = order_of_turns(range(len(weights)), weights)
    counts = Counter(order)

    assert len(order) <= MOST_TURNS
    for server, weight in enumerate(weights):
        assert weight / sum(weights) * len(order) == pytest.approx(counts[server], abs=len(weights))


def test_workers_that_share_a_page_take_turns_with_each_other():
    """Two workers, one request each at a time: together they give what one would have given."""
    fleet = Fleet(2)
    workers = [RoundRobin(Turns.of(fleet, fleet.row(b"shop"))) for _ in range(2)]
    for worker in workers:
        worker.prepare(ALL, [5, 1, 1])
    order = "".join("abc"[workers[turn % 2].pick(ALL, [5, 1, 1], IDLE, b"")] for turn in range(14))

    assert "aabacaa" * 2 == order


@pytest.mark.parametrize("weights", [[1, 1, 1], [5, 2, 1]])
def test_shares_are_right_over_processes_that_pick_at_the_same_time(weights):
    """
    Nothing is locked: four processes that do nothing but pick take turns twice and set the number back, and still nobody's
    share is off by more than one in a hundred.
    """
    fleet = Fleet(4)
    rows = [fleet.row(name) for name in NAMES]
    each = 20_000
    start, go = os.pipe()
    pids = []
    for slot in range(4):
        pid = os.fork()
        if not pid:
            try:
                os.read(start, 1)
                balancer = RoundRobin(Turns.of(fleet, fleet.row(b"shop")))
                balancer.prepare(ALL, weights)
                counts = Counter(balancer.pick(ALL, weights, IDLE, b"") for _ in range(each))
                for row, server in zip(rows, ALL, strict=True):
                    fleet.words[fleet.own(row, slot)] = counts[server]
            finally:
                os._exit(0)
        pids.append(pid)
    os.write(go, b"1234")
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(start)
    os.close(go)
    shares = [fleet.total(row, 0) / (4 * each) for row in rows]

    assert 4 * each == sum(fleet.total(row, 0) for row in rows)
    for share, weight in zip(shares, weights, strict=True):
        assert weight / sum(weights) == pytest.approx(share, abs=0.01)


# -- load ----------------------------------------------------------------------------------------------------


def test_least_connections_weighs_load_by_weight():
    balancer = turns_of([1, 4], make=LeastLoaded)

    assert 1 == balancer.pick([0, 1], [1, 4], [1, 3], b"")
    assert 0 == balancer.pick([0, 1], [1, 4], [0, 1], b"")


def test_equals_take_turns_by_least_connections():
    """Otherwise the first server would get everything while the house is quiet."""
    balancer = turns_of([1, 1, 2], make=LeastLoaded)
    counts = Counter(balancer.pick(ALL, [1, 1, 2], IDLE, b"") for _ in range(40))

    assert {0: 10, 1: 10, 2: 20} == counts


@settings(deadline=None)
@given(fleet=fleets)
def test_nobody_carries_less_for_its_weight_than_who_is_picked(fleet):
    weights, able, load = fleet
    picked = turns_of(weights, able, LeastLoaded).pick(able, weights, load, b"")

    assert all(load[picked] * weights[other] <= load[other] * weights[picked] for other in able)


def test_the_lesser_of_two_is_never_the_most_loaded():
    balancer = RandomTwo(Random(7))
    picks = {balancer.pick(ALL, EVEN, [9, 1, 2], b"") for _ in range(200)}

    assert {1, 2} == picks


def test_two_choices_respect_weight():
    assert 1 == RandomTwo(Random(7)).pick([0, 1], [1, 3], [1, 2], b"")


def test_two_choices_are_nearly_as_even_as_the_least_loaded():
    """A thousand balls into ten bins: by chance alone the fullest has some 130, by two choices hardly more than 100."""
    balancer = RandomTwo(Random(11))
    load = [0] * 10
    for _ in range(1000):
        load[balancer.pick(range(10), [1] * 10, load, b"")] += 1

    assert max(load) <= 103
    assert sum(load) == 1000


# -- least time ----------------------------------------------------------------------------------------------


def test_a_slow_reply_is_believed_at_once_and_a_quick_one_slowly():
    assert 0.5 == measured(0.1, 100.0, 0.5, 100.0)
    assert 0.5 == measured(0.5, 100.0, 0.1, 100.0)
    assert 0.1 + 0.4 / math.e == pytest.approx(measured(0.5, 100.0, 0.1, 110.0))


@settings(deadline=None)
@given(before=st.floats(0.0001, 100), took=st.floats(0.0001, 100), age=st.floats(0, 1000), busy=st.integers(0, 1000))
def test_a_reply_time_lies_between_what_was_known_and_what_was_seen(before, took, age, busy):
    after = measured(before, 50.0, took, 50.0 + age)

    assert min(before, took) <= after * (1 + 1e-9)
    assert after <= max(before, took) * (1 + 1e-9)
    assert 0 <= cost(after, 50.0, busy, 50.0 + age) <= cost(after, 50.0, busy + 1, 50.0 + age)


def test_who_was_never_measured_is_asked_once_and_then_others_until_it_has_answered():
    assert 0.0 == cost(0.0, 0.0, 0, 10.0)
    assert cost(0.0, 0.0, 1, 10.0) > cost(0.2, 10.0, 3, 10.0)


def test_what_nobody_has_confirmed_fades():
    """A server that was slow gets a request now and then, and is found to be quick again."""
    assert cost(1.0, 0.0, 0, 50.0) < cost(0.01, 50.0, 0, 50.0)


def test_least_time_sends_a_slow_server_a_small_part():
    """Three servers at 10, 10 and 100 ms, ten clients that ask again as soon as they are answered."""
    takes = [0.01, 0.01, 0.1]
    balancer = LeastLoaded(Turns.alone(), Load.TIME)
    balancer.prepare(ALL, EVEN)
    known, busy, counts, now = [(0.0, 0.0)] * 3, [0] * 3, Counter(), 0.0
    ends: list[tuple[float, int]] = []
    for _ in range(5000):
        while len(ends) >= 10:
            ends.sort()
            now, server = ends.pop(0)
            busy[server] -= 1
            known[server] = (measured(*known[server], takes[server], now), now)
        load = [cost(*known[server], busy[server], now) for server in ALL]
        server = balancer.pick(ALL, EVEN, load, b"")
        busy[server] += 1
        counts[server] += 1
        ends.append((now + takes[server], server))

    assert counts[2] < 0.05 * 5000
    assert 0.9 < counts[0] / counts[1] < 1.1


# -- keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
def test_a_hash_gives_shares_by_weight(kind):
    balancer = kind([1, 1, 2], NAMES)
    counts = Counter(balancer.pick(ALL, [1, 1, 2], IDLE, key) for key in KEYS)

    assert 0.15 < counts[0] / len(KEYS) < 0.35
    assert 0.40 < counts[2] / len(KEYS) < 0.60


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
@settings(deadline=None)
@given(fleet=fleets, lost=st.integers(0, 7), seed=st.integers(0, 1 << 30))
def test_only_the_keys_of_a_lost_server_move(kind, fleet, lost, seed):
    """The disruption when one leaves is its own share, and no more; when it comes back all is as before."""
    weights, _, _ = fleet
    lost %= len(weights)
    everyone = list(range(len(weights)))
    balancer = kind(weights, named(len(weights)))
    left = [server for server in everyone if server != lost]
    for key in (b"%d-%d" % (seed, at) for at in range(20)):
        before = balancer.pick(everyone, weights, IDLE, key)
        after = balancer.pick(left, weights, IDLE, key)

        assert after == before or before == lost
        assert after != lost


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
@settings(deadline=None)
@given(fleet=fleets, seed=st.integers(0, 1 << 30))
def test_who_joins_takes_keys_only_to_itself(kind, fleet, seed):
    """Nobody who was there before gets a key that was another's (as long as the ring is not scaled)."""
    weights = [min(weight, 10) for weight in fleet[0]]
    names = named(len(weights))
    before, after = kind(weights[:-1], names[:-1]), kind(weights, names)
    for key in (b"%d-%d" % (seed, at) for at in range(20)):
        was = before.pick(range(len(names) - 1), weights, IDLE, key)
        now = after.pick(range(len(names)), weights, IDLE, key)

        assert now in {was, len(names) - 1}


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
def test_the_order_in_the_configuration_does_not_matter_to_a_hash(kind):
    forward = kind([1, 2, 3], NAMES)
    backward = kind([3, 2, 1], NAMES[::-1])

    assert all(forward.pick(ALL, EVEN, IDLE, key) == 2 - backward.pick(ALL, EVEN, IDLE, key) for key in KEYS[:300])


def test_a_hash_is_the_same_in_every_process():
    """Python salts its own hash per process; a restart must not move every client."""
    assert [2, 1, 2, 1, 0, 2, 2, 2] == [IpHash(EVEN, NAMES).pick(ALL, EVEN, IDLE, key) for key in KEYS[:8]]
    assert [2, 2, 1, 0, 0, 1, 0, 1] == [ConsistentHash(EVEN, NAMES).pick(ALL, EVEN, IDLE, key) for key in KEYS[:8]]


def test_a_heavy_server_does_not_make_an_endless_ring():
    ring = ConsistentHash([1000, 1], NAMES[:2])

    assert 1700 > len(ring._points)
    assert {0, 1} >= {ring.pick([0, 1], [1000, 1], [0, 0], key) for key in KEYS}


@settings(deadline=None)
@given(fleet=fleets, bound=st.floats(1.05, 4), key=st.binary(max_size=8))
def test_no_server_is_picked_beyond_its_bound(fleet, bound, key):
    """With one more it carries at most so many times its share of everything under way, rounded up to a whole request."""
    weights, able, load = fleet
    balancer = ConsistentHash(weights, named(len(weights)), bound)
    picked = balancer.pick(able, weights, load, key)
    share = weights[picked] / sum(weights[server] for server in able)
    most = math.ceil(bound * (sum(load[server] for server in able) + 1) * share)

    assert load[picked] + 1 <= most


def test_a_key_that_everybody_wants_is_spread_and_the_others_stay():
    """A thousand requests under way for one key, on ten servers: each has a tenth of them and a quarter more."""
    balancer = ConsistentHash([1] * 10, named(10), 1.25)
    load = [0] * 10
    for _ in range(1000):
        load[balancer.pick(range(10), [1] * 10, load, b"hot")] += 1

    assert max(load) <= 126
    quiet = ConsistentHash([1] * 10, named(10))
    assert all(
        balancer.pick(range(10), [1] * 10, [5] * 10, key) == quiet.pick(range(10), [1] * 10, [5] * 10, key)
        for key in KEYS[:100]
    )


def test_an_ipv6_client_is_its_network():
    """Hosts change the lower half of their address by themselves."""
    assert site(b"2001:db8:1:2::1") == site(b"2001:db8:1:2:ffff::7") == site(b"2001:db8:1:2::1%eth0")
    assert site(b"2001:db8:1:2::1") != site(b"2001:db8:1:3::1")
    assert b"192.0.2.1" == site(b"192.0.2.1")
    assert b"not:an:address" == site(b"not:an:address")


def test_balancers_say_what_they_go_by():
    made = {balance: make_balancer(balance, [1, 1], NAMES[:2]) for balance in BALANCERS}

    assert {"ip_hash": KeyedBy.CLIENT, "consistent_hash": KeyedBy.KEY} == {
        balance: one.keyed_by for balance, one in made.items() if one.keyed_by is not KeyedBy.NOTHING
    }
    assert {"least_connections": Load.BUSY, "random_two": Load.BUSY, "least_time": Load.TIME} == {
        balance: one.load for balance, one in made.items() if one.load is not Load.NOTHING
    }
    assert Load.BUSY is make_balancer("consistent_hash", [1], [b"a"], bound=1.25).load


def test_a_ring_without_an_able_server_is_our_mistake():
    with pytest.raises(AssertionError):
        ConsistentHash([1], [b"a"]).pick([], [1], [0], b"")
