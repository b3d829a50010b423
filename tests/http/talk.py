"""
A scripted peer for sans-IO connections: feed bytes, cut as wished, and write down what was heard.

What was heard is plain tuples, with adjacent pieces of a body joined, so that two cuts of one input compare equal.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from edge.errors import Fault
from edge.http.events import Body, End, Reply, Request, Wait
from edge.http.h1.client import ClientConnection
from edge.http.h1.memo import HeadMemo
from edge.http.h1.server import ServerConnection
from edge.http.limits import HeadLimits
from edge.message.head import Framing, ReplyHead

if TYPE_CHECKING:
    from collections.abc import Iterable

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NO_CONTENT = ReplyHead(204, [])
TEA = ReplyHead(200, [(b"x", b"tea")], framing=Framing.LENGTH, length=3)


def server(
    scheme: bytes = b"http", *, memo: HeadMemo | None = None, authority: bytes | None = None, **limits
) -> ServerConnection:
    return ServerConnection(scheme, HeadLimits(**limits), memo, authority)


def pieces(wire: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut *wire* at the given places; nothing is empty."""
    places = sorted({0, len(wire), *(cut for cut in cuts if 0 < cut < len(wire))})
    return [wire[start:end] for start, end in pairwise(places)]


def each_byte(wire: bytes) -> range:
    return range(len(wire))


def note(heard: list[tuple], event: object) -> None:
    """Write down one event."""
    kind = type(event)
    if kind is Request:
        head = event.head
        heard.append(
            ("request", head.method, head.authority, head.target, tuple(head.fields), head.framing, head.length)
        )
    elif kind is Reply:
        heard.append(("reply", event.head.status, tuple(event.head.fields), event.head.framing))
    elif kind is Body:
        assert event.data, "a Body of nothing"
        if heard and heard[-1][0] == "body":
            heard[-1] = ("body", heard[-1][1] + event.data)
        else:
            heard.append(("body", event.data))
    elif kind is End:
        heard.append(("end", tuple(event.trailers)))
    else:
        raise AssertionError(event)


def hear_requests(conn: ServerConnection, wire: bytes, cuts: Iterable[int] = (), *, eof: bool = True) -> list[tuple]:
    """Feed a client's bytes; answer every request with 204 once it is whole. Ends with ("fault", reply) or ("closed",)."""
    heard: list[tuple] = []
    todo = [*pieces(wire, cuts), *([None] if eof else [])]
    while True:
        try:
            event = conn.next_event()
        except Fault as fault:
            return [*heard, ("fault", fault.reply)]
        if event is Wait.PAUSED and conn.closing:
            return [*heard, ("closed",)]
        if event is Wait.NEED_DATA:
            if not todo:
                return heard
            data = todo.pop(0)
            conn.receive_eof() if data is None else conn.receive(data)
            continue
        assert event is not Wait.PAUSED, "nothing is open, yet the connection waits for us"
        note(heard, event)
        if heard[-1][0] == "end" or (heard[-1][0] == "request" and heard[-1][5] is Framing.NONE):
            conn.send_head(event.stream, NO_CONTENT)
            conn.send_end(event.stream)


def hear_replies(
    wire: bytes, cuts: Iterable[int] = (), *, method: bytes = b"GET", eof: bool = True, upgrade: bytes | None = None
) -> tuple[list[tuple], ClientConnection]:
    """Ask once, feed an origin's bytes. The list ends with ("fault", word) if it failed."""
    conn = ClientConnection()
    conn.send_request(method, b"/", b"a", [], upgrade=upgrade)
    heard: list[tuple] = []
    todo = [*pieces(wire, cuts), *([None] if eof else [])]
    while True:
        try:
            event = conn.next_event()
        except Fault as fault:
            return [*heard, ("fault", fault.word)], conn
        if type(event) is not Wait:
            note(heard, event)
            continue
        if event is Wait.PAUSED and len(heard) and heard[-1][:2] == ("reply", 101):
            conn.tunnel()
            continue
        if not todo:
            return heard, conn
        data = todo.pop(0)
        conn.receive_eof() if data is None else conn.receive(data)


def written(conn: ServerConnection | ClientConnection) -> bytes:
    """Take everything that waits to be written."""
    data = bytearray()
    while conn.out:
        piece = conn.out.first()
        data += piece
        conn.out.sent(len(piece))
    return bytes(data)


def ask(conn: ServerConnection, wire: bytes = GET) -> Request:
    """Feed one request and return it."""
    conn.receive(wire)
    event = conn.next_event()
    assert type(event) is Request
    return event
