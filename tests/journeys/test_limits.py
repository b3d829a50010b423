"""How often, and how many at once: limits on requests, and what clients and pages of other sites are told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import jwt as pyjwt
import pytest
import trio

from edge.config.contents import Contents
from edge.config.tree import Jwt, Rate, Route, RouteAccess, RouteCors
from edge.observe import names
from tests.kit.house import Pages
from tests.kit.origin import Origin, reply

SECRET = b"a shared secret that is long enough for all"
THREE = {"rates": {"login": Rate("login", 3, 60.0)}}
LIMITED = RouteAccess(rates=("login",))
SITE = "https://app.example"
CORS = RouteCors(origins=(SITE, "https://*.shop.example"), expose=("x-request-id",), credentials=True)


def shop(**fields: str) -> Origin:
    return Origin({b"*": reply(body=b"hello", **fields)})


def on(access: RouteAccess = RouteAccess(), **more) -> dict:
    return {"routes": (Route(None, "/", "shop", access=access, **more),)}


# -- rates ----------------------------------------------------------------------------------------------------


async def test_what_is_too_much_is_429_and_says_when_to_come_again(edge_at, tmp_path: Path, autojump_clock) -> None:
    origin = shop()
    async with edge_at(tmp_path, origin=origin, **THREE, **on(LIMITED)) as edge:
        client = await edge.client()
        got = [await client.get("/a") for _ in range(4)]
        await trio.sleep(20)
        later = await client.get("/a")
        entries = await edge.settled(5)

    assert [200, 200, 200, 429] == [each.status for each in got]
    assert [b'"login";r=2;t=20', b'"login";r=1;t=40', b'"login";r=0;t=60', b'"login";r=0;t=60'] == [
        each.get(b"ratelimit") for each in got
    ]
    assert {b'"login";q=3;w=60'} == {each.get(b"ratelimit-policy") for each in got}
    assert (b"20", b"no-store") == (got[3].get(b"retry-after"), got[3].get(b"cache-control"))
    assert 200 == later.status
    assert 4 == len(origin.asked)
    assert "rate login" == entries[3][13]
    assert 1 == edge.count(names.REFUSED["rate"])


async def test_a_hit_is_counted_and_carries_what_is_left(edge_at, tmp_path: Path, autojump_clock) -> None:
    """Served from memory, with fields that are in no copy."""
    origin = shop(cache_control="max-age=600", etag='"1"')
    async with edge_at(tmp_path, origin=origin, **THREE, **on(LIMITED)) as edge:
        client = await edge.client()
        await client.get("/a")
        hit = await client.get("/a")
        unchanged = await client.get("/a", If_None_Match='"1"')
        over = await client.get("/a", method="HEAD")
        await trio.sleep(60)
        head = await client.get("/a", method="HEAD")

    assert (200, b"hello", b'"login";r=1;t=40') == (hit.status, hit.body, hit.get(b"ratelimit"))
    assert b"hit" in hit.get(b"cache-status")
    assert (304, b'"login";r=0;t=60') == (unchanged.status, unchanged.get(b"ratelimit"))
    assert (429, b"") == (over.status, over.body)
    assert (200, b'"login";r=2;t=20') == (head.status, head.get(b"ratelimit"))
    assert 1 == len(origin.asked)


async def test_one_budget_for_all_workers(edge_at, tmp_path: Path) -> None:
    """Two workers of one node, one page."""
    pages = Pages()
    origin = shop()
    async with (
        edge_at(tmp_path / "1", origin=origin, pages=pages, **THREE, **on(LIMITED)) as one,
        edge_at(tmp_path / "2", origin=origin, pages=pages, slot=1, **THREE, **on(LIMITED)) as other,
    ):
        clients = [await one.client(), await other.client()]
        statuses = [(await clients[at % 2].get("/a")).status for at in range(5)]

    assert [200, 200, 200, 429, 429] == statuses


async def test_a_dry_run_refuses_nobody_and_is_logged(edge_at, tmp_path: Path) -> None:
    settings = {"rates": {"login": Rate("login", 1, 60.0, dry_run=True)}}
    async with edge_at(tmp_path, origin=shop(), **settings, **on(LIMITED)) as edge:
        client = await edge.client()
        got = [await client.get("/a") for _ in range(3)]
        entries = await edge.settled(3)

    assert [200, 200, 200] == [each.status for each in got]
    assert [None, None, None] == [each.get(b"ratelimit") for each in got]
    assert ["", "rate login (dry run)", "rate login (dry run)"] == [entry[13] for entry in entries]
    assert 2 == edge.count(names.DRY_RUNS)
    assert 0 == edge.count(names.REFUSED["rate"])


async def test_each_has_a_budget_of_its_own(edge_at, tmp_path: Path) -> None:
    """By a header; without it, by address."""
    settings = {"rates": {"key": Rate("key", 1, 60.0, by="header", header="x-api-key")}}
    async with edge_at(tmp_path, origin=shop(), **settings, **on(RouteAccess(rates=("key",)))) as edge:
        client = await edge.client()
        statuses = [
            (await client.get("/a", **fields)).status
            for fields in ({"X_Api_Key": "1"}, {"X_Api_Key": "2"}, {}, {"X_Api_Key": "1"}, {})
        ]

    assert [200, 200, 200, 429, 429] == statuses


@pytest.mark.parametrize("by", [{"by": "user"}, {"by": "claim", "claim": "tenant"}])
async def test_users_are_counted_by_who_they_are(edge_at, tmp_path: Path, by: dict) -> None:
    settings = {
        "rates": {"each": Rate("each", 1, 60.0, **by)},
        "jwt": {"login": Jwt("login", ("HS256",), secret_file=Contents(Path("s"), SECRET))},
    }
    access = RouteAccess(jwt="login", rates=("each",))

    def token(name: str, number: int) -> str:
        claims = {"sub": name, "tenant": name, "exp": 1_900_000_000, "jti": str(number)}
        return "Bearer " + pyjwt.encode(claims, SECRET, algorithm="HS256")

    async with edge_at(tmp_path, origin=shop(), **settings, **on(access)) as edge:
        client = await edge.client()
        statuses = [
            (await client.get("/a", Authorization=token(name, at))).status
            for at, name in enumerate(("ada", "bob", "ada"))
        ]

    assert [200, 200, 429] == statuses


async def test_a_route_has_one_budget_and_a_limit_is_shared_by_name(edge_at, tmp_path: Path) -> None:
    settings = {"rates": {"all": Rate("all", 2, 60.0, by="route"), "client": Rate("client", 5, 60.0)}}
    access = RouteAccess(rates=("all", "client"))
    routes = (Route(None, "/", "shop", access=access), Route(None, "/b", "shop", access=access))
    async with edge_at(tmp_path, origin=shop(), **settings, routes=routes) as edge:
        client = await edge.client()
        statuses = [(await client.get(path)).status for path in ("/a", "/a", "/a", "/b", "/b", "/b")]
        last = await client.get("/b")

    assert [200, 200, 429, 200, 200, 429] == statuses
    assert b'"all";q=2;w=60, "client";q=5;w=60' == last.get(b"ratelimit-policy") or b'"all"' in last.get(
        b"ratelimit-policy"
    )


async def test_what_one_limit_refuses_costs_nothing_of_another(edge_at, tmp_path: Path, autojump_clock) -> None:
    settings = {"rates": {"small": Rate("small", 1, 1.0), "great": Rate("great", 3, 3600.0)}}
    access = RouteAccess(rates=("great", "small"))
    async with edge_at(tmp_path, origin=shop(), **settings, **on(access)) as edge:
        client = await edge.client()
        statuses = [(await client.get("/a")).status for _ in range(10)]
        await trio.sleep(2)
        after = await client.get("/a")

    assert [200] + [429] * 9 == statuses
    assert 200 == after.status
    assert b'"great";r=1;t=2398, "small";r=0;t=1' == after.get(b"ratelimit")


async def test_passwords_are_guessed_no_faster_than_a_limit_allows(edge_at, tmp_path: Path) -> None:
    """Limits by address come before whatever is slow."""
    settings = THREE | {"jwt": {"login": Jwt("login", ("HS256",), secret_file=Contents(Path("s"), SECRET))}}
    async with edge_at(tmp_path, origin=shop(), **settings, **on(replace(LIMITED, jwt="login"))) as edge:
        client = await edge.client()
        statuses = [(await client.get("/a")).status for _ in range(4)]

    assert [401, 401, 401, 429] == statuses


# -- at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "status"), [(RouteAccess(concurrency=2), 503), (RouteAccess(client_concurrency=2), 429)]
)
async def test_more_at_once_than_may_be_are_refused(edge_at, tmp_path: Path, access: RouteAccess, status: int) -> None:
    go = trio.Event()
    arrived = trio.Semaphore(0)

    async def slow(asked, wire) -> None:
        arrived.release()
        await go.wait()
        await wire.send(reply(body=b"slow"))

    origin = Origin({b"*": slow})
    pages = Pages()
    async with (
        edge_at(tmp_path / "1", origin=origin, pages=pages, **on(access)) as one,
        edge_at(tmp_path / "2", origin=origin, pages=pages, slot=1, **on(access)) as other,
    ):
        first, second, third = await one.client(), await other.client(), await one.client()
        await first.ask("/1")
        await second.ask("/2")
        await arrived.acquire()
        await arrived.acquire()
        refused = await third.get("/3")
        go.set()
        served = [await first.reply(), await second.reply()]
        await one.settled(2)
        await other.settled(1)
        after = await third.get("/4")

    assert (status, b"1") == (refused.status, refused.get(b"retry-after"))
    assert [200, 200, 200] == [served[0].status, served[1].status, after.status]


async def test_what_is_in_memory_is_not_counted_among_those_under_way(edge_at, tmp_path: Path) -> None:
    origin = shop(cache_control="max-age=60")
    go, began = trio.Event(), trio.Event()

    async def slow(asked, wire) -> None:
        began.set()
        await go.wait()
        await wire.send(reply())

    origin.pages[b"/slow"] = slow
    async with edge_at(tmp_path, origin=origin, **on(RouteAccess(concurrency=1))) as edge:
        client, busy = await edge.client(), await edge.client()
        await client.get("/a")
        await edge.settled(1)
        await busy.ask("/slow")
        await began.wait()
        hit = await client.get("/a")
        miss = await client.get("/b")
        go.set()
        await busy.reply()

    assert [200, 503] == [hit.status, miss.status]


async def test_a_dry_run_counts_those_at_once_and_refuses_nobody(edge_at, tmp_path: Path) -> None:
    origin = shop()
    go, began = trio.Event(), trio.Event()

    async def slow(asked, wire) -> None:
        began.set()
        await go.wait()
        await wire.send(reply())

    origin.pages[b"/slow"] = slow
    async with edge_at(tmp_path, origin=origin, **on(RouteAccess(concurrency=1, concurrency_dry_run=True))) as edge:
        client, busy = await edge.client(), await edge.client()
        await busy.ask("/slow")
        await began.wait()
        got = await client.get("/a")
        go.set()
        await busy.reply()
        entries = await edge.settled(2)

    assert 200 == got.status
    assert "concurrency: 1 are under way (dry run)" == entries[0][13]


# -- pages of other sites -------------------------------------------------------------------------------------


async def test_a_preflight_is_answered_here(edge_at, tmp_path: Path) -> None:
    origin = shop()
    async with edge_at(tmp_path, origin=origin, **on(cors=CORS)) as edge:
        client = await edge.client()
        asked = {"Origin": SITE, "Access_Control_Request_Method": "POST"}
        allowed = await client.get("/a", method="OPTIONS", **asked)
        foreign = await client.get("/a", method="OPTIONS", **asked | {"Origin": "https://evil.example"})
        header = await client.get("/a", method="OPTIONS", **asked | {"Access_Control_Request_Headers": "x-secret"})
        plain = await client.get("/a", method="OPTIONS")

    assert 204 == allowed.status
    assert (SITE.encode(), b"true", b"GET, HEAD, POST", b"600") == tuple(
        allowed.get(b"access-control-" + name)
        for name in (b"allow-origin", b"allow-credentials", b"allow-methods", b"max-age")
    )
    assert [403, 403, 200] == [foreign.status, header.status, plain.status]
    assert None is foreign.get(b"access-control-allow-origin")
    assert [b"OPTIONS"] == [asked.method for asked in origin.asked]
    assert 1 == edge.count(names.PREFLIGHTS)


async def test_one_copy_serves_every_site_and_caches_behind_us_tell_them_apart(edge_at, tmp_path: Path) -> None:
    """What the origin server said of it is taken off; what we say is in no copy."""
    origin = shop(cache_control="max-age=60", access_control_allow_origin="*", vary="Accept-Language")
    async with edge_at(tmp_path, origin=origin, **on(cors=CORS)) as edge:
        client = await edge.client()
        got = [
            await client.get("/a", **({"Origin": site} if site else {}))
            for site in (SITE, "https://eu.shop.example", "https://evil.example", None, SITE)
        ]

    assert [200] * 5 == [each.status for each in got]
    assert 1 == len(origin.asked)
    assert [SITE.encode(), b"https://eu.shop.example", None, None, SITE.encode()] == [
        each.get(b"access-control-allow-origin") for each in got
    ]
    assert {b"Accept-Language, Origin"} == {each.get(b"vary") for each in got}
    assert b"x-request-id" == got[0].get(b"access-control-expose-headers")


async def test_every_site_needs_no_vary(edge_at, tmp_path: Path) -> None:
    async with edge_at(tmp_path, origin=shop(), **on(cors=RouteCors(origins=("*",)))) as edge:
        got = await (await edge.client()).get("/a", Origin="https://any.example")

    assert (b"*", None) == (got.get(b"access-control-allow-origin"), got.get(b"vary"))


async def test_a_page_may_read_why_it_was_refused(edge_at, tmp_path: Path) -> None:
    access = replace(LIMITED, deny=(ip_network("203.0.113.0/24"),))
    settings = {"rates": {"login": Rate("login", 1, 60.0)}}
    async with edge_at(tmp_path, origin=shop(), **settings, **on(access, cors=CORS)) as edge:
        client = await edge.client()
        await client.get("/a", Origin=SITE)
        over = await client.get("/a", Origin=SITE)

    assert (429, SITE.encode()) == (over.status, over.get(b"access-control-allow-origin"))
    assert b"Origin" == over.get(b"vary")
