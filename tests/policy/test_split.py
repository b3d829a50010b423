"""Shares as the weights say, and nobody moves who need not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.policy.split import Split

CLIENTS = [b"192.0.2.%d %d" % (at % 256, at) for at in range(20_000)]


def split(**weights):
    return Split([(name, weight, name) for name, weight in weights.items()])


def share(weights, name):
    return sum(split(**weights).of(client) == name for client in CLIENTS) / len(CLIENTS)


def test_shares_are_as_the_weights_say():
    """20,000 clients: three standard deviations are 0.5 % at 5 %, 1.0 % at 30 %."""
    assert abs(share({"shop": 95, "canary": 5}, "canary") - 0.05) < 0.005
    assert abs(share({"a": 1, "b": 2, "c": 7}, "b") - 0.2) < 0.01


def test_a_client_stays_where_it_is():
    one, other = split(a=1, b=3), split(b=3, a=1)

    assert all(one.of(client) == other.of(client) for client in CLIENTS[:1000])


def test_who_was_in_a_growing_share_stays_in_it():
    before, after = split(shop=95, canary=5), split(shop=80, canary=20)

    assert all(after.of(client) == "canary" for client in CLIENTS if before.of(client) == "canary")


def test_a_choice_that_goes_moves_nobody_but_its_own():
    before, after = split(a=1, b=1, c=1), split(a=1, b=1)

    assert all(after.of(client) == before.of(client) for client in CLIENTS[:2000] if before.of(client) != "c")


def test_no_weight_is_no_share():
    assert {split(a=1, b=0).of(client) for client in CLIENTS[:200]} == {"a"}


@given(st.binary(max_size=200), st.text(min_size=1, max_size=80))
def test_any_client_and_any_name_will_do(client, name):
    assert Split([(name, 1, "x"), ("other", 1_000_000, "y")]).of(client) in {"x", "y"}
