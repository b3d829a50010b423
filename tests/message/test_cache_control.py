"""Cache-Control is read towards asking the origin whenever it can be read two ways."""

from __future__ import annotations

from dataclasses import asdict
from time import process_time

import pytest

from edge.message.cache_control import FOREVER, NOTHING_SAID, CacheControl, delta_seconds, parse_cache_control


def said(value: bytes | None) -> dict:
    """What differs from nothing."""
    nothing = asdict(NOTHING_SAID)
    return {name: found for name, found in asdict(parse_cache_control(value)).items() if found != nothing[name]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        (b"", {}),
        (b"max-age=60", {"max_age": 60}),
        (b"MAX-AGE=60", {"max_age": 60}),
        (b'max-age="60"', {"max_age": 60}),
        (b"max-age=0060", {"max_age": 60}),
        (b"s-maxage=5, max-age=9", {"s_maxage": 5, "max_age": 9}),
        (b"no-store", {"no_store": True}),
        (b"no-store=1", {"no_store": True}),
        (b"no-cache", {"no_cache": True}),
        (b"private, public", {"private": True, "public": True}),
        (b"must-revalidate,proxy-revalidate", {"must_revalidate": True, "proxy_revalidate": True}),
        (b"no-transform, only-if-cached", {"no_transform": True, "only_if_cached": True}),
        (b"immutable, must-understand", {"immutable": True, "must_understand": True}),
        (b"stale-while-revalidate=7, stale-if-error=8", {"stale_while_revalidate": 7, "stale_if_error": 8}),
        (b"min-fresh=3", {"min_fresh": 3}),
        (b"max-stale=4", {"max_stale": 4}),
        (b"max-stale", {"max_stale": FOREVER}),
        (b",, ,max-age=1 ,", {"max_age": 1}),
        (b"unknown, x=y, max-age=1", {"max_age": 1}),
    ],
)
def test_each_directive_is_read(value: bytes | None, expected: dict) -> None:
    assert expected == said(value)


@pytest.mark.parametrize(
    "value", [b"-1", b"1.5", b"abc", b"'60'", b"", b" 60", b"60 s", b"60;x", b"0x10", b'"60', b"\xb2"]
)
def test_a_freshness_that_cannot_be_read_is_none(value: bytes) -> None:
    """RFC 9111 §4.2.1: consider it stale; the heuristic must not take over."""
    assert parse_cache_control(b"max-age=" + value).max_age == 0
    assert parse_cache_control(b"s-maxage=" + value).s_maxage == 0


@pytest.mark.parametrize("value", [b"max-age", b"max-age =60", b"max-age= 60"])
def test_a_freshness_without_a_number_is_none(value: bytes) -> None:
    assert parse_cache_control(value).max_age == 0


@pytest.mark.parametrize("name", [b"max-stale", b"stale-while-revalidate", b"stale-if-error"])
def test_a_permission_that_cannot_be_read_is_not_given(name: bytes) -> None:
    assert {} == said(name + b"=x")


def test_a_demand_that_cannot_be_read_is_never_met() -> None:
    assert parse_cache_control(b"min-fresh=x").min_fresh == FOREVER


def test_of_two_numbers_the_first_counts() -> None:
    """RFC 9111 §4.2.1 allows that or staleness; the first is what the sender's own program meant to say."""
    assert {"max_age": 1} == said(b"max-age=1, max-age=100")
    assert {"max_age": 0} == said(b"max-age=x, max-age=100")


@pytest.mark.parametrize("digits", [b"2147483648", b"99999999999", b"9" * 5000])
def test_a_number_beyond_any_life_is_forever(digits: bytes) -> None:
    assert parse_cache_control(b"max-age=" + digits).max_age == FOREVER


def test_leading_zeros_do_not_make_a_number_large() -> None:
    assert delta_seconds(b"0" * 50 + b"7") == 7
    assert delta_seconds(b"0" * 50) == 0
    assert delta_seconds(b"") is None


def test_names_restrict_only_those_fields() -> None:
    found = parse_cache_control(b'no-cache="Set-Cookie, X-A", private=x-b')

    assert (b"set-cookie", b"x-a") == found.no_cache_fields
    assert (b"x-b",) == found.private_fields
    assert not found.no_cache
    assert not found.private


@pytest.mark.parametrize("value", [b'private=""', b"private=", b'private=" ,"', b'private="a" b', b'private="a'])
def test_a_restriction_whose_names_cannot_be_read_is_whole(value: bytes) -> None:
    assert parse_cache_control(value).private


def test_quoted_commas_hide_no_directive_and_make_none() -> None:
    assert {"s_maxage": 1} == said(b'x="max-age=10, no-store", s-maxage=1')
    assert {"no_store": True} == said(b'x="never closed, no-store')


def test_equal_values_are_read_once() -> None:
    assert parse_cache_control(b"max-age=77") is parse_cache_control(b"max-age=77")
    assert isinstance(parse_cache_control(b"max-age=77"), CacheControl)


@pytest.mark.parametrize(
    "value",
    [
        b", " * 16_000 + b";",
        b" " * 32_000 + b";",
        b'a="\\",' * 8_000,
        b'a="' + b'\\"' * 16_000,
        b'="' * 16_000,
        b"a=" * 16_000,
    ],
)
def test_no_value_costs_more_than_its_length(value: bytes) -> None:
    start = process_time()
    parse_cache_control(value)

    assert process_time() - start < 0.1
