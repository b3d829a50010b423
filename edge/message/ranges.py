"""
What a ``Range`` asks for, of a representation whose length is known.

Decides which bytes; does not know If-Range, nor how a partial reply is written.

Three answers: spans to send; UNSATISFIABLE, which is a 416; None, which is the whole representation, as if no Range
had been sent (RFC 9110 §14.2 lets a server ignore any Range, and asks it to ignore what it cannot read).
Invariant: spans are not empty, lie inside the representation, and no two of them touch.
Source: RFC 9110 §14.1.2, §14.2, §17.15.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Literal

Span = tuple[int, int]
"""First byte, and the one after the last."""

MOST_RANGES = 16
"""More than a reader of documents or films asks for; overlapping ones by the hundred are an attack (§17.15)."""

_SET = re.compile(rb"bytes=[ \t,]*(\S.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(rb"([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19})")


class RangeAnswer(Enum):
    """What is not a list of spans."""

    UNSATISFIABLE = 416


UNSATISFIABLE: Final = RangeAnswer.UNSATISFIABLE


def parse_range(value: bytes | None, length: int) -> list[Span] | Literal[RangeAnswer.UNSATISFIABLE] | None:
    """
    Return the spans that *value* asks of *length* bytes, in the order asked, those that touch made one.

    Raises:
        Nothing. Another unit, a syntax error, or more than MOST_RANGES members gives None.
    """
    if value is None:
        return None
    match = _SET.fullmatch(value)
    if match is None:
        return None
    specs = [spec for raw in match[1].split(b",", MOST_RANGES * 2) if (spec := raw.strip(b" \t"))]
    if not specs or len(specs) > MOST_RANGES:
        return None
    spans: list[Span] = []
    for spec in specs:
        read = _SPEC.fullmatch(spec)
        if read is None:
            return None
        first, last, suffix = read.groups()
        if suffix is not None:
            if int(suffix):
                if not length:
                    return None  # satisfiable by the letter, but Content-Range cannot say "no bytes of none"
                spans.append((max(0, length - int(suffix)), length))
            continue
        start, end = int(first), length if last is None else min(int(last) + 1, length)
        if last is not None and int(last) < start:
            return None  # §14.1.1: such a range is invalid, and with it the set
        if start < length:
            spans.append((start, end))
    return _coalesce(spans) if spans else UNSATISFIABLE


def first_span(value: bytes) -> tuple[int, int | None] | None:
    """
    Return what the first member of a Range begins with, before the length is known: its first byte, and the one after its last
    (None: all to the end). The end of a body has no known place: it is taken for its beginning.

    Returns:
        None where :func:`parse_range` would not read it.
    """
    match = _SET.fullmatch(value)
    read = None if match is None else _SPEC.fullmatch(match[1].split(b",", 1)[0].strip(b" \t"))
    if read is None:
        return None
    first, last, _ = read.groups()
    if first is None:
        return 0, 1
    if last is None:
        return int(first), None
    return (int(first), int(last) + 1) if int(first) <= int(last) else None


def _coalesce(spans: list[Span]) -> list[Span]:
    """Make one of spans that overlap or touch; each stands where its first member was asked for (§15.3.7.2)."""
    if len(spans) == 1:
        return spans
    joined: list[Span] = []
    for start, end in spans:
        at = len(joined)
        for place in range(len(joined) - 1, -1, -1):
            other_start, other_end = joined[place]
            if start <= other_end and other_start <= end:
                start, end = min(start, other_start), max(end, other_end)
                del joined[place]
                at = place
        joined.insert(at, (start, end))
    return joined
