"""A part of a reply: exactly the bytes it says, of exactly the representation it names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.head import Framing
from edge.message.ranges import UNSATISFIABLE
from edge.reply.compose import compose_hit
from edge.reply.ranged import cut

MODIFIED = b"Sun, 06 Nov 1994 08:49:37 GMT"
FIELDS = [
    (b"content-type", b"text/plain"),
    (b"etag", b'"v1"'),
    (b"last-modified", MODIFIED),
    (b"date", b"Sun, 06 Nov 1994 09:00:00 GMT"),
]
BODY = bytes(range(256)) * 4


def whole(fields=FIELDS, *, status=200, length=len(BODY), **more):
    return compose_hit(
        status, fields, now_s=10, age_base_wall=0, fresh_until_wall=60, date_wall=0, length=length, **more
    )


def body_of(partial):
    return b"".join(piece if isinstance(piece, bytes) else BODY[piece[0] : piece[1]] for piece in partial.pieces)


def test_one_span_is_sent_as_it_is():
    partial = cut(whole(), b"bytes=10-19")

    assert (206, 10, Framing.LENGTH) == (partial.head.status, partial.head.length, partial.head.framing)
    assert partial.head.get(b"content-range") == b"bytes 10-19/1024"
    assert partial.head.get(b"content-type") == b"text/plain"
    assert body_of(partial) == BODY[10:20]


def test_a_part_carries_what_names_and_dates_the_whole():
    """RFC 9110 §15.3.7: Date, Cache-Control, ETag, Vary as the 200 would have them."""
    full = whole()
    partial = cut(full, b"bytes=-5")

    assert partial.head.fields[:-1] == full.fields


def test_composing_a_part_leaves_the_whole_alone():
    full = whole()
    before = list(full.fields)
    cut(full, b"bytes=0-0,9-9")

    assert (200, before, len(BODY)) == (full.status, full.fields, full.length)


def test_several_spans_are_parts_of_one_body_with_their_own_type_and_range():
    partial = cut(whole(), b"bytes=0-1,100-102", boundary=b"XX")

    expected = (
        b"--XX\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/1024\r\n\r\n" + BODY[0:2] + b"\r\n"
        b"--XX\r\ncontent-type: text/plain\r\ncontent-range: bytes 100-102/1024\r\n\r\n" + BODY[100:103] + b"\r\n"
        b"--XX--\r\n"
    )
    assert partial.head.get(b"content-type") == b"multipart/byteranges; boundary=XX"
    assert partial.head.get(b"content-range") is None
    assert expected == body_of(partial)
    assert len(expected) == partial.head.length


def test_parts_are_in_the_order_asked_or_in_that_of_the_body():
    asked = b"bytes=900-901,0-1,100-101"

    assert [(900, 902), (0, 2), (100, 102)] == [each for each in cut(whole(), asked).pieces if isinstance(each, tuple)]
    ordered = cut(whole(), asked, in_order=True)
    assert [(0, 2), (100, 102), (900, 902)] == [each for each in ordered.pieces if isinstance(each, tuple)]


def test_parts_of_a_body_without_a_type_have_none():
    partial = cut(whole(FIELDS[1:]), b"bytes=0-1,100-102", boundary=b"XX")

    assert b"content-type" not in body_of(partial)


def test_a_boundary_is_drawn_anew_each_time():
    """A body must not be able to contain it on purpose."""
    first, second = (cut(whole(), b"bytes=0-1,9-9").head.get(b"content-type") for _ in range(2))

    assert re.fullmatch(rb"multipart/byteranges; boundary=[0-9a-f]{32}", first)
    assert first != second


@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 1100)), min_size=1, max_size=6))
def test_whatever_is_asked_the_length_is_that_of_the_pieces(asked):
    value = b"bytes=" + b",".join(b"%d-%d" % (min(pair), max(pair)) for pair in asked)
    partial = cut(whole(), value)

    if partial is not None and partial is not UNSATISFIABLE:
        assert partial.head.length == len(body_of(partial))


def test_a_range_beyond_the_end_is_unsatisfiable():
    assert cut(whole(), b"bytes=5000-") is UNSATISFIABLE


@pytest.mark.parametrize("value", [None, b"lines=1-2", b"bytes=9-1", b"bytes=abc"])
def test_what_is_no_range_gets_the_whole(value):
    assert cut(whole(), value) is None


def test_only_a_200_is_cut():
    assert cut(whole(status=404), b"bytes=0-1") is None


def test_a_body_of_unknown_length_is_not_cut():
    assert cut(whole(length=None), b"bytes=0-1") is None


def test_a_variant_of_ours_is_not_cut():
    """Its tag is weak: the client could not tell whether two parts belong together."""
    assert cut(whole(encoding=b"br", eligible=True), b"bytes=0-1") is None


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [
        (b'"v1"', True),
        (b'"v2"', False),
        (b'W/"v1"', False),
        (MODIFIED, True),
        (b"Sun, 06 Nov 1994 08:49:38 GMT", False),
        (b"Sun, 06 Nov 1994 08:49:36 GMT", False),
        (b"nonsense", False),
    ],
)
def test_if_range_lets_a_part_through_only_for_the_same_representation(if_range, holds):
    assert holds == (cut(whole(), b"bytes=0-1", if_range) is not None)


def test_if_range_never_holds_for_a_weak_tag():
    fields = [(b"etag", b'W/"v1"')]

    assert cut(whole(fields), b"bytes=0-1", b'W/"v1"') is None


def test_a_date_of_the_same_second_as_the_reply_is_too_weak_for_if_range():
    fields = [(b"last-modified", MODIFIED), (b"date", MODIFIED)]

    assert cut(whole(fields), b"bytes=0-1", MODIFIED) is None


def test_if_range_by_date_needs_a_last_modified():
    assert cut(whole(FIELDS[:2]), b"bytes=0-1", MODIFIED) is None


def test_if_range_by_tag_needs_a_tag():
    assert cut(whole(FIELDS[2:]), b"bytes=0-1", b'"v1"') is None
