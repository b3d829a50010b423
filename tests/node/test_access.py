"""Rules of a whole node: one budget for all its processes, nothing held for the dead, and files taken up by a reload."""

from __future__ import annotations

import os
import signal

import bcrypt
import pytest
import trio

from tests.kit.node import LONG_S, Caller, Node, until
from tests.kit.origin import reply


async def asked(caller: Caller, arrived: trio.Semaphore) -> int:
    """Ask for what is slow; return the status it is refused with, or 0 once the origin has it."""
    statuses = [0]
    await caller.ask("/slow")
    async with trio.open_nursery() as nursery:

        async def refused() -> None:
            statuses[0] = (await caller.reply()).status
            nursery.cancel_scope.cancel()

        nursery.start_soon(refused)
        await arrived.acquire()
        nursery.cancel_scope.cancel()
    return statuses[0]


@pytest.mark.slow
async def test_workers_share_their_limits_and_a_reload_takes_up_files(node_at, origin) -> None:
    """Limits hold for both workers together; what a killed one carried is under way no more; a list has changed."""
    arrived = trio.Semaphore(0)

    async def never(asked, wire) -> None:
        arrived.release()
        await trio.sleep_forever()

    origin.pages = {b"/slow": never, b"/quick": reply(), **origin.pages}
    async with node_at(start=False) as node:
        hash_ = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
        (node.folder / "staff.htpasswd").write_text(f"alice:{hash_}\n")
        (node.folder / "blocked.txt").write_text("# nobody yet\n")
        node.config["server"]["drain"] = "1s"  # the origin never answers what is carried
        node.config["rate"] = {"each": {"limit": 5, "per": "1h"}}
        node.config["basic"] = {"staff": {"file": "staff.htpasswd"}}
        node.config["route"] = [
            {"path": "/", "origin": "shop", "access": {"deny_files": ["blocked.txt"]}},
            {"path": "/limited", "origin": "shop", "access": {"rates": ["each"]}},
            {"path": "/slow", "origin": "shop", "access": {"concurrency": 1}},
            {"path": "/staff", "origin": "shop", "access": {"basic": "staff"}},
        ]
        node.write()
        await node.start()
        one, other = node.workers
        [[first], [second]] = await node.clients_of(one, other)

        statuses = [(await (first, second)[at % 2].get("/limited")).status for at in range(8)]
        assert [200] * 5 + [429] * 3 == statuses
        assert [401, 200] == [
            (await first.get("/staff")).status,
            (await second.get("/staff", Authorization="Basic YWxpY2U6c2VjcmV0")).status,
        ]

        await first.ask("/slow")
        await arrived.acquire()
        assert 503 == (await second.get("/slow")).status
        os.kill(one, signal.SIGKILL)
        with trio.fail_after(LONG_S):
            while await asked(second, arrived) == 503:
                await trio.sleep(0.05)
        assert (await node.metrics())['edge_refused_total{rule="rate"}'] == 3
        assert (await node.metrics())['edge_refused_total{rule="concurrency"}'] >= 1

        (node.folder / "blocked.txt").write_text("127.0.0.0/8\n")
        since = len(node.log())
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        await second.aclose()  # the last that is carried by who leaves
        await until(lambda: len(node.workers) == 2, why=node.tail)
        blocked = await node.client()
        assert 403 == (await blocked.get("/quick")).status

        (node.folder / "blocked.txt").write_text("nonsense\n")
        since = len(node.log())
        node.signal(signal.SIGHUP)
        await node.said(r"blocked\.txt, line 1: 'nonsense' is not an address or network", since=since)
        await until(lambda: "reload refused" in node.log()[since:])
        assert 403 == (await blocked.get("/quick")).status


RULES = """
import os
from edge.policy.verdict import Respond
with open({log!r}, "a") as log:
    log.write("%d\\n" % os.getpid())
def rule(request):
    return Respond(200, {said!r})
"""


@pytest.mark.slow
async def test_a_reload_takes_up_a_policy_functions_module_that_has_changed(node_at) -> None:
    """And only one that has; the master imports none of them."""
    async with node_at(start=False) as node:
        imported = node.folder / "imported.txt"

        def rule(said: str) -> None:
            (node.folder / "edge_tests_rules.py").write_text(RULES.format(log=str(imported), said=said))

        async def said() -> bytes:
            return (await (await node.client()).get("/")).body

        rule("one")
        node.config["route"] = [{"origin": "shop", "policy": "edge_tests_rules:rule"}]
        node.write()
        await node.start()
        old = node.workers
        assert b"one" == await said()

        since = len(node.log())
        node.signal(signal.SIGHUP)
        await node.said("reloaded: nothing has changed", since=since)
        assert node.workers == old

        rule("two")  # as long as it was, maybe in the same second
        since = len(node.log())
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        await until(lambda: not {*old} & {*node.workers}, why=node.tail)
        assert b"two" == await said()

        assert {*old, *node.workers} == {int(line) for line in imported.read_text().split()}


BACKTRACKS = """
import re
from edge.policy.verdict import Pass
def rule(request):
    if request.path == "/backtracks":
        re.match("(a+)+$", 64 * "a" + "b")
    while request.path == "/computes":
        pass
    return Pass()
"""


@pytest.mark.slow
async def test_a_function_that_holds_the_interpreter_costs_its_worker_and_no_other(node_at) -> None:
    """Nothing inside that process can end it, so the master does. What computes in Python costs one request."""
    async with node_at(start=False) as node:
        (node.folder / "edge_tests_backtracks.py").write_text(BACKTRACKS)
        node.config["server"]["hang"] = "1s"
        node.config["route"] = [{"origin": "shop", "policy": "edge_tests_backtracks:rule"}]
        node.write()
        await node.start()
        one, other = node.workers
        [[first], [second]] = await node.clients_of(one, other)
        assert [503, 200] == [(await first.get(path)).status for path in ("/computes", "/kept/0")]
        await until_none_goes_on(node)

        await first.ask("/backtracks")
        with trio.fail_after(LONG_S):
            while one in node.workers:
                assert 200 == (await second.get("/kept/0")).status
                await trio.sleep(0.02)
        await until(lambda: len(node.workers) == 2, why=node.tail)
        assert other in node.workers


async def until_none_goes_on(node: Node) -> None:
    """Wait until no call of a function goes on beyond its time."""
    with trio.fail_after(LONG_S):
        while (await node.metrics())["edge_policy_overruns"]:
            await trio.sleep(0.05)
