"""A purge on a running node: it holds in every worker when the call returns, however hot what it takes back."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import pytest
import trio

from tests.kit.node import REPOSITORY, Node, node
from tests.kit.origin import Asked, Origin, Wire, reply

PURGES = 150
HITS_PER_S = 1000


class Counting(Origin):
    """Answers each request for a path with a number that grows."""

    def __init__(self) -> None:
        super().__init__({b"*": self._answer})
        self.number = 0

    async def _answer(self, asked: Asked, wire: Wire) -> None:
        self.number += 1
        await wire.send(reply(body=b"%d" % self.number, cache_control="max-age=600", cache_tag="t"))


async def purge(edge: Node, query: str) -> float:
    """Purge over the admin address; return the seconds until it said that it was done."""
    stream = await trio.open_tcp_stream("127.0.0.1", edge.admin_port)
    async with stream:
        began = time.monotonic()
        await stream.send_all(f"POST /purge?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await stream.receive_some(65536)
        took = time.monotonic() - began
    assert b" 200 " in answer.split(b"\r\n")[0], answer
    return took


@pytest.mark.slow
async def test_a_purge_holds_in_every_worker_when_it_has_been_answered(tmp_path, capsys) -> None:
    """Under a thousand hits a second; each worker is asked at once after each purge, by every way of naming it."""
    origin = Counting()
    async with node(tmp_path, origin=origin) as edge:
        workers = edge.workers
        callers = [caller for (caller,) in await edge.clients_of(*workers)]
        loads = [caller for (caller,) in await edge.clients_of(*workers)]
        hits = 0

        async def load(caller) -> None:
            nonlocal hits
            pause = len(loads) / HITS_PER_S
            at = trio.current_time()
            while True:
                await caller.get("/a")
                hits += 1
                at += pause
                await trio.sleep(max(0.0, at - trio.current_time()))

        took = []
        queries = ["url=https://shop.example/a", "tag=t", "host=shop.example", "prefix=shop.example/a", "all"]
        async with trio.open_nursery() as nursery:
            for caller in loads:
                nursery.start_soon(load, caller)
            began = time.monotonic()
            for number in range(PURGES):
                before = origin.number
                took.append(await purge(edge, queries[number % len(queries)]))
                for caller in callers:
                    body = int((await caller.get("/a")).body)

                    assert body > before, f"worker gave {body} after the purge of {before}"
            rate = hits / (time.monotonic() - began)
            nursery.cancel_scope.cancel()
        for caller in [*callers, *loads]:
            await caller.aclose()
        metrics = await edge.metrics()
    quantiles = statistics.quantiles(took, n=100)
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # a purge waits its turn where many want to run
    with capsys.disabled():
        print(f"\npurge at {rate:.0f} hits/s: median {quantiles[49] * 1e3:.1f} ms, p99 {quantiles[98] * 1e3:.1f} ms")

    assert PURGES / 5 == metrics['edge_cache_purges_total{what="all"}']
    assert quantiles[49] < 0.05
    assert quantiles[98] < 0.1 * busy


@pytest.mark.slow
async def test_the_command_purges_the_node_that_runs_with_the_file(tmp_path) -> None:
    origin = Counting()
    async with node(tmp_path, origin=origin) as edge:
        caller = await edge.client()
        before = (await caller.get("/a")).body
        command = [sys.executable, "-m", "edge", "purge", "-c", str(tmp_path / "edge.toml"), "https://shop.example/a"]
        done = await trio.run_process(command, cwd=REPOSITORY, capture_stdout=True, stderr=subprocess.STDOUT)
        after = (await caller.get("/a")).body
        await caller.aclose()

    assert b"purged: url https://shop.example/a (1 copy)\n" == done.stdout
    assert before != after


@pytest.mark.slow
async def test_a_purge_outlives_a_restart_of_everything(tmp_path) -> None:
    """What stands is in the store; the keeper may not have come to it."""
    origin = Counting()
    async with node(tmp_path, origin=origin, server={"workers": 1}) as edge:
        caller = await edge.client()
        for number in range(50):
            await caller.get(f"/{number}")
        await purge(edge, "tag=t")
        await caller.aclose()
        await edge.stop()
        await edge.start()
        caller = await edge.client()
        before = origin.number
        for number in range(50):
            await caller.get(f"/{number}")
        await caller.aclose()

    assert origin.number == before + 50


@pytest.mark.slow
async def test_the_commands_tell_what_a_running_node_has_and_would_do(tmp_path) -> None:
    """Whichever worker answers: what is stored is everybody's."""
    origin = Counting()
    origin.pages[b"/private"] = reply(body=b"x", cache_control="private")
    async with node(tmp_path, origin=origin) as edge:
        caller = await edge.client()
        for path in ("/a", "/a", "/private"):
            await caller.get(path)
        await caller.aclose()

        async def told(*words: str) -> str:
            command = [sys.executable, "-m", "edge", *words, "-c", str(tmp_path / "edge.toml")]
            done = await trio.run_process(command, cwd=REPOSITORY, capture_stdout=True, stderr=subprocess.STDOUT)
            return done.stdout.decode()

        listed = await told("cache", "ls", "--tag", "t")
        shown = await told("cache", "show", "https://shop.example/a")
        stats = await told("cache", "stats")
        hit = await told("explain", "https://shop.example/a")
        private = await told("explain", "https://shop.example/private")

    assert ["https://shop.example/a"] == [line.split()[-1] for line in listed.splitlines()[1:]]
    assert "copy 1 of 1" in shown
    assert "tags        t" in shown
    assert "copies     1 of 1 addresses" in stats
    assert "=> hit; ttl=" in hit
    assert "was not: private — RFC 9111 §5.2.2.7" in private
