"""What an origin is asked, how its reply is read, and whether its connection may be used again."""

from __future__ import annotations

import pytest

from edge.errors import OriginFault, Retry
from edge.http.events import NEED_DATA, PAUSED, Body, End, Reply
from edge.http.h1.client import HEAD_BYTES, MOST_INTERIM, ClientConnection
from edge.message.head import Framing
from tests.http.talk import each_byte, hear_replies, written

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntea"


def asked(method: bytes = b"GET", **more) -> ClientConnection:
    conn = ClientConnection()
    conn.send_request(method, b"/x?y", b"a", [(b"accept", b"*/*")], **more)
    return conn


# --- asking --------------------------------------------------------------------------------------------------


def test_a_request_is_canonical() -> None:
    assert written(asked()) == b"GET /x?y HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n"


def test_a_body_of_known_length_is_sent_as_it_is() -> None:
    conn = asked(b"POST", framing=Framing.LENGTH, length=3)
    conn.send_body(b"te")
    conn.send_body(b"a")
    conn.send_end()

    assert written(conn).endswith(b"\r\ncontent-length: 3\r\n\r\ntea")


def test_a_body_of_unknown_length_is_chunked() -> None:
    conn = asked(b"POST", framing=Framing.CHUNKED)
    conn.send_body(b"tea")
    conn.send_end([(b"x", b"y")])

    assert written(conn).endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntea\r\n0\r\nx: y\r\n\r\n")


def test_the_origin_can_be_asked_to_close_or_to_change_protocols() -> None:
    assert written(asked(last=True)).endswith(b"\r\nconnection: close\r\n\r\n")
    assert written(asked(upgrade=b"websocket")).endswith(b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")


# --- replies -------------------------------------------------------------------------------------------------

REPLIES = [
    (b"GET", OK, ["reply", "body", "end"], True),
    (b"GET", OK.replace(b"1.1", b"1.0"), ["reply", "body", "end"], False),
    (b"GET", OK.replace(b"1.1", b"1.0").replace(b"OK\r\n", b"OK\r\nConnection: keep-alive\r\n"), ["reply", "body", "end"], True),
    (b"GET", OK.replace(b"OK\r\n", b"OK\r\nConnection: Close\r\n"), ["reply", "body", "end"], False),
    (b"GET", OK.replace(b"3", b"0")[:-3], ["reply", "end"], True),
    (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntea\r\n0\r\n\r\n", ["reply", "body", "end"], True),
    (b"HEAD", OK[:-3], ["reply"], True),
    (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ["reply"], True),
    (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", ["reply"], True),
    (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", ["reply"], True),
    (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, ["reply", "reply", "body", "end"], True),
    (b"GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", ["reply", "reply"], True),
]  # fmt: skip


@pytest.mark.parametrize(("method", "wire", "kinds", "reusable"), REPLIES)
def test_a_reply_is_read_to_its_end_however_it_is_cut(method: bytes, wire: bytes, kinds: list, reusable: bool) -> None:
    whole, conn = hear_replies(wire, method=method, eof=False)

    assert kinds == [kind for kind, *_ in whole]
    assert conn.reusable is reusable
    heard, conn = hear_replies(wire, each_byte(wire), method=method, eof=False)
    assert whole == heard
    assert conn.reusable is reusable


@pytest.mark.parametrize(("method", "wire", "kinds", "reusable"), REPLIES)
def test_whatever_comes_behind_a_reply_is_never_delivered(
    method: bytes, wire: bytes, kinds: list, reusable: bool
) -> None:
    """It would be taken for the answer to somebody else's request."""
    evil = wire + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for cuts in ((), (len(wire),), each_byte(evil)):
        heard, conn = hear_replies(evil, cuts, method=method, eof=False)

        assert kinds == [kind for kind, *_ in heard]
        assert not conn.reusable


def test_a_reply_without_a_length_lasts_until_the_close() -> None:
    heard, conn = hear_replies(b"HTTP/1.1 200 OK\r\n\r\ntea", each_byte(OK))

    assert [("body", b"tea"), ("end", ())] == heard[1:]
    assert not conn.reusable


def test_a_connection_is_used_again_and_again() -> None:
    conn = ClientConnection()
    for number in range(1, 4):
        conn.send_request(b"GET", b"/", b"a", [])
        conn.receive(OK)

        assert type(conn.next_event()) is Reply
        assert conn.next_event() == Body(number, b"tea")
        assert conn.next_event() == End(number)
        assert conn.next_event() is PAUSED
        assert conn.reusable
        assert conn.exchanges == number


def test_a_connection_that_ended_is_not_used_again() -> None:
    _, conn = hear_replies(OK)

    assert not conn.reusable
    with pytest.raises(AssertionError):
        conn.send_request(b"GET", b"/", b"a", [])


def test_a_reply_may_come_before_the_request_is_sent() -> None:
    """The origin has refused an upload; what is left of it is not sent, or makes the connection whole again."""
    conn = asked(b"POST", framing=Framing.LENGTH, length=3)
    conn.receive(OK)
    list(iter(conn.next_event, PAUSED))
    assert not conn.reusable
    conn.send_body(b"tea")
    conn.send_end()

    assert conn.reusable


def test_a_connection_asked_to_close_is_not_used_again() -> None:
    conn = asked(last=True)
    conn.receive(OK)
    list(iter(conn.next_event, PAUSED))

    assert not conn.reusable


def test_bytes_nobody_asked_for_are_thrown_away_and_remembered() -> None:
    conn = ClientConnection()
    conn.receive(b"220 mail.example ESMTP\r\n")
    assert conn.next_event() is PAUSED
    conn.send_request(b"GET", b"/", b"a", [])
    conn.receive(OK)
    assert type(conn.next_event()) is Reply
    list(iter(conn.next_event, PAUSED))

    assert not conn.reusable
    assert "stray bytes" in repr(conn)


# --- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "word"),
    [
        (b"", "connection_terminated"),
        (b"HTTP/1.1 200", "http_response_incomplete"),
        (OK[:-1], "http_response_incomplete"),
        (OK[:-3], "http_response_incomplete"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "connection_terminated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nte", "http_response_incomplete"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntea\r\n0\r\n", "http_response_incomplete"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http_response_transfer_coding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "http_response_transfer_coding"),
        (b"HTTP/1.1 200 OK\nContent-Length: 3\n\ntea", "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\n\r\n\r\ntea", "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nX: \n" + b"y" * HEAD_BYTES + b"\r\n\r\n", "http_protocol_error"),
        (b"<html>oops</html>\r\n\r\n", "http_protocol_error"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "http_upgrade_failed"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MOST_INTERIM + 1) + OK, "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_BYTES + b"\r\n\r\n", "http_response_header_section_size"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1001 + b"\r\n", "http_response_header_section_size"),
    ],
)
def test_what_an_origin_does_wrong_has_a_word(wire: bytes, word: str) -> None:
    for cuts in ((), (1,), (len(wire) - 1,), range(0, len(wire), 997)):
        heard, conn = hear_replies(wire, cuts)

        assert heard[-1] == ("fault", word)
        assert not conn.reusable
        assert conn.next_event() is PAUSED


@pytest.mark.parametrize("wire", [b"HTTP/1.1 200 OK\nX: y\n\ntea", b"HTTP/1.1 200 OK\r\nX: y\n", b"\n"])
def test_a_bare_lf_is_refused_as_soon_as_it_shows(wire: bytes) -> None:
    """Nobody waits for the end of a head that can have none."""
    for cuts in ((), range(len(wire))):
        assert hear_replies(wire, cuts, eof=False)[0] == [("fault", "http_protocol_error")]


def test_a_head_without_end_is_refused_before_it_ends() -> None:
    heard, _ = hear_replies(b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_BYTES, eof=False)

    assert heard == [("fault", "http_response_header_section_size")]


@pytest.mark.parametrize(("wire", "retry"), [(b"", Retry.IF_REUSED), (b"H", Retry.NEVER), (OK[:-1], Retry.NEVER)])
def test_only_an_origin_that_said_nothing_may_have_died_of_age(wire: bytes, retry: Retry) -> None:
    conn = asked()
    if wire:
        conn.receive(wire)
    conn.receive_eof()
    with pytest.raises(OriginFault) as caught:
        list(iter(conn.next_event, PAUSED))

    assert caught.value.retry is retry


# --- tunnels -------------------------------------------------------------------------------------------------


def test_a_tunnel_carries_bytes_verbatim_both_ways() -> None:
    conn = asked(upgrade=b"websocket")
    written(conn)
    conn.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    event = conn.next_event()
    assert type(event) is Reply
    assert event.head.status == 101
    assert conn.next_event() is PAUSED
    conn.tunnel()
    assert conn.next_event() == Body(1, b"\x81\x00")
    assert conn.next_event() is NEED_DATA
    conn.send_body(b"hello")
    assert written(conn) == b"hello"
    conn.receive_eof()
    assert conn.next_event() == End(1)
    conn.send_end()

    assert not conn.reusable


def test_a_request_s_own_body_is_over_when_its_tunnel_begins() -> None:
    conn = asked(b"POST", framing=Framing.CHUNKED, upgrade=b"x")
    conn.receive(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    conn.next_event()
    conn.tunnel()
    written(conn)
    conn.send_body(b"raw")

    assert written(conn) == b"raw"


def test_an_upgrade_that_is_declined_is_an_ordinary_reply() -> None:
    heard, conn = hear_replies(OK, upgrade=b"websocket", eof=False)

    assert ["reply", "body", "end"] == [kind for kind, *_ in heard]
    assert not conn.reusable


def test_a_tunnel_needs_an_origin_that_agreed() -> None:
    with pytest.raises(AssertionError):
        asked(upgrade=b"websocket").tunnel()


def test_a_state_can_be_read() -> None:
    assert repr(asked()) == "<ClientConnection #1 reading head, <BodyWriter between bodies>>"


@pytest.mark.parametrize("body", [b"", b"0123456789"])
def test_a_body_that_is_here_is_taken_at_once(body: bytes) -> None:
    conn = asked()
    conn.receive(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    conn.next_event()

    assert conn.take_rest() == body
    assert conn.reusable


@pytest.mark.parametrize(
    "wire",
    [
        b"content-length: 11\r\n\r\n0123456789",
        b"content-length: 9\r\n\r\n0123456789",
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n0123456789",
    ],
    ids=["not-yet", "and-more", "chunked", "until-the-end"],
)
def test_any_other_body_is_read_in_parts(wire: bytes) -> None:
    conn = asked()
    conn.receive(b"HTTP/1.1 200 OK\r\n" + wire)
    conn.next_event()

    assert conn.take_rest() is None
    assert type(conn.next_event()) in {Body, End}


def test_what_is_left_of_a_body_is_taken_at_once_too() -> None:
    conn = asked()
    conn.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234")
    conn.next_event()
    assert conn.next_event().data == b"01234"
    conn.receive(b"56789")

    assert conn.take_rest() == b"56789"
    assert conn.reusable
