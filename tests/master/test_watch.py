"""The loop hears what speaks, and sends what waits."""

import signal

import pytest

from edge.master.signals import Inbox
from edge.master.watch import Watch
from edge.share.channel import Channel, Word


@pytest.fixture
def watched():
    before = signal.getsignal(signal.SIGCHLD)
    inbox = Inbox()
    watch = Watch(inbox)
    ours, theirs = Channel.pair()
    watch.add(ours)
    yield inbox, watch, ours, theirs
    watch.close()
    inbox.close()
    ours.close()
    theirs.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, before)


def test_nothing_said_nothing_heard(watched):
    assert watched[1].wait(0) == []


def test_a_signal_and_a_word_are_heard(watched):
    inbox, watch, ours, theirs = watched
    signal.raise_signal(signal.SIGUSR1)
    theirs.send(Word.READY)

    assert set(watch.wait(0)) == {inbox, ours}


def test_who_is_taken_out_is_not_heard(watched):
    _, watch, ours, theirs = watched
    watch.remove(ours)
    watch.remove(ours)
    theirs.send(Word.READY)

    assert watch.wait(0) == []


def test_words_that_found_no_room_are_sent_when_there_is(watched):
    _, watch, ours, theirs = watched
    for _ in range(40):
        ours.send(Word.RELOAD_CERTS, b"x" * 30_000)
    assert ours.wants_write

    received = 0
    while watch.wait(0) == [] or ours.wants_write:
        while theirs.receive_nowait() is not None:
            received += 1
        if received == 40:
            break
    assert received == 40
    assert watch.wait(0) == [] or not ours.wants_write
