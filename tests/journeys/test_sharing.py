"""What goes wrong while many share one fetch, and what each of them gets then."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from edge.cache.key import key_hash, primary_key
from edge.cache.store import Store
from edge.cache.storing import Unstored, not_stored
from edge.config.tree import CacheConfig
from edge.message.head import RequestHead
from edge.observe import names
from edge.worker.flights import AT_HAND, PIECE
from tests.kit.client import Gone
from tests.kit.origin import Asked, Origin, Wire, reply

PIECES = 3 * AT_HAND
BODY = b"".join(bytes([number]) * PIECE for number in range(PIECES))


def hash_of(path: bytes) -> int:
    return key_hash(primary_key(RequestHead(b"GET", b"http", b"shop.example", path, [])))


class Slowly:
    """Sends one half of a body, and the other when told to."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def __call__(self, _: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        await wire.send(BODY[: len(BODY) // 2])
        await self.go_on.wait()
        await wire.send(BODY[len(BODY) // 2 :])


async def received(client, count: int) -> None:
    """Wait until so much has come."""
    while len(client.received) < count:
        client.received += await client.stream.receive_some(65536)
    client._rest = bytes(client.received)


async def test_who_comes_late_to_a_reply_that_is_not_stored_gets_all_of_it(
    edge_at, tmp_path: Path, monkeypatch
) -> None:
    """Its first pieces are gone from memory and are nowhere else: the late one needs a fetch of its own."""
    monkeypatch.setattr(Store, "begin_fill", lambda *_: not_stored(Unstored.STORE_FULL))
    slowly = Slowly()
    origin = Origin({b"/big": slowly})
    async with edge_at(tmp_path, origin=origin) as edge:
        early, late = await edge.client(), await edge.client()
        with trio.fail_after(20):
            await early.ask("/big")
            await received(early, len(BODY) // 2)
            await late.ask("/big")
            await received(late, len(BODY) // 2)
            slowly.go_on.set()
            got = [await early.reply(), await late.reply()]

    assert [BODY, BODY] == [one.body for one in got]
    assert 2 == len(origin.asked)


async def test_who_comes_late_to_a_reply_that_the_store_refused_on_the_way_gets_all_of_it(
    edge_at, tmp_path: Path, monkeypatch
) -> None:
    append = Store.fill_append
    monkeypatch.setattr(
        Store,
        "fill_append",
        lambda store, fill, data: (
            append(store, fill, data) if fill.landed_bytes < 10 * PIECE else not_stored(Unstored.STORE_FULL)
        ),
    )
    slowly = Slowly()
    origin = Origin({b"/big": slowly})
    async with edge_at(tmp_path, origin=origin) as edge:
        early, late = await edge.client(), await edge.client()
        with trio.fail_after(20):
            await early.ask("/big")
            await received(early, len(BODY) // 2)
            await late.ask("/big")
            await received(late, len(BODY) // 2)
            slowly.go_on.set()
            got = [await early.reply(), await late.reply()]

    assert [BODY, BODY] == [one.body for one in got]


async def test_an_exchange_whose_fetch_fails_after_it_was_handed_over_is_settled_once(
    edge_at, tmp_path: Path, monkeypatch, caplog
) -> None:
    """Whatever befalls the fetch: one entry, nothing counted as open, and a client that can tell."""

    def broken(*_):
        raise ZeroDivisionError("as good as any")

    slowly = Slowly()
    slowly.go_on.set()
    monkeypatch.setattr(Store, "fill_append", broken)
    async with edge_at(tmp_path, origin=Origin({b"/big": slowly})) as edge:
        client = await edge.client()
        with trio.fail_after(5), pytest.raises(Gone):
            await client.get("/big")
        entries = await edge.settled(1)
        await trio.sleep(0.05)
        bugs, carried = edge.count(names.BUGS), edge.count(names.EXCHANGES_OPEN)

    assert 1 == len(entries)
    assert (1, 0, 0) == (bugs, carried, edge.worker.fast.slow.carried)
    assert "http_response_incomplete" == entries[0][12]
    assert "ZeroDivisionError" in caplog.text


async def test_a_worker_that_ends_settles_each_exchange_once(edge_at, tmp_path: Path) -> None:
    async with edge_at(tmp_path, origin=Origin({b"/big": Slowly()})) as edge:
        client = await edge.client()
        with trio.fail_after(5):
            await client.ask("/big")
            await received(client, len(BODY) // 2)

    assert 1 == len(edge.entries)
    assert 0 == edge.worker.fast.slow.carried


async def test_what_one_client_asks_keeps_nobody_else_from_sharing(edge_at, tmp_path: Path) -> None:
    """A HEAD, or a client that forbids storing, says nothing about what others will get."""
    origin = Origin({b"/a": reply(body=b"x", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a", method="HEAD")
        await client.get("/a", Cache_Control="no-store")
        shunned = edge.worker.rooms.shunned.is_shunned(hash_of(b"/a"), edge.worker.rooms.now_s)

    assert not shunned


async def test_a_reply_found_too_large_on_its_way_is_not_shared_again(edge_at, tmp_path: Path) -> None:
    """Those who read it in other workers lose it when the store gives it up."""
    slowly = Slowly()
    slowly.go_on.set()
    cache = CacheConfig(tmp_path, 16 << 20, 1 << 20, 1 << 20)

    async def unannounced(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n")
        await wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))

    async with edge_at(tmp_path, origin=Origin({b"/big": unannounced}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            got = await client.get("/big")
        shunned = edge.worker.rooms.shunned.is_shunned(hash_of(b"/big"), edge.worker.rooms.now_s)

    assert (BODY, True) == (got.body, shunned)


async def test_a_reply_that_breaks_off_while_it_lands_counts_against_its_origin(edge_at, tmp_path: Path) -> None:
    async def cut(_: Asked, wire: Wire) -> None:
        await wire.send(
            b"HTTP/1.1 200 X\r\ncache-control: max-age=60\r\ncontent-length: 1000000\r\n\r\n" + bytes(500_000)
        )
        await wire.stream.aclose()

    async with edge_at(tmp_path, origin=Origin({b"/cut": cut})) as edge:
        client = await edge.client()
        with trio.fail_after(5), pytest.raises(Gone):
            await client.get("/cut")
        await edge.settled(1)
        faults = edge.count(names.OriginCells.of(edge.worker.heritage.origin_blocks["shop"]).faults)

    assert 1 == faults


async def test_a_copy_that_must_be_asked_about_each_time_is(edge_at, tmp_path: Path) -> None:
    """Also one that is fresh by its lifetime, and has just been confirmed for the same request."""
    fields = {"cache_control": "no-cache, max-age=60", "etag": '"1"'}

    async def page(asked: Asked, wire: Wire) -> None:
        has_it = asked.get(b"if-none-match") is not None
        await wire.send(reply(304, **fields) if has_it else reply(body=b"x", **fields))

    origin = Origin({b"/a": page})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        got = [await client.get("/a") for _ in range(5)]

    assert [(200, b"x")] * 5 == [(one.status, one.body) for one in got]
    assert 5 == len(origin.asked)


async def test_a_client_that_leaves_at_once_costs_nothing_but_its_entry(edge_at, tmp_path: Path) -> None:
    """Its exchange may begin after the session has ended, with whatever was decided."""
    pages = {b"/a": reply(body=b"x", cache_control="max-age=60"), b"/p": reply(body=b"x", cache_control="private")}
    async with edge_at(tmp_path, origin=Origin(pages)) as edge:
        client = await edge.client()
        await client.get("/a")
        for path in ("/a", "/p", "/b", "/a?only-if-cached"):
            for fields in ({}, {"Range": "bytes=0-0"}, {"Cache_Control": "only-if-cached"}):
                other = await edge.client()
                await other.ask(path, **fields)
                await other.aclose()
        with trio.fail_after(5):
            while edge.worker.fast.slow.carried or len(edge.worker.fast.sessions) > 1:
                await trio.sleep(0.001)
        bugs = edge.count(names.BUGS)

    assert 0 == bugs


async def test_who_waited_in_vain_and_fetched_for_himself_is_not_said_to_have_joined(edge_at, tmp_path: Path) -> None:
    """RFC 9211 §2.6: ``collapsed`` says that the reply is another's fetch."""
    begun, go_on = trio.Event(), trio.Event()

    async def private(_: Asked, wire: Wire) -> None:
        begun.set()
        await go_on.wait()
        await wire.send(reply(body=b"mine", cache_control="private"))

    origin = Origin({b"/mine": private})
    async with edge_at(tmp_path, origin=origin) as edge:
        first, second = await edge.client(), await edge.client()
        with trio.fail_after(5):
            await first.ask("/mine")
            await begun.wait()
            await second.ask("/mine")
            while not edge.count(names.FLIGHTS_JOINED):
                await trio.sleep(0.001)
            go_on.set()
            got = [await first.reply(), await second.reply()]

    assert 2 == len(origin.asked)
    assert not [one for one in got if b"collapsed" in one.get(b"cache-status")]


@pytest.mark.parametrize("kib", [1, 512])
async def test_who_waited_for_anothers_fetch_says_so_in_one_way(edge_at, tmp_path: Path, kib: int) -> None:
    """RFC 9211 §2.6: ``collapsed`` is said of a forward. Whether the copy was complete when the joiner came to it changes no word."""
    begun, go_on = trio.Event(), trio.Event()
    whole = random.Random(1).randbytes(kib << 10)

    async def slowly(_: Asked, wire: Wire) -> None:
        begun.set()
        await go_on.wait()
        await wire.send(reply(body=whole, cache_control="max-age=60"))

    async with edge_at(tmp_path, origin=Origin({b"/slow": slowly})) as edge:
        first, second = await edge.client(), await edge.client()
        with trio.fail_after(5):
            await first.ask("/slow")
            await begun.wait()
            await second.ask("/slow")
            while not edge.count(names.FLIGHTS_JOINED):
                await trio.sleep(0.001)
            go_on.set()
            got = [await first.reply(), await second.reply()]
        entries = await edge.settled(2)

    assert [whole, whole] == [one.body for one in got]
    assert [b"edge; fwd=uri-miss; ttl=60; stored", b"edge; fwd=uri-miss; ttl=60; collapsed"] == [
        one.get(b"cache-status") for one in got
    ]
    assert ["uri-miss", "uri-miss"] == [entry[7] for entry in entries]
