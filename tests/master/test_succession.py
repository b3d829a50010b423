"""A will is read as it was written, whatever it does not fit."""

import json
import os
import socket

import pytest

from edge.listen.listening import Listening
from edge.master.estate import Estate
from edge.master.succession import VARIABLE, inherit
from edge.share.channel import Channel, Word


@pytest.fixture
def left():
    """A will as the new program finds it: every descriptor its own."""
    ours, theirs = Channel.pair()
    sock = socket.create_server(("127.0.0.1", 0))
    estate = Estate.make(4).will()
    estate |= {
        "pages": {name: os.dup(fd) for name, fd in estate["pages"].items()},
        "bells": [os.dup(fd) for fd in estate["bells"]],
    }
    yield (
        ours,
        {
            "channel": os.dup(theirs.fileno()),
            "estate": estate,
            "listening": {
                "named": {},
                "queues": [{"address": "127.0.0.1:1", "backlog": 5, "own": [[0, os.dup(sock.fileno())]], "shared": []}],
            },
            "generation": 7,
            "origin_blocks": {"shop": 3},
            "route_blocks": {"*/": 1},
        },
    )
    for each in (ours, theirs, sock):
        each.close()


def test_without_a_will_nothing_is_inherited():
    found = inherit({})

    assert (found.channel, found.estate, found.generation) == (None, None, 0)
    assert isinstance(found.listening, Listening)


def test_everything_left_is_found_and_the_variable_is_gone(left):
    ours, will = left
    environ = {VARIABLE: json.dumps(will), "HOME": "/"}
    found = inherit(environ)
    found.channel.send(Word.READY)

    assert environ == {"HOME": "/"}
    assert ours.receive_nowait().word is Word.READY
    assert (found.generation, found.origin_blocks, found.complaint) == (7, {"shop": 3}, "")
    assert found.estate.scoreboard.slots == 4
    assert list(found.listening.queues) == ["127.0.0.1:1"]
    found.channel.close()
    found.listening.close(remove_paths=False)


def test_pages_that_do_not_fit_are_made_anew_and_said(left):
    _, will = left
    will["estate"]["layout"] = 0
    found = inherit({VARIABLE: json.dumps(will)})

    assert found.estate is None
    assert "lays its shared pages out otherwise" in found.complaint
    found.channel.close()
    found.listening.close(remove_paths=False)


def test_nothing_inherited_survives_another_exec(left):
    _, will = left
    for fd in (will["channel"], *will["estate"]["pages"].values(), *will["estate"]["bells"]):
        os.set_inheritable(fd, True)
    found = inherit({VARIABLE: json.dumps(will)})

    assert not any(os.get_inheritable(fd) for fd in (found.channel.fileno(), *found.estate.fds()))
    found.channel.close()
    found.listening.close(remove_paths=False)


def test_a_will_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="Expecting"):
        inherit({VARIABLE: "{"})
