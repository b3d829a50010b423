"""How an operator steers the cache for one route: one story per setting."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edge.config.tree import CacheConfig, Route, RouteCache
from tests.kit.house import Pages
from tests.kit.origin import Asked, Origin, Wire, reply


def ruled(**rules: Any) -> dict[str, Any]:
    """One route with such rules for its cache."""
    return {"routes": (Route(None, "/", "shop", RouteCache(**rules)),)}


def always(*args: Any, **fields: str) -> Origin:
    """An origin that answers everything alike."""
    return Origin({b"*": reply(*args, **fields)})


async def outcomes(edge: Any, *asked: str | tuple[str, dict[str, str]], method: str = "GET") -> list[bytes]:
    """Ask for each in a row; return what Cache-Status says."""
    client = await edge.client()
    said = []
    for one in asked:
        target, fields = (one, {}) if isinstance(one, str) else one
        got = await client.get(target, method=method, **fields)
        said.append(got.get(b"cache-status").removeprefix(b"edge; "))
    return said


STORED = b"fwd=uri-miss; ttl=60; stored"
OTHER = b"fwd=vary-miss; ttl=60; stored"
HIT = b"hit; ttl=60"


async def test_without_rules_nothing_is_different(edge_at, tmp_path: Path) -> None:
    origin = always(body=b"x", cache_control="max-age=60", set_cookie="a=b")
    async with edge_at(tmp_path, origin=origin, **ruled()) as edge:
        said = await outcomes(edge, "/?b&a&utm_x", ("/?b&a&utm_x", {"Cookie": "a=b"}), "/?a&b&utm_x")

    assert [STORED, HIT, STORED] == said
    assert b"/?b&a&utm_x" == origin.asked[0].target


async def test_a_route_can_keep_nothing(edge_at, tmp_path: Path) -> None:
    """And the origin gets everything as it was sent."""
    origin = always(body=b"x", cache_control="max-age=60")
    rules = ruled(enabled=False, query="none", strip_cookies=True)
    async with edge_at(tmp_path, origin=origin, **rules) as edge:
        said = await outcomes(edge, *[("/?b", {"Cookie": "a=b"})] * 2)

    assert [b"fwd=bypass; fwd-status=200"] * 2 == said
    assert [(b"/?b", b"a=b")] * 2 == [(asked.target, asked.get(b"cookie")) for asked in origin.asked]


@pytest.mark.parametrize(
    ("rules", "said", "ttl"),
    [
        ({"ttl_s": 60.0}, "max-age=5", 60),
        ({"ttl_s": 60.0}, "max-age=600", 60),
        ({"ttl_s": 60.0}, "", 60),
        ({"default_ttl_s": 60.0}, "", 60),
        ({"default_ttl_s": 60.0}, "max-age=5", 5),
        ({"min_ttl_s": 60.0}, "max-age=5", 60),
        ({"min_ttl_s": 60.0}, "max-age=600", 600),
        ({"max_ttl_s": 60.0}, "max-age=5", 5),
        ({"max_ttl_s": 60.0}, "max-age=600", 60),
    ],
)
async def test_a_lifetime_is_replaced_given_raised_or_cut(edge_at, tmp_path: Path, rules, said, ttl) -> None:
    origin = always(body=b"x", **({"cache_control": said} if said else {}))
    async with edge_at(tmp_path, origin=origin, **ruled(**rules)) as edge:
        got = await outcomes(edge, "/", "/")

    assert [b"fwd=uri-miss; ttl=%d; stored" % ttl, b"hit; ttl=%d" % ttl] == got


async def test_a_304_does_not_bring_the_origins_lifetime_back(edge_at, tmp_path: Path) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        if asked.get(b"if-none-match"):
            await wire.send(reply(304, etag='"1"', cache_control="max-age=0"))
        else:
            await wire.send(reply(body=b"x", etag='"1"', cache_control="max-age=0"))

    async with edge_at(tmp_path, origin=Origin({b"*": answer}), **ruled(ttl_s=60.0)) as edge:
        said = await outcomes(edge, "/", ("/", {"Cache_Control": "no-cache"}), "/")

    assert [STORED, b"fwd=request; fwd-status=304; ttl=60; stored", HIT] == said


async def test_errors_can_be_kept_for_a_while_by_status(edge_at, tmp_path: Path) -> None:
    origin = Origin({b"/gone": reply(404), b"/ill": reply(503), b"/odd": reply(500)})
    async with edge_at(tmp_path, origin=origin, **ruled(status_ttl=((404, 60.0), (503, 5.0)))) as edge:
        said = await outcomes(edge, "/gone", "/gone", "/ill", "/ill", "/odd", "/odd")

    assert [STORED, HIT] == said[:2]
    assert [b"fwd=uri-miss; ttl=5; stored", b"hit; ttl=5"] == said[2:4]
    assert [b"fwd=uri-miss; fwd-status=500; detail=status"] * 2 == said[4:]


@pytest.mark.parametrize(
    ("rules", "same", "sent"),
    [
        ({"query": "none"}, ("/a?x", "/a", "/a?y"), b"/a"),
        ({"query_keep": ("page", "p_*")}, ("/a?page=2&utm=1", "/a?page=2"), b"/a?page=2"),
        ({"query_drop": ("utm_*", "gclid")}, ("/a?utm_x=1&b=2&gclid=3", "/a?b=2&utm_y", "/a?b=2"), b"/a?b=2"),
        ({"query_sort": True}, ("/a?b=2&a=1&a=0", "/a?a=1&a=0&b=2"), b"/a?a=1&a=0&b=2"),
    ],
)
async def test_queries_that_differ_in_what_does_not_count_share_a_copy(
    edge_at, tmp_path: Path, rules, same, sent
) -> None:
    """And the origin is asked for what the copy is kept under."""
    origin = always(body=b"x", cache_control="max-age=60")
    async with edge_at(tmp_path, origin=origin, **ruled(**rules)) as edge:
        said = await outcomes(edge, *same)

    assert [STORED] + [HIT] * (len(same) - 1) == said
    assert [sent] == origin.paths()


async def test_what_is_not_in_the_key_cannot_change_what_everybody_gets(edge_at, tmp_path: Path) -> None:
    """An origin that cuts a query at semicolons, too, would find a parameter of the attacker's in what we dropped."""

    async def echo(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(body=asked.target + (asked.get(b"cookie") or b""), cache_control="max-age=60"))

    rules = ruled(query_drop=("utm_*",), strip_cookies=True)
    async with edge_at(tmp_path, origin=Origin({b"*": echo}), **rules) as edge:
        client = await edge.client()
        first = await client.get("/a?q=1&utm_x=1;callback=evil", Cookie="theme=evil")
        second = await client.get("/a?q=1")

    assert b"/a?q=1" == first.body == second.body
    assert HIT == second.get(b"cache-status").removeprefix(b"edge; ")


async def test_copies_are_told_apart_by_a_header(edge_at, tmp_path: Path) -> None:
    async def echo(asked: Asked, wire: Wire) -> None:
        country = asked.get(b"x-country") or b"none"
        await wire.send(reply(body=country, cache_control="max-age=60", etag='"same"'))

    origin = Origin({b"*": echo})
    async with edge_at(tmp_path, origin=origin, **ruled(key_headers=("x-country",))) as edge:
        client = await edge.client()
        bodies = [
            (await client.get("/", **({"X_Country": country} if country else {}))).body
            for country in ("de", "fr", "", "de", "fr", "")
        ]

    assert [b"de", b"fr", b"none"] * 2 == bodies
    assert 3 == len(origin.asked)
    assert [None] * 3 == [asked.get(b"if-none-match") for asked in origin.asked]


async def test_a_header_that_the_origin_never_hears_tells_nothing_apart(edge_at, tmp_path: Path) -> None:
    """What ``Connection`` names stays here; a reply made without it must not be taken for one made with it."""

    async def echo(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(body=asked.get(b"x-country") or b"none", cache_control="max-age=60"))

    async with edge_at(tmp_path, origin=Origin({b"*": echo}), **ruled(key_headers=("x-country",))) as edge:
        client = await edge.client()
        hidden = await client.get("/", X_Country="de", Connection="keep-alive, x-country")
        real = await client.get("/", X_Country="de")

    assert [b"none", b"de"] == [hidden.body, real.body]


async def test_copies_are_told_apart_by_a_cookie_and_no_other(edge_at, tmp_path: Path) -> None:
    async def echo(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(body=asked.get(b"cookie") or b"none", cache_control="max-age=60", vary="cookie"))

    origin = Origin({b"*": echo})
    rules = ruled(key_cookies=("lang",), strip_cookies=True)
    async with edge_at(tmp_path, origin=origin, **rules) as edge:
        client = await edge.client()
        bodies = [
            (await client.get("/", **({"Cookie": cookie} if cookie else {}))).body
            for cookie in ("a=1; lang=de; b=2", "lang=fr", "lang=de; c=3", "a=5", "")
        ]

    assert [b"lang=de", b"lang=fr", b"lang=de", b"none", b"none"] == bodies
    assert 3 == len(origin.asked)


async def test_set_cookie_is_taken_off_what_is_kept(edge_at, tmp_path: Path) -> None:
    """Not even the first client gets it: what is kept is one reply for all."""
    origin = Origin(
        {
            b"/kept": reply(body=b"x", cache_control="max-age=60", set_cookie="a=b"),
            b"/own": reply(body=b"x", cache_control="private", set_cookie="a=b"),
        }
    )
    async with edge_at(tmp_path, origin=origin, **ruled(strip_cookies=True)) as edge:
        client = await edge.client()
        kept = [await client.get("/kept") for _ in range(2)]
        own = await client.get("/own")

    assert [None, None] == [got.get(b"set-cookie") for got in kept]
    assert b"a=b" == own.get(b"set-cookie")
    assert [b"/kept", b"/own"] == origin.paths()


async def test_a_ruled_lifetime_does_not_hand_a_cookie_on(edge_at, tmp_path: Path) -> None:
    """The origin did not mean it for anybody else, and the operator did not say that cookies may go."""
    origin = always(body=b"x", cache_control="max-age=0", set_cookie="session=1")
    async with edge_at(tmp_path, origin=origin, **ruled(ttl_s=60.0)) as edge:
        said = await outcomes(edge, "/", "/")

    assert [b"fwd=uri-miss; fwd-status=200; detail=set-cookie"] * 2 == said


async def test_a_ruled_lifetime_lifts_no_ban(edge_at, tmp_path: Path) -> None:
    origin = Origin({path.encode(): reply(body=b"x", cache_control=path[1:]) for path in ("/no-store", "/private")})
    async with edge_at(tmp_path, origin=origin, **ruled(ttl_s=60.0)) as edge:
        said = await outcomes(edge, "/no-store", "/private")

    assert [b"fwd=uri-miss; fwd-status=200; detail=no-store", b"fwd=uri-miss; fwd-status=200; detail=private"] == said


@pytest.mark.parametrize(
    ("rules", "fields"),
    [
        ({"bypass_headers": ("x-preview",)}, {"X_Preview": "1"}),
        ({"bypass_cookies": ("session", "wp_*")}, {"Cookie": "a=b; wp_7=2"}),
    ],
)
async def test_a_header_or_cookie_passes_the_cache_by(edge_at, tmp_path: Path, rules, fields) -> None:
    """With all that was sent, and leaving the copy that the others get alone."""
    origin = always(body=b"x", cache_control="max-age=60")
    rules = ruled(**rules, strip_cookies=True, query_drop=("utm_*",))
    async with edge_at(tmp_path, origin=origin, **rules) as edge:
        said = await outcomes(edge, "/?utm_a", ("/?utm_a", fields), ("/", {"Cookie": "a=b; session2=1"}))

    assert [STORED, b"fwd=bypass; fwd-status=200", HIT] == said
    assert [b"/", b"/?utm_a"] == origin.paths()
    if "Cookie" in fields:
        assert fields["Cookie"].encode() == origin.asked[1].get(b"cookie")


async def test_a_reply_is_kept_from_its_nth_fetch_on(edge_at, tmp_path: Path) -> None:
    origin = always(body=b"x", cache_control="max-age=60")
    async with edge_at(tmp_path, origin=origin, **ruled(min_uses=3)) as edge:
        said = await outcomes(edge, "/", "/", "/", "/", "/once")

    missed = b"fwd=uri-miss; fwd-status=200; detail=min-uses"
    assert [missed, missed, STORED, HIT, missed] == said


async def test_uses_are_counted_by_the_whole_node(edge_at, tmp_path: Path) -> None:
    pages = Pages()
    origin = always(body=b"x", cache_control="max-age=60")
    rules = ruled(min_uses=2)
    said = []
    for slot in (0, 1):
        async with edge_at(tmp_path, origin=origin, pages=pages, slot=slot, **rules) as edge:
            said += await outcomes(edge, "/")
        origin.port = 0

    assert [b"fwd=uri-miss; fwd-status=200; detail=min-uses", STORED] == said


async def test_a_herd_on_a_key_that_is_new_costs_one_fetch_more(edge_at, tmp_path: Path) -> None:
    gate = trio.Event()

    async def slowly(asked: Asked, wire: Wire) -> None:
        await gate.wait()
        await wire.send(reply(body=b"x", cache_control="max-age=60"))

    origin = Origin({b"*": slowly})
    async with edge_at(tmp_path, origin=origin, **ruled(min_uses=2)) as edge:
        clients = [await edge.client() for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.get, "/")
            while not origin.asked:
                await trio.sleep(0.001)
            await trio.testing.wait_all_tasks_blocked(0.01)
            gate.set()

    assert 2 == len(origin.asked)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_route_has_its_own_greatest_object(edge_at, tmp_path: Path, chunked) -> None:
    body = b"x" * 300_000
    page = reply(body=body, cache_control="max-age=60")
    if chunked:
        head = reply(cache_control="max-age=60", transfer_encoding="chunked")
        page = head + b"".join(b"%x\r\n%b\r\n" % (100_000, body[:100_000]) for _ in range(3)) + b"0\r\n\r\n"
    origin = Origin({b"*": page})
    async with edge_at(tmp_path, origin=origin, **ruled(max_object=250_000)) as edge:
        client = await edge.client()
        got = [await client.get("/") for _ in range(2)]

    assert [body, body] == [each.body for each in got]
    assert 2 == len(origin.asked)


async def test_a_stale_copy_is_used_while_it_is_refreshed_where_the_origin_does_not_say(
    edge_at, tmp_path: Path, autojump_clock
) -> None:
    origin = always(body=b"x", cache_control="max-age=1")
    async with edge_at(tmp_path, origin=origin, **ruled(stale_while_revalidate_s=30.0)) as edge:
        said = await outcomes(edge, "/")
        await trio.sleep(3)
        said += await outcomes(edge, "/")
        await edge.settled(2)

    assert b"hit; ttl=-2" == said[1]


async def test_a_stale_copy_is_used_for_a_failure_where_the_origin_does_not_say(
    edge_at, tmp_path: Path, autojump_clock
) -> None:
    pages: dict[bytes, Any] = {b"*": reply(body=b"x", cache_control="max-age=1")}
    async with edge_at(tmp_path, origin=Origin(pages), **ruled(stale_if_error_s=30.0)) as edge:
        await outcomes(edge, "/")
        pages[b"*"] = reply(500, body=b"ill")
        await trio.sleep(3)
        said = await outcomes(edge, "/")
        await trio.sleep(60)
        said += await outcomes(edge, "/")

    assert b"fwd=stale; fwd-status=500; ttl=-2; detail=stale-if-error" == said[0]
    assert said[1].startswith(b"fwd=stale; fwd-status=500; detail=status")


async def test_an_unsafe_method_invalidates_what_its_address_is_kept_under(edge_at, tmp_path: Path) -> None:
    """Under the address without what does not count, in all variants, and on other routes by their rules."""
    origin = Origin(
        {
            b"*": reply(body=b"x", cache_control="max-age=60"),
            b"/form?utm_x": reply(303, location="/list?utm_z"),
        }
    )
    routes = (
        Route(None, "/", "shop", RouteCache(query_drop=("utm_*",), key_headers=("x-country",))),
        Route(None, "/list", "shop", RouteCache(query="none")),
    )
    async with edge_at(tmp_path, origin=origin, routes=routes) as edge:
        before = await outcomes(edge, "/form", "/list?a", "/list?b")
        await outcomes(edge, ("/form?utm_x", {"X_Country": "de"}), method="POST")
        after = await outcomes(edge, "/form?utm_y", "/list?c")

    assert [STORED, STORED, HIT] == before
    assert [b"fwd=stale; ttl=60; stored"] * 2 == after
    assert b"/form?utm_x" == origin.asked[2].target


async def test_a_purge_finds_what_its_address_is_kept_under(edge_at, tmp_path: Path) -> None:
    """In all variants, however the query is written."""
    origin = always(body=b"x", cache_control="max-age=60")
    cache = CacheConfig(tmp_path, 16 << 20, 1 << 20, purge_from=(ip_network("192.0.2.0/24"),))
    rules = ruled(query_drop=("utm_*",), key_headers=("x-country",))
    async with edge_at(tmp_path, origin=origin, cache=cache, **rules) as edge:
        before = await outcomes(edge, "/a", ("/a", {"X_Country": "de"}), "/a?utm_x")
        client = await edge.client()
        purged = await client.get("/a?utm_y", method="PURGE")
        after = await outcomes(edge, "/a", ("/a", {"X_Country": "de"}))

    assert [STORED, OTHER, HIT] == before
    assert (200, True) == (purged.status, b'"copies":2' in purged.body.replace(b" ", b""))
    assert [STORED, OTHER] == after
