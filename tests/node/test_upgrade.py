"""The running program is replaced by another, and the sockets never close."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
import trio

from tests.kit.client import Client, Gone
from tests.kit.gates import Download
from tests.kit.load import load
from tests.kit.node import Node, until
from tests.kit.ranged import Ranged, numbered

MIB = 1 << 20
BODY = numbered(6 * MIB + 77)


async def succeeded(node: Node, before: int) -> int:
    """Wait until another master is the service and the one before has ended."""
    await until(lambda: node.master_pid() != before, why=node.tail)
    await until(lambda: not _runs(before), why=node.tail)
    return node.master_pid()


def _runs(pid: int) -> bool:
    """Whether *pid* lives; one that has ended and waits to be buried does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
async def test_another_program_takes_over_without_a_failed_request(node_at, origin):
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node:
        async with load(node) as tally, trio.open_nursery() as nursery:
            await tally.more()
            old, workers = node.master_pid(), node.workers
            [[downloader]] = await node.clients_of(workers[0])
            replies = []

            async def ask() -> None:
                replies.append(await downloader.get("/download"))

            nursery.start_soon(ask)
            await download.begun.wait()
            stored = [target for target in origin.paths() if target.startswith(b"/kept/")]
            node.signal(signal.SIGUSR2)
            await until(lambda: node.master_pid() != old, why=node.tail)
            await until(lambda: not _runs(workers[1]), why=node.tail)
            await tally.more()

            assert not replies
            download.go_on.set()
            await until(lambda: replies)
            assert replies[0].body == download.body
            new = await succeeded(node, old)
            await tally.more()

            assert not {*node.workers} & {*workers}
            assert stored == [target for target in origin.paths() if target.startswith(b"/kept/")]
            assert await node.ended() == 0  # the program we started; the one it started serves

            since = len(node.log())
            node.config["compression"] = {"encodings": []}
            node.write()
            node.signal(signal.SIGHUP)
            await node.complete(since=since, program_ended=True)
            await tally.more(50)
        tally.assert_clean()
        assert tally.retried == 0
        assert (await node.admin("/readyz")).status == 200
        node.signal(signal.SIGTERM)
        await until(lambda: not _runs(new), why=node.tail)
        assert not (node.folder / "edge.pid").exists()


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True], ids=["goes on", "is killed"])
async def test_a_fetch_of_the_old_program_is_shared_with_clients_of_the_new(node_at, origin, is_killed):
    """The claim is in a page that both have. Who is killed with one loses it, whoever's child he was."""
    origin.pages = {b"/film": (page := Ranged(BODY))}
    page.hold_at = 3 * MIB
    async with node_at() as node:
        old, [worker, _] = node.master_pid(), node.workers
        [[early]] = await node.clients_of(worker)
        replies = []

        async def ask(client: Client) -> None:
            with suppress(Gone):
                replies.append(await client.get("/film"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, early)
            await page.held.wait()
            node.signal(signal.SIGUSR2)
            await until(lambda: node.master_pid() != old, why=node.tail)
            [[late]] = await node.clients_of(node.workers[0])
            nursery.start_soon(ask, late)
            await until(lambda: len(late.received) > 2 * MIB, why=node.tail)
            if is_killed:
                os.kill(worker, signal.SIGKILL)
                await until(lambda: not _runs(worker), why=node.tail)  # or its socket would take some of the rest
            page.go_on.set()
        await succeeded(node, old)

        assert [BODY] * (1 if is_killed else 2) == [got.body for got in replies]
        assert any(b"collapsed" in got.get(b"cache-status") for got in replies)
        assert (2 if is_killed else 1) == len(page.spans)
        assert page.sent <= len(BODY) + MIB


@pytest.mark.slow
async def test_programs_may_follow_each_other(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(50)
            held = set()
            for _ in range(2):
                old = node.master_pid()
                node.signal(signal.SIGUSR2)
                await succeeded(node, old)
                await tally.more(50)
                await until(lambda: node.children("edge-keeper"), why=node.tail)
                held.add(node.descriptors())
            metrics = await node.metrics()
        tally.assert_clean()

        assert len(held) == 1, f"descriptors pile up: {held}"
        # counters went on: the new programs use the old one's pages
        assert sum(value for name, value in metrics.items() if name.startswith("edge_requests_total")) > 150


@pytest.mark.slow
async def test_a_program_that_cannot_start_changes_nothing(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(50)
            before = node.master_pid(), node.workers
            good = (node.folder / "edge.toml").read_text()
            (node.folder / "edge.toml").write_text(good + "\n[nonsense]\n")
            node.signal(signal.SIGUSR2)
            await node.said("upgrade failed: the new program ended before it was ready")
            await tally.more(50)

            assert before == (node.master_pid(), node.workers)
            (node.folder / "edge.toml").write_text(good)
            node.signal(signal.SIGUSR2)
            await succeeded(node, before[0])
            await tally.more(50)
        tally.assert_clean()


@pytest.mark.slow
async def test_a_program_that_is_killed_before_it_is_ready_changes_nothing(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(50)
            before = node.master_pid(), node.workers
            node.signal(signal.SIGUSR2)
            said = await node.said(r"started the new program \(pid (\d+)\)")
            os.kill(int(said.group(1)), signal.SIGKILL)
            await node.said("upgrade failed")
            await tally.more(100)

            assert before[0] == node.master_pid()
            await until(lambda: before[1] == node.workers, why=node.tail)
        tally.assert_clean()
