"""What happens between us and an origin: bodies both ways, failures, and many who want the same."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest
import trio

from edge.config.tree import CacheConfig
from edge.observe import names
from tests.kit.client import Gone
from tests.kit.origin import Asked, Origin, Wire, reply

BIG = bytes(range(256)) * 4096 * 3  # 3 MiB


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def test_a_body_goes_to_the_origin_and_its_reply_is_not_stored(edge_at, tmp_path: Path) -> None:
    """POST is passed on, with its length or in chunks."""
    origin = Origin({b"/form": reply(201, body=b"done", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.send(b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        first = await client.reply()
        await client.send(
            b"POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"he", b"llo")
        )
        second = await client.reply()

    assert [201, 201] == [first.status, second.status]
    assert [b"hello", b"hello"] == [asked.body for asked in origin.asked]
    assert b"edge; fwd=method; fwd-status=201" == first.get(b"cache-status")


async def test_an_unsafe_request_makes_its_target_be_asked_for_again(edge_at, tmp_path: Path) -> None:
    """RFC 9111 §4.4."""
    origin = Origin({b"/a": reply(body=b"old", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        origin.pages[b"/a"] = reply(body=b"new", cache_control="max-age=60")
        await client.send(b"POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n")
        await client.reply()
        after = await client.get("/a")

    assert b"new" == after.body


async def test_a_long_reply_is_streamed_stored_and_served(edge_at, tmp_path: Path) -> None:
    """3 MiB through a store whose memory holds 1 MiB: from the flight, from the store, and a part of it."""
    origin = Origin({b"/big": reply(body=BIG, cache_control="max-age=60", content_type="image/png")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(20):
            first = await client.get("/big")
            second = await client.get("/big")
            part = await client.get("/big", Range="bytes=1000000-1000009")
            tail = await client.get("/big", Range="bytes=-5")

    assert BIG == first.body
    assert BIG == second.body
    assert b"hit" in second.get(b"cache-status")
    assert (206, BIG[1000000:1000010]) == (part.status, part.body)
    assert BIG[-5:] == tail.body
    assert [b"/big"] == origin.paths()


async def test_a_range_of_what_is_not_stored_yet_is_cut_as_it_lands(edge_at, tmp_path: Path) -> None:
    """The whole is fetched; the client gets its part."""
    origin = Origin({b"/big": reply(body=BIG, cache_control="max-age=60", content_type="image/png")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(20):
            part = await client.get("/big", Range="bytes=2000000-2000009")
            after = await client.get("/big")

    assert (206, BIG[2000000:2000010]) == (part.status, part.body)
    assert BIG == after.body
    assert 1 == len(origin.asked)


async def test_many_who_want_the_same_share_one_fetch(edge_at, tmp_path: Path) -> None:
    """One request at the origin, first bytes at every client before it has finished, all bytes right."""
    go_on = trio.Event()

    async def slowly(_: Asked, wire: Wire) -> None:
        await wire.send(
            b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\ncontent-length: 300000\r\n\r\n" + b"a" * 100_000
        )
        await go_on.wait()
        await wire.send(b"b" * 200_000)

    origin = Origin({b"/slow": slowly})
    async with edge_at(tmp_path, origin=origin) as edge:
        clients = [await edge.client() for _ in range(20)]
        first_bytes = 0
        bodies = []

        async def ask(client) -> None:
            nonlocal first_bytes
            await client.ask("/slow")
            client.received += await client.stream.receive_some(65536)
            client._rest = bytes(client.received)
            first_bytes += 1
            if first_bytes == 20:
                go_on.set()
            bodies.append((await client.reply()).body)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(ask, client)
        joined = edge.count(names.FLIGHTS_JOINED)

    assert [b"a" * 100_000 + b"b" * 200_000] * 20 == bodies
    assert 1 == len(origin.asked)
    assert 19 == joined


async def test_who_waited_for_what_cannot_be_stored_is_let_go(edge_at, tmp_path: Path) -> None:
    """A reply for one client releases the others at once, and nobody queues for the key again."""
    origin = Origin({b"/mine": reply(body=b"yours", cache_control="private")})
    async with edge_at(tmp_path, origin=origin) as edge:
        clients = [await edge.client() for _ in range(10)]
        bodies = []

        async def ask(client) -> None:
            bodies.append((await client.get("/mine")).body)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(ask, client)

    assert [b"yours"] * 10 == bodies
    assert 10 == len(origin.asked)


async def test_a_reply_that_is_cut_short_is_not_stored_and_the_client_can_tell(edge_at, tmp_path: Path) -> None:
    """Before anything was said by a 502, after that by a connection that breaks off."""

    def cut(head: bytes, body: bytes):
        async def script(_: Asked, wire: Wire) -> None:
            await wire.send(b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\n" + head + body)
            await wire.stream.aclose()

        return script

    origin = Origin(
        {
            b"/cut": cut(b"content-length: 100\r\n\r\n", b"only this"),
            b"/chunk": cut(b"transfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n"),
            b"/long": cut(b"content-length: 1000000\r\n\r\n", b"x" * 900_000),
            b"/passed": cut(b"cache-control: no-store\r\ncontent-length: 100\r\n\r\n", b"only this"),
        }
    )
    async with edge_at(tmp_path, origin=origin) as edge:
        for path in ("/cut", "/chunk"):
            for _ in range(2):
                client = await edge.client()
                try:
                    got = await client.get(path)
                except Gone:
                    continue  # its beginning was already on its way
                assert (502, b"edge; error=http_response_incomplete") == (got.status, got.get(b"proxy-status"))
        for path in ("/long", "/passed"):
            for _ in range(2):
                client = await edge.client()
                with pytest.raises(Gone):
                    await client.get(path)
        entries = await edge.settled(8)

    assert [path for path in (b"/cut", b"/chunk", b"/long", b"/passed") for _ in range(2)] == origin.paths()
    assert {"http_response_incomplete"} == {entry[12] for entry in entries}


async def test_an_origin_that_is_down_is_502_and_says_why(edge_at, tmp_path: Path) -> None:
    """RFC 9209."""
    origin = Origin(port=1)
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        got = await client.get("/a")
        again = await client.get("/b")

    assert 502 == got.status
    assert b"edge; error=connection_refused" == got.get(b"proxy-status")
    assert 502 == again.status, "the client's connection goes on"


async def test_an_origin_that_talks_nonsense_is_502(edge_at, tmp_path: Path) -> None:
    """And its connection is not used again."""
    origin = Origin({b"/a": b"SSH-2.0-OpenSSH\r\n\r\n", b"/b": reply(body=b"fine")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        got = await client.get("/a")
        after = await client.get("/b")

    assert (502, b"edge; error=http_protocol_error") == (got.status, got.get(b"proxy-status"))
    assert b"fine" == after.body


async def test_a_second_reply_glued_to_the_first_reaches_nobody(edge_at, tmp_path: Path) -> None:
    """What an origin sends unasked is not the next client's."""
    origin = Origin(
        {b"/a": reply(body=b"mine", cache_control="no-store") + reply(body=b"evil"), b"/b": reply(body=b"fine")}
    )
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        first = await client.get("/a")
        second = await client.get("/b")

    assert (b"mine", b"fine") == (first.body, second.body)


async def test_a_stale_copy_helps_out_when_the_origin_is_gone(edge_at, tmp_path: Path, autojump_clock) -> None:
    """RFC 9111 §4.2.4, and stale-if-error for one that answers 503."""
    origin = Origin({b"/a": reply(body=b"old", cache_control="max-age=10, stale-if-error=1000")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        await trio.sleep(20)
        origin.pages[b"/a"] = reply(503, body=b"down")
        late = await client.get("/a")

        async def hang_up(_: Asked, wire: Wire) -> None:
            await wire.stream.aclose()

        origin.pages[b"/a"] = hang_up
        later = await client.get("/a")

    assert (200, b"old") == (late.status, late.body)
    assert b"fwd=stale" in late.get(b"cache-status")
    assert (200, b"old") == (later.status, later.body)


async def test_a_stale_copy_is_served_while_it_is_refreshed(edge_at, tmp_path: Path, autojump_clock) -> None:
    """RFC 5861 §3: nobody waits, and the origin is asked once."""
    origin = Origin({b"/a": reply(body=b"old", cache_control="max-age=10, stale-while-revalidate=100")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        await trio.sleep(20)
        origin.pages[b"/a"] = reply(body=b"new", cache_control="max-age=10")
        during = await client.get("/a")
        await trio.sleep(1)
        after = await client.get("/a")

    assert (b"old", b"new") == (during.body, after.body)
    assert 2 == len(origin.asked)


async def test_events_arrive_one_by_one_even_compressed(edge_at, tmp_path: Path) -> None:
    """Server-sent events are never held back, whatever the coding."""
    turn = [trio.Event(), trio.Event()]

    async def events(_: Asked, wire: Wire) -> None:
        await wire.send(
            b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for number in range(2):
            await wire.send(b"%x\r\ndata: %d\n\n\r\n" % (9, number))
            await turn[number].wait()
        await wire.send(b"0\r\n\r\n")

    origin = Origin({b"/events": events})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.ask("/events", Accept_Encoding="gzip")
        unzip = zlib.decompressobj(31)
        raw = b""
        seen = b""
        with trio.fail_after(5):
            for number in range(2):
                while b"data: %d" % number not in seen:
                    raw += await client.stream.receive_some(65536)
                    unzip = zlib.decompressobj(31)
                    seen = unzip.decompress(_dechunk(raw))
                turn[number].set()
            client._rest = raw
            whole = await client.reply()

    assert b"data: 0\n\ndata: 1\n\n" == gzip.decompress(whole.body)


def _dechunk(raw: bytes) -> bytes:
    body = raw.partition(b"\r\n\r\n")[2]
    data = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        data += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return data


async def test_a_client_that_waits_for_100_is_told_to_go_on(edge_at, tmp_path: Path) -> None:
    """RFC 9110 §10.1.1: the origin decides, and what it says is passed on."""
    origin = Origin({b"/up": reply(body=b"got it")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.send(b"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        with trio.fail_after(5):
            told = await client.stream.receive_some(1000)
            await client.send(b"abc")
            got = await client.reply()

    assert told.startswith(b"HTTP/1.1 100 ")
    assert b"got it" == got.body
    assert b"abc" == origin.asked[0].body


async def test_a_slow_reader_costs_a_bounded_buffer(edge_at, tmp_path: Path) -> None:
    """A reply of 8 MiB that is not stored waits at the origin, not in memory."""
    total = 8 << 20

    async def pour(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total >> 16):
            await wire.send(b"x" * 65536)

    origin = Origin({b"/pour": pour})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.ask("/pour")
        most = 0
        got = 0
        with trio.fail_after(20):
            while got < total:
                got += len(await client.stream.receive_some(16384))
                for session in edge.worker.fast.sessions.values():
                    most = max(most, session.conn.out.pending)

    assert most <= 512 * 1024 + 65536


async def test_a_slow_origin_holds_a_fast_client_back(edge_at, tmp_path: Path) -> None:
    """An upload of 8 MiB that the origin does not read waits at the client."""
    go_on = trio.Event()
    origin = Origin({b"/up": reply(body=b"ok")})

    async def late(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(body=b"ok"))

    origin.pages[b"/up"] = late
    accept = origin._serve

    async def dawdle(stream) -> None:
        await go_on.wait()
        await accept(stream)

    origin._serve = dawdle
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        body = b"y" * (8 << 20)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    client.send, b"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )
                await trio.sleep(0.2)
                session = next(iter(edge.worker.fast.sessions.values()))
                held = next(iter(session.carried.values()))._inbox_bytes
                go_on.set()
                got = await client.reply()

    assert held <= 512 * 1024 + 65536
    assert b"ok" == got.body
    assert body == origin.asked[0].body


async def test_a_websocket_is_a_tunnel(edge_at, tmp_path: Path) -> None:
    """101, then bytes both ways until one side ends."""

    async def echo(_: Asked, wire: Wire) -> None:
        await wire.send(
            b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
        )
        while data := await wire.stream.receive_some(65536):
            await wire.send(data.upper())
        await wire.stream.aclose()

    origin = Origin({b"/ws": echo})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.send(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: k\r\n\r\n"
        )
        with trio.fail_after(5):
            head = b""
            while b"\r\n\r\n" not in head:
                head += await client.stream.receive_some(65536)
            for word in (b"hello", b"world"):
                await client.send(word)
                assert word.upper() == await client.stream.receive_some(65536)
            await client.aclose()
            entries = await edge.settled(1)

    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-accept: x" in head
    assert 101 == entries[0][4]


async def test_a_client_that_leaves_does_not_stop_what_others_will_want(edge_at, tmp_path: Path) -> None:
    """The fill goes on and is stored."""
    go_on = trio.Event()

    async def slowly(_: Asked, wire: Wire) -> None:
        await wire.send(
            b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\ncontent-length: 600000\r\n\r\n" + b"a" * 300_000
        )
        await go_on.wait()
        await wire.send(b"b" * 300_000)

    origin = Origin({b"/slow": slowly})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(5):
            await client.ask("/slow")
            await client.stream.receive_some(65536)
            await client.aclose()
            await edge.settled(1)
            go_on.set()
            other = await edge.client()
            got = await other.get("/slow")

    assert b"a" * 300_000 + b"b" * 300_000 == got.body
    assert 1 == len(origin.asked)


async def test_without_a_cache_everything_is_passed_on(edge_at) -> None:
    """No path, no store."""
    origin = Origin({b"/a": reply(body=b"x", cache_control="max-age=60")})
    async with edge_at(None, origin=origin) as edge:
        client = await edge.client()
        for _ in range(2):
            got = await client.get("/a", Accept_Encoding="gzip")

    assert b"x" == got.body
    assert 2 == len(origin.asked)


async def test_a_reply_larger_than_max_object_is_passed_on(edge_at, tmp_path: Path) -> None:
    """Announced, or found out on the way; the client gets all of it."""
    body = b"z" * 1_500_000

    async def unannounced(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 50_000):
            await wire.send(b"c350\r\n" + body[at : at + 50_000] + b"\r\n")
        await wire.send(b"0\r\n\r\n")

    origin = Origin({b"/said": reply(body=body, cache_control="max-age=60"), b"/found": unannounced})
    async with edge_at(tmp_path, origin=origin, cache=CacheConfig(tmp_path, 16 << 20, 1 << 20, 1 << 20)) as edge:
        client = await edge.client()
        with trio.fail_after(20):
            for path in ("/said", "/found", "/said", "/found"):
                got = await client.get(path)
                assert body == got.body

    assert 4 == len(origin.asked)
