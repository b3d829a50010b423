"""Bells wake other processes and lose no ring."""

import os
import select

from edge.share.bells import Bells


def _is_ringing(bells, slot):
    return bool(select.select([bells.fd(slot)], [], [], 0)[0])


def test_a_rung_bell_rings_until_it_is_cleared():
    bells = Bells(2)
    bells.ring(1)
    bells.ring(1)

    assert [_is_ringing(bells, slot) for slot in (0, 1)] == [False, True]
    bells.clear(1)
    assert not _is_ringing(bells, 1)


def test_only_who_waits_is_woken():
    bells = Bells(3)
    bells.waiting(2, +1)
    bells.ring_all()

    assert [_is_ringing(bells, slot) for slot in range(3)] == [False, False, True]


def test_everyone_can_be_woken():
    bells = Bells(2)
    bells.ring_all(waiting_only=False)

    assert [_is_ringing(bells, slot) for slot in range(2)] == [True, True]


def test_a_child_can_wake_its_parent():
    bells = Bells(1)
    bells.waiting(0, +1)
    pid = os.fork()
    if pid == 0:
        bells.ring_all()
        os._exit(0)
    os.waitpid(pid, 0)

    assert _is_ringing(bells, 0)


def test_a_full_bell_neither_blocks_nor_raises():
    bells = Bells(1)
    os.eventfd_write(bells.fd(0), 2**64 - 2)
    bells.ring(0)

    assert _is_ringing(bells, 0)


def test_waiters_are_counted_and_forgotten_with_their_holder():
    bells = Bells(1)
    bells.waiting(0, +1)
    bells.waiting(0, +1)
    bells.waiting(0, -1)
    assert bells.is_waiting(0)

    bells.ring(0)
    bells.reset(0)

    assert not bells.is_waiting(0)
    assert not _is_ringing(bells, 0)


def test_clearing_a_silent_bell_is_harmless():
    Bells(1).clear(0)
