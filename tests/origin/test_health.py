"""Who cannot be reached or fails is left alone, a little longer each time, and found again; and everyone knows it."""

import itertools

import pytest

from edge.origin.health import (
    FIRST_PAUSE_S,
    FIRST_SHARE,
    LONGEST_PAUSE_S,
    NEXT,
    Cause,
    Checked,
    Condition,
    Event,
    Health,
    Order,
    Pauses,
)
from edge.share.fleet import Fleet

PAUSES = Pauses()
CONDITION = 3


@pytest.fixture
def fleet():
    return Fleet(1)


@pytest.fixture
def health(fleet):
    return Health(fleet, fleet.row(b"a"))


def test_the_table_answers_every_pair():
    assert set(itertools.product(Condition, Event)) == set(NEXT)


@pytest.mark.parametrize(("condition", "event"), list(itertools.product(Condition, Event)))
def test_every_step_follows_the_table(fleet, health, condition, event):
    if condition is not Condition.WELL:
        health.unreachable(0.0)
    if condition is Condition.TRIAL:
        health.tried(1.0)
    assert condition is health.condition
    step = {
        Event.TRIED: lambda: health.tried(100.0),
        Event.WENT_WELL: lambda: health.reached(100.0),
        Event.FAILED: lambda: health.unreachable(100.0),
    }
    step[event]()

    assert NEXT[condition, event] is health.condition


def test_one_refused_connection_is_enough_to_look_elsewhere(health):
    is_news = health.unreachable(10.0)

    assert is_news
    assert not health.may_ask(10.0 + FIRST_PAUSE_S - 0.01)
    assert health.may_ask(10.0 + FIRST_PAUSE_S)
    assert "<Health enabled unknown out failures=1>" == repr(health)
    assert (Cause.UNREACHABLE, 1) == (health.cause, health.ejections)


def test_what_one_learns_all_know(fleet, health):
    """Another worker's view of the same row."""
    other = Health(fleet, fleet.row(b"a"))
    version = fleet.version
    health.unreachable(10.0)

    assert version != fleet.version
    assert not other.may_ask(10.1)
    assert other.reached(10.2)
    assert health.may_ask(10.2)


def test_only_one_tries_after_the_pause(health):
    health.unreachable(0.0)
    health.tried(1.0)

    assert Condition.TRIAL is health.condition
    assert not health.may_ask(1.0)


def test_a_trial_that_never_tells_is_followed_by_another(health):
    """Its exchange may have been cancelled; the server must not be lost for that."""
    health.unreachable(0.0)
    health.tried(1.0)

    assert health.may_ask(health.again_mono)
    health.tried(health.again_mono - 0.01)
    assert health.may_ask(health.again_mono), "too early to be a trial"


def test_pauses_grow_with_failed_trials_up_to_a_limit(health):
    now = 0.0
    pauses = []
    for _ in range(7):
        health.unreachable(now)
        pauses.append(health.again_mono - now)
        now = health.again_mono
        health.tried(now)

    assert [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S] == pauses
    assert 1 == health.ejections


def test_many_who_see_the_same_outage_do_not_lengthen_it(health):
    assert [True, False, False] == [health.unreachable(5.0), health.unreachable(5.1), health.unreachable(5.2)]
    assert 5.0 + FIRST_PAUSE_S == health.again_mono


def test_reached_again_it_is_in_and_nothing_counts_against_it(health):
    health.unreachable(0.0)
    health.tried(1.0)
    health.unreachable(1.0)

    assert health.reached(2.0)
    assert not health.reached(2.0)
    assert health.may_ask(2.0)
    assert 0 == health.failures


def test_who_falls_again_soon_is_left_alone_longer(health):
    """One that answers every third request would otherwise be tried every second for ever."""
    pauses = []
    now = 100.0
    for well_s in (0.5, 0.5, LONGEST_PAUSE_S, 0.5):
        health.unreachable(now)
        pauses.append(health.again_mono - now)
        health.reached(now + 1)
        now += 1 + well_s

    assert [1.0, 2.0, 4.0, 1.0] == pauses


# -- failing --------------------------------------------------------------------------------------------------


def fail(health, times=1, *, now=10.0, limit=3, may_eject=True):
    return [health.failed(now, limit, PAUSES, may_eject=may_eject) for _ in range(times)]


def test_it_takes_several_failures_in_a_row(health):
    assert [False, False, True, False] == fail(health, 4)
    assert Cause.FAILING is health.cause
    assert not health.may_ask(10.5)


def test_a_good_reply_between_them_begins_anew(health):
    fail(health, 2)
    assert not health.answered(10.0)
    assert [False, False] == fail(health, 2)
    assert health.may_ask(10.0)


def test_nobody_goes_out_below_the_floor(health):
    assert [False] * 9 == fail(health, 9, may_eject=False)
    assert health.may_ask(10.0)
    assert [True] == fail(health), "as soon as another is back"


def test_a_connection_does_not_bring_back_who_fails_but_a_reply_does(health):
    fail(health, 3)
    health.tried(11.0)
    assert not health.reached(11.0)
    assert Condition.TRIAL is health.condition
    assert health.answered(11.1)
    assert (Condition.WELL, Cause.NONE, 0) == (health.condition, health.cause, health.failures)


def test_one_failure_ends_a_trial(health):
    fail(health, 3)
    health.tried(11.0)
    fail(health, now=11.0)

    assert Condition.OUT is health.condition
    assert 2.0 == health.again_mono - 11.0


def test_while_there_is_nothing_to_forget_one_number_says_so(fleet, health):
    """What a hot path looks at instead of all of it."""
    assert 0 == fleet.words[health.trouble_at]
    fail(health)
    assert 0 != fleet.words[health.trouble_at]
    health.answered(10.0)
    assert 0 == fleet.words[health.trouble_at]
    health.unreachable(10.0)
    health.tried(12.0)
    assert 0 != fleet.words[health.trouble_at]


# -- checks and orders ----------------------------------------------------------------------------------------


def test_what_the_checks_call_down_is_not_asked(health):
    assert health.checked_as(Checked.DOWN, 10.0)
    assert not health.may_ask(99.0)
    assert health.checked_as(Checked.UP, 20.0)
    assert health.may_ask(20.0)
    assert not health.checked_as(Checked.UP, 21.0)


def test_the_first_good_check_is_no_news(health):
    assert not health.checked_as(Checked.UP, 10.0)
    assert 0.0 == health.since_mono, "it was never away"


def test_a_check_that_passes_again_clears_the_record(health):
    health.checked_as(Checked.DOWN, 10.0)
    health.unreachable(10.0)
    health.checked_as(Checked.UP, 10.5)

    assert health.may_ask(10.5)


def test_an_operator_is_obeyed(health):
    assert health.obey(Order.DISABLED, 10.0)
    assert not health.obey(Order.DISABLED, 10.0)
    assert not health.may_ask(10.0)
    assert health.obey(Order.DRAINING, 10.0)
    assert not health.may_ask(10.0)
    assert health.obey(Order.ENABLED, 20.0)
    assert health.may_ask(20.0)


def test_the_last_check_is_remembered(health):
    assert (0, 0.0) == health.last_check
    health.note_check(503, 12.5)
    assert (503, 12.5) == health.last_check


# -- slow start -----------------------------------------------------------------------------------------------


def test_who_comes_back_begins_with_a_part_of_its_share(health):
    assert 1.0 == health.share(10.0, 30.0), "it was never away"
    health.unreachable(10.0)
    health.reached(100.0)

    assert [FIRST_SHARE, FIRST_SHARE, 0.5, 1.0, 1.0] == [
        health.share(100.0 + after, 30.0) for after in (0.0, 3.0, 15.0, 30.0, 300.0)
    ]
    assert 1.0 == health.share(100.0, 0.0), "off"


@pytest.mark.parametrize("how", ["order", "check", "reply", "joined"])
def test_every_way_back_is_slow(health, how):
    match how:
        case "order":
            health.obey(Order.DRAINING, 1.0)
            health.obey(Order.ENABLED, 100.0)
        case "check":
            health.checked_as(Checked.DOWN, 1.0)
            health.checked_as(Checked.UP, 100.0)
        case "reply":
            fail(health, 3, now=1.0)
            health.answered(100.0)
        case "joined":
            health.joined(100.0)
            health.joined(500.0)

    assert 100.0 == health.since_mono
