"""Who cannot be reached is left alone, a little longer each time, and found again."""

import itertools

import pytest

from edge.origin.health import FIRST_PAUSE_S, LONGEST_PAUSE_S, NEXT, Condition, Event, Health


def test_the_table_answers_every_pair():
    assert set(itertools.product(Condition, Event)) == set(NEXT)


@pytest.mark.parametrize(("condition", "event"), list(itertools.product(Condition, Event)))
def test_every_step_follows_the_table(condition, event):
    health = Health()
    health.condition = condition
    step = {
        Event.TRIED: lambda: health.tried(0.0),
        Event.REACHED: health.reached,
        Event.FAILED: lambda: health.failed(0.0),
    }
    step[event]()

    assert NEXT[condition, event] is health.condition


def test_one_failure_is_enough_to_look_elsewhere():
    health = Health()
    is_news = health.failed(10.0)

    assert is_news
    assert not health.may_try(10.0 + FIRST_PAUSE_S - 0.01)
    assert health.may_try(10.0 + FIRST_PAUSE_S)
    assert "<Health ill failures=1 pause=2s>" == repr(health)


def test_only_one_tries_after_the_pause():
    health = Health()
    health.failed(0.0)
    health.tried(1.0)

    assert Condition.TRIAL is health.condition
    assert not health.may_try(1.0)


def test_a_trial_that_never_tells_is_followed_by_another():
    """Its exchange may have been cancelled; the server must not be lost for that."""
    health = Health()
    health.failed(0.0)
    health.tried(1.0)

    assert health.may_try(1.0 + health.pause_s)


def test_pauses_grow_with_failed_trials_up_to_a_limit():
    health = Health()
    now = 0.0
    pauses = []
    for _ in range(7):
        health.failed(now)
        pauses.append(health.again_mono - now)
        now = health.again_mono
        health.tried(now)

    assert [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S] == pauses


def test_many_who_see_the_same_outage_do_not_lengthen_it():
    health = Health()
    assert [True, False, False] == [health.failed(5.0), health.failed(5.1), health.failed(5.2)]
    assert 5.0 + FIRST_PAUSE_S == health.again_mono


def test_reached_again_all_is_forgotten():
    health = Health()
    health.failed(0.0)
    health.tried(1.0)
    health.failed(1.0)

    assert health.reached()
    assert not health.reached()
    assert health.may_try(0.0)
    assert (0, FIRST_PAUSE_S) == (health.failures, health.pause_s)
