"""
The machine fails underneath a worker: what the client sees, and that nothing stored is wrong.

Faults are the kernel's own words wherever it can be had: a descriptor of the store's is exchanged for one of a full or
read-only device, and given back.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from edge.cache.store import Store
from edge.config.tree import Log, OriginServer
from edge.config.tree import Origin as OriginConfig
from edge.observe import names
from edge.worker import dial
from tests.kit.house import House
from tests.kit.origin import Asked, Origin, Wire, reply


class Numbered(Origin):
    """Every reply says which one it is, and may be kept for a minute and served for an hour when we fail."""

    def __init__(self) -> None:
        super().__init__({b"*": self._answer})

    async def _answer(self, asked: Asked, wire: Wire) -> None:
        said = b"%b %d" % (asked.target, len(self.asked))
        await wire.send(reply(body=said, cache_control="max-age=60, stale-if-error=3600", content_type="text/plain"))


@contextmanager
def exchanged(file: Path, instead: str, flags: int) -> Iterator[None]:
    """For the block, let every descriptor of this process on *file* be one on *instead*."""
    here = [int(fd) for fd in os.listdir("/proc/self/fd") if _link(fd) == str(file)]
    assert here, f"nobody has {file} open"
    kept = {fd: os.dup(fd) for fd in here}
    other = os.open(instead, flags)
    try:
        for fd in here:
            os.dup2(other, fd, inheritable=False)
        yield
    finally:
        os.close(other)
        for fd, copy in kept.items():
            os.dup2(copy, fd, inheritable=False)
            os.close(copy)


def _link(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


async def status_of(edge: House, path: str) -> tuple[bytes, bytes]:
    got = await (await edge.client()).get(path)
    assert 200 == got.status
    return got.body, got.get(b"cache-status").removeprefix(b"edge; ").partition(b";")[0]


@pytest.mark.parametrize("fault", ["full", "read-only"])
async def test_a_disk_that_takes_nothing_costs_what_would_have_been_stored(
    edge_at, tmp_path: Path, fault, caplog
) -> None:
    """What is there is served on, what is not is fetched each time, and all is as before when the disk is."""
    data = tmp_path / "data.mdb"
    async with edge_at(tmp_path, origin=(origin := Numbered())) as edge:
        assert (b"/kept 1", b"fwd=uri-miss") == await status_of(edge, "/kept")
        instead = ("/dev/full", os.O_RDWR) if fault == "full" else (str(data), os.O_RDONLY)
        with exchanged(data, *instead):
            assert (b"/new 2", b"fwd=uri-miss") == await status_of(edge, "/new")
            assert (b"/new 3", b"fwd=uri-miss") == await status_of(edge, "/new")
            edge.worker.rooms.memory.__init__(1 << 20, edge.worker.rooms.recency)  # from the disk, not from memory
            assert (b"/kept 1", b"hit") == await status_of(edge, "/kept")
        full = edge.count(names.CACHE_FULL)
        assert (b"/new 4", b"fwd=uri-miss") == await status_of(edge, "/new")
        assert (b"/new 4", b"hit") == await status_of(edge, "/new")
        assert not edge.worker.store.is_broken
        assert 0 == edge.count(names.BUGS)

    assert full >= 2
    assert 1 == sum("has no room" in record.message for record in caplog.records)
    assert [b"/kept", b"/new", b"/new", b"/new"] == origin.paths()


async def test_a_disk_that_fills_up_under_a_long_body_cuts_nobody_off(edge_at, tmp_path: Path) -> None:
    """It had been landing in the store; whoever reads it gets it to its end, and half of it is nobody's copy."""
    body = os.urandom(300_000)
    half, go_on = trio.Event(), trio.Event()

    async def long(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: %d\r\n\r\n" % len(body))
        await wire.send(body[:150_000])
        half.set()
        await go_on.wait()
        await wire.send(body[150_000:])

    async with edge_at(tmp_path, origin=(origin := Origin({b"/long": long}))) as edge:
        clients = [await edge.client() for _ in range(2)]
        for client in clients:
            await client.ask("/long")
        await half.wait()
        while not edge.worker.store.counts().fills:
            await trio.sleep(0.001)
        with exchanged(tmp_path / "data.mdb", "/dev/full", os.O_RDWR):
            go_on.set()
            with trio.fail_after(10):
                bodies = [(await client.reply()).body for client in clients]
        again = await (await edge.client()).get("/long")
        assert 0 == edge.count(names.BUGS)

    assert [body, body] == bodies
    assert body == again.body
    assert b"hit" not in again.get(b"cache-status")
    assert 2 == len(origin.asked)


async def test_a_log_on_a_full_disk_costs_lines_and_nothing_else(edge_at, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with edge_at(tmp_path / "cache", origin=Numbered(), log=Log(access=log)) as edge:
        await status_of(edge, "/a")
        edge.count(names.BUGS)
        with exchanged(log, "/dev/full", os.O_WRONLY):
            for number in range(5):
                await status_of(edge, f"/{number}")
            edge.count(names.BUGS)
        await status_of(edge, "/b")
        edge.count(names.BUGS)
        dropped = edge.count(names.LOG_DROPPED)

    assert 7 == len(log.read_text().splitlines()) + dropped  # what fits in memory is written when there is room


async def test_a_resolver_that_is_down_is_a_502_and_stale_copies_stand_in(
    edge_at, tmp_path: Path, monkeypatch, autojump_clock
) -> None:
    """While what it said last is young enough nobody notices; then copies stand in; what nobody has is said to be missing why."""
    is_down = False
    origin = Numbered()

    async def ask(_: str, port: int) -> list[dial.Address]:
        if is_down:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, ("127.0.0.1", origin.port))]

    monkeypatch.setattr(dial, "_ask_system", ask)
    servers = (OriginServer("http://app.internal:8001"),)
    origins = {"shop": OriginConfig("shop", servers, idle_s=0.0, retries=0)}
    async with edge_at(tmp_path, origin=origin, origins=origins) as edge:
        await status_of(edge, "/kept")
        is_down = True
        assert (b"/young 2", b"fwd=uri-miss") == await status_of(edge, "/young")
        await trio.sleep(dial.STALE_S + 61)
        stale = await (await edge.client()).get("/kept")
        missing = await (await edge.client()).get("/nowhere")
        is_down = False
        await trio.sleep(120)
        back = await (await edge.client()).get("/nowhere")

    assert (200, b"/kept 1") == (stale.status, stale.body)
    assert (502, b"edge; error=dns_error") == (missing.status, missing.get(b"proxy-status"))
    assert (200, b"/nowhere 3") == (back.status, back.body)


@pytest.mark.parametrize("queue_s", [0.2, 3.5, 600.0])
async def test_who_finds_no_room_at_an_origin_is_told_when_to_come_again(
    edge_at, tmp_path: Path, autojump_clock, queue_s: float
) -> None:
    """After as long as those who wait now may wait, but within half a minute."""

    async def never(_: Asked, wire: Wire) -> None:
        await trio.sleep(10_000)

    async with trio.open_nursery() as nursery:
        origin = Origin({b"*": never})
        await nursery.start(origin.serve)
        servers = (OriginServer(f"http://127.0.0.1:{origin.port}"),)
        shop = OriginConfig("shop", servers, max_connections=1, max_pending=0, queue_s=queue_s, first_byte_s=1e6)
        async with edge_at(tmp_path, origin=origin, origins={"shop": shop}) as edge:
            await (await edge.client()).ask("/a")
            while not origin.asked:
                await trio.sleep(0.01)
            got = await (await edge.client()).get("/b")
        nursery.cancel_scope.cancel()

    after_s = {0.2: b"1", 3.5: b"4", 600.0: b"30"}[queue_s]
    assert (503, after_s, b"edge; error=connection_limit_reached") == (
        got.status, got.get(b"retry-after"), got.get(b"proxy-status")
    )  # fmt: skip


async def test_without_a_descriptor_for_an_origin_hits_go_on_and_the_rest_is_told(
    edge_at, tmp_path: Path, monkeypatch
) -> None:
    """socket(2) says EMFILE: it is ours to answer for, and over when it is over."""
    real = socket.socket

    class Short(real):
        def __init__(self, *args, **more) -> None:
            if args[:1] == (socket.AF_INET,) and "fileno" not in more:
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__(*args, **more)

    async with edge_at(tmp_path, origin=Numbered()) as edge:
        await status_of(edge, "/kept")
        edge.worker.origins.leave()  # what is kept to the origin
        hits, misses = await edge.client(), await edge.client()
        monkeypatch.setattr(dial.socket, "socket", Short)
        hit, missing = await hits.get("/kept"), await misses.get("/new")
        monkeypatch.undo()
        assert 0 == edge.count(names.BUGS)

    assert (200, b"/kept 1") == (hit.status, hit.body)
    assert missing.status in {502, 503}
    assert missing.get(b"proxy-status") is not None


async def test_two_replies_glued_together_are_one_and_never_anybody_elses(edge_at, tmp_path: Path) -> None:
    """The second is not kept, not sent, and its connection is not used again; also where the glue comes later."""

    async def glued(asked: Asked, wire: Wire) -> None:
        good = reply(body=b"mine", cache_control="max-age=60")
        await wire.send(good + reply(body=b"somebody else's", cache_control="max-age=600"))

    async with edge_at(tmp_path, origin=(origin := Origin({b"/glued": glued, b"*": reply(body=b"next")}))) as edge:
        clients = [await edge.client() for _ in range(4)]
        got = [(await client.get("/glued")).body for client in clients]
        after = [(await client.get(f"/{number}")).body for number, client in enumerate(clients)]
        stored = {bytes(copy.url) for copy in edge.worker.store.browse(b"", 100)[0]}

    assert [b"mine"] * 4 == got
    assert [b"next"] * 4 == after
    assert {b"http://shop.example/glued"} == {url for url in stored if b"glued" in url}
    assert origin.asked[0].connection != origin.asked[1].connection


def test_a_store_that_cannot_be_mapped_is_said_in_a_sentence(tmp_path: Path) -> None:
    """More than an address space has: mmap(2) says ENOMEM. A worker says so and ends; see tests/node/test_faults.py."""
    with pytest.raises(
        OSError, match=r"the cache of 134217728 MiB cannot be opened: .*Cannot allocate memory"
    ) as refused:
        Store.open(tmp_path, 1 << 47)

    assert errno.ENOMEM == refused.value.errno
    Store.open(tmp_path, 1 << 20).close()
