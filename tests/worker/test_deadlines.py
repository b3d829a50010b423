"""One deadline per session, kept to within two seconds and never early."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.worker.deadlines import NEVER, Deadlines


class One:
    """What can wait."""

    def __init__(self) -> None:
        self.deadline = NEVER
        self.bucket = NEVER


def test_who_is_due_is_returned_once_and_disarmed():
    deadlines, one = Deadlines(), One()
    deadlines.arm(one, 5.0)

    assert [] == deadlines.sweep(4.9)
    assert [one] == deadlines.sweep(5.0)
    assert (NEVER, NEVER, 0) == (one.deadline, one.bucket, len(deadlines))
    assert [] == deadlines.sweep(100.0)


def test_nobody_is_early():
    deadlines, one = Deadlines(), One()
    deadlines.arm(one, 5.4)

    assert [] == deadlines.sweep(5.0)
    assert [one] == deadlines.sweep(6.0)


def test_moving_a_deadline_later_is_one_write():
    deadlines, one = Deadlines(), One()
    deadlines.arm(one, 5.0)
    bucket = one.bucket
    deadlines.arm(one, 60.0)

    assert bucket == one.bucket
    assert [] == deadlines.sweep(5.0)
    assert 60.0 == one.bucket
    assert [one] == deadlines.sweep(60.0)


def test_moving_a_deadline_earlier_takes_effect():
    deadlines, one = Deadlines(), One()
    deadlines.arm(one, 60.0)
    deadlines.arm(one, 5.0)

    assert [one] == deadlines.sweep(5.0)
    assert 0 == len(deadlines)


def test_never_disarms():
    deadlines, one = Deadlines(), One()
    deadlines.arm(one, 5.0)
    deadlines.arm(one, NEVER)

    assert [] == deadlines.sweep(10.0)
    assert 0 == len(deadlines)


def test_who_is_forgotten_is_in_no_bucket():
    deadlines, one, other = Deadlines(), One(), One()
    deadlines.arm(one, 5.0)
    deadlines.arm(other, 5.0)
    deadlines.forget(one)
    deadlines.forget(one)

    assert 1 == len(deadlines)
    assert [other] == deadlines.sweep(5.0)


def test_a_deadline_in_the_past_is_due_in_the_next_sweep_of_another_second():
    deadlines, one = Deadlines(), One()
    deadlines.sweep(100.0)
    deadlines.arm(one, 50.0)

    assert [] == deadlines.sweep(100.9)
    assert [one] == deadlines.sweep(101.0)


def test_a_sweep_that_comes_late_finds_everyone():
    deadlines = Deadlines()
    many = [One() for _ in range(50)]
    for at, one in enumerate(many):
        deadlines.arm(one, float(at))

    assert set(many) == set(deadlines.sweep(1000.0))


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 30.0)), max_size=60))
def test_whatever_is_armed_is_due_within_two_seconds_and_never_before(seed, steps):
    """The model: the last deadline that was set counts."""
    chance = random.Random(seed)
    deadlines, now = Deadlines(), 0.0
    many = [One() for _ in range(5)]
    wanted = dict.fromkeys(many, NEVER)
    for who, ahead in steps:
        one = many[who]
        wanted[one] = NEVER if ahead > 29 else now + ahead
        deadlines.arm(one, wanted[one])
        if chance.random() < 0.5:
            now += chance.random() * 3
            due = deadlines.sweep(now)
            assert all(wanted[one] <= now for one in due)
            for one in due:
                wanted[one] = NEVER
        assert all(one.bucket <= wanted[one] + 2 for one in many if wanted[one] != NEVER)
    due = deadlines.sweep(now + 60)
    assert {one for one in many if wanted[one] != NEVER} == set(due)
    assert 0 == len(deadlines)
