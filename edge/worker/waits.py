"""
Waiting for origins, with deadlines that cost next to nothing.

A deadline exists only around a wait. A wait for the origin of ten seconds or more has no ``CancelScope``, which with its
place in trio's heap costs 10 µs of 44 per exchange: it is written down, and :meth:`Watch.sweep` ends it, up to a second
late. Short waits, and all of them while nobody sweeps, have a scope and are exact.

Hot: once per miss. Cost in ``bench/micro/test_origin.py``.
Source: RFC 9209 §2.3 for the words of failure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from trio.lowlevel import wait_readable, wait_writable

from edge.errors import OriginFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock
    from edge.worker.attempt import Attempt
    from edge.worker.ears import Ears

SWEPT_S: Final = 10.0
"""Waits from here on are ended by the sweep; and a sweep that is longer ago than this is not counted on."""


class Waiter(Protocol):
    """
    Who waits: an exchange with an origin.

    Attributes:
        attempt: on whose connection.
        is_sending: a task beside still sends the body: the origin cannot be late with its reply.
        scope: around the present wait for something to read, if it is not left to the sweep.
        is_overdue: the sweep has ended the wait.
    """

    attempt: Attempt
    is_sending: bool
    scope: trio.CancelScope | None
    is_overdue: bool

    @property
    def is_held(self) -> bool:
        """The client sends nothing before the origin has said 100: then it can be late."""
        ...


class Watch:
    """
    The waits of all exchanges for something to read.

    Args:
        clock: whose time the sweep is told.
        ears: how something to read is waited for.

    Attributes:
        waits: who is left to the sweep, and until when.
        swept_mono: when the last sweep was.
    """

    __slots__ = ("_clock", "ears", "swept_mono", "waits")

    def __init__(self, clock: Clock, ears: Ears) -> None:
        self._clock = clock
        self.ears = ears
        self.waits: dict[Waiter, float] = {}
        self.swept_mono = -math.inf

    def sweep(self, now_mono: float) -> None:
        """Wake everyone whose time is over: each gets a fault of its own."""
        self.swept_mono = now_mono
        for waiter in [one for one, until_mono in self.waits.items() if until_mono <= now_mono]:
            waiter.is_overdue = True
            self.ears.wake(waiter.attempt.link.fd)

    def call(self, waiter: Waiter, wait_s: float, heard: Callable[[Any], object], errand: object) -> bool:
        """Have *heard* called with *errand* when something can be read, or after *wait_s*; False: only a task can wait here and now."""
        now_mono = self._clock.mono()
        if now_mono - self.swept_mono >= SWEPT_S or not self.ears.call(waiter.attempt.link.fd, heard, errand):
            return False
        self.waits[waiter] = now_mono + wait_s
        return True

    @staticmethod
    def overdue(waiter: Waiter, wait_s: float, word: str) -> OriginFault:
        """Say that nothing came in time."""
        return OriginFault(f"{waiter.attempt.server}: nothing within {wait_s:g}s", word=word, reply=504)

    async def readable(self, waiter: Waiter, wait_s: float, word: str) -> None:
        """
        Wait until something can be read.

        Raises:
            OriginFault: of this *word*: nothing came within *wait_s*.
        """
        attempt = waiter.attempt
        fd = attempt.link.fd
        now_mono = self._clock.mono()
        if wait_s >= SWEPT_S and now_mono - self.swept_mono < SWEPT_S and not waiter.is_sending:
            self.waits[waiter] = now_mono + wait_s
            try:
                await self.ears.wait(fd)
            except trio.ClosedResourceError:
                if not waiter.is_overdue:
                    raise
            else:
                attempt.unwaited = 0
                return
            finally:
                del self.waits[waiter]
        else:
            is_the_clients = waiter.is_sending and not waiter.is_held
            with trio.CancelScope(relative_deadline=math.inf if is_the_clients else wait_s) as waiter.scope:
                try:
                    await self.ears.wait(fd)
                finally:
                    waiter.scope = None
                attempt.unwaited = 0
                return
        raise self.overdue(waiter, wait_s, word)


def rearm(waiter: Waiter, wait_s: float) -> None:
    """The sender beside is done: whoever waits for the origin waits with a deadline from now on."""
    if waiter.scope is not None:
        waiter.scope.deadline = trio.current_time() + wait_s


async def flush(waiter: Waiter, pause_s: float) -> bool:
    """
    Send all that waits to be sent; False if the origin answered or closed instead of taking it.

    Raises:
        OriginFault: it took nothing for *pause_s*.
    """
    attempt = waiter.attempt
    while not attempt.flush():
        attempt.unwaited = 0
        with trio.CancelScope(relative_deadline=pause_s) as scope:
            if waiter.is_sending:  # somebody awaits the reply already
                await wait_writable(attempt.link.fd)
                is_readable = False
            else:
                is_readable = await _writable_or_readable(attempt.link.fd)
        if scope.cancelled_caught:
            raise OriginFault(f"took nothing for {pause_s:g}s", word="connection_write_timeout", reply=504)
        if is_readable and attempt.reply() is not None:
            return False
    return attempt.broken is None


async def _writable_or_readable(fd: int) -> bool:
    """Wait for either; True: there is something to read. Rare, so a nursery is cheap."""
    is_readable = False

    async def watch() -> None:
        nonlocal is_readable
        await wait_readable(fd)
        is_readable = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await wait_writable(fd)
        nursery.cancel_scope.cancel()
    return is_readable
