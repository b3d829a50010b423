"""
Very many come who only rest or dawdle, while others want to be served.

The short form holds some hundreds and shows that it works; ``-m long`` holds 10,000 at rest and 500 slow ones, and prints the
figures that ``bench/README.md`` has. Both sides of every connection are on this machine: each flood comes from several of its
addresses, because one has too few ports for it.
"""

from __future__ import annotations

import re
import resource
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.kit.load import body_of, load
from tests.kit.node import HOST, Node, until
from tests.kit.origin import reply

PATIENT = {"handshake": "300s", "head": "300s", "body": "300s", "write": "300s", "idle": "1h"}
BIG = b"x" * 4_000_000


class Flood:
    """Connections that want nothing, or want it slowly."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.tls = node.trust
        self.held: list[socket.socket] = []
        self._dripping: list[tuple[socket.socket, bytes]] = []

    def _connect(self) -> socket.socket:
        source = f"127.0.0.{2 + len(self.held) % 20}"
        sock = socket.create_connection(("127.0.0.1", self.node.port), timeout=30, source_address=(source, 0))
        self.held.append(sock)
        return sock

    def _secure(self) -> ssl.SSLSocket:
        sock = self._connect()
        self.held[-1] = secured = self.tls.wrap_socket(sock, server_hostname=HOST)
        return secured

    def rest(self, count: int) -> None:
        """Shake hands and say nothing."""
        for _ in range(count):
            self._secure()

    def dawdle(self, count: int) -> None:
        """Be slow in all ways there are, in turn."""
        for number in range(count):
            match number % 5:
                case 0:  # half a handshake
                    self._connect().sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")
                case 1:  # a connection and not a byte
                    self._connect()
                case 2:  # a head that goes on and on
                    sock = self._secure()
                    sock.sendall(f"GET /kept/0 HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ".encode())
                    self._dripping.append((sock, b"a"))
                case 3:  # a body that does
                    sock = self._secure()
                    sock.sendall(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n".encode())
                    self._dripping.append((sock, b"a"))
                case 4:  # a reader that takes nothing of what it wants
                    sock = self._secure()
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    sock.sendall(f"GET /big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    async def drip(self) -> None:
        """A byte now and then."""
        while True:
            for sock, data in self._dripping:
                with suppress(OSError):
                    sock.sendall(data)
            await trio.sleep(2)

    def leave(self) -> None:
        for sock in self.held:
            sock.close()
        self.held.clear()


def resident(node: Node) -> float:
    """MiB that the workers hold of their own."""
    pages = 0
    for pid in node.workers:
        _, rss, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
        pages += rss - shared
    return pages * resource.getpagesize() / (1 << 20)


async def hits_per_second(node: Node, seconds: int) -> float:
    """What wrk gets of one page, on 16 connections that are kept."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-H", f"Host: {HOST}", f"https://127.0.0.1:{node.port}/kept/0"]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
    said = done.stdout.decode()
    assert "Non-2xx" not in said, said
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found, said
    return float(found[1])


@asynccontextmanager
async def flooded(node_at, origin) -> AsyncIterator[tuple[Node, Flood]]:
    origin.pages = {b"/big": reply(body=BIG, cache_control="max-age=600"), **origin.pages}
    async with node_at(timeouts=PATIENT, limits={"connections": 10_000}) as node:
        flood = Flood(node)
        try:
            yield node, flood
        finally:
            flood.leave()


async def open_now(node: Node) -> float:
    return (await node.metrics())["edge_sessions_open"]


async def wave(node: Node, flood: Flood, *, idle: int, slow: int) -> float:
    """Let a flood come and go; return what the workers held at its height."""
    await trio.to_thread.run_sync(flood.rest, idle)
    await trio.to_thread.run_sync(flood.dawdle, slow)
    assert await open_now(node) >= idle + slow
    return resident(node)


async def gone(node: Node, flood: Flood) -> None:
    """Let the flood leave, and each worker look about: it does once a second."""
    flood.leave()
    with trio.fail_after(60):
        while await open_now(node) > 20:
            await trio.sleep(0.1)
    await trio.sleep(3)


@pytest.mark.slow
async def test_a_flood_of_idle_and_slow_clients_is_held_and_hits_go_on(node_at, origin) -> None:
    """400 at rest and 50 slow ones; each of the others' requests is answered and right, and memory does not grow with every wave."""
    async with flooded(node_at, origin) as (node, flood), trio.open_nursery() as nursery:
        await (await node.client()).get("/big")
        nursery.start_soon(flood.drip)
        rests = []
        for _ in range(3):
            async with load(node) as tally:
                await wave(node, flood, idle=400, slow=50)
                await tally.more(100)
            tally.assert_clean()
            await gone(node, flood)
            rests.append(resident(node))
        nursery.cancel_scope.cancel()
        print(f"MiB of the workers' own after each wave: {[round(rest, 1) for rest in rests]}")

        assert rests[2] < rests[0] + 8
        assert 0 == (await node.metrics())["edge_bugs_total"]


@pytest.mark.long
@pytest.mark.peers
@pytest.mark.timeout(1200)
async def test_ten_thousand_idle_and_five_hundred_slow_clients_cost_hits_a_fifth_at_most(node_at, origin) -> None:
    """The whole of it, with figures; each rate is the best of three, since others work on this machine, too."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    wanted = 11_500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        pytest.skip(f"{wanted} descriptors are needed, and {hard} may be had")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    async with flooded(node_at, origin) as (node, flood), trio.open_nursery() as nursery:
        caller = await node.client()
        await caller.get("/big")
        assert body_of(b"/kept/0") == (await caller.get("/kept/0")).body
        nursery.start_soon(flood.drip)
        empty = resident(node)
        before = max([await hits_per_second(node, 5) for _ in range(3)])
        started = trio.current_time()
        full = await wave(node, flood, idle=10_000, slow=500)
        took = trio.current_time() - started
        during = max([await hits_per_second(node, 5) for _ in range(3)])
        assert await open_now(node) >= 10_500
        assert 200 == (await (await node.client()).get("/passed/1")).status
        await gone(node, flood)
        once = resident(node)
        after = max([await hits_per_second(node, 5) for _ in range(3)])
        again = await wave(node, flood, idle=10_000, slow=500)
        await gone(node, flood)
        twice = resident(node)
        metrics = await node.metrics()
        nursery.cancel_scope.cancel()
    print(
        f"\nhits/s alone {before:,.0f}, beside 10,000 idle and 500 slow {during:,.0f} ({during / max(before, after):.0%}), "
        f"after {after:,.0f}; 10,500 came in {took:.1f} s\n"
        f"workers' own memory: {empty:.0f} MiB alone, {full:.0f} full ({(full - empty) / 10.5:.1f} KiB each), {once:.0f} after, "
        f"{again:.0f} full again, {twice:.0f} after"
    )

    assert during >= 0.8 * max(before, after)
    assert once - empty < 0.25 * (full - empty)
    assert twice - once < 0.1 * (full - empty)
    assert 0 == metrics["edge_bugs_total"]


async def test_a_client_that_comes_in_the_midst_of_a_full_house_is_served(node_at, origin) -> None:
    """One worker with room for 64, and 64 who rest: a hundred more come, one after the other, and each gets its page."""
    async with node_at(
        server={"workers": 1, "pid_file": "edge.pid"}, limits={"connections": 64}, timeouts=PATIENT
    ) as node:
        flood = Flood(node)
        try:
            await trio.to_thread.run_sync(flood.rest, 64)
            answers = []
            for _ in range(100):
                caller = await node.client()
                answers.append((await caller.get("/kept/0")).status)
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await trio.aclose_forcefully(caller.stream)
            metrics = await node.metrics()
        finally:
            flood.leave()
        await until(lambda: len(node.workers) == 1)

    assert [200] * 100 == answers
    assert metrics['edge_sessions_shed_total{while="idle"}'] >= 1
    assert metrics["edge_sessions_refused_total"] == 0
