"""What the master does for the dead."""

from __future__ import annotations

import select

import pytest

from edge.listen.listening import Listening
from edge.master.estate import Estate
from edge.master.house import House
from edge.master.notify import Notifier
from edge.master.roster import Child
from edge.observe import error_log
from edge.share.channel import Channel


@pytest.fixture
def house():
    log = error_log.set_up()
    yield House(Estate.make(4), Listening({}), Notifier.from_environment({}), lambda _: 0, lambda _: 0, log)
    log.close()


def bury(house: House, *, is_violent: bool) -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    house.channels[77] = ours
    house.bury(Child(77, 0, 0, 1, 0.0), is_violent=is_violent)


@pytest.mark.parametrize("is_violent", [True, False])
def test_who_waits_for_a_flight_of_the_dead_is_woken(house, is_violent):
    """A claim ends with its process, but a dead process rings nobody."""
    house.estate.bells.waiting(1, +1)
    bury(house, is_violent=is_violent)
    readable, _, _ = select.select([house.estate.bells.fd(1), house.estate.bells.fd(2)], [], [], 0)

    assert [house.estate.bells.fd(1)] == readable


@pytest.mark.parametrize("is_violent", [True, False])
def test_after_a_violent_death_nobodys_memory_is_trusted(house, is_violent):
    before = house.estate.stamps.read(5)
    bury(house, is_violent=is_violent)

    assert is_violent == (before != house.estate.stamps.read(5))
