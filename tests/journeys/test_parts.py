"""Large bodies by range: what is asked of the origin, what is kept of it, and what clients get."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing

from edge.cache.audit import faults
from edge.cache.copy import IDENTITY
from edge.cache.key import key_hash, primary_key
from edge.cache.records import CHUNK
from edge.cache.storing import NUMBER, Unstored
from edge.config.origin_rules import RouteRetry
from edge.config.route_rules import RouteRequestHeaders, RouteTimeouts
from edge.config.tree import CacheConfig, Route, RouteCache, Trace
from edge.message.head import RequestHead
from edge.observe import names
from edge.worker import flights
from tests.kit.client import Gone
from tests.kit.origin import Asked, Origin, Wire, reply
from tests.kit.ranged import Ranged, numbered

MIB = 1 << 20
SLICE = MIB // 4080 * 4080
LENGTH = 5 * MIB + 1234
BODY = numbered(LENGTH)


def sound(edge) -> bool:
    """Whether everything in the store is true."""
    return faults(edge.worker.rooms.store) == []


async def still(edge) -> None:
    """Wait until nothing is being fetched."""
    with trio.fail_after(10):
        while edge.worker.fast.slow.carried or len(edge.worker.fast.slow.means.flights.claims):
            await trio.sleep(0.001)


async def test_a_range_is_asked_for_in_slices_and_answered_from_them_afterwards(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            first = await client.get("/film", Range="bytes=2500000-2500009")
            again = await client.get("/film", Range="bytes=2600000-2600009")
            await still(edge)
        assert sound(edge)

    assert (206, BODY[2500000:2500010]) == (first.status, first.body)
    assert f"bytes 2500000-2500009/{LENGTH}".encode() == first.get(b"content-range")
    assert (206, BODY[2600000:2600010]) == (again.status, again.body)
    assert [(2 * SLICE, 3 * SLICE)] == page.spans
    assert first.get(b"cache-status").startswith(b"edge; fwd=uri-miss; ttl=")
    assert b"; stored" in first.get(b"cache-status")
    assert again.get(b"cache-status").startswith(b"edge; hit; ttl=")


async def test_only_what_is_missing_is_asked_for_and_the_copy_becomes_whole(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=2500000-2500009")
            whole = await client.get("/film")
            await still(edge)
            last = await client.get("/film", Range="bytes=-10")
        copies = edge.worker.rooms.store.browse(b"", 10)[0]
        assert sound(edge)

    assert (200, BODY) == (whole.status, whole.body)
    assert whole.get(b"cache-status").startswith(b"edge; fwd=partial; ttl=")
    assert (206, BODY[-10:]) == (last.status, last.body)
    assert [(2 * SLICE, 3 * SLICE), (0, 2 * SLICE), (3 * SLICE, LENGTH)] == page.spans
    assert [asked.get(b"if-range") for asked in page.asked] == [None, b'"1"', b'"1"']
    assert [(None, LENGTH)] == [(copy.spans, copy.length) for copy in copies]
    assert LENGTH == page.sent


async def test_a_body_that_is_no_longer_than_was_asked_for_is_a_whole_copy(edge_at, tmp_path: Path) -> None:
    """Also without a validator: nothing is put together."""
    page = Ranged(BODY[:100_000], etag=None)
    async with edge_at(tmp_path, origin=Origin({b"/page": page})) as edge:
        client = await edge.client()
        part = await client.get("/page", Range="bytes=-5")
        whole = await client.get("/page")

    assert (206, BODY[99_995:100_000]) == (part.status, part.body)
    assert (200, BODY[:100_000]) == (whole.status, whole.body)
    assert b"hit" in whole.get(b"cache-status")
    assert [(0, 100_000)] == page.spans


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
async def test_parts_that_no_strong_validator_names_are_not_kept_but_the_whole_is(
    edge_at, tmp_path: Path, etag
) -> None:
    page = Ranged(BODY, etag=etag)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            part = await client.get("/film", Range="bytes=2500000-2500009")
            again = await client.get("/film", Range="bytes=4500000-4500009")

    assert (206, BODY[2500000:2500010]) == (part.status, part.body)
    assert (206, BODY[4500000:4500010]) == (again.status, again.body)
    assert [(2 * SLICE, 3 * SLICE), (0, LENGTH)] == page.spans


async def test_an_old_modification_date_names_parts_too(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY, etag=None)
    page.modified = "Fri, 01 Jan 2021 00:00:00 GMT"
    page.fields["date"] = "Fri, 15 Jan 2027 08:00:00 GMT"
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            part = await client.get("/film", Range="bytes=4500000-4500009")

    assert BODY[4500000:4500010] == part.body
    assert [None, page.modified.encode()] == [asked.get(b"if-range") for asked in page.asked]


async def test_an_origin_that_knows_no_ranges_is_asked_once(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    page.knows_ranges = False
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            part = await client.get("/film", Range="bytes=2500000-2500009")
            again = await client.get("/film", Range="bytes=-9")

    assert [BODY[2500000:2500010], BODY[-9:]] == [part.body, again.body]
    assert [(0, LENGTH)] == page.spans


async def test_what_may_not_be_kept_is_asked_for_in_the_clients_own_words(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY, cache_control="no-store")
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        got = [await client.get("/film", Range="bytes=2500000-2500009") for _ in range(2)]

    assert [BODY[2500000:2500010]] * 2 == [one.body for one in got]
    assert [(2 * SLICE, 3 * SLICE), (2500000, 2500010), (2500000, 2500010)] == page.spans


async def test_what_is_longer_than_the_route_keeps_is_asked_for_in_the_clients_own_words(
    edge_at, tmp_path: Path
) -> None:
    page = Ranged(BODY)
    cache = CacheConfig(tmp_path, 16 << 20, 1 << 20, MIB)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        got = [await client.get("/film", Range="bytes=2500000-2500009") for _ in range(2)]

    assert [BODY[2500000:2500010]] * 2 == [one.body for one in got]
    assert page.spans[1:] == [(2500000, 2500010)] * 2


async def test_a_route_may_have_everything_fetched_whole(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    routes = (Route(None, "/", "shop", RouteCache(parts=False)),)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=routes) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            part = await client.get("/film", Range="bytes=2500000-2500009")

    assert BODY[2500000:2500010] == part.body
    assert [(0, LENGTH)] == page.spans


async def test_several_ranges_are_put_together_from_parts_in_the_order_asked(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            got = await client.get("/film", Range="bytes=5000000-5000003, 1000000-1000003, 0-3")

    assert 206 == got.status
    places = [got.body.index(b"\r\n\r\n" + BODY[at : at + 4]) for at in (5000000, 1000000, 0)]
    assert places == sorted(places)


async def test_a_descending_set_of_ranges_is_sent_while_the_body_passes_by(edge_at, tmp_path: Path) -> None:
    """It is not stored, so what has passed cannot be had again: its parts come in the order of the body."""
    page = Ranged(BODY[: 4 * MIB], etag=None)
    cache = CacheConfig(tmp_path, 6 << 20, 1 << 20)  # half of it is the most that one may take
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            got = await client.get("/film", Range="bytes=4000000-4000003, 2000000-2000003, 0-3")

    assert 206 == got.status
    places = [got.body.index(b"\r\n\r\n" + BODY[at : at + 4]) for at in (0, 2000000, 4000000)]
    assert places == sorted(places)


async def test_conditions_on_a_range_are_weighed_with_the_parts(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            same = await client.get("/film", Range="bytes=0-9", If_Range='"1"')
            known = await client.get("/film", Range="bytes=0-9", If_None_Match='"1"')
            beyond = await client.get("/film", Range=f"bytes={LENGTH}-")
            head = await client.get("/film", method="HEAD")
            other = await client.get("/film", Range="bytes=0-9", If_Range='"2"')

    assert (206, BODY[:10]) == (same.status, same.body)
    assert 304 == known.status
    assert (416, f"bytes */{LENGTH}".encode()) == (beyond.status, beyond.get(b"content-range"))
    assert (200, str(LENGTH).encode()) == (head.status, head.get(b"content-length"))
    assert (200, BODY) == (other.status, other.body)


async def test_who_wants_nothing_fetched_gets_what_is_there_or_nothing(edge_at, tmp_path: Path) -> None:
    """RFC 9111 §5.2.1.7."""
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        await client.get("/film", Range="bytes=0-9")
        here = await client.get("/film", Range="bytes=5-9", Cache_Control="only-if-cached")
        missing = await client.get("/film", Range="bytes=4500000-", Cache_Control="only-if-cached")

    assert (206, BODY[5:10]) == (here.status, here.body)
    assert 504 == missing.status
    assert [(0, SLICE)] == page.spans


async def test_a_range_far_behind_what_has_landed_is_not_waited_for(edge_at, tmp_path: Path) -> None:
    page = Ranged(numbered(12 * MIB))
    page.hold_at = MIB
    cache = CacheConfig(tmp_path, 32 << 20, 1 << 20)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        first, other = await edge.client(), await edge.client()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.get, "/film")
                await page.held.wait()
                page.hold_at = None
                far = await other.get("/film", Range="bytes=11000000-11000009")
                page.go_on.set()

    assert (206, page.body[11000000:11000010]) == (far.status, far.body)
    assert b"collapsed" not in far.get(b"cache-status")
    assert [(0, 12 * MIB), (11000000, 11000010)] == page.spans


async def test_a_range_beyond_the_end_of_what_is_not_known_is_the_origins_to_refuse(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY[:1000])
    async with edge_at(tmp_path, origin=Origin({b"/page": page})) as edge:
        client = await edge.client()
        got = await client.get("/page", Range="bytes=9000000-")
        two = await client.get("/page", Range="bytes=9000000-, 0-3")

    assert 416 == got.status
    assert (200, BODY[:1000]) == (two.status, two.body)
    assert 3 == len(page.asked)


# -- change --------------------------------------------------------------------------------------------------


async def test_parts_are_dropped_when_the_origin_has_another_representation(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    other = numbered(LENGTH, salt=7)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            page.body, page.etag = other, '"2"'
            mixed = await client.get("/film", Range="bytes=0-9, 4500000-4500009")
            await still(edge)
            after = await client.get("/film", Range="bytes=0-9")
        assert sound(edge)

    assert BODY[:10] not in mixed.body
    assert (206, other[:10]) == (after.status, after.body)
    assert b"fwd=uri-miss" in after.get(b"cache-status")


async def test_a_reply_that_has_begun_breaks_off_rather_than_mix_two_representations(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            page.etag = '"2"'
            with pytest.raises(Gone):
                await client.get("/film")
        entry = (await edge.settled(2))[1]

    assert "http_response_incomplete" in entry


async def test_stale_parts_are_confirmed_and_used_again(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY, cache_control="max-age=0")
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            page.cache_control = "max-age=3600"
            confirmed = await client.get("/film", Range="bytes=10-19")
            hit = await client.get("/film", Range="bytes=20-29")

    assert (206, BODY[10:20]) == (confirmed.status, confirmed.body)
    assert b"fwd=stale; fwd-status=304" in confirmed.get(b"cache-status")
    assert b"hit" in hit.get(b"cache-status")
    assert [(0, SLICE), (0, 0)] == page.spans


async def test_stale_parts_of_what_has_changed_give_way_to_a_part_of_what_is_now(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY, cache_control="max-age=0")
    other = numbered(LENGTH, salt=7)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            page.body, page.etag = other, '"2"'
            got = await client.get("/film", Range="bytes=10-19")
            await still(edge)
        copies = edge.worker.rooms.store.browse(b"", 10)[0]
        assert sound(edge)

    assert (206, other[10:20]) == (got.status, got.body)
    assert [((0, SLICE),)] == [copy.spans for copy in copies]
    assert [(0, SLICE), (0, SLICE)] == page.spans


async def test_a_purge_takes_parts_and_what_was_asked_for_before_it_is_not_stored(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    page.hold_at = 3 * MIB
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        store = edge.worker.rooms.store
        replies = []
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            async with trio.open_nursery() as nursery:

                async def hear() -> None:
                    replies.append(await client.get("/film"))

                nursery.start_soon(hear)
                await page.held.wait()
                [copy] = store.browse(b"", 10)[0]
                assert store.delete(copy.key, edge.worker.clock.wall()) == 1
                page.go_on.set()
            await still(edge)
        assert store.browse(b"", 10)[0] == []
        assert sound(edge)

    assert [BODY] == [got.body for got in replies]


async def test_an_unsafe_method_has_parts_asked_about_before_they_are_used(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    origin = Origin({b"/film": page})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            origin.pages[b"/film"] = reply(204)
            await client.get("/film", method="DELETE")
            origin.pages[b"/film"] = page
            got = await client.get("/film", Range="bytes=0-9")

    assert b"fwd=stale; fwd-status=304" in got.get(b"cache-status")


async def test_parts_are_told_apart_by_vary(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    page.fields["vary"] = "X-Kind"
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9", X_Kind="a")
            page.etag, page.body = '"2"', numbered(LENGTH, salt=3)
            other = await client.get("/film", Range="bytes=0-9", X_Kind="b")
            same = await client.get("/film", Range="bytes=0-9", X_Kind="a")

    assert page.body[:10] == other.body
    assert BODY[:10] == same.body
    assert b"fwd=vary-miss" in other.get(b"cache-status")


# -- failure -------------------------------------------------------------------------------------------------


async def test_a_whole_that_breaks_off_goes_on_where_it_was(edge_at, tmp_path: Path) -> None:
    """One strong validator, so what has come need not come again."""
    page = Ranged(BODY)
    page.cut_at, page.cuts = 2 * MIB + 100, 1
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        clients = [await edge.client() for _ in range(3)]
        replies = []

        async def hear(client) -> None:
            replies.append(await client.get("/film"))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(hear, client)
            await still(edge)
            hit = await clients[0].get("/film")
        assert sound(edge)

    assert [BODY] * 3 == [got.body for got in replies]
    assert b"hit" in hit.get(b"cache-status")
    landed = 2 * MIB // 4080 * 4080
    assert page.spans[0] == (0, LENGTH)
    assert 2 == len(page.spans)
    assert SLICE < page.spans[1][0] <= landed + 4080


async def test_a_part_that_breaks_off_is_asked_for_again_from_there(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            page.cut_at, page.cuts = 3 * MIB + 5000, 2
            got = await client.get("/film")
            await still(edge)
        assert sound(edge)

    assert BODY == got.body
    assert 4 == len(page.spans)


async def test_an_origin_that_always_breaks_off_is_not_asked_for_ever(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    page.cut_at, page.cuts = 3 * MIB, 1000
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        with trio.fail_after(10), pytest.raises(Gone):
            await client.get("/film")

    assert len(page.spans) <= 5


async def test_an_origin_that_knows_ranges_no_more_is_asked_once_for_all_that_is_missing(
    edge_at, tmp_path: Path
) -> None:
    page = Ranged(numbered(12 * MIB))
    cache = CacheConfig(tmp_path, 32 << 20, 1 << 20)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), cache=cache) as edge:
        client = await edge.client()
        with trio.fail_after(20):
            await client.get("/film", Range="bytes=0-9")
            page.knows_ranges = False
            got = await client.get("/film")
            await still(edge)
        [copy] = edge.worker.rooms.store.browse(b"", 10)[0]
        assert sound(edge)

    assert page.body == got.body
    assert copy.spans is None
    assert [(0, SLICE), (0, 12 * MIB)] == page.spans


async def test_bytes_that_are_gone_from_the_store_are_had_from_the_origin(edge_at, tmp_path: Path) -> None:
    """A damaged record must not keep a worker busy for ever."""
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client = await edge.client()
        store = edge.worker.rooms.store
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            await still(edge)
            [copy] = store.browse(b"", 10)[0]
            with store._begin(write=True) as txn:
                txn.delete(CHUNK.pack(copy.bodies[IDENTITY].body_id, 100), db=store._records.chunks)
            got = await client.get("/film")

    assert BODY == got.body


async def test_an_origin_that_is_down_is_not_asked_again_and_again(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    origin = Origin({b"/film": page})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()

        async def broken(_: Asked, wire: Wire) -> None:
            await wire.stream.aclose()

        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            origin.pages[b"/film"] = broken
            got = await client.get("/film", Range="bytes=4500000-4500009")
            here = await client.get("/film", Range="bytes=0-9")

    assert 502 == got.status
    assert BODY[:10] == here.body
    assert len(origin.asked) <= 1 + 2 * 2


async def test_what_parts_cannot_answer_the_origin_is_asked_for_as_it_was_asked(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    origin = Origin({b"/film": page})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            origin.pages[b"/film"] = reply(403, b"not today")
            got = await client.get("/film", Range="bytes=4500000-4500009")
            origin.pages[b"/film"] = page
            here = await client.get("/film", Range="bytes=5-9")

    assert (403, b"not today") == (got.status, got.body)
    assert (206, BODY[5:10]) == (here.status, here.body)


async def test_one_question_for_all_who_want_the_same_missing_part(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        clients = [await edge.client() for _ in range(20)]
        replies = []

        async def hear(client) -> None:
            replies.append(await client.get("/film", Range="bytes=4500000-4900000"))

        with trio.fail_after(10):
            await clients[0].get("/film", Range="bytes=0-9")
            page.hold_at = 4600000
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(hear, client)
                await page.held.wait()
                while not all(client.received for client in clients):
                    await trio.sleep(0.001)
                page.go_on.set()
        parts = edge.count(names.CACHE_PARTS)

    assert [BODY[4500000:4900001]] * 20 == [got.body for got in replies]
    assert 2 == len(page.spans)
    assert 1 == parts
    assert 19 == sum(b"collapsed" in got.get(b"cache-status") for got in replies)


async def test_what_is_there_is_sent_while_another_fetches_what_is_not(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    page.hold_at = 3 * SLICE
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        first, late = await edge.client(), await edge.client()
        replies = []

        async def hear(client) -> None:
            replies.append(await client.get("/film", Range="bytes=0-4900000"))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear, first)
                await page.held.wait()
                while len(first.received) < 3 * SLICE:
                    await trio.sleep(0.001)
                nursery.start_soon(hear, late)
                while len(late.received) < 3 * SLICE:
                    await trio.sleep(0.001)
                page.go_on.set()

    assert [BODY[:4900001]] * 2 == [got.body for got in replies]
    assert 1 == len(page.spans)
    assert [False, True] == sorted(b"collapsed" in got.get(b"cache-status") for got in replies)


async def test_a_reply_waits_for_the_origins_word_before_it_begins(edge_at, tmp_path: Path) -> None:
    """A question for what is missing is under way, but nobody has said yet that it still belongs to what is there."""
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        early, asking, late = [await edge.client() for _ in range(3)]
        bodies = []

        async def hear(client) -> None:
            bodies.append((await client.get("/film", Range="bytes=0-4900000")).body)

        with trio.fail_after(10):
            await early.get("/film", Range="bytes=0-9")
            await still(edge)
            reached, go_on = trio.Event(), trio.Event()

            async def slowly(asked: Asked, wire: Wire) -> None:
                reached.set()
                await go_on.wait()
                await page(asked, wire)

            edge.origin.pages[b"/film"] = slowly
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear, asking)
                await reached.wait()
                nursery.start_soon(hear, late)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert not asking.received
                assert not late.received
                page.body, page.etag = numbered(LENGTH, 1), '"2"'
                go_on.set()

    assert [page.body[:4900001]] * 2 == bodies


async def test_a_slow_client_holds_nobody_up(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        slow, quick = await edge.client(buffer=8192), await edge.client()
        with trio.fail_after(10):
            await quick.get("/film", Range="bytes=0-9")
            await slow.ask("/film")
            got = await quick.get("/film")
            late = await slow.reply()

    assert BODY == got.body == late.body


async def test_a_client_that_leaves_does_not_end_what_it_began(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    page.hold_at = 100_000
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        client, other = await edge.client(), await edge.client()
        with trio.fail_after(10):
            await client.ask("/film", Range="bytes=0-500000")
            await page.held.wait()
            await client.aclose()
            page.go_on.set()
            await edge.settled(1)
            await still(edge)
            got = await other.get("/film", Range="bytes=0-500000")

    assert BODY[:500001] == got.body
    assert b"hit" in got.get(b"cache-status")
    assert [(0, SLICE)] == page.spans


# -- leaving -------------------------------------------------------------------------------------------------


def stopping(**rules) -> tuple[Route, ...]:
    return (Route(None, "/", "shop", RouteCache(on_leave="stop", **rules)),)


FILM = RequestHead(b"GET", b"http", b"shop.example", b"/film", [])


async def leave_at(edge, page: Ranged, at: int) -> None:
    """Have one client ask for all of it, and leave when so much is here."""
    page.hold_at = at
    client = await edge.client()
    await client.ask("/film")
    await page.held.wait()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            while len(client.received) < at - SLICE:
                client.received += await client.stream.receive_some(65536)
            nursery.cancel_scope.cancel()

        nursery.start_soon(read)
    await client.aclose()
    await edge.settled(1)


@pytest.mark.parametrize("etag", ['"1"', None])
async def test_a_fetch_that_nobody_wants_any_more_is_stopped_where_the_route_says_so(
    edge_at, tmp_path: Path, etag
) -> None:
    page = Ranged(BODY, etag=etag)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=stopping()) as edge:
        with trio.fail_after(10):
            await leave_at(edge, page, 2 * MIB)
            page.go_on.set()
            await still(edge)
            stopped_at = page.sent
            noted = edge.worker.rooms.shunned.noted(key_hash(primary_key(FILM)))
            other = await edge.client()
            got = await other.get("/film")
        assert sound(edge)

    assert noted is not None
    assert NUMBER[Unstored.CLIENT_LEFT] == noted[0]
    assert stopped_at < LENGTH
    assert BODY == got.body
    assert (page.spans[1][0] > 0) is (etag is not None), "what had come is not fetched again, if it can be told"


async def test_a_fetch_is_finished_by_default_when_everybody_has_left(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        with trio.fail_after(10):
            await leave_at(edge, page, 2 * MIB)
            page.go_on.set()
            await still(edge)
            got = await (await edge.client()).get("/film")

    assert BODY == got.body
    assert [(0, LENGTH)] == page.spans


@pytest.mark.parametrize("rules", [{"finish_left": 4 * MIB}, {"finish_percent": 30}])
async def test_a_fetch_that_is_nearly_there_is_finished(edge_at, tmp_path: Path, rules) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=stopping(**rules)) as edge:
        with trio.fail_after(10):
            await leave_at(edge, page, 2 * MIB)
            page.go_on.set()
            await still(edge)
            got = await (await edge.client()).get("/film")

    assert BODY == got.body
    assert [(0, LENGTH)] == page.spans


async def test_a_fetch_that_another_waits_for_goes_on(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=stopping()) as edge:
        replies = []
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                other = await edge.client()

                async def hear() -> None:
                    await page.held.wait()
                    replies.append(await other.get("/film"))

                nursery.start_soon(hear)
                await leave_at(edge, page, 2 * MIB)
                while len(other.received) < MIB:
                    await trio.sleep(0.001)
                page.go_on.set()

    assert [BODY] == [got.body for got in replies]
    assert [(0, LENGTH)] == page.spans


# -- whatever happens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))])
async def test_every_reply_is_of_one_representation_whatever_happens_meanwhile(
    edge_at, tmp_path: Path, monkeypatch, seed
) -> None:
    """
    Ranges of every form, by several clients, while the origin breaks off and changes, and the cache is purged. Nobody has to be woken by
    a backstop.
    """
    monkeypatch.setattr(flights, "BACKSTOP_S", 1000.0)
    chance = random.Random(seed)
    length = 3 * MIB + 501
    versions = {f'"{salt}"'.encode(): numbered(length, salt) for salt in range(10)}
    page = Ranged(versions[b'"0"'], etag='"0"')
    tally = Counter()

    def wish() -> str | None:
        first = chance.randrange(length)
        forms = [
            f"bytes={first}-{first + chance.randrange(2 * MIB)}",
            f"bytes={first}-",
            f"bytes=-{chance.randrange(1, length)}",
            f"bytes={first}-{first + 9}, {first // 2}-{first // 2 + 9}",
            None,
        ]
        return chance.choice(forms)

    async def ask(edge) -> None:
        for _ in range(6):
            client = await edge.client()
            wanted = wish()
            disturb(edge)
            try:
                got = await client.get("/film", **({"Range": wanted} if wanted else {}))
            except Gone:
                tally["cut"] += 1
                continue
            tally[got.status] += 1
            body = versions[got.get(b"etag")]
            said = re.fullmatch(rb"bytes (\d+)-(\d+)/(\d+)", got.get(b"content-range") or b"")
            if got.status == 200:
                assert body == got.body
            elif said:
                assert (int(said[3]), body[int(said[1]) : int(said[2]) + 1]) == (length, got.body)
            else:
                parts = re.findall(rb"content-range: bytes (\d+)-(\d+)/\d+\r\n\r\n", got.body)
                assert 1 < len(parts) <= 2
                assert all(b"\r\n\r\n" + body[int(start) : int(end) + 1] in got.body for start, end in parts)

    def disturb(edge) -> None:
        store = edge.worker.rooms.store
        match chance.randrange(6):
            case 0:
                salt = chance.randrange(10)
                page.etag, page.body = f'"{salt}"', versions[f'"{salt}"'.encode()]
            case 1:
                for copy in store.browse(b"", 10)[0]:
                    store.delete(copy.key, edge.worker.clock.wall())
            case 2 | 3:
                page.cut_at, page.cuts = chance.randrange(length), 1

    async with edge_at(tmp_path, origin=Origin({b"/film": page})) as edge:
        with trio.fail_after(50):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(ask, edge)
            await still(edge)
        assert sound(edge)
        assert 0 == edge.count(names.BUGS)

    assert 24 == tally.total()
    assert tally["cut"] < 12


async def test_what_is_missing_is_asked_for_in_the_words_of_the_route(edge_at, tmp_path: Path) -> None:
    """An origin that takes requests from the edge alone, by a field that the operator has it send, would else refuse them."""
    page = Ranged(BODY)
    said = RouteRequestHeaders(set=(("x-key", "secret"), ("x-path", "{path}")), remove=("x-debug",))
    routes = (Route(None, "/", "shop", request_headers=said),)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=routes) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=2500000-2500009", X_Debug="1")
            whole = await client.get("/film", X_Debug="1")
            await still(edge)
    assert BODY == whole.body
    assert 3 == len(page.asked)
    assert {(b"secret", b"/film", None)} == {
        (asked.get(b"x-key"), asked.get(b"x-path"), asked.get(b"x-debug")) for asked in page.asked
    }


@pytest.mark.parametrize("limit", [{"first_byte_s": 0.05}, {"total_s": 0.1}], ids=["first byte", "total"])
async def test_what_is_missing_has_no_longer_than_the_route_gives(edge_at, tmp_path: Path, limit) -> None:
    page = Ranged(BODY)
    never = trio.Event()

    async def stuck(_: Asked, wire: Wire) -> None:
        await never.wait()

    routes = (Route(None, "/", "shop", timeouts=RouteTimeouts(**limit), retry=RouteRetry(retries=0)),)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=routes) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            await client.get("/film", Range="bytes=0-9")
            await still(edge)
            edge.origin.pages[b"/film"] = stuck
            late = await client.get("/film", Range="bytes=4000000-4000009")

    assert 504 == late.status


async def test_what_is_missing_is_asked_for_within_the_clients_trace(edge_at, tmp_path: Path) -> None:
    page = Ranged(BODY)
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), trace=Trace(enabled=True)) as edge:
        client = await edge.client()
        with trio.fail_after(10):
            for _ in range(2):
                await client.get("/film", Range="bytes=0-2500009", traceparent=f"00-{trace}-b7ad6b7169203331-01")
                await still(edge)
            await client.get("/film", traceparent=f"00-{trace}-b7ad6b7169203331-01")

    assert 2 == len(page.asked)
    assert {trace.encode()} == {asked.get(b"traceparent").split(b"-")[1] for asked in page.asked}


async def test_a_part_of_what_differs_by_who_asks_is_nobody_elses(edge_at, tmp_path: Path) -> None:
    """What the route says of the client stands in no key: of a whole reply that varies by it nothing is kept, nor is a part."""
    page = Ranged(BODY)
    page.fields = {"vary": "X-Who"}
    routes = (Route(None, "/", "shop", request_headers=RouteRequestHeaders(set=(("x-who", "{client}"),))),)
    async with edge_at(tmp_path, origin=Origin({b"/film": page}), routes=routes) as edge:
        with trio.fail_after(10):
            for peer in ("192.0.2.7", "192.0.2.8"):
                client = await edge.client(peer=peer)
                await client.get("/film", Range="bytes=2500000-2500009")
                await still(edge)
        assert [] == edge.worker.rooms.store.browse(b"", 10)[0]
    assert [b"192.0.2.7", b"192.0.2.8"] == list(dict.fromkeys(asked.get(b"x-who") for asked in page.asked))
