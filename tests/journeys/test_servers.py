"""A worker in front of several servers: cookies that bind, replies that are kept, and an operator who drains one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from edge.config.origin_rules import HealthCheck, RouteRetry, Sticky
from edge.config.tree import Origin as OriginConfig
from edge.config.tree import OriginServer, Route
from edge.origin.health import Checked
from tests.kit.origin import Asked, Origin, Wire, reply


@pytest.fixture
def two():
    """Two servers that say who they are."""
    made = []
    for name in (b"a", b"b"):
        made.append(
            Origin(
                {
                    b"/": reply(body=name, cache_control="no-store"),
                    b"/kept": reply(body=name, cache_control="max-age=60"),
                    b"/healthz": reply(body=b"ready"),
                    b"/cut": b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\n",
                }
            )
        )
    return made


async def shop_of(nursery, servers, **settings):
    for server in servers:
        await nursery.start(server.serve)
    urls = tuple(OriginServer(f"http://127.0.0.1:{server.port}") for server in servers)
    return {"shop": OriginConfig("shop", urls, **settings)}


@pytest.mark.parametrize("cached", [True, False])
async def test_a_client_is_bound_by_its_first_reply(edge_at, tmp_path: Path, two, cached) -> None:
    """With a cookie it alone can have, Secure and HttpOnly; and once it has it, it is not told again."""
    async with trio.open_nursery() as nursery:
        origins = await shop_of(nursery, two, sticky=Sticky(cookie="srv", max_age_s=3600.0))
        async with edge_at(tmp_path if cached else None, origin=two[0], origins=origins) as edge:
            client = await edge.client()
            first = await client.get("/")
            cookie = first.get(b"set-cookie")
            assert cookie is not None
            value, _, attributes = cookie.partition(b"; ")
            assert b"Path=/; Max-Age=3600; SameSite=Lax; Secure; HttpOnly" == attributes
            bound = [await client.get("/", Cookie=value.decode()) for _ in range(6)]
            free = [await client.get("/") for _ in range(6)]

            assert {first.body} == {one.body for one in bound}
            assert {None} == {one.get(b"set-cookie") for one in bound}
            assert {b"a", b"b"} == {one.body for one in free}
            assert 2 == len({one.get(b"set-cookie") for one in free})
        nursery.cancel_scope.cancel()


async def test_what_is_kept_for_everybody_binds_nobody(edge_at, tmp_path: Path, two) -> None:
    async with trio.open_nursery() as nursery:
        origins = await shop_of(nursery, two, sticky=Sticky(cookie="srv"))
        async with edge_at(tmp_path, origin=two[0], origins=origins) as edge:
            client = await edge.client()
            kept = [await client.get("/kept") for _ in range(3)]

            assert {None} == {one.get(b"set-cookie") for one in kept}
            assert b"hit" in kept[2].get(b"cache-status")
        nursery.cancel_scope.cancel()


async def test_a_status_that_is_tried_again_is_never_seen(edge_at, tmp_path: Path, two) -> None:
    """In either lane: a simple miss that turns out not to be simple is handed on."""
    two[0].pages[b"/"] = reply(503, body=b"busy", cache_control="no-store")
    async with trio.open_nursery() as nursery:
        origins = await shop_of(nursery, two)
        routes = (Route(None, "/", "shop", retry=RouteRetry(on=("503",))),)
        async with edge_at(None, origin=two[0], origins=origins, routes=routes) as edge:
            client = await edge.client()
            got = [await client.get("/") for _ in range(8)]

            assert [(200, b"b")] * 8 == [(one.status, one.body) for one in got]
            assert two[0].paths().count(b"/") in {3, 4, 5}
        nursery.cancel_scope.cancel()


async def test_a_slow_server_is_hedged(edge_at, two) -> None:
    async def slowly(_: Asked, wire: Wire) -> None:
        await trio.sleep(30)
        await wire.send(reply(body=b"late", cache_control="no-store"))

    two[0].pages[b"/"] = slowly
    async with trio.open_nursery() as nursery:
        origins = await shop_of(nursery, two)
        routes = (Route(None, "/", "shop", retry=RouteRetry(hedge_s=0.05)),)
        async with edge_at(None, origin=two[0], origins=origins, routes=routes) as edge:
            client = await edge.client()
            with trio.fail_after(20):
                got = [(await client.get("/")).body for _ in range(4)]

            assert [b"b"] * 4 == got
        nursery.cancel_scope.cancel()


async def test_an_operator_drains_a_server_and_checks_say_how_it_is(edge_at, two) -> None:
    async with trio.open_nursery() as nursery:
        origins = await shop_of(nursery, two, health=HealthCheck(path="/healthz", interval_s=0.1, timeout_s=0.1))
        async with edge_at(None, origin=two[0], origins=origins) as edge:
            servers = edge.worker.origins.groups["shop"].servers
            with trio.fail_after(10):
                while any(server.health.checked is not Checked.UP for server in servers):
                    await trio.sleep(0.01)
            told = edge.worker.admin._servers.order("drain", [("origin", "shop"), ("server", servers[0].label)])
            client = await edge.client()

            assert [b"b"] * 4 == [(await client.get("/")).body for _ in range(4)]
            assert [servers[0].settings.url] == told["servers"]
        nursery.cancel_scope.cancel()
