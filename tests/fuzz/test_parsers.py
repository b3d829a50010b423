"""
Each parser's claim about any bytes (``parsers.py``), three ways: on its corpus, on what Hypothesis makes of it, and guided by coverage.

The third takes some seconds a parser here; ``-m long`` takes an hour for all of them, ``EDGE_FUZZ_S`` says how long each.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import CORPUS, PARSERS, corpus_of
from tests.kit.counts import tried

SECONDS = int(os.environ.get("EDGE_FUZZ_S", "6"))
HOUSE = Path(__file__).parent.parent.parent
EACH = pytest.mark.parametrize("name", PARSERS)


@EACH
def test_the_corpus_breaks_no_claim(name: str) -> None:
    """Every file there once was of interest."""
    files = corpus_of(name)
    for path in files:
        PARSERS[name](path.read_bytes())
    tried("parsers fuzzed", parsers=1, files_of_corpus=len(files))

    assert len(files) >= 5


def test_every_corpus_has_its_parser() -> None:
    assert set(PARSERS) == {path.name for path in CORPUS.iterdir()}


def changed(base: bytes, at: int, scrap: bytes, over: int) -> bytes:
    at %= len(base) + 1
    return base[:at] + scrap + base[at + over :]


@pytest.mark.slow
@EACH
def test_no_bytes_break_a_claim(name: str) -> None:
    """Hypothesis's own bytes, and the corpus with something changed."""
    bases = [path.read_bytes() for path in corpus_of(name)]
    scraps = st.binary(max_size=3) | st.sampled_from(
        [b"\r\n", b"\n", b"\r", b"\0", b",", b";", b'"', b"=", b":", b" ", b"\xff", b"9" * 20]
    )
    count = 0

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @example(b"")
    @given(
        st.binary(max_size=200)
        | st.builds(changed, st.sampled_from(bases), st.integers(0, 4000), scraps, st.integers(0, 4))
    )
    def holds(data: bytes) -> None:
        nonlocal count
        count += 1
        PARSERS[name](data)

    holds()
    tried("parsers fuzzed", made_by_Hypothesis=count)


def guided(name: str, folder: Path, seconds: int) -> int:
    """Fuzz one parser; return how many inputs were tried."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has no wheel for this Python or machine")
    command = [sys.executable, "-m", "tests.fuzz.guided", name, "--seconds", str(seconds), "--crashes", str(folder)]
    done = subprocess.run(
        [*command, "--found", str(folder / "found")], cwd=HOUSE, capture_output=True, text=True, timeout=seconds + 100
    )
    crashes = [path for path in folder.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-", "leak-"))]
    said = done.stdout + done.stderr
    assert not crashes, f"{crashes[0].read_bytes()!r}\n{said[-3000:]}"
    assert done.returncode == 0, said[-3000:]
    found = re.search(r"stat::number_of_executed_units:\s+(\d+)", said)
    assert found is not None, said[-3000:]
    return int(found[1])


@pytest.mark.slow
def test_guided_by_coverage_no_bytes_break_a_claim(tmp_path: Path) -> None:
    """All in turns: most of a second goes into making a process ready."""
    number = guided("all", tmp_path, SECONDS)
    tried("parsers fuzzed", guided_by_coverage=number)

    assert number > 50


@pytest.mark.long
@pytest.mark.timeout(4000)
@EACH
def test_guided_for_long(name: str, tmp_path: Path) -> None:
    """An hour for all of them."""
    tried("parsers fuzzed", guided_by_coverage=guided(name, tmp_path, max(SECONDS, 300)))
