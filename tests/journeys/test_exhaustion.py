"""What a client can do to use a worker up without breaking a rule: crumbs, floods of fields, bombs, and keys that collide."""

from __future__ import annotations

import gzip
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from edge.cache.key import key_hash, key_of
from edge.config.tree import Certificate, Config, Limits, Listener, Timeouts
from edge.observe import names
from edge.tls.contexts import ContextStore
from edge.tls.selfsigned import Authority
from tests.kit.client import Client
from tests.kit.house import House, house
from tests.kit.origin import Asked, Origin, Wire, reply


async def echo(asked: Asked, wire: Wire) -> None:
    await wire.send(reply(body=asked.target + b" " + asked.body, cache_control="max-age=60"))


@pytest.fixture
def tls(tmp_path: Path):
    """A listener that speaks TLS, what it speaks with, and a client's context that believes it."""
    authority = Authority()
    authority.issue(("shop.example",)).write(tmp_path / "certs")
    listener = Listener("127.0.0.1:0", tls=True)
    certificate = Certificate(tmp_path / "certs/fullchain.pem", tmp_path / "certs/privkey.pem")
    store = ContextStore.build(Config(listeners=(listener,), certificates=(certificate,)))
    return listener, store, ssl.create_default_context(cadata=authority.pem.decode())


async def test_a_request_in_records_of_one_byte_is_heard_and_costs_no_more_than_its_time(tmp_path: Path, tls) -> None:
    """Each byte has a record, and a write of its own; another client is served in between."""
    listener, store, trust = tls
    async with house(tmp_path / "cache", origin=Origin({b"*": echo}), tls=store, listeners=(listener,)) as edge:
        crumbs, other = await edge.client(tls=trust), await edge.client(tls=trust)
        for byte in b"GET /crumbs HTTP/1.1\r\nHost: shop.example\r\nX: " + b"y" * 400 + b"\r\n\r\n":
            await crumbs.send(bytes([byte]))
        between = await other.get("/other")
        got = await crumbs.reply()

    assert (200, b"/crumbs ") == (got.status, got.body)
    assert 200 == between.status


async def drip(client: Client) -> None:
    """A head that never ends, a byte a second."""
    await client.send(b"GET / HTTP/1.1\r\nX-Slow: ")
    while True:
        await client.send(b"a")
        await trio.sleep(1)


async def test_records_without_end_run_into_the_deadline_of_a_head(tmp_path: Path, tls, autojump_clock) -> None:
    """One byte a second is no progress: the head as a whole has its time."""
    listener, store, trust = tls
    async with house(
        tmp_path / "cache", origin=Origin(), tls=store, listeners=(listener,), timeouts=Timeouts(head_s=5)
    ) as edge:
        client = await edge.client(tls=trust)
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)), trio.fail_after(60):
            await drip(client)
        assert 1 == edge.count(names.TIMEOUTS["head"])
        assert not edge.worker.fast.sessions


@pytest.mark.parametrize(
    "lines",
    [
        [*(b"X-%d: 1" % number for number in range(101)), b""],
        [b"Cookie: " + b"a=b; " * 8000],
        [b"Cookie: " + b"a" * 40_000],
        [b"X" * 40_000 + b": 1"],
        [*[b"Cookie: a=b"] * 101, b""],
    ],
    ids=["fields", "cookies", "one cookie", "a name", "cookie lines"],
)
async def test_floods_of_fields_are_refused(edge_at, tmp_path: Path, lines: list[bytes]) -> None:
    """431, by length before the head has ended; nothing reaches the origin, and the next client is served."""
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo}))) as edge:
        client = await edge.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n" + b"\r\n".join(lines) + b"\r\n")
        got = await client.reply()
        assert 200 == (await (await edge.client()).get("/next")).status

    assert 431 == got.status
    assert [b"/next"] == origin.paths()


async def test_as_many_cookies_as_fit_are_carried(edge_at, tmp_path: Path) -> None:
    cookies = "; ".join(f"c{number}={number}" for number in range(2000))
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo})), limits=Limits()) as edge:
        with trio.fail_after(5):
            got = await (await edge.client()).get("/", Cookie=cookies)

    assert 200 == got.status
    assert cookies.encode() == origin.asked[0].get(b"cookie")


async def test_a_bomb_in_a_requests_body_is_passed_on_unopened(edge_at, tmp_path: Path) -> None:
    """A hundred MiB in a hundred KiB: what it costs us is the hundred KiB."""
    bomb = gzip.compress(bytes(100 << 20), 9)
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": reply(body=b"thanks")}))) as edge:
        client = await edge.client()
        await client.send(
            b"POST /bomb HTTP/1.1\r\nHost: shop.example\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            % len(bomb)
            + bomb
        )
        got = await client.reply("POST")

    assert 200 == got.status
    assert bomb == origin.asked[0].body
    assert b"gzip" == origin.asked[0].get(b"content-encoding")


def colliding(edge: House, count: int) -> list[str]:
    """Addresses that share a stamp, and a word of the smaller pages, with the first: found by trying, as anybody can."""
    mask = edge.worker.heritage.stamps.mask
    first = key_hash(key_of(b"http", b"shop.example", b"/0")) & mask
    found, number = ["/0"], 0
    while len(found) < count:
        number += 1
        if key_hash(key_of(b"http", b"shop.example", b"/%d" % number)) & mask == first:
            found.append(f"/{number}")
    return found


async def test_addresses_whose_hashes_collide_are_slower_and_never_mixed_up(edge_at, tmp_path: Path) -> None:
    """Our shared pages are indexed by a hash that anybody can work out: what shares a word costs a look into the store, no more."""
    async with edge_at(tmp_path, origin=(origin := Origin({b"*": echo}))) as edge:
        client: Client = await edge.client()
        paths = colliding(edge, 12)
        for _ in range(3):
            assert [path.encode() + b" " for path in paths] == [(await client.get(path)).body for path in paths]
        again = [(await client.get(path)).get(b"cache-status") for path in paths]

    assert all(said.startswith(b"edge; hit") for said in again)
    assert len(origin.asked) == len(paths)


def test_what_a_client_sends_is_hashed_with_a_key_of_the_process() -> None:
    """Names of fields and paths are keys of dictionaries: without a key anybody could make them all collide."""
    ask = [sys.executable, "-c", "import sys; print(sys.flags.hash_randomization, hash(b'x-flood'))"]
    said = {subprocess.run(ask, capture_output=True, text=True, env={}).stdout for _ in range(3)}

    assert {"1"} == {line.split()[0] for line in said}
    assert len(said) > 1
