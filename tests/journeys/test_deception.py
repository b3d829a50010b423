"""What one visitor gets never becomes another's: path tricks, and requests that only look alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config.tree import Route, RouteCache
from tests.kit.origin import Asked, Origin, Wire, reply

TRICKS = ("/account/x.css", "/account/..%2fstatic/x.css", "/account;x.css", "/account%3bx.css", "/account%0Ax.css", "/account%01x.js",
          "/account%23x.png", "/account%3fx.png", "/account.css", "/account//x.css", "/static/..%2faccount%2fx.css")  # fmt: skip


async def careless(asked: Asked, wire: Wire) -> None:
    """An application that looks at the first word of a path: the account's page for whoever's cookie it is."""
    who = asked.get(b"cookie") or b"nobody"
    await wire.send(reply(body=b"<p>the account of " + who, content_type="text/html"))


async def deceived(asked: Asked, wire: Wire) -> None:
    """One whose own front end says max-age of everything that looks like a file."""
    who = asked.get(b"cookie") or b"nobody"
    if asked.target.endswith((b".css", b".js", b".png")) or b"account" in asked.target:
        await wire.send(reply(body=b"<p>the account of " + who, content_type="text/html", cache_control="max-age=600"))
    else:
        await wire.send(reply(404, b"nothing", content_type="text/html", cache_control="max-age=600"))


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_path_that_looks_like_a_file_is_no_reason_to_keep_a_page(edge_at, tmp_path: Path, trick: str) -> None:
    """By default the origin's word alone counts, and this one says nothing."""
    async with edge_at(tmp_path, origin=Origin({b"*": careless})) as edge:
        client = await edge.client()
        victim = await client.get(trick, Cookie="session=victim")
        thief = await client.get(trick)

    assert victim.body.endswith(b"session=victim")
    assert thief.body.endswith(b"nobody")


@pytest.mark.parametrize("trick", TRICKS)
async def test_with_match_type_an_origin_that_is_deceived_deceives_nobody(edge_at, tmp_path: Path, trick: str) -> None:
    routes = (Route(None, "/", "shop", RouteCache(match_type=True)),)
    async with edge_at(tmp_path, origin=Origin({b"*": deceived}), routes=routes) as edge:
        client = await edge.client()
        victim = await client.get(trick, Cookie="session=victim")
        thief = await client.get(trick)

    assert victim.body.endswith(b"session=victim")
    assert thief.body.endswith(b"nobody")
    assert b"detail=unlike" in victim.get(b"cache-status")


async def test_with_match_type_what_keeps_its_promise_is_kept(edge_at, tmp_path: Path) -> None:
    css = reply(body=b"p{}", content_type="text/css", cache_control="max-age=60")
    gone = reply(404, b"<p>gone", content_type="text/html", cache_control="max-age=60")
    routes = (Route(None, "/", "shop", RouteCache(match_type=True)),)
    async with edge_at(tmp_path, origin=Origin({b"/a.css": css, b"*": gone}), routes=routes) as edge:
        client = await edge.client()
        for path in ("/a.css", "/gone.css"):
            await client.get(path)
            assert (await client.get(path)).get(b"cache-status").startswith(b"edge; hit")


async def echo(asked: Asked, wire: Wire) -> None:
    """Says what it was asked, in a reply that may be kept for everybody."""
    said = asked.method + b" " + (asked.get(b"host") or b"") + b" " + asked.target
    said += b" " + (asked.get(b"x-forwarded-proto") or b"") + b" " + (asked.get(b"x-forwarded-host") or b"")
    said += b"".join(b"\n%b: %b" % field for field in asked.headers)
    if asked.method == b"HEAD":
        said = b""
    await wire.send(reply(body=said, cache_control="max-age=600", content_type="text/plain"))


LOOK_ALIKE = [
    "/a", "/a?", "/a?b", "/a?b=", "/a?B", "/A", "/a/", "/a//", "//a", "/./a", "/%61", "/a%01", "/a%2f", "/a%2F", "/a;b", "/a%3fb",
    "/a?b&c", "/a?c&b", "/a?b&c&", "/a?b%26c", "/a%20", "/a+", "/x/../a", "/x/..%2fa", "/a?b=1&b=2", "/a?b=2&b=1", "/a?b=1;b=2",
]  # fmt: skip


async def test_requests_that_look_alike_are_not_one(edge_at, tmp_path: Path) -> None:
    """Whatever an origin may tell apart has copies of its own, and reaches it byte for byte."""
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo}))) as edge:
        client = await edge.client()
        for turn in range(2):
            for target in LOOK_ALIKE:
                got = await client.get(target)
                assert f"GET shop.example {target} ".encode() in got.body, (turn, target)

    assert sorted(target.encode() for target in LOOK_ALIKE) == sorted(asked.target for asked in origin.asked)


async def test_hosts_and_their_ports_are_not_one(edge_at, tmp_path: Path) -> None:
    hosts = [
        "shop.example",
        "shop.example:8080",
        "www.shop.example",
        "shop.example:443",
        "xn--shop.example",
        "[::1]",
        "127.0.0.1",
    ]
    async with edge_at(tmp_path, origin=Origin({b"*": echo})) as edge:
        client = await edge.client()
        for _ in range(2):
            bodies = [(await client.get("/", host=host)).body for host in hosts]
            assert len(set(bodies)) == len(hosts)


async def test_the_scheme_a_host_is_reached_by_is_part_of_the_key(edge_at, tmp_path: Path) -> None:
    """Plain and TLS: an origin that redirects the one to the other would be kept as a circle."""
    from ipaddress import ip_network

    trusted = (ip_network("192.0.2.0/24"),)
    async with edge_at(tmp_path, origin=Origin({b"*": echo}), trusted_proxies=trusted) as edge:
        client = await edge.client()
        plain = [await client.get("/"), await client.get("/")]
        coded = await client.get("/", X_Forwarded_Proto="https")

    assert b"hit" in plain[1].get(b"cache-status")
    assert b" http " in plain[1].body
    assert (b"hit" in coded.get(b"cache-status")) == (coded.body == plain[1].body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "GETX"])
async def test_a_methods_reply_is_not_anothers(edge_at, tmp_path: Path, method: str) -> None:
    async with edge_at(tmp_path, origin=Origin({b"*": echo})) as edge:
        asked = [(method, "0"), ("GET", ""), (method, "0"), ("GET", "")]
        got = []
        for name, length in asked:
            fields = {"Content_Length": length} if length else {}
            got.append(await (await edge.client()).get("/a", method=name, **fields))

    for (name, _), reply_ in zip(asked, got, strict=True):
        assert reply_.status >= 400 or reply_.body.startswith(name.encode() + b" ")
    assert 200 == got[1].status == got[3].status


async def test_a_coding_goes_to_who_can_read_it(edge_at, tmp_path: Path) -> None:
    """Whichever was asked for first; and an origin's own coded copy is told apart by its Vary."""
    text = reply(body=b"hello " * 200, content_type="text/plain", cache_control="max-age=60")
    async with edge_at(tmp_path, origin=Origin({b"*": text})) as edge:
        client = await edge.client()
        for accepted in ("gzip", "br", "identity", "zstd", "gzip;q=0", "br, gzip;q=0.1", "", "*;q=0"):
            for _ in range(2):
                got = await client.get("/", Accept_Encoding=accepted)
                coding = (got.get(b"content-encoding") or b"").decode()
                assert coding in accepted
                assert coding or got.body == b"hello " * 200
                assert "gzip;q=0" != accepted or coding == ""
                assert b"Accept-Encoding" in (got.get(b"vary") or b"")


WAYS = [
    "X-Forwarded-Host", "X-Forwarded-Scheme", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Forwarded-Port", "X-Forwarded-Prefix",
    "X-Forwarded-Path", "X-Forwarded-SSL", "X-Forwarded", "Forwarded", "Forwarded-For", "X-Forward-For", "X-Original-Forwarded-For",
    "X-Host", "X-Original-Host", "X-HTTP-Host-Override", "X-Backend-Host", "X-Original-URL", "X-Original-URI", "X-Original-Path",
    "X-Original-Prefix", "X-Original-Method", "X-Rewrite-URL", "X-Rewrite-URI", "X-Envoy-Original-Path", "Base-URL", "X-Proxy-URL",
    "X-HTTP-DestinationURL", "Front-End-Https", "X-URL-Scheme", "X-Scheme", "X-Original-Scheme", "X-Original-Proto", "X-Original-Port",
    "X-ARR-SSL", "WL-Proxy-SSL", "X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP",
    "Fastly-Client-IP", "X-Azure-ClientIP", "X-ProxyUser-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "WL-Proxy-Client-IP",
    "Proxy-Client-IP", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_Host", "X_Original_URL",
    "X_HTTP_Method_Override", "X_HTTP-Method",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_a_client_says_about_the_way_here_poisons_nothing(edge_at, tmp_path: Path, method: str) -> None:
    """Unkeyed input that many origins believe: the origin does not hear it, whoever asks first. None changes our own fields."""
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo}))) as edge:
        client = await edge.client()
        for number, name in enumerate(WAYS):
            asked = f"{method} /{number} HTTP/1.1\r\nHost: shop.example\r\nAccept: kind\r\n{name}: evil.example\r\n\r\n"
            await client.send(asked.encode())
            await client.reply(method)
            got = await client.get(f"/{number}")
            assert method == "HEAD" or b"hit" in got.get(b"cache-status"), name
            assert b"evil" not in got.body, name

    assert not any(b"evil" in value for asked in origin.asked for _, value in asked.headers)
    for asked in origin.asked:
        assert b"shop.example" == asked.get(b"x-forwarded-host") == asked.get(b"host")
    assert b"kind" == origin.asked[0].get(b"accept")  # what is no such claim is heard


async def test_another_method_is_meant_with_post_alone(edge_at, tmp_path: Path) -> None:
    """Honest clients say it there; with any other method, what was let in as one thing would be done as another."""
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo}))) as edge:
        client = await edge.client()
        for method in ("POST", "PUT", "OPTIONS", "PROPFIND", "GET"):
            await client.get("/a", method=method, Content_Length="0", X_HTTP_Method_Override="DELETE")

    heard = {asked.method: asked.get(b"x-http-method-override") for asked in origin.asked}
    assert {b"POST": b"DELETE", b"PUT": None, b"OPTIONS": None, b"PROPFIND": None, b"GET": None} == heard


async def test_a_trusted_proxys_word_about_the_way_here_is_heard(edge_at, tmp_path: Path) -> None:
    """But no proxy says another method of its own: that is its client's word, from whoever it comes."""
    from ipaddress import ip_network

    trusted = (ip_network("192.0.2.0/24"),)
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo})), trusted_proxies=trusted) as edge:
        await (await edge.client()).get("/a", X_Original_URL="/before", X_HTTP_Method_Override="DELETE")

    asked = origin.asked[0]
    assert (b"/before", None) == (asked.get(b"x-original-url"), asked.get(b"x-http-method-override"))
