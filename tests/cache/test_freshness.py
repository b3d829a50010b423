"""Lifetimes and ages (RFC 9111 §4.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.freshness import Basis, age_value, control_of, gmt_date, initial_age, lifetime
from edge.message.cache_control import FOREVER
from edge.message.head import index
from tests.cache.kit import NOW, fields_of

DAY = 86400


def life(fields, status=200):
    found = index(fields_of(fields))
    cc, is_targeted = control_of(found)
    return lifetime(found, cc, status, NOW, is_targeted=is_targeted)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": "max-age=60, s-maxage=5"}, 5),
        ({"cache-control": "s-maxage=5, max-age=60"}, 5),
        ([("cache-control", "max-age=3600"), ("cache-control", "s-maxage=1")], 1),
        ({"cache-control": "max-age=99999999999"}, FOREVER),
        ({"cache-control": "max-age=003600"}, 3600),
        ({"cache-control": "MaX-aGe=60"}, 60),
        ({"cache-control": 'extension="max-age=3600", max-age=1'}, 1),
        ({"cache-control": "max-age='3600'"}, 0),
        ({"cache-control": "max-age=-1"}, 0),
        ({"cache-control": "max-age=60", "expires": -100, "date": 0}, 60),
        ({"cache-control": "max-age=0", "expires": 100, "date": 0}, 0),
        ({"expires": 100, "date": 0}, 100),
        ({"expires": 100, "date": 40}, 60),
        ({"expires": 100}, 100),
        ({"expires": 100, "date": "foo"}, 100),
        ({"expires": 300, "date": 400}, 0),
        ({"expires": "0", "date": 0}, 0),
        ({"expires": "Thu, 18 Aug 2050 02:01:18 UTC", "date": 0}, 0),
        ({"expires": "Thu, 18 Aug 2050 02:01:18 AEST", "date": 0}, 0),
        ([("expires", 100), ("expires", 200), ("date", 0)], 0),
        ({"cdn-cache-control": "max-age=5", "cache-control": "max-age=60"}, 5),
        ({"cdn-cache-control": "max-age=5", "expires": 100}, 5),
        ({"cdn-cache-control": "max-age=5, &&", "cache-control": "max-age=60"}, 60),
        ({"cdn-cache-control": 'max-age="5"', "cache-control": "max-age=60"}, 0),
    ],
)
def test_an_explicit_lifetime_is_the_first_that_is_given(fields, expected):
    assert life(fields) == (expected, Basis.EXPLICIT)


def test_expiry_dates_are_read_without_regard_to_case():
    seconds, basis = life({"expires": "THU, 18 AUG 2050 02:01:18 gMT", "date": 0})

    assert seconds > 0
    assert basis is Basis.EXPLICIT


def test_a_targeted_field_silences_expires_even_if_it_gives_no_lifetime():
    assert life({"cdn-cache-control": "foo", "expires": 100}) == (0, Basis.NONE)


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        ({"last-modified": -DAY, "date": 0}, 200, (DAY / 10, Basis.HEURISTIC)),
        ({"last-modified": -1000 * DAY, "date": 0}, 200, (DAY, Basis.HEURISTIC)),
        ({"last-modified": 100, "date": 0}, 200, (0, Basis.HEURISTIC)),
        ({"last-modified": -DAY}, 404, (DAY / 10, Basis.HEURISTIC)),
        ({"last-modified": -DAY}, 403, (0, Basis.NONE)),
        ({"last-modified": -DAY}, 599, (0, Basis.NONE)),
        ({"last-modified": -DAY, "cache-control": "public"}, 599, (DAY / 10, Basis.HEURISTIC)),
        ({"last-modified": "junk"}, 200, (0, Basis.NONE)),
        ({}, 200, (0, Basis.NONE)),
    ],
)
def test_a_guess_is_a_tenth_of_the_time_unmodified_for_statuses_that_allow_it(fields, status, expected):
    assert life(fields, status) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 0),
        (b"7200", 7200),
        (b"7200, 0", 7200),
        (b"0, 7200", 0),
        (b"abc", 0),
        (b"-7200", 0),
        (b"7200.0", 0),
        (b"2147483649", FOREVER),
        (b"7200;foo=bar", 0),
        (b"", 0),
        (b" 5 , 6", 5),
    ],
)
def test_age_is_its_first_member_if_that_is_a_number(value, expected):
    assert age_value(value) == expected


@pytest.mark.parametrize(
    ("fields", "sent_before", "expected"),
    [
        ({}, 0, 0),
        ({"date": 0}, 0, 0),
        ({"date": -30}, 0, 30),
        ({"date": 30}, 0, 0),
        ({"age": "30", "date": 0}, 0, 30),
        ({"age": "30", "date": -60}, 0, 60),
        ({"age": "30", "date": -10}, 4, 34),
        ({"date": "junk"}, 4, 4),
        ({}, -5, 0),
    ],
)
def test_a_reply_is_as_old_as_its_date_or_its_age_says_whichever_is_more(fields, sent_before, expected):
    assert initial_age(index(fields_of(fields)), NOW - sent_before, NOW) == expected


def test_the_fraction_of_the_date_s_second_is_no_age():
    found = index(fields_of({"date": 0}))

    assert initial_age(found, NOW + 0.9, NOW + 0.9) == 0


def test_no_zone_but_gmt_reckons_expiry():
    assert gmt_date(b"Thu, 18 Aug 2050 02:01:18 UTC") is None
    assert gmt_date(b"Thu Aug  8 02:01:18 2050") is not None


@given(
    st.dictionaries(
        st.sampled_from([b"cache-control", b"cdn-cache-control", b"expires", b"date", b"age", b"last-modified"]),
        st.binary(max_size=40),
    )
)
def test_any_fields_give_a_lifetime_and_an_age(found):
    cc, is_targeted = control_of(found)
    seconds, _ = lifetime(found, cc, 200, NOW, is_targeted=is_targeted)

    assert 0 <= seconds <= max(FOREVER, 10**12)
    assert initial_age(found, NOW, NOW) >= 0
