"""
The machine fails underneath a whole node: what clients see, and that nothing stored is wrong.

Killed and hung processes: ``test_deaths.py``. Clocks, and what needs no process: ``tests/journeys/test_clock.py``, ``test_faults.py``.
"""

from __future__ import annotations

import os
import resource
import signal
import ssl
import subprocess
from pathlib import Path

import pytest
import trio

from edge.tls.selfsigned import Authority
from tests.kit.load import body_of, load
from tests.kit.node import HOST, Node, until

pytestmark = pytest.mark.slow


async def read(node: Node, *numbers: int) -> list[tuple[bool, bool]]:
    """Ask for kept pages on one connection; say of each whether it was right, and whether it was a hit."""
    caller = await node.client()
    found = []
    for number in numbers:
        got = await caller.get(f"/kept/{number}")
        right = got.status == 200 and got.body == body_of(b"/kept/%d" % number)
        found.append((right, b"edge; hit" in got.get(b"cache-status")))
    await caller.aclose()
    return found


@pytest.fixture
def disk(tmp_path: Path):
    """A disk of 8 MiB where the cache will be; needs a machine that lets tests mount."""
    folder = tmp_path / "cache"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "edge-test", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(file) -> None:
    """Write until there is no room."""
    while True:
        file.write(bytes(1 << 16))
        file.flush()


async def test_a_full_disk_costs_what_would_have_been_stored(node_at, disk: Path) -> None:
    """The cache believes that it has 64 MiB, and the disk has 8."""
    async with node_at() as node:
        numbers = range(6)
        await read(node, *numbers)
        with (disk / "somebody-elses").open("wb") as other:
            with pytest.raises(OSError, match="No space"):
                fill(other)
        async with load(node) as tally:
            await tally.more(200)
        assert [(True, True)] * 6 == await read(node, *numbers)
        assert [(True, False)] * 20 == await read(node, *range(100, 120))
        assert (await node.metrics())["edge_cache_full_total"] >= 20
        (disk / "somebody-elses").unlink()
        await read(node, *range(100, 105))

        assert [(True, True)] * 5 == await read(node, *range(100, 105))
    tally.assert_clean()
    assert "the cache has no room" in node.log()


@pytest.mark.parametrize("damage", ["zeroed", "cut", "noise at its head"])
async def test_a_damaged_store_is_set_aside_and_everything_is_fetched_anew(node_at, origin, damage: str) -> None:
    """After kill -9 of everything, so that nobody had a chance to write it whole."""
    async with node_at() as node:
        await read(node, *range(12))
        assert node.master is not None
        os.killpg(node.master.pid, signal.SIGKILL)
        node.master.wait()
        data = node.folder / "cache/data.mdb"
        size = data.stat().st_size
        with data.open("r+b") as file:
            if damage == "cut":
                file.truncate(size // 2 & ~4095)
            elif damage == "zeroed":
                file.seek(2 * 4096)
                file.write(bytes(size - 2 * 4096))
            else:
                file.write(os.urandom(2 * 4096))
        (node.folder / "edge.pid").unlink()
        asked = len(origin.asked)
        await node.start()
        first = await read(node, *range(12))
        again = await read(node, *range(12))

        assert [True] * 12 == [right for right, _ in first]
        assert [(True, True)] * 12 == again
        assert len(origin.asked) - asked == 12
        assert "set aside" in node.log() or "started empty" in node.log()


async def test_without_descriptors_hits_go_on_and_the_node_recovers_by_itself(node_at) -> None:
    async with node_at(server={"workers": 1, "pid_file": "edge.pid"}) as node:
        await read(node, *range(4))
        [worker] = node.workers
        keeper = await node.client()
        await keeper.get("/kept/0")
        used = len(os.listdir(f"/proc/{worker}/fd"))
        _, most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 6, most))
        idle = []
        with trio.move_on_after(20):
            while len(idle) < 60:  # each takes the place of one that rests, or waits in the kernel's queue
                with trio.move_on_after(2):
                    caller = await node.client()
                    assert 200 == (await caller.get("/kept/1")).status
                    idle.append(caller)
        assert len(idle) == 60
        assert len(os.listdir(f"/proc/{worker}/fd")) <= used + 6
        missed = await (await node.client()).get("/passed/x")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (most, most))
        metrics = await node.metrics()

        assert missed.status in {200, 502, 503}
        assert metrics['edge_sessions_shed_total{while="idle"}'] >= 50
        assert [worker] == node.workers
        assert [(True, True)] * 4 == await read(node, *range(4))
        assert 200 == (await (await node.client()).get("/passed/y")).status
        assert "cannot take connections" in node.log()


async def test_without_memory_for_the_store_a_worker_is_waited_for_while_the_others_serve(node_at) -> None:
    """The address space is limited from outside, so that a new worker cannot map what the old one has."""
    async with node_at(cache={"path": "cache", "size": "2 GiB", "memory": "8 MiB"}) as node:
        await read(node, *range(4))
        stays, goes = node.workers
        master = node.master_pid()
        pages = int(Path(f"/proc/{master}/statm").read_text().split()[0])
        _, most = resource.prlimit(master, resource.RLIMIT_AS)
        resource.prlimit(master, resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), most))
        os.kill(goes, signal.SIGKILL)
        await node.said(r"cannot start: .*the cache of 2048 MiB cannot be opened: .*Cannot allocate memory")
        async with load(node) as tally:
            await tally.more(100)
        assert [(True, True)] * 4 == await read(node, *range(4))
        assert stays in node.workers
        resource.prlimit(master, resource.RLIMIT_AS, (most, most))
        await until(lambda: len(node.workers) == 2, within_s=60, why=node.tail)
        await until(lambda: "generation" in node.log() and goes not in node.workers, why=node.tail)
        # whoever connected to the place of the one that could not start has been waiting there
        assert [(True, True)] * 4 == await read(node, *range(4))
    assert not [failure for failure in tally.failures if failure.kind == "wrong"]


async def test_a_certificate_that_is_missing_changes_nothing(node_at) -> None:
    async with node_at() as node, load(node) as tally:
        await tally.more(30)
        before = (await node.client()).tls.getpeercert()["serialNumber"]
        for gone in ("fullchain.pem", "privkey.pem", "."):
            path = node.folder / "certs" / gone
            path.rename(node.folder / "gone")
            since = len(node.log())
            node.signal(signal.SIGHUP)
            await node.said("reload refused, nothing changed: .*cannot be read: No such file", since=since)
            await tally.more(20)
            assert before == (await node.client()).tls.getpeercert()["serialNumber"]
            (node.folder / "gone").rename(path)
        since = len(node.log())
        node.signal(signal.SIGHUP)
        await node.said("reloaded", since=since)
    tally.assert_clean()


async def test_a_certificate_swapped_half_way_through_a_reload_is_whole_or_the_old_one(node_at) -> None:
    """A renewal that writes two files is seen between them, or in the midst of one; the next reload finds both."""
    async with node_at() as node, load(node) as tally:
        folder = node.folder / "certs"
        for half in ("chain", "key", "cut"):
            await tally.more(20)
            before = (await node.client()).tls.getpeercert()["serialNumber"]
            issued = node.authority.issue((HOST,))
            if half != "key":
                (folder / "fullchain.pem").write_bytes(issued.chain if half == "chain" else issued.chain[:300])
            if half != "chain":
                (folder / "privkey.pem").write_bytes(issued.key)
            since = len(node.log())
            node.signal(signal.SIGHUP)
            await node.said("reload refused, nothing changed", since=since)
            assert before == (await node.client()).tls.getpeercert()["serialNumber"]
            issued.write(folder)
            node.signal(signal.SIGHUP)
            await node.said("reloaded: certificates only", since=since)
            with trio.fail_after(20):
                while before == (await node.client()).tls.getpeercert()["serialNumber"]:
                    await trio.sleep(0.01)  # each worker takes it up when it hears of it
    tally.assert_clean()


async def test_a_certificate_that_no_client_believes_is_said_and_open_connections_go_on(node_at) -> None:
    """What is in the files is the operator's business. It is taken as it is, and he is told of what he can be told of."""
    async with node_at() as node:
        kept = await node.client()
        await kept.get("/kept/0")
        node.authority.issue((HOST,), days=-1).write(node.folder / "certs")
        node.signal(signal.SIGHUP)
        await node.said(r"fullchain\.pem: .*expired")
        assert "expired" in await _refused(node, "certificate has expired")
        Authority("another").issue((HOST,)).write(node.folder / "certs")
        node.signal(signal.SIGHUP)
        assert "unable to get local issuer" in await _refused(node, "unable to get local issuer")
        assert 200 == (await kept.get("/kept/0")).status


async def _refused(node: Node, why: str) -> str:
    """Connect until a client says no for this reason, and return what it said."""
    said = ""
    with trio.fail_after(20):
        while why not in said:
            try:
                await (await node.client()).aclose()
            except (trio.BrokenResourceError, ssl.SSLError) as error:
                said = str(error.__cause__ or error)
    return said
