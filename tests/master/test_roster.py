"""Who exists, and the one machine of a child's life."""

from math import inf

import pytest

from edge.master.roster import KEEPER, MOVES, Child, Event, Roster, State


def _child(pid=10, slot=0, place=0, generation=1, state=State.STARTING, born=0.0):
    return Child(pid, slot, place, generation, born, state=state)


def _roster(*children):
    roster = Roster()
    for child in children:
        roster.forked(child)
    return roster


def _happen(roster, pid, event):
    match event:
        case Event.SAID_READY:
            roster.said_ready(pid, 5.0)
        case Event.ASKED:
            roster.asked(pid, 5.0, 40.0)
        case Event.STRUCK:
            roster.struck(pid, "hung", 7.0)
        case Event.DIED:
            roster.died(pid)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", set(State) - {State.DEAD})
def test_every_state_answers_every_event_as_the_table_says(state, event):
    child = _child(state=state)
    roster = _roster(child)
    to = MOVES.get((state, event))
    if to is None:
        with pytest.raises(AssertionError):
            _happen(roster, 10, event)
        assert child.state is state
        return
    _happen(roster, 10, event)

    if to is State.DEAD:
        assert roster.children == {}
        assert child.state is state, "the obituary says what it was"
    else:
        assert child.state is to


def test_only_one_who_stays_may_be_asked():
    """The plan must not ask twice: what is missing in the table says so."""
    missing = {(state, event) for state in State for event in Event} - MOVES.keys()

    assert missing == {(State.LEAVING, Event.ASKED), (State.DOOMED, Event.ASKED)} | {
        (State.DEAD, event) for event in Event
    }


def test_nothing_leads_back_from_the_dead():
    assert not any(state is State.DEAD for state, _ in MOVES)


def test_the_first_ready_counts():
    roster = _roster(_child())
    roster.said_ready(10, 5.0)
    roster.said_ready(10, 6.0)

    assert roster.children[10].ready_mono == 5.0


def test_one_who_was_asked_has_until_kill_by():
    roster = _roster(_child())
    roster.asked(10, 5.0, 40.0)
    child = roster.children[10]

    assert (child.was_asked, child.kill_by, roster.last_asked_mono) == (True, 40.0, 5.0)


def test_what_a_child_said_of_itself_outweighs_why_it_was_struck():
    roster = _roster(_child(), _child(11, 1))
    roster.said_failed(10, "the roof leaks")
    roster.struck(10, "hung", inf)
    roster.struck(11, "hung", inf)

    assert [roster.children[pid].reason for pid in (10, 11)] == ["the roof leaks", "hung"]


def test_a_slot_has_one_holder():
    with pytest.raises(AssertionError):
        _roster(_child(10, slot=3), _child(11, slot=3))


def test_workers_are_listed_by_place_oldest_first():
    roster = _roster(_child(1, 1, 1), _child(2, 2, 0, 2), _child(3, 3, 0, 1), _child(4, 4, KEEPER))

    assert [child.pid for child in roster.workers()] == [3, 2, 1]
    assert [child.pid for child in roster.keepers()] == [4]


def test_the_current_holder_is_of_the_generation_and_stays():
    roster = _roster(
        _child(1, 1, 0, 1, State.READY), _child(2, 2, 0, 2, State.LEAVING), _child(3, 3, 0, 2), _child(4, 4, 1, 2)
    )

    assert roster.current(0, 2).pid == 3
    assert roster.current(0, 3) is None


def test_the_roster_prints_who_is_what():
    assert repr(_roster(_child(), _child(11, 1, KEEPER, state=State.READY))) == (
        "<Roster worker 0:10 starting, keeper:11 ready>"
    )
    assert repr(Roster()) == "<Roster nobody>"


def test_a_deadline_is_noted_as_it_was_seen():
    roster = _roster(_child())
    roster.seen(10, 12.5)

    assert roster.children[10].deadline == 12.5
