"""Copies that are taken away between being found and being sent: evicted, purged, replaced, or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from edge.cache.copy import IDENTITY
from edge.cache.records import CHUNK
from edge.config.tree import CacheConfig
from tests.kit.client import Gone
from tests.kit.house import House
from tests.kit.origin import Asked, Origin, Wire, reply
from tests.kit.ranged import Ranged, numbered

MIB = 1 << 20
BODY = numbered(8 * MIB + 77)


def damage(edge: House) -> None:
    """Remove every body, and leave its head."""
    store = edge.worker.rooms.store
    for copy in store.browse(b"", 10)[0]:
        with store._begin(write=True) as txn:
            cursor = txn.cursor(db=store._records.chunks)
            body_id = copy.bodies[IDENTITY].body_id
            while cursor.set_range(CHUNK.pack(body_id, 0)) and CHUNK.unpack(cursor.key())[0] == body_id:
                cursor.delete()


def take_away(edge: House) -> None:
    """Remove every copy and its body, as an eviction does."""
    damage(edge)
    store = edge.worker.rooms.store
    for copy in store.browse(b"", 10)[0]:
        store.forget(copy, edge.worker.clock.wall())


async def begun(edge: House) -> None:
    """Wait until a reply has begun, and its client takes no more of it for now."""
    while not any(session.conn.out.pending for session in edge.worker.fast.sessions.values()):
        await trio.sleep(0.001)


class Confirming:
    """A page that is stale at once; *before* is called before it says 304, or fails."""

    def __init__(self, before: Callable[[], None], *, fails: bool = False) -> None:
        self.before = before
        self.fails = fails
        self.asked: list[Asked] = []

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        self.asked.append(asked)
        if len(self.asked) > 1 and self.fails:
            self.before()
            await wire.send(reply(503, b"no"))
        elif asked.get(b"if-none-match") is None:
            await wire.send(reply(body=b"page", etag='"1"', cache_control="max-age=0, stale-if-error=60"))
        else:
            self.before()
            await wire.send(reply(304, etag='"1"', cache_control="max-age=0"))


async def test_a_copy_that_is_gone_when_it_is_confirmed_is_asked_for_anew(edge_at, tmp_path: Path) -> None:
    page = Confirming(lambda: take_away(edge))
    async with edge_at(tmp_path, origin=Origin({b"/page": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            first = await client.get("/page")
            again = await client.get("/page")

    assert [(200, b"page")] * 2 == [(got.status, got.body) for got in (first, again)]
    assert [None, b'"1"', None] == [asked.get(b"if-none-match") for asked in page.asked]


async def test_a_stale_copy_that_is_gone_when_it_is_needed_is_no_copy(edge_at, tmp_path: Path) -> None:
    page = Confirming(lambda: take_away(edge), fails=True)
    async with edge_at(tmp_path, origin=Origin({b"/page": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/page")
            late = await client.get("/page")

    assert (503, b"no") == (late.status, late.body)  # the origin's word, when asked for the whole
    assert 3 == len(page.asked)


@pytest.mark.parametrize("length", [100_000, 3_000_000], ids=["read at once", "read in pieces"])
async def test_a_head_without_its_body_is_no_copy(edge_at, tmp_path: Path, length: int) -> None:
    page = Ranged(BODY[:length])
    cache = CacheConfig(tmp_path, 64 * MIB, MIB)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film")
        damage(edge)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            unmet = await client.get("/film", Cache_Control="only-if-cached")
            damaged = await client.get("/film")
            healed = await client.get("/film")

    assert 504 == unmet.status
    assert [page.body] * 2 == [damaged.body, healed.body]
    assert b"hit" in healed.get(b"cache-status")
    assert 2 == page.wholes


async def test_a_head_is_asked_for_as_a_head_where_its_copy_has_no_body(edge_at, tmp_path: Path) -> None:
    """And what is answered to it is nobody's copy."""
    page = Ranged(BODY[:300_000])
    cache = CacheConfig(tmp_path, 64 * MIB, 64 * MIB)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film")
        damage(edge)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            head = await client.get("/film", method="HEAD")
            whole = await client.get("/film")

    assert (200, b"") == (head.status, head.body)
    assert page.body == whole.body
    assert [b"GET", b"HEAD", b"GET"] == [asked.method for asked in page.asked]


@pytest.mark.parametrize("wanted", ["", "bytes=10-8000000"], ids=["whole", "by range"])
@pytest.mark.parametrize("remove", [take_away, damage])
async def test_who_is_being_sent_a_copy_has_the_rest_from_the_origin(
    edge_at, tmp_path: Path, remove: Callable[[House], None], wanted: str
) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=CacheConfig(tmp_path, 64 * MIB, MIB)) as edge:
        quick, slow = await edge.client(), await edge.client(buffer=8192)
        with trio.fail_after(20):
            await quick.get("/film")
            await slow.ask("/film", **({"Range": wanted} if wanted else {}))
            await begun(edge)
            remove(edge)
            late = await slow.reply()

    assert late.body == (BODY[10:8000001] if wanted else BODY)
    assert 1 == page.wholes, page.spans
    assert all(start > 0 for start, _ in page.spans[1:])
    assert page.spans[1:]


async def test_the_rest_is_not_taken_from_another_representation(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=CacheConfig(tmp_path, 64 * MIB, MIB)) as edge:
        quick, slow = await edge.client(), await edge.client(buffer=8192)
        with trio.fail_after(20):
            await quick.get("/film")
            await slow.ask("/film")
            await begun(edge)
            take_away(edge)
            page.body, page.etag = numbered(len(BODY), 1), '"2"'
            with pytest.raises(Gone):
                await slow.reply()

    assert BODY.startswith(bytes(slow.received).partition(b"\r\n\r\n")[2])


async def test_what_nobody_can_name_breaks_off(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY, etag=None)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=CacheConfig(tmp_path, 64 * MIB, MIB)) as edge:
        quick, slow = await edge.client(), await edge.client(buffer=8192)
        with trio.fail_after(20):
            await quick.get("/film")
            await slow.ask("/film")
            await begun(edge)
            take_away(edge)
            with pytest.raises(Gone):
                await slow.reply()
