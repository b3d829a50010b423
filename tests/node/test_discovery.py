"""Servers that change under load in real processes: every worker knows, no request is lost, and nothing is restarted."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import trio

from tests.kit.dns import NameServer
from tests.kit.load import answer, load
from tests.kit.node import Node, until
from tests.kit.origin import Origin, serve_on_one_port

pytestmark = pytest.mark.slow


async def started(nursery: trio.Nursery, *hosts: str) -> list[Origin]:
    made = [Origin({b"*": answer}, host=host) for host in hosts]
    await serve_on_one_port(nursery, *made)
    return made


def write(path: Path, *origins: Origin) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps([f"http://{origin.host}:{origin.port}" for origin in origins]))
    part.replace(path)


async def quiet(node: Node, tally, silent: Origin, *busy: Origin) -> None:
    """Wait until all workers ask only those who are listed now."""
    await until(lambda: all(origin.asked for origin in busy), why=node.tail)
    await trio.sleep(2.5)  # a look a second, in each worker
    before = len(silent.asked)
    await tally.more(100)

    assert before == len(silent.asked)


async def test_a_listed_server_is_exchanged_under_load(node_at, nursery, tmp_path):
    """By every worker, with no reload, and without a failed request; a broken list changes nothing."""
    first, second, third = await started(nursery, "127.0.0.2", "127.0.0.3", "127.0.0.4")
    path = tmp_path / "servers.json"
    write(path, first, second)
    async with node_at(start=False) as node:
        node.config["origin"] = {"shop": {"servers_file": str(path)}}
        node.write()
        await node.start()
        workers = node.workers
        async with load(node) as tally:
            await tally.more(100)
            write(path, second, third)
            await quiet(node, tally, first, second, third)
            path.write_text("[")
            await node.said("servers.json:1:2: this is not JSON.*the last answer holds: 2 servers")
            await tally.more(100)
            write(path, first)
            await quiet(node, tally, third, first)
        assert workers == node.workers
    tally.assert_clean()


async def test_a_name_is_asked_for_by_one_process_and_known_to_all(node_at, nursery):
    """When that process dies the other goes on; and who is born while nobody answers knows what was last."""
    first, second = await started(nursery, "127.0.0.2", "127.0.0.3")
    server = NameServer({("app.example", "A"): ["127.0.0.2", "127.0.0.3"]}, ttl_s=1)
    await nursery.start(server.serve)
    async with node_at(start=False) as node:
        url = f"http://app.example:{first.port}"
        node.config["origin"] = {"shop": {"servers": [url]}}
        node.config["discovery"] = {"nameservers": [f"127.0.0.1:{server.port}"]}
        node.write()
        path = node.folder / "edge.toml"
        path.write_text(path.read_text().replace(f'"{url}"', f'{{ url = "{url}", discover = "addresses" }}'))
        await node.start()
        async with load(node) as tally:
            await tally.more(100)
            rate = [len(server.asked)]
            await trio.sleep(3)
            rate.append(len(server.asked))
            assert 4 <= rate[1] - rate[0] <= 10  # two kinds of address a second, whatever the number of workers

            server.records[("app.example", "A")] = ["127.0.0.3"]
            await quiet(node, tally, first, second)
        server.fails = "SERVFAIL"
        old = node.workers
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(node.workers) == 2 and not {*old} & {*node.workers}, why=node.tail)
        asked = len(second.asked)
        async with load(node) as tally:
            await tally.more(20)
        assert len(second.asked) > asked
    tally.assert_clean()
