"""Groups that an origin's unsafe methods make invalid: RFC 9875."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.groups import MOST_GROUPS, groups_of
from edge.cache.purge import Purge, Standing, What
from edge.cache.refresh import invalidated_groups
from tests.cache.kit import NOW, ask, reply, stored


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (b'"a"', (b"a",)),
        (b' "a" ,"b",\t"c d"', (b"a", b"b", b"c d")),
        (b'"a";x=1;y="q", "b";z', (b"a", b"b")),
        (b'"a, b", "\\"c\\\\"', (b"a, b", b'"c\\')),
        (b'""', (b"",)),
        (b"a", ()),
        (b'"a", b', ()),
        (b'"a",', ()),
        (b'"a" "b"', ()),
        (b'("a" "b")', ()),
        (b'"a', ()),
        (b"", ()),
        (None, ()),
    ],
)
def test_groups_are_a_list_of_strings_or_nothing(value, groups):
    assert groups == groups_of(value)


def test_as_many_as_the_standard_wants_are_looked_at():
    many = [b"%032d" % number for number in range(MOST_GROUPS + 1)]

    assert tuple(many[:-1]) == groups_of(b", ".join(b'"%b"' % group for group in many))


@given(st.binary(max_size=200))
def test_no_value_makes_it_raise(value):
    assert len(groups_of(value)) <= MOST_GROUPS


def hits(text: bytes, fields, asked=None) -> bool:
    copy = stored({"cache-control": "max-age=60", **fields}, asked=asked)
    return Standing(b"", [Purge(What.GROUP, text, NOW + 1)]).weighed([copy]) == []


def test_a_group_is_one_origins():
    text = b"https://shop.example\0a"

    assert hits(text, {"cache-groups": '"b", "a"'})
    assert hits(text, {"cache-groups": '"a"'}, ask("/other?q"))
    assert not hits(text, {"cache-groups": '"A"'})
    assert not hits(text, {"cache-tag": "a"})
    assert not hits(b"http://shop.example\0a", {"cache-groups": '"a"'})
    assert not hits(b"https://shop.example:8443\0a", {"cache-groups": '"a"'})


@pytest.mark.parametrize(
    ("method", "status", "groups"),
    [
        ("POST", 200, [b"https://shop.example\0a", b"https://shop.example\0b"]),
        ("DELETE", 303, [b"https://shop.example\0a", b"https://shop.example\0b"]),
        ("POST", 404, []),
        ("GET", 200, []),
        ("OPTIONS", 200, []),
    ],
)
def test_only_an_unsafe_method_that_succeeds_takes_groups_back(method, status, groups):
    told = reply(status, {"cache-group-invalidation": '"a", "b"'})

    assert groups == invalidated_groups(ask(method=method), told)
