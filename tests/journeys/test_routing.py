"""Which way a request takes, and that what is kept of one way is never another's answer."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from edge.config.tree import CacheConfig, OriginServer, Route, RouteCache, Share
from edge.config.tree import Origin as OriginConfig
from tests.kit.origin import Asked, Origin, Wire, reply

CLIENT = ip_network("192.0.2.0/24")
"""Where the house says that every client is."""

ELSEWHERE = ip_network("198.51.100.0/24")
FRESH = {"cache_control": "max-age=60"}


def saying(name: str, **fields: str) -> Origin:
    return Origin({b"*": reply(200, name.encode(), **(fields or FRESH))})


class Town:
    """Several origins, which each say their name."""

    def __init__(self, **origins: Origin) -> None:
        self.others = origins

    def settings(self, *routes: Route, **more: Any) -> dict[str, Any]:
        origins = {
            name: OriginConfig(name, (OriginServer(f"http://127.0.0.1:{origin.port}"),))
            for name, origin in self.others.items()
        }
        return {"origins": origins, "routes": routes, **more}


@pytest.fixture
async def town(nursery: Any) -> Town:
    made = Town(a=saying("a"), b=saying("b"), c=saying("c"))
    for origin in made.others.values():
        await nursery.start(origin.serve)
    return made


async def bodies(edge: Any, *asked: tuple[str, dict[str, str]] | str, method: str = "GET") -> list[bytes]:
    client = await edge.client()
    said = []
    for one in asked:
        target, fields = (one, {}) if isinstance(one, str) else one
        said.append((await client.get(target, method=method, **fields)).body)
    return said


async def test_methods_headers_and_queries_choose_the_origin(edge_at, tmp_path: Path, town: Town) -> None:
    routes = (
        Route(None, "/", "a"),
        Route(None, "/", "b", headers=(("x-beta", "~[1-9]"),)),
        Route(None, "/", "c", query=(("preview", "*"),)),
    )
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes)) as edge:
        asked = ["/", ("/", {"x_beta": "2"}), "/?preview", ("/", {"x_beta": "0"}), ("/?preview", {"x_beta": "1"})]

        assert [b"a", b"b", b"c", b"a", b"b"] == await bodies(edge, *asked)


async def test_what_one_way_said_is_never_the_answer_of_another(edge_at, tmp_path: Path, town: Town) -> None:
    """The poisoning that a key of the address alone would make possible: both are cached, each for its own."""
    routes = (Route(None, "/", "a"), Route(None, "/", "b", headers=(("x-beta", "1"),)))
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes)) as edge:
        beta = ("/x", {"x_beta": "1"})

        assert [b"a", b"b", b"a", b"b", b"b", b"a"] == await bodies(edge, "/x", beta, "/x", beta, beta, "/x")
        assert [1, 1] == [len(town.others[name].asked) for name in "ab"]


async def test_a_purge_and_an_unsafe_method_hit_every_way_of_an_address(edge_at, tmp_path: Path, town: Town) -> None:
    routes = (Route(None, "/", "a"), Route(None, "/", "b", headers=(("x-beta", "1"),)))
    store = CacheConfig(tmp_path, 16 << 20, 1 << 20, purge_from=(CLIENT,))
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes, cache=store)) as edge:
        beta = ("/x", {"x_beta": "1"})
        await bodies(edge, "/x", beta)
        (purged,) = await bodies(edge, "/x", method="PURGE")
        await bodies(edge, "/x", beta)
        await bodies(edge, "/x", method="POST")
        await bodies(edge, "/x", beta)

        assert b'"copies": 2' in purged
        assert [4, 3] == [len(town.others[name].asked) for name in "ab"]


async def test_a_network_chooses_for_each_client_though_their_heads_are_one(
    edge_at, tmp_path: Path, town: Town
) -> None:
    routes = (
        Route(None, "/", "a", networks=(ELSEWHERE,)),
        Route(None, "/", "b", networks=(CLIENT,), order=1),
        Route(None, "/", "c"),
    )
    trusted = {"trusted_proxies": (ip_network("192.0.2.7/32"),)}
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes, **trusted)) as edge:
        of = [{}, {"x_forwarded_for": "198.51.100.9"}, {"x_forwarded_for": "203.0.113.1"}]

        for _ in range(2):
            assert [b"b", b"a", b"c"] == await bodies(edge, *[("/", fields) for fields in of])


async def test_whom_no_network_admits_finds_nothing(edge_at, tmp_path: Path, town: Town) -> None:
    async with edge_at(
        tmp_path, origin=town.others["a"], **town.settings(Route(None, "/", "a", networks=(ELSEWHERE,)))
    ) as edge:
        client = await edge.client()

        assert 404 == (await client.get("/")).status


async def test_a_split_by_cookie_keeps_a_client_where_it_is_and_both_ways_apart(
    edge_at, tmp_path: Path, town: Town
) -> None:
    route = Route(None, "/", split=(Share("a", 1), Share("b", 1)), split_by="cookie:visitor")
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(route)) as edge:
        visitors = [("/", {"cookie": f"x=y; visitor={number}"}) for number in range(20)]
        first = await bodies(edge, *visitors)

        assert {b"a", b"b"} == set(first)
        assert first == await bodies(edge, *visitors)
        assert [1, 1] == [len(town.others[name].asked) for name in "ab"]


async def test_a_split_by_address_is_chosen_for_each_client(edge_at, tmp_path: Path, town: Town) -> None:
    route = Route(None, "/", split=(Share("a", 1), Share("b", 1)))
    trusted = {"trusted_proxies": (ip_network("192.0.2.7/32"),)}
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(route, **trusted)) as edge:
        clients = [("/", {"x_forwarded_for": f"203.0.113.{number}"}) for number in range(20)]
        first = await bodies(edge, *clients)

        assert {b"a", b"b"} == set(first)
        assert first == await bodies(edge, *clients)
        assert [1, 1] == [len(town.others[name].asked) for name in "ab"]


async def test_a_path_that_leads_to_two_routes_by_its_two_readings_is_refused(
    edge_at, tmp_path: Path, town: Town
) -> None:
    routes = (Route(None, "/", "a"), Route(None, "/admin", "b"))
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes)) as edge:
        for target in (
            "/x/../admin",
            "/x/%2e%2e/admin/y",
            "/admin%2Fx",
            "//admin",
            "/admin;x/y",
            "/x%5c..%5cadmin",
            "/admin%00",
            "/admin%00.css",
        ):
            client = await edge.client()
            assert 400 == (await client.get(target)).status, target
        client = await edge.client()

        assert [b"b", b"b", b"a"] == [(await client.get(at)).body for at in ("/%61dmin", "/admin/../admin", "/x/../y")]


async def test_rules_of_the_cache_are_those_of_the_way(edge_at, tmp_path: Path, town: Town) -> None:
    routes = (
        Route(None, "/", "a"),
        Route(None, "/", "b", RouteCache(enabled=False), headers=(("x-beta", "1"),)),
    )
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes)) as edge:
        await bodies(edge, "/", "/", ("/", {"x_beta": "1"}), ("/", {"x_beta": "1"}))

        assert [1, 2] == [len(town.others[name].asked) for name in "ab"]


async def test_a_body_reaches_the_origin_its_head_chose(edge_at, tmp_path: Path, town: Town) -> None:
    async def echo(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(200, asked.body))

    town.others["b"].pages[b"*"] = echo
    routes = (Route(None, "/", "a"), Route(None, "/", "b", methods=("POST",)))
    async with edge_at(tmp_path, origin=town.others["a"], **town.settings(*routes)) as edge:
        client = await edge.client()
        await client.ask("/", method="POST", content_length="5")
        await client.send(b"hello")

        assert b"hello" == (await client.reply("POST")).body
