"""What a client says, what it is told, and when the connection may go on."""

from __future__ import annotations

import pytest

from edge.errors import ClientFault, ClientGone
from edge.http.connection import Connection
from edge.http.events import NEED_DATA, PAUSED, Body, End, Request
from edge.http.h1.memo import HEAD_BYTES, HeadMemo
from edge.http.h1.server import DRAIN_BYTES, ServerConnection
from edge.message.head import Framing, ReplyHead
from tests.http.talk import GET, TEA, ask, each_byte, hear_requests, server, written

POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED_POST = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
STREAMED = ReplyHead(200, [], framing=Framing.CLOSE)
WIRE = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntea"


def answer(conn: ServerConnection, stream: int, head: ReplyHead = TEA, *body: bytes, trailers=()) -> bytes:
    conn.send_head(stream, head)
    for piece in body or (b"tea",):
        conn.send_body(stream, piece)
    conn.send_end(stream, trailers)
    return written(conn)


# --- what is heard -------------------------------------------------------------------------------------------


def test_it_is_a_connection() -> None:
    conn: Connection = server()

    assert conn.width == 1
    assert conn.next_event() is NEED_DATA
    assert conn.at_rest
    assert repr(conn) == "<ServerConnection #0 reading head, <BodyWriter between bodies>>"


def test_a_bodiless_request_is_whole_with_its_head() -> None:
    conn = server()
    event = ask(conn)

    assert event.head.framing is Framing.NONE
    assert conn.next_event() is PAUSED
    assert not conn.at_rest


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (POST + b"abcde", b"abcde"),
        (CHUNKED_POST + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", b"abcde"),
        (POST.replace(b"5", b"0"), None),
    ],
)
def test_a_body_is_heard_to_its_end_however_it_is_cut(wire: bytes, body: bytes | None) -> None:
    whole = hear_requests(server(), wire)

    assert [kind for kind, *_ in whole] == ["request", *(["body"] if body else []), "end", "closed"]
    assert body is None or ("body", body) in whole
    assert whole == hear_requests(server(), wire, each_byte(wire))


@pytest.mark.parametrize(("own", "limit", "refused"), [(None, 4, True), (None, 5, False), (4, 5, True), (64, 4, True)])
def test_a_body_of_unknown_length_may_be_limited_once_it_is_known_where_it_goes(own, limit, refused) -> None:
    conn = server(body_bytes=own)
    conn.receive(CHUNKED_POST)
    event = conn.next_event()
    assert isinstance(event, Request)
    conn.limit_body(event.stream, limit)
    conn.receive(b"5\r\nhello\r\n0\r\n\r\n")

    if refused:
        with pytest.raises(ClientFault) as fault:
            conn.next_event()
        assert fault.value.reply == 413
    else:
        assert isinstance(conn.next_event(), Body)


def test_a_limit_says_nothing_of_a_body_whose_length_is_said() -> None:
    conn = server()
    conn.receive(POST + b"hello")
    event = conn.next_event()
    assert isinstance(event, Request)
    conn.limit_body(event.stream, 1)

    assert isinstance(conn.next_event(), Body)


def test_body_bytes_are_given_as_they_come() -> None:
    conn = server()
    event = ask(conn, POST + b"ab")

    assert conn.reads_body
    assert conn.next_event() == Body(event.stream, b"ab")
    assert conn.next_event() is NEED_DATA
    conn.receive(b"cdeGET")
    assert conn.next_event() == Body(event.stream, b"cde")
    assert conn.next_event() == End(event.stream, [])
    assert conn.next_event() is PAUSED
    assert conn.buffered == 3
    assert not conn.reads_body


def test_trailers_come_with_the_end() -> None:
    heard = hear_requests(server(), CHUNKED_POST + b"0\r\nX-Sum: 1\r\n\r\n")

    assert ("end", ((b"x-sum", b"1"),)) in heard


def test_the_next_request_waits_for_the_reply() -> None:
    conn = server()
    first = ask(conn, GET + GET.replace(b"/", b"/2", 1))

    assert conn.next_event() is PAUSED
    answer(conn, first.stream)
    second = conn.next_event()
    assert type(second) is Request
    assert second.head.target == b"/2"
    assert second.stream != first.stream


def test_a_body_of_no_bytes_takes_none_of_the_next_request() -> None:
    wire = POST.replace(b"5", b"0") + GET
    for cuts in ((), each_byte(wire)):
        assert [b"/p", b"/"] == [event[3] for event in hear_requests(server(), wire, cuts) if event[0] == "request"]


def test_pipelined_requests_are_heard_in_order_however_they_are_cut() -> None:
    wire = GET + POST + b"abcde" + CHUNKED_POST + b"1\r\nx\r\n0\r\n\r\n" + GET
    whole = hear_requests(server(), wire)

    assert [b"/", b"/p", b"/c", b"/"] == [event[3] for event in whole if event[0] == "request"]
    for step in (1, 2, 3, 7, 50):
        assert whole == hear_requests(server(), wire, range(0, len(wire), step))


def test_one_empty_line_before_a_request_is_forgiven_and_two_are_not() -> None:
    """RFC 9112 §2.2: old clients send one behind a body."""
    for cuts in ((), (1,), (2,), each_byte(GET)):
        assert hear_requests(server(), b"\r\n" + GET, cuts)[0][0] == "request"
        assert hear_requests(server(), b"\r\n\r\n" + GET, cuts) == [("fault", 400)]
        assert hear_requests(server(), b"\n" + GET, cuts) == [("fault", 400)]
        assert hear_requests(server(), b"\r" + GET, cuts) == [("fault", 400)]
        assert [event[0] for event in hear_requests(server(), GET + b"\r\n" + GET, cuts)] == ["request"] * 2 + [
            "closed"
        ]


# --- what is remembered --------------------------------------------------------------------------------------


def test_an_identical_head_is_the_same_object_on_every_connection() -> None:
    memo = HeadMemo()
    heads = [ask(server(memo=memo)).head for _ in range(3)]

    assert heads[0] is heads[1] is heads[2]
    assert [GET] == list(memo.heads)


def test_a_remembered_head_is_recognised_in_a_pipeline_and_across_cuts() -> None:
    memo = HeadMemo()
    head = ask(server(memo=memo)).head
    conn = server(memo=memo)
    conn.receive(GET[:9])
    assert conn.next_event() is NEED_DATA
    event = ask(conn, GET[9:] + GET)

    assert event.head is head
    answer(conn, event.stream)
    assert conn.next_event().head is head


def test_what_was_half_looked_at_leaves_no_trace() -> None:
    memo = HeadMemo()
    ask(server(memo=memo))
    other = GET.replace(b"/", b"/other", 1)
    for prefix in (b"\r\n", b""):
        for cut in range(1, len(prefix + GET)):
            conn = server(memo=memo)
            conn.receive((prefix + GET)[:cut])
            assert conn.next_event() is NEED_DATA
            answer(conn, ask(conn, (prefix + GET)[cut:]).stream)
            assert ask(conn, b"\r\n" + other).head.target == b"/other"


def test_a_head_remembered_for_another_scheme_is_not_taken() -> None:
    memo = HeadMemo()

    assert [ask(server(scheme, memo=memo)).head.scheme for scheme in (b"http", b"https", b"http")] == [
        b"http",
        b"https",
        b"http",
    ]


@pytest.mark.parametrize(
    "wire",
    [POST, CHUNKED_POST, GET[:-2] + b"x: " + b"y" * HEAD_BYTES + b"\r\n\r\n"],
    ids=["length", "chunked", "large"],
)
def test_what_has_a_body_or_is_large_is_not_remembered(wire: bytes) -> None:
    memo = HeadMemo()
    ask(server(memo=memo), wire)

    assert {} == memo.heads


# --- what is limited -----------------------------------------------------------------------------------------


def test_a_line_is_limited_even_before_it_ends() -> None:
    line = b"GET /" + b"x" * 85 + b" HTTP/1.1"
    wire = line + b"\r\nHost: a\r\n\r\n"
    for cuts in ((), each_byte(wire)):
        assert hear_requests(server(line_bytes=len(line)), wire, cuts)[0][0] == "request"
        assert hear_requests(server(line_bytes=len(line) - 1), wire, cuts) == [("fault", 414)]
    assert hear_requests(server(line_bytes=50), b"x" * 52, eof=False) == [("fault", 414)]


def test_fields_are_limited_even_before_they_end() -> None:
    fields = b"Host: a\r\nx: " + b"y" * 88
    wire = b"GET / HTTP/1.1\r\n" + fields + b"\r\n\r\n"
    for cuts in ((), each_byte(wire)):
        assert hear_requests(server(header_bytes=len(fields) + 2), wire, cuts)[0][0] == "request"
        assert hear_requests(server(header_bytes=len(fields) + 1), wire, cuts) == [("fault", 431)]
    assert hear_requests(server(header_bytes=50), wire[:90], eof=False) == [("fault", 431)]


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"\n", 400),
        (b"\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/3.0\r\nHost: a\n", 505),
        (b"TRACE / HTTP/1.1\r\nHost: a\n", 501),
        (b"GET /" + b"x" * 96 + b"\n", 400),
        (b"GET /" + b"x" * 97 + b"\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 86 + b"\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 90 + b"\n", 431),
    ],
)
def test_a_bare_lf_is_refused_as_soon_as_it_shows(wire: bytes, status: int) -> None:
    """Nobody waits for the end of a head that can have none; and what is refused first does not depend on the cut."""
    for tail in (b"", b"z" * 200, b"\r\n\r\n", b"\r\n\r\n" + GET):
        for cuts in ((), (len(wire) - 1,), (len(wire),), each_byte(wire + tail)):
            heard = hear_requests(server(line_bytes=100, header_bytes=100), wire + tail, cuts, eof=False)
            assert heard == [("fault", status)], (tail, cuts)


def test_a_bad_line_is_refused_before_its_fields_come() -> None:
    assert hear_requests(server(), b"GET / HTTP/3.0\r\nHost", eof=False) == [("fault", 505)]


def test_a_bad_line_counts_before_too_many_fields() -> None:
    wire = b"GET /\r\n" + b"x: " + b"y" * 100 + b"\r\n\r\n"
    for cuts in ((), each_byte(wire)):
        assert hear_requests(server(header_bytes=50), wire, cuts) == [("fault", 400)]


@pytest.mark.parametrize("size", [b"b", b"5\r\nabcde\r\n6"])
def test_a_chunked_body_is_limited(size: bytes) -> None:
    assert hear_requests(server(body_bytes=10), CHUNKED_POST + size + b"\r\n")[-1] == ("fault", 413)


def test_a_chunked_body_at_its_limit_passes() -> None:
    assert hear_requests(server(body_bytes=10), CHUNKED_POST + b"a\r\n0123456789\r\n0\r\n\r\n")[-1] == ("closed",)


def test_no_body_at_all_can_be_allowed() -> None:
    assert hear_requests(server(body_bytes=0), CHUNKED_POST + b"1\r\n")[-1] == ("fault", 413)


# --- replies -------------------------------------------------------------------------------------------------


def test_a_reply_of_known_length_says_so() -> None:
    conn = server()

    assert answer(conn, ask(conn).stream) == b"HTTP/1.1 200 OK\r\nx: tea\r\ncontent-length: 3\r\n\r\ntea"
    assert conn.at_rest
    assert not conn.closing


def test_a_reply_of_unknown_length_is_chunked() -> None:
    conn = server()
    wire = answer(conn, ask(conn).stream, STREAMED, b"te", b"", b"a", trailers=[(b"x", b"y")])

    assert wire == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nte\r\n1\r\na\r\n0\r\nx: y\r\n\r\n"
    assert conn.at_rest


def test_an_old_client_gets_a_body_until_the_close() -> None:
    """HTTP/1.0 does not know chunks (RFC 9112 §6.1)."""
    conn = server()
    wire = answer(conn, ask(conn, OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")).stream, STREAMED)

    assert wire == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ntea"
    assert conn.closing
    assert not conn.torn


def test_an_old_client_that_asks_is_kept() -> None:
    conn = server()
    wire = answer(conn, ask(conn, OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")).stream)

    assert wire.endswith(b"\r\nconnection: keep-alive\r\n\r\ntea")
    assert conn.at_rest


@pytest.mark.parametrize("wire", [OLD, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
def test_who_does_not_want_to_be_kept_is_not(wire: bytes) -> None:
    conn = server()

    assert b"\r\nconnection: close\r\n" in answer(conn, ask(conn, wire).stream)
    assert conn.closing
    assert conn.next_event() is PAUSED


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (ReplyHead(200, [], framing=Framing.LENGTH, length=3), b"content-length: 3\r\n"),
        (ReplyHead(200, [], framing=Framing.NONE, length=3), b"content-length: 3\r\n"),
        (ReplyHead(200, [], framing=Framing.CHUNKED), b""),
        (ReplyHead(200, [], framing=Framing.NONE), b""),
    ],
)
def test_head_gets_the_head_alone(head: ReplyHead, expected: bytes) -> None:
    conn = server()

    assert answer(conn, ask(conn, HEAD).stream, head) == b"HTTP/1.1 200 OK\r\n" + expected + b"\r\n"
    assert conn.at_rest


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (ReplyHead(204, [], length=5), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (ReplyHead(304, []), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (ReplyHead(304, [], length=5), b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
    ],
)
def test_some_statuses_have_no_body(head: ReplyHead, expected: bytes) -> None:
    conn = server()

    assert answer(conn, ask(conn).stream, head) == expected


def test_a_reply_without_a_body_says_so() -> None:
    conn = server()
    conn.send_head(ask(conn).stream, ReplyHead(302, []))
    conn.send_end(1)

    assert written(conn) == b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"


def test_interim_replies_come_first_and_only_to_those_who_know_them() -> None:
    for wire, expected in ((GET, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"), (OLD, b"")):
        conn = server()
        conn.send_interim(ask(conn, wire).stream, ReplyHead(103, [(b"link", b"x")]))

        assert written(conn) == expected


# --- what was rendered before --------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, b"more", memoryview(b"more")])
def test_a_rendered_reply_ends_the_exchange(body: bytes | memoryview | None) -> None:
    conn = server()
    event = ask(conn)
    assert conn.plain
    conn.send_whole(event.stream, WIRE, body)

    assert written(conn) == WIRE + bytes(body or b"")
    assert conn.at_rest
    assert not conn.plain
    assert type(ask(conn)) is Request


def test_a_request_with_a_body_is_plain_once_it_is_read() -> None:
    conn = server()
    event = ask(conn, POST + b"abcde")
    assert not conn.plain
    conn.next_event()
    conn.next_event()
    assert conn.plain
    conn.send_whole(event.stream, WIRE, None)

    assert written(conn) == WIRE
    assert conn.at_rest


@pytest.mark.parametrize("wire", [OLD, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
def test_who_must_be_told_of_the_close_is_not_plain(wire: bytes) -> None:
    memo = HeadMemo()
    for _ in range(2):
        conn = server(memo=memo)
        ask(conn, wire)

        assert not conn.plain


# --- bodies that nobody wanted ---------------------------------------------------------------------------------


def test_a_small_rest_of_a_body_is_read_over() -> None:
    conn = server()
    event = ask(conn, POST + b"ab")
    assert b"close" not in answer(conn, event.stream)
    assert not conn.at_rest
    assert conn.next_event() is NEED_DATA
    conn.receive(b"cde" + GET)

    assert type(conn.next_event()) is Request


@pytest.mark.parametrize(
    "wire",
    [
        POST.replace(b"5", b"%d" % (DRAIN_BYTES + 3)) + b"ab",
        CHUNKED_POST + b"2\r\nab\r\n",
        POST[:-2] + b"Expect: 100-continue\r\n\r\n",
    ],
    ids=["long", "chunked", "held back"],
)
def test_a_body_that_may_be_long_or_never_come_ends_the_connection(wire: bytes) -> None:
    conn = server()
    event = ask(conn, wire)

    assert b"\r\nconnection: close\r\n" in answer(conn, event.stream)
    assert conn.closing
    assert conn.lingers


def test_a_body_that_was_asked_for_is_read_over() -> None:
    conn = server()
    event = ask(conn, POST[:-2] + b"Expect: 100-continue\r\n\r\n")
    conn.send_interim(event.stream, ReplyHead(100, []))

    assert event.head.expect_continue
    assert written(conn) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"close" not in answer(conn, event.stream)


def test_a_body_that_comes_unasked_is_read_over() -> None:
    conn = server()
    event = ask(conn, POST[:-2] + b"Expect: 100-continue\r\n\r\nab")

    assert b"close" not in answer(conn, event.stream)
    conn.receive(b"cde")
    assert conn.next_event() is NEED_DATA
    assert conn.at_rest


def test_a_client_that_leaves_inside_a_body_nobody_wants_is_not_a_fault() -> None:
    conn = server()
    answer(conn, ask(conn, POST).stream)
    conn.receive_eof()

    assert conn.next_event() is PAUSED
    assert conn.closing


def test_a_reply_may_end_before_its_request_without_losing_the_next() -> None:
    conn = server()
    event = ask(conn, POST)
    conn.send_head(event.stream, TEA)
    conn.receive(b"abcde" + GET)
    assert conn.next_event() == Body(event.stream, b"abcde")
    assert conn.next_event() == End(event.stream)
    assert not conn.plain  # its head is out already
    conn.send_body(event.stream, b"tea")
    conn.send_end(event.stream)

    assert type(conn.next_event()) is Request


# --- faults --------------------------------------------------------------------------------------------------


def test_a_fault_is_said_once_and_can_be_answered() -> None:
    conn = server()
    conn.receive(b"nonsense\r\n\r\n" + GET)
    with pytest.raises(ClientFault):
        conn.next_event()
    assert conn.closing
    assert conn.lingers
    assert conn.next_event() is PAUSED
    conn.refuse(None, ReplyHead(400, [(b"x", b"y")]), b"no")

    assert written(conn) == b"HTTP/1.1 400 Bad Request\r\nx: y\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"nonsense\r\n\r\n" + GET, b"nonsense"),
        (b"\r\nGET / HTTP/3.0\r\nHost: a\r\n\r\n" + GET, b"GET / HTTP/3.0"),
        (b"GET / HTTP/1.1\nAuthorization: secret\n\r\n\r\n", b"GET / HTTP/1.1"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", b"GET /" + b"x" * 251),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000, b"GET / HTTP/1.1"),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_of_a_head_that_is_refused_the_beginning_of_its_first_line_is_kept(sent: bytes, line: bytes, step: int) -> None:
    conn = server()

    def hear() -> None:
        for at in range(0, len(sent), step):
            conn.receive(sent[at : at + step])
            conn.next_event()

    with pytest.raises(ClientFault):
        hear()

    assert line == conn.first_line()


def test_of_a_head_that_is_coming_in_there_is_what_has_come_and_of_one_that_was_understood_nothing() -> None:
    conn = server()
    assert b"" == conn.first_line()
    conn.receive(b"GET /a")
    assert conn.next_event() is NEED_DATA
    assert b"GET /a" == conn.first_line()
    conn.receive(b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert type(conn.next_event()) is Request

    assert b"" == conn.first_line()


def test_a_fault_inside_a_body_leaves_the_exchange_to_be_answered() -> None:
    conn = server()
    event = ask(conn, CHUNKED_POST + b"nonsense\r\n")
    with pytest.raises(ClientFault):
        conn.next_event()
    assert not conn.closing
    assert conn.next_event() is PAUSED
    assert 2 == conn.refuse(event.stream, ReplyHead(400, []), b"no")

    assert conn.closing
    assert conn.lingers
    assert written(conn).endswith(b"\r\n\r\nno")


def test_a_reply_under_way_may_end_after_a_fault_in_the_body_and_is_the_last() -> None:
    conn = server()
    event = ask(conn, CHUNKED_POST)
    conn.send_head(event.stream, TEA)
    conn.receive(b"nonsense\r\n")
    with pytest.raises(ClientFault):
        conn.next_event()
    conn.send_body(event.stream, b"tea")
    conn.send_end(event.stream)

    assert conn.closing


def test_head_is_refused_without_a_body() -> None:
    conn = server()
    assert 0 == conn.refuse(ask(conn, HEAD).stream, ReplyHead(503, []), b"no")

    assert written(conn).endswith(b"content-length: 2\r\nconnection: close\r\n\r\n")
    assert conn.closing
    assert not conn.lingers


def test_an_open_exchange_can_be_refused_and_what_follows_is_not_read() -> None:
    conn = server()
    event = ask(conn, GET + GET)
    conn.refuse(event.stream, ReplyHead(503, []), b"no")

    assert conn.closing
    assert conn.lingers
    assert conn.next_event() is PAUSED


def test_an_aborted_reply_is_torn() -> None:
    conn = server()
    event = ask(conn)
    conn.send_head(event.stream, STREAMED)
    conn.send_body(event.stream, b"half of it")
    conn.abort()

    assert not conn.out
    assert conn.closing
    assert conn.torn
    with pytest.raises(AssertionError):
        conn.send_body(event.stream, b"the rest")


def test_what_comes_after_the_end_is_not_kept() -> None:
    conn = server()
    conn.abort()
    for _ in range(100):
        conn.receive(b"x" * 100)

    assert conn.buffered <= 100


# --- leaving -------------------------------------------------------------------------------------------------


def test_a_client_that_closes_at_rest_is_simply_gone() -> None:
    conn = server()
    conn.receive_eof()

    assert conn.next_event() is PAUSED
    assert conn.closing


@pytest.mark.parametrize(
    "wire", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r", POST, POST + b"ab", CHUNKED_POST + b"5\r\nab"]
)
def test_a_client_that_closes_within_a_message_is_gone(wire: bytes) -> None:
    conn = server()
    conn.receive(wire)
    conn.receive_eof()
    with pytest.raises(ClientGone) as caught:
        list(iter(conn.next_event, NEED_DATA))

    assert caught.value.reply is None
    assert not conn.lingers


def test_a_client_that_closes_its_half_is_still_answered() -> None:
    conn = server()
    event = ask(conn, GET + GET)
    conn.receive_eof()
    answer(conn, event.stream)
    event = conn.next_event()
    answer(conn, event.stream)

    assert not conn.closing
    assert conn.next_event() is PAUSED
    assert conn.closing


def test_leaving_at_rest_is_at_once() -> None:
    conn = server()
    conn.leave()

    assert conn.closing
    assert not conn.torn


def test_leaving_can_wait_for_one_more_request() -> None:
    conn = server()
    conn.leave(at_once=False)
    assert not conn.closing
    event = ask(conn)

    assert not conn.plain
    assert b"connection: close" in answer(conn, event.stream)
    assert conn.closing


def test_leaving_with_an_exchange_open_is_said_in_its_reply() -> None:
    conn = server()
    event = ask(conn)
    assert conn.plain
    conn.leave()

    assert not conn.plain
    assert not conn.closing
    assert b"connection: close" in answer(conn, event.stream)
    assert conn.closing


# --- tunnels -------------------------------------------------------------------------------------------------


def test_a_tunnel_carries_bytes_verbatim_both_ways() -> None:
    conn = server()
    event = ask(conn, UPGRADE + b"\x81\x00")
    conn.tunnel(event.stream, ReplyHead(101, [(b"sec-websocket-accept", b"x")]))
    assert conn.tunnels
    assert (
        written(conn) == b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\n"
        b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    assert conn.next_event() == Body(event.stream, b"\x81\x00")
    assert conn.next_event() is NEED_DATA
    conn.send_body(event.stream, b"GET / HTTP/1.1\r\n\r\n")
    assert written(conn) == b"GET / HTTP/1.1\r\n\r\n"
    conn.receive_eof()
    assert conn.next_event() == End(event.stream)
    assert not conn.closing
    conn.send_body(event.stream, b"bye")
    conn.send_end(event.stream)

    assert conn.closing
    assert written(conn) == b"bye"


def test_a_tunnel_may_end_on_our_side_first() -> None:
    conn = server()
    event = ask(conn, UPGRADE)
    conn.tunnel(event.stream, ReplyHead(101, []))
    conn.send_end(event.stream)

    assert conn.closing
    assert conn.lingers


# --- our own mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mistake",
    [
        lambda conn: conn.send_head(2, TEA),
        lambda conn: conn.send_head(1, ReplyHead(100, [])),
        lambda conn: conn.send_body(1, b"x"),
        lambda conn: conn.send_end(1),
        lambda conn: conn.send_whole(2, WIRE, None),
        lambda conn: conn.send_interim(1, ReplyHead(101, [])),
        lambda conn: conn.send_interim(1, TEA),
        lambda conn: conn.tunnel(1, TEA),
        lambda conn: conn.tunnel(1, ReplyHead(101, [])),
        lambda conn: conn.refuse(2, ReplyHead(400, []), b""),
        lambda conn: conn.send_head(1, ReplyHead(200, [], framing=Framing.LENGTH)),
        lambda conn: [conn.send_head(1, TEA), conn.send_head(1, TEA)],
        lambda conn: [conn.send_head(1, TEA), conn.send_interim(1, ReplyHead(103, []))],
        lambda conn: [conn.send_head(1, TEA), conn.refuse(1, ReplyHead(400, []), b"")],
        lambda conn: [conn.send_head(1, TEA), conn.send_whole(1, WIRE, None)],
        lambda conn: [conn.send_whole(1, WIRE, None), conn.send_whole(1, WIRE, None)],
        lambda conn: [conn.send_whole(1, WIRE, None), conn.send_head(1, TEA)],
    ],
)
def test_what_we_do_in_the_wrong_order_is_our_bug(mistake) -> None:
    conn = server()
    ask(conn)
    with pytest.raises(AssertionError):
        mistake(conn)
