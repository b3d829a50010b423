"""Calls that nobody waits for any more are interrupted, and nothing else in their threads ever is."""

from __future__ import annotations

import threading
import time

import pytest

from edge.observe import names
from edge.worker import overrun
from edge.worker.overrun import AGAIN_S, MOST, STUCK_S, Call, OutOfTime, Overruns


class Program:
    """A function of an operator's."""

    def __init__(self, function, name: str = "rules:rule") -> None:
        self.name = name
        self.call = function


class Thread:
    """Carries one call out."""

    def __init__(self, call: Call) -> None:
        self.raised = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Call) -> None:
        try:
            call.run()
        except BaseException as error:
            self.raised = error

    def has_ended(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()


@pytest.fixture
def cells():
    return [0] * len(names.ROWS)


@pytest.fixture
def go_on():
    event = threading.Event()
    yield event
    event.set()


def until(what) -> None:
    ends_mono = time.monotonic() + 10
    while not what():
        assert time.monotonic() < ends_mono
        time.sleep(0.001)


def test_only_what_is_due_is_interrupted(cells) -> None:
    running = threading.Event()

    def spins(_) -> None:
        running.set()
        while True:
            pass

    overruns, program = Overruns(cells, 16), Program(spins)
    thread = Thread(call := Call(program, None, due_mono=10.0))
    running.wait(10)
    overruns.add(call)
    overruns.look(9.9)
    before = (thread.has_ended(0.02), overruns.of(program))
    overruns.look(10.0)
    kept = cells[names.POLICY_OVERRUNS]
    until(lambda: call.has_ended)
    parked = thread.has_ended(0.02)
    overruns.look(10.05)

    assert ((False, 0), 1, False) == (before, kept, parked)
    assert thread.has_ended(10)
    assert isinstance(thread.raised, OutOfTime)
    assert (0, 0) == (cells[names.POLICY_OVERRUNS], overruns.of(program))


def test_a_call_that_no_thread_has_begun_is_never_made(cells) -> None:
    called = []
    overruns = Overruns(cells, 16)
    call = Call(Program(called.append), None, due_mono=10.0)
    overruns.add(call)
    overruns.look(10.0)
    thread = Thread(call)

    assert thread.has_ended(10)
    assert isinstance(thread.raised, OutOfTime)
    assert ([], 0) == (called, cells[names.POLICY_OVERRUNS])


def test_what_no_exception_reaches_is_told_once_and_bounded(cells, go_on, caplog) -> None:
    """Whoever waits in C; each function has a bound of its own, and all together have one."""
    one, other, third = (Program(lambda _: go_on.wait(20), f"rules:{name}") for name in ("one", "other", "third"))
    overruns = Overruns(cells, 2 * MOST)
    threads = []
    for program in (one, other):
        for _ in range(MOST):
            assert overruns.refuses(program) is None
            threads.append(Thread(call := Call(program, None, due_mono=0.0)))
            until(lambda call=call: call._thread)
            overruns.add(call)
            overruns.look(0.0)
        assert f"{MOST} calls of it have not ended" in overruns.refuses(program)
        assert (overruns.refuses(third) is None) == (program is one)
    for at in range(1, 8):
        overruns.look(at * STUCK_S)
    told = [line for line in caplog.messages if "a call goes on 5s after its time was over" in line]
    go_on.set()
    until(lambda: overruns.look(99.0) or not cells[names.POLICY_OVERRUNS])

    assert 2 * MOST == len(told)
    assert "interrupted 2 times" in told[0]
    assert all(thread.has_ended(10) for thread in threads)
    assert overruns.refuses(one) is None


def test_an_exception_that_was_swallowed_is_raised_again(cells) -> None:
    struck = []

    def swallows(_) -> None:
        while len(struck) < 3:
            try:
                while True:
                    pass
            except OutOfTime:
                struck.append(1)

    overruns = Overruns(cells, 16)
    thread = Thread(call := Call(Program(swallows), None, due_mono=0.0))
    until(lambda: call._thread)
    overruns.add(call)
    for at in range(3):
        overruns.look(at * AGAIN_S)
        until(lambda at=at: len(struck) > at)
        overruns.look(at * AGAIN_S + AGAIN_S / 2)

        assert at + 1 == len(struck)
    until(lambda: overruns.look(9.0) or not cells[names.POLICY_OVERRUNS])
    assert thread.has_ended(10)


def test_no_thread_is_struck_once_it_has_gone_on(cells, go_on, monkeypatch) -> None:
    """Not even if the function ends between the look whether it has and the exception."""
    raise_in, done, outcome = overrun._raise_in, threading.Event(), []

    def later(thread: int, what) -> int:
        if threading.get_ident() != thread:
            go_on.set()
            until(lambda: call.has_ended)
        return raise_in(thread, what)

    def work() -> None:
        try:
            call.run()
            while not done.is_set():  # whatever else a thread of the pool does
                pass
        except OutOfTime as error:
            outcome.append(error)
        else:
            outcome.append("well")

    monkeypatch.setattr(overrun, "_raise_in", later)
    call = Call(Program(lambda _: go_on.wait(20)), None, due_mono=0.0)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    until(lambda: call._thread)
    overruns = Overruns(cells, 16)
    overruns.add(call)
    overruns.look(0.0)
    time.sleep(0.02)  # without a guard it is struck now
    overruns.look(0.1)
    time.sleep(0.02)
    done.set()
    thread.join(10)

    assert ["well"] == outcome
