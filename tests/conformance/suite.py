"""The suite behind cache-tests.fyi: where it comes from, and one run of it. None of its code is kept here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

RELEASE = "http-cache-tests@0.4.5"
"""The last on npm. Much has been added and corrected since; nothing has been released."""

NEEDS = ("node-fetch@2", "liquidjs@9")
"""What the release imports. Its third dependency is npm itself, which nothing imports."""

HERE = Path(__file__).parent


class Unavailable(Exception):
    """The suite cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Suite:
    """
    The suite on this machine.

    Attributes:
        folder: holds its ``tests/``.
        engine: holds its client and server.
        edition: which of its editions: ``release`` or ``head``.
    """

    folder: Path
    engine: Path
    edition: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of one test.

    Attributes:
        id: the suite's name for it.
        kind: ``required``, ``optimal`` (an optimisation), or ``check`` (a question without a right answer).
        ok: it passed.
        why: what the suite said if it did not.
    """

    id: str
    kind: str
    ok: bool
    why: str


def release() -> Suite:
    """
    Return the release, fetched on the first call into the user's cache directory.

    Raises:
        Unavailable: no node, no npm, or no registry.
    """
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            raise Unavailable(f"{command} is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-tests"
    folder = cache / RELEASE.replace("@", "-")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=cache, prefix="fetching-"))
        try:
            _fetch(part)
            part.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody else was faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    package = folder / "package"
    return Suite(package, package, "release")


def _fetch(folder: Path) -> None:
    """Unpack the package in *folder*, and beside it what it imports."""
    _npm(folder, "pack", RELEASE)
    (archive,) = folder.glob("*.tgz")
    shutil.unpack_archive(archive, folder, filter="data")
    (folder / "package.json").write_text("{}")
    _npm(folder, "install", "--no-save", "--omit=dev", *NEEDS)


def _npm(folder: Path, *words: str) -> None:
    command = [
        "npm",
        *words,
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-timeout=30000",
    ]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable("the npm registry does not answer") from None
    if done.returncode:
        raise Unavailable(f"npm {words[0]}: {done.stderr.strip()[-300:]}")


def checkout(folder: Path) -> Suite:
    """
    Return a checkout of the suite's repository, with its dependencies installed.

    Raises:
        Unavailable: no node.
    """
    if shutil.which("node") is None:
        raise Unavailable("node is not installed")
    return Suite(folder, folder / "test-engine", "head")


def _environment(**settings: str) -> dict[str, str]:
    """The suite reads what npm would make of settings on its command line."""
    return {"PATH": os.environ["PATH"], **settings}


@asynccontextmanager
async def server(suite: Suite, port: int, scratch: Path) -> AsyncIterator[None]:
    """Run the suite's own origin server on *port*."""
    log = scratch / "server.log"
    environment = _environment(
        npm_config_protocol="http", npm_config_port=str(port), npm_config_pidfile=str(scratch / "server.pid")
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["node", str(suite.engine / "server/server.mjs")],
            cwd=suite.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            with trio.fail_after(20):
                while b"Listening" not in log.read_bytes():
                    assert process.poll() is None, log.read_text()
                    await trio.sleep(0.02)
            yield
        finally:
            process.kill()
            process.wait()


async def run(suite: Suite, base: str, ca: Path, scratch: Path) -> list[Outcome]:
    """Run the suite's client once against the cache at *base*, whose certificate *ca* has signed."""
    results = scratch / "results.json"
    results.write_bytes(await _client(suite, base, ca, ""))
    tally = ["node", str(HERE / "tally.mjs"), str(suite.folder), str(results)]
    told = await trio.run_process(tally, env=_environment(), capture_stdout=True)
    return [Outcome(**row) for row in json.loads(told.stdout)]


async def passes_alone(suite: Suite, base: str, ca: Path, test: str) -> bool:
    """Run one test by itself: with no others beside it, only the cache can make it late."""
    return "✅" in (await _client(suite, base, ca, test)).decode().splitlines()[-1]


async def _client(suite: Suite, base: str, ca: Path, test: str) -> bytes:
    environment = _environment(
        npm_config_base=base, npm_package_config_id=test, npm_config_id=test, NODE_EXTRA_CA_CERTS=str(ca)
    )
    command = ["node", "--no-warnings", str(suite.engine / "cli.mjs")]
    done = await trio.run_process(command, cwd=suite.folder, env=environment, capture_stdout=True)
    return bytes(done.stdout)
