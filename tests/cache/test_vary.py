"""Selecting fields: which names, and when two values are one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.vary import STAR, normalise, vary_names
from tests.cache.kit import ask


@pytest.mark.parametrize("value", [b"*", b"*, *", b", *", b"*, Foo", b"Foo, *", b"foo,*,bar"])
def test_a_star_anywhere_in_the_list_is_a_star(value):
    assert vary_names(value) is STAR


def test_names_are_sorted_lower_case_and_without_repeats():
    assert vary_names(b"Foo, bar,,FOO ") == (b"bar", b"foo")
    assert vary_names(None) == vary_names(b"") == ()


def test_too_many_names_are_a_star():
    assert vary_names(b",".join(b"x%d" % n for n in range(40))) is STAR


SAME = [
    ("foo", "1, 2", "1,2"),
    ("foo", "1 ,\t2", "1,2"),
    ("accept-language", "en, de", "de, en"),
    ("accept-language", "en, de", "eN, De"),
    ("accept-language", "en, de", " en ,   de"),
    ("accept-language", "en;q=0.50", "en ; q=0.5"),
    ("accept-language", "en;q=1.0", "en"),
    ("accept", "text/html;level=1;q=0.5, */*", "*/*, Text/HTML; level=1; Q=0.500"),
]
DIFFERENT = [
    ("foo", "1", "2"),
    ("foo", "1, 2", "2, 1"),
    ("foo", "1", None),
    ("foo", "", None),
    ("foo", "a b", "ab"),
    ("foo", '"a, b"', '"a,b"'),
    ("accept-language", "en, de", "fr;q=0.5, de;q=1.0"),
    ("accept-language", "en;q=0.5, de", "en, de;q=0.5"),
    ("accept", "text/html;profile=A", "text/html;profile=a"),
    ("cookie", "a=1", "a=2"),
    ("cookie", "x" * 200, "x" * 201),
]


@pytest.mark.parametrize(("name", "one", "other"), SAME)
def test_values_that_differ_in_spelling_only_are_the_same(name, one, other):
    assert normalise(name.encode(), one.encode()) == normalise(name.encode(), other.encode())


@pytest.mark.parametrize(("name", "one", "other"), DIFFERENT)
def test_values_that_may_mean_different_things_are_different(name, one, other):
    left, right = (None if value is None else value.encode() for value in (one, other))

    assert normalise(name.encode(), left) != normalise(name.encode(), right)


def test_a_long_value_is_kept_as_a_digest():
    kept = normalise(b"cookie", b"x" * 5000)

    assert kept is not None
    assert len(kept) == 17
    assert kept[:1] == b"\0"


def test_accept_encoding_does_not_select_where_we_encode():
    one, other = (ask(fields={"accept-encoding": value}) for value in ("gzip", "br"))

    assert one.select((b"accept-encoding",)) == other.select((b"accept-encoding",)) == ((b"accept-encoding", None),)


def test_accept_encoding_selects_where_the_origin_hears_it():
    one, other = (ask(fields={"accept-encoding": value}, preference=()) for value in ("gzip", "br"))

    assert one.select((b"accept-encoding",)) != other.select((b"accept-encoding",))


def test_host_selects_by_the_authority():
    assert ask().select((b"host",)) == ((b"host", b"shop.example"),)


@given(st.sampled_from([b"accept", b"accept-language", b"x"]), st.binary())
def test_any_value_is_normalised_and_that_changes_nothing_more(name, value):
    once = normalise(name, value)

    assert once is not None
    assert normalise(name, once) == once


@given(st.binary())
def test_any_vary_gives_names(value):
    vary_names(value)


@pytest.mark.parametrize("value", [b"X-Forwarded-For", b"accept, forwarded", b"X-Request-ID"])
def test_what_varies_by_who_asks_is_for_nobody_else(value):
    """The origin heard what we wrote; comparing what clients wrote would give one client's page to all."""
    assert vary_names(value) is STAR
