"""Heads are spelled out, and no field can become two."""

from __future__ import annotations

import pytest

from edge.http.h1.render import reply_head, request_head


def test_a_reply_is_a_status_line_its_fields_and_what_the_connection_adds() -> None:
    wire = reply_head(200, b"", [(b"a", b"b"), (b"c", b"")], b"content-length: 0\r\n")

    assert wire == b"HTTP/1.1 200 OK\r\na: b\r\nc: \r\ncontent-length: 0\r\n\r\n"


def test_the_origin_s_reason_is_kept_and_an_unknown_one_left_out() -> None:
    assert reply_head(200, b"Fine", []) == b"HTTP/1.1 200 Fine\r\n\r\n"
    assert reply_head(299, b"", []) == b"HTTP/1.1 299 \r\n\r\n"


def test_a_request_names_its_host_first() -> None:
    wire = request_head(b"GET", b"/x", b"a:81", [(b"b", b"c")])

    assert wire == b"GET /x HTTP/1.1\r\nhost: a:81\r\nb: c\r\n\r\n"


@pytest.mark.parametrize("evil", [b"x\r\ny: z", b"x\ny", b"x\ry", b"x\0"])
def test_a_field_that_would_become_two_is_our_bug(evil: bytes) -> None:
    for field in [(b"a", evil), (evil, b"a")]:
        with pytest.raises(AssertionError):
            reply_head(200, b"", [field])
        with pytest.raises(AssertionError):
            request_head(b"GET", b"/", b"a", [field])


def test_a_target_of_two_words_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        request_head(b"GET", b"/a b", b"a", [])


@pytest.mark.parametrize("evil", [b"/ HTTP/1.1\r\nx: y\r\n\r\n", b"/\r", b"/\n", b"/\0"])
def test_a_start_line_that_would_become_two_is_our_bug(evil: bytes) -> None:
    with pytest.raises(AssertionError):
        request_head(b"GET", evil, b"a", [])
    with pytest.raises(AssertionError):
        request_head(b"GET", b"/", evil, [])
    with pytest.raises(AssertionError):
        reply_head(200, evil, [])
