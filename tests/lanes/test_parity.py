"""
The same requests, both lanes and the slow lane alone, input cut at random: the same bytes out.

This is what makes two lanes one server. The scripts cover everything a fast answer can be; ages and dates are the virtual
clock's, so that bytes can be compared.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
import trio

from edge.config.contents import Contents
from edge.config.tree import Compression, Jwt, Listener, Rate, Route, RouteAccess, RouteCors
from tests.kit.house import TrioClock, house
from tests.kit.origin import Origin, reply

TEXT = b"<p>Some text that is worth compressing, again and again.</p>\n" * 50
BIG = bytes(range(256)) * 2000  # 512 000 bytes: read by the slow lane, then ready in memory

PAGES = {
    b"/a": reply(body=b"0123456789", cache_control="max-age=60", etag='"1"', date="Fri, 15 Jan 2027 08:00:00 GMT"),
    b"/text": reply(
        body=TEXT,
        cache_control="max-age=60",
        etag='"t"',
        content_type="text/html",
        date="Fri, 15 Jan 2027 08:00:00 GMT",
    ),
    b"/big": reply(
        body=BIG, cache_control="max-age=60", content_type="image/png", date="Fri, 15 Jan 2027 08:00:00 GMT"
    ),
    b"/vary": reply(body=b"v", cache_control="max-age=60", vary="X-Kind", date="Fri, 15 Jan 2027 08:00:00 GMT"),
    b"/none": reply(404, body=b"none", cache_control="max-age=60", date="Fri, 15 Jan 2027 08:00:00 GMT"),
    b"/mine": reply(body=b"mine", cache_control="private", date="Fri, 15 Jan 2027 08:00:00 GMT"),
}


def ask(method: str, path: str, **fields: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: shop.example"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


REQUESTS = [
    ask("GET", "/a"),
    ask("HEAD", "/a"),
    ask("GET", "/a", If_None_Match='"1"'),
    ask("GET", "/a", Range="bytes=1-3"),
    ask("GET", "/a", Range="bytes=90-"),
    ask("GET", "/a", Cache_Control="only-if-cached"),
    ask("GET", "/never", Cache_Control="only-if-cached"),
    ask("GET", "/text"),
    ask("GET", "/text", Accept_Encoding="br"),
    ask("GET", "/text", Accept_Encoding="gzip, zstd;q=0.5"),
    ask("GET", "/text", Accept_Encoding="br", If_None_Match='W/"t-br"'),
    ask("HEAD", "/text", Accept_Encoding="br"),
    ask("GET", "/big"),
    ask("GET", "/big", Range="bytes=500000-"),
    ask("GET", "/vary", X_Kind="1"),
    ask("GET", "/vary", X_Kind="2"),
    ask("GET", "/none"),
    ask("GET", "/mine"),
    ask("POST", "/mine", Content_Length="3") + b"abc",
    ask("GET", "/elsewhere"),
]

LAST = [
    ask("TRACE", "/a"),
    ask("GET", "/a", Connection="close"),
    b"GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"nonsense\r\n\r\n",
]


def script(seed: int) -> list[bytes]:
    """Choose requests; the last one ends the connection."""
    rng = random.Random(seed)
    return [rng.choice(REQUESTS) for _ in range(30)] + [rng.choice(LAST)]


async def run(path: Path, wire: list[bytes], *, serve_hits: bool, cuts: random.Random | None, **changes: Any) -> bytes:
    """Send *wire* and return everything that comes back, without what must differ."""
    origin = Origin(dict(PAGES))
    async with house(path, origin=origin, serve_hits=serve_hits, clock=TrioClock(), **changes) as edge:
        # Warm: what is asked for first decides who fetches, and that is not what is compared here.
        warm = await edge.client()
        for page in ("/a", "/text", "/big", "/none"):
            await warm.get(page)
        await warm.get("/text", Accept_Encoding="br")
        await warm.get("/text", Accept_Encoding="gzip")
        await warm.get("/big")
        client = await edge.client()
        data = b"".join(wire)

        async def send() -> None:
            at = 0
            try:
                while at < len(data):
                    to = len(data) if cuts is None else at + cuts.randint(1, 200)
                    await client.send(data[at:to])
                    at = to
                    if cuts is not None and cuts.random() < 0.2:
                        await trio.sleep(0)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                got = await client.at_end()
    return re.sub(rb"boundary=\w+|--\w{32}", b"BOUNDARY", got)


@pytest.mark.parametrize("seed", range(12))
async def test_both_lanes_say_the_same_whatever_the_cut(tmp_path: Path, autojump_clock, seed: int) -> None:
    """Whole and cut, fast and slow: one answer."""
    wire = script(seed)
    plain = await run(tmp_path / "1", wire, serve_hits=True, cuts=None)
    cut = await run(tmp_path / "2", wire, serve_hits=True, cuts=random.Random(seed))
    slow = await run(tmp_path / "3", wire, serve_hits=False, cuts=random.Random(seed + 1))

    assert plain.count(b"HTTP/1.") >= 31
    assert plain == cut
    assert plain == slow


SECRET = b"a shared secret that is long enough for all"
SIGNED = pyjwt.encode({"sub": "ada", "exp": 1_900_000_000}, SECRET).encode()
RULES = {
    "limits": RouteAccess(rates=("each", "dry")),
    "tokens": RouteAccess(rates=("each",), jwt="login"),
    "many": RouteAccess(rates=("each",), concurrency=100, client_concurrency=100),
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("seed", range(3))
async def test_both_lanes_say_the_same_where_a_route_has_rules(
    tmp_path: Path, autojump_clock, seed: int, rules: str
) -> None:
    """Refused, limited, told what is left, from this site or another: one answer."""
    rng = random.Random(seed)
    said = [b"", b"Origin: https://a.example\r\n", b"Origin: https://b.example\r\n", b"Cookie: t=" + SIGNED + b"\r\n"]
    wire = [
        one.replace(b"Host: shop.example\r\n", b"Host: shop.example\r\n" + rng.choice(said), 1)
        for one in script(seed)[:-1]
    ]
    wire.insert(9, ask("OPTIONS", "/a", Origin="https://a.example", Access_Control_Request_Method="POST"))
    wire.append(ask("GET", "/a", Connection="close"))
    changes = {
        "compression": Compression(padding=0),  # random lengths cannot be compared
        "routes": (Route(None, "/", "shop", access=RULES[rules], cors=RouteCors(origins=("https://a.example",))),),
        "rates": {"each": Rate("each", 33, 3600.0), "dry": Rate("dry", 1, 3600.0, dry_run=True)},
        "jwt": {"login": Jwt("login", ("HS256",), secret_file=Contents(Path("s"), SECRET), cookie="t")},
    }
    plain = await run(tmp_path / "1", wire, serve_hits=True, cuts=None, **changes)
    cut = await run(tmp_path / "2", wire, serve_hits=True, cuts=random.Random(seed), **changes)
    slow = await run(tmp_path / "3", wire, serve_hits=False, cuts=random.Random(seed + 1), **changes)

    assert b"HTTP/1.1 429 " in plain
    assert b"HTTP/1.1 204 " in plain
    assert plain == cut
    assert plain == slow


async def test_a_redirecting_listener_answers_alike_on_both_lanes(tmp_path: Path) -> None:
    """The edge's own words pass the same way."""
    door = (Listener("127.0.0.1:0", redirect="https"),)
    said = []
    for serve_hits in (True, False):
        async with house(tmp_path / str(serve_hits), serve_hits=serve_hits, listeners=door) as edge:
            client = await edge.client()
            got = await client.get("/x?y=1")
            said.append((got.status, got.get(b"location"), got.body))

    assert said[0] == said[1]
    assert (308, b"https://shop.example/x?y=1") == said[0][:2]
