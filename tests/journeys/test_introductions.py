"""Balancers that begin with a PROXY header: who they name is the client, everywhere, and nobody else is believed."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from edge.config.tree import Certificate, Config, Listener, OriginServer, Timeouts
from edge.config.tree import Origin as OriginConfig
from edge.message.proxy_protocol import NOWHERE, Ends, write_header
from edge.observe import names
from edge.tls.contexts import ContextStore
from edge.tls.selfsigned import Authority
from tests.kit.client import Client
from tests.kit.origin import Origin, reply

BALANCERS = (ip_network("192.0.2.0/24"),)  # every client of the house comes from 192.0.2.7
STRANGERS = (ip_network("10.0.0.0/8"),)
CLIENT = Ends("198.51.100.4", 51234, "203.0.113.9", 443)


def listener(networks=BALANCERS, *, tls: bool = False) -> Listener:
    return Listener("127.0.0.1:1", tls=tls, proxy_protocol_from=networks)


def shop() -> Origin:
    return Origin({b"*": reply(body=b"hello", cache_control="no-store")})


@pytest.mark.parametrize("version", [1, 2])
async def test_whom_a_balancer_names_is_the_client(edge_at, tmp_path: Path, version: int) -> None:
    """For the origin and the log; and it is he who must be trusted to be believed about others."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin, listeners=(listener(),), trusted_proxies=BALANCERS) as edge:
        client = await edge.client(preface=write_header(CLIENT, version))
        got = await client.get("/", X_Forwarded_For="1.2.3.4")
        again = await client.get("/")
        entries = await edge.settled(2)

    assert (200, 200) == (got.status, again.status)
    assert [b"198.51.100.4"] * 2 == [asked.get(b"x-forwarded-for") for asked in origin.asked]
    assert ["198.51.100.4"] * 2 == [entry[1] for entry in entries]


async def test_a_header_and_a_request_may_be_cut_anywhere(edge_at, tmp_path: Path) -> None:
    """Byte by byte, and both in one piece."""
    request = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    async with edge_at(tmp_path, origin=shop(), listeners=(listener(),)) as edge:
        for version in (1, 2):
            whole = await edge.client(preface=write_header(CLIENT, version) + request)
            crumbs = await edge.client()
            for byte in write_header(CLIENT, version) + request:
                await crumbs.send(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(5):
                assert 200 == (await whole.reply()).status
                assert 200 == (await crumbs.reply()).status
        entries = await edge.settled(4)

    assert {"198.51.100.4"} == {entry[1] for entry in entries}


async def test_the_header_comes_before_tls(edge_at, tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue(["shop.example"]).write(tmp_path / "shop")
    listeners = (listener(tls=True),)
    store = ContextStore.build(Config(listeners=listeners, certificates=(Certificate(chain, key),)))
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    async with edge_at(tmp_path / "cache", origin=shop(), listeners=listeners, tls=store) as edge:
        client = await edge.client(preface=write_header(CLIENT, 2), tls=trusting)
        got = await client.get("/")
        entries = await edge.settled(1)

    assert 200 == got.status
    assert ("198.51.100.4", "TLSv1.3") == entries[0][1:3]


async def test_who_speaks_for_itself_is_the_client(edge_at, tmp_path: Path) -> None:
    """A health check: LOCAL and UNKNOWN."""
    async with edge_at(tmp_path, origin=shop(), listeners=(listener(),)) as edge:
        for version in (1, 2):
            client = await edge.client(preface=write_header(NOWHERE, version))
            assert 200 == (await client.get("/")).status
        entries = await edge.settled(2)

    assert {"192.0.2.7"} == {entry[1] for entry in entries}


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 1.2.3.4 1 2\r\n", b"\x16\x03\x01"])
async def test_a_balancer_that_says_nothing_of_use_is_not_served(edge_at, tmp_path: Path, said: bytes, caplog) -> None:
    """Closed without a word, counted, and said once."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin, listeners=(listener(),)) as edge:
        for _ in range(2):
            client = await edge.client(preface=said)
            with trio.fail_after(5):
                assert b"" == await client.at_end()
        failed = edge.count(names.INTRODUCTIONS_FAILED)

    assert [] == origin.asked
    assert 2 == failed
    assert 1 == sum("did not begin with a PROXY header" in line for line in caplog.messages)


async def test_a_stranger_cannot_say_who_he_is(edge_at, tmp_path: Path) -> None:
    """To who is not listed a header is no request; without one he is served under his own address."""
    origin = shop()
    async with edge_at(tmp_path, origin=origin, listeners=(listener(STRANGERS),)) as edge:
        for version in (1, 2):
            liar = await edge.client(preface=write_header(CLIENT, version))
            await liar.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            with trio.fail_after(5):
                assert (await liar.reply()).status in {400, 505}
        plain = await edge.client()
        assert 200 == (await plain.get("/")).status
        entries = await edge.settled(3)

    assert {"192.0.2.7"} == {entry[1] for entry in entries}
    assert [b"192.0.2.7"] == [asked.get(b"x-forwarded-for") for asked in origin.asked]


async def test_a_balancer_that_says_nothing_has_a_deadline(edge_at, tmp_path: Path, autojump_clock) -> None:
    """Before the first byte, and half-way."""
    timeouts = Timeouts(handshake_s=3)
    async with edge_at(tmp_path, origin=shop(), listeners=(listener(),), timeouts=timeouts) as edge:
        silent = await edge.client()
        half = await edge.client(preface=b"PROXY TCP4 ")
        started = trio.current_time()
        assert b"" == await silent.at_end()
        assert b"" == await half.at_end()
        waited = trio.current_time() - started
        assert 2 == edge.count(names.TIMEOUTS["handshake"])

    assert 2.9 <= waited <= 6


async def test_a_balancer_that_looks_in_and_leaves_is_no_failure(edge_at, tmp_path: Path) -> None:
    async with edge_at(tmp_path, origin=shop(), listeners=(listener(),)) as edge:
        for said in (b"", b"PROXY "):
            client = await edge.client(preface=said)
            await client.aclose()
        with trio.fail_after(5):
            while edge.worker.fast.sessions:
                await trio.sleep(0.001)
        assert 0 == edge.count(names.INTRODUCTIONS_FAILED)


# -- and what we say ourselves ------------------------------------------------------------------------------


@pytest.fixture
async def introduced(nursery) -> Origin:
    """An origin that wants to be told."""
    made = Origin({b"*": reply(body=b"hello", cache_control="max-age=1, stale-while-revalidate=60")}, introduced=True)
    await nursery.start(made.serve)
    return made


def told(origin: Origin, version: str) -> dict[str, OriginConfig]:
    server = OriginServer(f"http://127.0.0.1:{origin.port}")
    return {"shop": OriginConfig("shop", (server,), proxy_protocol=version)}


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_origin_is_told_whose_connection_it_is(edge_at, tmp_path: Path, version: str, introduced) -> None:
    """Each client's connection has its own; whom a proxy of ours names counts, and his port is not known."""
    settings = {"origins": told(introduced, version), "trusted_proxies": (ip_network("198.51.100.4/32"),)}
    other = Ends("2001:db8::7", 7, "203.0.113.9", 443)
    async with edge_at(tmp_path, origin=introduced, listeners=(listener(),), **settings) as edge:
        first = await edge.client(preface=write_header(CLIENT, 2))
        second = await edge.client(preface=write_header(other, 2))
        with trio.fail_after(5):
            for path in ("/1", "/2"):
                assert 200 == (await first.get(path)).status
            assert 200 == (await second.get("/3")).status
            assert 200 == (await first.get("/4")).status
            assert 200 == (await first.get("/5", X_Forwarded_For="192.0.2.200")).status

    assert [1, 1, 2, 1, 3] == [asked.connection for asked in introduced.asked]
    assert [CLIENT, CLIENT, other, CLIENT, Ends("192.0.2.200", 0, *CLIENT[2:])] == [
        asked.ends for asked in introduced.asked
    ]


async def test_the_ends_are_the_sockets_where_nobody_says_otherwise(edge_at, tmp_path: Path, introduced) -> None:
    """Over TCP: the client's own address and port, and ours."""
    async with edge_at(tmp_path, origin=introduced, origins=told(introduced, "v2")) as edge:
        [accepting] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with accepting, await trio.open_tcp_stream(*accepting.socket.getsockname()) as stream:
            accepted, address = await accepting.socket.accept()
            door = edge.worker.doors.plain(edge.listener)
            edge.worker.fast.admit(socket.socket(fileno=accepted.detach()), address[0], door)
            assert 200 == (await Client(stream).get("/")).status
            expected = Ends(*stream.socket.getsockname(), *accepting.socket.getsockname())

    assert [expected] == [asked.ends for asked in introduced.asked]


async def test_what_nobody_waits_for_is_asked_for_ourselves(
    edge_at, tmp_path: Path, introduced, autojump_clock
) -> None:
    """A refresh behind a stale copy."""
    async with edge_at(tmp_path, origin=introduced, listeners=(listener(),), origins=told(introduced, "v2")) as edge:
        client = await edge.client(preface=write_header(CLIENT, 2))
        await client.get("/")
        await trio.sleep(2)
        assert b"hello" == (await client.get("/")).body
        with trio.fail_after(5):
            while len(introduced.asked) < 2:
                await trio.sleep(0.001)

    assert [CLIENT, NOWHERE] == [asked.ends for asked in introduced.asked]
