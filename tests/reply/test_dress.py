"""What one client's reply wears, over whatever it is."""

from __future__ import annotations

import pytest

from edge.http.h1.render import reply_head
from edge.message.head import Framing, ReplyHead
from edge.reply.dress import Dress
from edge.reply.prepared import JOINED_BYTES, prepare

FIELDS = [(b"ratelimit", b'"a";r=1;t=2'), (b"vary", b"Origin")]


def test_fields_are_put_on_and_others_taken_off() -> None:
    head = ReplyHead(200, [(b"access-control-x", b"1"), (b"a", b"1")], b"Fine", framing=Framing.LENGTH, length=5)
    worn = Dress(FIELDS, b"access-control-").on(head)

    assert ReplyHead(200, [(b"a", b"1"), *FIELDS], b"Fine", framing=Framing.LENGTH, length=5) == worn
    assert 2 == len(head.fields)


def test_lines_may_be_added_where_nothing_is_taken_off() -> None:
    assert Dress(FIELDS).fits_over([(b"access-control-x", b"1")])
    assert Dress(FIELDS, b"access-control-").fits_over([(b"a", b"1")])
    assert not Dress(FIELDS, b"access-control-").fits_over([(b"access-control-x", b"1")])


@pytest.mark.parametrize("length", [0, 10, JOINED_BYTES, JOINED_BYTES + 1])
def test_a_prepared_reply_wears_the_same_as_a_composed_one(length: int) -> None:
    body = b"x" * length
    copy = prepare(200, [(b"date", b"x")], body, age_base_wall=0.0, fresh_until_wall=60.0, date_wall=0.0)
    dress = Dress(FIELDS)
    wire = copy.wire_with(5, dress.lines)
    plain = copy.wire(5)
    head, _, rest = plain.partition(b"\r\n\r\n")

    assert head + b"\r\n" + dress.lines + b"\r\n" + rest == wire
    assert body == bytes(copy.content())
    assert reply_head(200, b"", FIELDS).endswith(dress.lines + b"\r\n")
