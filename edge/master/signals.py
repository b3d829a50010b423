"""
How signals become input: handlers only wake, the loop does.

Python's C handler writes the signal's number into a socket; the loop reads numbers from it like any other input. The
Python-level handlers do nothing but exist, for without one the default action would be taken. It does not know
what a signal means.

Around a fork every signal is held back, or one sent to the child before it has its own handlers would be written into
the master's socket and stop the house.

Source: signal.set_wakeup_fd; DJB's self-pipe.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MEANT: Final = (
    signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU,
    signal.SIGCHLD,
)  # fmt: skip
"""What the master takes."""

_CHILD_IGNORES: Final = (
    signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU,
    signal.SIGPIPE,
)  # fmt: skip
"""
A terminal sends SIGINT to everyone in the foreground, ``timeout`` and many a supervisor SIGTERM to the whole group,
``pkill -HUP edge`` SIGHUP to everyone by that name: the master decides what they mean, and says it on the channel. A child that
does not do as it is told is ended by SIGABRT and SIGKILL.
"""


class Inbox:
    """Signals waiting to be looked at. There is one at a time."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in MEANT:
            signal.signal(number, _wake)
            signal.siginterrupt(number, False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when a signal waits."""
        return self._read.fileno()

    def take(self) -> list[signal.Signals]:
        """Return what has arrived, in order. Several of SIGCHLD may be one, as the kernel merges them."""
        try:
            return [signal.Signals(number) for number in self._read.recv(4096)]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Take no more; signals do what they do by default."""
        signal.set_wakeup_fd(-1)
        for number in MEANT:
            signal.signal(number, signal.SIG_DFL)
        self._read.close()
        self._write.close()


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold every signal back until the block ends. A child forked in it calls :func:`as_child` instead of ending it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def as_child() -> None:
    """Take signals as a child should, then let them in."""
    signal.set_wakeup_fd(-1)
    for number in MEANT:
        signal.signal(number, signal.SIG_DFL)
    for number in _CHILD_IGNORES:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def as_new() -> None:
    """Take signals as a program expects that is about to be executed: all by default, none held back."""
    signal.set_wakeup_fd(-1)
    for number in (*MEANT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _wake(_number: int, _frame: object) -> None:
    """Do nothing: the C handler has written the number already."""
