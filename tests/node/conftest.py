"""A node in a folder of its own, in front of an origin that answers the load."""

from __future__ import annotations

from functools import partial

import pytest

from tests.kit.load import answer
from tests.kit.node import node
from tests.kit.origin import Origin


@pytest.fixture
def origin() -> Origin:
    return Origin({b"*": answer})


@pytest.fixture
def node_at(tmp_path, origin):
    """Make a node; keyword arguments change tables of its configuration."""
    return partial(node, tmp_path, origin=origin)
