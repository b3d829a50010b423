"""A Range gives spans inside the representation, a refusal, or is as if it had not been sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.ranges import MOST_RANGES, UNSATISFIABLE, first_span, parse_range


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-9", [(0, 10)]),
        (b"bytes=0-", [(0, 10)]),
        (b"bytes=5-100", [(5, 10)]),
        (b"bytes=-3", [(7, 10)]),
        (b"bytes=-30", [(0, 10)]),
        (b"BYTES=1-2", [(1, 3)]),
        (b"bytes= 1-2 , 5-6", [(1, 3), (5, 7)]),
        (b"bytes=5-6,1-2", [(5, 7), (1, 3)]),  # in the order asked
        (b"bytes=,1-2,,", [(1, 3)]),
        (b"bytes=0-1,20-30", [(0, 2)]),
        (b"bytes=0-1,2-3", [(0, 4)]),  # they touch
        (b"bytes=0-5,3-8", [(0, 9)]),
        (b"bytes=2-6,0-2,8-9,6-8", [(0, 10)]),
        (b"bytes=8-9,0-1,4-5,0-5", [(8, 10), (0, 6)]),
    ],
)
def test_spans_are_read(value: bytes, expected: list) -> None:
    assert expected == parse_range(value, 10)


@pytest.mark.parametrize("value", [b"bytes=10-", b"bytes=10-20,30-40", b"bytes=-0"])
def test_nothing_inside_is_unsatisfiable(value: bytes) -> None:
    assert parse_range(value, 10) is UNSATISFIABLE


@pytest.mark.parametrize(
    "value",
    [None, b"", b"bytes", b"bytes=", b"bytes=,", b"bytes=-", b"bytes=a-b", b"bytes=3-1", b"bytes=0-1,3-1", b"items=0-1", b"bytes=1", b"bytes=0-1;",
     b"bytes=0 -1", b"bytes=--1", b"bytes=+1-2", b"bytes=1-2-3", b"bytes =0-1", b"bytes=" + b"9" * 30 + b"-"],
)  # fmt: skip
def test_what_cannot_be_read_is_ignored(value: bytes | None) -> None:
    assert parse_range(value, 10) is None


def test_a_swarm_of_ranges_is_ignored() -> None:
    """RFC 9110 §17.15: many small or overlapping ranges are an attack on the server."""
    swarm = [b"%d-%d" % (at * 2, at * 2) for at in range(MOST_RANGES + 1)]

    assert parse_range(b"bytes=" + b",".join(swarm), 1000) is None
    assert len(parse_range(b"bytes=" + b",".join(swarm[1:]), 1000)) == MOST_RANGES


def test_of_nothing_there_is_no_part() -> None:
    assert parse_range(b"bytes=0-", 0) is UNSATISFIABLE
    assert parse_range(b"bytes=-5", 0) is None


@pytest.mark.parametrize(
    ("value", "span"),
    [
        (b"bytes=0-9", (0, 10)),
        (b"bytes=5-", (5, None)),
        (b"bytes=-5", (0, 1)),
        (b"bytes= ,7-8, 0-1", (7, 9)),
        (b"bytes=9-8", None),
        (b"bytes=x", None),
        (b"items=0-9", None),
        (b"", None),
    ],
)
def test_what_a_range_begins_with_is_known_before_the_length(value, span):
    assert span == first_span(value)


@given(st.binary(max_size=30) | st.from_regex(rb"bytes=[0-9,\- ]{0,20}", fullmatch=True), st.integers(1, 1000))
def test_what_can_be_read_with_a_length_begins_with_something_without_one(value, length):
    if isinstance(parse_range(value, length), list):
        span = first_span(value)

        assert span is not None
        assert span[1] is None or span[0] < span[1]
