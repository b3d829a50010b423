"""Dates are read in three forms and written in one."""

from __future__ import annotations

import pytest

from edge.message.dates import format_date, parse_date

THE_DATE = 784111777.0  # RFC 9110's own example


@pytest.mark.parametrize(
    "value",
    [
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Mon, 06 Nov 1994 08:49:37 GMT",  # no decision rests on the day's name
    ],
)
def test_every_form_names_the_same_second(value: bytes) -> None:
    assert parse_date(value) == THE_DATE


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"0",
        b"-1",
        b"tomorrow",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 CET",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun,  06 Nov 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun, 30 Feb 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:49:37 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06-Nov-1994 08:49:37 GMT",
        b"Sun Nov 6 08:49:37 1994",
        b" Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT and some more of it",
        b"Sun, \xb2\xb2 Nov 1994 08:49:37 GMT",
    ],
)
def test_anything_else_is_no_date(value: bytes | None) -> None:
    assert parse_date(value) is None


def test_a_leap_second_is_a_second() -> None:
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == parse_date(b"Sun, 01 Jan 2017 00:00:00 GMT")


def test_years_of_two_digits_turn_at_seventy() -> None:
    assert parse_date(b"Thursday, 01-Jan-70 00:00:00 GMT") == 0.0
    assert parse_date(b"Tuesday, 01-Jan-69 00:00:00 GMT") == parse_date(b"Tue, 01 Jan 2069 00:00:00 GMT")


def test_far_dates_are_dates() -> None:
    assert parse_date(b"Fri, 31 Dec 9999 23:59:59 GMT") == 253402300799.0
    assert parse_date(b"Mon, 01 Jan 0001 00:00:00 GMT") == -62135596800.0


@pytest.mark.parametrize("second", [0, 1, THE_DATE, 951782400, 1700000000, 4102444800])
def test_a_date_that_is_written_is_read_back(second: float) -> None:
    assert parse_date(format_date(second)) == second


def test_the_fraction_is_dropped_and_a_second_remembered() -> None:
    assert format_date(THE_DATE) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert format_date(THE_DATE + 0.9) is format_date(THE_DATE)
