"""The front door: names, guards, what is not TLS, and who takes too long about it."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edge.config.tree import Certificate, Config, Listener, Timeouts
from edge.observe import names
from edge.tls.contexts import ContextStore
from edge.tls.selfsigned import Authority
from tests.kit.client import Gone
from tests.kit.origin import Origin, reply

AUTHORITY = Authority()
CLIENTS = Authority("Clients")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificate, ...]:
    """A default, a wildcard, and one that asks clients for a certificate of theirs."""
    folder = tmp_path_factory.mktemp("certs")
    made = []
    ca = folder / "clients.pem"
    ca.write_bytes(CLIENTS.pem)
    for name in ("shop.example", "*.tenants.example", "guarded.example"):
        chain, key = AUTHORITY.issue([name]).write(folder / name.replace("*", "any"))
        guard = {"client_ca": ca, "client_verify": "required"} if name == "guarded.example" else {}
        made.append(Certificate(chain, key, **guard))
    return tuple(made)


@asynccontextmanager
async def tls_house(edge_at, tmp_path: Path, certificates: tuple[Certificate, ...], **changes):
    origin = Origin({b"*": reply(body=b"hello", cache_control="max-age=60", content_type="text/plain")})
    listeners = (Listener("127.0.0.1:1", tls=True),)
    store = ContextStore.build(Config(listeners=listeners, certificates=certificates))
    async with edge_at(tmp_path, origin=origin, tls=store, listeners=listeners, **changes) as edge:
        yield edge


def trusting(*, certificate: tuple[Path, Path] | None = None, alpn: list[str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    if certificate is not None:
        context.load_cert_chain(*certificate)
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    return context


async def test_each_name_gets_its_own_certificate(edge_at, tmp_path: Path, certificates) -> None:
    """Verified by the client, hits and misses alike."""
    async with tls_house(edge_at, tmp_path, certificates) as edge:
        for name in ("shop.example", "a.tenants.example"):
            client = await edge.client(tls=trusting(alpn=["h2", "http/1.1"]), name=name)
            got = [await client.get("/", host=name) for _ in range(2)]
            assert [200, 200] == [one.status for one in got]
            assert b"hit" in got[1].get(b"cache-status")
            assert "http/1.1" == client.stream.selected_alpn_protocol()
        with pytest.raises(trio.BrokenResourceError) as refused:
            await edge.client(tls=trusting(), name="a.b.tenants.example")
        entries = await edge.settled(4)

    assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
    assert {"TLSv1.3"} == {entry[2] for entry in entries}


async def test_a_guarded_host_is_not_reached_by_naming_another(edge_at, tmp_path: Path, certificates) -> None:
    """421 through an open name; served to who shows a certificate."""
    chain, key = CLIENTS.issue(["somebody"], for_client=True).write(tmp_path / "somebody")
    async with tls_house(edge_at, tmp_path / "cache", certificates) as edge:
        sneak = await edge.client(tls=trusting(), name="shop.example")
        refused = await sneak.get("/", host="guarded.example")
        open_one = await sneak.get("/", host="shop.example")
        nobody = await edge.client(tls=trusting(), name="guarded.example")
        with pytest.raises((Gone, trio.BrokenResourceError)):
            await nobody.get("/", host="guarded.example")
        somebody = await edge.client(tls=trusting(certificate=(chain, key)), name="guarded.example")
        served = await somebody.get("/", host="guarded.example")

    assert (421, 200, 200) == (refused.status, open_one.status, served.status)


async def test_plain_http_on_the_tls_port_is_told_so(edge_at, tmp_path: Path, certificates) -> None:
    """In its own words; garbage is closed; both are counted, neither hurts."""
    async with tls_house(edge_at, tmp_path, certificates) as edge:
        with trio.fail_after(5):
            http = await edge.client()
            await http.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            told = await http.reply()
            garbage = await edge.client()
            await garbage.send(b"\x00\x01\x02garbage")
            assert b"" == await garbage.at_end()
        failed = edge.count(names.HANDSHAKES_FAILED)

    assert 400 == told.status
    assert b"HTTPS" in told.body
    assert 2 == failed


async def test_a_client_that_speaks_nothing_of_ours_is_refused(edge_at, tmp_path: Path, certificates) -> None:
    """RFC 7301 §3.2: an alert, not another protocol by accident."""
    async with tls_house(edge_at, tmp_path, certificates) as edge:
        with pytest.raises(trio.BrokenResourceError) as refused:
            await edge.client(tls=trusting(alpn=["imap"]))

    assert "no application protocol" in str(refused.value.__cause__).replace("_", " ").lower()


async def test_a_handshake_has_a_deadline(edge_at, tmp_path: Path, certificates, autojump_clock) -> None:
    """Before the first byte, and half-way."""
    async with tls_house(edge_at, tmp_path, certificates, timeouts=Timeouts(handshake_s=3)) as edge:
        silent = await edge.client()
        half = await edge.client()
        await half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        started = trio.current_time()
        assert b"" == await silent.at_end()
        assert b"" == await half.at_end()
        waited = trio.current_time() - started
        counted = edge.count(names.TIMEOUTS["handshake"])

    assert 2.9 <= waited <= 6
    assert 2 == counted


async def test_a_long_reply_goes_through_tls_whole(edge_at, tmp_path: Path, certificates) -> None:
    """From the origin, from the store, and from memory; to a reader that takes small sips."""
    body = bytes(range(256)) * 3000
    async with tls_house(edge_at, tmp_path, certificates) as edge:
        edge.origin.pages[b"*"] = reply(body=body, cache_control="max-age=60", content_type="image/png")
        with trio.fail_after(20):
            for _ in range(3):
                client = await edge.client(tls=trusting(), buffer=8192)
                got = await client.get("/big")
                assert body == got.body
