"""
Replies that two readers may take for different ones: what we take from an origin, h11 takes in the same way.

A reply is put together from parts each of which has split one somewhere, with another reply glued to it. Either it is the origin's fault,
or we and h11 hear the same status and the same body, and the connection is used again only if h11 has nothing left over either.
"""

from __future__ import annotations

import os
from random import Random

import h11
import pytest

from tests.fuzz.messages import BODIES, CODINGS, ENDS, LENGTHS, NAMES_OF_CODING, NAMES_OF_LENGTH
from tests.http.talk import hear_replies
from tests.kit.counts import tried

COUNT = int(os.environ.get("EDGE_MESSAGES", "2500"))
SEED = int(os.environ.get("EDGE_MESSAGES_SEED", "1"))

LINES = (
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 404 Not\tFound", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1  200 OK", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK",
    b"HTTP/1.2 200 OK", b"ICY 200 OK", b"HTTP/1.1 20 OK", b" HTTP/1.1 200 OK", b"HTTP/1.1 101 Switching", b"HTTP/1.1 200 \xe9", b"http/1.1 200 OK",
)  # fmt: skip
OTHERS = (
    b"X: y", b"X:", b"X : y", b": y", b"X: y\r\n z", b"X: y\nZ: w", b"X: y\rZ: w", b"X: \x00", b"X\x00: y", b"Connection: close", b"Connection: keep-alive",
    b"Set-Cookie: a=b", b"Content-Type: text/plain\r\n\tx", b"HTTP/1.1 200 OK", b"Keep-Alive: timeout=5", b"X: \xff", b"Upgrade: h2c", b"Content-Encoding: gzip",
)  # fmt: skip
GLUED = b"HTTP/1.1 200 X\r\ncontent-length: 6\r\n\r\nPOISON"


def made(dice: Random) -> bytes:
    """One reply, mostly with one thing odd, and sometimes another behind it."""
    odd = set(dice.sample(("line", "name", "value", "ends", "body", "other"), dice.choice((0, 1, 1, 1, 2))))

    def pick(aspect: str, parts: tuple[bytes, ...], plain: bytes) -> bytes:
        return dice.choice(parts) if aspect in odd else plain

    framing = dice.choice(("length", "length", "chunked", "chunked", "close", "both"))
    fields = []
    if framing in {"length", "both"}:
        fields.append(pick("name", NAMES_OF_LENGTH, b"Content-Length") + b": " + pick("value", LENGTHS, b"5"))
    if framing in {"chunked", "both"}:
        fields.append(pick("name", NAMES_OF_CODING, b"Transfer-Encoding") + b": " + pick("value", CODINGS, b"chunked"))
    if "other" in odd:
        fields.append(dice.choice(OTHERS))
        dice.shuffle(fields)
    end = pick("ends", ENDS, b"\r\n")
    body = {"chunked": b"5\r\nhello\r\n0\r\n\r\n"}.get(framing, b"hello")
    head = pick("line", LINES, b"HTTP/1.1 200 OK") + b"\r\n" + b"".join(field + end for field in fields) + b"\r\n"
    return head + pick("body", BODIES, body) + dice.choice((b"", b"", GLUED, b"\r\n", b"\n"))


def by_h11(wire: bytes, method: bytes) -> tuple[int, bytes, bool] | None:
    """Return status, body, and whether another exchange may follow; None if it refuses the reply or has not all of it."""
    conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    conn.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    conn.send(h11.EndOfMessage())
    conn.receive_data(wire)
    conn.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            event = conn.next_event()
            if type(event) is h11.Response:
                status = event.status_code
            elif type(event) is h11.Data:
                body += bytes(event.data)
            elif type(event) is h11.EndOfMessage:
                return status, body, conn.their_state is h11.DONE and not conn.trailing_data[0]
            elif type(event) is not h11.InformationalResponse:
                return None
    except h11.RemoteProtocolError:
        return None


@pytest.mark.slow
def test_what_we_take_from_an_origin_h11_takes_in_the_same_way() -> None:
    """And what it hears differently, or not to its end, we refuse."""
    dice = Random(SEED)
    taken = refused = reused = 0
    for _ in range(COUNT):
        wire, method = made(dice), dice.choice((b"GET", b"GET", b"HEAD"))
        heard, _ = hear_replies(wire, method=method)
        _, kept = hear_replies(wire, method=method, eof=False)
        if not heard or heard[0][0] != "reply" or heard[0][1] < 200 or heard[-1][0] == "fault":
            refused += 1
            assert not kept.reusable, wire
            continue
        taken += 1
        reused += kept.reusable
        status = heard[0][1]
        body = b"".join(event[1] for event in heard if event[0] == "body")
        theirs = by_h11(wire, method)
        assert theirs is None or theirs[:2] == (status, body), f"{wire!r}: {heard}, h11: {theirs}"
        assert not kept.reusable or theirs is None or theirs[2], f"{wire!r} leaves something behind for h11"
    tried("replies read by us and by h11", messages=COUNT, taken=taken, refused=refused, connections_used_again=reused)

    assert taken > COUNT / 10
    assert reused > COUNT / 20
