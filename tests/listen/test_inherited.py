"""What systemd passes is found by name and taken out of the environment."""

import os
import socket

import pytest

from edge.listen import inherited
from edge.listen.inherited import name_descriptors


def _environment(**more):
    return {"LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "web:web:admin", "HOME": "/"} | more


def test_descriptors_are_named_in_order():
    assert name_descriptors(_environment(), 7) == [("web", 3), ("web", 4), ("admin", 5)]


def test_the_variables_are_taken_out():
    environ = _environment()
    name_descriptors(environ, 7)

    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        _environment(LISTEN_PID="8"),
        _environment(LISTEN_PID=""),
        _environment(LISTEN_FDS="x"),
        _environment(LISTEN_FDS=""),
    ],
)
def test_what_is_not_meant_for_us_is_nothing(environ):
    assert name_descriptors(environ, 7) == []


@pytest.mark.parametrize("names", ["web", ""])
def test_missing_names_are_unknown(names):
    found = name_descriptors(_environment(LISTEN_FDNAMES=names), 7)

    assert [name for name, _ in found][1:] == ["unknown", "unknown"]


def test_listening_sockets_are_taken_and_others_left(monkeypatch):
    listening = socket.create_server(("127.0.0.1", 0))
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    monkeypatch.setattr(inherited, "FIRST", 500)
    os.dup2(listening.fileno(), 500)
    os.dup2(datagram.fileno(), 501)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 502)
    found = inherited.take({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "4", "LISTEN_FDNAMES": "a:b:c:d"})

    assert list(found) == ["a"]
    assert found["a"][0].getsockname() == listening.getsockname()
    assert not found["a"][0].getblocking()
    assert not os.get_inheritable(500)
    os.fstat(501)
    os.fstat(502)
    for fd in (501, 502):
        os.close(fd)
    for sock in (listening, datagram, found["a"][0]):
        sock.close()
