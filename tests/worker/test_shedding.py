"""Whose connection is given up first when there is no room for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.tree import Timeouts
from edge.worker.deadlines import NEVER
from edge.worker.gate import LEAST_RESERVE, room_for
from edge.worker.session import Phase, Waiting
from edge.worker.shedding import PATIENCE_S, cheapest

TIMEOUTS = Timeouts(handshake_s=10, head_s=10, idle_s=75)
NOW = 1000.0
numbers = count(10)


@dataclass
class Somebody:
    """As much of a session as the choice looks at."""

    waiting: Waiting
    deadline: float
    phase: Phase = Phase.OPEN
    carried: dict[int, object] = field(default_factory=dict)
    fd: int = field(default_factory=lambda: next(numbers))


def shaking(for_s: float) -> Somebody:
    return Somebody(Waiting.HANDSHAKE, NOW - for_s + TIMEOUTS.handshake_s, Phase.HANDSHAKE)


def asking(for_s: float) -> Somebody:
    return Somebody(Waiting.HEAD, NOW - for_s + TIMEOUTS.head_s)


def resting(for_s: float) -> Somebody:
    return Somebody(Waiting.IDLE, NOW - for_s + TIMEOUTS.idle_s)


def lingering() -> Somebody:
    return Somebody(Waiting.LINGER, NOW + 1, Phase.LINGER)


def busy(waiting: Waiting) -> Somebody:
    return Somebody(waiting, NEVER if waiting is Waiting.NOTHING else NOW + 1, carried={1: object()})


def test_the_least_loss_comes_first_and_of_equals_who_has_waited_longest():
    last, first = resting(1), resting(60)
    slow_head, slow_hello, said = asking(5), shaking(4), lingering()

    assert [said, slow_head, slow_hello, first, last] == cheapest(
        [last, first, slow_hello, said, slow_head], NOW, TIMEOUTS, 9
    )


@pytest.mark.parametrize("make", [shaking, asking])
def test_who_is_as_quick_as_an_honest_client_is_left_alone(make):
    quick, slow = make(PATIENCE_S - 0.1), make(PATIENCE_S + 0.1)

    assert [slow] == cheapest([quick, slow], NOW, TIMEOUTS, 9)


@pytest.mark.parametrize("waiting", [Waiting.NOTHING, Waiting.BODY, Waiting.WRITE, Waiting.IDLE])
def test_who_is_owed_a_reply_is_never_chosen(waiting):
    assert [] == cheapest([busy(waiting)], NOW, TIMEOUTS, 9)


@settings(deadline=None)  # the first example pays for what is imported
@given(
    st.lists(st.sampled_from([shaking, asking, resting]).flatmap(lambda make: st.floats(0, 70).map(make))),
    st.integers(0, 9),
)
def test_no_more_are_chosen_than_were_asked_for_and_each_once(sessions, most):
    chosen = cheapest(sessions, NOW, TIMEOUTS, most)

    assert len(chosen) == len({session.fd for session in chosen}) <= most


@pytest.mark.parametrize(
    ("wanted", "descriptors", "room"), [(10_000, 524_288, 10_000), (10_000, 1024, 896), (10_000, 100, 36), (5, 20, 1)]
)
def test_a_part_of_the_descriptors_is_kept_for_all_else(wanted, descriptors, room):
    assert room == room_for(wanted, descriptors)
    assert room == 1 or room <= descriptors - LEAST_RESERVE
