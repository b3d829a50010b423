"""
Request smuggling: every disguise by which two readers have been made to disagree about where a request ends.

Each must be refused, or be no disguise at all: heard as exactly one request, and sent on so that h11, an independent
reader, hears the same one and nothing behind it.

Source: PortSwigger's and narfindustries' HTTP Garden's collections, the CVEs named, and RFC 9112 §11.2.
"""

from __future__ import annotations

import h11
import pytest

from edge.http.h1.client import ClientConnection
from edge.message.head import Framing
from tests.http.talk import GET, each_byte, hear_requests, server, written

CL_TE = b"Content-Length: 6\n%b\n\n0\r\n\r\nG"
ONE_CHUNK = b"\n\n1\r\nx\r\n0\r\n\r\n"

REFUSED = {
    "length and coding": CL_TE % b"Transfer-Encoding: chunked",
    "coding and length": b"Transfer-Encoding: chunked\nContent-Length: 6\n\n0\r\n\r\nG",
    "coding after a space": CL_TE % b"Transfer-Encoding : chunked",
    "coding after a tab": CL_TE % b"Transfer-Encoding\t: chunked",
    "coding behind a space": CL_TE % b" Transfer-Encoding: chunked",
    "coding behind a folded line": CL_TE % b"X: y\n Transfer-Encoding: chunked",
    "coding after a vertical tab": CL_TE % b"Transfer-Encoding:\x0bchunked",
    "coding before a vertical tab": CL_TE % b"Transfer-Encoding: chunked\x0b",
    "coding before a NUL": CL_TE % b"Transfer-Encoding: chunked\x00",
    "coding with a NUL in its name": CL_TE % b"Transfer\x00-Encoding: chunked",
    "coding with a no-break space": CL_TE % b"Transfer-Encoding\xa0: chunked",
    "coding behind a bare CR": CL_TE % b"X: y\rTransfer-Encoding: chunked",
    "coding behind a bare LF": (CL_TE % b"X: y\x00Transfer-Encoding: chunked").replace(b"\x00", b"\x01LF\x01"),
    "coding in an underscore": CL_TE % b"Transfer_Encoding: chunked",
    "length in an underscore": b"Content_Length: 6\n\n",
    "coding that is none": b"Transfer-Encoding: identity\n\n",
    "coding misspelled": b"Transfer-Encoding: xchunked" + ONE_CHUNK,
    "coding quoted": b'Transfer-Encoding: "chunked"' + ONE_CHUNK,
    "coding with a parameter": b"Transfer-Encoding: chunked;x=y" + ONE_CHUNK,
    "coding behind a comma": b"Transfer-Encoding: ,chunked" + ONE_CHUNK,
    "coding before a comma": b"Transfer-Encoding: chunked," + ONE_CHUNK,
    "coding twice": b"Transfer-Encoding: chunked, chunked" + ONE_CHUNK,
    "coding twice, in two lines": b"Transfer-Encoding: chunked\nTransfer-Encoding: chunked" + ONE_CHUNK,
    "coding and another": b"Transfer-Encoding: chunked\nTransfer-Encoding: x" + ONE_CHUNK,
    "another and coding": b"Transfer-Encoding: x\nTransfer-Encoding: chunked" + ONE_CHUNK,
    "coding not last": b"Transfer-Encoding: chunked, gzip" + ONE_CHUNK,
    "coding folded": b"Transfer-Encoding:\n chunked" + ONE_CHUNK,
    "coding empty": b"Transfer-Encoding:\n\n",
    "coding with a bare CR": b"Transfer-Encoding: chunked\r" + ONE_CHUNK,
    "lengths that differ": b"Content-Length: 6\nContent-Length: 5\n\nhello!",
    "lengths that do not": b"Content-Length: 5\nContent-Length: 5\n\nhello",
    "lengths in a list": b"Content-Length: 5, 5\n\nhello",
    "length with a plus": b"Content-Length: +5\n\nhello",
    "length with a minus": b"Content-Length: -5\n\nhello",
    "length in hexadecimal": b"Content-Length: 0x5\n\nhello",
    "length with a fraction": b"Content-Length: 5.0\n\nhello",
    "length with a space inside": b"Content-Length: 1 2\n\nhello",
    "length with an underscore": b"Content-Length: 1_0\n\nhellohello",
    "length behind a vertical tab": b"Content-Length:\x0b5\n\nhello",
    "length empty": b"Content-Length:\n\n",
    "length beyond 64 bits": b"Content-Length: 18446744073709551621\n\nhello",
    "length in another script": b"Content-Length: \xd9\xa5\n\nhello",
    "length before a space": b"Content-Length : 5\n\nhello",
    "length named in connection": b"Connection: content-length\nContent-Length: 5\n\nhello",
    "coding named in connection": b"Connection: close, Transfer-Encoding\nTransfer-Encoding: chunked" + ONE_CHUNK,
    "host named in connection": b"Connection: host\n\n",
    "two hosts": b"Host: b\n\n",
    "two hosts, one behind a space": b" Host: b\n\n",
    "a line without a name": b": x\n\n",
    "a line without a colon": b"GET /evil HTTP/1.1\n\n",
    "chunk size with a plus": b"Transfer-Encoding: chunked\n\n+1\r\nx\r\n0\r\n\r\n",
    "chunk size with 0x": b"Transfer-Encoding: chunked\n\n0x1\r\nx\r\n0\r\n\r\n",
    "chunk size with an underscore": b"Transfer-Encoding: chunked\n\n1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "chunk size behind a space": b"Transfer-Encoding: chunked\n\n 1\r\nx\r\n0\r\n\r\n",
    "chunk size before a space": b"Transfer-Encoding: chunked\n\n1 \r\nx\r\n0\r\n\r\n",
    "chunk size of 64 bits and more": b"Transfer-Encoding: chunked\n\n10000000000000001\r\nx\r\n0\r\n\r\n",
    "chunk size before a bare LF": b"Transfer-Encoding: chunked\n\n1\x01LF\x01x\r\n0\r\n\r\n",
    "chunk size before a bare CR": b"Transfer-Encoding: chunked\n\n1\rx\r\n0\r\n\r\n",
    "chunk extension with a bare LF": b"Transfer-Encoding: chunked\n\n1;a\x01LF\x01x\r\n0\r\n\r\n",
    "chunk extension with a bare CR": b"Transfer-Encoding: chunked\n\n1;a\rb\r\nx\r\n0\r\n\r\n",
    "chunk before a bare LF": b"Transfer-Encoding: chunked\n\n1\r\nx\x01LF\x010\r\n\r\n",
    "chunk before a bare CR": b"Transfer-Encoding: chunked\n\n1\r\nx\r0\r\n\r\n",
    "chunk longer than said": b"Transfer-Encoding: chunked\n\n1\r\nxy\r\n0\r\n\r\n",
    "chunk shorter than said": b"Transfer-Encoding: chunked\n\n3\r\nx\r\n0\r\n\r\n",
    "chunk without a size": b"Transfer-Encoding: chunked\n\n\r\nx\r\n0\r\n\r\n",
    "last chunk before a bare LF": b"Transfer-Encoding: chunked\n\n0\x01LF\x01\r\n",
    "trailers that are folded": b"Transfer-Encoding: chunked\n\n0\r\nX: y\r\n z\r\n\r\n",
    "trailers that are none": b"Transfer-Encoding: chunked\n\n0\r\nGET /evil HTTP/1.1\r\n\r\n",
    "trailers with a bare LF": b"Transfer-Encoding: chunked\n\n0\r\nX: y\x01LF\x01Host: evil\r\n\r\n",
}
"""Field lines and bodies behind ``POST / HTTP/1.1`` and ``Host: a``; LF stands for CRLF in the head."""

REFUSED_WHOLE = {
    "an absolute target against its Host": b"GET http://b/ HTTP/1.1\nHost: a\n\n",
    "user information in a target": b"GET http://a@b/ HTTP/1.1\nHost: b\n\n",
    "a path that is no path": b"GET evil HTTP/1.1\nHost: a\n\n",
    "a space in a target": b"GET /\x20HTTP/1.1 HTTP/1.1\nHost: a\n\n",
    "a tab for a space": b"GET /\tHTTP/1.1\nHost: a\n\n",
    "a form feed for a space": b"GET\x0c/ HTTP/1.1\nHost: a\n\n",
    "a bare CR behind the line": b"GET / HTTP/1.1\rHost: a\n\n",
    "a bare LF behind the line": b"GET / HTTP/1.1\x01LF\x01Host: a\n\n",
    "bare LF throughout": b"GET / HTTP/1.1\x01LF\x01Host: a\x01LF\x01\x01LF\x01\r\n\r\n",
    "no version": b"GET /\nHost: a\n\n",
    "version 0.9": b"GET / HTTP/0.9\nHost: a\n\n",
    "version 1.2": b"GET / HTTP/1.2\nHost: a\n\n",
    "version 2": b"PRI * HTTP/2.0\n\nSM\n\n",
    "coding in version 1.0": b"POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
    "a line folded behind the request line": b"GET / HTTP/1.1\n Host: a\n\n",
    "no host": b"GET / HTTP/1.1\n\n",
    "an empty host": b"GET / HTTP/1.1\nHost:\n\n",
    "a host with a path": b"GET / HTTP/1.1\nHost: a/b\n\n",
    "a host with a port that is none": b"GET / HTTP/1.1\nHost: a:80evil\n\n",
    "a host and another behind a comma": b"GET / HTTP/1.1\nHost: a, b\n\n",
    "a host and another behind a space": b"GET / HTTP/1.1\nHost: a b\n\n",
    "a method in lower case": b"get / HTTP/1.1\nHost: a\n\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\nHost: a\n\n",
    "an echo": b"TRACE / HTTP/1.1\nHost: a\n\n",
    "two empty lines first": b"\n\nGET / HTTP/1.1\nHost: a\n\n",
    "a NUL first": b"\0GET / HTTP/1.1\nHost: a\n\n",
    "a byte order mark first": b"\xef\xbb\xbfGET / HTTP/1.1\nHost: a\n\n",
}

ONE_REQUEST = {
    "length": (b"Content-Length: 5\n\nhello", b"hello"),
    "length with zeros": (b"Content-Length: 005\n\nhello", b"hello"),
    "length in tabs": (b"content-LENGTH:\t5\t\n\nhello", b"hello"),
    "length of a body that is a request": (b"Content-Length: %d\n\n" % len(GET) + GET, GET),
    "coding": (b"Transfer-Encoding: chunked" + ONE_CHUNK, b"x"),
    "coding in capitals": (b"TRANSFER-ENCODING:\tCHUNKED " + ONE_CHUNK, b"x"),
    "chunks that are a request": (b"Transfer-Encoding: chunked\n\n%x\r\n%b\r\n0\r\n\r\n" % (len(GET), GET), GET),
    "chunk sizes with zeros": (b"Transfer-Encoding: chunked\n\n0001\r\nx\r\n00\r\n\r\n", b"x"),
    "chunk extensions": (b"Transfer-Encoding: chunked\n\n1;a=b\r\nx\r\n0;\r\n\r\n", b"x"),
    "trailers that would reframe": (b"Transfer-Encoding: chunked\n\n0\r\nContent-Length: 9\r\nHost: b\r\n\r\n", b""),
    "nothing": (b"\n", b""),
    "a coding of something else": (b"X-Transfer-Encoding: chunked\nTE: trailers\n\n", b""),
    "connection options that are options": (b"Connection: keep-alive, x-own\nX-Own: 1\n\n", b""),
}  # fmt: skip


def crlf(head_and_body: bytes) -> bytes:
    """LF to CRLF in the head; ``\\x01LF\\x01`` is a LF that stays one."""
    head, gap, body = head_and_body.partition(b"\n\n")
    return (head.replace(b"\n", b"\r\n") + gap.replace(b"\n", b"\r\n") + body).replace(b"\x01LF\x01", b"\n")


def post(rest: bytes) -> bytes:
    return crlf(b"POST / HTTP/1.1\nHost: a\n" + rest)


def expect_refusal(wire: bytes) -> None:
    """It is a fault, said once, and nothing behind it is heard: with and without a request behind, however it is cut."""
    for cuts in ((), each_byte(wire)):
        heard = hear_requests(server(), wire + GET + GET, cuts)

        assert heard[-1][0] == "fault"
        assert heard[-1][1] in {400, 501, 505}
        assert sum(event[0] == "request" for event in heard) <= 1
        assert ("end", ()) not in heard


@pytest.mark.parametrize("rest", REFUSED.values(), ids=REFUSED.keys())
def test_a_disguise_is_refused(rest: bytes) -> None:
    expect_refusal(post(rest))


@pytest.mark.parametrize("wire", REFUSED_WHOLE.values(), ids=REFUSED_WHOLE.keys())
def test_a_disguised_head_is_refused(wire: bytes) -> None:
    expect_refusal(crlf(wire))


@pytest.mark.parametrize(("rest", "body"), ONE_REQUEST.values(), ids=ONE_REQUEST.keys())
def test_what_is_no_disguise_is_one_request_to_everyone(rest: bytes, body: bytes) -> None:
    wire = post(rest)
    for cuts in ((), each_byte(wire)):
        heard = hear_requests(server(), wire + GET, cuts)

        assert [b"POST", b"GET"] == [event[1] for event in heard if event[0] == "request"]
        assert body == b"".join(event[1] for event in heard if event[0] == "body")
        assert [(b"POST", body)] == what_an_origin_hears(heard)


def what_an_origin_hears(heard: list[tuple]) -> list[tuple[bytes, bytes]]:
    """Send the first request on as we would, and read it with h11."""
    _, method, authority, target, fields, framing, length = heard[0]
    out = ClientConnection()
    out.send_request(method, target, authority, list(fields), framing, length)
    if framing is not Framing.NONE:
        out.send_body(b"".join(event[1] for event in heard[:3] if event[0] == "body"))
        out.send_end()
    origin = h11.Connection(h11.SERVER)
    origin.receive_data(written(out))
    found: list[tuple[bytes, bytes]] = []
    method, body = b"", b""
    while True:
        event = origin.next_event()
        if type(event) is h11.Request:
            method = event.method
        elif type(event) is h11.Data:
            body += bytes(event.data)
        elif type(event) is h11.EndOfMessage:
            found.append((method, body))
        else:
            assert event in {h11.NEED_DATA, h11.PAUSED}
            assert origin.trailing_data == (b"", False), "something is left behind the request"
            return found
