"""How often a worker shows that it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from edge.config.tree import Server
from edge.worker.life import BEATS, TICK_S, tick_s
from tests.kit.house import house

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("hang_s", "every_s"), [(1.0, 0.25), (2.0, 0.5), (4.0, 1.0), (30.0, 1.0), (3600.0, 1.0)])
def test_several_ticks_fit_into_hang(hang_s, every_s):
    assert every_s == tick_s(hang_s)
    assert tick_s(hang_s) <= TICK_S
    assert BEATS * tick_s(hang_s) <= hang_s


async def test_a_worker_at_rest_is_never_near_its_deadline(tmp_path: Path, autojump_clock) -> None:
    """With the least hang there is: of its second most is always left."""
    async with house(tmp_path, server=Server(hang_s=1.0)) as edge:
        left = []
        for _ in range(300):
            await trio.sleep(0.01)
            left.append(edge.worker.heritage.row.deadline - trio.current_time())

    assert min(left) > 0.7
