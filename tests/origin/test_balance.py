"""Who is asked next: fair by weight, and the same server for the same key."""

from collections import Counter
from random import Random

import pytest

from edge.origin.balance import (
    BALANCERS,
    ConsistentHash,
    IpHash,
    KeyedBy,
    LeastConnections,
    RandomTwo,
    RoundRobin,
    make_balancer,
    site,
)

NAMES = [b"10.0.0.1:80", b"10.0.0.2:80", b"10.0.0.3:80"]
KEYS = [b"key-%d" % at for at in range(3000)]


def check_balancer(make):
    """What every balancer must do, whatever its kind."""
    balancer = make([1, 2, 3], NAMES, Random(1))
    for able in ([0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]):
        for key in KEYS[:40]:
            assert balancer.pick(able, [5, 0, 2], key) in able


@pytest.mark.parametrize("balance", sorted(BALANCERS))
def test_every_balancer_picks_among_the_able_only(balance):
    check_balancer(BALANCERS[balance])


def test_the_configuration_names_every_balancer():
    """The words an operator may write are the keys of the table."""
    expected = {"round_robin", "least_connections", "ip_hash", "consistent_hash", "random_two"}

    assert expected == set(BALANCERS)
    assert isinstance(make_balancer("round_robin", [1], [b"a"]), RoundRobin)


def test_turns_are_spread_out_not_in_runs():
    """Five in a row to one server is a burst, not a share."""
    balancer = RoundRobin([5, 1, 1])
    order = "".join("abc"[balancer.pick([0, 1, 2], [0, 0, 0], b"")] for _ in range(14))

    assert "aabacaa" * 2 == order


def test_turns_keep_their_proportion_while_one_is_away():
    balancer = RoundRobin([1, 2, 3])
    counts = Counter(balancer.pick([0, 2], [0, 0, 0], b"") for _ in range(400))

    assert {0: 100, 2: 300} == counts


def test_least_connections_weighs_load_by_weight():
    balancer = LeastConnections([1, 4])

    assert 1 == balancer.pick([0, 1], [1, 3], b"")
    assert 0 == balancer.pick([0, 1], [0, 1], b"")


def test_equals_take_turns_by_least_connections():
    """Otherwise the first server would get everything while the house is quiet."""
    balancer = LeastConnections([1, 1, 2])
    counts = Counter(balancer.pick([0, 1, 2], [0, 0, 0], b"") for _ in range(40))

    assert {0: 10, 1: 10, 2: 20} == counts


def test_the_lesser_of_two_is_never_the_most_loaded():
    balancer = RandomTwo([1, 1, 1], Random(7))
    picks = {balancer.pick([0, 1, 2], [9, 1, 2], b"") for _ in range(200)}

    assert {1, 2} == picks


def test_two_choices_respect_weight():
    balancer = RandomTwo([1, 3], Random(7))

    assert 1 == balancer.pick([0, 1], [1, 2], b"")


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
def test_a_hash_gives_shares_by_weight(kind):
    balancer = kind([1, 1, 2], NAMES)
    counts = Counter(balancer.pick([0, 1, 2], [0, 0, 0], key) for key in KEYS)

    assert 0.15 < counts[0] / len(KEYS) < 0.35
    assert 0.40 < counts[2] / len(KEYS) < 0.60


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
def test_only_the_keys_of_a_lost_server_move(kind):
    balancer = kind([1, 1, 1], NAMES)
    before = [balancer.pick([0, 1, 2], [0, 0, 0], key) for key in KEYS]
    after = [balancer.pick([0, 2], [0, 0, 0], key) for key in KEYS]

    assert all(now == was for was, now in zip(before, after, strict=True) if was != 1)
    assert {0, 2} == {now for was, now in zip(before, after, strict=True) if was == 1}


@pytest.mark.parametrize("kind", [IpHash, ConsistentHash])
def test_the_order_in_the_configuration_does_not_matter_to_a_hash(kind):
    forward = kind([1, 2, 3], NAMES)
    backward = kind([3, 2, 1], NAMES[::-1])

    assert all(
        forward.pick([0, 1, 2], [0] * 3, key) == 2 - backward.pick([0, 1, 2], [0] * 3, key) for key in KEYS[:300]
    )


def test_a_hash_is_the_same_in_every_process():
    """Python salts its own hash per process; a restart must not move every client."""
    assert [2, 1, 2, 1, 0, 2, 2, 2] == [IpHash([1, 1, 1], NAMES).pick([0, 1, 2], [0] * 3, key) for key in KEYS[:8]]
    assert [2, 2, 1, 0, 0, 1, 0, 1] == [
        ConsistentHash([1, 1, 1], NAMES).pick([0, 1, 2], [0] * 3, key) for key in KEYS[:8]
    ]


def test_a_heavy_server_does_not_make_an_endless_ring():
    ring = ConsistentHash([1000, 1], NAMES[:2])

    assert 1700 > len(ring._points)
    assert {0, 1} >= {ring.pick([0, 1], [0, 0], key) for key in KEYS}


def test_an_ipv6_client_is_its_network():
    """Hosts change the lower half of their address by themselves."""
    assert site(b"2001:db8:1:2::1") == site(b"2001:db8:1:2:ffff::7") == site(b"2001:db8:1:2::1%eth0")
    assert site(b"2001:db8:1:2::1") != site(b"2001:db8:1:3::1")
    assert b"192.0.2.1" == site(b"192.0.2.1")
    assert b"not:an:address" == site(b"not:an:address")


def test_balancers_say_what_they_go_by():
    assert KeyedBy.CLIENT is IpHash.keyed_by
    assert KeyedBy.TARGET is ConsistentHash.keyed_by
    assert {KeyedBy.NOTHING} == {RoundRobin.keyed_by, LeastConnections.keyed_by, RandomTwo.keyed_by}


def test_a_ring_without_an_able_server_is_our_mistake():
    with pytest.raises(AssertionError):
        ConsistentHash([1], [b"a"]).pick([], [0], b"")
