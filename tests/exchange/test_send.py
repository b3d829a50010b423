"""
What needs no waiting is sent: a copy, the edge's own words, a refusal.

The connection is real. A copy that is ready is sent in two ways, prepared and composed; they must give the same bytes.
"""

from __future__ import annotations

import pytest

from edge.errors import ClientFault, ClientGone
from edge.exchange.decision import Answer
from edge.exchange.send import Shaped, not_modified, send_answer, send_refusal, send_serve, shape, whole
from edge.message.head import Framing, ReplyHead
from tests.cache import kit
from tests.exchange.kit import FRESH, NOW, TEXT, TEXTUAL, Desk
from tests.http.talk import server

BODY = b"0123456789"
DATED = FRESH | {"date": 0, "last-modified": -100}


def connection(method="GET", version="1.1", fields=()):
    """A connection with one open exchange."""
    made = server(b"https")
    lines = [f"{method} /x HTTP/{version}", "Host: shop.example", *fields]
    made.receive("\r\n".join(lines).encode() + b"\r\n\r\n")
    event = made.next_event()
    return made, event.stream


def wire(conn):
    taken = bytearray()
    while conn.out:
        piece = bytes(conn.out.first())
        taken += piece
        conn.out.sent(len(piece))
    return bytes(taken)


def sent(desk, method="GET", fields={}, *, version="1.1", **more):
    """What a client gets, and what is noted."""
    known = desk.known("/x", method, fields)
    serve = desk.rooms.decide(known)
    conn, stream = connection(method, version)
    noted = send_serve(conn, stream, known, serve, desk.rooms.now_s, **more)
    return wire(conn), noted


@pytest.fixture
def shelf(desk) -> Desk:
    desk.keep(DATED, BODY)
    return desk


@pytest.fixture
def text(desk) -> Desk:
    copy = desk.keep(TEXTUAL | {"date": 0}, TEXT)
    desk.store.add_variant(copy, b"br", b"<coded>")
    return desk


# -- a copy that is ready ------------------------------------------------------------------------------------


def test_a_hit_is_the_copy_with_its_age(shelf):
    shelf.turn(5)
    got, noted = sent(shelf)

    assert (200, len(BODY)) == noted
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nage: 5\r\n" in got
    assert b"\r\ncache-status: edge; hit; ttl=55\r\n" in got
    assert got.endswith(b"\r\n\r\n" + BODY)


@pytest.mark.parametrize(
    ("method", "fields"),
    [("GET", {}), ("HEAD", {}), ("GET", {"if-none-match": '"1"'}), ("HEAD", {"if-none-match": "*"})],
)
def test_the_prepared_and_the_composed_reply_are_the_same_bytes(shelf, method, fields):
    prepared = sent(shelf, method, fields)
    known = shelf.known("/x", method, fields)
    conn, stream = connection(method)
    conn.plain = False  # as for a client that wants what cannot be prepared

    composed = send_serve(conn, stream, known, shelf.rooms.decide(known), shelf.rooms.now_s)

    assert prepared == (wire(conn), composed)


def test_a_head_gets_the_head(shelf):
    got, noted = sent(shelf, "HEAD")

    assert (200, 0) == noted
    assert b"\r\ncontent-length: 10\r\n" in got
    assert got.endswith(b"\r\n\r\n")


def test_what_conditions_said_once_is_said_again_only_of_the_same_validators(desk):
    """The verdict is remembered on the head, and a copy may change under it."""
    desk.keep(DATED, BODY)
    known = desk.known("/x", fields={"if-none-match": '"1"'})

    def status():
        conn, stream = connection()
        return send_serve(conn, stream, known, desk.rooms.decide(known), desk.rooms.now_s)[0]

    assert [304, 304] == [status(), status()]
    desk.keep(DATED | {"etag": '"2"'}, BODY)
    assert [200, 200] == [status(), status()]
    desk.keep(DATED, BODY)
    assert 304 == status()


@pytest.mark.parametrize(
    "fields", [{"if-none-match": '"1"'}, {"if-none-match": 'W/"1", "2"'}, {"if-modified-since": -100}]
)
def test_a_client_whose_copy_stands_gets_304(shelf, fields):
    got, noted = sent(shelf, fields=fields)

    assert (304, 0) == noted
    assert got.startswith(b"HTTP/1.1 304 ")
    assert b"content-length" not in got
    assert b'etag: "1"' in got


@pytest.mark.parametrize("fields", [{"if-none-match": '"2"'}, {"if-none-match": '"2"', "if-modified-since": 0}])
def test_a_client_whose_copy_does_not_stand_gets_the_whole(shelf, fields):
    got, noted = sent(shelf, fields=fields)

    assert (200, 10) == noted
    assert got.endswith(BODY)


@pytest.mark.parametrize(
    ("range_", "content_range", "body"),
    [
        ("bytes=2-4", b"bytes 2-4/10", b"234"),
        ("bytes=-3", b"bytes 7-9/10", b"789"),
        ("bytes=8-", b"bytes 8-9/10", b"89"),
    ],
)
def test_a_part_is_cut_from_the_copy(shelf, range_, content_range, body):
    got, noted = sent(shelf, fields={"range": range_})

    assert (206, len(body)) == noted
    assert b"content-range: " + content_range in got
    assert got.endswith(b"\r\n\r\n" + body)


def test_several_parts_are_sent_with_what_stands_between_them(shelf):
    got, (status, length) = sent(shelf, fields={"range": "bytes=0-1,8-9"})

    head, _, body = got.partition(b"\r\n\r\n")

    assert (206, len(body)) == (status, length)
    assert b"content-length: %d" % length in head
    assert b"bytes 0-1/10\r\n\r\n01\r\n" in body
    assert b"bytes 8-9/10\r\n\r\n89\r\n" in body


def test_a_part_that_is_not_there_is_416_and_tells_the_length(shelf):
    got, (status, _) = sent(shelf, fields={"range": "bytes=10-"})

    assert 416 == status
    assert b"content-range: bytes */10" in got
    assert b"cache-status: edge; hit; ttl=60" in got


@pytest.mark.parametrize("if_range", ['"2"', 'W/"1"'])
def test_a_part_of_something_else_is_the_whole(shelf, if_range):
    assert (200, 10) == sent(shelf, fields={"range": "bytes=2-4", "if-range": if_range})[1]


def test_a_part_to_head_is_the_whole_head(shelf):
    assert (200, 0) == sent(shelf, "HEAD", {"range": "bytes=2-4"})[1]


def test_a_coded_copy_names_its_coding_and_says_that_it_varies(text):
    got, noted = sent(text, fields={"accept-encoding": "br"})

    assert (200, 7) == noted
    assert b"content-encoding: br" in got
    assert b"vary: accept-encoding" in got.lower()
    assert b'etag: W/"1-br"' in got
    assert got.endswith(b"<coded>")


def test_each_coding_has_a_tag_of_its_own(text):
    coded = {"accept-encoding": "br", "if-none-match": 'W/"1-br"'}

    assert (304, 0) == sent(text, fields=coded)[1]
    assert (200, len(TEXT)) == sent(text, fields={"if-none-match": 'W/"1-br"'})[1]


def test_an_old_client_is_answered_the_general_way(shelf):
    got, noted = sent(shelf, version="1.0")

    assert (200, 10) == noted
    assert b"connection: close" in got
    assert got.endswith(BODY)


def test_who_waited_for_anothers_fetch_is_told(shelf):
    got, _ = sent(shelf, collapsed="uri-miss")

    assert b"cache-status: edge; fwd=uri-miss; ttl=60; collapsed\r\n" in got


def test_what_is_said_of_the_cache_can_be_given(shelf):
    got, noted = sent(shelf, cache_status=b"edge; fwd=stale; fwd-status=304")

    assert (200, 10) == noted
    assert b"cache-status: edge; fwd=stale; fwd-status=304\r\n" in got


# -- shaping -------------------------------------------------------------------------------------------------


def shaped(fields={}, method="GET", *, length: int | None = 10, said=DATED, status=200, coding=b"identity") -> Shaped:
    known = Desk(None).known("/x", method, fields)
    copy = kit.stored(said, status=status, length=10)
    return shape(known, copy, int(NOW), coding=coding, length=length, eligible=False)


def test_a_body_of_unknown_length_is_sent_to_its_end():
    reply = shaped(length=None)

    assert (None, Framing.CHUNKED) == (reply.pieces, reply.head.framing)


def test_no_part_is_cut_from_a_body_of_unknown_length():
    assert (200, None) == ((reply := shaped({"range": "bytes=0-1"}, length=None)).head.status, reply.pieces)


@pytest.mark.parametrize(("status", "fields"), [(404, {"range": "bytes=0-1"}), (404, {"if-none-match": '"1"'})])
def test_only_a_200_is_cut_or_weighed(status, fields):
    assert status == shaped(fields, status=status).head.status


def test_conditions_come_before_ranges():
    """RFC 9110 §13.2.2."""
    assert 304 == shaped({"range": "bytes=0-1", "if-none-match": '"1"'}).head.status


def test_the_whole_of_nothing_is_no_piece():
    assert ([], [(0, 3)]) == (whole(0), whole(3))


@pytest.mark.parametrize(
    ("fields", "etag", "modified", "holds"),
    [
        ({}, b'"1"', NOW, False),
        ({"if-none-match": '"1"'}, b'"1"', None, True),
        ({"if-none-match": '"1"'}, None, None, False),
        ({"if-modified-since": 0}, None, NOW, True),
        ({"if-modified-since": 0}, None, NOW + 1, False),
        ({"if-modified-since": 0}, None, None, False),
        ({"if-none-match": '"2"', "if-modified-since": 0}, b'"1"', NOW, False),
    ],
)
def test_a_client_has_what_its_conditions_say(fields, etag, modified, holds):
    assert holds == not_modified(kit.ask(fields=fields), etag, modified, None)


def test_a_copy_without_last_modified_is_as_old_as_its_date():
    """RFC 9111 §4.3.2."""
    asked = kit.ask(fields={"if-modified-since": 0})

    assert not_modified(asked, None, None, kit.stored({"cache-control": "max-age=60", "date": 0}))
    assert not not_modified(asked, None, None, kit.stored({"cache-control": "max-age=60", "date": 5}, at=NOW + 5))


# -- our own words -------------------------------------------------------------------------------------------


def test_our_own_words_are_sent_whole():
    conn, stream = connection()
    send_answer(conn, stream, Answer(ReplyHead(404, [(b"x", b"y")], framing=Framing.LENGTH, length=2), b"no"))

    assert b"HTTP/1.1 404 Not Found\r\nx: y\r\ncontent-length: 2\r\n\r\nno" == wire(conn)
    assert conn.at_rest


def test_a_refusal_says_what_was_wrong_and_closes():
    conn, stream = connection()
    send_refusal(conn, ClientFault("too long", reply=431), NOW, stream)

    got = wire(conn)

    assert got.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in got
    assert conn.closing


def test_a_client_that_is_gone_is_told_nothing():
    conn, stream = connection()
    send_refusal(conn, ClientGone("left"), NOW, stream)

    assert (b"", True, True) == (wire(conn), conn.closing, conn.torn)
