"""From a route's settings to the cache's terms."""

from __future__ import annotations

import dataclasses

import pytest

from edge.cache.key import key_of
from edge.config.tree import Route, RouteCache
from edge.exchange.steering import Steering, policy_of

OTHER = RouteCache(
    enabled=False,
    ttl_s=1.0,
    default_ttl_s=2.0,
    min_ttl_s=3.0,
    max_ttl_s=4.0,
    status_ttl=((404, 5.0),),
    stale_while_revalidate_s=6.5,
    stale_if_error_s=7.5,
    query="none",
    query_keep=("a",),
    query_drop=("b",),
    query_sort=True,
    key_headers=("c",),
    key_cookies=("d",),
    strip_cookies=True,
    bypass_headers=("e",),
    bypass_cookies=("f",),
    min_uses=2,
    max_object=8,
)


def test_a_route_without_rules_has_no_policy():
    assert policy_of(RouteCache()) is None


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(RouteCache)])
def test_every_setting_reaches_the_policy(name):
    """None is forgotten on the way: each makes a policy that differs from one without rules."""
    plain = policy_of(RouteCache(query_sort=name != "query_sort"))
    policy = policy_of(dataclasses.replace(RouteCache(query_sort=name != "query_sort"), **{name: getattr(OTHER, name)}))

    assert policy is not None
    assert described(policy) != described(plain)


def described(policy):
    shown = {name: getattr(policy, name) for name in policy.__slots__ if hasattr(policy, name)} if policy else {}
    return {name: value.__self__.pattern if callable(value) else value for name, value in shown.items()}


def test_a_route_keeps_its_policy():
    ruled, plain = Route("a.example", "/", "shop", RouteCache(query="none")), Route(None, "/", "shop")
    steering = Steering([ruled, plain])

    assert steering.find(b"a.example", b"/x") is ruled
    assert steering.policy(ruled) is steering.policy(ruled)
    assert steering.policy(ruled) is not None
    assert steering.policy(plain) is None


def test_an_address_has_the_key_of_its_own_route():
    steering = Steering(
        [
            Route("a.example", "/", "shop", RouteCache(query="none")),
            Route("a.example", "/b", "shop", RouteCache(query_drop=("x",), key_headers=("y",))),
            Route("b.example", "/", "shop"),
        ]
    )
    plain = key_of(b"https", b"a.example:8443", b"/")

    assert plain == steering.key_for(b"https", b"a.example:8443", b"/?q")
    under = {steering.key_for(b"https", b"a.example", target) for target in (b"/b?x", b"/b?x=1", b"/b")}
    assert 1 == len(under)
    assert key_of(b"https", b"a.example", b"/b") not in under
    assert key_of(b"https", b"b.example", b"/?x") == steering.key_for(b"https", b"b.example", b"/?x")
    assert key_of(b"https", b"c.example", b"/?x") == steering.key_for(b"https", b"c.example", b"/?x")
