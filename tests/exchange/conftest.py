"""Rooms with a store, and rooms without."""

from __future__ import annotations

import pytest

from tests.cache.conftest import folder  # noqa: F401 - a fixture, used by name
from tests.exchange.kit import Desk


@pytest.fixture
def desk(folder):  # noqa: F811 - it is the fixture
    made = Desk(folder)
    yield made
    made.close()


@pytest.fixture
def bare():
    """No cache path is configured."""
    return Desk(None)
