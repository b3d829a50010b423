"""Rules of a whole node: one budget for all its processes, nothing held for the dead, and files taken up by a reload."""

from __future__ import annotations

import os
import signal

import bcrypt
import pytest
import trio

from tests.kit.node import LONG_S, Caller, until
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
