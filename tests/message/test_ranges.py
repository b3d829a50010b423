"""A Range gives spans inside the representation, a refusal, or is as if it had not been sent."""

from __future__ import annotations

import pytest

from edge.message.ranges import MOST_RANGES, UNSATISFIABLE, parse_range


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
