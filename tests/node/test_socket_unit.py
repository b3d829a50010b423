"""Sockets that somebody else keeps, as systemd does for a socket unit: the whole program may be away for a moment."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.kit.load import load
from tests.kit.node import REPOSITORY, Node, until

SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "edge-https", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def socket_unit(node: Node):
    """Hold the node's socket, and start its command with it as systemd would."""
    with socket.create_server(("127.0.0.1", node.port), backlog=512) as held:

        def launch() -> None:
            edge = [sys.executable, "-m", "edge", "run", "-c", str(node.folder / "edge.toml")]
            with (node.folder / "edge.log").open("ab") as log:
                node.master = subprocess.Popen(
                    [sys.executable, "-c", SYSTEMD, str(held.fileno()), *edge],
                    cwd=REPOSITORY,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[held.fileno()],
                    process_group=0,
                )

        node.launch = launch
        yield


@pytest.mark.slow
async def test_a_restart_loses_no_request_when_the_socket_is_kept(node_at):
    """Who connects while nothing runs waits in the socket's queue."""
    async with node_at(start=False) as node:
        node.config["listener"] = [{"address": "systemd:edge-https", "tls": True}]
        node.write()
        with socket_unit(node):
            await node.start()
            async with load(node) as tally:
                await tally.more()
                for _ in range(2):
                    await node.stop()
                    await node.start()
                    await tally.more()
            tally.assert_clean()
            assert tally.retried == 0


@pytest.mark.slow
async def test_a_reload_and_an_upgrade_lose_none_either(node_at):
    async with node_at(start=False) as node:
        node.config["listener"] = [{"address": "systemd:edge-https", "tls": True}]
        node.write()
        with socket_unit(node):
            await node.start()
            async with load(node) as tally:
                await tally.more(100)
                since = len(node.log())
                node.config["compression"] = {"min_length": 700}
                node.write()
                node.signal(signal.SIGHUP)
                await node.complete(since=since)
                await until(lambda: len(node.workers) == 2, why=node.tail)
                await tally.more(100)
                before = node.master_pid()
                node.signal(signal.SIGUSR2)
                await until(lambda: node.master_pid() != before, why=node.tail)
                await tally.more(100)
            tally.assert_clean()
            assert tally.retried == 0


@pytest.mark.slow
async def test_a_socket_nobody_passed_is_said_in_a_sentence(node_at):
    async with node_at(start=False) as node:
        node.config["listener"] = [{"address": "systemd:other", "tls": True}]
        node.write()
        with socket_unit(node):
            node.launch()

            assert await node.ended() == 1
            assert "systemd passed no stream socket named 'other' (passed: edge-https" in node.log()
