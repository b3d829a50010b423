"""What reading with hostile eyes has found: each test failed before its fix."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from edge.config.route_rules import RouteRequestHeaders
from edge.config.tree import Route, RouteCache
from edge.observe import names
from edge.worker import quick
from edge.worker.passing import MOST_WRITTEN
from tests.kit.client import Client
from tests.kit.house import House, house
from tests.kit.origin import Asked, Origin, Wire, reply

PRIVATE = reply(body=b"for you only", cache_control="private")
PUBLIC = reply(body=b"for everyone", cache_control="max-age=60")


class Held:
    """A reply that the test sends itself, within one turn of the worker's."""

    def __init__(self) -> None:
        self.wire: Wire
        self.asked = trio.Event()
        self.over = trio.Event()

    async def __call__(self, _: Asked, wire: Wire) -> None:
        self.wire = wire
        self.asked.set()
        await self.over.wait()

    def send(self, data: bytes) -> None:
        """Send, without letting anybody run."""
        stream = self.wire.stream
        assert isinstance(stream, trio.SocketStream)
        assert len(data) == stream.socket._sock.send(data)


def leave(client: Client) -> None:
    """Close, without letting anybody run."""
    assert isinstance(client.stream, trio.SocketStream)
    client.stream.socket.close()


async def warm(edge: House) -> None:
    """Let there be a connection to the origin that may be used again, and a sweep that can be counted on."""
    client = await edge.client()
    await client.get("/warm")
    edge.worker.origins.sweep()


def lent(edge: House) -> int:
    return sum(server.pool.lent for group in edge.worker.origins.groups.values() for server in group.servers)


def is_left(edge: House) -> bool:
    fast = edge.worker.fast
    flights = edge.worker.flights
    return bool(fast.slow.carried or fast.slow.quick.asked or flights.known or flights.claims or lent(edge))


@pytest.mark.parametrize("shared", [True, False])
async def test_a_client_that_leaves_as_its_answer_begins_costs_no_connection(tmp_path: Path, shared: bool) -> None:
    """
    The task that was to carry on found the client gone before it had entered the exchange with the origin, and left without it.

    Its connection was neither closed nor given back: after ``max_connections`` of these nobody was served any more.
    """
    held = Held()
    origin = Origin({b"/warm": PRIVATE, b"/held": held})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        client = await edge.client()
        await client.ask("/held", **({} if shared else {"Cache_Control": "no-store"}))
        with trio.fail_after(5):
            await held.asked.wait()
        held.send(PUBLIC[:-4])
        leave(client)
        if shared:
            await trio.testing.wait_all_tasks_blocked(0.01)
            held.send(PUBLIC[-4:])
        entries = await edge.settled(2)
        await trio.testing.wait_all_tasks_blocked(0.01)
        held.over.set()

        assert not is_left(edge)
        assert 0 == edge.count(names.BUGS)
    assert "connection_terminated" == entries[1][12]


@pytest.mark.parametrize("final", [b"", PUBLIC, reply(204)])
async def test_a_client_that_is_found_gone_by_an_interim_reply_is_settled_once(tmp_path: Path, final: bytes) -> None:
    """
    Passing a 103 on found the socket closed, which ended the exchange and closed the origin's connection while its answer was being read.

    What was read next failed on that, and the exchange was settled a second time: two entries, and one too few open.
    """
    held = Held()
    origin = Origin({b"/warm": PRIVATE, b"/held": held})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        client = await edge.client()
        await client.ask("/held", Cache_Control="no-store")
        with trio.fail_after(5):
            await held.asked.wait()
        held.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n" + final)
        leave(client)
        await edge.settled(2)
        await trio.testing.wait_all_tasks_blocked(0.01)
        held.over.set()

        assert not is_left(edge)
        assert 0 == edge.worker.fast.slow.carried
        assert 0 == edge.count(names.EXCHANGES_OPEN)
        assert 0 == edge.count(names.BUGS)
    assert 2 == len(edge.entries)


async def test_an_error_of_our_own_before_anything_is_asked_costs_one_exchange(tmp_path: Path, monkeypatch) -> None:
    """It was raised into the fast lane, which closed the session: the exchange was never settled, and its key never given back."""
    origin = Origin({b"/warm": PRIVATE, b"/public": PUBLIC})
    async with house(tmp_path, origin=origin) as edge:
        await warm(edge)
        monkeypatch.setattr(quick, "begin", lambda *_: 1 / 0)
        client = await edge.client()
        got = await client.get("/public")
        monkeypatch.undo()
        again = await client.get("/public")
        await edge.settled(3)

        assert not is_left(edge)
        assert 1 == edge.count(names.BUGS)
    assert (500, 200) == (got.status, again.status)


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_one_fetch_is_counted_once(tmp_path: Path, coding: str) -> None:
    """An answer that had to be coded was weighed again by the task that did so, and counted as a second fetch."""
    page = reply(body=b"text " * 1000, cache_control="max-age=60", content_type="text/plain")
    origin = Origin({b"/warm": PRIVATE, b"/page": page})
    routes = (Route(None, "/", "shop", cache=RouteCache(min_uses=2)),)
    async with house(tmp_path, origin=origin, routes=routes) as edge:
        await warm(edge)
        client = await edge.client()
        got = [await client.get("/page", Accept_Encoding=coding) for _ in range(3)]

    assert b"min-uses" in got[0].get(b"cache-status")
    assert b"stored" in got[1].get(b"cache-status")
    assert b"hit" in got[2].get(b"cache-status")
    assert 2 == origin.paths().count(b"/page")


@pytest.mark.parametrize("serve_hits", [True, False])
async def test_a_reply_that_did_not_leave_is_logged_so(tmp_path: Path, serve_hits: bool) -> None:
    """Without a task a reply was taken for complete once it was written down, though the client had left before its first byte."""
    held = Held()
    origin = Origin({b"/warm": PRIVATE, b"/held": held})
    async with house(tmp_path, origin=origin, serve_hits=serve_hits) as edge:
        await warm(edge)
        client = await edge.client()
        await client.ask("/held")
        with trio.fail_after(5):
            await held.asked.wait()
        held.send(PRIVATE)
        leave(client)
        entries = await edge.settled(2)
        held.over.set()
    assert "connection_terminated" == entries[1][12]


async def test_what_is_in_no_key_is_in_no_field_that_the_route_sends(tmp_path: Path) -> None:
    """
    A query that the route leaves out of the key still reached the origin in a field made of it.

    Whoever asked first could put there what everybody then was served.
    """
    origin = Origin({b"*": PUBLIC})
    said = RouteRequestHeaders(set=(("x-query", "{query}"), ("x-target", "{target}")))
    cached = RouteCache(query_keep=("id",))
    routes = (
        Route(None, "/", "shop", request_headers=said, cache=cached),
        Route(None, "/free", "shop", request_headers=said, cache=RouteCache(enabled=False, query_keep=("id",))),
    )
    async with house(tmp_path, origin=origin, routes=routes) as edge:
        client = await edge.client()
        await client.get("/page?id=1&evil=2")
        await client.get("/free?id=1&evil=2")
    assert [(b"?id=1", b"/page?id=1"), (b"?id=1&evil=2", b"/free?id=1&evil=2")] == [
        (asked.get(b"x-query"), asked.get(b"x-target")) for asked in origin.asked
    ]


async def test_what_a_reply_remembers_is_bounded_however_many_routes_pass_it_on(tmp_path: Path) -> None:
    """A head that an origin sends to the clients of thousands of routes kept as many written heads."""
    dated = reply(body=b"0123456789", cache_control="no-store", date="Fri, 15 Jan 2027 08:00:00 GMT")
    origin = Origin({b"*": dated})
    routes = tuple(Route(f"{at}.example", "/", "shop") for at in range(3 * MOST_WRITTEN))
    async with house(tmp_path, origin=origin, routes=routes) as edge:
        client = await edge.client()
        await client.get("/", host="0.example")
        edge.worker.origins.sweep()
        for turn in range(2):
            for at in range(len(routes)):
                got = await client.get(f"/{turn}", host=f"{at}.example")
                assert (200, b"0123456789") == (got.status, got.body)
        (head,) = edge.worker.origins.groups["shop"].replies.values()
    assert 1 < len(head.memo) <= MOST_WRITTEN
