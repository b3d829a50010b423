"""Misses without a task: what is answered so, what is handed to a task half-way, and that nobody can tell."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from edge.clock import SYSTEM
from edge.config.tree import Origin as OriginConfig
from edge.config.tree import OriginServer, Server
from edge.observe import names
from edge.share.channel import Word
from edge.worker import quick
from tests.kit.client import Gone
from tests.kit.house import House, TrioClock, house
from tests.kit.origin import Asked, Origin, Wire, reply
from tests.kit.ranged import numbered

PRIVATE = reply(body=b"for you only", cache_control="private")
PUBLIC = reply(body=b"for everyone", cache_control="max-age=60")


async def warm(edge: House) -> None:
    """Let there be a connection to the origin that may be used again, and a sweep that can be counted on."""
    client = await edge.client()
    await client.get("/warm")
    edge.worker.origins.sweep()


def tasks(edge: House) -> int:
    return edge.count(names.SLOW_LANE)


def is_left(edge: House) -> bool:
    fast = edge.worker.fast
    return bool(fast.slow.carried or fast.slow.quick.asked or edge.worker.flights.known or edge.worker.flights.claims)


async def test_a_miss_that_is_answered_in_one_piece_takes_no_task(tmp_path: Path) -> None:
    """Stored or not; and what was stored is a hit."""
    origin = Origin({b"/warm": PRIVATE, b"/private": PRIVATE, b"/public": PUBLIC, b"/gone": reply(404, b"gone")})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        before = tasks(edge)
        client = await edge.client()
        got = [await client.get(path) for path in ("/private", "/public", "/gone", "/public")]
        entries = await edge.settled(5)
        after = tasks(edge)

        assert not is_left(edge)
    assert after == before
    assert [200, 200, 404, 200] == [one.status for one in got]
    assert [b"for you only", b"for everyone", b"gone", b"for everyone"] == [one.body for one in got]
    assert b"edge; fwd=uri-miss; fwd-status=200; detail=private" == got[0].get(b"cache-status")
    assert b"edge; fwd=uri-miss; ttl=60; stored" == got[1].get(b"cache-status")
    assert got[3].get(b"cache-status").startswith(b"edge; hit")
    assert 1 == origin.connections
    assert ["uri-miss", "uri-miss", "uri-miss", "uri-miss", "hit"] == [entry[7] for entry in entries]


@pytest.mark.parametrize("cache_control", ["private", "max-age=60"])
async def test_so_is_one_that_is_longer_but_here(tmp_path: Path, cache_control: str) -> None:
    body = numbered(65536)

    async def long(_: Asked, wire: Wire) -> None:
        wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # it takes all of it at once
        await wire.send(reply(body=body, cache_control=cache_control))

    origin = Origin({b"/warm": PRIVATE, b"/long": long})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        before = tasks(edge)
        client = await edge.client()
        with trio.fail_after(10):
            got = await client.get("/long")
            await edge.settled(2)
        after = tasks(edge)

        assert not is_left(edge)
    assert after == before
    assert body == got.body


@pytest.mark.parametrize("cut", [1, 40, -5])
async def test_an_answer_in_two_pieces_is_waited_for(tmp_path: Path, cut: int) -> None:
    """Inside the head still without a task, inside the body in one."""
    middle = trio.Event()

    async def halves(_: Asked, wire: Wire) -> None:
        await wire.send(PUBLIC[:cut])
        await middle.wait()
        await wire.send(PUBLIC[cut:])

    origin = Origin({b"/warm": PRIVATE, b"/halves": halves})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        before = tasks(edge)
        client = await edge.client()
        await client.ask("/halves")
        await trio.testing.wait_all_tasks_blocked(0.01)
        middle.set()
        got = await client.reply()
        await edge.settled(2)

        assert tasks(edge) - before == (0 if cut > 0 else 1)
        assert not is_left(edge)
    assert b"for everyone" == got.body
    assert 1 == len([path for path in origin.paths() if path == b"/halves"])


async def test_a_kept_connection_that_died_unanswered_is_replaced(tmp_path: Path) -> None:
    """The request was read, the connection closed: asked once more, on a new one."""
    left = [1]

    async def closes(_: Asked, wire: Wire) -> None:
        if left:
            left.pop()
            await wire.stream.aclose()
        else:
            await wire.send(PUBLIC)

    origin = Origin({b"/warm": PRIVATE, b"/closes": closes})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        client = await edge.client()
        got = await client.get("/closes")

        await edge.settled(2)
        assert 1 == edge.count(names.OriginCells.of(0).retries)
        assert 1 == edge.count(names.RouteCells.of(0).retries)
        assert not is_left(edge)
    assert (200, b"for everyone") == (got.status, got.body)
    assert [b"/warm", b"/closes", b"/closes"] == origin.paths()


async def test_nonsense_is_502_and_a_cut_reply_breaks_off_as_in_a_task(tmp_path: Path) -> None:
    """A failing reply is told by the same words, whoever met it."""

    async def cut(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncache-control: private\r\ncontent-length: 100\r\n\r\nonly this")
        await wire.stream.aclose()

    origin = Origin({b"/warm": PRIVATE, b"/cut": cut, b"/nonsense": b"HTTP/1.1 2000 X\r\n\r\n"})
    async with house(tmp_path, origin=origin) as edge:
        for path in ("/nonsense", "/cut"):
            await warm(edge)
            client = await edge.client()
            if path == "/cut":
                with pytest.raises(Gone):
                    await client.get(path)
            else:
                got = await client.get(path)
                assert (502, b"edge; error=http_protocol_error") == (got.status, got.get(b"proxy-status"))
        entries = await edge.settled(4)

        assert not is_left(edge)
    assert ["http_protocol_error", "http_response_incomplete"] == [entry[12] for entry in entries if entry[12]]


async def test_an_origin_that_says_nothing_is_504_once_the_sweep_comes_by(tmp_path: Path, autojump_clock) -> None:
    """The deadline of a wait without a task is the sweep's."""

    async def silent(_: Asked, wire: Wire) -> None:
        await trio.sleep(1000)

    origin = Origin({b"/warm": PRIVATE, b"/silent": silent})
    async with house(tmp_path, origin=origin, clock=TrioClock()) as edge:
        await warm(edge)
        before = tasks(edge)
        client = await edge.client()
        began = trio.current_time()
        await client.ask("/silent")
        assert tasks(edge) == before
        got = await client.reply()

        assert 60 <= trio.current_time() - began <= 62
        assert (504, b"edge; error=http_response_timeout") == (got.status, got.get(b"proxy-status"))
        await edge.settled(2)
        assert not is_left(edge)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_client_that_leaves_ends_what_is_asked_for_it_alone(tmp_path: Path, shared: bool) -> None:
    """What others may want is fetched to its end."""
    asked, go_on, ended = trio.Event(), trio.Event(), trio.Event()

    async def slow(_: Asked, wire: Wire) -> None:
        asked.set()
        await go_on.wait()
        try:
            await wire.send(PUBLIC)
            assert b"" == await wire.stream.receive_some(1) or shared
        except trio.BrokenResourceError:
            pass
        ended.set()

    origin = Origin({b"/warm": PRIVATE, b"/slow": slow})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        client = await edge.client()
        await client.ask("/slow", **({} if shared else {"Cache_Control": "no-store"}))
        with trio.fail_after(5):
            await asked.wait()
            await client.aclose()
            if not shared:
                entries = await edge.settled(2)
                assert "connection_terminated" == entries[1][12]
                assert not is_left(edge)
            go_on.set()
            if shared:
                await edge.settled(2)
                other = await edge.client()
                got = await other.get("/slow")
                assert b"for everyone" == got.body
                assert b"hit" in got.get(b"cache-status")
            else:
                await ended.wait()
        assert not is_left(edge)
    assert 1 == origin.paths().count(b"/slow")


async def test_who_wants_the_same_meanwhile_joins(tmp_path: Path) -> None:
    """One question for five clients, though nobody's task asks it."""
    asked, go_on = trio.Event(), trio.Event()

    async def slow(_: Asked, wire: Wire) -> None:
        asked.set()
        await go_on.wait()
        await wire.send(PUBLIC)

    origin = Origin({b"/warm": PRIVATE, b"/slow": slow})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        clients = [await edge.client() for _ in range(5)]
        for client in clients:
            await client.ask("/slow")
        with trio.fail_after(5):
            await asked.wait()
            assert 1 == len(edge.worker.fast.slow.quick.asked)
            go_on.set()
            got = [await client.reply() for client in clients]

    assert [b"for everyone"] * 5 == [one.body for one in got]
    assert 1 == origin.paths().count(b"/slow")


async def test_a_reply_that_the_client_takes_slowly_is_settled_when_it_has_left(tmp_path: Path) -> None:
    """40 KiB into a small socket: the entry is written after the last byte."""
    body = bytes(range(256)) * 160
    origin = Origin({b"/warm": PRIVATE, b"/some": reply(body=body, cache_control="private")})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        client = await edge.client(buffer=4096)
        await client.ask("/some")
        with trio.fail_after(5):
            while not edge.worker.fast.slow.carried or edge.worker.fast.slow.quick.asked:
                await trio.sleep(0.001)
            assert 1 == len(edge.entries)
            got = await client.reply()
            entries = await edge.settled(2)

        assert not is_left(edge)
    assert body == got.body
    assert len(body) == entries[1][5]
    assert "" == entries[1][12]


async def test_an_error_of_our_own_costs_one_exchange(tmp_path: Path, monkeypatch, caplog) -> None:
    """500, counted, and nothing is held."""
    origin = Origin({b"/warm": PRIVATE, b"/public": PUBLIC})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        monkeypatch.setattr(quick, "weigh", lambda *_: 1 / 0)
        client = await edge.client()
        got = await client.get("/public")
        monkeypatch.undo()
        again = await client.get("/public")

        assert 1 == edge.count(names.BUGS)
        assert not is_left(edge)
    assert (500, 200) == (got.status, again.status)
    assert "please report it" in caplog.text


async def test_short_deadlines_are_a_tasks(tmp_path: Path) -> None:
    """The sweep is too coarse for them."""
    origin = Origin({b"/warm": PRIVATE, b"/private": PRIVATE})
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.serve)
        hasty = OriginConfig("shop", (OriginServer(f"http://127.0.0.1:{origin.port}"),))
        hasty = dataclasses.replace(hasty, first_byte_s=2.0)
        async with house(tmp_path, origin=origin, origins={"shop": hasty}) as edge:
            await warm(edge)
            before = tasks(edge)
            client = await edge.client()
            got = await client.get("/private")

            assert tasks(edge) == before + 1
        nursery.cancel_scope.cancel()
    assert b"for you only" == got.body


async def test_a_worker_that_ends_settles_what_is_asked(tmp_path: Path) -> None:
    """Nothing is forgotten: one entry for each exchange, whatever befell it."""
    asked = trio.Event()

    async def silent(_: Asked, wire: Wire) -> None:
        asked.set()
        await trio.sleep_forever()

    origin = Origin({b"/warm": PRIVATE, b"/silent": silent})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        client = await edge.client()
        await client.ask("/silent")
        await asked.wait()
        assert 1 == len(edge.worker.fast.slow.quick.asked)
    with trio.fail_after(1):
        entries = await edge.settled(2)
    assert "connection_terminated" == entries[1][12]


async def test_a_worker_that_leaves_settles_what_others_could_have_shared(tmp_path: Path) -> None:
    """When drain is over its clients are cut; the question goes with them, before the run ends."""
    asked = trio.Event()

    async def silent(_: Asked, wire: Wire) -> None:
        asked.set()
        await trio.sleep_forever()

    origin = Origin({b"/warm": PRIVATE, b"/silent": silent})
    async with house(tmp_path, origin=origin, server=Server(drain_s=0.1)) as edge:
        await warm(edge)
        client = await edge.client()
        await client.ask("/silent")
        with trio.fail_after(5):
            await asked.wait()
            assert 1 == len(edge.worker.fast.slow.quick.asked)
            edge.channel.send(Word.LEAVE)
            entries = await edge.settled(2)

        assert not is_left(edge)
    assert "connection_terminated" == entries[1][12]


def test_a_worker_whose_run_has_broken_off_closes_in_order_all_the_same(tmp_path: Path) -> None:
    """What is asked is settled, and everything closed, though there is nobody left whom trio could wake."""

    async def broken_off() -> House:
        asked = trio.Event()

        async def silent(_: Asked, wire: Wire) -> None:
            asked.set()
            await trio.sleep_forever()

        origin = Origin({b"/warm": PRIVATE, b"/silent": silent})
        async with house(tmp_path, origin=origin, clock=SYSTEM) as edge:
            await warm(edge)
            client = await edge.client()
            await client.ask("/silent")
            await asked.wait()
            edge.worker.close = lambda: None  # not yet
        return edge

    edge = trio.run(broken_off)
    assert 1 == len(edge.worker.fast.slow.quick.asked)
    del edge.worker.close
    edge.worker.close()

    assert not edge.worker.fast.slow.quick.asked
    assert "connection_terminated" == edge.entries[1][12]
    assert edge.worker.fast.epoll.closed
    assert -1 == edge.worker.heritage.channel.fileno()  # what is closed last of all


async def test_a_head_that_is_passed_on_again_says_the_same(tmp_path: Path) -> None:
    """The second is sent as it was written for the first; through a task, with another reason or method it is made anew."""
    dated = reply(
        body=b"0123456789", cache_control="no-store", date="Fri, 15 Jan 2027 08:00:00 GMT", connection="x-a", x_a="1"
    )
    seen = []
    for serve_hits in (True, False):
        origin = Origin({b"*": dated})
        async with house(tmp_path / str(serve_hits), origin=origin, serve_hits=serve_hits) as edge:
            await warm(edge)
            client = await edge.client()
            said = []
            for at, more in enumerate(({}, {}, {"Cache_Control": "no-store"}, {"If_None_Match": '"x"'}, {})):
                got = await client.get(f"/{at}", **more)
                said.append((got.status, got.headers, got.body))
            got = await client.get("/9", Connection="close")
            said.append((got.status, got.headers, got.body))
            seen.append(said)
            entries = await edge.settled(7)
            assert [10] * 6 == [entry[5] for entry in entries[1:]]
    assert seen[0] == seen[1]
    assert seen[0][0] == seen[0][1] == seen[0][4]
    assert seen[0][0][1] != seen[0][2][1]
    assert (b"connection", b"close") in seen[0][5][1]
