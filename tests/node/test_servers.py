"""Servers die, hang and become slow under load, and nobody who asks the edge hears of it; and in an outage it asks no more than it may."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.kit.node import Node, free_ports, until
from tests.kit.servers import Flow, flow, machines

RETRIES = 'edge_origin_retries_total{origin="shop"}'
REFUSED = 'edge_origin_retries_refused_total{origin="shop"}'
RULES = {"on": ["connect", "closed", "reset", "timeout", "502", "503", "504"], "retries": 2}


@asynccontextmanager
async def shop_at(node_at, servers, *, slow_start: float, **settings):
    """A node of two workers without a cache in front of *servers*, and its plain listener's port."""
    (port,) = free_ports(1)
    async with node_at(start=False) as node:
        node.config["listener"].append({"address": f"127.0.0.1:{port}"})
        del node.config["cache"]
        node.config["log"] = {"access": "off"}
        node.config["origin"]["shop"] = {
            "servers": [server.url for server in servers],
            "first_byte": "1s",
            "slow_start": f"{slow_start:g}s",
            "health": {
                "path": "/healthz",
                "body": "ready",
                "interval": "500ms",
                "timeout": "450ms",
                "rise": 2,
                "fall": 2,
            },
            **settings,
        }
        node.config["route"] = [{"origin": "shop", "retry": RULES}]
        node.write()
        await node.start()
        yield node, port


async def state_of(node: Node, server) -> str:
    found = await node.metrics()
    label = f'{{origin="shop",server="127.0.0.1:{server.port}",state="'
    for name in found:
        if name.startswith("edge_origin_server_state" + label):
            return name.removeprefix("edge_origin_server_state" + label).removesuffix('"}')
    raise AssertionError("no such server")


async def stands(node: Node, server, *states: str) -> None:
    """Wait until a server is in one of *states*."""
    with trio.move_on_after(30):
        while await state_of(node, server) not in states:
            await trio.sleep(0.05)
        return
    raise AssertionError(f"{server.name} is {await state_of(node, server)}, not {states}\n{node.tail()}")


async def returns_slowly(run: Flow, name: str, since: float, slow_start: float) -> None:
    """A server's share grows from little to its own."""
    first = await until(lambda: next((at for at, who in run.answers if who == name and at > since), None))
    await trio.sleep(slow_start * 1.1 + 1.5)
    early = run.shares(first, first + slow_start / 2).get(name, 0.0)
    late = run.shares(first + slow_start * 1.1, trio.current_time()).get(name, 0.0)
    print(f"{name} is back: {early:.1%} of the replies at first, {late:.1%} then")

    assert early < 0.24 < 0.27 < late


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "phase_s", "slow_start"),
    [
        pytest.param(200, 2.0, 1.5, id="short"),
        pytest.param(1000, 60.0, 10.0, id="a minute each", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_a_server_that_dies_hangs_or_is_slow_fails_no_request(node_at, rate, phase_s, slow_start):
    """Killed and slow: not one. Stopped: at most one in a thousand. And who comes back gets his share slowly."""
    with machines(free_ports(3)) as (killed, stopped, slowed):
        async with shop_at(node_at, (killed, stopped, slowed), slow_start=slow_start) as (node, port):
            for server in (killed, stopped, slowed):
                await stands(node, server, "up")
            async with flow(port, rate=rate, clients=rate // 5) as run:
                await trio.sleep(slow_start)  # a budget is a share of what has been asked
                assert not run.failures
                assert all(0.28 < share < 0.39 for share in run.shares(0, trio.current_time()).values()), run.answers[
                    :50
                ]

                killed.kill()
                await trio.sleep(phase_s)
                assert not run.failures, run.told()
                began = trio.current_time()
                await trio.to_thread.run_sync(killed.start)
                await returns_slowly(run, "a", began, slow_start)
                assert not run.failures, run.told()

                asked = run.asked
                stopped.signal(signal.SIGSTOP)
                await trio.sleep(phase_s)
                assert await state_of(node, stopped) in {"down", "ejected"}
                began = trio.current_time()
                stopped.signal(signal.SIGCONT)
                await returns_slowly(run, "b", began, slow_start)
                print(f"stopped: {len(run.failures)} of {run.asked - asked} failed")
                assert len(run.failures) <= (run.asked - asked) / 1000, run.told()
                failures = len(run.failures)

                slowed.signal(signal.SIGUSR1)
                await trio.sleep(phase_s)
                slowed.signal(signal.SIGUSR2)
                await trio.sleep(1.0)
                assert len(run.failures) == failures, f"{run.told()}\n{node.tail()}"
            metrics = await node.metrics()
        print(f"{run.asked} asked, {len(run.failures)} failed, {metrics[RETRIES]:.0f} tried again")

    assert run.asked > rate * phase_s * 3


@pytest.mark.slow
async def test_in_a_full_outage_the_origin_sees_a_fifth_more_than_was_asked(node_at):
    """Every server answers 503, every request may be tried twice again, and two workers spend one budget."""
    with machines(free_ports(3)) as servers:
        for server in servers:
            server.signal(signal.SIGHUP)
        async with shop_at(node_at, servers, slow_start=0, ejection={"failures": 0}) as (node, port):
            async with flow(port, rate=300, clients=60, expects=503) as run:
                await trio.sleep(2.5)
            metrics = await node.metrics()
        seen = sum([await trio.to_thread.run_sync(server.seen) for server in servers])
        print(f"{run.asked} asked, {seen} seen: {seen / run.asked:.3f}; {metrics[REFUSED]:.0f} refused")

    assert not run.failures, run.told()
    assert run.asked < seen <= 1.2 * run.asked
    assert metrics[REFUSED] > 0


@pytest.mark.slow
async def test_health_is_checked_by_one_worker_and_by_another_at_once_when_that_dies(node_at):
    """What is known survives it, and so does what an operator has ordered; a reload, too."""
    with machines(free_ports(2)) as (first, second):
        async with shop_at(node_at, (first, second), slow_start=0) as (node, port):
            await stands(node, first, "up")
            said = r"worker (\d).*checks the origins' health"
            checker = (await node.said(said)).group(1)
            since = len(node.log())
            victim = next(pid for pid in node.workers if _name(pid) == f"edge-worker-{checker}")
            second.kill()
            await stands(node, second, "down", "unreachable")
            os.kill(victim, signal.SIGKILL)
            await node.said(said, since=since, within_s=5.0)
            await trio.to_thread.run_sync(second.start)
            await stands(node, second, "up")

            await _order(node, "drain", second)
            since, before = len(node.log()), {*node.workers}
            node.config["origin"]["shop"]["first_byte"] = "2s"
            node.write()
            node.signal(signal.SIGHUP)
            await node.complete(since=since)
            # Who leaves closes what is at rest, perhaps as a question comes.
            await until(lambda: not before & {*node.workers}, why=node.tail)
            assert "draining" == await state_of(node, second)
            async with flow(port, rate=100, clients=10) as run:
                await trio.sleep(0.5)
            assert {"a"} == set(run.shares(0, trio.current_time()))
            assert not run.failures


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


async def _order(node: Node, what: str, server) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", node.admin_port)
    async with stream:
        target = f"/origins/{what}?origin=shop&server=127.0.0.1:{server.port}"
        await stream.send_all(
            f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        reply = await stream.receive_some(4096)
    assert reply.startswith(b"HTTP/1.1 200"), reply
