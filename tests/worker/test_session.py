"""A session and its exchanges, as the slow lane uses them: what is sent, what is waited for, and what ends it."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edge.errors import ClientGone
from edge.message.head import Framing, ReplyHead
from edge.worker.session import HIGH, NOBODY, Exchange, Phase, Session, Unattended
from tests.exchange.kit import Desk, door
from tests.http.talk import server

POST = {"method": "POST", "framing": Framing.CHUNKED}


class Lane:
    """Stands for the fast lane: notes when it is called, and closes."""

    def __init__(self) -> None:
        self.calls = 0

    def advance(self, session):
        self.calls += 1

    def close(self, session):
        session.phase = Phase.CLOSED
        for exchange in session.carried.values():
            exchange.give_up()
        session.roomier()


@pytest.fixture
def lane():
    return Lane()


@pytest.fixture
def session(lane):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = Session(ours, "192.0.2.7", door(), lane.advance)
        made.conn = server(b"https")
        made.phase = Phase.OPEN
        yield made


def carried(session, *, method="GET", framing=Framing.NONE) -> Exchange:
    """An exchange that its connection has begun."""
    lines = [f"{method} /x HTTP/1.1", "Host: shop.example"]
    if framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    session.conn.receive("\r\n".join(lines).encode() + b"\r\n\r\n")
    event = session.conn.next_event()
    exchange = Exchange(session, event.stream, event.head, Desk(None).known(), 0.0)
    session.carried[event.stream] = exchange
    return exchange


def waiting_bytes(session) -> bytes:
    out, taken = session.conn.out, b""
    while out:
        piece = bytes(out.first())
        taken += piece
        out.sent(len(piece))
    return taken


REPLY = ReplyHead(200, [(b"x", b"y")], framing=Framing.LENGTH, length=5)


# -- the request's body --------------------------------------------------------------------------------------


async def test_a_body_is_handed_on_in_order_and_ends_once(session):
    x = carried(session, **POST)
    x.deliver(b"one")
    x.deliver(b"two")
    x.deliver_end([(b"t", b"1")])

    assert [b"one", b"two", None, None] == [await x.more() for _ in range(4)]
    assert [(b"t", b"1")] == x.trailers


async def test_a_request_without_body_has_ended_from_the_start(session):
    x = carried(session)

    assert x.ended
    assert await x.more() is None


async def test_who_wants_more_sleeps_until_it_is_there(session, nursery):
    x = carried(session, **POST)
    got = []

    async def take():
        while (data := await x.more()) is not None:
            got.append(data)

    nursery.start_soon(take)
    await wait_all_tasks_blocked()
    assert [] == got

    x.deliver(b"one")
    await wait_all_tasks_blocked()
    assert [b"one"] == got

    x.deliver_end([])
    await wait_all_tasks_blocked()
    assert "in=0." in repr(x)


async def test_reading_stops_while_the_inbox_is_full_and_goes_on_when_it_is_not(session, lane):
    x = carried(session, **POST)
    x.deliver(bytes(HIGH - 1))
    assert not x.is_full

    x.deliver(b"!")
    assert (True, 0) == (x.is_full, lane.calls)

    await x.more()
    assert (False, 1) == (x.is_full, lane.calls)

    await x.more()
    assert 1 == lane.calls


# -- the reply -----------------------------------------------------------------------------------------------


async def test_a_head_leaves_with_what_follows_it(session, lane):
    x = carried(session)
    x.reply(REPLY)
    assert (0, 200) == (lane.calls, x.status)

    x.send(b"hello")
    assert (1, 5) == (lane.calls, x.sent_bytes)

    x.end()
    assert (True, 2) == (x.complete, lane.calls)
    assert waiting_bytes(session).endswith(b"\r\n\r\nhello")


async def test_parts_can_be_kept_together(session, lane):
    x = carried(session)
    x.reply(REPLY)
    x.send_later(b"he")
    x.send_later(memoryview(b"llo"))
    assert (0, 5) == (lane.calls, x.sent_bytes)

    x.end()
    assert waiting_bytes(session).endswith(b"hello")


async def test_an_interim_reply_comes_before_the_final_one_or_not_at_all(session):
    x = carried(session)
    x.interim(ReplyHead(103, []))
    x.reply(REPLY)
    x.interim(ReplyHead(103, []))
    x.send(b"hello")
    x.end()

    assert 1 == waiting_bytes(session).count(b"HTTP/1.1 103")


async def test_a_refusal_is_complete_and_closes(session):
    x = carried(session)
    x.refuse(ReplyHead(413, [], framing=Framing.LENGTH, length=2), b"no")

    assert (413, 2, True) == (x.status, x.sent_bytes, x.complete)
    assert session.conn.closing


async def test_a_reply_that_breaks_off_tears_the_connection(session):
    x = carried(session)
    x.reply(REPLY)
    x.send(b"he")
    x.abort()

    assert (True, False) == (session.conn.torn, x.complete)


async def test_a_reply_that_was_sent_elsewhere_is_complete_and_leaves(session, lane):
    x = carried(session)
    x.sent()

    assert (True, 1) == (x.complete, lane.calls)


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.LINGER])
async def test_closed_is_terminal(session, lane, phase):
    """Whoever still carries an exchange may say what it likes; nothing comes of it."""
    x = carried(session)
    lane.close(session)
    session.phase = phase
    x.interim(ReplyHead(103, []))
    x.reply(REPLY)
    x.send(b"he")
    x.send_later(b"llo")
    x.end()
    x.refuse(ReplyHead(500, []), b"")
    x.abort()
    session.settled()

    assert (b"", False) == (waiting_bytes(session), session.conn.closing)


# -- waiting -------------------------------------------------------------------------------------------------


async def test_who_has_sent_much_waits_until_enough_has_left(session, nursery):
    x = carried(session)
    x.reply(ReplyHead(200, [], framing=Framing.CHUNKED))
    x.send(bytes(2 * HIGH))
    done = []

    async def wait():
        await x.room()
        done.append(True)

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert [] == done

    session.conn.out.sent(len(session.conn.out.first()))
    session.roomier()
    await wait_all_tasks_blocked()
    while not done:
        session.conn.out.sent(len(session.conn.out.first()))
        session.roomier()
        await wait_all_tasks_blocked()
    assert session.conn.out.pending <= HIGH


@pytest.mark.parametrize("before", [True, False], ids=["gone before", "gone while waiting"])
async def test_who_waits_for_a_client_that_is_gone_is_told(session, lane, nursery, before):
    x = carried(session)
    x.reply(ReplyHead(200, [], framing=Framing.CHUNKED))
    x.send(bytes(2 * HIGH))
    if before:
        lane.close(session)
    told = []

    async def wait():
        try:
            await x.room()
        except ClientGone as gone:
            told.append(gone.word)

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    lane.close(session)
    await wait_all_tasks_blocked()

    assert ["connection_terminated"] == told


async def test_a_client_that_lingers_has_taken_all(session):
    session.phase = Phase.LINGER

    await session.room(0)


# -- what ends with the client -------------------------------------------------------------------------------


async def test_what_is_bound_ends_with_the_client(session, lane, nursery):
    x = carried(session)
    told = []

    async def carry():
        try:
            with x.bound():
                await trio.sleep_forever()
        except ClientGone:
            told.append("gone")

    nursery.start_soon(carry)
    await wait_all_tasks_blocked()
    lane.close(session)
    await wait_all_tasks_blocked()

    assert ["gone"] == told


async def test_what_is_not_bound_does_not(session, lane):
    x = carried(session)
    with x.bound():
        pass
    lane.close(session)
    await trio.lowlevel.checkpoint()

    with pytest.raises(ClientGone), x.bound():
        raise AssertionError("nothing is begun for a client that is gone")


async def test_what_happens_inside_comes_out_as_it_is(session):
    x = carried(session)
    with pytest.raises(ZeroDivisionError), x.bound():
        raise ZeroDivisionError


async def test_a_cancelling_from_outside_is_not_the_clients(session):
    x = carried(session)
    with trio.CancelScope() as outside, contextlib.suppress(ClientGone):
        outside.cancel()
        with x.bound():
            await trio.sleep_forever()

    assert outside.cancelled_caught


# -- nobody --------------------------------------------------------------------------------------------------


async def test_an_exchange_of_our_own_has_no_client_and_tells_nobody():
    x = Unattended(Desk(None).known(), 0.0)
    x.interim(ReplyHead(103, []))

    assert (False, NOBODY) == (x.is_attended, x.session)
    assert Exchange.is_attended


async def test_a_session_shows_what_it_is_doing(session):
    x = carried(session)

    assert f"<Session fd={session.fd} 192.0.2.7 open handshake carried=1>" == repr(session)
    assert "<Exchange 1 GET none status=0 in=0. sent=0>" == repr(x)
