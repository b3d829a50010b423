"""What a client gets from a copy: the whole, a part, a head, or word that its own still stands."""

from __future__ import annotations

import gzip
from pathlib import Path

import brotli
import trio
import zstandard

from tests.kit.origin import Origin, reply

TEXT = b"The quick brown fox jumps over the lazy dog. " * 100


def shop() -> Origin:
    return Origin(
        {
            b"/a": reply(body=b"0123456789", cache_control="max-age=60", etag='"1"', content_type="image/png"),
            b"/text": reply(body=TEXT, cache_control="max-age=60", etag='"t"', content_type="text/html"),
            b"/dated": reply(body=b"x", cache_control="max-age=60", last_modified="Tue, 01 Sep 2026 10:00:00 GMT"),
            b"/empty": reply(body=b"", cache_control="max-age=60"),
            b"/gone": reply(404, body=b"no", cache_control="max-age=60"),
        }
    )


async def test_a_miss_is_stored_and_the_next_request_is_a_hit(edge_at, tmp_path: Path) -> None:
    """The product's whole point."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        first = await client.get("/a")
        second = await client.get("/a")

    assert (200, b"0123456789") == (first.status, first.body)
    assert b"edge; fwd=uri-miss; ttl=60; stored" == first.get(b"cache-status")
    assert (200, b"0123456789") == (second.status, second.body)
    assert b"edge; hit; ttl=60" == second.get(b"cache-status")
    assert b"0" == second.get(b"age")
    assert b"1.1 edge" == second.get(b"via")
    assert [b"/a"] == origin.paths()


async def test_head_is_answered_from_a_gets_copy(edge_at, tmp_path: Path) -> None:
    """RFC 9111 §4: a copy of GET answers HEAD."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        head = await client.get("/a", method="HEAD")
        after = await client.get("/a")

    assert (200, b"", b"10") == (head.status, head.body, head.get(b"content-length"))
    assert b"0123456789" == after.body
    assert [b"/a"] == origin.paths()


async def test_a_client_that_has_it_already_gets_304(edge_at, tmp_path: Path) -> None:
    """By tag and by date; and 200 when it has something else."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        await client.get("/dated")
        same = await client.get("/a", If_None_Match='"0", "1"')
        weak = await client.get("/a", If_None_Match='W/"1"')
        other = await client.get("/a", If_None_Match='"2"')
        dated = await client.get("/dated", If_Modified_Since="Tue, 01 Sep 2026 10:00:00 GMT")
        older = await client.get("/dated", If_Modified_Since="Mon, 31 Aug 2026 10:00:00 GMT")

    assert [304, 304, 200, 304, 200] == [got.status for got in (same, weak, other, dated, older)]
    assert b'"1"' == same.get(b"etag")
    assert b"" == same.body
    assert [b"/a", b"/dated"] == origin.paths()


async def test_a_range_is_cut_from_a_copy(edge_at, tmp_path: Path) -> None:
    """One range, several, none that can be satisfied, and one that is not for this copy."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        first = await client.get("/a", Range="bytes=2-4")
        one = await client.get("/a", Range="bytes=-3")
        two = await client.get("/a", Range="bytes=0-0, 5-6")
        beyond = await client.get("/a", Range="bytes=10-")
        stale = await client.get("/a", Range="bytes=0-1", If_Range='"old"')
        same = await client.get("/a", Range="bytes=0-1", If_Range='"1"')

    assert (206, b"234", b"bytes 2-4/10") == (first.status, first.body, first.get(b"content-range"))
    assert (206, b"789") == (one.status, one.body)
    assert 206 == two.status
    assert two.get(b"content-type").startswith(b"multipart/byteranges; boundary=")
    assert b"content-range: bytes 5-6/10\r\n\r\n56\r\n" in two.body
    assert (416, b"bytes */10") == (beyond.status, beyond.get(b"content-range"))
    assert (200, b"0123456789") == (stale.status, stale.body)
    assert (206, b"01") == (same.status, same.body)
    assert [b"/a"] == origin.paths()


async def test_each_client_gets_the_coding_it_likes_and_each_is_made_once(edge_at, tmp_path: Path) -> None:
    """The origin sends identity once; the rest is ours, under tags of its own."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        plain = await client.get("/text")
        br = [await client.get("/text", Accept_Encoding="br, gzip;q=0.5") for _ in range(3)]
        gz = [await client.get("/text", Accept_Encoding="gzip") for _ in range(2)]
        zs = [await client.get("/text", Accept_Encoding="zstd, br") for _ in range(2)]
        again = await client.get("/text", Accept_Encoding="br", If_None_Match='W/"t-br"')
        crossed = await client.get("/text", Accept_Encoding="br", If_None_Match='"t"')
        made = edge.worker.cells[__import__("edge.observe.names", fromlist=["x"]).CACHE_VARIANTS]

    assert TEXT == plain.body
    assert plain.get(b"content-encoding") is None
    assert [TEXT] * 3 == [brotli.decompress(got.body) for got in br]
    assert [TEXT] * 2 == [gzip.decompress(got.body) for got in gz]
    assert [TEXT] * 2 == [zstandard.decompress(got.body) for got in zs]
    assert {b"Accept-Encoding"} == {got.get(b"vary") for got in [plain, *br, *gz, *zs]}
    assert b'"t"' == plain.get(b"etag")
    assert {b'W/"t-br"'} == {got.get(b"etag") for got in br}
    assert 304 == again.status
    assert 200 == crossed.status or b'W/"t-br"' == crossed.get(b"etag")
    assert 3 == made
    assert [b"/text"] == origin.paths()


async def test_a_first_request_that_wants_a_coding_gets_it(edge_at, tmp_path: Path) -> None:
    """Even the client that brings the reply in."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        first = await client.get("/text", Accept_Encoding="br")
        second = await client.get("/text", Accept_Encoding="br")

    assert TEXT == brotli.decompress(first.body)
    assert b"identity" == origin.asked[0].get(b"accept-encoding")
    assert first.body == second.body
    assert b"hit" in second.get(b"cache-status")


async def test_an_empty_reply_and_an_error_are_copies_like_others(edge_at, tmp_path: Path) -> None:
    """Nothing about a body is special to the cache."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        for _ in range(2):
            empty = await client.get("/empty")
            gone = await client.get("/gone")

    assert (200, b"") == (empty.status, empty.body)
    assert (404, b"no") == (gone.status, gone.body)
    assert [b"/empty", b"/gone"] == origin.paths()


async def test_pipelined_requests_are_answered_in_order(edge_at, tmp_path: Path) -> None:
    """Hits and misses mixed, all sent at once."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        for path in ("/a", "/text", "/a", "/dated", "/a"):
            await client.ask(path)
        with trio.fail_after(5):
            bodies = [(await client.reply()).body for _ in range(5)]

    assert [b"0123456789", TEXT, b"0123456789", b"x", b"0123456789"] == bodies


async def test_age_grows_and_a_copy_goes_stale(edge_at, tmp_path: Path, autojump_clock) -> None:
    """Time is the clock's: a copy is asked about again when its lifetime is over."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/a")
        await trio.sleep(30.5)
        young = await client.get("/a")
        await trio.sleep(31)
        origin.pages[b"/a"] = b'HTTP/1.1 304 X\r\netag: "1"\r\ncache-control: max-age=100\r\n\r\n'
        confirmed = await client.get("/a")
        after = await client.get("/a")

    assert young.get(b"age") in {b"29", b"30"}
    assert young.get(b"cache-status") in {b"edge; hit; ttl=29", b"edge; hit; ttl=30"}
    assert (200, b"0123456789") == (confirmed.status, confirmed.body)
    assert b"edge; fwd=stale; fwd-status=304; ttl=100; stored" == confirmed.get(b"cache-status")
    assert b'"1"' == origin.asked[1].get(b"if-none-match")
    assert b"edge; hit; ttl=100" == after.get(b"cache-status")
    assert 2 == len(origin.asked)
