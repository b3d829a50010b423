"""Every place has its queue; none is closed with somebody in it."""

import os
import socket

import pytest

from edge.listen.bind import CannotListen
from edge.listen.inherited import is_listening
from edge.listen.queues import Queues
from tests.listen.clients import connect_many, count_pending
from tests.listen.wanted import systemd, tcp, unix


@pytest.fixture
def queues():
    opened = Queues.open(tcp(), 3, 64, {})
    yield opened
    opened.close()


def _address(queues):
    return queues.sockets()[0].getsockname()


def _steered(queues, *places):
    queues.steer(places)
    if not queues.is_steered:
        pytest.skip("this kernel does not steer")


def test_each_place_is_lent_its_own_queue(queues):
    lent = [queues.lend(place) for place in range(3)]

    assert [len(socks) for socks in lent] == [1, 1, 1]
    assert len({socks[0].fileno() for socks in lent}) == 3
    assert len({socks[0].getsockname() for socks in lent}) == 1
    assert repr(queues) == "<Queues 127.0.0.1:0 places [0, 1, 2]>"


def test_a_place_without_a_queue_shares_anothers(queues):
    assert queues.lend(4) == queues.lend(1)


def test_a_grown_place_has_a_queue_of_its_own(queues):
    queues.grow(3)
    queues.grow(3)

    assert [place for place, _ in queues.own()] == [0, 1, 2, 3]
    assert queues.lend(3)[0].getsockname() == _address(queues)


def test_connections_go_to_the_steered_places_only(queues):
    _steered(queues, 2)
    clients = connect_many(_address(queues), 20)

    assert [count_pending(queues.lend(place)[0]) for place in range(3)] == [0, 0, 20]
    for client in clients:
        client.close()


def test_steering_to_nobody_leaves_every_queue_open(queues):
    _steered(queues, 7)
    clients = connect_many(_address(queues), 30)

    assert all(count_pending(queues.lend(place)[0]) for place in range(3))
    for client in clients:
        client.close()


def test_pending_connections_are_taken_for_others(queues):
    _steered(queues, 1)
    clients = connect_many(_address(queues), 5)
    taken = queues.pending(1)

    assert {sock.getpeername() for sock in taken} == {client.getsockname() for client in clients}
    assert queues.pending(1) == []
    for sock in clients + taken:
        sock.close()


def test_giving_up_a_place_renumbers_as_the_kernel_does(queues):
    """The last queue takes the number of the one that closed; steering still finds each."""
    queues.grow(3)
    _steered(queues, 1, 2, 3)
    queues.give_up(0)
    assert [place for place, _ in queues.own()] == [3, 1, 2]

    for place in (1, 2, 3):
        queues.steer([place])
        clients = connect_many(_address(queues), 10)
        assert count_pending(queues.lend(place)[0]) == 10
        for client in clients:
            client.close()


def test_a_queue_given_up_takes_no_more_even_if_somebody_holds_it(queues):
    held = socket.socket(fileno=os.dup(queues.lend(2)[0].fileno()))
    _steered(queues, 0, 1)
    queues.give_up(2)
    queues.steer([0, 1])
    clients = connect_many(_address(queues), 20)

    assert not is_listening(held)
    assert sum(count_pending(queues.lend(place)[0]) for place in (0, 1)) == 20
    for sock in [*clients, held]:
        sock.close()


def test_the_last_queue_is_never_given_up(queues):
    for place in range(3):
        queues.give_up(place)

    assert [place for place, _ in queues.own()] == [2]
    queues.give_up(9)
    assert is_listening(queues.lend(0)[0])


def test_nothing_is_pending_where_there_is_no_queue(queues):
    assert queues.pending(9) == []


def test_a_port_in_use_is_refused_and_nothing_stays_open(queues):
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(CannotListen):
        Queues.open(tcp(port=_address(queues)[1]), 2, 16, {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_systemds_sockets_are_shared_by_all_places():
    theirs = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    queues = Queues.open(systemd("web"), 3, 16, {"web": theirs})

    assert queues.lend(0) == queues.lend(2) == theirs
    assert queues.is_inherited
    assert repr(queues) == "<Queues systemd:web 2 shared>"
    queues.grow(3)
    queues.steer([1])
    assert queues.sockets() == theirs
    queues.close()


def test_a_name_systemd_did_not_pass_is_refused_with_those_it_did():
    with pytest.raises(CannotListen, match=r"named 'web' \(passed: admin, api;"):
        Queues.open(systemd("web"), 1, 16, {"api": [], "admin": []})


def test_a_unix_socket_is_shared_and_removed_with_us(tmp_path):
    queues = Queues.open(unix(tmp_path / "x"), 2, 16, {})

    assert queues.lend(0) == queues.lend(1)
    assert queues.bound == f"unix:{tmp_path}/x"
    queues.remove_path()
    queues.close()
    assert not (tmp_path / "x").exists()


def test_a_unix_socket_that_is_anothers_by_now_is_left(tmp_path):
    queues = Queues.open(unix(tmp_path / "x"), 2, 16, {})
    (tmp_path / "x").rename(tmp_path / "y")
    other = Queues.open(unix(tmp_path / "x"), 2, 16, {})
    queues.remove_path()

    assert (tmp_path / "x").exists()
    queues.close()
    other.close()


def test_a_next_master_goes_on_with_the_same_queues(queues):
    queues.steer([0, 2])
    own = [(place, os.dup(fd)) for place, fd in queues.own()]
    adopted = Queues.adopt(queues.address, 64, own, [])

    assert [place for place, _ in adopted.own()] == [0, 1, 2]
    assert adopted.bound == queues.bound
    adopted.close()


def test_a_next_master_removes_the_unix_socket_it_took_over(tmp_path):
    queues = Queues.open(unix(tmp_path / "x"), 1, 16, {})
    adopted = Queues.adopt(queues.address, 16, [], [os.dup(fd) for fd in queues.shared()])
    adopted.remove_path()

    assert not (tmp_path / "x").exists()
    queues.close()
    adopted.close()


def test_what_is_no_socket_is_not_adopted():
    fd = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(CannotListen):
        Queues.adopt("127.0.0.1:1", 16, [(0, fd)], [])
    os.close(fd)


def test_forgotten_steering_is_told_again(queues):
    _steered(queues, 0)
    other = Queues.adopt(queues.address, 64, [(place, os.dup(fd)) for place, fd in queues.own()], [])
    other.steer([1])
    queues.forget_steering()
    queues.steer([0])
    clients = connect_many(_address(queues), 10)

    assert count_pending(queues.lend(0)[0]) == 10
    for client in clients:
        client.close()
    other.close()
