"""Every story is told twice: with both lanes, and with every exchange in the slow lane."""

from __future__ import annotations

from functools import partial

import pytest

from tests.kit.house import house


@pytest.fixture(params=[True, False], ids=["both_lanes", "slow_lane_only"])
def edge_at(request: pytest.FixtureRequest):
    """Make a house, in either mode."""
    return partial(house, serve_hits=request.param)
