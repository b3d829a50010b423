"""The written form of a copy."""

from __future__ import annotations

import msgspec
import pytest

from edge.cache.copy import IDENTITY, BodyRef, decode_copies, decode_copy, encode_copies, encode_copy
from tests.cache.kit import NOW, ask, stored


def test_what_is_written_is_read():
    asked = ask(fields={"foo": "1"})
    copy = stored({"cache-control": "max-age=60, stale-if-error=5", "etag": '"a"', "vary": "foo, bar"}, asked=asked)
    copy = msgspec.structs.replace(copy, copy_id=7, bodies={IDENTITY: BodyRef(112, 5), b"br": BodyRef(113, 2)})

    assert decode_copies(encode_copies([copy, copy])) == [copy, copy]
    assert decode_copy(encode_copy(copy)) == copy
    assert copy.vary == ((b"bar", None), (b"foo", b"1"))


def test_times_follow_from_each_other():
    copy = stored({"cache-control": "max-age=60", "age": "10"})

    assert copy.age_base_wall == NOW - 10
    assert copy.fresh_until_wall == NOW + 50


def test_lines_of_one_name_are_joined_when_asked_for():
    copy = stored([("cache-control", "max-age=60"), ("link", "a"), ("link", "b")])

    assert copy.get(b"link") == b"a, b"
    assert copy.get(b"none") is None


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"\x91\x91\x01", b"x" * 50])
def test_junk_is_refused_as_what_it_is(junk):
    with pytest.raises(msgspec.MsgspecError):
        decode_copies(junk)
