"""What is never taken is found, and nothing is called so that is."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.route import RouteTable
from edge.policy.shadow import Shadow, covers, may_meet, shadows
from tests.cache import kit
from tests.policy.test_route import Route

TEN, TEN_ONE, SIX = ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("2001:db8::/32")


def test_routes_for_different_hosts_or_paths_never_shadow_each_other():
    routes = [
        Route(),
        Route("h"),
        Route("*.h"),
        Route("h", "/a"),
        Route("h", path_exact="/a"),
        Route("h", path_exact="/a/"),
    ]

    assert shadows(routes) == []


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {}),
        ({"path": "/a"}, {"path": "/a/"}),
        ({"methods": ("GET", "PUT")}, {"methods": ("PUT",)}),
        ({"headers": (("a", "*"),)}, {"headers": (("a", "1"),)}),
        ({"headers": (("a", "~[0-9]"),)}, {"headers": (("a", "1"),)}),
        ({"query": (("a", "*"),)}, {"query": (("a", "~x"),)}),
        ({"networks": (TEN, SIX)}, {"networks": (TEN_ONE,)}),
        ({"path_pattern": "/x"}, {"path_pattern": "/x"}),
        ({"methods": ("GET",), "order": -1}, {"methods": ("GET",), "headers": ()}),
    ],
)
def test_one_that_another_goes_before_and_covers_is_never_taken(wide, narrow):
    wide, narrow = Route(**wide), Route(**narrow)

    assert covers(wide, narrow)
    assert [Shadow(1, 0, never=True)] == shadows([wide, narrow])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"methods": ("GET",)}, {"methods": ("GET", "PUT")}),
        ({"headers": (("a", "1"),)}, {"headers": (("b", "1"),)}),
        ({"headers": (("a", "1"),)}, {"headers": (("a", "*"),)}),
        ({"headers": (("a", "~x"),)}, {"headers": (("a", "~y"),)}),
        ({"headers": (("a", "1"),)}, {"headers": (("a", "~[0-9]"),)}),
        ({"path_pattern": "/x"}, {"path_pattern": "/y"}),
        ({"networks": (TEN_ONE,)}, {"networks": (TEN,)}),
    ],
)
def test_two_that_are_equally_specific_and_may_meet_are_alike(one, other):
    one, other = Route(**one), Route(**other)

    assert may_meet(one, other)
    assert [Shadow(1, 0, never=False)] == shadows([one, other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"methods": ("GET",)}, {"methods": ("PUT",)}),
        ({"headers": (("a", "1"),)}, {"headers": (("a", "2"),)}),
        ({"headers": (("a", "~[0-9]"),)}, {"headers": (("a", "x"),)}),
        ({"query": (("a", "1"),)}, {"query": (("a", "2"),)}),
        ({"networks": (TEN,)}, {"networks": (SIX,)}),
        ({"methods": ("GET",)}, {"headers": (("a", "1"),)}),
        ({"order": 1, "methods": ("GET", "PUT")}, {"methods": ("PUT",)}),
    ],
)
def test_two_that_cannot_meet_or_are_not_equal_are_not_mentioned(one, other):
    assert shadows([Route(**one), Route(**other)]) == []


_texts = st.sampled_from(["*", "1", "2", "~[12]"])
_conditions = st.lists(st.tuples(st.sampled_from(["a", "b"]), _texts), max_size=2, unique_by=lambda pair: pair[0]).map(
    tuple
)
_methods = st.sampled_from([(), ("GET",), ("POST",), ("GET", "POST")])
_routes = st.builds(Route, methods=_methods, headers=_conditions, order=st.sampled_from([0, 1]))


@given(st.lists(_routes, min_size=1, max_size=5))
def test_what_is_said_never_to_be_taken_never_is(routes):
    """And what is not said to be alike to one before is taken alone, or by rank: tried with every request there can be."""
    found = shadows(routes)
    never = {shadow.at for shadow in found if shadow.never}
    taken = set()
    values = [None, "1", "2", "3"]
    for method in ("GET", "POST"):
        for a in values:
            for b in values:
                fields = {name: value for name, value in (("a", a), ("b", b)) if value}
                for route in RouteTable(routes).find(b"h", b"/", kit.head("/", method, fields)):
                    taken.add(next(at for at, each in enumerate(routes) if each is route))

    assert never.isdisjoint(taken)
