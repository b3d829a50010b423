"""Bodies longer than anybody wants in memory, many clients on one of them, and workers that are killed under it."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import pytest
import trio

from tests.kit.client import Client, Gone
from tests.kit.gates import Download
from tests.kit.node import LONG_S, Node, free_ports, stopwatch, until
from tests.kit.ranged import Ranged, numbered
from tests.kit.vast import Vast, span

MIB = 1 << 20
GROWTH = 64 * MIB
"""What a process may grow by, whatever passes through it."""


def own_bytes(pid: int) -> int:
    """What a process holds by itself: the store's pages are mapped from its file, and the kernel's to drop."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return 1024 * (int(status["RssAnon"].split()[0]) + int(status["RssShmem"].split()[0]))


class Growth:
    """How much each process of a node has grown at most, looked at until the block ends."""

    def __init__(self, node: Node) -> None:
        self._pids = [*node.workers, *node.children("edge-keeper"), node.master_pid()]
        self._before = {pid: own_bytes(pid) for pid in self._pids}
        self.most = 0

    async def watch(self) -> None:
        while True:
            self.look()
            await trio.sleep(0.05)

    def look(self) -> None:
        self.most = max(self.most, *(own_bytes(pid) - self._before[pid] for pid in self._pids))


async def read_by_ranges(port: int, length: int, each: int, order: random.Random, readers: int = 6) -> None:
    """Read all of it in ranges of *each* bytes in any order, by several clients, and compare every byte."""
    starts = list(range(0, length, each))
    order.shuffle(starts)

    async def read() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            while starts:
                start = starts.pop()
                end = min(length, start + each)
                await stream.send_all(
                    b"GET /vast HTTP/1.1\r\nHost: shop.example\r\nRange: bytes=%d-%d\r\n\r\n" % (start, end - 1)
                )
                head, data = b"", b""
                while b"\r\n\r\n" not in head:
                    head += await stream.receive_some(65536)
                head, _, data = head.partition(b"\r\n\r\n")
                assert b"content-range: bytes %d-%d/%d\r\n" % (start, end - 1, length) in head + b"\r\n"
                while start < end:
                    data = data or await stream.receive_some(262144)
                    assert data, "the reply was cut"
                    assert span(start, start + len(data)) == data
                    start += len(data)
                    data = b""

    async with trio.open_nursery() as nursery:
        for _ in range(readers):
            nursery.start_soon(read)


async def fill_and_read(node: Node, port: int, page: Vast, each: int) -> int:
    """Fill a body by ranges and read it by ranges again; returns by how much the greatest growth of a process was."""
    length = page.length
    growth = Growth(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(growth.watch)
        await read_by_ranges(port, length, each, random.Random(1))
        told = json.loads((await node.admin("/cache/show?url=http://shop.example/vast")).body)
        assert [None] == [copy["parts"] for copy in told["copies"]]
        assert page.sent == length
        asked = len(page.spans)
        await read_by_ranges(port, length, each, random.Random(2))
        client = Client(await trio.open_tcp_stream("127.0.0.1", port))
        several = await client.get("/vast", Range=f"bytes={length - 10}-, {length // 2}-{length // 2 + 9}, 0-9")
        assert several.status == 206
        for start in (0, length // 2, length - 10):
            assert b"\r\n\r\n" + span(start, start + 10) in several.body
        await client.aclose()
        assert len(page.spans) == asked
        nursery.cancel_scope.cancel()
    growth.look()
    return growth.most


def large(page: Vast, size: str, port: int) -> dict[str, object]:
    """The configuration for it: the store's usual greatest object is smaller, the route's is not."""
    return {
        "listener": [{"address": f"127.0.0.1:{port}"}],
        "cache": {"path": "cache", "size": size, "memory": "8 MiB", "max_object": "1 MiB"},
        "route": [{"origin": "shop", "cache": {"max_object": f"{page.length}"}}],
    }


@pytest.mark.slow
async def test_a_large_body_is_filled_and_read_by_ranges_in_little_memory(node_at, origin):
    """The short form; every process stays within the bound that the long form has for 2 GiB."""
    origin.pages = {b"/vast": (page := Vast(48 * MIB + 12345))}
    (port,) = free_ports(1)
    async with node_at(**large(page, "160 MiB", port)) as node:
        growth = await fill_and_read(node, port, page, 6 * MIB)
    print(f"\n48 MiB filled and read by ranges: a process grew by {growth / MIB:.1f} MiB at most")

    assert growth < GROWTH / 2


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_two_gib_are_filled_and_read_by_ranges_in_little_memory(node_at, origin):
    origin.pages = {b"/vast": (page := Vast(2048 * MIB))}
    (port,) = free_ports(1)
    async with node_at(**large(page, "5 GiB", port)) as node:
        with stopwatch() as took:
            growth = await fill_and_read(node, port, page, 16 * MIB)
            print(
                f"\n2 GiB filled and read by ranges in {took():.0f} s: a process grew by {growth / MIB:.1f} MiB at most"
            )

    assert growth <= GROWTH


# -- many of them --------------------------------------------------------------------------------------------

HERD = 500


class Raw:
    """A client without TLS that reads one reply, keeping no more than its digest."""

    def __init__(self) -> None:
        self.head = b""
        self.length = 0
        self.digest = blake2b()
        self.is_over = False

    async def run(self, port: int, ready: trio.Event, task_status=trio.TASK_STATUS_IGNORED) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            task_status.started()
            await ready.wait()
            await stream.send_all(b"GET /herd HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            while b"\r\n\r\n" not in self.head:
                data = await stream.receive_some(65536)
                assert data, "no reply"
                self.head += data
            self.head, _, data = self.head.partition(b"\r\n\r\n")
            wanted = int(self.head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while True:
                self.length += len(data)
                self.digest.update(data)
                if self.length >= wanted:
                    break
                data = await stream.receive_some(65536)
                assert data, "the reply was cut"
        self.is_over = True


@pytest.mark.slow
async def test_five_hundred_clients_on_one_cold_key_are_one_request(node_at, origin):
    """On every worker; each has its first bytes before the origin has said its last."""
    download = Download(half=256 * 700, cache_control="max-age=60")
    origin.pages = {b"/herd": download}
    (port,) = free_ports(1)
    async with node_at(start=False) as node:
        node.config["listener"].append({"address": f"127.0.0.1:{port}"})
        node.write()
        await node.start()
        herd = [Raw() for _ in range(HERD)]
        ready = trio.Event()
        with stopwatch() as took:
            async with trio.open_nursery() as nursery:
                for raw in herd:
                    await nursery.start(raw.run, port, ready)
                node.port = port
                spread = [len([pid for pid in node.holders().values() if pid == worker]) for worker in node.workers]
                ready.set()
                begun_s = took()
                await until(lambda: all(raw.length for raw in herd), why=node.tail)
                first_s = took() - begun_s
                assert not any(raw.is_over for raw in herd)
                download.go_on.set()
            whole_s = took() - begun_s
        metrics = await node.metrics()
    print(
        f"\n{HERD} clients ({spread} per worker): first bytes at all in {first_s:.2f} s, everything in {whole_s:.2f} s"
    )

    assert {blake2b(download.body).digest()} == {raw.digest.digest() for raw in herd}
    assert download.times == 1
    assert metrics["edge_flights_total"] == 1
    assert metrics["edge_flights_joined_total"] == HERD - 1
    assert HERD - 1 == sum(b"collapsed" in raw.head for raw in herd)
    assert all(held > HERD // 10 for held in spread)


# -- killed under it -----------------------------------------------------------------------------------------

LENGTH = 6 * MIB + 77
BODY = numbered(LENGTH)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["", "bytes=0-5000000"], ids=["whole", "by range"])
async def test_a_fetch_whose_worker_is_killed_is_taken_over(node_at, origin, wanted):
    """What has landed is not asked for again, and who reads it in another worker does not notice."""
    page = Ranged(BODY)
    page.hold_at = 3 * MIB
    origin.pages = {b"/film": page}
    fields = {"Range": wanted} if wanted else {}
    async with node_at() as node:
        leading, joining = node.workers
        [[leader], [joiner]] = await node.clients_of(leading, joining)
        ended = []
        async with trio.open_nursery() as nursery:

            async def lead() -> None:
                with suppress(Gone):
                    await leader.get("/film", **fields)
                    ended.append("the leader's")

            async def join() -> None:
                ended.append(await joiner.get("/film", **fields))

            nursery.start_soon(lead)
            await page.held.wait()
            nursery.start_soon(join)
            await until(
                lambda: len(joiner.received) > 2 * MIB,
                within_s=5,
                why=lambda: f"{len(joiner.received)} {page.spans} {ended}",
            )
            os.kill(leading, signal.SIGKILL)
            page.go_on.set()
            with stopwatch() as waited:
                await until(lambda: ended, within_s=10, why=node.tail)
                print(f"\ntaken over and finished {waited():.2f} s after the kill")
        [got] = ended
        fresh = await (await node.clients_of(joining))[0][0].get("/film", Range="bytes=10-19")

    assert got.body == (BODY[:5000001] if wanted else BODY)
    assert fresh.body == BODY[10:20]
    assert b"hit" in fresh.get(b"cache-status")
    assert 2 == len(page.spans)
    assert page.spans[1][0] > 2 * MIB


@pytest.mark.slow
async def test_a_fetch_whose_every_reader_was_killed_with_it_is_gone_on_with_later(node_at, origin):
    page = Ranged(BODY)
    page.hold_at = 3 * MIB
    origin.pages = {b"/film": page}
    async with node_at() as node:
        client = await node.client()
        async with trio.open_nursery() as nursery:

            async def lose() -> None:
                with suppress(Gone):
                    await client.get("/film")

            nursery.start_soon(lose)
            await page.held.wait()
            await until(lambda: len(client.received) > 2 * MIB, why=node.tail)
            for pid in node.workers:
                os.kill(pid, signal.SIGKILL)
            page.go_on.set()
        with trio.fail_after(LONG_S):
            while not json.loads((await node.admin("/cache/show?url=https://shop.example/film")).body)["copies"]:
                await trio.sleep(0.05)
        got = await (await node.client()).get("/film")

    assert got.body == BODY
    assert b"fwd=partial" in got.get(b"cache-status")
    assert page.spans[1][0] > 2 * MIB
