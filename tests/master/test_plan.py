"""Every rule of starting, replacing, renewing and ending children, without a process."""

import signal
from dataclasses import replace
from math import inf

import pytest

from edge.master import plan as rules
from edge.master.plan import (
    ABORT_S,
    ASK_APART_S,
    BOOT_LIMIT,
    LEAVE_GRACE_S,
    Ask,
    Finish,
    GiveUp,
    Settle,
    Spawn,
    Stop,
    Strike,
    Wait,
    Wish,
    accepting,
    plan,
)
from edge.master.roster import KEEPER, Child, Roster, State
from edge.master.setbacks import Setbacks

NOW = 1000.0
WISH = Wish(places=2, generation=1, settled=1, keeper=False, drain_s=30.0)
KILL_BY = NOW + 30.0 + LEAVE_GRACE_S
S, R, L, D = State.STARTING, State.READY, State.LEAVING, State.DOOMED


def _roster(*rows):
    """Rows are (place, generation, state) or (place, generation, state, changes); pids count from 100."""
    roster = Roster()
    for at, (place, generation, state, *more) in enumerate(rows):
        child = Child(100 + at, at, place, generation, 0.0, state=state, ready_mono=None if state is S else 1.0)
        roster.forked(replace(child, **(more[0] if more else {})))
    return roster


def _plan(roster, setbacks=None, **changes):
    return plan(replace(WISH, **changes), roster, setbacks or Setbacks(), NOW)


def _steps(*args, **changes):
    """What is due, without how long to wait."""
    return [step for step in _plan(*args, **changes) if not isinstance(step, Wait)]


# Staffing.


@pytest.mark.parametrize(
    ("rows", "due"),
    [
        ([], [Spawn(0), Spawn(1)]),
        ([(0, 1, R)], [Spawn(1)]),
        ([(0, 1, S), (1, 1, R)], []),
        ([(0, 1, R), (1, 1, R)], []),
        ([(0, 1, R), (1, 1, L, {"kill_by": inf})], [Spawn(1)]),
        ([(0, 1, R), (1, 1, D)], [Spawn(1)]),
    ],
    ids=["none", "one missing", "starting counts", "all there", "a leaving one does not", "a doomed one does not"],
)
def test_every_place_has_one_child(rows, due):
    assert _steps(_roster(*rows)) == due


def test_with_everybody_there_nothing_is_due():
    assert _plan(_roster((0, 1, R), (1, 1, R))) == [Wait(None)]


def test_a_place_in_back_off_is_waited_for():
    setbacks = Setbacks()
    for _ in range(3):
        setbacks.met(1, now_mono=NOW - 0.25, ready_s=1.0, reason="")

    assert _plan(_roster((0, 1, R)), setbacks) == [Wait(0.75)]


def test_a_crash_loop_never_ends_a_house_that_serves():
    setbacks = Setbacks()
    for _ in range(50):
        setbacks.met(1, now_mono=NOW - 60, ready_s=None, reason="")

    assert _steps(_roster((0, 1, R)), setbacks) == [Spawn(1)]


# TTIN, TTOU.


def test_a_place_too_many_is_asked_to_leave():
    assert _steps(_roster((0, 1, R), (1, 1, R), (2, 1, R))) == [Ask(102, KILL_BY)]


def test_a_starting_place_too_many_is_asked_as_well():
    assert _steps(_roster((0, 1, R), (1, 1, R), (2, 1, S))) == [Ask(102, KILL_BY)]


# Generations.


def test_a_complete_generation_is_settled():
    assert _steps(_roster((0, 1, R), (1, 1, R)), settled=None) == [Settle(1)]


def test_a_generation_is_not_complete_while_one_starts():
    assert _steps(_roster((0, 1, R), (1, 1, S)), settled=None) == []


def test_a_generation_is_not_complete_while_one_is_being_struck():
    hung = {"deadline": NOW - 1}
    steps = _steps(_roster((0, 1, R), (1, 1, R, hung)), settled=None)

    assert [type(step) for step in steps] == [Strike]


def test_nobody_old_is_asked_before_everybody_new_is_ready():
    assert _steps(_roster((0, 1, R), (1, 1, R), (0, 2, R), (1, 2, S)), generation=2) == []
    assert _steps(_roster((0, 1, R), (1, 1, R)), generation=2) == [Spawn(0), Spawn(1)]


def test_the_old_ones_are_asked_one_after_the_other():
    roster = _roster((0, 1, R), (1, 1, R), (0, 2, R), (1, 2, R))
    due = _plan(roster, generation=2, settled=2)
    assert due == [Ask(100, KILL_BY), Wait(pytest.approx(ASK_APART_S))]

    roster.asked(100, NOW, KILL_BY)
    due = _plan(roster, generation=2, settled=2)
    assert due == [Wait(pytest.approx(ASK_APART_S))]

    roster.last_asked_mono = NOW - ASK_APART_S
    assert _steps(roster, generation=2, settled=2) == [Ask(101, KILL_BY)]


def test_a_starting_child_of_an_overtaken_reload_is_asked_when_the_newest_is_complete():
    rows = [(0, 1, R), (1, 2, S), (0, 3, R), (1, 3, R)]

    assert _steps(_roster(*rows), generation=3, settled=3) == [Ask(100, KILL_BY)]
    rows[0] = (0, 1, L)
    assert _steps(_roster(*rows), generation=3, settled=3) == [Ask(101, KILL_BY)]


def test_an_overtaken_generation_leaves_before_the_newest_is_complete():
    """Or reloads in quick succession would fill the machine with workers that nobody wants."""
    rows = [(0, 1, R), (1, 1, R), (0, 2, R), (1, 2, S), (0, 3, S)]

    assert _steps(_roster(*rows), generation=3) == [Spawn(1), Ask(102, KILL_BY)]
    rows[2] = (0, 2, L)
    assert _steps(_roster(*rows), generation=3) == [Spawn(1), Ask(103, KILL_BY)]


def test_an_overtaken_child_stays_where_nobody_else_holds_the_place():
    rows = [(0, 1, R), (0, 2, R), (1, 2, R), (0, 3, S), (1, 3, S)]

    assert _steps(_roster(*rows), generation=3) == [Ask(101, KILL_BY)]
    rows[1] = (0, 2, L)
    assert _steps(_roster(*rows), generation=3) == []


def test_a_smaller_generation_leaves_the_old_places_alone_until_it_is_complete():
    rows = [(0, 1, R), (1, 1, R), (0, 2, S)]

    assert _steps(_roster(*rows), generation=2, places=1) == []


def test_old_ones_stay_while_a_new_one_has_died_after_settling():
    assert _steps(_roster((0, 1, R), (1, 1, R), (0, 2, R)), generation=2, settled=2) == [Spawn(1)]


def test_given_up_generations_are_asked_to_leave_once_the_old_one_is_wished_again():
    rows = [(0, 1, R), (1, 1, R), (0, 2, R), (1, 2, S)]

    assert _steps(_roster(*rows)) == [Ask(102, KILL_BY)]


def _failed_boots(times):
    setbacks = Setbacks()
    for _ in range(times):
        setbacks.met(1, now_mono=0.0, ready_s=None, reason="the roof leaks")
    return setbacks


@pytest.mark.parametrize("settled", [None, 1])
def test_a_generation_that_cannot_start_is_given_up(settled):
    setbacks = _failed_boots(BOOT_LIMIT)

    assert _plan(_roster((0, 2, R)), setbacks, generation=2, settled=settled) == [GiveUp(1, "the roof leaks")]


def test_fewer_failures_are_tried_again():
    assert _steps(_roster((0, 2, R)), _failed_boots(BOOT_LIMIT - 1), generation=2, settled=None) == [Spawn(1)]


# Patience.


def test_a_hung_child_is_made_to_say_where_and_then_ended():
    roster = _roster((0, 1, R), (1, 1, R, {"deadline": NOW - 0.1}))
    strike = Strike(101, signal.SIGABRT, "hung", NOW + ABORT_S)
    assert _steps(roster) == [strike]

    roster.struck(101, strike.why, strike.kill_by)
    assert _plan(roster) == [Spawn(1), Wait(ABORT_S)]
    later = plan(WISH, roster, Setbacks(), NOW + ABORT_S)
    assert Strike(101, signal.SIGKILL, "did not finish in time", inf) in later


def test_a_child_that_hangs_at_birth_is_struck_like_any_other():
    steps = _steps(_roster((0, 1, R), (1, 1, S, {"deadline": NOW - 0.1})))

    assert steps == [Strike(101, signal.SIGABRT, "was not ready in time", NOW + ABORT_S)]


def test_sleep_lasts_until_the_nearest_deadline():
    rows = [(0, 1, R, {"deadline": NOW + 9}), (1, 1, R, {"deadline": NOW + 4})]

    assert _plan(_roster(*rows)) == [Wait(pytest.approx(4.001))]


def test_no_promise_no_deadline():
    assert _plan(_roster((0, 1, R, {"deadline": 0.0}), (1, 1, R))) == [Wait(None)]


def test_nobody_is_held_to_deadlines_while_the_machine_slept():
    roster = _roster((0, 1, R, {"deadline": NOW - 500}), (1, 1, L, {"kill_by": NOW - 500}), (1, 1, R))

    assert _plan(roster, spare_until=NOW + 5) == [Wait(5.0)]


def test_who_does_not_finish_in_time_is_killed():
    roster = _roster((0, 1, R), (1, 1, R), (1, 0, L, {"kill_by": NOW}))

    assert _steps(roster) == [Strike(102, signal.SIGKILL, "did not finish in time", inf)]


def test_a_leaving_child_that_hangs_is_struck_before_its_time_is_up():
    roster = _roster((0, 1, R), (1, 1, R), (1, 0, L, {"kill_by": NOW + 20, "deadline": NOW - 1}))

    assert _steps(roster) == [Strike(102, signal.SIGABRT, "hung", NOW + ABORT_S)]


def test_who_was_killed_is_only_waited_for():
    assert _plan(_roster((0, 1, R), (1, 1, R), (1, 0, D, {"deadline": NOW - 9}))) == [Wait(None)]


# The keeper.


def test_a_keeper_is_kept_where_one_is_wanted():
    assert _steps(_roster((0, 1, R), (1, 1, R)), keeper=True) == [Spawn(KEEPER)]
    assert _steps(_roster((0, 1, R), (1, 1, R), (KEEPER, 1, S)), keeper=True) == []


def test_the_keeper_comes_after_the_first_workers():
    assert _steps(_roster((0, 1, R), (1, 1, S)), keeper=True, settled=None) == []


def test_a_failed_reload_leaves_the_keeper_alone():
    rows = [(0, 1, R), (1, 1, R), (KEEPER, 1, R), (0, 2, S), (1, 2, S)]

    assert _steps(_roster(*rows), keeper=True, generation=2) == []


def test_there_are_never_two_keepers():
    rows = [(0, 2, R), (1, 2, R), (KEEPER, 1, R)]
    wish = {"keeper": True, "generation": 2, "settled": 2}
    assert _steps(_roster(*rows), **wish) == [Ask(102, KILL_BY)]

    rows[2] = (KEEPER, 1, L)
    assert _steps(_roster(*rows), **wish) == []
    assert _steps(_roster(*rows[:2]), **wish) == [Spawn(KEEPER)]


def test_a_keeper_not_wanted_any_more_is_asked_to_leave():
    assert _steps(_roster((0, 1, R), (1, 1, R), (KEEPER, 1, R))) == [Ask(102, KILL_BY)]


def test_a_keeper_that_keeps_dying_is_waited_for_and_ends_nothing():
    setbacks = Setbacks()
    for _ in range(9):
        setbacks.met(KEEPER, now_mono=NOW, ready_s=0.1, reason="")

    assert _plan(_roster((0, 1, R), (1, 1, R)), setbacks, keeper=True) == [Wait(30.0)]


# Stopping.


def test_stopping_asks_everybody_at_once():
    rows = [(0, 1, R), (1, 1, S), (KEEPER, 1, R), (1, 0, L, {"kill_by": NOW + 1})]

    assert _plan(_roster(*rows), stop=Stop.DRAIN, keeper=True) == [
        Ask(100, KILL_BY),
        Ask(101, KILL_BY),
        Ask(102, KILL_BY),
        Wait(1.0),
    ]


def test_stopping_replaces_nobody():
    assert _plan(_roster((0, 1, L, {"kill_by": NOW + 3})), stop=Stop.DRAIN) == [Wait(3.0)]


def test_it_is_over_when_everybody_has_left():
    assert _plan(_roster(), stop=Stop.DRAIN) == [Finish()]
    assert _plan(_roster(), stop=Stop.NOW) == [Finish()]


def test_a_second_time_kills_everybody():
    rows = [(0, 1, R), (1, 1, L, {"kill_by": NOW + 9}), (KEEPER, 1, S)]
    steps = _steps(_roster(*rows), stop=Stop.NOW)

    assert steps == [Strike(pid, signal.SIGKILL, "stopped at once", inf) for pid in (100, 101, 102)]


def test_a_hung_child_is_not_asked_but_struck():
    steps = _steps(_roster((0, 1, R, {"deadline": NOW - 1})), stop=Stop.DRAIN)

    assert [type(step) for step in steps] == [Strike]


# Who accepts.


def test_queues_are_filled_for_ready_workers_of_wished_places():
    rows = [(0, 1, R), (1, 1, S), (2, 1, R), (KEEPER, 1, R)]

    assert accepting(WISH, _roster(*rows)) == (0,)


def test_either_generation_of_a_place_accepts_during_a_reload():
    assert accepting(WISH, _roster((0, 1, R), (0, 2, S), (1, 1, L), (1, 2, R))) == (0, 1)


def test_nobody_accepts_when_the_house_closes():
    assert accepting(replace(WISH, stop=Stop.DRAIN), _roster((0, 1, R))) == ()


def _follow(wish, roster, setbacks):
    """Take every step as the loop does; return the steps of all rounds."""
    taken, pid = [], 1000
    for _ in range(100):
        steps = plan(wish, roster, setbacks, NOW)
        if isinstance(steps[0], Wait | Finish | GiveUp):
            return taken
        for step in steps:
            match step:
                case Spawn(place):
                    slot = 1 + max((child.slot for child in roster.children.values()), default=-1)
                    roster.forked(Child(pid := pid + 1, slot, place, wish.generation, NOW))
                case Ask(pid_, kill_by):
                    roster.asked(pid_, NOW, kill_by)
                case Strike(pid_, _, why, kill_by):
                    roster.struck(pid_, why, kill_by)
                case Settle(generation):
                    wish = replace(wish, settled=generation)
            taken.append(step)
    raise AssertionError("the plan never comes to rest")


@pytest.mark.parametrize("stop", Stop)
@pytest.mark.parametrize("settled", [None, 1, 2])
@pytest.mark.parametrize("keeper", [True, False])
def test_taken_steps_are_not_due_again(stop, settled, keeper):
    rows = [(place, generation, state) for place in (0, 1, 2) for generation in (1, 2) for state in (S, R, L, D)]
    roster = _roster(*rows, (KEEPER, 1, R), (0, 1, R, {"deadline": NOW - 1}), (1, 2, L, {"kill_by": NOW - 1}))
    wish = replace(WISH, generation=2, settled=settled, stop=stop, keeper=keeper)

    assert len(_follow(wish, roster, Setbacks())) < 100


def test_every_step_is_one_of_the_plans():
    assert set(rules.Step.__args__) == {Spawn, Ask, Strike, Settle, GiveUp, Finish, Wait}
