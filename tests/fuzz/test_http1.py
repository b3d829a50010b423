"""
Invariants of HTTP/1, one sentence each.

- Any bytes give events or a Fault of who sent them, never another exception.
- Any cut of the same bytes gives the same events.
- Whatever we understand, h11 understands in the same way: the same requests and the same bodies.
- What we write, h11 reads back unchanged.
"""

from __future__ import annotations

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import ClientFault
from edge.http.h1.chunked import ChunkedDecoder
from edge.http.h1.client import ClientConnection
from edge.http.h1.memo import HeadMemo
from edge.message.head import Framing, ReplyHead
from tests.http.talk import GET, ask, hear_replies, hear_requests, pieces, server, written

FAST = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCRAPS = st.sampled_from(
    [
        b"GET", b"POST", b"HEAD", b" ", b"/", b"*", b"/a?b", b"http://a/", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n", b"\r",
        b"Host: a", b"Content-Length: ", b"5", b"0", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive",
        b"Expect: 100-continue", b"X: y", b": ", b"\t", b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"1;x\r\nz\r\n", b"\0", b"\xff",
        b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 Not Modified",
        b"Upgrade: websocket", b"Connection: upgrade", b"HTTP/1.1 101 Switching Protocols", GET, b"POST / HTTP/1.1\r\nHost: a\r\n",
    ]
)  # fmt: skip
SOUP = st.lists(SCRAPS | st.binary(max_size=4), max_size=14).map(b"".join)
CUTS = st.lists(st.integers(1, 200), max_size=8)

NAMES = st.from_regex(r"\Ax-[a-z]{1,8}\Z").map(str.encode)
VALUES = st.from_regex(r"\A[!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?\Z").map(
    lambda text: text.encode("latin-1")
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
BODIES = st.binary(max_size=300)
CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One well-formed request, in one of many spellings."""
    fields = [name.title() + b":" + draw(st.sampled_from([b"", b" ", b"\t "])) + value for name, value in draw(FIELDS)]
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    body = b""
    if framing == "length":
        body = draw(BODIES)
        fields.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        fields.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in draw(CHUNKS)) + b"0\r\n\r\n"
    fields.insert(draw(st.integers(0, len(fields))), b"Host: a")
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS"]))
    target = b"/" + draw(st.from_regex(r"\A[!\"$-~]{0,12}\Z").map(str.encode))
    return method + b" " + target + b" HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def twisted(wire: bytes, at: int, scrap: bytes, *, replace: bool) -> bytes:
    """The same, with one thing wrong somewhere."""
    at %= len(wire) + 1
    return wire[:at] + scrap + wire[at + len(scrap) * replace :]


WIRES = st.lists(requests(), min_size=1, max_size=3).map(b"".join)
TWISTED = st.builds(
    twisted, WIRES, st.integers(0, 2000), SCRAPS | st.binary(min_size=1, max_size=2), replace=st.booleans()
)


def h11_requests(wire: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Every request that h11 hears to its end."""
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=10**6)
    conn.receive_data(wire)
    found: list[tuple[bytes, bytes, bytes]] = []
    body = b""
    try:
        while True:
            event = conn.next_event()
            if type(event) is h11.Request:
                method, target, body = event.method, event.target, b""
            elif type(event) is h11.Data:
                body += bytes(event.data)
            elif type(event) is h11.EndOfMessage:
                found.append((method, target, body))
                conn.send(h11.Response(status_code=204, headers=[]))
                conn.send(h11.EndOfMessage())
                if conn.our_state is not h11.DONE:
                    return found
                conn.start_next_cycle()
            else:
                return found
    except h11.RemoteProtocolError:
        return found


def our_requests(heard: list[tuple]) -> list[tuple[bytes, bytes, bytes]]:
    """Every request that was heard to its end."""
    found: list[tuple[bytes, bytes, bytes]] = []
    body = b""
    for event in heard:
        if event[0] == "request":
            method, target, body = event[1], event[3], b""
            if event[5] is Framing.NONE:
                found.append((method, target, b""))
        elif event[0] == "body":
            body = event[1]
        elif event[0] == "end":
            found.append((method, target, body))
    return found


def same(a: list[tuple], b: list[tuple]) -> bool:
    """Equal, but for how much of a body was given on before a fault in it."""
    if a == b or a[-1:] != b[-1:] or a[-1][0] != "fault":
        return a == b
    a, b = sorted(
        (a[:-1], b[:-1]), key=lambda heard: (len(heard), len(heard[-1][1]) if heard and heard[-1][0] == "body" else 0)
    )
    if a == b:
        return True
    if len(a) < len(b):
        return a == b[:-1] and b[-1][0] == "body"
    return a[:-1] == b[:-1] and a[-1][0] == b[-1][0] == "body" and b[-1][1].startswith(a[-1][1])


@pytest.mark.slow
@FAST
@given(SOUP | TWISTED | st.binary(max_size=200), CUTS, st.booleans())
def test_any_bytes_in_any_cut_are_the_same_requests_or_a_fault(wire: bytes, cuts: list[int], eof: bool) -> None:
    whole = hear_requests(server(), wire, eof=eof)

    assert same(whole, hear_requests(server(), wire, cuts, eof=eof))
    assert same(whole, hear_requests(server(), wire, range(len(wire)), eof=eof))


@FAST
@given(SOUP | st.binary(max_size=200), CUTS, st.sampled_from([b"GET", b"HEAD"]), st.sampled_from([None, b"websocket"]))
def test_any_bytes_in_any_cut_are_the_same_reply_or_a_fault(
    wire: bytes, cuts: list[int], method: bytes, upgrade: bytes | None
) -> None:
    whole, conn = hear_replies(wire, method=method, upgrade=upgrade)
    cut, other = hear_replies(wire, cuts, method=method, upgrade=upgrade)

    assert same(whole, cut)
    assert conn.reusable is other.reusable is False  # the origin has closed


@pytest.mark.slow
@FAST
@given(SOUP | TWISTED)
def test_a_memo_changes_nothing_that_is_heard(wire: bytes) -> None:
    memo = HeadMemo()

    assert (
        hear_requests(server(), wire)
        == hear_requests(server(memo=memo), wire)
        == hear_requests(server(memo=memo), wire)
    )


@pytest.mark.slow
@FAST
@given(WIRES)
def test_well_formed_requests_are_all_heard(wire: bytes) -> None:
    assert h11_requests(wire) == our_requests(hear_requests(server(), wire))


@pytest.mark.slow
@FAST
@given(SOUP | TWISTED)
def test_what_we_hear_h11_hears_too(wire: bytes) -> None:
    """
    We may refuse what it takes; we may never take anything in another way.

    How many are heard is not compared: h11 stops at the empty line before a request that RFC 9112 §2.2 forgives.
    """
    ours = our_requests(hear_requests(server(), wire))
    theirs = h11_requests(wire)
    plain = [
        (method, target, body) if target.startswith((b"/", b"*")) else (method, None, body)
        for method, target, body in theirs
    ]

    for our, their in zip(ours, plain, strict=False):
        assert our == their or (their[1] is None and (our[0], our[2]) == (their[0], their[2]))


@FAST
@given(FIELDS, CHUNKS, st.booleans())
def test_a_request_we_send_is_read_back_unchanged(fields: list, chunks: list[bytes], chunked: bool) -> None:
    body = b"".join(chunks)
    conn = ClientConnection()
    conn.send_request(b"POST", b"/x", b"a", fields, Framing.CHUNKED if chunked else Framing.LENGTH, len(body))
    for chunk in chunks:
        conn.send_body(chunk)
    conn.send_end()

    assert [(b"POST", b"/x", body)] == h11_requests(written(conn))


@pytest.mark.slow
@FAST
@given(
    FIELDS,
    CHUNKS,
    st.sampled_from(list(Framing)),
    st.sampled_from([200, 204, 304, 404]),
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_a_reply_we_send_is_read_back_unchanged(
    fields: list, chunks: list[bytes], framing: Framing, status: int, method: bytes
) -> None:
    """By h11, and by our own other end."""
    body = b"" if framing is Framing.NONE else b"".join(chunks)
    conn = server()
    event = ask(conn, GET.replace(b"GET", method))
    conn.send_head(event.stream, ReplyHead(status, fields, framing=framing, length=len(body)))
    silent = method == b"HEAD" or status in {204, 304}
    for chunk in chunks if body and not silent else []:
        conn.send_body(event.stream, chunk)
    conn.send_end(event.stream)
    wire = written(conn)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    heard = client.next_event()
    got = b""
    while type(data := client.next_event()) is h11.Data:
        got += bytes(data.data)

    assert type(data) is h11.EndOfMessage
    assert heard.status_code == status
    assert fields == [(name, value) for name, value in heard.headers if name.startswith(b"x-")]
    assert got == (b"" if silent else body)
    heard, ours = hear_replies(wire, method=method, eof=False)
    assert got == b"".join(event[1] for event in heard if event[0] == "body")
    assert ours.reusable
    assert client.trailing_data == (b"", False)


@FAST
@given(st.lists(SCRAPS | st.binary(max_size=20), max_size=10).map(b"".join), CUTS)
def test_any_bytes_are_chunks_or_a_fault_in_any_cut(wire: bytes, cuts: list[int]) -> None:
    def decode(parts: list[bytes]) -> tuple:
        decoder = ChunkedDecoder(ClientFault, most=100)
        body = b""
        try:
            while parts and not decoder.done:
                body += decoder.decode(parts.pop(0))
        except ClientFault as fault:
            return "fault", fault.reply
        return body, decoder.done, decoder.trailers, decoder.rest + b"".join(parts)

    assert decode(pieces(wire, [])) == decode(pieces(wire, cuts)) == decode(pieces(wire, range(len(wire))))
