"""A store of one's own, in memory-backed storage where there is any."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from edge.cache.store import Store

MIB = 1 << 20


@pytest.fixture
def folder():
    """A directory that is fast; LMDB does not mind which."""
    base = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="edge-cache-", dir=base if base.is_dir() else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def store(folder):
    opened = Store.open(folder, 32 * MIB)
    yield opened
    opened.close()
