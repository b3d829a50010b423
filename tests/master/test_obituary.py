"""One line per dead child."""

import signal
from dataclasses import replace

import pytest

from edge.master.obituary import cause, is_peaceful, obituary
from edge.master.roster import KEEPER, Child, State


def _child(**more):
    return replace(Child(4711, 3, 2, 5, 100.0, state=State.READY), **more)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "exit 0"),
        (7 << 8, "exit 7"),
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGSEGV | 0x80, "SIGSEGV, core dumped"),
        (40, "signal 40"),
    ],
)
def test_a_wait_status_is_said_in_words(status, said):
    assert cause(status) == said


def test_a_death_is_told_with_age_and_state():
    assert obituary(_child(), signal.SIGKILL, 112.34) == (
        "worker 2 (pid 4711, generation 5, slot 3) died after 12.3s, ready: SIGKILL"
    )


def test_one_who_was_asked_has_left():
    line = obituary(_child(state=State.LEAVING, was_asked=True), 0, 101.0)

    assert line == "worker 2 (pid 4711, generation 5, slot 3) left after 1.0s, leaving: exit 0"


def test_a_broken_promise_is_told():
    line = obituary(_child(state=State.DOOMED, deadline=140.0, reason="hung"), signal.SIGABRT, 143.2)

    assert line.endswith("died after 43.2s, doomed: SIGABRT (late 3.2s): hung")


def test_a_kept_promise_is_not():
    assert "late" not in obituary(_child(deadline=140.0), 0, 139.0)


def test_the_keeper_is_called_so():
    assert obituary(_child(place=KEEPER), 0, 100.0).startswith("keeper (pid 4711")


@pytest.mark.parametrize(("was_asked", "status", "peaceful"), [(True, 0, True), (True, 9, False), (False, 0, False)])
def test_only_who_leaves_as_asked_leaves_in_peace(was_asked, status, peaceful):
    assert is_peaceful(_child(was_asked=was_asked), status) is peaceful
