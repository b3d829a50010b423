"""A head is understood in one way or refused with the status that says why."""

from __future__ import annotations

import pytest

from edge.errors import ClientFault, OriginFault
from edge.http.h1.head import parse_reply_head, parse_request_head
from edge.http.limits import HeadLimits
from edge.message.head import Framing, ReplyHead, RequestHead


def request(raw: bytes, scheme: bytes = b"http", authority: bytes | None = None, **limits) -> RequestHead:
    return parse_request_head(raw.replace(b"\n", b"\r\n"), scheme, HeadLimits(**limits), authority)


def reply(raw: bytes, method: bytes = b"GET") -> ReplyHead:
    return parse_reply_head(raw.replace(b"\n", b"\r\n"), method)


def refusal(raw: bytes, **limits) -> int | None:
    with pytest.raises(ClientFault) as caught:
        request(raw, **limits)
    return caught.value.reply


def test_a_request_is_understood() -> None:
    head = request(b"GET /a?b HTTP/1.1\nHost: A:80\nX-One:  1 \nx-one: 2\nContent-Length: 3\n\n")

    assert head == RequestHead(
        b"GET", b"http", b"a", b"/a?b", [(b"x-one", b"1"), (b"x-one", b"2")], 11, Framing.LENGTH, 3
    )
    assert {b"x-one": b"1, 2"} == head.index


def test_a_reply_is_understood() -> None:
    head = reply(b"HTTP/1.1 200 All Right\nServer: x\nContent-Length: 3\nSet-Cookie: a\nSet-Cookie: b\n\n")

    assert head.status == 200
    assert head.reason == b"All Right"
    assert [(b"server", b"x"), (b"set-cookie", b"a"), (b"set-cookie", b"b")] == head.fields
    assert (head.framing, head.length) == (Framing.LENGTH, 3)
    assert head.keep_alive


@pytest.mark.parametrize(
    "method",
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE", b"PROPFIND", b"M-SEARCH", b"QUERY", b"FOO", b"foo",
     b"Foo", b"UNHEARD-OF", b"SOURCE", b"DESCRIBE", b"GETX", b"GE", b"PRIX", b"purged", b"!#$%&'*+-.^_`|~1", b"A" * 64],
)  # fmt: skip
def test_methods_are_taken_as_they_are(method: bytes) -> None:
    head = request(method + b" /a HTTP/1.1\nHost: a\nContent-Length: 3\n\n")

    assert (method, b"/a", Framing.LENGTH, 3) == (head.method, head.target, head.framing, head.length)


@pytest.mark.parametrize(
    "method",
    [b"CONNECT", b"TRACE", b"PRI", b"get", b"Head", b"connect", b"Trace", b"pri", b"purge", b"A" * 65, b"a" * 500],
)
def test_methods_we_do_not_serve_are_not_implemented(method: bytes) -> None:
    target = b"a:80" if method == b"CONNECT" else b"/"

    assert refusal(method + b" " + target + b" HTTP/1.1\nHost: a\n\n") == 501


@pytest.mark.parametrize("fields", [b"Content-Length: 3\nTransfer-Encoding: chunked\n", b"Content-Length: 3\nContent-Length: 4\n",
    b"Transfer-Encoding : chunked\n", b"Content-Length: +3\n", b"X: y\n Z: y\n", b"X: \0\n", b"Transfer-Encoding: x, chunked, y\n"])  # fmt: skip
def test_what_is_refused_does_not_depend_on_the_method(fields: bytes) -> None:
    """One that llhttp does not know by name has its fields read as closely."""
    wire = b" / HTTP/1.1\nHost: a\n" + fields + b"\n"

    assert refusal(b"POST" + wire) == refusal(b"FOO" + wire) == refusal(b"A" * 64 + wire)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/1.10", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /", 400),
        (b"GET", 400),
        (b"", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1", 505),
        (b"GET / HTTPS/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /a\x0bb HTTP/1.1", 400),
        (b"GET /a\x00 HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"GET: / HTTP/1.1", 400),
        (b"A" * 65 + b" / HTTP/1.1", 501),
        (b"A" * 65 + b" / HTTP/3", 505),
        (b"A" * 65, 501),
        (b"GET \x7f HTTP/1.1", 400),
        (b"GET / HTTP/1.1\rX: y", 400),
    ],
)
def test_a_request_line_is_the_grammar_to_the_letter(line: bytes, status: int) -> None:
    assert refusal(line + b"\nHost: a\n\n") == status


def test_the_target_may_hold_what_browsers_leave_unescaped() -> None:
    assert request(b'GET /{a}|b?c="<x>"^`\\ HTTP/1.1\nHost: a\n\n').target == b'/{a}|b?c="<x>"^`\\'


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host: a\nHost: a\n",
        b"Host: a\nhost: b\n",
        b"Host:\n",
        b"Host: a b\n",
        b"Host: a, b\n",
        b"Host : a\n",
        b"Host: a\nX y: z\n",
        b"Host: a\n folded\n",
        b"Host: a\n: x\n",
        b"Host: a\nnot a field\n",
    ],
)
def test_hosts_and_fields_that_could_be_read_twice_are_refused(fields: bytes) -> None:
    assert refusal(b"GET / HTTP/1.1\n" + fields + b"\n") == 400


@pytest.mark.parametrize(
    "name", [b"host", b"Content-Length", b"TRANSFER-ENCODING", b"cache-control", b"cookie", b"authorization"]
)
def test_connection_may_not_name_what_everyone_must_read(name: bytes) -> None:
    """A proxy that strips what is named could be made to strip these."""
    assert refusal(b"GET / HTTP/1.1\nHost: a\nConnection: close, " + name + b"\n\n") == 400


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: keep-alive\n", True),
        (b"1.1", b"Connection: x, Close\n", False),
        (b"1.1", b"Connection: keep-alive\nConnection: close\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\n", True),
        (b"1.0", b"Connection: keep-alive, close\n", False),
    ],
)
def test_both_ends_know_whether_another_may_follow(version: bytes, connection: bytes, keep_alive: bool) -> None:
    assert request(b"GET / HTTP/" + version + b"\nHost: a\n" + connection + b"\n").keep_alive is keep_alive
    assert reply(b"HTTP/" + version + b" 200 OK\n" + connection + b"\n").keep_alive is keep_alive


def test_old_clients_need_not_name_a_host() -> None:
    assert request(b"GET / HTTP/1.0\n\n").authority == b""
    assert request(b"GET / HTTP/1.0\n\n", authority=b"default").authority == b"default"
    assert request(b"GET / HTTP/1.0\nHost: b\n\n", authority=b"default").authority == b"b"


def test_an_expectation_is_met_ignored_or_refused() -> None:
    post = b"POST / HTTP/1.1\nHost: a\nContent-Length: 3\nExpect: "

    assert request(post + b"100-Continue\n\n").expect_continue
    assert request(post + b"100-Continue\n\n").get(b"expect") is None
    assert refusal(post + b"a miracle\n\n") == 417
    assert not request(b"GET / HTTP/1.1\nHost: a\nExpect: 100-continue\n\n").expect_continue
    assert not request(b"POST / HTTP/1.0\nContent-Length: 3\nExpect: 100-continue\n\n").expect_continue


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Connection: Upgrade\nUpgrade: WebSocket\n", b"websocket"),
        (b"Connection: keep-alive, upgrade\nUpgrade: h2c, websocket\n", b"websocket"),
        (b"Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAA\n", None),
        (b"Upgrade: websocket\n", None),
        (b"Connection: upgrade\n", None),
        (b"Connection: upgrade\nUpgrade: websocket\nContent-Length: 3\n", None),
    ],
)
def test_an_upgrade_is_seen_if_it_is_asked_for_and_ours_to_pass_on(fields: bytes, expected: bytes | None) -> None:
    assert request(b"GET / HTTP/1.1\nHost: a\n" + fields + b"\n").upgrade == expected
    assert request(b"GET / HTTP/1.0\nHost: a\n" + fields + b"\n").upgrade is None


def test_an_underscore_is_no_disguise_by_itself() -> None:
    assert request(b"GET / HTTP/1.1\nHost: a\nApi_Key: x\n\n").get(b"api_key") == b"x"


def test_fields_are_counted() -> None:
    raw = b"GET / HTTP/1.1\nHost: a\n" + b"x: y\n" * 5 + b"\n"

    assert len(request(raw, header_count=6).fields) == 5
    assert refusal(raw, header_count=5) == 431


def test_a_body_that_is_too_long_is_refused_before_it_comes() -> None:
    assert refusal(b"POST / HTTP/1.1\nHost: a\nContent-Length: 11\n\n", body_bytes=10) == 413


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Transfer-Encoding: gzip\n", 400),
        (b"Transfer-Encoding: gzip, chunked\n", 501),
        (b"Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n", 501),
        (b"Transfer-Encoding: chunked\nContent-Length: 3\n", 400),
        (b"Content-Length: 3\nTransfer-Encoding: chunked\n", 400),
        (b"Content-Length: 3\nContent-Length: 3\n", 400),
        (b"Content-Length: 3,3\n", 400),
        (b"Content-Length: 99999999999999999999\n", 400),
    ],
)
def test_the_status_is_ours_even_where_llhttp_refuses_first(fields: bytes, status: int) -> None:
    assert refusal(b"POST / HTTP/1.1\nHost: a\n" + fields + b"\n") == status


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 \xe9t\xe9\tx", b"HTTP/1.1 999 x"],
)
def test_status_lines_may_differ_in_their_reason(line: bytes) -> None:
    assert reply(line + b"\n\n").status in {200, 999}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 20 OK\n\n",
        b"HTTP/1.1 2000 OK\n\n",
        b"HTTP/1.1 099 OK\n\n",
        b"HTTP/1.1 2xx OK\n\n",
        b"HTTP/1.1  200 OK\n\n",
        b"HTTP/2.0 200 OK\n\n",
        b"HTTP/1.2 200 OK\n\n",
        b"http/1.1 200 OK\n\n",
        b" HTTP/1.1 200 OK\n\n",
        b"ICY 200 OK\n\n",
        b"HTTP/1.1 200 O\0K\n\n",
        b"HTTP/1.1 200 OK\rx: y\n\n",
        b"HTTP/1.1 200 OK\nx : y\n\n",
        b"HTTP/1.1 200 OK\nx: y\n z\n\n",
        b"HTTP/1.1 200 OK\nx\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 4\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: x\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: 3\nTransfer-Encoding: chunked\n\n",
    ],
)
def test_a_reply_that_is_not_the_grammar_is_the_origin_s_fault(raw: bytes) -> None:
    with pytest.raises(OriginFault) as caught:
        reply(raw or b"\n")

    assert caught.value.word == "http_protocol_error"


def test_a_reply_in_a_coding_we_did_not_ask_for_is_the_origin_s_fault() -> None:
    with pytest.raises(OriginFault) as caught:
        reply(b"HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n")

    assert caught.value.word == "http_response_transfer_coding"


def test_a_reply_s_fields_are_counted() -> None:
    with pytest.raises(OriginFault) as caught:
        parse_reply_head(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 4 + b"\r\n", b"GET", header_count=3)

    assert caught.value.word == "http_response_header_section_size"
    assert caught.value.reply == 502
