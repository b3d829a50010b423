"""What operators are told of a request: the trace it is part of, its route's figures, what took long; and what a client is."""

from __future__ import annotations

import logging
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from edge.config.tree import Log, Route, RouteAccess, RouteRedirect, Trace
from edge.observe import names
from tests.kit.house import TrioClock, house
from tests.kit.origin import Asked, Origin, Wire, reply

PAGE = reply(body=b"page", cache_control="max-age=60")
TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_trace_is_continued_and_its_ids_are_the_requests(tmp_path: Path) -> None:
    """With our own span each time; what does not ask an origin continues nothing."""
    origin = Origin({b"*": PAGE})
    async with house(tmp_path, origin=origin, trace=Trace(enabled=True)) as edge:
        client = await edge.client()
        for path in ("/1", "/2", "/2"):
            await client.get(path, traceparent=f"00-{TRACE.decode()}-00f067aa0ba902b7-01", tracestate="a=1")
        entries = await edge.settled(3)

    told = [asked.get(b"traceparent") for asked in origin.asked]
    spans = [value.split(b"-")[2] for value in told]
    assert [b"00-%b-%b-01" % (TRACE, span) for span in spans] == told
    assert 2 == len(set(spans) - {b"00f067aa0ba902b7"})
    assert [b"a=1"] * 2 == [asked.get(b"tracestate") for asked in origin.asked]
    assert [f"{TRACE.decode()}-{span.decode()}" for span in spans] == [entry[11] for entry in entries[:2]]
    assert [entry[11].encode() for entry in entries[:2]] == [asked.get(b"x-request-id") for asked in origin.asked]
    hit = entries[2][11].encode().split(b"-")
    assert TRACE == hit[0]
    assert 3 == len({*spans, hit[1]}), "of a hit no origin was told, but the log has its place in the trace"


@pytest.mark.parametrize("traced", [True, False])
async def test_with_tracing_whatever_is_answered_has_an_id_in_the_log(edge_at, tmp_path: Path, *, traced: bool) -> None:
    """Hits, refusals, redirects and what could not be fetched; the id that a trusted proxy gave goes before ours."""

    async def hangs_up(_: Asked, wire: Wire) -> None:
        await wire.stream.aclose()

    routes = (
        Route(None, "/", "shop"),
        Route(None, "/shut", "shop", access=RouteAccess(deny=(ip_network("192.0.2.0/24"),))),
        Route(None, "/old", redirect=RouteRedirect(to="/new", status=308)),
    )
    async with edge_at(
        tmp_path,
        origin=Origin({b"/kept": PAGE, b"/down": hangs_up}),
        routes=routes,
        trace=Trace(enabled=traced),
        trusted_proxies=(ip_network("192.0.2.0/24"),),
    ) as edge:
        client = await edge.client()
        statuses = [
            (await client.get(path, traceparent=f"00-{TRACE.decode()}-00f067aa0ba902b7-01")).status
            for path in ("/kept", "/kept", "/shut", "/old", "/down")
        ]
        await client.get("/kept", X_Request_ID="theirs")
        entries = await edge.settled(6)

    assert [200, 200, 403, 308, 502] == statuses
    ids = [entry[11] for entry in entries]
    if traced:
        assert [TRACE.decode()] * 5 == [given.partition("-")[0] for given in ids[:5]]
        assert "theirs" == ids[5]
        assert 6 == len(set(ids))
    else:
        assert [True, False, False, False, True, False] == [bool(given) for given in ids], "what an origin was told"


async def test_a_trace_begins_where_there_is_none(tmp_path: Path) -> None:
    """And is recorded for the share that is asked for."""
    origin = Origin({b"*": reply(body=b"", cache_control="no-store")})
    async with house(tmp_path, origin=origin, trace=Trace(enabled=True, sample=1.0)) as edge:
        client = await edge.client()
        for fields in ({}, {"traceparent": "nonsense", "tracestate": "a=1"}):
            await client.get("/", **fields)

    told = [asked.get(b"traceparent") for asked in origin.asked]
    assert all(value.endswith(b"-01") and value.count(b"-") == 3 for value in told)
    assert told[0].split(b"-")[1] != told[1].split(b"-")[1]
    assert [None, None] == [asked.get(b"tracestate") for asked in origin.asked]


async def test_without_tracing_the_clients_fields_pass_as_they_are(tmp_path: Path) -> None:
    origin = Origin({b"*": PAGE})
    async with house(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/", traceparent="anything")

    assert b"anything" == origin.asked[0].get(b"traceparent")


async def test_every_route_has_figures_of_its_own(tmp_path: Path) -> None:
    """Replies by class, hits and durations, under the route's name or its host and path."""
    origin = Origin({b"/shop/a": PAGE, b"/shop/none": reply(404, b"")})
    routes = (Route(None, "/shop", "shop", name="the-shop"), Route(None, "/", "shop"))
    blocks = names.assign_routes(route.label for route in routes)
    async with house(tmp_path, origin=origin, routes=routes) as edge:
        client = await edge.client()
        for path in ("/shop/a", "/shop/a", "/shop/none", "/else"):
            await client.get(path)
        await edge.settled(4)
        shop, rest = names.RouteCells.of(blocks["the-shop"]), names.RouteCells.of(blocks["*/"])

        assert (2, 1, 1) == (edge.count(shop.replies + 1), edge.count(shop.replies + 3), edge.count(shop.hits))
        assert (1, 0) == (edge.count(rest.replies + 3), edge.count(rest.hits))
        assert 3 == sum(edge.count(shop.duration.first + at) for at in range(len(names.BUCKETS_S) + 1))


async def test_what_took_long_is_told_in_the_errors(tmp_path: Path, autojump_clock, caplog) -> None:
    """One line each, the slowest first, and no more than ten of a batch."""

    async def slow(_: Asked, wire: Wire) -> None:
        await trio.sleep(3)
        await wire.send(PAGE)

    origin = Origin({b"/quick": PAGE, **{b"/slow%d" % at: slow for at in range(12)}})
    with caplog.at_level(logging.WARNING, "edge"):
        async with house(tmp_path, origin=origin, clock=TrioClock(), log=Log(access="off", slow_s=2.0)) as edge:
            clients = [await edge.client() for _ in range(13)]
            await clients[12].get("/quick")
            for at in range(12):
                await clients[at].ask(f"/slow{at}")
            for at in range(12):
                await clients[at].reply()
            await edge.settled(13)
            assert 12 == edge.count(names.SLOW)

    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("slow:")]
    assert 11 == len(lines)
    assert all('"target":"/slow' in line and '"origin":"shop/' in line for line in lines[:10])
    assert "slow: and 2 more" == lines[10]


async def test_a_client_is_told_where_the_time_went_where_its_route_says_so(tmp_path: Path) -> None:
    """Behind what the origin says of itself; a hit took no origin's time."""
    page = reply(body=b"page", cache_control="max-age=60", server_timing="db;dur=5")
    origin = Origin({b"/told/a": page, b"/a": page})
    routes = (Route(None, "/told", "shop", server_timing=True), Route(None, "/", "shop"))
    async with house(tmp_path, origin=origin, routes=routes) as edge:
        client = await edge.client()
        told, hit, untold = [await client.get(path) for path in ("/told/a", "/told/a", "/a")]

    assert told.get(b"server-timing").startswith(b"db;dur=5, cache;desc=uri-miss, origin;dur=")
    assert b"db;dur=5" == hit.get(b"server-timing")
    assert b"db;dur=5" == untold.get(b"server-timing")
