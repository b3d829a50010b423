"""Workers die and hang; the others go on, and what was lost is no more than what the dead one carried."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
import trio

from tests.kit.client import Gone
from tests.kit.gates import Download
from tests.kit.load import body_of, load
from tests.kit.node import Node, is_running, stopwatch, until


def holds(node: Node, pid: int) -> set[int]:
    """The client ports of the connections a worker holds."""
    return {port for port, holder in node.holders().items() if holder == pid}


async def replaced(node: Node, dead: int, *, of: int = 2) -> None:
    await until(lambda: dead not in node.workers and len(node.workers) == of, why=node.tail)


@pytest.mark.slow
async def test_a_killed_worker_is_replaced_and_only_what_it_carried_is_lost(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more()
            for _ in range(2):
                victim = node.workers[0]
                os.kill(victim, signal.SIGSTOP)  # so that what it holds can be written down
                carried = holds(node, victim)
                os.kill(victim, signal.SIGKILL)
                before = len(tally.failures)
                await replaced(node, victim)
                await node.said(rf"pid {victim}\b.*SIGKILL")
                await tally.more(200)

                assert {failure.port for failure in tally.failures[before:]} <= carried
                assert len(tally.failures) - before <= len(carried)
        print(tally)

        assert {failure.kind for failure in tally.failures} <= {
            "lost",
            "refused",
        }  # refused: in the midst of its handshake
        assert tally.answered + len(tally.failures) == tally.asked
        assert "keeps dying" not in node.log()


@pytest.mark.slow
async def test_a_worker_killed_while_nobody_asks_costs_nothing(node_at):
    """Its queue is kept by the master: who connects while it is dead is served by the next one."""
    async with node_at() as node:
        first, second = node.workers
        await (await node.client()).get("/kept/0")
        os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGKILL)
        answers = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append((await (await node.client()).get("/kept/0")).status)

            for _ in range(20):
                nursery.start_soon(ask)

        assert [200] * 20 == answers
        await until(lambda: len({*node.workers} - {first, second}) == 2, why=node.tail)


@pytest.mark.slow
@pytest.mark.parametrize("head_at_once", [True, False], ids=["while it lands", "before its head"])
async def test_a_flight_whose_leader_is_killed_ends_for_its_joiners_in_seconds(node_at, origin, head_at_once):
    """Bytes that were sent cannot be taken back: that reply breaks off. One that was not begun is fetched anew."""
    download = Download(cache_control="max-age=60", head_at_once=head_at_once)
    origin.pages = {b"/flight": download, **origin.pages}
    async with node_at() as node:
        leading, joining = node.workers
        [[leader], [joiner]] = await node.clients_of(leading, joining)
        ended: list[object] = []
        async with trio.open_nursery() as nursery:

            async def ask(who) -> None:
                try:
                    ended.append(await who.get("/flight"))
                except Gone:
                    ended.append(None)

            nursery.start_soon(ask, leader)
            await download.begun.wait()
            nursery.start_soon(ask, joiner)
            await _joined(node)
            if head_at_once:
                await until(lambda: len(joiner.received) > len(download.first))
            os.kill(leading, signal.SIGKILL)
            with stopwatch() as waited:
                if not head_at_once:
                    await until(lambda: download.times == 2, within_s=10, why=node.tail)
                    download.go_on.set()
                await until(lambda: len(ended) == 2, within_s=10, why=node.tail)
                assert waited() < 10

        assert ended.count(None) == (2 if head_at_once else 1)
        if not head_at_once:
            [reply] = [reply for reply in ended if reply is not None]
            assert reply.body == download.body
        download.go_on.set()
        fresh = await (await node.clients_of(joining))[0][0].get("/flight")

        assert fresh.body == download.body


async def _joined(node: Node) -> None:
    with trio.fail_after(10):
        while (await node.metrics())["edge_flights_joined_total"] < 1:
            await trio.sleep(0.01)


@pytest.mark.slow
async def test_a_worker_that_hangs_is_ended_by_its_deadline_and_replaced(node_at):
    async with node_at(server={"workers": 2, "hang": "1s", "pid_file": "edge.pid"}) as node:
        async with load(node) as tally:
            await tally.more()
            victim = node.workers[1]
            os.kill(victim, signal.SIGSTOP)
            carried = holds(node, victim)
            with stopwatch() as waited:
                await replaced(node, victim)
                assert waited() < 12
            await tally.more(200)
        print(tally)

        # A stopped process takes connections into its queue; they are served by its successor.
        assert {failure.port for failure in tally.failures} <= carried
        assert f"(pid {victim}) hung: SIGABRT" in node.log()
        assert f"(pid {victim}) did not finish in time: SIGKILL" in node.log()


@pytest.mark.slow
async def test_a_worker_that_dies_again_and_again_is_waited_for_while_the_others_serve(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(50)
            for _ in range(3):
                victim = node.workers[-1]
                os.kill(victim, signal.SIGKILL)
                await until(lambda victim=victim: victim not in node.workers, why=node.tail)
                await until(lambda: len(node.workers) == 2 or "keeps dying" in node.log(), why=node.tail)
            await node.said(r"worker \d keeps dying: the next one starts in 1s")
            before = len(tally.failures)
            await tally.more(100)

            assert len(tally.failures) == before
            await until(lambda: len(node.workers) == 2, why=node.tail)
        print(tally)


@pytest.mark.slow
async def test_workers_that_cannot_start_end_the_command_with_a_plain_sentence(node_at):
    async with node_at(start=False) as node:
        (node.folder / "cache/users").mkdir(parents=True)
        node.launch()

        assert await node.ended() == 1
        assert "giving up: worker" in node.log()
        assert "died 4 times before it was ready; the last time: IsADirectoryError" in node.log()
        assert "cannot start: [Errno 21] Is a directory" in node.log()


@pytest.mark.slow
async def test_a_generation_that_cannot_start_is_given_up_and_the_old_one_goes_on(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(50)
            before = node.workers
            (node.folder / "other/users").mkdir(parents=True)
            node.config["cache"]["path"] = "other"
            node.write()
            node.signal(signal.SIGHUP)
            await node.said("generation 2 is given up, generation 1 goes on: worker . died 4 times before it was ready")
            await tally.more(50)
            await until(lambda: before == node.workers, why=node.tail)
        tally.assert_clean()


@pytest.mark.slow
async def test_a_killed_keeper_is_replaced(node_at):
    async with node_at() as node, load(node) as tally:
        await until(lambda: node.children("edge-keeper"), why=node.tail)
        [keeper] = node.children("edge-keeper")
        os.kill(keeper, signal.SIGKILL)
        await until(lambda: node.children("edge-keeper") not in ([], [keeper]), why=node.tail)
        await tally.more(50)
    tally.assert_clean()


@pytest.mark.slow
async def test_workers_whose_master_is_killed_finish_what_they_carry_and_leave(node_at, origin):
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node, trio.open_nursery() as nursery:
        workers = node.workers
        [[caller]] = await node.clients_of(workers[0])
        replies = []

        async def ask() -> None:
            replies.append(await caller.get("/download"))

        nursery.start_soon(ask)
        await download.begun.wait()
        node.master.kill()
        node.master.wait()
        await node.said("the master is gone; leaving")
        await until(lambda: not is_running(workers[1]), why=node.tail)
        download.go_on.set()
        await until(lambda: replies)

        assert replies[0].body == download.body
        await until(lambda: not any(is_running(pid) for pid in workers), why=node.tail)


@pytest.mark.slow
async def test_what_was_stored_before_a_kill_is_whole_after_it(node_at, origin):
    async with node_at() as node:
        caller = await node.client()
        for number in range(8):
            await caller.get(f"/kept/{number}")
        for worker in node.workers:
            os.kill(worker, signal.SIGKILL)
        asked = len(origin.asked)
        fresh = await node.client()
        bodies = [(await fresh.get(f"/kept/{number}")).body for number in range(8)]

        assert [body_of(b"/kept/%d" % number) for number in range(8)] == bodies
        assert asked == len(origin.asked)


@pytest.mark.slow
async def test_a_new_master_starts_while_the_orphans_of_a_killed_one_still_drain(node_at, origin):
    """As systemd does when it restarts the unit after a crash with KillMode=process."""
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node:
        orphans = node.workers
        caller = await node.client()
        await caller.ask("/download")
        await download.begun.wait()
        first = node.master
        first.kill()
        first.wait()
        try:
            await node.said("the master is gone; leaving")
            await until(lambda: sum(is_running(pid) for pid in orphans) == 1, why=node.tail)
            (node.folder / "edge.pid").unlink()
            await node.start()
            async with load(node) as tally:
                await tally.more(100)
            tally.assert_clean()
            download.go_on.set()

            assert (await caller.reply()).body == download.body
            await until(lambda: not any(is_running(pid) for pid in orphans), why=node.tail)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)


@pytest.mark.slow
async def test_a_stopped_worker_does_not_hold_up_a_reload(node_at):
    async with node_at(server={"workers": 2, "hang": "1s", "pid_file": "edge.pid"}) as node:
        old = node.workers
        os.kill(old[0], signal.SIGSTOP)
        since = len(node.log())
        node.config["compression"] = {"min_length": 900}
        node.write()
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        async with load(node) as tally:
            await tally.more(50)
        await until(lambda: not {*old} & {*node.workers}, why=node.tail)
        tally.assert_clean()
