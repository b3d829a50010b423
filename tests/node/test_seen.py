"""What operators see of a node under load: metrics, health, and a line per exchange."""

from __future__ import annotations

import json
import random
import re
import signal

import pytest
import trio

from tests.kit.gates import Download
from tests.kit.load import load
from tests.kit.node import node as make_node
from tests.kit.node import until
from tests.kit.origin import Origin, reply

COMBINED = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(?:[^"\\]|\\.)*" \d{3} \d+ "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"'
)


@pytest.mark.slow
async def test_metrics_count_what_clients_have_seen(node_at, origin):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(300)
        tally.assert_clean()
        metrics = {}
        with trio.fail_after(5):  # counted a batch at a time
            while sum(metrics.get(f'edge_requests_total{{cache="{word}"}}', 0) for word in tally_words) < tally.asked:
                metrics = await node.metrics()
        by_worker = await until(lambda: len(node.workers))

        assert by_worker == metrics["edge_workers_ready"] == 2
        assert metrics['edge_requests_total{cache="hit"}'] == tally.outcomes["hit"]
        assert metrics['edge_requests_total{cache="method"}'] == tally.outcomes["fwd=method"]
        assert metrics['edge_requests_total{cache="uri-miss"}'] == tally.outcomes["fwd=uri-miss"]
        assert metrics['edge_tls_handshakes_total{resumed="no"}'] == tally.connections - tally.resumed
        assert metrics['edge_tls_handshakes_total{resumed="yes"}'] == tally.resumed
        assert metrics['edge_origin_replies_total{origin="shop",status="2xx"}'] == len(origin.asked)
        assert 1 <= metrics['edge_origin_connects_total{origin="shop"}'] <= len(origin.asked)
        assert metrics['edge_origin_received_bytes_total{origin="shop"}'] > len(origin.asked)
        assert metrics["edge_cache_stored_total"] == len({path for path in origin.paths() if path.startswith(b"/kept")})
        assert metrics["edge_bugs_total"] == 0
        assert metrics["edge_log_dropped_total"] == 0
        assert next(value for name, value in metrics.items() if name.startswith("edge_certificate_expiry_seconds")) > 0
        assert 0 < metrics["edge_cache_used_bytes"] < metrics["edge_cache_size_bytes"] == 64 << 20


tally_words = ("hit", "method", "uri-miss")


@pytest.mark.slow
async def test_health_is_answered_by_who_serves(node_at, origin):
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node:
        for path, status, body in [
            ("/healthz", 200, b"ok\n"),
            ("/readyz", 200, b"ready\n"),
            ("/nothing", 404, None),
        ]:
            got = await node.admin(path)

            assert status == got.status
            assert body in {got.body, None}
        old = node.workers
        [[caller]] = await node.clients_of(old[0])
        await caller.ask("/download")
        await download.begun.wait()
        since = len(node.log())
        node.config["compression"] = {"encodings": []}
        node.write()
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        await until(lambda: set(node.workers) & set(old) == {old[0]}, why=node.tail)

        assert [200] * 20 == [(await node.admin("/readyz")).status for _ in range(20)]
        assert (await node.metrics())["edge_workers_ready"] == 2
        download.go_on.set()
        assert (await caller.reply()).body == download.body


@pytest.mark.slow
async def test_there_is_one_line_per_exchange_and_every_line_is_json(node_at):
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(300)
        agent = 'a "b" \\ \t\u00e9'
        await (await node.client()).get('/"quoted"\\', user_agent=agent)
        await node.stop()
        lines = [json.loads(line) for line in (node.folder / "access.log").read_text().splitlines()]
    tally.assert_clean()

    assert tally.asked + 1 == len(lines)
    assert {"127.0.0.1"} == {line["client"] for line in lines}
    assert {"TLSv1.3"} == {line["tls"] for line in lines}
    assert {200} == {line["status"] for line in lines}
    assert tally.outcomes["hit"] == sum(line["cache"] == "hit" for line in lines)
    asked = [line["target"] for line in lines if line["target"].startswith("/passed/")]
    assert len(set(asked)) == len(asked)
    assert [agent] == [line["agent"] for line in lines if line["target"] == '/"quoted"\\']
    ids = [line["request_id"] for line in lines if "origin" in line]  # who joined another's fetch asked no origin
    assert len(set(ids)) == len(ids) > 0
    assert all("origin" in line for line in lines if "request_id" in line)


@pytest.mark.slow
async def test_the_combined_format_keeps_to_its_form(node_at):
    async with node_at(log={"format": "combined"}) as node:
        async with load(node, keepers=3) as tally:
            await tally.more(100)
        await (await node.client()).get('/"quoted"', user_agent='"x"')
        await node.stop()
        lines = (node.folder / "access.log").read_text().splitlines()
    tally.assert_clean()

    assert tally.asked + 1 == len(lines)
    assert [] == [line for line in lines if not COMBINED.fullmatch(line)]


@pytest.mark.slow
async def test_a_failed_origin_is_a_reply_a_line_and_a_count(node_at):
    async with node_at(start=False) as node:
        node.config["origin"]["shop"] = {"servers": ["http://127.0.0.1:9"], "connect": "1s"}
        node.write()
        await node.start()
        got = await (await node.client()).get("/gone")
        await until(lambda: (node.folder / "access.log").read_text())
        [line] = [json.loads(line) for line in (node.folder / "access.log").read_text().splitlines()]
        metrics = await node.metrics()

        assert got.status == line["status"] == 502
        assert b"edge; error=connection_refused" in got.get(b"proxy-status")
        assert line["fault"] == "connection_refused"
        assert metrics['edge_origin_faults_total{origin="shop"}'] == 1
        assert metrics['edge_faults_total{error="connection_refused"}'] == 1


@pytest.mark.slow
async def test_what_the_keeper_removes_is_counted(tmp_path):
    """By a process that answers nobody, in the node's figures all the same; so is whose connections they were."""
    page = reply(body=random.Random(1).randbytes(400_000), cache_control="max-age=3600")
    async with make_node(tmp_path, origin=Origin({b"*": page}), cache={"size": "8 MiB", "max_object": "1 MiB"}) as node:
        client = await node.client()
        for number in range(40):  # twice what there is room for
            assert 200 == (await client.get(f"/{number}")).status
        metrics: dict[str, float] = {}
        with trio.fail_after(20):
            while not metrics.get("edge_cache_evicted_total"):
                await trio.sleep(0.05)
                metrics = await node.metrics()

        assert (
            metrics['edge_origin_connects_total{origin="shop"}'] + metrics['edge_origin_reused_total{origin="shop"}']
            >= 40
        )
        assert metrics['edge_origin_received_bytes_total{origin="shop"}'] == 40 * len(page)
