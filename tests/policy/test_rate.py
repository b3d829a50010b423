"""How many are too many: the arithmetic beside a bucket that leaks, and how it is told."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.rate import Quota, network_of, told

quotas = st.builds(
    lambda limit, window, burst: Quota("q", limit, window, burst),
    st.integers(1, 1000),
    st.sampled_from([0.1, 1.0, 60.0, 3600.0]),
    st.integers(1, 100),
)


@given(quotas, st.lists(st.integers(0, 10_000_000), max_size=60))
def test_it_lets_pass_what_a_leaking_bucket_has_room_for(quota: Quota, gaps: list[int]) -> None:
    """The same decisions as the plain form: a level that one request raises by one and time lowers."""
    level, until, now = Fraction(0), 0, 0
    for gap in gaps:
        now += gap
        level = max(Fraction(0), level - Fraction(gap, quota.interval_us))
        owed = quota.owed(max(0, until - now))
        passes = level + 1 <= quota.burst
        assert passes == (owed is not None)
        if owed is not None:
            level += 1
            until = now + owed


@given(quotas, st.integers(0, 10**9))
def test_who_waits_as_long_as_told_passes(quota: Quota, debt: int) -> None:
    debt = min(debt, quota.tolerance_us)
    if quota.owed(debt) is None:
        waited = max(0, debt - quota.wait_s(debt) * 1_000_000)

        assert quota.owed(waited) is not None


def test_what_is_left_is_told_as_the_draft_has_it() -> None:
    quota = Quota("login", 10, 60.0, 5)

    assert [
        (b"ratelimit-policy", b'"login";q=10;w=60'),
        (b"ratelimit", b'"login";r=3;t=12'),
    ] == told([(quota, 12_000_000)])
    assert [] == told([])


def test_nothing_is_left_of_a_debt_that_is_full() -> None:
    quota = Quota("login", 10, 60.0, 5)

    assert b'"login";r=0;t=30' == quota.state(quota.tolerance_us)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.77", b"32/c0000"),
        ("::ffff:192.0.2.77", b"32/c0000"),
        ("2001:db8:1:2:3::4", b"128/20010db80001"),
        ("", b""),
    ],
)
def test_addresses_are_counted_by_network(address: str, counted: bytes) -> None:
    assert counted == network_of(address, 20, 48)


def test_one_client_with_a_network_of_addresses_is_one_client() -> None:
    assert (
        network_of("2001:db8::1", 32, 64)
        == network_of("2001:db8::ffff:1", 32, 64)
        != network_of("2001:db8:0:1::1", 32, 64)
    )
