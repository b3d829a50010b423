"""Servers that come and go while requests are answered: by name, by service, and by a file."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edge.config.tree import Discovery, OriginServer
from edge.config.tree import Origin as OriginConfig
from edge.observe import names
from tests.kit.dns import NameServer
from tests.kit.house import Pages, TrioClock
from tests.kit.origin import Asked, Origin, Wire, reply, serve_on_one_port


class Fleet:
    """Origins on addresses of their own, each saying which it is; and a name server that knows them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.dns = NameServer()
        self.port = 0
        self.origins: dict[str, Origin] = {}

    async def add(self, *hosts: str) -> None:
        for host in hosts:

            async def answer(_: Asked, wire: Wire, host: str = host) -> None:
                await wire.send(reply(body=host.encode(), cache_control="no-store"))

            self.origins[host] = Origin({b"*": answer}, host=host)
        self.port = await serve_on_one_port(self.nursery, *self.origins.values())

    def name(self, *hosts: str) -> None:
        self.dns.records[("app.example", "A")] = list(hosts)

    def settings(self, *servers: OriginServer, **more) -> dict:
        found = servers or (OriginServer(f"http://app.example:{self.port}", discover="addresses"),)
        return {
            "origins": {"shop": OriginConfig("shop", found, **more)},
            "discovery": Discovery(nameservers=(("127.0.0.1", self.dns.port),), timeout_s=0.5),
        }


@pytest.fixture
async def fleet(nursery) -> Fleet:
    made = Fleet(nursery)
    await nursery.start(made.dns.serve)
    await made.add("127.0.0.2", "127.0.0.3", "127.0.0.4")
    made.name("127.0.0.2", "127.0.0.3")
    return made


@asynccontextmanager
async def serving(
    edge_at, folder: Path | None, fleet: Fleet, *servers: OriginServer, pages: Pages | None = None, slot=0, **more
):
    """A house in front of the fleet, ready."""
    async with edge_at(
        folder, origin=Origin(port=1), pages=pages, slot=slot, **fleet.settings(*servers, **more)
    ) as edge:
        yield edge


async def asked(edge, times: int = 12) -> Counter[str]:
    """Who answers."""
    client = await edge.client()
    found: Counter[str] = Counter()
    with trio.fail_after(60):
        for _ in range(times):
            got = await client.get("/")
            found[got.body.decode() if got.status == 200 else str(got.status)] += 1
    await client.aclose()
    return found


async def becomes(edge, *hosts: str) -> None:
    """Wait until exactly these answer."""
    with trio.fail_after(120):
        while set(await asked(edge, 6)) != set(hosts):
            await trio.sleep(0.2)


# -- names --------------------------------------------------------------------------------------------------


async def test_each_address_of_a_name_is_a_server(edge_at, fleet) -> None:
    """Known before the worker is ready: the first request has somewhere to go."""
    async with serving(edge_at, None, fleet) as edge:
        assert {"127.0.0.2": 6, "127.0.0.3": 6} == await asked(edge)
        assert 1 == edge.count(names.DISCOVERED["found"])


async def test_servers_come_and_go_when_the_answer_has_run_out(edge_at, fleet, autojump_clock) -> None:
    """Asked again after the TTL, not before; what has left is asked no more, what stays keeps its connections."""
    fleet.dns.ttl_s = 20
    async with serving(edge_at, None, fleet) as edge:
        await asked(edge)
        fleet.name("127.0.0.3", "127.0.0.4")
        await trio.sleep(15)
        assert {"127.0.0.2", "127.0.0.3"} == set(await asked(edge))
        assert 2 == len(fleet.dns.asked)
        await trio.sleep(7)
        assert {"127.0.0.3": 6, "127.0.0.4": 6} == await asked(edge)
        assert 4 == len(fleet.dns.asked)


@pytest.mark.parametrize("fails", ["SERVFAIL", "silent", "no such name"])
async def test_the_last_good_answer_holds_however_long_there_is_none(
    edge_at, fleet, fails, caplog, autojump_clock
) -> None:
    """Said once; and when there is one again, it counts soon."""
    fleet.dns.ttl_s = 5
    async with serving(edge_at, None, fleet) as edge:
        await asked(edge)
        if fails == "no such name":
            fleet.dns.records.clear()
        else:
            fleet.dns.fails = fails
        await trio.sleep(600)
        assert {"127.0.0.2": 6, "127.0.0.3": 6} == await asked(edge)
        assert 15 <= edge.count(names.DISCOVERED["failed"]) <= 26  # ever more seldom, to half a minute
        fleet.dns.fails = ""
        fleet.name("127.0.0.4")
        await trio.sleep(40)
        assert {"127.0.0.4": 12} == await asked(edge)

    told = [line for line in caplog.messages if "the last answer holds: 2 servers" in line]
    assert 1 == len(told)
    assert 1 == sum("there is an answer again" in line for line in caplog.messages)


async def test_a_name_that_nobody_knows_yet(edge_at, fleet, caplog, autojump_clock) -> None:
    """The worker serves all the same, after a moment; requests are told, and go as soon as it is known."""
    fleet.dns.fails = "SERVFAIL"
    began = trio.current_time()
    async with serving(edge_at, None, fleet) as edge:
        assert 2 <= trio.current_time() - began <= 4
        assert {"503": 3} == await asked(edge, 3)
        fleet.dns.fails = ""
        await becomes(edge, "127.0.0.2", "127.0.0.3")

    assert any("no server is known yet" in line for line in caplog.messages)


async def test_a_server_may_stand_beside_what_is_found(edge_at, fleet) -> None:
    """As a backup, or as one of them."""
    found = OriginServer(f"http://app.example:{fleet.port}", discover="addresses", weight=2)
    beside = OriginServer(f"http://127.0.0.4:{fleet.port}")
    async with serving(edge_at, None, fleet, found, beside) as edge:
        assert {"127.0.0.2": 4, "127.0.0.3": 4, "127.0.0.4": 2} == await asked(edge, 10)


async def test_a_service_says_ports_weights_and_who_helps_out(edge_at, fleet, nursery, autojump_clock) -> None:
    fleet.dns.records |= {
        ("_http._tcp.app.example", "SRV"): [
            f"10 3 {fleet.port} a.example.",
            f"10 1 {fleet.port} b.example.",
            f"20 1 {fleet.port} c.example.",
        ],
        ("a.example", "A"): ["127.0.0.2"],
        ("b.example", "A"): ["127.0.0.3"],
        ("c.example", "A"): ["127.0.0.4"],
    }
    fleet.dns.ttl_s = 5
    service = OriginServer("http://_http._tcp.app.example", discover="srv")
    async with serving(edge_at, None, fleet, service) as edge:
        assert {"127.0.0.2": 9, "127.0.0.3": 3} == await asked(edge)
        for name in "ab":
            del fleet.dns.records[f"{name}.example", "A"]
        await trio.sleep(8)
        assert {"127.0.0.4": 12} == await asked(edge)


async def test_one_process_asks_and_all_know(edge_at, fleet, autojump_clock) -> None:
    """Two workers; and when who asked is gone, the other goes on asking. Whoever comes in an outage knows what was last."""
    fleet.dns.ttl_s = 20
    pages = Pages()
    async with serving(edge_at, None, fleet, pages=pages, slot=1) as second:
        async with serving(edge_at, None, fleet, pages=pages) as first:
            assert {"127.0.0.2", "127.0.0.3"} == set(await asked(first)) == set(await asked(second))
            row = next(iter(first.worker.discovery.watches.values())).row
            assert row == next(iter(second.worker.discovery.watches.values())).row
        fleet.name("127.0.0.4")
        await trio.sleep(25)
        assert {"127.0.0.4"} == set(await asked(second))
    fleet.dns.fails = "SERVFAIL"
    async with serving(edge_at, None, fleet, pages=pages) as third:
        assert {"127.0.0.4"} == set(await asked(third))


# -- files --------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """As it should be done: in one step."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def listed(fleet: Fleet, *hosts: str, form: str = "toml") -> str:
    urls = [f"http://{host}:{fleet.port}" for host in hosts]
    return json.dumps(urls) if form == "json" else f"servers = {json.dumps(urls)}\n"


@asynccontextmanager
async def files(edge_at, **settings):
    """A house whose origin is listed in a file; its clock shows the files' time."""
    origins = {"shop": OriginConfig("shop", (), **settings)}
    clock = TrioClock(time.time())
    async with edge_at(None, origin=Origin(port=1), origins=origins, clock=clock) as edge:
        yield edge


@pytest.mark.parametrize("form", ["toml", "json"])
async def test_servers_listed_in_a_file_change_with_it(
    edge_at, fleet, tmp_path: Path, form: str, autojump_clock
) -> None:
    """No reload, and no more than a moment."""
    path = tmp_path / f"servers.{form}"
    write(path, listed(fleet, "127.0.0.2", form=form))
    async with files(edge_at, servers_file=path) as edge:
        assert {"127.0.0.2": 12} == await asked(edge)
        write(path, listed(fleet, "127.0.0.3", "127.0.0.4", form=form))
        await becomes(edge, "127.0.0.3", "127.0.0.4")


@pytest.mark.parametrize("broken", ["servers = [", "", "servers = []", 'servers = ["ftp://x"]', None])
async def test_a_broken_file_leaves_the_servers_as_they_were(
    edge_at, fleet, tmp_path: Path, broken, caplog, autojump_clock
) -> None:
    """Said once, with the place where it is broken."""
    path = tmp_path / "servers.toml"
    write(path, listed(fleet, "127.0.0.2"))
    async with files(edge_at, servers_file=path) as edge:
        await asked(edge)
        if broken is None:
            path.unlink()
        else:
            write(path, broken)
        await trio.sleep(30)
        assert {"127.0.0.2": 12} == await asked(edge)
        write(path, listed(fleet, "127.0.0.3"))
        await becomes(edge, "127.0.0.3")

    [told] = [line for line in caplog.messages if "the last answer holds: 1 server" in line]
    assert f"{path} cannot be read" in told if broken is None else f"{path}:1:" in told


async def test_a_file_that_is_broken_in_another_way_is_told_again(
    edge_at, fleet, tmp_path: Path, caplog, autojump_clock
) -> None:
    """Each once, however long it stays so; and what it was before, when it is that again."""
    path = tmp_path / "servers.toml"
    write(path, listed(fleet, "127.0.0.2"))
    async with files(edge_at, servers_file=path) as edge:
        await asked(edge)
        write(path, "servers = [")
        await trio.sleep(30)
        path.unlink()
        await trio.sleep(30)
        write(path, 'servers = ["ftp://x"]')
        await trio.sleep(30)
        path.unlink()
        await trio.sleep(30)
        write(path, listed(fleet, "127.0.0.3"))
        await becomes(edge, "127.0.0.3")

    told = [line for line in caplog.messages if "the last answer holds" in line]
    assert [False, True, False, True] == ["cannot be read" in line for line in told]
    assert "ftp" in told[2]
    assert 1 == sum("there is an answer again" in line for line in caplog.messages)


async def test_a_second_change_within_a_tick_of_the_clock_is_seen(
    edge_at, fleet, tmp_path: Path, autojump_clock
) -> None:
    """Same size, same time, same file."""
    path = tmp_path / "servers.toml"
    path.write_text(listed(fleet, "127.0.0.2"))
    async with files(edge_at, servers_file=path) as edge:
        assert {"127.0.0.2": 12} == await asked(edge)
        status = path.stat()
        with path.open("r+") as file:
            file.write(listed(fleet, "127.0.0.3"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        await becomes(edge, "127.0.0.3")


async def test_a_name_beside_a_file(edge_at, fleet, tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    path.write_text(f'servers = [{{ url = "http://127.0.0.4:{fleet.port}", weight = 2 }}]\n')
    async with serving(edge_at, None, fleet, servers_file=path) as edge:
        assert {"127.0.0.2": 3, "127.0.0.3": 3, "127.0.0.4": 6} == await asked(edge)
