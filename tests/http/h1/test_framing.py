"""Where a body ends, step by step as RFC 9112 §6.3 walks it; what could end in two places is refused."""

from __future__ import annotations

import pytest

from edge.errors import ClientFault, OriginFault
from edge.http.h1.framing import content_length, has_no_body, reply_framing, request_framing
from edge.message.head import Framing

TE, CL = b"transfer-encoding", b"content-length"


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ({}, (Framing.NONE, 0)),
        ({CL: b"0"}, (Framing.LENGTH, 0)),
        ({CL: b"12"}, (Framing.LENGTH, 12)),
        ({CL: b"0012"}, (Framing.LENGTH, 12)),
        ({TE: b"chunked"}, (Framing.CHUNKED, 0)),
        ({TE: b"Chunked"}, (Framing.CHUNKED, 0)),
    ],
)
def test_a_request_s_body_ends_in_one_place(index: dict, expected: tuple) -> None:
    assert expected == request_framing(index, 11, None)


@pytest.mark.parametrize(
    ("index", "version", "reply"),
    [
        ({CL: b"5", TE: b"chunked"}, 11, 400),
        ({TE: b"chunked"}, 10, 400),
        ({TE: b""}, 11, 400),
        ({TE: b"identity"}, 11, 400),
        ({TE: b"xchunked"}, 11, 400),
        ({TE: b"chunked, identity"}, 11, 400),
        ({TE: b"chunked;q=1"}, 11, 400),
        ({TE: b"chunked, gzip"}, 11, 400),
        ({TE: b"gzip, chunked"}, 11, 501),
        ({TE: b"chunked, chunked"}, 11, 501),
        ({TE: b", chunked"}, 11, 501),
        ({CL: b"5, 5"}, 11, 400),
        ({CL: b"5, 6"}, 11, 400),
        ({CL: b"+5"}, 11, 400),
        ({CL: b"-5"}, 11, 400),
        ({CL: b"0x5"}, 11, 400),
        ({CL: b"5 5"}, 11, 400),
        ({CL: b""}, 11, 400),
        ({CL: b"5_0"}, 11, 400),
        ({CL: b"\xb2"}, 11, 400),
        ({CL: b"1" * 19}, 11, 400),
        ({CL: b"11"}, 11, 413),
    ],
)
def test_a_request_that_could_end_elsewhere_is_refused(index: dict, version: int, reply: int) -> None:
    with pytest.raises(ClientFault) as caught:
        request_framing(index, version, 10)

    assert caught.value.reply == reply


@pytest.mark.parametrize(
    ("index", "status", "method", "expected"),
    [
        ({}, 200, b"GET", (Framing.CLOSE, None)),
        ({CL: b"5"}, 200, b"GET", (Framing.LENGTH, 5)),
        ({TE: b"chunked"}, 200, b"GET", (Framing.CHUNKED, None)),
        ({CL: b"5"}, 200, b"HEAD", (Framing.NONE, 5)),
        ({TE: b"chunked"}, 200, b"HEAD", (Framing.NONE, None)),
        ({CL: b"5"}, 304, b"GET", (Framing.NONE, 5)),
        ({TE: b"chunked"}, 204, b"GET", (Framing.NONE, None)),
        ({}, 100, b"GET", (Framing.NONE, None)),
    ],
)
def test_a_reply_s_body_ends_in_one_place(index: dict, status: int, method: bytes, expected: tuple) -> None:
    assert expected == reply_framing(index, 11, status, method)


@pytest.mark.parametrize(
    ("index", "version", "word"),
    [
        ({CL: b"5", TE: b"chunked"}, 11, "http_protocol_error"),
        ({CL: b"5, 5"}, 11, "http_protocol_error"),
        ({CL: b"abc"}, 11, "http_protocol_error"),
        ({TE: b"gzip"}, 11, "http_response_transfer_coding"),
        ({TE: b"gzip, chunked"}, 11, "http_response_transfer_coding"),
        ({TE: b"chunked"}, 10, "http_response_transfer_coding"),
    ],
)
def test_a_reply_that_could_end_elsewhere_is_refused(index: dict, version: int, word: str) -> None:
    with pytest.raises(OriginFault) as caught:
        reply_framing(index, version, 200, b"GET")

    assert caught.value.word == word


def test_some_replies_have_no_body_whatever_they_say() -> None:
    assert all(has_no_body(status, b"GET") for status in (100, 103, 204, 304))
    assert has_no_body(200, b"HEAD")
    assert not any(has_no_body(status, b"GET") for status in (200, 206, 404, 500))


def test_a_length_is_digits() -> None:
    assert content_length(b"9" * 18) == 10**18 - 1
    assert content_length(b"9" * 19) is None
