"""The operators' door: who comes in, and that a reload changes the lock."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import trio

from tests.kit.client import Client
from tests.kit.node import REPOSITORY, Node

FIRST, SECOND = "the-first-token-of-all", "another-token-entirely"


async def status(node: Node, path: str, token: str | None = None, host: str = "127.0.0.1") -> int:
    stream = await trio.open_tcp_stream("127.0.0.1", node.admin_port)
    async with stream:
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        return (await Client(stream).get(path, host=host, Connection="close", **fields)).status


@pytest.mark.slow
async def test_tokens_are_asked_for_and_a_reload_exchanges_them(node_at) -> None:
    async with node_at(start=False) as node:
        node.config["admin"]["tokens"] = "admin.tokens"
        node.config["log"]["errors"] = "errors.log"
        tokens = node.folder / "admin.tokens"
        tokens.write_text(FIRST + "\n")
        tokens.chmod(0o600)
        node.write()
        node.launch()
        await node.said(r"generation 1 is complete")
        assert [401, 200, 401] == [await status(node, "/metrics", token) for token in (None, FIRST, SECOND)]
        assert 200 == await status(node, "/readyz")

        since = len(node.log())
        tokens.write_text(SECOND + "\n")
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        with trio.fail_after(20):
            while [401, 200] != [await status(node, "/metrics", token) for token in (FIRST, SECOND)]:
                await trio.sleep(0.05)  # the first generation's workers may answer until they have left

        asked = [sys.executable, "-m", "edge", "cache", "stats", "-c", str(node.folder / "edge.toml")]
        done = await trio.run_process(asked, cwd=REPOSITORY, capture_stdout=True, stderr=subprocess.STDOUT)
        assert b"copies" in done.stdout

        tokens.write_text("short\n")
        node.signal(signal.SIGHUP)
        await node.said(r"reload refused, nothing changed: .*line 1 is no token")
        assert 200 == await status(node, "/metrics", SECOND)
        spoken = node.log() + (node.folder / "access.log").read_text()

        assert FIRST not in spoken
        assert SECOND not in spoken


@pytest.mark.slow
async def test_without_tokens_a_page_that_rebinds_its_name_learns_nothing(node_at) -> None:
    async with node_at() as node:
        assert [200, 403] == [await status(node, "/metrics", host=host) for host in ("localhost", "evil.example")]
        lines = [json.loads(line) for line in (node.folder / "access.log").read_text().splitlines()]
        assert all(line["status"] != 403 or line["error"] == "http_request_denied" for line in lines)
