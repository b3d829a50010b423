"""
Calls of operators' functions that go on when their time is over: each is interrupted, by an exception raised in its thread.

:class:`Call` runs one function in a thread of the pool; :class:`Overruns` keeps those that nobody waits for any more, and every
while raises :class:`OutOfTime` in their threads until they have ended. What no exception reaches goes on: code in C that does not come
back (a regular expression that backtracks for ever, which holds the interpreter's lock besides), or that waits. It is
counted and told, and of each function there may be so many and no more.

The invariant: no exception is raised in a thread that has gone on to something else. Nobody may hold a lock for that, since the
exception might strike whoever holds it. Instead each side first writes what it does and then reads what the other does: we mark
a call as given up, then look whether it has ended; its thread marks it as ended, then looks whether it was given up, and if so waits
until we have let go of it. Whichever of them came second knows of the first.

States of a call

    waiting       no thread has it yet; given up now, its function is never called
    running       in the function
    given up      still in it; to be interrupted
    ended         the function has returned or raised; if it was given up its thread waits to be let go
"""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
from typing import TYPE_CHECKING, Final

import trio

from edge.observe import names

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.exchange.proof import Program
    from edge.observe.ledger import Cells
    from edge.policy.verdict import Request

log = logging.getLogger("edge")

MOST: Final = 8
"""Threads that one function may keep beyond its time: half of those there are, so that others' functions have the rest."""

LOOK_S: Final = 0.05
"""How often calls that were given up are looked at, while there are some: their threads wait for that."""

AGAIN_S: Final = 0.5
"""After how long one is interrupted again: a bare ``except:`` or a ``finally`` may swallow an exception."""

STUCK_S: Final = 5.0
"""After how long beyond its time a call is told of: interrupting it has not helped."""

TURN_S: Final = 0.0005
"""
How long a thread may compute while others want to, where there are functions: Python's own 5 ms. With sixteen that compute the
worker waits for sixteen turns, each time it has let go of the interpreter.
"""

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_raise_in.restype = ctypes.c_int


class OutOfTime(BaseException):
    """Raised in a function whose time is over. Not an ``Exception``, so that ``except Exception`` does not swallow it."""


class Call:
    """
    One call of a function.

    Args:
        program: whose function.
        request: what it is asked.
        due_mono: when its time is over.

    Attributes:
        has_ended: its thread is out of the function.
    """

    __slots__ = (
        "_is_given_up",
        "_is_let_go",
        "_request",
        "_thread",
        "_until_let_go",
        "due_mono",
        "has_ended",
        "program",
    )

    def __init__(self, program: Program, request: Request, due_mono: float) -> None:
        self.program = program
        self.due_mono = due_mono
        self.has_ended = False
        self._request = request
        self._thread = 0
        self._is_given_up = False
        self._is_let_go = False
        self._until_let_go = threading.Lock()
        self._until_let_go.acquire()

    def run(self) -> object:
        """
        Call the function, in this thread.

        Raises:
            Exception: whatever it raises.
        """
        try:
            self._thread = threading.get_ident()
            if self._is_given_up:
                raise OutOfTime
            return self.program.call(self._request)
        finally:  # no call stands before the inner try, for an exception may strike wherever one begins or ends
            while True:
                try:
                    self.has_ended = True
                    if self._is_given_up:
                        if not self._is_let_go:
                            self._until_let_go.acquire()
                        _raise_in(self._thread, ctypes.py_object())  # what has not struck yet is taken back
                    break
                except OutOfTime:
                    continue

    def interrupt(self) -> bool:
        """(Another thread:) give it up, and raise in its thread; False: it is not in the function, and will not be."""
        self._is_given_up = True
        if not self._thread or self.has_ended:
            return False
        _raise_in(self._thread, ctypes.py_object(OutOfTime))
        return True

    def let_go(self) -> None:
        """(Another thread, once:) promise that it is not interrupted any more."""
        self._is_let_go = True
        self._until_let_go.release()


class _Overrun:
    """A call that nobody waits for, and what has been done about it."""

    __slots__ = ("again_mono", "call", "is_told", "times")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.again_mono = call.due_mono
        self.times = 0
        self.is_told = False


class Overruns:
    """
    Every call of this worker that was begun, has not ended, and is waited for by nobody.

    Args:
        cells: this worker's counters.
        most_threads: how many there are for all functions.
    """

    def __init__(self, cells: Cells, most_threads: int) -> None:
        self._cells = cells
        self._most_threads = most_threads
        self._all: list[_Overrun] = []
        self._kept = 0
        self._some = trio.Event()

    def of(self, program: Program) -> int:
        """How many threads a function keeps beyond its time."""
        return sum(overrun.times > 0 and overrun.call.program.name == program.name for overrun in self._all)

    def refuses(self, program: Program) -> str | None:
        """Say why a function is not called now; None: it may be."""
        if not self._kept:
            return None
        if (kept := self.of(program)) >= MOST:
            return f"{kept} calls of it have not ended though their time is over"
        if self._kept >= self._most_threads:
            return f"calls of other functions keep all {self._most_threads} threads beyond their time"
        return None

    def add(self, call: Call) -> None:
        """Take a call that nobody waits for any more; it is interrupted when its time is over."""
        self._all.append(_Overrun(call))
        self._some.set()

    async def run(self, clock: Clock) -> None:
        """Interrupt what is due, again and again; see to it that what computes gives others their turn soon."""
        before_s = sys.getswitchinterval()
        sys.setswitchinterval(min(TURN_S, before_s))
        try:
            while True:
                if not self._all:
                    self._some = trio.Event()
                    await self._some.wait()
                self.look(clock.mono())
                await trio.sleep(LOOK_S)
        finally:  # nobody will look again: threads that wait for it need not
            sys.setswitchinterval(before_s)
            for overrun in self._all:
                overrun.call.let_go()

    def look(self, now_mono: float) -> None:
        """Let go of what has ended; interrupt what has not and is due; tell of what no exception has ended."""
        still, self._all = self._all, []
        for overrun in still:
            call = overrun.call
            is_running = not call.has_ended
            if is_running and now_mono >= overrun.again_mono:
                is_running = call.interrupt()
                overrun.times += 1
                overrun.again_mono = now_mono + AGAIN_S
            if is_running:
                self._all.append(overrun)
            else:
                call.let_go()
        self._kept = self._cells[names.POLICY_OVERRUNS] = sum(overrun.times > 0 for overrun in self._all)
        for overrun in self._all:
            over_s = now_mono - overrun.call.due_mono
            if over_s >= STUCK_S and not overrun.is_told:
                overrun.is_told = True
                log.error(
                    "policy %s: a call goes on %.0fs after its time was over, though it was interrupted %d times; "
                    "such calls keep %d of its threads, of at most %d",
                    overrun.call.program.name, over_s, overrun.times, self.of(overrun.call.program), MOST,
                )  # fmt: skip
