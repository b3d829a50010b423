"""
The attacks on other proxies and servers that were published since 2021, tried on us: one test per CVE, named by it.

Each row is what made it one elsewhere, in the shape in which it would reach an HTTP/1 edge. Either it is refused and
nothing behind it is heard, or it is one harmless request, and h11 as the origin hears exactly that. What needs a whole worker
(replies, caches, connections that go on) is a function of its own at the end.

Left out are flaws of HTTP/2, HTTP/3 and other protocols that the edge does not speak, and crashes in C.
Source: the CVE records, the projects' advisories, and the HTTP Garden's list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edge.config.tree import Listener, Timeouts
from edge.http.h1.chunked import LINE_BYTES
from tests.fuzz.test_http1_smuggling import expect_refusal, what_an_origin_hears
from tests.http.talk import GET, hear_replies, hear_requests, server
from tests.kit.client import Gone
from tests.kit.counts import tried
from tests.kit.house import house
from tests.kit.origin import Asked, Origin, Wire, reply

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"

# fmt: off
REFUSED: dict[str, tuple[str, bytes]] = {
    "CVE-2021-22959": ("llhttp: a space before the colon", POST + b"Content-Length : 5\r\n\r\nhello"),
    "CVE-2021-22960": ("llhttp: what stands in chunk extensions", CHUNKED + b"1;a\nb\r\nx\r\n" + LAST),
    "CVE-2021-27577": ("Traffic Server: a fragment, poisoning the cache", b"GET /x#/y HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CVE-2021-32565": ("Traffic Server: values of Content-Length", POST + b"Content-Length: 5x\r\n\r\nhello"),
    "CVE-2021-32714": ("hyper: a chunk size beyond 64 bits", CHUNKED + b"f0000000000000003\r\nabc\r\n" + LAST),
    "CVE-2021-32715": ("hyper: a plus in Content-Length", POST + b"Content-Length: +3\r\n\r\nabc"),
    "CVE-2021-32779": ("Envoy: a fragment, past a rule about paths", b"GET /admin#/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CVE-2021-33037": (
        "Tomcat: identity beside chunked",
        POST + b"Transfer-Encoding: identity, chunked\r\n\r\n" + LAST,
    ),
    "CVE-2021-33193": (
        "httpd: a method that holds a request line",
        b"GET /admin HTTP/1.1 / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "CVE-2021-37147": ("Traffic Server: lines ended by LF", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    "CVE-2021-37148": ("Traffic Server: the size line of a chunk", CHUNKED + b"1 x\r\ny\r\n" + LAST),
    "CVE-2021-37149": (
        "Traffic Server: white space about a field's name",
        POST + b" Transfer-Encoding: chunked\r\n\r\n" + LAST,
    ),
    "CVE-2021-38512": (
        "actix: an empty Transfer-Encoding beside a length",
        POST + b"Transfer-Encoding: \r\nContent-Length: 3\r\n\r\nabc",
    ),
    "CVE-2021-39214": (
        "mitmproxy: a coding behind a vertical tab",
        POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + LAST,
    ),
    "CVE-2021-41136": ("Puma: LF inside a value", POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + LAST),
    "CVE-2021-43797": (
        "Netty: control bytes at a name's ends",
        POST + b"\x01Transfer-Encoding: chunked\r\n\r\n" + LAST,
    ),
    "CVE-2022-1705": (
        "Go: a coding that is not quite chunked",
        POST + b"Transfer-Encoding: \x01chunked\r\n\r\n" + LAST,
    ),
    "CVE-2022-22720": ("httpd: going on after a body that is not one", CHUNKED + b"zz\r\n" + GET),
    "CVE-2022-24761": ("waitress: 0x in a chunk's size", CHUNKED + b"0x1\r\nx\r\n" + LAST),
    "CVE-2022-24766": ("mitmproxy: a space before a field's name", POST + b" Content-Length: 5\r\n\r\nhello"),
    "CVE-2022-24790": (
        "Puma: chunked that is not the last coding",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST,
    ),
    "CVE-2022-24801": ("Twisted: signs and prefixes in lengths", CHUNKED + b"+1\r\nx\r\n" + LAST),
    "CVE-2022-26377": ("httpd, AJP: a coding twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST),
    "CVE-2022-28129": ("Traffic Server: field lines that are none", b"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n"),
    "CVE-2022-31081": (
        "HTTP::Daemon: lengths that differ",
        POST + b"Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello",
    ),
    "CVE-2022-31778": (
        "Traffic Server: Transfer-Encoding, poisoning the cache",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + LAST,
    ),
    "CVE-2022-32213": (
        "llhttp: a coding that begins like chunked",
        POST + b"Transfer-Encoding: chunkedx\r\n\r\n" + LAST,
    ),
    "CVE-2022-32214": ("llhttp: lines not ended by CRLF", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n"),
    "CVE-2022-32215": (
        "llhttp: a coding in two lines",
        POST + b"Transfer-Encoding: chunked\r\n , identity\r\n\r\n" + LAST,
    ),
    "CVE-2022-35256": (
        "llhttp: fields not ended by CRLF",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\nGET /evil HTTP/1.1\r\n\r\n",
    ),
    "CVE-2022-36760": ("httpd, AJP: a coding in disguise", POST + b"Transfer-Encoding: chunked\x0c\r\n\r\n" + LAST),
    "CVE-2022-42252": ("Tomcat: a length that is none is ignored", POST + b"Content-Length: a\r\n\r\nhello"),
    "CVE-2022-45059": (
        "Varnish: Connection names Content-Length",
        POST + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello",
    ),
    "CVE-2023-25725": (
        "HAProxy: a field without a name",
        b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\nContent-Length: 5\r\n\r\nhello",
    ),
    "CVE-2023-29406": ("Go: what is no host in Host", b"GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n"),
    "CVE-2023-30589": (
        "llhttp: CR alone between fields",
        b"GET / HTTP/1.1\r\nHost: a\rTransfer-Encoding: chunked\r\n\r\n",
    ),
    "CVE-2023-37276": ("aiohttp: a CR before a coding", POST + b"X: \rTransfer-Encoding: chunked\r\n\r\n" + LAST),
    "CVE-2023-38697": ("protocol-http1: a chunk size with a sign", CHUNKED + b"-1\r\n" + LAST),
    "CVE-2023-40167": ("Jetty: a plus before a length", POST + b"Content-Length: +5\r\n\r\nhello"),
    "CVE-2023-40175": ("Puma: an empty length", POST + b"Content-Length: \r\n\r\nhello"),
    "CVE-2023-40225": (
        "HAProxy: an empty length before another",
        POST + b"Content-Length:\r\nContent-Length: 5\r\n\r\nhello",
    ),
    "CVE-2023-40518": ("OpenLiteSpeed: white space behind a name", POST + b"Content-Length\t: 5\r\n\r\nhello"),
    "CVE-2023-45539": (
        "HAProxy: a fragment, past a rule about suffixes",
        b"GET /index.html#.png HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "CVE-2023-45648": ("Tomcat: a trailer that is none", CHUNKED + b"0\r\nGET /evil HTTP/1.1\r\n\r\n"),
    "CVE-2023-46589": ("Tomcat: trailers without end", CHUNKED + b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n"),
    "CVE-2023-46846": ("Squid: a lenient reader of chunks", CHUNKED + b"1\r\nx\n0\r\n\r\n"),
    "CVE-2023-47627": ("aiohttp: underscores in numbers", CHUNKED + b"0_2e\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    "CVE-2023-47641": (
        "aiohttp: a length and a coding",
        POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    "CVE-2023-49081": ("aiohttp: what stands in the version", b"GET / HTTP/1.1 X: y\r\nHost: a\r\n\r\n"),
    "CVE-2023-49082": ("aiohttp: what stands in the method", b"GET\rX: y / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CVE-2024-1135": (
        "gunicorn: two codings, one of them wrong",
        POST + b"Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    ),
    "CVE-2024-6827": (
        "gunicorn: a coding in capitals that is none",
        POST + b"Transfer-Encoding: GZIP, CHUNKED, X\r\nContent-Length: 5\r\n\r\nhello",
    ),
    "CVE-2024-21647": (
        "Puma: extensions without end",
        CHUNKED + (b"1;" + b"x" * (LINE_BYTES + 1) + b"\r\ny\r\n") + LAST,
    ),
    "CVE-2024-22019": ("Node: extensions without end, read for ever", CHUNKED + b"1;" + b"x" * 20_000),
    "CVE-2024-23829": ("aiohttp: names and versions that are none", b"GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n"),
    "CVE-2024-27982": ("Node: a space before Content-Length", POST + b" Content-Length: 5\r\nX: y\r\n\r\nhello"),
    "CVE-2024-35161": ("Traffic Server: malformed trailers passed on", CHUNKED + b"0\r\nX : y\r\n\r\n"),
    "CVE-2024-47220": (
        "WEBrick: a coding and a length",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST + GET,
    ),
    "CVE-2024-49768": ("waitress: the request behind a bad one", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET),
    "CVE-2024-52304": ("aiohttp: LF in extensions", CHUNKED + b"1;\nx\r\ny\r\n" + LAST),
    "CVE-2024-52530": ("libsoup: NUL behind a name", POST + b"Transfer-Encoding\x00: chunked\r\n\r\n" + LAST),
    "CVE-2024-53008": (
        "HAProxy: a target without a path, past a rule about paths",
        b"GET admin HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "CVE-2024-53868": ("Traffic Server: malformed chunks passed on", CHUNKED + b"1\r\nxy\r\n" + LAST),
    "CVE-2025-22871": ("Go: LF behind a chunk's size", CHUNKED + b"1\nx\r\n" + LAST),
    "CVE-2025-23167": ("llhttp: a head ended by CR LF CR", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"),
    "CVE-2025-30346": (
        "Varnish: a connection kept after a refusal",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n" + GET,
    ),
    "CVE-2025-43859": ("h11: any two bytes behind a chunk", CHUNKED + b"1\r\nxAB0\r\n\r\n"),
    "CVE-2025-47905": ("Varnish: a chunk not followed by CRLF", CHUNKED + b"5\r\nhello0\r\n\r\n"),
    "CVE-2025-53643": ("aiohttp: trailers read as the next request", CHUNKED + b"0\r\nHost : b\r\n\r\n"),
    "CVE-2025-55315": ("Kestrel: CR alone in extensions", CHUNKED + b"1;\rx\r\ny\r\n" + LAST),
    "CVE-2025-58056": ("Netty: LF ends an extension", CHUNKED + b"1;a\nx\r\n" + LAST),
    "CVE-2025-64763": ("Envoy: bytes behind CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + GET),
    "CVE-2025-69224": ("aiohttp: digits of another script", POST + "Content-Length: ٥\r\n\r\nhello".encode()),
    "CVE-2026-2835": (
        "Pingora: a coding in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    ),
    "CVE-2026-34525": ("aiohttp: several Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
}
# fmt: on

# fmt: off
ONE_REQUEST: dict[str, tuple[str, bytes, bytes, bytes]] = {
    "CVE-2021-29492": (
        "Envoy: escaped slashes are decoded",
        b"GET /a%2F..%5Cadmin HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/a%2F..%5Cadmin",
        b"",
    ),
    "CVE-2021-40346": (
        "HAProxy: a name so long that its length overflows",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length0" + b"a" * 255 + b":\r\nContent-Length: 5\r\n\r\nhello",
        b"/",
        b"hello",
    ),
    "CVE-2021-40438": (
        "httpd: a target that names a socket",
        b"GET /?unix:" + b"A" * 5000 + b"|http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/?unix:" + b"A" * 5000 + b"|http://evil/",
        b"",
    ),
    "CVE-2022-2880": (
        "Go: a query that cannot be read is dropped or changed",
        b"GET /?a=%x&b;c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/?a=%x&b;c",
        b"",
    ),
    "CVE-2023-25690": (
        "httpd: escaped line ends in a target become line ends",
        b"GET /x%20HTTP/1.1%0d%0aHost:%20b%0d%0a%0d%0aGET%20/evil HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/x%20HTTP/1.1%0d%0aHost:%20b%0d%0a%0d%0aGET%20/evil",
        b"",
    ),
    "CVE-2024-25111": (
        "Squid: chunks without end, read by recursion",
        CHUNKED + b"1\r\nx\r\n" * 20_000 + LAST,
        b"/",
        b"x" * 20_000,
    ),
    "CVE-2025-12642": (
        "lighttpd: trailers become fields",
        CHUNKED + b"1\r\nx\r\n0\r\nHost: b\r\nContent-Length: 9\r\n\r\n",
        b"/",
        b"x",
    ),
}
# fmt: on

# fmt: off
BAD_REPLY: dict[str, tuple[str, bytes]] = {
    "CVE-2022-37436": (
        "httpd: an origin's bad field ends its head early",
        b"HTTP/1.1 200 OK\r\nX\x01: y\r\nSet-Cookie: a\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "CVE-2023-27522": (
        "httpd: an origin's field with bytes that split the reply",
        b"HTTP/1.1 200 OK\r\nX: y\nSet-Cookie: a\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "CVE-2023-38709": (
        "httpd: an origin's reason with bytes that split the reply",
        b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "CVE-2024-24795": (
        "httpd: an origin's reply with a length and a coding",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "CVE-2024-42516": (
        "httpd: an origin's Content-Type splits the reply",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\tX: y\rZ\r\nContent-Length: 2\r\n\r\nhi",
    ),
}
# fmt: on


@pytest.mark.parametrize(("what", "wire"), REFUSED.values(), ids=REFUSED.keys())
def test_a_published_attack_is_refused(what: str, wire: bytes) -> None:
    """Said once; nothing behind it is heard, however it is cut."""
    expect_refusal(wire)
    tried("published attacks", refused=1)


@pytest.mark.parametrize(("what", "wire", "target", "body"), ONE_REQUEST.values(), ids=ONE_REQUEST.keys())
def test_a_published_attack_is_one_harmless_request(what: str, wire: bytes, target: bytes, body: bytes) -> None:
    """For us, and for an origin that gets what we send on."""
    heard = hear_requests(server(), wire + GET)

    assert [target, b"/"] == [event[3] for event in heard if event[0] == "request"]
    assert [(wire.split(b" ")[0], body)] == what_an_origin_hears(heard)
    tried("published attacks", harmless=1)


@pytest.mark.parametrize(("what", "wire"), BAD_REPLY.values(), ids=BAD_REPLY.keys())
def test_a_published_splitting_of_replies_is_a_fault_of_its_origin(what: str, wire: bytes) -> None:
    heard, conn = hear_replies(wire)

    assert [("fault", "http_protocol_error")] == heard
    assert not conn.reusable
    tried("published attacks", refused=1)


# -- with a whole worker ---------------------------------------------------------------------------------------


KEPT = reply(body=b"kept", cache_control="max-age=60")
BYE = b"GET /bye HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: shop.example\r\n\r\n"


async def asked_with(edge: Any, wire: bytes) -> list[tuple[int, bytes]]:
    """Send bytes and a farewell on one connection; return all replies until the edge closes."""
    client = await edge.client()
    await client.send(wire + BYE)
    got = []
    with trio.fail_after(10):
        while True:
            try:
                one = await client.reply()
            except Gone:
                break
            got.append((one.status, one.body))
    tried("published attacks", refused_or_harmless_in_a_whole_worker=1)
    return got


async def test_cve_2025_4366_pingora_a_hit_leaves_its_requests_body_on_the_connection(tmp_path: Path) -> None:
    """The body of a GET that the cache answers is no request; Varnish had the like for its own replies (CVE-2022-23959)."""
    origin = Origin({b"/kept": KEPT, b"/bye": KEPT})
    async with house(tmp_path, origin=origin) as edge:
        client = await edge.client()
        assert 200 == (await client.get("/kept")).status
        head = b"GET /kept HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n" % len(EVIL)
        got = await asked_with(edge, head + EVIL + head + EVIL)

    assert [(200, b"kept")] * 3 == got
    assert b"/evil" not in origin.paths()


async def test_cve_2022_23959_varnish_a_reply_of_our_own_leaves_the_body_on_the_connection(tmp_path: Path) -> None:
    origin = Origin({b"/evil": KEPT})
    door = Listener("127.0.0.1:0", redirect="https")
    async with house(tmp_path, origin=origin, listeners=(door,)) as edge:
        head = b"POST /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n" % len(EVIL)
        got = await asked_with(edge, (head + EVIL) * 2)

    assert [308] * 3 == [status for status, _ in got]
    assert [] == origin.paths()


@pytest.mark.parametrize("cve", ["CVE-2026-2833", "CVE-2024-23326"])
async def test_what_follows_an_upgrade_that_was_not_granted_is_no_tunnel(cve: str, tmp_path: Path) -> None:
    """Pingora carried it before the 101, Envoy after a 200."""
    seen = b""

    async def decline(_: Asked, wire: Wire) -> None:
        nonlocal seen
        await wire.send(reply(body=b"no", connection="close" if cve == "CVE-2024-23326" else "keep-alive"))
        with trio.move_on_after(0.2):
            seen += await wire.stream.receive_some(65536)

    async with house(tmp_path, origin=Origin({b"/ws": decline, b"*": KEPT})) as edge:
        upgrade = b"GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        got = await asked_with(edge, upgrade + EVIL)

    assert got[0] == (200, b"no")
    assert got[1:] in ([], [(200, b"kept")] * 2)  # closed, or heard as the request it is, by us
    assert b"" == seen


async def test_cve_2026_2836_pingora_the_key_is_the_path_alone(tmp_path: Path) -> None:
    """Two hosts, one path: each gets its own."""

    async def by_host(asked: Asked, wire: Wire) -> None:
        await wire.send(reply(body=asked.get(b"host") or b"", cache_control="max-age=60"))

    async with house(tmp_path, origin=Origin({b"*": by_host})) as edge:
        client = await edge.client()
        got = [(await client.get("/", host=host)).body for host in ("a.example", "b.example", "a.example")]
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    assert [b"a.example", b"b.example", b"a.example"] == got


@pytest.mark.parametrize("cve", ["CVE-2022-31813", "CVE-2024-45410", "CVE-2022-32148"])
async def test_a_client_cannot_take_away_what_the_origin_is_told_of_it(cve: str, tmp_path: Path) -> None:
    """httpd and Traefik dropped what they had added when Connection named it; Go could be made to send none."""
    origin = Origin({b"*": reply(body=b"x")})
    async with house(tmp_path, origin=origin) as edge:
        client = await edge.client()
        fields = {
            "CVE-2022-31813": {"Connection": "close, X-Forwarded-For, X-Forwarded-Host"},
            "CVE-2024-45410": {"Connection": "X-Forwarded-Proto, X-Forwarded-For"},
            "CVE-2022-32148": {"X-Forwarded-For": ""},
        }[cve]
        await client.get("/", **fields)
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    asked = origin.asked[0]
    assert (b"192.0.2.7", b"http", b"shop.example") == (
        asked.get(b"x-forwarded-for"),
        asked.get(b"x-forwarded-proto"),
        asked.get(b"x-forwarded-host"),
    )


@pytest.mark.parametrize("cve", ["CVE-2023-27487", "CVE-2024-45806"])
async def test_a_client_is_not_taken_for_a_proxy(cve: str, tmp_path: Path) -> None:
    """Envoy believed fields that only its own kind should send."""
    origin = Origin({b"*": reply(body=b"x")})
    async with house(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get(
            "/", **{"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
        )
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    asked = origin.asked[0]
    assert b"192.0.2.7" == asked.get(b"x-forwarded-for")
    assert asked.get(b"x-real-ip") is None
    assert asked.get(b"forwarded") is None


async def test_cve_2024_35296_traffic_server_an_odd_accept_encoding_passes_the_cache_by(tmp_path: Path) -> None:
    origin = Origin({b"/kept": KEPT})
    async with house(tmp_path, origin=origin) as edge:
        client = await edge.client()
        for odd in ("gzip", ";q=,,", "\x80\xff", "*;q=x", "gzip" * 200, ""):
            assert b"kept" == (await client.get("/kept", Accept_Encoding=odd)).body
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    assert [b"/kept"] == origin.paths()


async def test_cve_2026_33555_haproxy_a_body_cut_short_is_filled_with_the_next_request(tmp_path: Path) -> None:
    """The connection to the origin on which a body is owed is never used again."""
    origin = Origin({b"*": reply(body=b"x")})
    async with house(tmp_path, origin=origin, timeouts=Timeouts(body_s=1.0)) as edge:
        client = await edge.client()
        await client.send(b"POST /short HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100\r\n\r\nabc")
        with trio.fail_after(5):
            while not origin.asked:
                await trio.sleep(0.005)
        await client.aclose()
        other = await edge.client()
        got = await other.get("/next")
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    assert (200, b"x") == (got.status, got.body)
    assert [1, 2] == [asked.connection for asked in origin.asked]
    assert b"abc" == origin.asked[0].body


async def test_cve_2024_24791_go_a_final_reply_to_a_body_held_back_leaves_the_connection_in_doubt(
    tmp_path: Path,
) -> None:
    """The origin says no instead of 100; whatever the client then sends is a body to nobody."""
    seen: list[bytes] = []

    async def refuse(_: Asked, wire: Wire) -> None:
        await wire.send(reply(413, body=b"no"))
        with trio.move_on_after(0.2):
            seen.append(await wire.stream.receive_some(65536))

    origin = Origin({b"/up": refuse, b"*": KEPT}, read_body=False)
    async with house(tmp_path, origin=origin) as edge:
        head = b"POST /up HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(
            EVIL
        )
        client = await edge.client()
        await client.send(head)
        got = await client.reply("POST")
        with trio.move_on_after(0.5):
            try:
                await client.send(EVIL + EVIL)
                await client.reply()
            except (Gone, trio.BrokenResourceError):
                pass
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    assert 413 == got.status
    assert not [data for data in seen if data]
    assert b"/evil" not in origin.paths()


@pytest.mark.parametrize("cve", ["CVE-2023-46137", "CVE-2024-41671"])
async def test_replies_leave_in_the_order_of_their_requests(cve: str, tmp_path: Path) -> None:
    """Twisted answered pipelined requests out of order, each other's to each other."""
    first = trio.Event()

    async def slowly(_: Asked, wire: Wire) -> None:
        await first.wait()
        await wire.send(reply(body=b"first", cache_control="no-store"))

    async with house(tmp_path, origin=Origin({b"/1": slowly, b"*": KEPT})) as edge:
        warm = await edge.client()
        await warm.get("/2")
        client = await edge.client()
        await client.send(EVIL.replace(b"/evil", b"/1") + EVIL.replace(b"/evil", b"/2"))
        await trio.testing.wait_all_tasks_blocked(0.05)
        first.set()
        got = [(await client.reply()).body for _ in range(2)]
        tried("published attacks", refused_or_harmless_in_a_whole_worker=1)

    assert [b"first", b"kept"] == got


def test_every_attack_is_named_once() -> None:
    """And there are enough of them to speak of."""
    names = [*REFUSED, *ONE_REQUEST, *BAD_REPLY]

    assert len(names) == len(set(names)) > 80
    assert all(name.startswith("CVE-20") for name in names)
