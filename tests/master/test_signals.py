"""Signals become input, one after the other; children have none of the master's."""

import os
import select
import signal

import pytest

from edge.master.signals import MEANT, Inbox, as_child, as_new, held_back


@pytest.fixture
def inbox():
    before = {number: signal.getsignal(number) for number in MEANT}
    opened = Inbox()
    yield opened
    opened.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_taken_in_order(inbox):
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN):
        signal.raise_signal(number)

    assert select.select([inbox], [], [], 0)[0] == [inbox]
    assert inbox.take() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN]
    assert inbox.take() == []


def test_a_held_back_signal_arrives_afterwards(inbox):
    with held_back():
        os.kill(os.getpid(), signal.SIGHUP)
        assert inbox.take() == []

    assert inbox.take() == [signal.SIGHUP]


@pytest.mark.parametrize("prepare", [as_child, as_new])
def test_a_child_does_not_write_into_the_masters_inbox(inbox, prepare):
    with held_back():
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGCHLD)
            os.kill(os.getpid(), signal.SIGTERM)  # held back, as one that comes right after the fork would be
            prepare()
            os._exit(0)
    _, status = os.waitpid(pid, 0)

    if prepare is as_new:
        assert os.WTERMSIG(status) == signal.SIGTERM
    else:
        assert status == 0
    assert set(inbox.take()) <= {signal.SIGCHLD}


def test_a_child_leaves_the_masters_signals_to_the_master(inbox):
    with held_back():
        pid = os.fork()
        if pid == 0:
            as_child()
            for number in (
                signal.SIGTERM,
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGUSR1,
                signal.SIGUSR2,
                signal.SIGTTIN,
            ):
                os.kill(os.getpid(), number)
            os._exit(0)

    assert os.waitpid(pid, 0)[1] == 0


def test_everything_meant_has_a_meaning():
    import inspect

    from edge.master.loop import Master

    source = inspect.getsource(Master._hear_signal)
    assert all(f"signal.{number.name}" in source for number in MEANT)
