"""Everything an operator can ask for, in no order and without waiting, while clients are counted."""

from __future__ import annotations

import random
import signal

import pytest

from tests.kit.load import load
from tests.kit.node import Node, until


def renew(node: Node, turn: int) -> None:
    node.certify()
    node.signal(signal.SIGHUP)


def reconfigure(node: Node, turn: int) -> None:
    node.config["compression"] = {"min_length": 600 + turn}
    node.write()
    node.signal(signal.SIGHUP)


def misconfigure(node: Node, turn: int) -> None:
    (node.folder / "edge.toml").write_text("[server]\nworkers = 'many'\n")
    node.signal(signal.SIGHUP)


def reopen(node: Node, turn: int) -> None:
    node.signal(signal.SIGUSR1)


def grow(node: Node, turn: int) -> None:
    node.signal(signal.SIGTTIN)


def shrink(node: Node, turn: int) -> None:
    node.signal(signal.SIGTTOU)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
async def test_a_storm_of_wishes_fails_no_request(node_at, seed):
    choice = random.Random(seed)
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(50)
            for turn in range(12):
                choice.choice([renew, reconfigure, reconfigure, misconfigure, reopen, grow, shrink])(node, turn)
                await tally.more(choice.choice([1, 10, 40]))
            since = len(node.log())
            node.config["server"]["workers"] = 3
            reconfigure(node, 100)
            await node.said(r"generation (\d+) begins", since=since)
            await node.complete(since=since)
            await until(lambda: len(node.workers) == 3, why=node.tail)
            old = node.master_pid()
            node.signal(signal.SIGUSR2)
            await until(lambda: node.master_pid() != old, why=node.tail)
            await tally.more(100)
        tally.assert_clean()
        assert tally.retried == 0
        assert (await node.metrics())["edge_bugs_total"] == 0
