"""Who may be asked: the ordinary, else the backups, else whoever is enabled; and until when that holds."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.origin.health import Checked, Health, Order, Pauses
from edge.origin.members import Member
from edge.origin.survey import RAMP_STEP_S, may_eject, survey
from edge.share.fleet import Fleet

NOW = 1000.0


def house(*backups, weights=None):
    """Three servers, those named being backups."""
    fleet = Fleet(1)
    members = [
        Member(
            f"http://a:{number}",
            "http",
            "a",
            number,
            weight=1 if weights is None else weights[number],
            is_backup=number in backups,
        )
        for number in range(3)
    ]
    return members, [Health(fleet, fleet.row(b"%d" % number)) for number in range(3)]


def look(members, healths, now=NOW, slow_start_s=0.0):
    return survey(members, healths, now, slow_start_s)


def test_everyone_is_able_for_ever_while_nothing_happens():
    found = look(*house())

    assert ([0, 1, 2], [], math.inf, 3) == (found.able, found.others, found.until_mono, found.in_use)
    assert frozenset({0, 1, 2}) == found.bound
    assert not found.trials


def test_backups_come_in_only_while_none_of_the_others_can():
    members, healths = house(2)
    assert [0, 1] == look(members, healths).able
    healths[0].checked_as(Checked.DOWN, NOW)
    assert [1] == look(members, healths).able
    healths[1].obey(Order.DISABLED, NOW)
    found = look(members, healths)

    assert ([2], [0], 0) == (found.able, found.others, found.in_use)


def test_when_nobody_is_well_everyone_enabled_is_tried():
    members, healths = house()
    healths[0].unreachable(NOW)
    healths[1].checked_as(Checked.DOWN, NOW)
    healths[2].obey(Order.DRAINING, NOW)
    found = look(members, healths, NOW + 0.5)

    assert [0, 1] == found.able
    assert not found.trials, "guesses are no trials"


def test_who_is_taken_out_by_order_is_never_guessed_at():
    members, healths = house()
    for health, order in zip(healths, (Order.DISABLED, Order.DRAINING, Order.DISABLED), strict=True):
        health.obey(order, NOW)
    found = look(members, healths)

    assert ([], [], frozenset({1})) == (found.able, found.others, found.bound)


def test_who_is_out_is_able_again_for_one_trial_when_its_pause_is_over():
    members, healths = house()
    healths[1].unreachable(NOW)
    found = look(members, healths, NOW + 0.5)
    assert ([0, 2], [1], NOW + 1.0) == (found.able, found.others, found.until_mono)

    found = look(members, healths, NOW + 1.0)
    assert ([0, 1, 2], frozenset({1}), 2) == (found.able, found.trials, found.in_use)


def test_weights_grow_while_a_server_comes_back():
    members, healths = house(weights=[4, 4, 4])
    healths[0].unreachable(NOW)
    healths[0].reached(NOW)
    found = look(members, healths, NOW + 5.0, slow_start_s=10.0)

    assert [2.0, 4, 4] == found.weights
    assert NOW + 5.0 + RAMP_STEP_S == found.until_mono
    assert math.inf == look(members, healths, NOW + 10.0, slow_start_s=10.0).until_mono


@pytest.mark.parametrize(
    ("in_use", "ordinary", "floor", "expected"),
    [
        (3, 3, 0.5, True),
        (2, 3, 0.5, False),
        (2, 3, 0.3, True),
        (1, 3, 0.0, False),
        (10, 10, 1.0, False),
        (10, 10, 0.9, True),
        (9, 10, 0.9, False),
        (1, 1, 0.0, False),
    ],
)
def test_a_floor_holds(in_use, ordinary, floor, expected):
    assert expected is may_eject(in_use, ordinary, floor)


@settings(deadline=None)
@given(st.integers(1, 30), st.floats(0, 1))
def test_ejecting_while_it_is_allowed_leaves_the_floor_standing(ordinary, floor):
    in_use = ordinary
    while may_eject(in_use, ordinary, floor):
        in_use -= 1

    assert in_use >= 1
    assert in_use >= min(ordinary, floor * ordinary - 1e-6)


events = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), st.floats(0, 5)), max_size=30)


@settings(deadline=None)
@given(events, st.sets(st.integers(0, 2), max_size=2))
def test_whatever_happens_a_survey_stays_true_until_it_says_or_something_changes(happenings, backups):
    """Nobody who is drained or disabled is able; nobody is able twice; and time alone changes nothing before until_mono."""
    members, healths = house(*backups)
    now = NOW
    pauses = Pauses()
    for place, what, passes in happenings:
        health = healths[place]
        match what:
            case 0 | 1 | 2:
                health.obey(Order(what), now)
            case 3:
                health.unreachable(now, pauses)
            case 4:
                health.reached(now)
            case 5:
                health.failed(now, 2, pauses, may_eject=True)
            case 6:
                health.answered(now)
            case 7:
                health.tried(now, pauses)
            case 8:
                health.checked_as(Checked.DOWN if health.checked is not Checked.DOWN else Checked.UP, now)
        found = look(members, healths, now, 3.0)
        enabled = {at for at in range(3) if healths[at].order is Order.ENABLED}

        assert set(found.able) | set(found.others) == enabled
        assert not set(found.able) & set(found.others)
        assert bool(found.able) == bool(enabled)
        later = min(now + passes, found.until_mono)
        if later < found.until_mono:
            again = look(members, healths, later, 3.0)
            assert (found.able, found.trials, found.bound) == (again.able, again.trials, again.bound)
        now = max(now, later)
