"""A claim is one process's, and is given back for it when it has died."""

import multiprocessing
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.share.claims import BUCKETS, WAYS, ClaimsPage

BIG = 2**63 - 1


@pytest.fixture
def page():
    return ClaimsPage(10)


def test_a_number_is_claimed_once_here(page):
    claims = page.of(3)

    assert claims.claim(7)
    assert not claims.claim(7)
    assert claims.holder(7) == 3
    assert len(claims) == 1
    assert list(claims) == [7]


@pytest.mark.parametrize("number", [0, 1, BIG])
def test_a_released_number_is_free_for_everyone(page, number):
    ours, theirs = page.of(0), page.of(9)
    assert ours.claim(number)
    ours.release(number)

    assert ours.holder(number) is None
    assert theirs.claim(number)
    assert not ours.claim(number)


@pytest.mark.parametrize(("mine", "other"), [(0, 9), (9, 0), (4, 5)])
def test_what_another_claims_is_refused_and_its_holder_named(page, mine, other):
    ours, theirs = page.of(mine), page.of(other)
    assert theirs.claim(BIG)

    assert not ours.claim(BIG)
    assert ours.holder(BIG) == other
    assert ours.claim(BIG - 1)
    assert theirs.holder(BIG - 1) == mine


def test_a_refused_claim_leaves_nothing_behind(page):
    ours, theirs = page.of(0), page.of(1)
    theirs.claim(5)
    ours.claim(5)
    theirs.release(5)

    assert theirs.holder(5) is None
    assert theirs.claim(5)


def test_whoever_comes_later_is_seen_by_who_is_there_already(page):
    ours = page.of(0)
    assert ours.claim(1)
    theirs = page.of(1)
    assert theirs.claim(2)

    assert not ours.claim(2)
    assert not theirs.claim(1)


def test_the_claims_of_a_process_that_was_reaped_are_given_back_by_the_master(page):
    ours, theirs = page.of(0), page.of(1)
    for number in range(50):
        theirs.claim(number)
    page.clear(1)

    assert all(ours.claim(number) for number in range(50))


def test_a_slot_begins_with_no_claims_of_the_one_before(page):
    page.of(1).claim(8)

    assert page.of(1).holder(8) is None
    assert page.of(0).claim(8)


def test_closing_gives_back_every_claim(page):
    ours, theirs = page.of(0), page.of(1)
    ours.claim(1)
    ours.claim(2)
    ours.close()

    assert len(ours) == 0
    assert theirs.claim(1)
    assert theirs.claim(2)


def test_releasing_what_is_not_ours_is_a_bug(page):
    with pytest.raises(KeyError):
        page.of(0).release(1)


def test_a_claim_too_many_for_its_bucket_is_kept_to_ourselves(page):
    ours, theirs = page.of(0), page.of(1)
    same = [at * BUCKETS + 3 for at in range(WAYS + 1)]

    assert all(ours.claim(number) for number in same)
    assert not ours.claim(same[-1])
    assert [theirs.claim(number) for number in same] == [False] * WAYS + [True]
    for number in same:
        ours.release(number)
    assert not any(ours.holder(number) == 0 for number in same)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(0, 7), st.booleans()), max_size=60))
def test_nobody_holds_what_another_does(steps):
    """Against a plain dictionary: any order of taking and giving back."""
    page = _PAGE
    claims = [page.of(slot) for slot in range(3)]
    holders = {}
    for slot, number, takes in steps:
        number *= BUCKETS // 2
        if takes:
            assert claims[slot].claim(number) == (number not in holders)
            holders.setdefault(number, slot)
        elif holders.get(number) == slot:
            claims[slot].release(number)
            del holders[number]
        assert all(one.holder(number) == holders.get(number) for one in claims)
    for one in claims:
        one.close()


_PAGE = ClaimsPage(3)


def _take_and_give_back(page, slot, turns, marks, overlaps):
    claims = page.of(slot)
    chance = random.Random(slot)
    for _ in range(turns):
        number = chance.randrange(4)
        if claims.claim(number):
            if marks[number]:
                overlaps[slot] += 1
            marks[number] = 1 + slot
            if marks[number] != 1 + slot:
                overlaps[slot] += 1
            marks[number] = 0
            claims.release(number)


@pytest.mark.slow
def test_processes_that_fight_for_a_number_do_not_hold_it_together():
    """Three processes on two cores, 4 numbers: what the header calls unlikely is looked for."""
    page = ClaimsPage(3)
    fork = multiprocessing.get_context("fork")
    marks, overlaps = fork.RawArray("Q", 4), fork.RawArray("Q", 3)
    people = [fork.Process(target=_take_and_give_back, args=(page, slot, 60_000, marks, overlaps)) for slot in range(3)]
    for one in people:
        one.start()
    for one in people:
        one.join(60)

    assert [one.exitcode for one in people] == [0, 0, 0]
    assert sum(overlaps) <= 3, list(overlaps)
    assert page.of(0).claim(1)


def test_a_number_may_be_shown_by_many_and_is_held_by_none(page):
    ours, theirs, third = page.of(0), page.of(5), page.of(9)
    ours.show(7)
    theirs.show(7)

    assert ours.is_shown(7)
    assert ours.shows(7)
    assert not third.shows(7)
    assert third.is_shown(7)
    assert 7 not in list(ours)
    theirs.hide(7)
    assert not ours.is_shown(7)
    ours.hide(7)
    assert not third.is_shown(7)
    assert not ours.shows(7)


def test_what_is_shown_twice_is_hidden_twice(page):
    """Two flights of one key may be followed in one process: one that was given up, and the one after it."""
    ours, other = page.of(0), page.of(1)
    ours.show(7)
    ours.show(7)
    ours.hide(7)
    assert other.is_shown(7)
    ours.hide(7)

    assert not other.is_shown(7)


def test_what_a_process_showed_ends_with_it(page):
    ours, theirs = page.of(0), page.of(5)
    theirs.show(7)
    page.clear(5)

    assert not ours.is_shown(7)


def test_a_bucket_that_is_full_shows_no_more_and_forgets_nothing(page):
    ours, theirs = page.of(0), page.of(5)
    numbers = [7 + at * BUCKETS for at in range(WAYS + 1)]
    for number in numbers:
        ours.show(number)

    assert [True] * WAYS + [False] == [theirs.is_shown(number) for number in numbers]
    for number in numbers:
        ours.hide(number)
    assert not any(theirs.is_shown(number) for number in numbers)
