"""Started as root, the node's workers are nobody: they serve, store and log all the same, and never see a key's file."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.kit.load import load
from tests.kit.node import node, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
]

USER = "nobody"


@pytest.fixture
def folder():
    """A folder that anybody may enter: pytest's own are root's alone."""
    made = Path(tempfile.mkdtemp(prefix="edge-node-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def server(**changes):
    return {"workers": 2, "user": USER, "pid_file": "edge.pid", **changes}


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


async def test_workers_and_keeper_are_nobody_for_good(folder, origin):
    somebody = pwd.getpwnam(USER)
    async with node(folder, origin=origin, server=server()) as made:
        await until(lambda: made.children("edge-keeper"), why=made.tail)
        [keeper] = made.children("edge-keeper")
        await until(lambda: status_of(keeper)["Uid"] != ["0"] * 4)
        for pid in [*made.workers, keeper]:
            status = status_of(pid)

            assert [str(somebody.pw_uid)] * 4 == status["Uid"]
            assert [str(somebody.pw_gid)] * 4 == status["Gid"]
            assert ["1"] == status["NoNewPrivs"]
            assert ["0000000000000000"] == status["CapEff"]
        assert ["0"] * 4 == status_of(made.master_pid())["Uid"]
        assert "workers run as root" not in made.log()


async def test_keys_only_root_can_read_are_renewed_in_workers_that_are_not(folder, origin):
    async with node(folder, origin=origin, server=server()) as made, load(made) as tally:
        (folder / "certs").chmod(0o700)
        await tally.more()
        workers = made.workers
        before = (await made.client()).tls.getpeercert()["serialNumber"]
        made.certify()
        made.signal(signal.SIGHUP)
        await made.said("reloaded: certificates only, for 2 workers")
        await tally.more()
        served = {caller.tls.getpeercert()["serialNumber"] for [caller] in await made.clients_of(*workers)}

        assert workers == made.workers
        assert len(served) == 1
        assert before not in served
        read = subprocess.run(["cat", folder / "certs/privkey.pem"], user=USER, capture_output=True)
        assert b"Permission denied" in read.stderr
        assert "cannot use the new certificates" not in made.log()

        os.kill(workers[0], signal.SIGKILL)  # one that is born later serves the same
        await until(lambda: workers[0] not in made.workers and len(made.workers) == 2, why=made.tail)
        served |= {caller.tls.getpeercert()["serialNumber"] for [caller] in await made.clients_of(*made.workers)}
        assert len(served) == 1


async def test_logs_in_a_folder_of_roots_are_written_and_reopened(folder, origin):
    (folder / "log").mkdir(mode=0o700)
    log = {"access": "log/access.log", "errors": "log/errors.log"}
    async with node(folder, origin=origin, server=server(), log=log, start=False) as made:
        made.launch()
        errors = folder / "log/errors.log"
        await until(lambda: errors.exists() and "is complete" in errors.read_text())
        async with load(made) as tally:
            await tally.more(50)
            (folder / "log/access.log").rename(folder / "log/access.log.1")
            made.signal(signal.SIGUSR1)
            await until(lambda: not any(path.endswith(".log.1") for path in made.open_files()))
            await tally.more(50)
        await made.stop()
        tally.assert_clean()
        lines = [
            json.loads(line)
            for name in ("access.log.1", "access.log")
            for line in (folder / "log" / name).read_text().splitlines()
        ]

        assert tally.answered == len(lines)
        assert (folder / "log/access.log").stat().st_uid == 0


async def test_a_cache_that_root_has_filled_goes_on_under_another_user(folder, origin):
    async with node(folder, origin=origin, start=False) as made:
        await made.start()
        await (await made.client()).get("/kept/1")
        await made.stop()
        made.config["server"]["user"] = USER
        made.write()
        await made.start()
        got = await (await made.client()).get("/kept/1")

        assert [b"/kept/1"] == origin.paths()
        assert b"hit" in got.get(b"cache-status")
        assert {pwd.getpwnam(USER).pw_uid} == {path.stat().st_uid for path in (folder / "cache").iterdir()}


async def test_a_reload_may_change_who_workers_are(folder, origin):
    async with node(folder, origin=origin) as made:
        async with load(made) as tally:
            await tally.more(50)
            since = len(made.log())
            made.config["server"]["user"] = USER
            made.write()
            made.signal(signal.SIGHUP)
            await made.complete(since=since)
            await until(lambda: len(made.workers) == 2, why=made.tail)
            await tally.more(100)
            uid = str(pwd.getpwnam(USER).pw_uid)

            assert all([uid] * 4 == status_of(pid)["Uid"] for pid in made.workers)
        tally.assert_clean()
