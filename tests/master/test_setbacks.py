"""Who dies again and again is waited for longer each time."""

import pytest

from edge.master.setbacks import FREE, LONGEST_S, STEADY_S, Setbacks, delay


@pytest.mark.parametrize(
    ("in_a_row", "seconds"), [(1, 0.0), (2, 0.0), (3, 1.0), (4, 2.0), (5, 4.0), (7, 16.0), (8, 30.0), (5000, 30.0)]
)
def test_the_wait_doubles_up_to_half_a_minute(in_a_row, seconds):
    assert delay(in_a_row) == seconds


def _meet(setbacks, times, ready_s=1.0, place=0, now=100.0):
    return [setbacks.met(place, now_mono=now, ready_s=ready_s, reason="x") for _ in range(times)]


def test_a_single_crash_costs_no_capacity():
    setbacks = Setbacks()

    assert _meet(setbacks, 1) == [0.0]
    assert setbacks.not_before(0) == 100.0


def test_a_crash_loop_is_waited_for():
    setbacks = Setbacks()
    _meet(setbacks, FREE + 1)

    assert setbacks.not_before(0) == 101.0
    assert setbacks.waiting(100.5) == [0]
    assert setbacks.waiting(101.0) == []


def test_a_steady_child_wipes_the_slate():
    setbacks = Setbacks()
    _meet(setbacks, 9)

    assert _meet(setbacks, 1, ready_s=STEADY_S) == [0.0]
    assert _meet(setbacks, 9)[-1] == LONGEST_S


def test_places_do_not_share_blame():
    setbacks = Setbacks()
    _meet(setbacks, 5, place=1)

    assert setbacks.not_before(0) == 0.0


def test_failed_boots_are_counted_until_one_is_ready():
    setbacks = Setbacks()
    _meet(setbacks, 3, ready_s=None)
    assert setbacks.boots_failed(0) == 3

    setbacks.became_ready(0)
    assert setbacks.boots_failed(0) == 0


def test_a_crash_in_service_is_no_failed_boot():
    setbacks = Setbacks()
    _meet(setbacks, 3, ready_s=None)
    _meet(setbacks, 1, ready_s=0.5)

    assert setbacks.boots_failed(0) == 0


def test_becoming_ready_does_not_end_a_crash_loop():
    """Or a worker that starts well and dies of its first request would be started without end."""
    setbacks = Setbacks()
    for _ in range(4):
        setbacks.became_ready(0)
        _meet(setbacks, 1, ready_s=0.1)

    assert setbacks.not_before(0) == 102.0


def test_the_last_reason_is_remembered_and_forgotten():
    setbacks = Setbacks()
    setbacks.met(0, now_mono=1.0, ready_s=None, reason="the roof leaks")
    assert setbacks.last_reason(0) == "the roof leaks"

    setbacks.forget()
    assert (setbacks.last_reason(0), setbacks.boots_failed(0), setbacks.not_before(0)) == ("", 0, 0.0)
