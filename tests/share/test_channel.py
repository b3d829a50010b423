"""What is said arrives whole, with its descriptors, and never blocks who says it."""

import os
import socket

import pytest

from edge.share.channel import Channel, Message, Word


@pytest.fixture
def ends():
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_word_arrives_with_its_payload(ends):
    ours, theirs = ends
    ours.send(Word.FAILED, b"the roof\nleaks")

    assert theirs.receive_nowait() == Message(Word.FAILED, b"the roof\nleaks")
    assert theirs.receive_nowait() is None


def test_words_arrive_in_order_both_ways(ends):
    ours, theirs = ends
    ours.send(Word.RELOAD_CERTS)
    ours.send(Word.LEAVE)
    theirs.send(Word.READY)

    assert [theirs.receive_nowait().word, theirs.receive_nowait().word] == [Word.RELOAD_CERTS, Word.LEAVE]
    assert ours.receive_nowait().word is Word.READY


def test_descriptors_travel_and_the_sender_keeps_its_own(ends):
    ours, theirs = ends
    read, write = os.pipe()
    ours.send(Word.REOPEN_LOGS, b"access", [write])
    message = theirs.receive_nowait()
    os.write(message.fds[0], b"x")

    assert os.read(read, 1) == b"x"
    assert message.fds[0] != write
    assert not os.get_inheritable(message.fds[0])
    for fd in (read, write, *message.fds):
        os.close(fd)


def test_what_is_too_large_for_one_datagram_arrives_as_one_message(ends):
    ours, theirs = ends
    null = os.open(os.devnull, os.O_RDONLY)
    payload = bytes(range(256)) * 400
    ours.send(Word.RELOAD_CERTS, payload, [null] * 450)
    message = theirs.receive_nowait()

    assert message.payload == payload
    assert len(message.fds) == len(set(message.fds)) == 450
    for fd in (null, *message.fds):
        os.close(fd)


def test_what_finds_no_room_waits_and_nobody_blocks(ends):
    ours, theirs = ends
    payload = b"x" * 30_000
    for _ in range(40):
        ours.send(Word.RELOAD_CERTS, payload)

    assert ours.wants_write
    received = 0
    while (message := theirs.receive_nowait()) is not None:
        assert message.payload == payload
        received += 1
        ours.flush()
    assert received == 40
    assert not ours.wants_write


def test_half_a_message_is_not_yet_a_message(ends):
    ours, theirs = ends
    ours.send(Word.RELOAD_CERTS, b"x" * 2_000_000)
    assert theirs.receive_nowait() is None

    while ours.wants_write:
        ours.flush()
        message = theirs.receive_nowait()
    assert len(message.payload) == 2_000_000


def test_the_end_of_the_other_side_is_a_word_that_stays(ends):
    ours, theirs = ends
    ours.send(Word.LEAVE)
    ours.close()

    assert theirs.receive_nowait().word is Word.LEAVE
    assert theirs.receive_nowait().word is Word.GONE
    assert theirs.receive_nowait().word is Word.GONE


def test_a_side_that_died_with_our_words_unread_is_gone(ends):
    ours, theirs = ends
    ours.send(Word.LEAVE)
    theirs.close()

    assert ours.receive_nowait().word is Word.GONE


def test_speaking_to_the_dead_is_harmless_and_leaks_nothing(ends):
    ours, theirs = ends
    theirs.close()
    null = os.open(os.devnull, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    ours.send(Word.REOPEN_LOGS, b"access", [null])

    assert not ours.wants_write
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(null)


def test_a_closed_end_hears_that_all_is_over(ends):
    ours, _ = ends
    ours.close()

    assert ours.receive_nowait().word is Word.GONE
    assert ours.fileno() == -1


def test_closing_gives_up_what_was_not_sent(ends):
    ours, _ = ends
    null = os.open(os.devnull, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    while not ours.wants_write:
        ours.send(Word.RELOAD_CERTS, b"x" * 30_000)
    ours.send(Word.REOPEN_LOGS, b"access", [null])
    ours.close()

    assert len(os.listdir("/proc/self/fd")) == before - 1
    os.close(null)


def test_gone_is_not_said_but_done(ends):
    with pytest.raises(AssertionError):
        ends[0].send(Word.GONE)


def test_every_word_survives_the_way(ends):
    ours, theirs = ends
    for word in set(Word) - {Word.GONE}:
        ours.send(word, word.value)

        assert theirs.receive_nowait() == Message(word, word.value)


def test_a_channel_is_a_seqpacket_that_never_blocks(ends):
    assert ends[0].sock.type == socket.SOCK_SEQPACKET
    assert not ends[0].sock.getblocking()
