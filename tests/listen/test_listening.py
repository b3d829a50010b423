"""A listener is known by its address: what stays keeps its sockets."""

import os
import socket

import pytest

from edge.listen.bind import CannotListen
from edge.listen.inherited import is_listening
from edge.listen.listening import Listening
from tests.listen.clients import connect_many
from tests.listen.wanted import systemd, tcp, unix


@pytest.fixture
def listening():
    opened = Listening()
    yield opened
    opened.close(remove_paths=True)


def test_opening_again_keeps_what_is_open_and_adds_places(listening):
    listening.open([(tcp(), 16)], 2)
    first = listening.queues["127.0.0.1:0"].lend(0)[0]
    listening.open([(tcp(), 16)], 3)

    assert listening.queues["127.0.0.1:0"].lend(0)[0] is first
    assert len(listening.queues["127.0.0.1:0"].own()) == 3


def test_a_failure_closes_only_what_was_opened_with_it(listening, tmp_path):
    listening.open([(tcp(), 16)], 1)

    with pytest.raises(CannotListen):
        listening.open([(tcp(), 16), (unix(tmp_path / "x"), 16), (tcp("192.0.2.1"), 16)], 1)
    assert list(listening.queues) == ["127.0.0.1:0"]
    assert not (tmp_path / "x").exists()


def test_what_is_no_longer_wanted_is_closed(listening, tmp_path):
    listening.open([(tcp(), 16), (unix(tmp_path / "x"), 16)], 1)

    assert listening.close_except(["127.0.0.1:0"]) == [f"unix:{tmp_path}/x"]
    assert list(listening.queues) == ["127.0.0.1:0"]
    assert not (tmp_path / "x").exists()


def test_systemds_sockets_stay_for_a_later_reload():
    theirs = socket.create_server(("127.0.0.1", 0))
    listening = Listening({"web": [theirs]})
    listening.open([(systemd("web"), 16)], 1)
    listening.close_except([])
    listening.open([(systemd("web"), 16)], 1)

    assert is_listening(theirs)
    listening.close(remove_paths=True)
    assert theirs.fileno() == -1


def test_a_place_that_cannot_have_a_queue_is_reported(listening, monkeypatch):
    listening.open([(tcp(), 16)], 1)

    def refuse(*_):
        raise CannotListen("no")

    monkeypatch.setattr("edge.listen.queues.open_tcp", refuse)
    assert [str(problem) for problem in listening.grow(1)] == ["no"]
    assert [str(problem) for problem in listening.open([(tcp(), 16)], 3)] == ["no", "no"]


def test_spare_places_are_those_beyond_the_wanted(listening):
    listening.open([(tcp(), 16)], 4)

    assert listening.spare_places(2) == {2, 3}
    listening.give_up(2)
    assert listening.spare_places(2) == {3}


def test_the_only_queue_is_no_spare_place(listening):
    """It cannot be given up, so it must not be asked for again and again."""
    listening.open([(tcp(), 16)], 2)
    listening.give_up(0)

    assert listening.spare_places(1) == set()


def test_pending_connections_are_found_by_address(listening):
    listening.open([(tcp(), 16)], 1)
    clients = connect_many(listening.queues["127.0.0.1:0"].sockets()[0].getsockname(), 2)
    found = listening.pending(0)

    assert {address: len(socks) for address, socks in found.items()} == {"127.0.0.1:0": 2}
    assert listening.pending(0) == {}
    for sock in clients + found["127.0.0.1:0"]:
        sock.close()


def test_a_will_is_enough_to_go_on(listening, tmp_path):
    theirs = socket.create_server(("127.0.0.1", 0))
    listening.named["web"] = [theirs]
    listening.open([(tcp(), 16), (unix(tmp_path / "x"), 16), (systemd("web"), 16)], 2)
    listening.steer([0, 1])
    will = listening.will()
    assert len(listening.fds()) == len(set(listening.fds())) == 4
    will["named"] = {name: [os.dup(fd) for fd in fds] for name, fds in will["named"].items()}
    for left in will["queues"]:
        left["own"] = [(place, os.dup(fd)) for place, fd in left["own"]]
        left["shared"] = [os.dup(fd) for fd in left["shared"]]
    heir = Listening.adopt(will)
    heir.open([(tcp(), 16), (unix(tmp_path / "x"), 16), (systemd("web"), 16)], 2)

    assert {address: queues.bound for address, queues in heir.queues.items()} == {
        address: queues.bound for address, queues in listening.queues.items()
    }
    heir.forget_steering()
    heir.close(remove_paths=False)
    assert (tmp_path / "x").exists()


def test_a_spare_place_is_found_wherever_the_kernel_has_it(listening):
    listening.open([(tcp(), 16)], 4)
    listening.give_up(0)

    assert [place for place, _ in listening.queues["127.0.0.1:0"].own()] == [3, 1, 2]
    assert listening.spare_places(3) == {3}
