"""From a route's settings to the cache's terms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge.cache.key import key_of
from edge.config import load
from edge.config.tree import Route, RouteCache, Share
from edge.exchange.recognise import recognise
from edge.exchange.steering import Steering, policy_of
from edge.message.head import RequestHead
from tests.exchange.kit import door

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
    match_type=True,
    min_uses=2,
    max_object=8,
    parts=False,
    on_leave="stop",
    finish_left=9,
    finish_percent=10,
)


def head(host, target, method="GET", **fields):
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return RequestHead(method.encode(), b"https", host.encode(), target.encode(), named)


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

    assert (ruled,) == steering.find(head("a.example", "/x"))
    assert steering.ways(ruled).all[0].policy is not None
    assert steering.ways(plain).all[0].policy is None


def test_an_address_has_a_key_for_each_way_it_may_lead():
    beta, post, rest = (
        Route(None, "/", "shop", headers=(("x-beta", "1"),)),
        Route(None, "/", "shop", methods=("POST",)),
        Route(None, "/", split=(Share("shop"), Share("canary"))),
    )
    steering = Steering([rest, beta, post])
    keys = steering.keys_for(b"https", b"a.example", b"/x")

    assert 4 == len(set(keys))
    assert {
        way.policy.key(b"https", b"a.example", b"/x")
        for route in (beta, post, rest)
        for way in steering.ways(route).all
    } == set(keys)
    assert keys == Steering([post, beta, rest]).keys_for(b"https", b"a.example", b"/x"), "they outlive a reload"


@pytest.mark.parametrize("target", ["/a/../b", "/a%2Fx", "//a", "/b;/../a"])
def test_a_path_whose_readings_lead_to_different_routes_leads_nowhere(target):
    steering = Steering([Route(None, "/", "shop"), Route(None, "/a", "shop")])

    assert steering.find(head("h", target)) is None
    assert steering.find(head("h", "/b/../c")) is not None


@pytest.mark.parametrize("routes", [[Route(None, "/", "shop")], [Route(None, "/", "shop"), Route(None, "/a", "shop")]])
def test_a_path_with_a_nul_leads_nowhere(routes):
    """Whatever the routes: what is behind us may end it there, and it is an address of its own to us."""
    steering = Steering(routes)

    assert [None, None] == [steering.find(head("h", target)) for target in ("/a%00", "/%00/a?x")]
    assert all(steering.find(head("h", target)) is not None for target in ("/a", "/a?x=%00", "/a%2500", "/a%01"))


def test_an_address_has_the_key_of_its_own_route():
    steering = Steering(
        [
            Route("a.example", "/", "shop", RouteCache(query="none")),
            Route("a.example", "/b", "shop", RouteCache(query_drop=("x",), key_headers=("y",))),
            Route("b.example", "/", "shop"),
        ]
    )
    plain = key_of(b"https", b"a.example:8443", b"/")

    def one(authority, target):
        (key,) = steering.keys_for(b"https", authority, target)
        return key

    assert plain == one(b"a.example:8443", b"/?q")
    under = {one(b"a.example", target) for target in (b"/b?x", b"/b?x=1", b"/b")}
    assert 1 == len(under)
    assert key_of(b"https", b"a.example", b"/b") not in under
    assert key_of(b"https", b"b.example", b"/?x") == one(b"b.example", b"/?x")
    assert key_of(b"https", b"c.example", b"/?x") == one(b"c.example", b"/?x")


# -- the example -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "target", "fields", "client", "expected"),
    [
        ("shop.example", "/", {"x_next": "1"}, "", "web-next"),
        ("shop.example", "/api/v3/x?y", {}, "", "api"),
        ("shop.example", "/api/v1/x", {}, "", 410),
        ("shop.example", "/admin/x", {}, "10.1.2.3", "web"),
        ("shop.example", "/admin/x", {}, "192.0.2.1", 404),
        ("www.shop.example", "/a?b", {}, "", 301),
        ("other.example", "/", {}, "", 404),
        ("shop.example", "/x/..%2fadmin", {}, "10.1.2.3", 400),
    ],
)
def test_the_gateway_in_conf_leads_where_it_says(host, target, fields, client, expected):
    config = load(Path(__file__).parents[2] / "conf/gateway.toml").config
    assert config is not None
    steering = Steering(config.routes, config.origins, config.error_pages, config.limits.body_bytes)
    known = recognise(head(host, target, **fields), door(), steering, (), 443)
    known = known if known.pick is None else known.pick(client)

    if isinstance(expected, int):
        assert known.answer is not None
        assert expected == known.answer(0.0, client).head.status
    else:
        assert known.answer is None
        assert known.origin is not None
        assert expected == known.origin.name
    if expected == "api":
        assert b"/v3/x?y" == known.asked.target


def test_one_visitor_in_twenty_gets_the_next_version():
    """By the weights of the gateway in conf: 5 % of 4000 are 200, give or take 41 (three standard deviations)."""
    config = load(Path(__file__).parents[2] / "conf/gateway.toml").config
    assert config is not None
    steering = Steering(config.routes, config.origins)
    ways = [
        recognise(head("shop.example", "/", cookie=f"visitor={number}"), door(), steering, (), 443).origin.name
        for number in range(4000)
    ]

    assert 150 < ways.count("web-next") < 250
