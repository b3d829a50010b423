"""Origins that are verified, and that verify us: what is in the files counts, and only the master may have to read them."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import tempfile
from pathlib import Path

import pytest

from edge.tls.selfsigned import Authority
from tests.kit.node import node, until
from tests.kit.origin import Origin, reply

pytestmark = pytest.mark.slow

CLIENTS = Authority("Clients")


@pytest.fixture
def folder():
    """A folder that anybody may enter: pytest's own are root's alone."""
    made = Path(tempfile.mkdtemp(prefix="edge-node-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def secured(folder: Path, authority: Authority) -> ssl.SSLContext:
    """What an origin speaks by that is known to *authority* and wants to know us."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=CLIENTS.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*authority.issue(["127.0.0.1"]).write(folder / "origin"))
    return context


def become_root_alones(secrets: Path) -> dict[str, object]:
    """Shut *secrets* to everybody else, and say whom workers should become: whoever that shuts out."""
    secrets.chmod(0o700)
    return {"workers": 2, "user": "nobody", "pid_file": "edge.pid"} if os.geteuid() == 0 else {}


async def test_an_authority_or_a_certificate_with_another_content_is_seen_by_a_reload(folder):
    """Under the same names: the configuration says what it said before."""
    first, second = Authority("First"), Authority("Second")
    secrets = folder / "secrets"
    CLIENTS.issue(["edge-1"], for_client=True).write(secrets)
    (secrets / "ca.pem").write_bytes(first.pem)
    origin = Origin({b"*": reply(body=b"hello", cache_control="no-store")}, tls=secured(folder, first))
    async with node(folder, origin=origin, start=False, server=become_root_alones(secrets)) as made:
        tls = {"ca": "secrets/ca.pem", "chain": "secrets/fullchain.pem", "key": "secrets/privkey.pem"}
        made.config["origin"]["shop"] |= {"idle": "0s", "retries": 0, "tls": tls}
        made.write()
        await made.start()
        caller = await made.client()
        before = await caller.get("/")

        origin.tls = secured(folder, second)
        refused = await caller.get("/")
        (secrets / "ca.pem").write_bytes(second.pem)
        CLIENTS.issue(["edge-2"], for_client=True).write(secrets)
        old, since = made.workers, len(made.log())
        made.signal(signal.SIGHUP)
        await made.complete(since=since)
        await until(lambda: not {*old} & {*made.workers}, why=made.tail)
        after = await (await made.client()).get("/")

        since, workers = len(made.log()), made.workers
        made.signal(signal.SIGHUP)
        await made.said("reloaded: nothing has changed", since=since)
        (secrets / "ca.pem").write_text("no certificate")
        made.signal(signal.SIGHUP)
        await made.said("reload refused, nothing changed: .*ca.pem cannot be used", since=since)

        assert workers == made.workers
    assert [200, 502, 200] == [before.status, refused.status, after.status]
    assert ["edge-1", "edge-2"] == [asked.shown for asked in origin.asked]
