"""Several workers are one cache: one fetch for all, and what one forgets, all forget."""

from __future__ import annotations

import gzip
import signal

import pytest
import trio

from tests.kit.gates import Download
from tests.kit.node import Caller, Node, until
from tests.kit.origin import Asked, Wire, reply


async def herd_on(node: Node, path: str, each: int, *, tls: object = None) -> list[Caller]:
    """So many clients on each worker, all of whom ask for *path*."""
    callers = [caller for row in await node.clients_of(*node.workers, each=each) for caller in row]
    for at, caller in enumerate(callers):
        await caller.ask(path, **({"accept_encoding": "gzip"} if at % 3 == 0 else {}))
    return callers


@pytest.mark.slow
@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain"])
async def test_a_herd_on_a_cold_key_is_one_request_to_the_origin(node_at, origin, content_type):
    """First bytes reach every client before the origin has finished, on every worker, compressed or not."""
    download = Download(cache_control="max-age=60", content_type=content_type)
    origin.pages = {b"/herd": download}
    async with node_at(server={"workers": 3, "pid_file": "edge.pid"}) as node:
        herd = await herd_on(node, "/herd", 8)
        replies = {}

        async def hear(caller: Caller) -> None:
            replies[caller] = await caller.reply()

        async with trio.open_nursery() as nursery:
            for caller in herd:
                nursery.start_soon(hear, caller)
            await until(lambda: all(caller.received for caller in herd), why=node.tail)
            assert not replies
            download.go_on.set()
        bodies = {
            gzip.decompress(got.body) if got.get(b"content-encoding") == b"gzip" else got.body
            for got in replies.values()
        }
        statuses = [got.get(b"cache-status") for got in replies.values()]
        metrics = await node.metrics()

        assert bodies == {download.body}
        assert download.times == 1
        assert len(replies) == 24
        assert 23 == sum(b"collapsed" in status for status in statuses)
        assert metrics["edge_flights_total"] == 1
        assert metrics["edge_flights_joined_total"] == 23
        assert sum(got.get(b"content-encoding") == b"gzip" for got in replies.values()) == (
            8 if content_type == "text/plain" else 0
        )


@pytest.mark.slow
async def test_a_herd_on_a_slow_small_reply_is_one_request_too(node_at, origin):
    go_on = trio.Event()

    async def slow(asked: Asked, wire: Wire) -> None:
        await go_on.wait()
        await wire.send(reply(body=b"small", cache_control="max-age=60"))

    origin.pages = {b"/small": slow}
    async with node_at() as node:
        herd = await herd_on(node, "/small", 10)
        await until(lambda: len(origin.asked) == 1)
        with trio.fail_after(10):
            while (await node.metrics())["edge_flights_joined_total"] < 19:
                await trio.sleep(0.01)
        go_on.set()
        bodies = [(await caller.reply()).body for caller in herd]

        assert [b"small"] * 20 == bodies
        assert len(origin.asked) == 1


@pytest.mark.slow
async def test_a_herd_on_what_may_not_be_stored_does_not_queue_behind_itself(node_at, origin):
    download = Download(cache_control="no-store", head_at_once=False)
    origin.pages = {b"/private": download}
    async with node_at() as node:
        herd = await herd_on(node, "/private", 6)
        await download.begun.wait()
        download.go_on.set()
        bodies = [(await caller.reply()).body for caller in herd]

        assert [download.body] * 12 == bodies
        assert 12 == download.times


class Shelf:
    """A page that is another after every POST to it."""

    def __init__(self) -> None:
        self.version = 0
        self.read = 0

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        if asked.method == b"POST":
            self.version += 1
            await wire.send(reply(status=204))
            return
        self.read += 1
        await wire.send(reply(body=b"%d" % self.version, cache_control="max-age=3600", content_type="text/plain"))


async def post(caller: Caller, path: str) -> int:
    await caller.send(f"POST {path} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n".encode())
    return (await caller.reply("POST")).status


@pytest.mark.slow
async def test_what_one_worker_invalidates_no_worker_serves_again(node_at, origin):
    origin.pages = {b"/shelf": (shelf := Shelf())}
    async with node_at(server={"workers": 3, "pid_file": "edge.pid"}) as node:
        callers = [caller for [caller] in await node.clients_of(*node.workers)]
        for turn in range(30):
            for caller in callers * 2:
                got = await caller.get("/shelf")
                assert b"%d" % turn == got.body, (turn, got.headers)
            assert shelf.read == turn + 1
            assert await post(callers[turn % 3], "/shelf") == 204
        metrics = await node.metrics()

        assert metrics["edge_cache_invalidated_total"] == 30


@pytest.mark.slow
async def test_no_reader_sees_what_was_replaced_before_it_asked(node_at, origin):
    """Readers on every worker, while one client writes: whoever asks after a write was confirmed reads it."""
    origin.pages = {b"/shelf": Shelf()}
    async with node_at() as node:
        rows = await node.clients_of(*node.workers, each=3)
        [[writer]] = await node.clients_of(node.workers[0])
        confirmed = reads = 0
        is_over = False
        stale = []

        async def read_on(caller: Caller) -> None:
            nonlocal reads
            while not is_over:
                least = confirmed
                got = await caller.get("/shelf")
                reads += 1
                if int(got.body) < least:
                    stale.append((least, got.body, got.headers))

        async with trio.open_nursery() as nursery:
            for caller in [caller for row in rows for caller in row]:
                nursery.start_soon(read_on, caller)
            while confirmed < 40:
                goal = reads + 12
                assert await post(writer, "/shelf") == 204
                confirmed += 1
                await until(lambda goal=goal: reads >= goal)
            is_over = True

        assert not stale, f"{len(stale)} of {reads}: {stale[:3]}"


@pytest.mark.slow
async def test_a_variant_is_made_once_for_all_workers(node_at, origin):
    text = b"the same words again and again, " * 2000
    origin.pages = {b"/text": reply(body=text, cache_control="max-age=60", content_type="text/plain")}
    async with node_at() as node:
        plain = await (await node.client()).get("/text")
        bodies = set()
        for [caller] in await node.clients_of(*node.workers):
            got = await caller.get("/text", accept_encoding="gzip")
            assert got.get(b"content-encoding") == b"gzip"
            bodies.add(got.body)
        metrics = await node.metrics()

        assert plain.body == text
        assert len(bodies) == 1
        assert gzip.decompress(bodies.pop()) == text
        assert metrics["edge_cache_variants_total"] == 1
        assert len(origin.asked) == 1


@pytest.mark.slow
async def test_a_flight_goes_on_when_its_leader_is_asked_to_leave(node_at, origin):
    """During a reload old and new workers share flights: the old one lands what the new one's clients read."""
    download = Download(cache_control="max-age=60")
    origin.pages = {b"/flight": download}
    async with node_at() as node:
        old = node.workers
        replies = []

        async def hear(caller: Caller) -> None:
            replies.append(await caller.get("/flight"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, await node.client())
            await download.begun.wait()
            since = len(node.log())
            node.config["compression"] = {"encodings": []}
            node.write()
            node.signal(signal.SIGHUP)
            await node.complete(since=since)
            new = [pid for pid in node.workers if pid not in old]
            joiners = [caller for [caller] in await node.clients_of(*new)]
            for joiner in joiners:
                nursery.start_soon(hear, joiner)
            await until(lambda: all(len(joiner.received) > 1000 for joiner in joiners), why=node.tail)
            download.go_on.set()

        assert [download.body] * 3 == [got.body for got in replies]
        assert download.times == 1
        await until(lambda: not {*old} & {*node.workers}, why=node.tail)


@pytest.mark.slow
async def test_a_reply_that_was_under_way_during_an_invalidation_is_not_kept(node_at, origin):
    """The origin gave it before it was told of the change: it may go to who asked then, and to nobody later."""
    shelf = Shelf()
    begun, go_on = trio.Event(), trio.Event()

    async def slow_shelf(asked: Asked, wire: Wire) -> None:
        if asked.method == b"GET" and not begun.is_set():
            version = shelf.version
            begun.set()
            await go_on.wait()
            await wire.send(reply(body=b"%d" % version, cache_control="max-age=3600"))
        else:
            await shelf(asked, wire)

    origin.pages = {b"/shelf": slow_shelf}
    async with node_at() as node:
        [[early, late], [writer]] = [
            *await node.clients_of(node.workers[0], each=2),
            *await node.clients_of(node.workers[1]),
        ]
        await early.ask("/shelf")
        await begun.wait()
        assert await post(writer, "/shelf") == 204
        go_on.set()

        assert (await early.reply()).body == b"0"
        assert (await late.get("/shelf")).body == b"1"
