"""The Autobahn fuzzing client: where it comes from, and one run of it. None of its code is kept here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

RELEASE = "autobahntestsuite==25.10.1"
"""The last on PyPI. It has remained a program of Python 2."""

ECHO = """
import asyncio, sys
from websockets.asyncio.server import serve

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, ping_interval=None):
        print("Listening", flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""
"""A server that the suite is at home with: the same for both ways to it."""


class Unavailable(Exception):
    """The suite cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite on this machine: an interpreter, and the folder with its packages."""

    python: str
    base: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What the suite says of one case: how the server behaved, how it closed, and with what code.

    NON-STRICT is as good as OK: the server saw an error before it had said what it had to say before it, which depends on how
    its input was cut.
    """

    behaviour: str
    closing: str
    code: int | None

    @property
    def ok(self) -> bool:
        """It passed."""
        good = {"OK", "NON-STRICT", "INFORMATIONAL"}
        return self.behaviour in good and self.closing in {"OK", "INFORMATIONAL"}


def release() -> Suite:
    """
    Return the release, installed on the first call into the user's cache directory.

    ``EDGE_PYTHON2`` names the interpreter; without it ``python2.7`` is looked for.

    Raises:
        Unavailable: there is no Python 2.7, or no package index.
    """
    python = os.environ.get("EDGE_PYTHON2") or shutil.which("python2.7")
    if python is None:
        raise Unavailable("there is no python2.7, and EDGE_PYTHON2 names none")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-tests"
    base = cache / RELEASE.replace("==", "-")
    if not base.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=cache, prefix="fetching-"))
        words = ["-m", "pip", "install", "--user", "--no-cache-dir", "--disable-pip-version-check", RELEASE]
        try:
            done = subprocess.run(
                [python, *words],
                env={**os.environ, "PYTHONUSERBASE": str(part)},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode:
                raise Unavailable(f"pip: {done.stderr.strip()[-300:]}")
            part.rename(base)
        except subprocess.TimeoutExpired:
            raise Unavailable("the package index does not answer") from None
        except OSError:
            if not base.exists():  # else somebody else was faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Suite(python, base)


@asynccontextmanager
async def echo_server(port: int, scratch: Path) -> AsyncIterator[None]:
    """Run a server that says everything back."""
    log = scratch / "echo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", ECHO, str(port)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
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


async def run(
    suite: Suite, urls: dict[str, str], cases: Sequence[str], without: Sequence[str], scratch: Path
) -> dict[str, dict[str, Outcome]]:
    """Run *cases* against each of *urls*; return what came of each case, by the names of the urls."""
    reports = Path(tempfile.mkdtemp(dir=scratch, prefix="reports-"))
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": name, "url": url} for name, url in urls.items()],
        "cases": list(cases),
        "exclude-cases": list(without),
        "exclude-agent-cases": {},
    }
    (reports / "spec.json").write_text(json.dumps(spec))
    await trio.run_process(
        [
            suite.python,
            "-c",
            "from autobahntestsuite.wstest import run; run()",
            "-m",
            "fuzzingclient",
            "-s",
            str(reports / "spec.json"),
        ],
        env={**os.environ, "PYTHONUSERBASE": str(suite.base)},
        capture_stdout=True,
        capture_stderr=True,
    )
    told = json.loads((reports / "index.json").read_text())
    return {
        name: {
            case: Outcome(each["behavior"], each["behaviorClose"], each["remoteCloseCode"])
            for case, each in told[name].items()
        }
        for name in urls
    }
