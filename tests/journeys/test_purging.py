"""What a purge does to clients: those who come after it never get what was asked for before it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from edge.cache.purge import Purge, What
from edge.config.tree import CacheConfig
from edge.observe import names
from tests.kit.origin import Asked, Origin, Wire, reply

LONG = b"old " * 100_000


def cache(path: Path) -> CacheConfig:
    return CacheConfig(path, 16 << 20, 1 << 20, purge_from=(ip_network("192.0.2.0/24"),))


async def test_a_purge_makes_the_next_request_a_miss(edge_at, tmp_path: Path) -> None:
    origin = Origin({b"/a": reply(body=b"1", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin, cache=cache(tmp_path)) as edge:
        client = await edge.client()
        await client.get("/a")
        origin.pages[b"/a"] = reply(body=b"2", cache_control="max-age=60")
        hit = await client.get("/a")
        purged = await client.get("/a", method="PURGE")
        after = await client.get("/a")
        entries = await edge.settled(4)

    assert b"1" == hit.body
    assert (200, b'{"purged": [{"url": "shop.example/a", "copies": 1}], "soft": false}\n') == (
        purged.status,
        purged.body,
    )
    assert (b"2", b"edge; fwd=uri-miss; ttl=60; stored") == (after.body, after.get(b"cache-status"))
    assert (200, "none") == (entries[2][4], entries[2][7])


async def test_a_soft_purge_serves_what_it_has_while_it_asks(edge_at, tmp_path: Path) -> None:
    origin = Origin({b"/a": reply(body=b"1", cache_control="max-age=60, stale-while-revalidate=30", cache_tag="t")})
    async with edge_at(tmp_path, origin=origin, cache=cache(tmp_path)) as edge:
        client = await edge.client()
        await client.get("/a")
        origin.pages[b"/a"] = reply(body=b"2", cache_control="max-age=60")
        await client.get("/", method="PURGE", Cache_Tag="t", Soft_Purge="1")
        stale = await client.get("/a")
        with trio.fail_after(5):
            while (after := await client.get("/a")).body == b"1":
                await trio.sleep(0.001)

    assert b"1" == stale.body
    assert b"2" == after.body
    assert 1 == edge.count(names.CACHE_PURGES["tag"])
    assert [b"/a", b"/a"] == origin.paths()


async def test_whoever_may_not_purge_changes_nothing(edge_at, tmp_path: Path) -> None:
    origin = Origin({b"/a": reply(body=b"1", cache_control="max-age=60")})
    elsewhere = CacheConfig(tmp_path, 16 << 20, 1 << 20, purge_from=(ip_network("10.0.0.0/8"),))
    async with edge_at(tmp_path, origin=origin, cache=elsewhere) as edge:
        client = await edge.client()
        await client.get("/a")
        refused = await client.get("/a", method="PURGE")
        after = await client.get("/a")

    assert 403 == refused.status
    assert b"edge; hit; ttl=60" == after.get(b"cache-status")
    assert [b"/a"] == origin.paths()


@pytest.mark.parametrize(
    "purge", [None, Purge(What.ALL, b"", 0.0), Purge(What.TAG, b"t", 0.0)], ids=["url", "all", "tag"]
)
async def test_who_comes_after_a_purge_does_not_join_a_fetch_from_before_it(
    edge_at, tmp_path: Path, purge: Purge | None
) -> None:
    """The older reply is neither stored nor shared; those who were on board already get all of it."""
    go_on = trio.Event()
    landing = trio.Event()

    async def slow(asked: Asked, wire: Wire) -> None:
        if len(origin.asked) > 1:
            await wire.send(reply(body=b"new", cache_control="max-age=60", cache_tag="t"))
            return
        whole = reply(body=LONG, cache_control="max-age=60", cache_tag="t", content_type="image/png")
        await wire.send(whole[:100_000])
        landing.set()
        await go_on.wait()
        await wire.send(whole[100_000:])

    origin = Origin({b"/a": slow})
    async with edge_at(tmp_path, origin=origin, cache=cache(tmp_path)) as edge:
        first, second, operator = await edge.client(), await edge.client(), await edge.client()
        await first.ask("/a")
        await landing.wait()
        with trio.fail_after(5):
            while edge.worker.store.fill_of(next(iter(edge.worker.flights.known.values())).key) is None:
                await trio.sleep(0.001)
        if purge is None:
            await operator.get("/a", method="PURGE")
        else:
            edge.worker.store.purge(Purge(purge.what, purge.text, edge.worker.clock.wall()))
        with trio.fail_after(5):
            fresh = await second.get("/a")
        go_on.set()
        old = await first.reply()
        await edge.settled(3 if purge is None else 2)
        again = await second.get("/a")

    assert b"new" == fresh.body
    assert LONG == old.body
    assert (b"new", b"edge; hit; ttl=60") == (again.body, again.get(b"cache-status"))
    assert 2 == len(origin.asked)
