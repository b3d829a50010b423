"""
Which bytes of a body are there, when not all of them are: a short list of spans, and the slices that missing ones are fetched in.

A body that is fetched in parts is cut into slices of equal length, beginning at its first byte: the unit that one process claims
and fetches while others wait for it. They are a MiB long, and longer where that would make more than MOST_SLICES of them, so that
the list of spans stays short. nginx's ``slice`` is told its length by the operator (1 MiB in its manual), ATS's by the plugin's
argument; here nobody needs to know.

Pure. Invariant: spans ascend, are not empty, and no two of them touch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Span = tuple[int, int]
"""First byte, and the one after the last."""

Spans = tuple[Span, ...]

SLICE: Final = 1 << 20
"""About so many bytes make a slice."""

MOST_SLICES: Final = 4096
"""Of one body: its spans are then no more than half of that, and take 20 KiB at worst."""

RUN_SLICES: Final = 8
"""Slices asked for in one request at most: so much is fetched for a client that has left meanwhile, and no more."""


def added(spans: Sequence[Span], start: int, end: int) -> Spans:
    """Return *spans* and the bytes *start* to *end*, which may be there already."""
    if start >= end:
        return tuple(spans)
    before = [span for span in spans if span[1] < start]
    after = [span for span in spans if span[0] > end]
    touched = spans[len(before) : len(spans) - len(after)]
    if touched:
        start, end = min(start, touched[0][0]), max(end, touched[-1][1])
    return (*before, (start, end), *after)


def run_end(spans: Sequence[Span] | None, at: int, length: int) -> int:
    """Return how far the bytes from *at* on are there without a gap: *at* itself if that one is missing. None: all are there."""
    if spans is None:
        return length
    for start, end in spans:
        if start <= at < end:
            return end
    return at


def gap_around(spans: Sequence[Span], at: int, length: int) -> Span:
    """Return the gap that the missing byte *at* lies in."""
    start, end = 0, length
    for first, last in spans:
        if last <= at:
            start = last
        elif first > at:
            end = first
            break
    return start, end


def count(spans: Sequence[Span]) -> int:
    """Return how many bytes they are."""
    return sum(end - start for start, end in spans)


def slice_bytes(chunk_bytes: int, length: int = 0) -> int:
    """
    Return how long the slices of a body are: a whole number of the store's chunks.

    Args:
        chunk_bytes: of one record of the store.
        length: of the body; 0 while that is not known.
    """
    least = max(1, SLICE // chunk_bytes)
    return chunk_bytes * max(least, -(-length // (chunk_bytes * MOST_SLICES)))


def wanted(spans: Sequence[Span], at: int, end: int, length: int, each: int) -> Span:
    """
    Return what to ask the origin for, when the bytes from the missing one *at* up to *end* are wanted: whole slices as far as they
    are missing, RUN_SLICES of them at most.

    Args:
        spans: that are there.
        at: the first byte that is wanted and missing.
        end: of what is wanted.
        length: of the body.
        each: bytes of a slice.
    """
    gap_start, gap_end = gap_around(spans, at, length)
    first = at // each * each
    last = min(-(-end // each) * each, first + RUN_SLICES * each)
    return max(first, gap_start), min(last, gap_end)


def first_ask(start: int, end: int | None, each: int) -> Span:
    """Return what to ask for of a body of which nothing is known, for a range from *start* to *end* (None: to the body's end)."""
    first = start // each * each
    most = first + RUN_SLICES * each
    return first, most if end is None else min(most, -(-max(end, start + 1) // each) * each)
