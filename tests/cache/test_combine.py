"""Which parts belong together, and what a reply to a range says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.combine import Fit, Part, as_whole, fit, may_combine, part_of, validator_of
from edge.message.head import Framing, ReplyHead
from tests.cache.kit import fields_of, stored

FRESH = {"cache-control": "max-age=60"}
DATED = FRESH | {"date": 0}


def reply(status=206, fields=(), length: int | None = 10, framing=Framing.LENGTH) -> ReplyHead:
    return ReplyHead(status, fields_of(dict(fields)), framing=framing, length=length)


@pytest.mark.parametrize(
    ("value", "length", "part"),
    [
        ("bytes 0-9/20", 10, Part(0, 10, 20)),
        ("BYTES 10-19/20", 10, Part(10, 20, 20)),
        ("bytes 0-9/20", 9, None),
        ("bytes 0-9/*", 10, None),
        ("bytes */20", 10, None),
        ("bytes 10-19/19", 10, None),
        ("bytes 9-0/20", 10, None),
        ("items 0-9/20", 10, None),
        ("bytes 0-9/20, bytes 0-9/20", 10, None),
        ("bytes -9/20", 10, None),
        ("bytes 0-9/20 ", 10, None),
    ],
)
def test_a_part_says_clearly_which_bytes_it_is(value, length, part):
    assert part == part_of(reply(fields={"content-range": value}, length=length))


def test_what_is_no_206_or_has_several_parts_is_no_part():
    assert part_of(reply(200, {"content-range": "bytes 0-9/20"})) is None
    assert part_of(reply(206, {"content-type": "multipart/byteranges; boundary=x"})) is None
    assert part_of(reply(206, {"content-range": "bytes 0-9/20"}, None, Framing.NONE)) is None
    assert Part(0, 10, 20) == part_of(reply(206, {"content-range": "bytes 0-9/20"}, None, Framing.CHUNKED))


@given(st.binary(max_size=40))
def test_no_content_range_makes_it_raise(value):
    part = part_of(ReplyHead(206, [(b"content-range", value)], framing=Framing.LENGTH, length=5))

    assert part is None or 0 <= part.start < part.end <= part.length


def test_the_head_of_the_whole_is_the_parts_without_what_makes_it_one():
    head = as_whole(reply(fields={"etag": '"1"', "content-range": "bytes 0-9/20", "a": "b"}), Part(0, 10, 20))

    assert (200, 20, Framing.LENGTH) == (head.status, head.length, head.framing)
    assert [(b"etag", b'"1"'), (b"a", b"b")] == head.fields
    assert head.get(b"content-range") is None


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        (FRESH | {"etag": '"1"'}, b'"1"'),
        (FRESH | {"etag": 'W/"1"'}, None),
        (DATED | {"etag": 'W/"1"', "last-modified": -999}, None),
        (DATED | {"last-modified": -60}, "date"),
        (DATED | {"last-modified": -59}, None),
        (FRESH | {"last-modified": -999}, None),
        (FRESH, None),
    ],
)
def test_what_names_the_bytes_is_a_strong_tag_or_an_old_date(fields, mark):
    copy = stored(fields, length=20)

    assert (copy.last_modified if mark == "date" else mark) == validator_of(copy)
    assert (mark is not None) is may_combine(copy)


def test_only_what_is_there_whole_or_in_part_is_put_together():
    assert not may_combine(stored(FRESH | {"etag": '"1"'}, status=404, length=20))
    assert not may_combine(stored(FRESH | {"etag": '"1"'}, length=0))


COPY = stored(FRESH | {"etag": '"1"'}, length=20)
DATED_COPY = stored(DATED | {"last-modified": -999}, length=20)
SAME = {"etag": '"1"'}


@pytest.mark.parametrize(
    ("copy", "told", "expected"),
    [
        (COPY, reply(206, SAME | {"content-range": "bytes 10-19/20"}), Fit.PART),
        (COPY, reply(206, SAME | {"content-range": "bytes 10-14/20"}, 5), Fit.PART),
        (COPY, reply(206, SAME | {"content-range": "bytes 9-18/20"}), Fit.NOTHING),
        (COPY, reply(206, SAME), Fit.NOTHING),
        (COPY, reply(206, SAME | {"content-range": "bytes 10-19/21"}), Fit.CHANGED),
        (COPY, reply(206, {"etag": '"2"', "content-range": "bytes 10-19/20"}), Fit.CHANGED),
        (COPY, reply(206, {"etag": 'W/"1"', "content-range": "bytes 10-19/20"}), Fit.CHANGED),
        (COPY, reply(206, {"content-range": "bytes 10-19/20"}), Fit.CHANGED),
        (COPY, reply(200, SAME, 20), Fit.WHOLE),
        (COPY, reply(200, SAME, None, Framing.CHUNKED), Fit.WHOLE),
        (COPY, reply(200, SAME, 21), Fit.CHANGED),
        (COPY, reply(200, {"etag": '"2"'}, 20), Fit.CHANGED),
        (COPY, reply(416), Fit.CHANGED),
        (COPY, reply(404, SAME), Fit.NOTHING),
        (COPY, reply(503), Fit.NOTHING),
        (COPY, reply(304, SAME, None, Framing.NONE), Fit.NOTHING),
        (DATED_COPY, reply(206, {"last-modified": -999, "content-range": "bytes 10-19/20"}), Fit.PART),
        (DATED_COPY, reply(206, {"last-modified": -998, "content-range": "bytes 10-19/20"}), Fit.CHANGED),
        (DATED_COPY, reply(206, SAME | {"last-modified": -999, "content-range": "bytes 10-19/20"}), Fit.CHANGED),
    ],
)
def test_a_reply_brings_missing_bytes_or_shows_that_they_have_changed(copy, told, expected):
    assert expected is fit(copy, told, 10)
