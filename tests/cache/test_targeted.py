"""CDN-Cache-Control as a structured dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.targeted import parse_dictionary, parse_targeted
from edge.message.cache_control import FOREVER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"max-age=60", {b"max-age": b"60"}),
        (b"foo, max-age=60", {b"foo": None, b"max-age": b"60"}),
        (b" a=1 ,\tb=?0 ", {b"a": b"1", b"b": b"?0"}),
        (b"a=1, a=2", {b"a": b"2"}),
        (b'a="x, y";p=1;q, b', {b"a": b'"x, y"', b"b": None}),
        (b"a=(1 2);x, b=()", {b"a": b"(1 2)", b"b": b"()"}),
        (b"a=:aGk=:, b=@12, c=tok/en, d=-1.5", {b"a": b":aGk=:", b"b": b"@12", b"c": b"tok/en", b"d": b"-1.5"}),
    ],
)
def test_a_dictionary_is_parsed(value, expected):
    assert parse_dictionary(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",",
        b"a,",
        b"a,,b",
        b"max-age=10000, &&&&&",
        b"MaX-aGe=3600",
        b"max-age =1",
        b"max-age= 1",
        b"a b",
        b"a=",
        b'a="x',
        b"a=1.2345",
        b"a=1234567890123456",
        b"a=1x",
        b"a=(1",
        b"a=1 b=2",
        b'a="\xc3"',
        b"a=1;P=1",
    ],
)
def test_what_is_no_dictionary_says_nothing(value):
    assert parse_dictionary(value) is None
    assert parse_targeted(value) is None


def test_an_absent_field_says_nothing():
    assert parse_targeted(None) is None


def test_directives_are_read():
    said = parse_targeted(
        b'max-age=60, s-maxage=99999999999, stale-while-revalidate=5, no-cache="A, b", public, private=?0'
    )

    assert said is not None
    assert (said.max_age, said.s_maxage, said.stale_while_revalidate) == (60, FOREVER, 5)
    assert said.no_cache_fields == (b"a", b"b")
    assert (said.no_cache, said.public, said.private) == (False, True, False)


@pytest.mark.parametrize("value", [b'max-age="10000"', b"max-age", b"max-age=-1", b"max-age=1.5", b"max-age=(1)"])
def test_a_lifetime_of_the_wrong_type_is_zero(value):
    said = parse_targeted(value)

    assert said is not None
    assert said.max_age == 0


def test_a_permission_of_the_wrong_type_is_not_given_and_a_restriction_is():
    said = parse_targeted(b'public="yes", stale-if-error="60", no-store=1, private=1, must-revalidate=?0')

    assert said is not None
    assert (said.public, said.stale_if_error, said.no_store, said.private) == (False, None, True, True)
    assert not said.must_revalidate


@given(st.binary(max_size=60))
def test_any_bytes_are_a_dictionary_or_not(value):
    parse_targeted(value)
    parse_targeted(b"a=" + value)
