"""What hostile clients and origins once got through: each test failed before its fix."""

from __future__ import annotations

import errno
import gc
import socket
import struct
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from edge.config.tree import CacheConfig, Listener, OriginServer, Timeouts
from edge.config.tree import Origin as OriginConfig
from edge.message.head import Framing
from edge.observe import names
from edge.reply.prepared import Prepared
from edge.share.channel import Message, Word
from edge.worker.session import HIGH, Exchange, Phase, Session
from tests.exchange.kit import Desk, door
from tests.http.talk import server
from tests.kit.gates import SWITCH
from tests.kit.house import house
from tests.kit.origin import Asked, Origin, Wire, reply

HELLO = reply(body=b"hello", cache_control="no-store")


@contextmanager
def bare_session():
    """A session with nothing behind it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session = Session(ours, "192.0.2.7", door(), lambda _: None)
        session.conn = server(b"https")
        session.phase = Phase.OPEN
        yield session


# -- clients -------------------------------------------------------------------------------------------------


async def test_a_client_that_has_ended_its_side_of_a_tunnel_is_told_the_rest(tmp_path: Path) -> None:
    """Its end was taken for its leaving at the next edge, which says again that it has ended."""
    said = b"x" * 4_000_000

    async def hear_then_say(_: Asked, wire: Wire) -> None:
        await wire.send(SWITCH)
        while await wire.stream.receive_some(65536):
            pass
        await wire.send(said)
        await wire.stream.send_eof()

    async with house(tmp_path, origin=Origin({b"/": hear_then_say})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.ask("/", Connection="upgrade", Upgrade="ours")
            got = b""
            while b"\r\n\r\n" not in got:
                got += await client.stream.receive_some(1)
            await client.stream.send_eof()
            rest = await client.at_end()
        entries = await edge.settled(1)

    assert len(said) == len(rest)
    assert "" == entries[0][12]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_closes_behind_its_reply_is_no_fault(tmp_path: Path, method: str) -> None:
    """Whoever asked for it was logged as one who had left."""
    async with house(tmp_path, origin=Origin({b"/": HELLO})) as edge:
        client = await edge.client()
        got = await client.get("/", method=method, Connection="close", Content_Length="0")
        entries = await edge.settled(1)

    assert b"hello" == got.body
    assert (200, 5, "", "") == (entries[0][4], entries[0][5], entries[0][12], entries[0][13])


async def test_heads_do_not_keep_the_bytes_of_copies_that_memory_let_go(tmp_path: Path) -> None:
    """Thousands of remembered heads kept thousands of bodies beside the memory's own bound."""
    origin = Origin({b"*": reply(body=b"x" * 100_000, content_type="image/png", cache_control="max-age=60")})
    cache = CacheConfig(tmp_path, 64 << 20, 1 << 20)
    async with house(tmp_path, origin=origin, cache=cache) as edge:
        client = await edge.client()
        for number in range(40):
            for _ in range(2):
                await client.get(f"/{number}")
        used = edge.worker.rooms.memory.used
        kept = sum(one.size for one in gc.get_objects() if type(one) is Prepared)

    assert 0 < used <= 1 << 20
    assert kept <= 2 << 20  # the tests beside may have left some


async def test_each_head_has_its_own_time_however_they_are_cut(tmp_path: Path, autojump_clock) -> None:
    """Who always sends one request and the beginning of the next was told after head_s that it was too slow."""
    origin = Origin({b"/": reply(body=b"hello", cache_control="max-age=600")})
    ask = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    async with house(tmp_path, origin=origin, timeouts=Timeouts(head_s=5)) as edge:
        client = await edge.client()
        await client.get("/")
        await client.send(ask[:5])
        for _ in range(20):
            await trio.sleep(1)
            await client.send(ask[5:] + ask[:5])
            got = await client.reply()
            assert (200, b"hello") == (got.status, got.body)
        dawdled = await client.reply()

    assert 408 == dawdled.status


@pytest.mark.parametrize(("size", "status"), [(1, 408), (300, 200)], ids=["a crumb a second", "slow but honest"])
async def test_a_body_that_trickles_is_refused(tmp_path: Path, autojump_clock, size: int, status: int) -> None:
    """A byte now and then was never a pause too long, and held a connection to the origin as long as it liked."""
    async with house(tmp_path, origin=Origin({b"/": HELLO}), timeouts=Timeouts(body_s=5)) as edge:
        client = await edge.client()
        began = trio.current_time()
        await client.ask("/", method="POST", Content_Length=str(60 * size))
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                with suppress(trio.BrokenResourceError):
                    for _ in range(60):
                        await client.send(b"x" * size)
                        await trio.sleep(1)

            nursery.start_soon(trickle)
            got = await client.reply()
            waited = trio.current_time() - began
            nursery.cancel_scope.cancel()

    assert status == got.status
    assert waited < 9 if status == 408 else 58 < waited


async def test_a_reply_that_is_sipped_is_cut(tmp_path: Path, autojump_clock) -> None:
    """So was a reply's: the write deadline began anew with each byte that was taken."""
    origin = Origin({b"/": reply(body=b"x" * 1_000_000, cache_control="no-store")})
    async with house(tmp_path, origin=origin, timeouts=Timeouts(write_s=60)) as edge:
        client = await edge.client(buffer=4096)
        await client.ask("/")
        async with trio.open_nursery() as nursery:

            async def sip() -> None:
                while await client.stream.receive_some(150):
                    await trio.sleep(1)

            nursery.start_soon(sip)
            with trio.fail_after(300):
                while edge.worker.fast.sessions:
                    await trio.sleep(1)
            nursery.cancel_scope.cancel()
        cut = edge.count(names.TIMEOUTS["write"])

    assert 1 == cut


async def test_who_was_answered_is_not_told_off_for_the_rest_of_its_request(tmp_path: Path, autojump_clock) -> None:
    """A 408 behind a complete reply would be taken for the answer to the next request."""

    async def at_once(_: Asked, wire: Wire) -> None:
        await wire.send(HELLO)

    origin = Origin({b"/": at_once}, read_body=False)
    async with house(tmp_path, origin=origin, timeouts=Timeouts(body_s=5)) as edge:
        client = await edge.client()
        await client.ask("/", method="POST", Content_Length="1000")
        got = await client.reply()
        rest = await client.at_end()

    assert 200 == got.status
    assert b"" == rest


async def test_crumbs_of_a_body_are_not_kept_one_by_one() -> None:
    """A client that sends single bytes made us keep sixty for each while the origin would not take them."""
    with bare_session() as session:
        session.conn.receive(b"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n")
        event = session.conn.next_event()
        x = Exchange(session, event.stream, event.head, Desk(None).known(), 0.0)
        sent = b""
        while not x.is_full:
            piece = b"%02x" % (len(sent) % 251)
            x.deliver(piece)
            sent += piece
        x.deliver_end([])
        parts = []
        while (part := await x.more()) is not None:
            parts.append(part)

    assert sent == b"".join(parts)
    assert HIGH == len(sent)
    assert len(parts) < 100


async def test_who_was_refused_before_its_task_first_ran_is_not_carried() -> None:
    """A refusal that could not leave at once was followed by a request to the origin, and a second reply."""
    with bare_session() as session:
        session.conn.receive(b"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        event = session.conn.next_event()
        x = Exchange(session, event.stream, event.head, Desk(None).known(), 0.0)
        session.conn.abort()
        session.conn.out.append(b"not taken yet")
        with pytest.raises(Exception, match="left"), x.bound():
            raise AssertionError("carried")

    assert Framing.CHUNKED is event.head.framing


async def test_a_connection_handed_to_us_may_have_been_reset(tmp_path: Path) -> None:
    """The worker died of getpeername(2)."""
    async with house(tmp_path, origin=Origin()) as edge:
        edge.worker._by_address["here"] = Listener("127.0.0.1:0")
        with closing(socket.create_server(("127.0.0.1", 0))) as queue:
            theirs = socket.create_connection(queue.getsockname())
            ours, _ = queue.accept()
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            edge.worker._take(Message(Word.TAKE, b"here", [ours.detach()]))

        assert not edge.worker.fast.sessions


async def test_what_accept_tells_of_a_connection_is_not_the_listeners_fault(tmp_path: Path) -> None:
    """accept(2) passes on what befell the connection it would have given; the worker died of it."""

    class Queue:
        said = [OSError(code, "") for code in (errno.EPROTO, errno.ENETUNREACH, errno.ECONNABORTED, errno.EAGAIN)]

        def accept(self):
            raise self.said.pop(0)

    async with house(tmp_path, origin=Origin()) as edge:
        assert 3 == edge.worker._accept(edge.listener, Queue(), edge.worker.doors.plain(edge.listener))


# -- origins -------------------------------------------------------------------------------------------------


async def test_an_origin_that_never_ends_its_head_is_given_up(tmp_path: Path, autojump_clock) -> None:
    """Each byte of the head bought it first_byte_s more."""

    async def drip(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 X\r\nx: ")
        with trio.move_on_after(600):
            while True:
                await trio.sleep(3)
                await wire.send(b"x")

    origin = Origin({b"/": drip})
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.serve)
        servers = (OriginServer(f"http://127.0.0.1:{origin.port}"),)
        shops = {"shop": OriginConfig("shop", servers, first_byte_s=20, between_bytes_s=20)}
        async with house(tmp_path, origin=origin, origins=shops) as edge:
            client = await edge.client()
            began = trio.current_time()
            got = await client.get("/")
            waited = trio.current_time() - began
        nursery.cancel_scope.cancel()

    assert 504 == got.status
    assert b"edge; error=http_response_timeout" == got.get(b"proxy-status")
    assert 20 <= waited <= 25


@pytest.mark.parametrize("body", [b"", b"said while the connection was replaced"])
async def test_a_body_that_comes_while_its_connection_is_replaced_is_sent(tmp_path: Path, body: bytes) -> None:
    """The kept connection dies as the head is sent; who sent the body beside took that for the end, and nobody sent it."""
    dead = trio.Event()
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            got = b""
            while b"\r\n\r\n" not in got:
                got += await stream.receive_some(65536)
            if got.startswith(b"GET"):
                await stream.send_all(HELLO)
                await stream.receive_some(65536)  # the head of the PUT
                dead.set()
                return
            while not got.endswith(b"0\r\n\r\n"):
                got += await stream.receive_some(65536)
            heard.append(got.partition(b"\r\n\r\n")[2])
            await stream.send_all(HELLO)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        origin = Origin(port=listeners[0].socket.getsockname()[1])
        async with house(tmp_path, origin=origin) as edge:
            lend = edge.worker.origins.groups["shop"].lend
            client = await edge.client()
            await client.get("/")

            async def slow_to_lend(exchange, server, *, fresh=False):
                if fresh and body:
                    await client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                    await trio.testing.wait_all_tasks_blocked()
                return await lend(exchange, server, fresh=fresh)

            edge.worker.origins.groups["shop"].lend = slow_to_lend
            with trio.fail_after(5):
                await client.ask("/", method="PUT", Transfer_Encoding="chunked")
                if not body:
                    await client.send(b"0\r\n\r\n")
                got = await client.reply()
            retries = edge.count(names.OriginCells.of(0).retries)
        nursery.cancel_scope.cancel()

    assert 200 == got.status
    assert 1 == retries
    assert heard[0].endswith(b"0\r\n\r\n")
    assert body in heard[0]
