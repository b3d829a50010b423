"""Clients that are slow, wrong, too many or too curious; and what origins are told about all of them."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from edge.config.tree import CacheConfig, Limits, Listener, Route, Timeouts
from edge.exchange.recognise import MOST_HOPS
from edge.observe import names
from edge.observe.access_log import JsonFormat
from tests.kit.origin import Asked, Origin, Wire, reply


def shop() -> Origin:
    return Origin({b"*": reply(body=b"hello", cache_control="no-store")})


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
        (b"GET /" + b"x" * 20000, 414),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"M" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ],
)
async def test_a_message_that_is_not_understood_is_refused_and_the_connection_closed(
    edge_at, tmp_path: Path, sent: bytes, status: int
) -> None:
    """The right 4xx, a reason in the log, and not a byte at the origin."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(5):
            await client.send(sent)
            got = await client.reply()
            rest = await client.at_end()
        entries = await edge.settled(1)

    assert status == got.status
    assert b"close" == got.get(b"connection")
    assert b"" == rest
    assert "" != entries[0][13]
    assert len(got.body) == entries[0][5] > 0
    lines = [json.loads(line) for line in JsonFormat().lines(entries)]
    method, target = sent.partition(b"\n")[0].decode().split()[:2]
    assert (method, target[: 256 - len("GET ")]) == (lines[0]["method"], lines[0]["target"])
    assert not [asked for asked in origin.asked if asked.body]


async def test_a_body_larger_than_allowed_is_413(edge_at, tmp_path: Path) -> None:
    """Announced, or found out."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin, limits=Limits(body_bytes=10)) as edge:
        client = await edge.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        said = await client.reply()
        client = await edge.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 3)
        found = await client.reply()

    assert (413, 413) == (said.status, found.status)


async def test_who_dawdles_is_closed_and_told_why(edge_at, tmp_path: Path, autojump_clock) -> None:
    """Head and body: 408. Idle: a plain close. Each counted."""
    origin = shop()
    timeouts = Timeouts(head_s=5, body_s=7, idle_s=20)
    async with edge_at(tmp_path, origin=origin, timeouts=timeouts) as edge:
        half_a_head = await edge.client()
        await half_a_head.send(b"GET / HTTP/1.1\r\nHo")
        half_a_body = await edge.client()
        await half_a_body.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        idle = await edge.client()
        await idle.get("/")
        head = await half_a_head.reply()
        body = await half_a_body.reply()
        started = trio.current_time()
        assert b"" == await idle.at_end()
        waited = trio.current_time() - started
        counts = {word: edge.count(names.TIMEOUTS[word]) for word in ("head", "body", "idle")}
        lines = [json.loads(line) for line in JsonFormat().lines(edge.entries) if '"status":408' in line]

    assert (408, 408) == (head.status, body.status)
    assert [("GET", "/", len(head.body)), ("POST", "/", len(body.body))] == [
        (line["method"], line["target"], line["bytes"]) for line in lines
    ]
    assert waited <= 23
    assert {"head": 1, "body": 1, "idle": 1} == counts


async def test_a_client_that_takes_nothing_is_let_go(edge_at, tmp_path: Path, autojump_clock) -> None:
    """A reader that stalls holds its buffer no longer than the write deadline."""

    async def pour(_: Asked, wire: Wire) -> None:
        await wire.send(
            b"HTTP/1.1 200 X\r\ncache-control: no-store\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 9_000_000
        )

    origin = Origin({b"/": pour})
    async with edge_at(tmp_path, origin=origin, timeouts=Timeouts(write_s=10)) as edge:
        client = await edge.client()
        await client.ask("/")
        await trio.sleep(15)
        entries = await edge.settled(1)
        stalled = edge.count(names.TIMEOUTS["write"])

    assert 1 == stalled
    assert 200 == entries[0][4]
    assert "connection_terminated" == entries[0][12]


async def test_the_origin_learns_who_asks_and_cannot_be_lied_to(edge_at, tmp_path: Path) -> None:
    """What a stranger says about himself is dropped; what a proxy of ours says is passed on and believed in the log."""
    origin = shop()
    lies = {
        "X_Forwarded_For": "6.6.6.6",
        "X_Forwarded_Proto": "https",
        "X_Real_IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
    }
    async with edge_at(tmp_path, origin=origin) as edge:
        await (await edge.client()).get("/", **lies)
        stranger = (await edge.settled(1))[0]
    first = origin.asked[0]
    origin = shop()
    async with edge_at(tmp_path, origin=origin, trusted_proxies=(ip_network("192.0.2.0/24"),)) as edge:
        await (await edge.client()).get("/", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https", X_Request_ID="abc")
        friend = (await edge.settled(1))[0]
    second = origin.asked[0]

    assert (b"192.0.2.7", b"http", b"shop.example", b"1.1 edge") == tuple(
        first.get(name) for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via")
    )
    assert first.get(b"x-real-ip") is None
    assert first.get(b"forwarded") is None
    assert first.get(b"x-request-id")
    assert "192.0.2.7" == stranger[1]
    assert (b"6.6.6.6, 192.0.2.7", b"https", b"abc") == tuple(
        second.get(name) for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id")
    )
    assert ("6.6.6.6", "abc") == (friend[1], friend[11])


@pytest.mark.parametrize("method", ["FOO", "foo", "M-SEARCH", "A" * 40, "SOURCE"])
async def test_a_method_that_nobody_knows_is_its_origins_business(edge_at, tmp_path: Path, method: str) -> None:
    """RFC 9110 §9.1, §9.2.1; RFC 9111 §4.4: passed on as it is, kept for nobody, and what it may have changed is asked about."""
    origin = Origin({b"/a": reply(body=b"a", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        before = [await client.get("/a"), await client.get("/a")]
        strange = [await client.get("/a", method=method), await client.get("/a", method=method)]
        after = await client.get("/a")

    assert b"hit" in before[1].get(b"cache-status")
    assert [(200, b"a")] * 2 == [(got.status, got.body) for got in strange]
    assert all(b"fwd=method" in got.get(b"cache-status") for got in strange)
    assert b"hit" not in after.get(b"cache-status")
    assert [b"GET", method.encode(), method.encode(), b"GET"] == [asked.method for asked in origin.asked]


async def test_fields_of_one_connection_end_with_it(edge_at, tmp_path: Path) -> None:
    """RFC 9110 §7.6.1, in both directions."""
    origin = Origin(
        {
            b"/": b"HTTP/1.1 200 X\r\nconnection: x-hop, keep-alive\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\ncontent-length: 0\r\n\r\n"
        }
    )
    async with edge_at(tmp_path, origin=origin) as edge:
        got = await (await edge.client()).get(
            "/", Connection="x-mine", X_Mine="1", TE="gzip", Proxy_Authorization="secret"
        )

    assert got.get(b"x-hop") is None
    assert got.get(b"keep-alive") is None
    assert origin.asked[0].get(b"x-mine") is None
    assert origin.asked[0].get(b"te") is None
    assert origin.asked[0].get(b"proxy-authorization") is None


async def test_nobody_is_sent_in_circles(edge_at, tmp_path: Path) -> None:
    """A route that leads back here is noticed."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        few = await client.get("/", Via=", ".join(["1.1 edge"] * MOST_HOPS))
        many = await client.get("/", Via=", ".join(["1.1 edge"] * (MOST_HOPS + 1)))

    assert (200, 508) == (few.status, many.status)
    assert b"edge; error=proxy_loop_detected" == many.get(b"proxy-status")


async def test_an_options_goes_as_far_as_it_says(edge_at, tmp_path: Path) -> None:
    """RFC 9110 §7.6.2: at 0 it is answered here; else the next hears one less. It says nothing of other methods."""
    origin = Origin({b"*": reply(body=b"x")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        here = [await client.get(path, method="OPTIONS", Max_Forwards="0") for path in ("/", "*")]
        for method, said in (
            ("OPTIONS", "2"),
            ("OPTIONS", "1"),
            ("OPTIONS", "x"),
            ("GET", "0"),
            ("GET", "5"),
            ("PROPFIND", "0"),
        ):
            assert 200 == (await client.get(f"/{method}/{said}", method=method, Max_Forwards=said)).status

    assert [(204, b"")] * 2 == [(got.status, got.body) for got in here]
    told = [(asked.method, asked.get(b"max-forwards")) for asked in origin.asked]
    assert told == [
        (b"OPTIONS", b"1"),
        (b"OPTIONS", b"0"),
        (b"OPTIONS", b"x"),
        (b"GET", b"0"),
        (b"GET", b"5"),
        (b"PROPFIND", b"0"),
    ]


async def test_a_host_nobody_routes_is_404(edge_at, tmp_path: Path) -> None:
    """And the connection goes on."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin, routes=(Route("shop.example", "/", "shop"),)) as edge:
        client = await edge.client()
        strange = await client.get("/", host="evil.example", Accept="text/html")
        known = await client.get("/")

    assert (404, 200) == (strange.status, known.status)
    assert strange.get(b"content-type").startswith(b"text/html")


async def test_operators_are_told_what_they_ask(edge_at, tmp_path: Path) -> None:
    """/metrics, /healthz, /readyz; and nothing else."""
    door = Listener("127.0.0.1:1")
    async with edge_at(tmp_path, origin=shop()) as edge:
        await (await edge.client()).get("/")
        edge.count(names.BUGS)
        admin = await edge.client(listener=door, peer="")
        for session in edge.worker.fast.sessions.values():
            if session.door.listener is door:
                session.door.is_admin = True
        metrics = await admin.get("/metrics")
        health = await admin.get("/healthz")
        ready = await admin.get("/readyz")
        other = await admin.get("/etc/passwd")
        posted = await admin.get("/healthz", method="POST", Content_Length="0")
        edge.worker.is_leaving = True
        leaving = await admin.get("/readyz")

    assert [200, 200, 200, 404, 405, 503] == [got.status for got in (metrics, health, ready, other, posted, leaving)]
    assert b'edge_requests_total{cache="uri-miss"} 1.0' in metrics.body
    assert b"edge_sessions_open 2.0" in metrics.body
    assert b"edge_workers_ready 1.0" in metrics.body


async def test_an_upgrade_to_h2c_is_answered_as_http_1(edge_at, tmp_path: Path) -> None:
    """The origin hears nothing of it, and so cannot begin to speak of what passes our rules by (h2c smuggling)."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        got = await client.get(
            "/a", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAARAAAAAAAIAAAAA"
        )
        after = await client.get("/b")

    assert [200, 200] == [got.status, after.status]
    assert [b"/a", b"/b"] == origin.paths()
    assert not [one for one in origin.asked if one.get(b"upgrade") or one.get(b"http2-settings")]


async def test_a_store_without_room_serves_and_says_so_once(edge_at, tmp_path: Path, caplog) -> None:
    """Served, not stored, counted, and logged once a minute."""
    noise = __import__("random").Random(1).randbytes(200_000)
    origin = Origin({b"*": reply(body=noise, cache_control="max-age=60")})
    cache = CacheConfig(tmp_path, 1 << 20, 1 << 20)
    async with edge_at(tmp_path, origin=origin, cache=cache) as edge:
        client = await edge.client()
        said = []
        with trio.fail_after(20):
            for number in range(12):
                got = await client.get(f"/{number}")
                assert noise == got.body
                said.append(got.get(b"cache-status"))
        full = edge.count(names.CACHE_FULL)

    assert full >= 5
    assert {b"edge; fwd=uri-miss; ttl=60; stored", b"edge; fwd=uri-miss; ttl=60; detail=store-full"} == set(said)
    assert 1 == sum("has no room" in record.message for record in caplog.records)


async def test_the_access_log_has_one_line_per_exchange(edge_at, tmp_path: Path) -> None:
    """JSON that parses, in the words of the RFCs."""
    from edge.config.tree import Log

    path = tmp_path / "access.log"
    origin = Origin({b"*": reply(body=b"hello", cache_control="max-age=60")})
    async with edge_at(tmp_path / "cache", origin=origin, log=Log(access=path)) as edge:
        client = await edge.client()
        await client.get("/a", User_Agent='mo"zilla')
        await client.get("/a", User_Agent='mo"zilla')
        await edge.settled(2)
        edge.count(names.BUGS)
        lines = [json.loads(line) for line in path.read_text().splitlines()]

    assert ["uri-miss", "hit"] == [line["cache"] for line in lines]
    assert {"192.0.2.7"} == {line["client"] for line in lines}
    assert {'mo"zilla'} == {line["agent"] for line in lines}
    assert lines[0]["origin"].startswith("shop/127.0.0.1:")
