"""The configuration changes under load, and nobody who is connected need know."""

from __future__ import annotations

import json
import os
import signal

import pytest
import trio

from tests.kit.gates import Download, echo_tunnel
from tests.kit.load import body_of, load
from tests.kit.node import LONG_S, Caller, Node, free_ports, until
from tests.kit.origin import reply

UPGRADE = b"GET /tunnel HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def tunnel_through(caller: Caller) -> None:
    """Ask for another protocol, and wait for the 101."""
    await caller.send(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await caller.stream.receive_some(1)

    assert head.startswith(b"HTTP/1.1 101 "), head


async def said_back(caller: Caller, data: bytes) -> bytes:
    await caller.send(data)
    heard = b""
    while len(heard) < len(data):
        more = await caller.stream.receive_some(65536)
        assert more, "the tunnel was cut"
        heard += more
    return heard


def ask_slowly(nursery: trio.Nursery, caller: Caller, path: str, replies: list) -> None:
    async def ask() -> None:
        replies.append(await caller.get(path))

    nursery.start_soon(ask)


async def gone(node: Node, pids: list[int]) -> None:
    await until(lambda: not {*pids} & {*node.children("edge")}, why=node.tail)


@pytest.mark.slow
async def test_a_new_generation_takes_over_without_a_failed_request(node_at, origin):
    """What was begun on an old worker, a download and a tunnel, is finished there; all else goes to the new ones."""
    origin.pages = {b"/download": (download := Download()), b"/tunnel": echo_tunnel, **origin.pages}
    async with node_at() as node, load(node) as tally, trio.open_nursery() as nursery:
        await tally.more()
        old = node.workers
        [[downloader, tunneller]] = await node.clients_of(old[0], each=2)
        [[idler]] = await node.clients_of(old[1])
        replies = []
        ask_slowly(nursery, downloader, "/download", replies)
        await tunnel_through(tunneller)
        await idler.get("/kept/0")
        await download.begun.wait()
        listening_before = node.log().count("listening on")

        since = len(node.log())
        node.config["compression"] = {"encodings": ["br"]}
        node.write()
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        await until(lambda: old[1] not in node.workers, why=node.tail)
        new = [pid for pid in node.workers if pid not in old]
        await tally.more()

        assert len(new) == 2
        assert old[0] in node.workers
        assert await said_back(tunneller, b"still there?" * 1000) == b"still there?" * 1000
        download.go_on.set()
        await until(lambda: replies)
        assert replies[0].body == download.body
        assert old[0] in node.workers
        tunneller.stream.transport_stream.socket.shutdown(1)
        await gone(node, old)
        await tally.more(50)
        assert node.workers == new
        assert (await (await node.client()).get("/kept/3", accept_encoding="br, gzip")).get(
            b"content-encoding"
        ) == b"br"
        assert node.log().count("listening on") == listening_before
        assert "killed" not in node.log()
    tally.assert_clean()
    assert tally.retried == 0


@pytest.mark.slow
async def test_many_reloads_in_a_row_lose_nothing_and_leave_nothing_behind(node_at):
    async with node_at() as node, load(node) as tally:
        await until(lambda: node.children("edge-keeper"), why=node.tail)
        held = node.descriptors()
        for turn in range(4):
            since = len(node.log())
            node.config["compression"] = {"min_length": 1000 + turn}
            node.write()
            node.signal(signal.SIGHUP)
            await node.complete(since=since)
            await tally.more(60)
            node.certify()
            node.signal(signal.SIGHUP)
            await node.said("reloaded: certificates only", since=since)
        last = node.workers[-2:]
        await until(lambda: node.workers == last, why=node.tail)
        await until(lambda: len(node.children("edge-keeper")) == 1 and node.descriptors() == held, why=node.tail)
    tally.assert_clean()
    assert tally.retried == 0


@pytest.mark.slow
async def test_a_reload_overtaken_by_another_ends_at_the_last(node_at):
    async with node_at() as node, load(node) as tally:
        for turn in range(6):
            node.config["compression"] = {"min_length": 1000 + turn}
            node.write()
            since = len(node.log())
            node.signal(signal.SIGHUP)
            await node.said(r"generation \d begins", since=since)
        await node.said("generation 7 is complete")
        await tally.more()
        await until(lambda: len(node.workers) == 2, why=node.tail)
    tally.assert_clean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "setting", "value", "reason"),
    [
        ("server", "workrs", 2, r"edge\.toml:\d+:1: .*workrs.*workers"),
        ("origin", "shop", {"servers": ["ftp://127.0.0.1"]}, r"edge\.toml:\d+:\d+: .*ftp"),
        pytest.param(
            *("server", "user", "nobody-by-this-name", "no user .nobody-by-this-name"),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root runs workers as somebody else"),
        ),
    ],
)
async def test_a_configuration_with_errors_changes_nothing_and_says_why(node_at, table, setting, value, reason):
    async with node_at() as node, load(node) as tally:
        await tally.more(50)
        before = node.children("edge")
        node.config[table][setting] = value
        node.write()
        node.signal(signal.SIGHUP)
        await node.said(f"reload refused, nothing changed: .*{reason}")
        await tally.more(50)

        assert before == node.children("edge")
    tally.assert_clean()
    assert tally.connections - tally.resumed <= 8


@pytest.mark.slow
async def test_an_address_that_is_taken_changes_nothing(node_at):
    async with node_at() as node, load(node) as tally:
        await tally.more(50)
        before = node.children("edge")
        with trio.socket.socket() as taken:
            await taken.bind(("127.0.0.1", 0))
            taken.listen()
            node.config["listener"].append({"address": f"127.0.0.1:{taken.getsockname()[1]}"})
            node.write()
            node.signal(signal.SIGHUP)
            await node.said("reload refused, nothing changed: .*another program listens there")
        await tally.more(50)

        assert before == node.children("edge")
    tally.assert_clean()


@pytest.mark.slow
async def test_listeners_come_and_go_with_a_reload(node_at):
    [port] = free_ports(1)
    async with node_at() as node, load(node) as tally:
        since = len(node.log())
        node.config["listener"].append({"address": f"127.0.0.1:{port}", "redirect": "https"})
        node.write()
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"GET /a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            redirected = await stream.receive_some(4096)
        await until(lambda: len(node.workers) == 2, why=node.tail)

        since = len(node.log())
        node.config["listener"].pop()
        node.write()
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        await until(lambda: len(node.workers) == 2, why=node.tail)
        with pytest.raises(OSError, match="attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
    tally.assert_clean()

    assert redirected.startswith(b"HTTP/1.1 308 ")
    assert f"location: https://shop.example:{node.port}/a?b\r\n".encode() in redirected


@pytest.mark.slow
async def test_workers_come_and_go_by_signal(node_at):
    async with node_at() as node, load(node) as tally:
        await tally.more(50)
        first = node.workers
        node.signal(signal.SIGTTIN)
        await node.said("3 workers from now on")
        await until(lambda: len(node.workers) == 3, why=node.tail)
        [third] = [pid for pid in node.workers if pid not in first]
        [[caller]] = await node.clients_of(third)
        await caller.get("/kept/0")
        await tally.more()

        for left in (2, 1):
            node.signal(signal.SIGTTOU)
            await node.said(f"{left} workers from now on")
            await until(lambda left=left: len(node.workers) == left, why=node.tail)
            await tally.more(80)
        node.signal(signal.SIGTTOU)
        await node.said("still 1 workers")

        assert node.workers == first[:1]
        node.signal(signal.SIGTTIN)
        await until(lambda: len(node.workers) == 2, why=node.tail)
        await tally.more(80)
    tally.assert_clean()
    assert tally.retried == 0


@pytest.mark.slow
async def test_logs_are_reopened_by_signal_and_no_line_is_lost(node_at):
    async with node_at(log={"errors": "errors.log"}) as node:
        async with load(node) as tally:
            await tally.more(80)
            for name in ("access.log", "errors.log"):
                (node.folder / name).rename(node.folder / f"{name}.1")
            node.signal(signal.SIGUSR1)
            access, errors = node.folder / "access.log", node.folder / "errors.log"
            await until(access.exists)
            await until(lambda: "logs reopened" in errors.read_text())
            await until(lambda: not any(path.endswith(".log.1") for path in node.open_files()))
            await tally.more(80)
        await node.stop()
        lines = [
            line for name in ("access.log.1", "access.log") for line in (node.folder / name).read_text().splitlines()
        ]
    tally.assert_clean()

    assert tally.answered == len([json.loads(line) for line in lines])
    assert "generation 1 is complete" in (node.folder / "errors.log.1").read_text()
    assert "stopped" in errors.read_text()


@pytest.mark.slow
async def test_what_was_half_sent_or_half_read_is_finished_where_it_was_begun(node_at, origin):
    """A head, a body, and a reply its client is slow to read: none of them may be cut by a reload."""
    large = bytes(range(256)) * 40_000
    origin.pages = {b"/large": reply(body=large, cache_control="max-age=60"), **origin.pages}
    sent = b"0123456789" * 50_000
    async with node_at() as node:
        await (await node.client()).get("/large")
        old = node.workers
        [[heading, posting, reading]] = await node.clients_of(old[0], each=3)
        await heading.send(b"GET /kept/1 HTTP/1.1\r\nHost: shop.exa")
        await posting.send(b"POST /echo HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n" % len(sent))
        await posting.send(sent[:200_000])
        await until(lambda: b"/echo" in origin.paths())
        await reading.ask("/large")

        since = len(node.log())
        node.config["compression"] = {"encodings": []}
        node.write()
        node.signal(signal.SIGHUP)
        await node.complete(since=since)
        await until(lambda: old[1] not in node.workers, why=node.tail)
        await heading.send(b"mple\r\n\r\n")
        await posting.send(sent[200_000:])
        headed, posted, read = await heading.reply(), await posting.reply("POST"), await reading.reply()

        assert headed.body == body_of(b"/kept/1")
        assert headed.get(b"connection") == b"close"
        assert posted.body == sent
        assert read.body == large
        await until(lambda: not {*old} & {*node.workers}, why=node.tail)


@pytest.mark.slow
async def test_the_admin_address_answers_through_reloads(node_at):
    async with node_at() as node, trio.open_nursery() as nursery:
        statuses = []

        async def scrape() -> None:
            while True:
                statuses.append((await node.admin("/metrics")).status)

        nursery.start_soon(scrape)
        for turn in range(2):
            since = len(node.log())
            node.config["compression"] = {"min_length": 500 + turn}
            node.write()
            node.signal(signal.SIGHUP)
            await node.complete(since=since)
            await until(lambda: len(node.workers) == 2, why=node.tail)
        goal = len(statuses) + 20
        await until(lambda: len(statuses) >= goal)
        nursery.cancel_scope.cancel()

    assert {200} == set(statuses)


@pytest.mark.slow
async def test_who_waited_for_a_worker_that_is_given_up_is_served_by_the_others(node_at):
    async with node_at() as node:
        stays, goes = node.workers
        os.kill(goes, signal.SIGSTOP)
        waiting: list[Caller] = []
        with trio.fail_after(LONG_S):
            while node.unaccepted(node.port) < 3 or node.unaccepted(node.admin_port) < 3:  # in the stopped one's queues
                waiting.append(await node.connect())
                waiting.append(Caller(await trio.open_tcp_stream("127.0.0.1", node.admin_port), 0))
        node.signal(signal.SIGTTOU)
        await node.said("1 workers from now on")
        os.kill(goes, signal.SIGKILL)
        replies = []

        async def ask(caller: Caller, path: str) -> None:
            replies.append((await caller.get(path, host="localhost")).status)
            await caller.aclose()

        async with trio.open_nursery() as nursery:
            for caller in waiting:
                nursery.start_soon(ask, caller, "/kept/0" if caller.port else "/healthz")

        assert [200] * len(waiting) == replies
        assert node.workers == [stays]
        assert "were handed to others" in node.log()


@pytest.mark.slow
async def test_a_worker_that_hears_late_that_its_place_was_given_up_finishes_what_it_carries(node_at, origin):
    """The master does not wait for it: its queue is closed under its hands."""
    origin.pages = {b"/download": (download := Download()), **origin.pages}
    async with node_at() as node:
        stays, goes = node.workers
        [[caller]] = await node.clients_of(goes)
        await caller.ask("/download")
        await download.begun.wait()
        os.kill(goes, signal.SIGSTOP)
        node.signal(signal.SIGTTOU)
        await until(lambda: node.queues(node.port) == 1, why=node.tail)
        os.kill(goes, signal.SIGCONT)
        download.go_on.set()

        assert (await caller.reply()).body == download.body
        await until(lambda: node.workers == [stays], why=node.tail)
        assert f"worker 1 (pid {goes}" in node.log()
        assert "leaving: exit 0" in node.log()
