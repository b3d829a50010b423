"""Keys stay where they are: in no log, no metric, no core, no file of the cache, and in nobody else's reach."""

from __future__ import annotations

import base64
import os
import re
import resource
import signal
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.kit.client import Client
from tests.kit.load import load
from tests.kit.node import Node, until

ASKED = ("/metrics", "/healthz", "/cache", "/cache/ls", "/cache/show?url=https%3A%2F%2Fshop.example%2Fkept%2F0",
         "/explain?url=https%3A%2F%2Fshop.example%2Fkept%2F0", "/", "/certs/privkey.pem", "/..%2fcerts%2fprivkey.pem")  # fmt: skip


def traces(key_pem: bytes) -> list[bytes]:
    """What a key looks like wherever it turns up: as PEM, line by line, and as its bytes."""
    lines = [line for line in key_pem.splitlines() if line and not line.startswith(b"-----")]
    der = base64.b64decode(b"".join(lines))
    return [*(line for line in lines if len(line) > 30), der[-64:], der[-64:].hex().encode()]


async def ask(node: Node, path: str) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", node.admin_port)
    async with stream:
        client = Client(stream)
        await client.get(path, host="localhost", Connection="close")
        return bytes(client.received)


@pytest.mark.slow
async def test_keys_are_in_no_log_no_metric_and_no_file_but_their_own(node_at) -> None:
    """At the level that says most, through a renewal, a refused one, and a worker's death with a traceback of its threads."""
    async with node_at(start=False) as node:
        node.config["log"] |= {"level": "debug", "errors": "errors.log"}
        node.write()
        node.launch()
        await node.said(r"generation 1 is complete")
        keys = [(node.folder / "certs/privkey.pem").read_bytes()]
        async with load(node) as tally:
            await tally.more(50)
            keys.append(node.certify().key)
            node.signal(signal.SIGHUP)
            await node.said("reloaded: certificates only, for 2 workers")
            await tally.more(50)
        told = b"".join([await ask(node, path) for path in ASKED])
        good = (node.folder / "certs/privkey.pem").read_bytes()
        (node.folder / "certs/privkey.pem").write_bytes(good[:-60])
        node.signal(signal.SIGHUP)
        await node.said("reload refused, nothing changed")
        os.kill(node.workers[0], signal.SIGABRT)  # faulthandler speaks
        await node.said("SIGABRT")
        files = [path for path in node.folder.rglob("*") if path.is_file() and path.parent.name != "certs"]
        written = {path: path.read_bytes() for path in files}
        errors = node.log()
        (node.folder / "errors.log").write_text(re.sub("Traceback", "(traceback)", errors))  # as was asked for

        assert {"edge.log", "errors.log", "access.log", "data.mdb"} <= {path.name for path in files}
        for key in keys:
            for trace in traces(key):
                assert trace not in told
                assert not [path for path, data in written.items() if trace in data]


@pytest.mark.slow
async def test_no_process_of_the_node_leaves_a_core_or_lets_its_user_look_in(node_at) -> None:
    async with node_at() as node:
        await until(lambda: node.children("edge-keeper"), why=node.tail)
        for pid in (node.master_pid(), *node.workers, *node.children("edge-keeper")):
            assert (0, 0) == resource.prlimit(pid, resource.RLIMIT_CORE)
            if os.geteuid() != 0:  # what belongs to a process that nobody may look into is root's
                assert 0 == Path(f"/proc/{pid}/environ").stat().st_uid
            said = Path(f"/proc/{pid}/oom_score_adj").read_text().strip()
            assert pid == node.master_pid() or said == "200"


@pytest.mark.slow
async def test_a_killed_master_leaves_no_core_even_where_one_is_wanted(node_at, tmp_path: Path) -> None:
    """With the limit lifted from outside it is the flag that holds; a process beside it shows that cores are made here."""
    if os.geteuid() != 0 or Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"):
        pytest.skip("only root lifts a limit from outside, and only files can be looked for")
    import subprocess
    import sys

    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    resource.prlimit(other.pid, resource.RLIMIT_CORE, limits)
    other.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(other.pid, 0)
    other.returncode = -signal.SIGSEGV
    if not os.WCOREDUMP(status):
        pytest.skip("this machine makes no cores at all")
    async with node_at() as node:
        assert node.master is not None
        pid = node.master.pid
        with suppress(PermissionError):  # it cannot even be lifted without CAP_SYS_RESOURCE
            resource.prlimit(pid, resource.RLIMIT_CORE, limits)
        os.kill(pid, signal.SIGSEGV)
        _, status = await trio.to_thread.run_sync(os.waitpid, pid, 0)
        node.master.returncode = -signal.SIGSEGV

        assert os.WIFSIGNALED(status)
        assert not os.WCOREDUMP(status)
        await node.said("the master is gone; leaving")


@pytest.mark.slow
async def test_what_a_node_writes_is_for_nobody_else(node_at) -> None:
    """The cache holds what clients were sent; logs hold who they were."""
    async with node_at() as node:
        async with load(node) as tally:
            await tally.more(20)
        cache = node.folder / "cache"

        assert 0 == stat.S_IMODE(cache.stat().st_mode) & stat.S_IRWXO
        for path in (cache / "data.mdb", cache / "lock.mdb", node.folder / "access.log"):
            assert 0 == stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO, path
