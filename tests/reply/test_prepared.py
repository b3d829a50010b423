"""
A copy ready to send: the same bytes as the general path makes, and the same object within a second.

The general path is the oracle: :mod:`edge.reply.compose` and the HTTP/1.1 connection.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http.h1.server import ServerConnection
from edge.http.limits import HeadLimits
from edge.reply.compose import compose_hit, compose_not_modified
from edge.reply.prepared import JOINED_BYTES, prepare

FIELDS = [
    (b"content-type", b"text/html"),
    (b"etag", b'"abc"'),
    (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"date", b"Sun, 06 Nov 1994 09:00:00 GMT"),
    (b"cache-control", b"max-age=60"),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"age", b"3"),
    (b"vary", b"Cookie"),
    (b"connection", b"x-hidden"),
    (b"x-hidden", b"1"),
]
TIMES = {"age_base_wall": 1000.5, "fresh_until_wall": 1063.5, "date_wall": 1003.2}
NOW = 1010


def prepared(body=b"hello", fields=FIELDS, status=200, **more):
    return prepare(status, fields, body, **(TIMES | more))


def sent_by_the_general_path(head, body=b"", method=b"GET"):
    """Return what a kept-alive HTTP/1.1 client receives when this head is sent the ordinary way."""
    connection = ServerConnection(b"http", HeadLimits())
    connection.receive(method + b" / HTTP/1.1\r\nhost: a\r\n\r\n")
    stream = connection.next_event().stream
    connection.send_head(stream, head)
    if body:
        connection.send_body(stream, body)
    connection.send_end(stream)
    wire = b""
    while connection.out:
        piece = bytes(connection.out.first())
        wire += piece
        connection.out.sent(len(piece))
    return wire


FIELD = st.tuples(
    st.sampled_from(
        [b"content-type", b"etag", b"vary", b"date", b"age", b"via", b"x-a", b"accept-ranges", b"cache-status", b"te"]
    ),
    st.sampled_from([b"", b"x", b'"x"', b"*", b"Cookie", b"Sun, 06 Nov 1994 08:49:37 GMT"]),
)
VARIANT = st.sampled_from([{}, {"eligible": True}, {"eligible": True, "encoding": b"br"}])


@given(
    fields=st.lists(FIELD, max_size=8),
    variant=VARIANT,
    status=st.sampled_from([200, 204, 301, 404, 299]),
    reason=st.sampled_from([b"", b"Fine"]),
    body=st.binary(max_size=50),
    now_s=st.integers(0, 3000),
)
def test_what_is_prepared_is_what_composing_and_rendering_give(fields, variant, status, reason, body, now_s):
    ready = prepared(body, fields, status, reason=reason, **variant)
    said = {"now_s": now_s} | TIMES | variant
    body = b"" if status == 204 else body

    composed = compose_hit(status, fields, length=len(body), reason=reason, **said)
    assert sent_by_the_general_path(composed, body) == ready.wire(now_s)

    asked = compose_hit(status, fields, length=len(body), reason=reason, to_head=True, **said)
    assert sent_by_the_general_path(asked, method=b"HEAD") == ready.wire_head(now_s)

    if status == 200:
        unchanged = compose_not_modified(fields, **said)
        assert sent_by_the_general_path(unchanged) == ready.wire_304(now_s)


@pytest.mark.parametrize("status", [200, 204, 404])
def test_the_head_for_a_connection_that_frames_it_is_the_composed_one(status):
    """Connections that close, and other versions, get the same fields in the same order, made once a second."""
    ready = prepared(status=status, reason=b"Fine")
    ready.wire(NOW)
    for now_s in (NOW, NOW + 1):
        length = None if status == 204 else 5
        composed = compose_hit(status, FIELDS, now_s=now_s, length=length, reason=b"Fine", **TIMES)

        assert composed == ready.head(now_s)
    assert ready.head(NOW + 1) is ready.head(NOW + 1)


@pytest.mark.parametrize("render", ["wire", "wire_head", "wire_304"])
def test_within_a_second_the_very_same_bytes_are_handed_out(render):
    ready = prepared()
    first = getattr(ready, render)(NOW)

    assert first is getattr(ready, render)(NOW)


@pytest.mark.parametrize("render", ["wire", "wire_head", "wire_304"])
def test_in_another_second_age_and_ttl_are_told_anew(render):
    ready = prepared()

    assert b"\r\nage: 10\r\ncache-status: edge; hit; ttl=53\r\n" in getattr(ready, render)(1010)
    assert b"\r\nage: 11\r\ncache-status: edge; hit; ttl=52\r\n" in getattr(ready, render)(1011)
    assert b"\r\nage: 101\r\ncache-status: edge; hit; ttl=-38\r\n" in getattr(ready, render)(1101)


def test_a_clock_that_jumps_back_is_believed():
    ready = prepared()
    ready.wire(1011)

    assert b"\r\nage: 10\r\n" in ready.wire(1010)


@pytest.mark.parametrize("length", [0, 1, JOINED_BYTES])
def test_a_small_body_lies_behind_its_head_in_every_second(length):
    body = b"x" * length
    ready = prepared(body)

    assert ready.body is None
    for now_s in (9, 10, 1000, 100_000):
        assert ready.wire(now_s) == ready.wire_head(now_s) + body
        assert body == ready.content()


def test_a_larger_body_is_sent_beside_its_head_and_never_copied():
    body = b"x" * (JOINED_BYTES + 1)
    ready = prepared(body)

    assert ready.wire(NOW) == ready.wire_head(NOW)
    assert ready.body.obj is body
    assert ready.content() is ready.body


def test_the_body_can_be_read_before_anything_was_sent():
    assert prepared(b"hello").content() == b"hello"


def test_a_reply_without_a_body_by_its_status_has_none_and_no_length():
    ready = prepared(b"", status=204)

    assert ready.wire(NOW).endswith(b"\r\n\r\n")
    assert b"content-length" not in ready.wire(NOW)


def test_what_the_exchange_asks_about_is_at_hand():
    ready = prepared(b"hello", eligible=True, encoding=b"br", copy_id=7, stamp=3)

    assert (7, 3, 200, b"br", 5, 1063.5) == (
        ready.copy_id, ready.stamp, ready.status, ready.encoding, ready.length, ready.fresh_until
    )  # fmt: skip
    assert (b'W/"abc-br"', 784111777.0) == (ready.etag, ready.last_modified)


def test_without_validators_there_is_no_tag_and_the_date_stands_in():
    """RFC 9111 §4.3.2: If-Modified-Since is then compared with Date."""
    ready = prepared(fields=[])

    assert (None, 1003.0) == (ready.etag, ready.last_modified)


@pytest.mark.parametrize("length", [10, JOINED_BYTES, 100_000])
def test_its_size_covers_what_it_keeps(length):
    """The LRU counts by it; a body is kept once, joined or not."""
    ready = prepared(b"x" * length)
    for render in (ready.wire, ready.wire_head, ready.wire_304):
        render(NOW)

    kept = len(ready.wire(NOW)) + len(ready.wire_head(NOW)) + len(ready.wire_304(NOW)) + len(ready.body or b"")
    assert kept <= ready.size <= kept + 5000


def test_it_says_what_it_is():
    assert repr(prepared(copy_id=7)) == "<Prepared 200 identity 5 B copy=7>"
