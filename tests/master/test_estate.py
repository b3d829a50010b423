"""The estate outlives its people, and the master that made it."""

import os

import pytest

from edge.master.estate import LEAST_SLOTS, Estate, slots_for
from edge.observe.names import GAUGES, NAMES


@pytest.fixture
def estate():
    return Estate.make(8)


def _dup(will):
    """As exec does: other descriptors for the same memory."""
    return will | {
        "pages": {name: os.dup(fd) for name, fd in will["pages"].items()},
        "bells": [os.dup(fd) for fd in will["bells"]],
    }


def _take(estate):
    slot = estate.take_slot()
    estate.scoreboard.row(slot).pid = os.getpid()
    return slot


def test_slots_are_given_out_once(estate):
    assert [_take(estate) for _ in range(3)] == [0, 1, 2]


def test_a_slot_given_back_is_swept(estate):
    slot = _take(estate)
    gauge = NAMES.index(min(GAUGES))
    estate.counters.slot(slot)[gauge] = 3
    estate.bells.waiting(slot, +1)
    estate.give_back(slot)

    assert estate.counters.total(gauge) == 0
    assert not estate.bells.is_waiting(slot)
    assert _take(estate) == slot


def test_the_slots_of_the_dead_are_free(estate):
    """A master that was killed could not give back what its workers held."""
    for _ in range(8):
        _take(estate)
    assert estate.take_slot() is None

    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    estate.scoreboard.row(5).pid = pid
    assert estate.take_slot() == 5


def test_somebody_elses_process_is_alive(estate, monkeypatch):
    for row in estate.scoreboard.rows:
        row.pid = 1

    def forbid(pid, signum):
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbid)
    assert estate.take_slot() is None


def test_the_next_master_has_the_same_memory(estate):
    heir = Estate.adopt(_dup(estate.will()))
    before = estate.stamps.read(9)
    heir.stamps.bump(9)
    heir.counters.add(2, 0, 5)
    heir.bells.ring(3)

    assert estate.stamps.read(9) != before
    assert estate.counters.total(0) == 5
    assert os.eventfd_read(estate.bells.fd(3)) == 1


def test_two_masters_take_slots_from_opposite_ends(estate):
    heir = Estate.adopt(_dup(estate.will()))
    third = Estate.adopt(_dup(heir.will()))

    assert [_take(estate), _take(heir), _take(third)] == [0, 7, 1]


@pytest.mark.parametrize("change", [{"layout": 0}, {"names": 1}, {"slots": 9}])
def test_another_programs_pages_are_refused(estate, change):
    with pytest.raises(ValueError, match=r"laid?|lays|bytes"):
        Estate.adopt(_dup(estate.will()) | change)


def test_a_will_without_a_page_is_refused(estate):
    will = _dup(estate.will())
    del will["pages"]["stamps"]

    with pytest.raises(KeyError):
        Estate.adopt(will)


def test_every_descriptor_of_the_will_is_named(estate):
    assert len(estate.fds()) == len(set(estate.fds())) == 13 + 8


def test_there_are_slots_for_generations_that_come_and_go():
    assert slots_for(1) == LEAST_SLOTS
    assert slots_for(100) == 608
