"""The node ends as it is told to: what is carried is finished, or cut at once, and what was stored is there tomorrow."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from edge.master.loop import SAME_S
from tests.kit.client import Gone
from tests.kit.gates import Download
from tests.kit.load import load
from tests.kit.node import stopwatch, until


@pytest.mark.slow
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=lambda sig: sig.name)
async def test_a_stop_lets_nobody_in_and_finishes_what_is_carried(node_at, origin, sig):
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node, trio.open_nursery() as nursery:
        first, second = node.workers
        [[downloader], [idler]] = await node.clients_of(first, second)
        replies = []

        async def ask() -> None:
            replies.append(await downloader.get("/download"))

        nursery.start_soon(ask)
        await idler.get("/kept/0")
        await download.begun.wait()
        node.signal(sig)
        await node.said("stopping; what is carried may finish within 10s")
        while (last := await idler.get("/kept/0")).get(b"connection") is None:  # nobody has told that worker yet
            assert last.status == 200

        assert (last.status, last.get(b"connection")) == (200, b"close")  # it was at rest, its request on its way
        await until(lambda: second not in node.workers, why=node.tail)
        with pytest.raises(OSError, match="all attempts to connect"):
            await node.client()
        with pytest.raises(OSError, match="all attempts to connect"):
            await node.admin("/readyz")
        assert not replies
        download.go_on.set()

        assert await node.ended() == 0
        await until(lambda: replies)
        assert replies[0].body == download.body
        assert not (node.folder / "edge.pid").exists()
        assert "stopped" in node.tail()


@pytest.mark.slow
async def test_a_stop_told_to_everybody_finishes_what_is_carried_all_the_same(node_at, origin):
    """As ``timeout`` does it: its command is told, and then the whole group, the command once more among them."""
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node, trio.open_nursery() as nursery:
        caller = await node.client()
        replies = []

        async def ask() -> None:
            replies.append(await caller.get("/download"))

        nursery.start_soon(ask)
        await download.begun.wait()
        node.signal(signal.SIGTERM)
        os.killpg(node.master.pid, signal.SIGTERM)
        await node.said("stopping; what is carried may finish within 10s")
        download.go_on.set()

        assert await node.ended() == 0
        await until(lambda: replies)
        assert replies[0].body == download.body
        assert "at once" not in node.log()
        assert "died" not in node.log()


@pytest.mark.slow
async def test_a_stop_under_load_answers_everyone_it_has_let_in(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more()
            node.signal(signal.SIGTERM)
            assert await node.ended() == 0
        print(tally)

        assert {failure.kind for failure in tally.failures} == {"refused"}, tally.failures
        assert tally.answered + len(tally.failures) == tally.asked


@pytest.mark.slow
async def test_a_second_stop_is_at_once(node_at, origin):
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at(server={"workers": 2, "drain": "10m", "pid_file": "edge.pid"}) as node:
        caller = await node.client()
        await caller.ask("/download")
        await download.begun.wait()
        node.signal(signal.SIGTERM)
        await node.said("SIGTERM: stopping")
        await trio.sleep(SAME_S)  # or it would be the same one
        node.signal(signal.SIGTERM)
        with stopwatch() as waited:
            assert await node.ended() == 0
            assert waited() < 5
        with pytest.raises(Gone):
            await caller.reply()


@pytest.mark.slow
async def test_what_is_not_finished_within_drain_is_cut(node_at, origin):
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at(server={"workers": 2, "drain": "500ms", "pid_file": "edge.pid"}) as node:
        caller = await node.client()
        await caller.ask("/download")
        await download.begun.wait()
        node.signal(signal.SIGTERM)
        with stopwatch() as waited:
            assert await node.ended() == 0
            assert 0.5 < waited() < 5
        with pytest.raises(Gone):
            await caller.reply()
        assert "drain is over: 1 connections are cut" in node.log()


@pytest.mark.slow
async def test_the_cache_survives_a_restart(node_at, origin):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more()
        tally.assert_clean()
        before = await (await node.client()).get("/kept/3")
        coded = await (await node.client()).get("/kept/3", accept_encoding="br")
        await node.stop()
        asked = [target for target in origin.paths() if target.startswith(b"/kept/")]
        await node.start()
        caller = await node.client()
        after = await caller.get("/kept/3")
        recoded = await caller.get("/kept/3", accept_encoding="br")
        metrics = await node.metrics()

        assert (before.body, coded.body) == (after.body, recoded.body)
        assert b"hit" in after.get(b"cache-status")
        assert asked == [target for target in origin.paths() if target.startswith(b"/kept/")]
        assert metrics["edge_cache_variants_total"] == 0
