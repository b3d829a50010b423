"""Which bytes are there, against a set that simply holds them all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.spans import (
    MOST_SLICES,
    RUN_SLICES,
    SLICE,
    added,
    count,
    first_ask,
    gap_around,
    run_end,
    slice_bytes,
    wanted,
)

LENGTH = 60
EACH = 8
CHUNK = 4080

pieces = st.lists(st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(sorted), max_size=12)


def spans_of(parts) -> tuple[tuple[tuple[int, int], ...], set[int]]:
    """The spans, and every byte of them."""
    spans, there = (), set()
    for start, end in parts:
        spans = added(spans, start, end)
        there |= set(range(start, end))
    return spans, there


@given(pieces)
def test_spans_hold_what_was_added_ascend_and_do_not_touch(parts):
    spans, there = spans_of(parts)

    assert there == {at for start, end in spans for at in range(start, end)}
    assert len(there) == count(spans)
    assert all(start < end for start, end in spans)
    assert all(one[1] < other[0] for one, other in pairwise(spans))


@given(pieces, st.integers(0, LENGTH - 1))
def test_a_byte_is_in_a_run_or_in_a_gap(parts, at):
    spans, there = spans_of(parts)
    end = run_end(spans, at, LENGTH)

    if at in there:
        assert set(range(at, end)) <= there
        assert end not in there
    else:
        assert end == at
        start, stop = gap_around(spans, at, LENGTH)
        assert start <= at < stop
        assert not set(range(start, stop)) & there
        assert start == 0 or start - 1 in there
        assert stop == LENGTH or stop in there


@given(pieces, st.integers(0, LENGTH - 1), st.integers(1, LENGTH))
def test_what_is_asked_for_is_missing_holds_what_is_wanted_and_is_bounded(parts, at, more):
    spans, there = spans_of(parts)
    if at in there:
        return
    end = min(LENGTH, at + more)
    start, stop = wanted(spans, at, end, LENGTH, EACH)

    assert start <= at < stop <= LENGTH
    assert not set(range(start, stop)) & there
    assert stop - start <= RUN_SLICES * EACH
    assert at - start < EACH
    assert stop < end + EACH
    assert stop >= min(end, gap_around(spans, at, LENGTH)[1], start // EACH * EACH + RUN_SLICES * EACH)


def test_all_of_a_whole_body_is_there():
    assert 9 == run_end(None, 0, 9)


@pytest.mark.parametrize("length", [0, 1, SLICE, 4 << 30, 1 << 40])
def test_slices_are_chunks_and_not_too_many(length):
    each = slice_bytes(CHUNK, length)

    assert 0 == each % CHUNK
    assert each >= SLICE - CHUNK
    assert length <= each * MOST_SLICES
    assert each < 2 * SLICE or length > SLICE * MOST_SLICES // 2


@pytest.mark.parametrize(
    ("start", "end", "asked"),
    [
        (0, 1, (0, 100)),
        (99, 100, (0, 100)),
        (99, 101, (0, 200)),
        (250, 250, (200, 300)),
        (250, None, (200, 1000)),
        (250, 10**9, (200, 1000)),
    ],
)
def test_what_nothing_is_known_of_is_asked_for_in_slices(start, end, asked):
    assert asked == first_ask(start, end, 100)
