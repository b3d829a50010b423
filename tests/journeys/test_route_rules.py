"""What is done with a request that goes by a route, and with its reply: one story per rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from edge.config.contents import Contents
from edge.config.origin_rules import Sticky
from edge.config.route_rules import (
    ErrorPages,
    RouteLimits,
    RouteMaintenance,
    RouteMirror,
    RouteRedirect,
    RouteRequestHeaders,
    RouteRespond,
    RouteResponseHeaders,
    RouteRewrite,
    RouteTimeouts,
)
from edge.config.tree import Limits, OriginServer, Route, RouteCache
from edge.config.tree import Origin as OriginConfig
from edge.observe import names
from tests.journeys.test_routing import CLIENT, ELSEWHERE, FRESH
from tests.kit.origin import Asked, Origin, Wire, reply

TEXT = b"<p>Some text that is worth compressing, again and again.</p>\n" * 20


def always(*args: Any, **fields: str) -> Origin:
    return Origin({b"*": reply(*args, **fields)})


def route(path: str = "/", **rules: Any) -> dict[str, Any]:
    return {"routes": (Route(None, path, "shop", **rules),)}


def page(name: str, text: bytes) -> Contents:
    return Contents(Path("/pages") / name, text)


# -- rewriting ---------------------------------------------------------------------------------------------------


async def test_the_origin_is_asked_for_the_rewritten_path_and_the_cache_for_what_was_asked(edge_at, tmp_path) -> None:
    rules = route("/api", rewrite=RouteRewrite(prefix="/v2"))
    async with edge_at(tmp_path, origin=always(200, b"x", **FRESH), **rules) as edge:
        client = await edge.client()
        first = await client.get("/api/a?b=c")
        second = await client.get("/api/a?b=c")

        assert [b"/v2/a?b=c"] == edge.origin.paths()
        assert b"hit" in second.get(b"cache-status")
        assert b"x" == first.body == second.body


async def test_an_address_that_is_rewritten_to_another_does_not_answer_for_it(edge_at, tmp_path) -> None:
    """Keys are of what was asked: who can make one address lead to another cannot put a reply under that."""
    routes = (Route(None, "/api", "shop", rewrite=RouteRewrite(prefix="/v2")), Route(None, "/", "shop"))

    async def echo(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(200, asked.get(b"x-way") or b"none", **FRESH))

    async with edge_at(tmp_path, origin=Origin({b"*": echo}), routes=routes) as edge:
        client = await edge.client()

        assert b"1" == (await client.get("/api/a", x_way="1")).body
        assert b"2" == (await client.get("/v2/a", x_way="2")).body
        assert b"1" == (await client.get("/api/a", x_way="3")).body


async def test_a_path_that_would_climb_out_of_its_new_prefix_is_refused(edge_at, tmp_path) -> None:
    rules = route(rewrite=RouteRewrite(pattern="/files/(.*)", to="/public/{1}"))
    async with edge_at(tmp_path, origin=always(200, b"x"), **rules) as edge:
        for target in ("/files/../secret", "/files/%2e%2e/secret", "/files/..%2Fsecret", "/files/..;/secret"):
            assert 400 == (await (await edge.client()).get(target)).status, target
        assert [] == edge.origin.paths()


async def test_an_unsafe_method_on_a_rewritten_address_invalidates_what_was_asked(edge_at, tmp_path) -> None:
    rules = route("/api", rewrite=RouteRewrite(prefix="/"))
    async with edge_at(tmp_path, origin=always(200, b"x", **FRESH), **rules) as edge:
        client = await edge.client()
        for method in ("GET", "GET", "POST", "GET"):
            await client.get("/api/a", method=method)

        assert [b"GET", b"POST", b"GET"] == [asked.method for asked in edge.origin.asked]
        assert {b"/a"} == set(edge.origin.paths())


# -- answers of our own -----------------------------------------------------------------------------------------


async def test_a_redirect_leads_where_its_template_says(edge_at, tmp_path) -> None:
    rules = route("/old", redirect=RouteRedirect("https://www.{host}/new{rest}{query}", 301))
    async with edge_at(tmp_path, **rules) as edge:
        client = await edge.client()
        got = await client.get("/old/a?b=c")
        head = await client.get("/old", method="HEAD")

        assert (301, b"https://www.shop.example/new/a?b=c") == (got.status, got.get(b"location"))
        assert (301, b"") == (head.status, head.body)
        assert [] == edge.origin.asked


async def test_a_fixed_answer_is_given_without_an_origin(edge_at, tmp_path) -> None:
    routes = (
        Route(None, "/robots.txt", respond=RouteRespond(200, "User-agent: *\n")),
        Route(None, "/empty", respond=RouteRespond(204)),
        Route(None, "/gone", respond=RouteRespond(410, file=page("gone.json", b"{}"))),
        Route(None, "/own", respond=RouteRespond(200, "x", content_type="text/x-own")),
    )
    async with edge_at(tmp_path, routes=routes) as edge:
        client = await edge.client()
        robots, empty, gone, own = [await client.get(at) for at in ("/robots.txt", "/empty", "/gone", "/own")]
        head = await client.get("/robots.txt", method="HEAD")

        assert (200, b"User-agent: *\n", b"text/plain; charset=utf-8") == (
            robots.status,
            robots.body,
            robots.get(b"content-type"),
        )
        assert (b"14", b"") == (head.get(b"content-length"), head.body)
        assert (204, b"", None) == (empty.status, empty.body, empty.get(b"content-type"))
        assert (410, b"{}", b"application/json") == (gone.status, gone.body, gone.get(b"content-type"))
        assert b"text/x-own" == own.get(b"content-type")


@pytest.mark.parametrize(("allowed", "status"), [(CLIENT, 200), (ELSEWHERE, 503)])
async def test_while_a_route_is_closed_only_some_get_in(edge_at, tmp_path, allowed, status) -> None:
    rules = route(maintenance=RouteMaintenance(enabled=True, retry_after_s=90.5, allow=(allowed,)))
    async with edge_at(tmp_path, origin=always(200, b"x", **FRESH), **rules) as edge:
        client = await edge.client()
        for _ in range(2):
            got = await client.get("/")
            assert (status, b"91" if status == 503 else None) == (got.status, got.get(b"retry-after"))


async def test_a_closed_route_answers_nothing_from_the_cache(edge_at, tmp_path) -> None:
    async with edge_at(tmp_path, origin=always(200, b"x", **FRESH)) as edge:
        await (await edge.client()).get("/")
    async with edge_at(tmp_path, origin=always(), **route(maintenance=RouteMaintenance(enabled=True))) as edge:
        assert 503 == (await (await edge.client()).get("/")).status


# -- headers ------------------------------------------------------------------------------------------------------


async def test_the_origin_is_told_what_the_operator_says(edge_at, tmp_path) -> None:
    headers = RouteRequestHeaders(
        set=(("x-channel", "web"), ("x-real-ip", "{client}"), ("x-was", "{scheme}://{authority}{path}|{query}")),
        add=(("accept", "text/x-more"),),
        remove=("x-debug-*", "cookie"),
    )
    async with edge_at(tmp_path, origin=always(200, b"x"), **route(request_headers=headers)) as edge:
        client = await edge.client()
        await client.get(
            "/a?b", x_channel="forged", x_real_ip="203.0.113.9", x_debug_id="1", cookie="a=b", accept="text/html"
        )
        (asked,) = edge.origin.asked

        assert [b"web", b"192.0.2.7", b"http://shop.example/a|?b", b"text/html, text/x-more", None, None] == [
            asked.get(name) for name in (b"x-channel", b"x-real-ip", b"x-was", b"accept", b"x-debug-id", b"cookie")
        ]


async def test_a_reply_that_varies_by_what_we_said_of_a_client_is_that_clients(edge_at, tmp_path) -> None:
    headers = RouteRequestHeaders(set=(("x-real-ip", "{client}"),))
    origin = always(200, b"x", vary="X-Real-IP", **FRESH)
    async with edge_at(tmp_path, origin=origin, **route(request_headers=headers)) as edge:
        client = await edge.client()
        got = [await client.get("/") for _ in range(2)]

        assert [b"edge; fwd=uri-miss; fwd-status=200; detail=vary-star"] * 2 == [
            one.get(b"cache-status") for one in got
        ]
        assert 2 == len(edge.origin.asked)


HEADERS = RouteResponseHeaders(
    set=(("cache-control", "no-cache"), ("x-at", "{scheme}://{host}{path}")),
    add=(("vary", "x-beta"),),
    remove=("x-internal-*", "server"),
)


async def test_every_reply_leaves_with_the_changes_and_what_is_stored_has_none(edge_at, tmp_path) -> None:
    """A miss, a hit, a prepared hit, a 304, a range, and our own refusal: all the same; and the copy lives as the origin said."""
    fields = {"server": "x", "x_internal_id": "1", "etag": '"1"', "content_type": "text/html"} | FRESH
    async with edge_at(tmp_path, origin=always(200, TEXT, **fields), **route(response_headers=HEADERS)) as edge:
        client = await edge.client()
        got = [await client.get("/x") for _ in range(3)]
        got += [await client.get("/x", if_none_match='"1"'), await client.get("/x", range="bytes=0-3")]
        got += [await client.get("/x", method="HEAD"), await client.get("/x", accept_encoding="gzip")]
        got += [await client.get("/x", range="bytes=99999-"), await client.get("/y", cache_control="only-if-cached")]

        assert [200, 200, 200, 304, 206, 200, 200, 416, 504] == [one.status for one in got]
        for one in got:
            assert (b"no-cache", None, None) == tuple(
                one.get(name) for name in (b"cache-control", b"server", b"x-internal-id")
            )
            assert b"x-beta" in one.get(b"vary")
        assert {b"http://shop.example/x", b"http://shop.example/y"} == {one.get(b"x-at") for one in got}
        assert 1 == len(edge.origin.asked), "it was stored for as long as the origin said"
        copies = edge.worker.store.copies(edge.worker.rooms.steering.keys_for(b"http", b"shop.example", b"/x")[0])
        assert {b"server", b"x-internal-id"} <= {name for name, _ in copies[0].fields}


async def test_what_is_not_kept_and_what_fails_leaves_with_the_changes_too(edge_at, tmp_path) -> None:
    origin = Origin({b"/fails": _closes, b"*": reply(200, b"x", server="x")})
    async with edge_at(tmp_path, origin=origin, **route(response_headers=HEADERS)) as edge:
        for target, status in (("/a", 200), ("/fails", 502)):
            got = await (await edge.client()).get(target)
            assert (status, None, b"no-cache") == (got.status, got.get(b"server"), got.get(b"cache-control"))


async def _closes(asked: Asked, wire: Wire) -> None:
    await wire.stream.aclose()


# -- limits and deadlines -----------------------------------------------------------------------------------------


async def test_a_route_has_its_own_limit_of_a_body(edge_at, tmp_path) -> None:
    """Less than elsewhere, and more than elsewhere; said, and found out."""
    routes = (
        Route(None, "/", "shop"),
        Route(None, "/small", "shop", limits=RouteLimits(body_bytes=4)),
        Route(None, "/large", "shop", limits=RouteLimits(body_bytes=64)),
    )
    async with edge_at(tmp_path, origin=always(200, b"x"), routes=routes, limits=Limits(body_bytes=16)) as edge:
        for path, size, status in [
            ("/small", 4, 200), ("/small", 5, 413), ("/", 16, 200), ("/", 17, 413), ("/large", 64, 200), ("/large", 65, 413)
        ]:  # fmt: skip
            said = await edge.client()
            await said.ask(path, method="POST", content_length=str(size))
            await said.send(b"x" * size)
            found = await edge.client()
            await found.ask(path, method="POST", transfer_encoding="chunked")
            await found.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))

            assert [status, status] == [(await client.reply("POST")).status for client in (said, found)], (path, size)


async def test_a_route_has_its_own_limit_of_a_header(edge_at, tmp_path) -> None:
    rules = route(limits=RouteLimits(header_bytes=64))
    async with edge_at(tmp_path, origin=always(200, b"x"), **rules) as edge:
        client = await edge.client()

        assert [200, 431, 200] == [(await client.get("/", x_a="y" * size)).status for size in (10, 100, 10)]


async def test_a_route_has_its_own_patience(edge_at, tmp_path) -> None:
    async def slow(asked: Asked, wire: Wire) -> None:
        await trio.sleep(30)

    async def drips(asked: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n")
        while True:
            await wire.send(b"x")
            await trio.sleep(0.02)

    routes = (
        Route(None, "/first", "shop", timeouts=RouteTimeouts(first_byte_s=0.05)),
        Route(None, "/total", "shop", timeouts=RouteTimeouts(total_s=0.1)),
        Route(None, "/between", "shop", timeouts=RouteTimeouts(between_bytes_s=0.001)),
    )
    origin = Origin({b"/first": slow, b"/total": slow, b"/total/drips": drips, b"/between": drips})
    async with edge_at(tmp_path, origin=origin, routes=routes) as edge:
        with trio.fail_after(5):
            for target in ("/first", "/total"):
                got = await (await edge.client()).get(target)
                assert (504, b"edge; error=http_response_timeout") == (got.status, got.get(b"proxy-status"))
            for target in ("/total/drips", "/between"):
                client = await edge.client()
                await client.ask(target)
                assert b"200" in await client.at_end()


async def test_a_fetch_that_others_share_ends_in_time_too(edge_at, tmp_path) -> None:
    async def drips(asked: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncontent-length: 1000000\r\ncache-control: max-age=60\r\n\r\n")
        while True:
            await wire.send(b"x")
            await trio.sleep(0.02)

    rules = route(timeouts=RouteTimeouts(total_s=0.2))
    async with edge_at(tmp_path, origin=Origin({b"*": drips}), **rules) as edge:
        clients = [await edge.client() for _ in range(3)]
        for client in clients:
            await client.ask("/")
        with trio.fail_after(5):
            for client in clients:
                assert b"200" in await client.at_end()
        await edge.settled(3)
        assert 0 == edge.count(names.BUGS)


# -- pages -------------------------------------------------------------------------------------------------------

SORRY, NOT_HERE = page("sorry.html", b"<h1>Sorry</h1>"), page("404.html", b"<h1>Not here</h1>")


async def test_own_pages_are_shown_for_what_the_edge_refuses(edge_at, tmp_path) -> None:
    routes = (Route("shop.example", "/fails", "shop", error_pages=ErrorPages((("5xx", SORRY),))),)
    settings = {"routes": routes, "error_pages": ErrorPages((("404", NOT_HERE), ("4xx", SORRY)))}
    async with edge_at(tmp_path, origin=Origin({b"*": _closes}), **settings) as edge:
        client = await edge.client()
        nowhere, failed = await client.get("/"), await client.get("/fails")
        broken = await edge.client()
        await broken.send(b"GET / HTTP/1.1\r\n\r\n")

        assert [(404, NOT_HERE.data), (502, SORRY.data)] == [(one.status, one.body) for one in (nowhere, failed)]
        assert b"text/html; charset=utf-8" == failed.get(b"content-type")
        assert (400, SORRY.data) == ((got := await broken.reply()).status, got.body)
        assert b'"status": 404' in (await client.get("/", accept="application/json")).body


async def test_what_an_origin_says_of_its_failure_is_replaced_where_that_is_ruled(edge_at, tmp_path) -> None:
    pages = ErrorPages((("404", NOT_HERE), ("5xx", SORRY)), of_origins=True)
    fields = {"content_type": "text/plain", "etag": '"1"', "x_kept": "1", "retry_after": "9"}
    origin = Origin(
        {
            b"/404": reply(404, b"stack trace", cache_control="max-age=60", **fields),
            b"/500": reply(500, b"stack trace" * 10_000, **fields),
            b"/403": reply(403, b"own words", **fields),
        }
    )
    async with edge_at(tmp_path, origin=origin, **route(error_pages=pages)) as edge:
        client = await edge.client()
        for target, status, body in [
            ("/404", 404, NOT_HERE.data),
            ("/500", 500, SORRY.data),
            ("/403", 403, b"own words"),
        ]:
            for method in ("GET", "GET", "HEAD"):
                got = await client.get(target, method=method)
                assert (status, b"" if method == "HEAD" else body) == (got.status, got.body)
                assert (b"1", b"9") == (got.get(b"x-kept"), got.get(b"retry-after"))
                assert (b"text/plain" if status == 403 else b"text/html; charset=utf-8") == got.get(b"content-type")
        assert 1 == edge.origin.paths().count(b"/404"), "the page is kept as the reply would have been"


async def test_a_page_stands_in_for_words_that_are_cut_short(edge_at, tmp_path) -> None:
    async def cut(asked: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 500 X\r\ncontent-length: 100\r\n\r\nstack")
        await wire.stream.aclose()

    rules = route(error_pages=ErrorPages((("5xx", SORRY),), of_origins=True))
    async with edge_at(tmp_path, origin=Origin({b"*": cut}), **rules) as edge:
        client = await edge.client()

        assert [(500, SORRY.data)] * 2 == [((got := await client.get("/")).status, got.body) for _ in range(2)]


async def test_a_page_comes_with_what_binds_a_client_to_its_server(edge_at, tmp_path, nursery) -> None:
    shop = await begun(nursery, always(500, b"stack"))
    server = OriginServer(f"http://127.0.0.1:{shop.port}")
    origins = {"shop": OriginConfig("shop", (server,), sticky=Sticky(cookie="bound", secret="at least 16 characters"))}
    rules = route(error_pages=ErrorPages((("5xx", SORRY),), of_origins=True))
    async with edge_at(tmp_path, origin=shop, origins=origins, **rules) as edge:
        got = await (await edge.client()).get("/")

        assert (SORRY.data, True) == (got.body, got.get(b"set-cookie").startswith(b"bound="))


async def test_without_that_rule_an_origins_words_stand(edge_at, tmp_path) -> None:
    rules = route(error_pages=ErrorPages((("404", NOT_HERE),)))
    async with edge_at(tmp_path, origin=always(404, b"own"), **rules) as edge:
        assert b"own" == (await (await edge.client()).get("/")).body


# -- mirroring ----------------------------------------------------------------------------------------------------


def mirrored(mirror: Origin, shop: Origin, **rules: Any) -> dict[str, Any]:
    return {
        "origins": {
            name: OriginConfig(name, (OriginServer(f"http://127.0.0.1:{origin.port}"),))
            for name, origin in (("shop", shop), ("shadow", mirror))
        },
        "routes": (Route(None, "/", "shop", RouteCache(), mirror=RouteMirror("shadow", **rules)),),
    }


async def begun(nursery: Any, origin: Origin) -> Origin:
    await nursery.start(origin.serve)
    return origin


async def heard(origin: Origin, count: int) -> list[Asked]:
    with trio.fail_after(5):
        while len(origin.asked) < count:
            await trio.sleep(0.001)
    return origin.asked


async def test_a_mirror_hears_what_the_origin_is_asked_and_nobody_hears_the_mirror(edge_at, tmp_path, nursery) -> None:
    shop, shadow = await begun(nursery, always(200, b"shop", **FRESH)), await begun(nursery, always(500, b"shadow"))
    async with edge_at(tmp_path, origin=shop, **mirrored(shadow, shop)) as edge:
        client = await edge.client()
        assert [b"shop"] * 3 == [(await client.get("/x", x_a="1")).body for _ in range(3)]
        await client.ask("/y", method="POST", content_length="5", expect="100-continue")
        await client.send(b"hello")
        assert b"shop" == (await client.reply("POST")).body
        first, second = await heard(shadow, 2)

        assert [(b"GET", b"/x", b"1", b""), (b"POST", b"/y", None, b"hello")] == [
            (asked.method, asked.target, asked.get(b"x-a"), asked.body) for asked in (first, second)
        ]
        assert shop.asked[0].get(b"x-request-id") == first.get(b"x-request-id")
        assert second.get(b"expect") is None
        assert 2 == edge.count(names.MIRRORED)


async def test_a_mirror_that_hangs_holds_nobody_up_and_is_left_alone(edge_at, tmp_path, nursery) -> None:
    async def hangs(asked: Asked, wire: Wire) -> None:
        await trio.sleep_forever()

    shop, shadow = await begun(nursery, always(200, b"shop")), await begun(nursery, Origin({b"*": hangs}))
    async with edge_at(tmp_path, origin=shop, **mirrored(shadow, shop, at_once=2, timeout_s=0.2)) as edge:
        client = await edge.client()
        with trio.fail_after(5):
            for _ in range(5):
                assert b"shop" == (await client.get("/")).body
            assert (2, 3) == (edge.count(names.MIRRORED), edge.count(names.MIRRORS_DROPPED))
            while edge.count(names.MIRRORS_FAILED) < 2:
                await trio.sleep(0.01)
            await client.get("/")
        assert 3 == edge.count(names.MIRRORED)


async def test_a_body_that_is_too_long_is_not_mirrored_and_reaches_the_origin(edge_at, tmp_path, nursery) -> None:
    async def echo(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(200, asked.body))

    shop, shadow = await begun(nursery, Origin({b"*": echo})), await begun(nursery, always())
    async with edge_at(tmp_path, origin=shop, **mirrored(shadow, shop, body_bytes=4)) as edge:
        client = await edge.client()
        await client.ask("/", method="POST", transfer_encoding="chunked")
        for piece in (b"ab", b"cd", b"ef"):
            await client.send(b"2\r\n%b\r\n" % piece)
        await client.send(b"0\r\n\r\n")

        assert b"abcdef" == (await client.reply("POST")).body
        assert (0, 1, []) == (edge.count(names.MIRRORED), edge.count(names.MIRRORS_DROPPED), shadow.asked)


async def test_a_share_of_the_requests_is_mirrored(edge_at, tmp_path, nursery) -> None:
    """Drawn for each: of draws spread evenly, every fourth is below 25 %."""
    shop, shadow = await begun(nursery, always(200, b"shop")), await begun(nursery, always())
    async with edge_at(tmp_path, origin=shop, **mirrored(shadow, shop, share=25.0)) as edge:
        draws = iter([at % 20 / 20 for at in range(40)])
        edge.worker.fast.slow.means.mirrors._draw = lambda: next(draws)
        client = await edge.client()
        for _ in range(40):
            await client.get("/")
        await heard(shadow, 10)

        assert 10 == edge.count(names.MIRRORED)
