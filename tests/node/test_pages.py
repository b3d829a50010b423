"""An operator's pages: read by the master alone, and again by a reload."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.kit.node import node, until
from tests.kit.origin import Origin, reply

pytestmark = pytest.mark.slow


@pytest.fixture
def folder():
    """A folder that anybody may enter: pytest's own are root's alone."""
    made = Path(tempfile.mkdtemp(prefix="edge-node-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


async def test_a_page_with_another_content_is_taken_up_by_a_reload_and_a_missing_one_changes_nothing(folder):
    pages = folder / "pages"
    pages.mkdir(mode=0o700)
    (pages / "404.html").write_text("first")
    server = {"workers": 2, "user": "nobody", "pid_file": "edge.pid"} if os.geteuid() == 0 else {}
    origin = Origin({b"*": reply(404, b"own words")})
    async with node(folder, origin=origin, start=False, server=server) as made:
        made.config["error_pages"] = {"of_origins": True, "pages": {"404": "pages/404.html"}}
        made.write()
        await made.start()
        before = await (await made.client()).get("/")

        (pages / "404.html").write_text("second")
        old, since = made.workers, len(made.log())
        made.signal(signal.SIGHUP)
        await made.complete(since=since)
        await until(lambda: not {*old} & {*made.workers}, why=made.tail)
        after = await (await made.client()).get("/")

        (pages / "404.html").unlink()
        since, workers = len(made.log()), made.workers
        made.signal(signal.SIGHUP)
        await made.said("reload refused, nothing changed: .*404.html cannot be read", since=since)
        still = await (await made.client()).get("/")

        assert workers == made.workers
    assert [(404, b"first"), (404, b"second"), (404, b"second")] == [
        (one.status, one.body) for one in (before, after, still)
    ]
