"""
What HTTP/1 costs per request and per reply, without a socket.

    python -m pytest bench/micro/test_http.py -q
"""

from __future__ import annotations

from edge.errors import ClientFault
from edge.http.h1.chunked import ChunkedDecoder
from edge.http.h1.client import ClientConnection
from edge.http.h1.head import parse_reply_head, parse_request_head
from edge.http.h1.server import ServerConnection
from edge.http.limits import HeadLimits

BROWSER = (
    b"GET /assets/app.js?v=3 HTTP/1.1\r\nHost: shop.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Referer: https://shop.example/\r\nConnection: keep-alive\r\nCookie: a=b; c=d; session=0123456789abcdef\r\n"
    b"Sec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\n\r\n"
)
RENDERED = b"HTTP/1.1 200 OK\r\ncontent-length: 1024\r\ncontent-type: text/css\r\n\r\n" + b"x" * 1024
REPLY_HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: shop\r\nContent-Type: text/css\r\n"
    b'Content-Length: 1024\r\nETag: "abc"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n'
    b"Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n\r\n"
)
REPLY = REPLY_HEAD + b"x" * 1024
CHUNKED_REPLY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
FIELDS = [(b"accept", b"*/*"), (b"user-agent", b"x"), (b"x-forwarded-for", b"192.0.2.1"), (b"via", b"1.1 edge")]
LIMITS = HeadLimits()


def test_a_remembered_head_and_a_rendered_reply(benchmark) -> None:
    """The whole of HTTP on a hit, with fresh bytes as a socket gives them: under 2 µs, or 75k/s is out of reach."""
    conn = ServerConnection(b"https", LIMITS, {})
    view = memoryview(BROWSER)
    out = conn.out

    def hit() -> None:
        conn.receive(bytes(view))
        event = conn.next_event()
        conn.send_whole(event.stream, RENDERED, None)
        out.sent(len(out.first()))

    benchmark(hit)


def test_a_request_head_that_was_never_seen(benchmark) -> None:
    benchmark(parse_request_head, BROWSER, b"https", LIMITS)


def test_a_reply_head(benchmark) -> None:
    benchmark(parse_reply_head, REPLY_HEAD, b"GET")


def exchange(conn: ClientConnection, reply: bytes) -> None:
    conn.send_request(b"GET", b"/catalog", b"shop.example", FIELDS)
    conn.out.clear()
    conn.receive(reply)
    conn.next_event()
    conn.next_event()
    conn.next_event()
    assert conn.reusable


def test_an_exchange_with_an_origin(benchmark) -> None:
    benchmark(exchange, ClientConnection(), REPLY)


def test_an_exchange_with_an_origin_in_chunks(benchmark) -> None:
    benchmark(exchange, ClientConnection(), CHUNKED_REPLY)


def test_a_mebibyte_in_large_chunks(benchmark) -> None:
    wire = (b"4000\r\n" + b"x" * 16384 + b"\r\n") * 64

    benchmark(lambda: ChunkedDecoder(ClientFault).decode(wire))


def test_the_worst_chunks_there_are(benchmark) -> None:
    """64 KiB of one-byte chunks: what a client can make us pay for a read."""
    wire = b"1\r\nx\r\n" * 10_922

    benchmark(lambda: ChunkedDecoder(ClientFault).decode(wire))
