"""
Who listens to which origin: waiting for something to read, without telling the kernel anew each time.

trio arms a descriptor for each wait and disarms it after: a system call and some 8 µs per miss. Here every origin's
connection is registered once, edge-triggered, with the epoll that the fast lane polls anyway, and a wait is a task that is
parked and woken. :class:`TrioEars` is the plain form, for whoever has no fast lane.

A wait may end early (an edge that came while nobody waited, an origin that has closed): read until there is nothing, then
wait again. Nothing is lost the other way round, because an edge that nobody waits for is remembered, and one that said the
other side has closed is remembered for good.

Hot: once per miss. Bench: ``bench/micro/test_miss.py``.
Source: epoll(7), "Level-triggered and edge-triggered".
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import outcome
import trio
from trio.lowlevel import (
    Abort,
    Task,
    checkpoint,
    current_task,
    in_trio_run,
    notify_closing,
    wait_readable,
    wait_task_rescheduled,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock

_WATCH: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Ears(Protocol):
    """Waits for descriptors; one task at a time waits for each."""

    def open(self, fd: int) -> None:
        """Listen to *fd* from now on."""
        ...

    def close(self, fd: int) -> None:
        """Stop, before *fd* is closed; whoever waits gets :class:`trio.ClosedResourceError`."""
        ...

    def wake(self, fd: int) -> None:
        """End a wait with :class:`trio.ClosedResourceError`; *fd* stays open."""
        ...

    async def wait(self, fd: int) -> None:
        """Wait until something can be read, or earlier."""
        ...

    def call(self, fd: int, heard: Callable[[Any], object], errand: object) -> bool:
        """Call *heard* with *errand*, once, instead of waking a task: when something can be read or :meth:`wake` is called; False: cannot."""
        ...

    def uncall(self, fd: int) -> None:
        """Call nobody."""
        ...


class TrioEars:
    """Listens through trio."""

    def open(self, fd: int) -> None:
        """Nothing is kept."""

    def close(self, fd: int) -> None:
        """Wake whoever waits."""
        _tell_trio(fd)

    wake = close

    async def wait(self, fd: int) -> None:
        """Wait until something can be read."""
        await wait_readable(fd)

    def uncall(self, fd: int) -> None:
        """Nobody is called."""

    def call(self, fd: int, heard: Callable[[Any], object], errand: object) -> bool:  # noqa: ARG002 - as the protocol
        """Trio wakes tasks only."""
        return False


class EpollEars:
    """
    Listens through an epoll of our own.

    Args:
        epoll: whose events for descriptors in ``listening`` are given to :meth:`heard`.

    Attributes:
        listening: what is registered.
        pending: what epoll has said, of whom, and nobody has been told yet; the oldest first.
    """

    __slots__ = ("_calls", "_edges", "_ended", "_epoll", "_waiting", "listening", "pending")

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.listening: set[int] = set()
        self.pending: dict[int, int] = {}
        self._waiting: dict[int, Task] = {}
        self._calls: dict[int, tuple[Callable[[Any], object], object]] = {}
        self._edges: set[int] = set()  # something came while nobody waited
        self._ended: set[int] = set()  # the other side has closed: no further edge will come

    def open(self, fd: int) -> None:
        """Register *fd*: once for its life."""
        self._epoll.register(fd, _WATCH)
        self.listening.add(fd)

    def close(self, fd: int) -> None:
        """Forget *fd*."""
        if fd in self.listening:
            self.listening.discard(fd)
            self._edges.discard(fd)
            self._ended.discard(fd)
            self.pending.pop(fd, None)  # of this connection, not of the next that has its number
            with suppress(OSError, ValueError):  # epoll_ctl(DEL): the epoll is closed first when the worker ends
                self._epoll.unregister(fd)
        self._calls.pop(fd, None)
        self.wake(fd)
        _tell_trio(fd)  # a sender beside may wait for room

    def wake(self, fd: int) -> None:
        """End the wait, if somebody waits."""
        call = self._calls.pop(fd, None)
        if call is not None:
            call[0](call[1])
            return
        task = self._waiting.pop(fd, None)
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Error(trio.ClosedResourceError("another task closed this")))

    def hear(self, clock: Clock, until_mono: float, least: int) -> None:
        """(Fast lane) Tell of what is pending until *until_mono*, but of *least* connections at least."""
        pending = self.pending
        while pending:
            fd = next(iter(pending))
            self.heard(fd, pending.pop(fd))
            least -= 1
            if least <= 0 and clock.mono() >= until_mono:
                break

    def heard(self, fd: int, events: int) -> None:
        """(Fast lane) Epoll has said something of *fd*."""
        if events & _ENDED:
            self._ended.add(fd)
        call = self._calls.pop(fd, None)
        if call is not None:
            call[0](call[1])
            return
        task = self._waiting.pop(fd, None)
        if task is None:
            self._edges.add(fd)
        else:
            trio.lowlevel.reschedule(task)

    def call(self, fd: int, heard: Callable[[Any], object], errand: object) -> bool:
        """
        Call *heard* with *errand*, from the fast lane's turn, at the next edge; one that came before is not waited for.

        For whoever has read until there was nothing: an older edge, and an end, were of what has been read.
        """
        self._edges.discard(fd)
        if fd in self._ended:
            return False
        self._calls[fd] = (heard, errand)
        return True

    def uncall(self, fd: int) -> None:
        """Call nobody; who waits for *fd* next sees what comes from now on."""
        self._calls.pop(fd, None)

    async def wait(self, fd: int) -> None:
        """Wait until something can be read. Returns at once after an edge that nobody waited for."""
        if fd in self._edges:
            self._edges.discard(fd)
            return
        if fd in self._ended:
            await checkpoint()
            return
        assert fd not in self._waiting, "two tasks wait for one connection"
        self._waiting[fd] = current_task()

        def abort(_: Callable[[], object]) -> Abort:
            self._waiting.pop(fd, None)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)


def _tell_trio(fd: int) -> None:
    """Wake whoever waits for *fd* through trio. After the run, when a worker lets go of everything, nobody does."""
    if in_trio_run():
        notify_closing(fd)
