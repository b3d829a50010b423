"""What the loop does besides: it notices that the machine slept."""

from types import SimpleNamespace

import pytest

from edge.master.loop import LATE_S, SPARE_S, Master
from edge.master.plan import Wish

WISH = Wish(places=1, generation=1, settled=1, keeper=False, drain_s=30.0)


@pytest.mark.parametrize(("late_s", "spared"), [(0.0, False), (LATE_S, False), (LATE_S + 1, True), (-3.0, False)])
def test_after_a_suspend_nobody_is_held_to_the_deadlines(late_s, spared):
    master = Master.__new__(Master)
    master._desk = SimpleNamespace(clock=SimpleNamespace(mono=lambda: 100.0 + late_s), wish=WISH)
    master._mind_the_gap(100.0)

    assert master._desk.wish.spare_until == (100.0 + late_s + SPARE_S if spared else WISH.spare_until)
