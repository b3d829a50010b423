"""Recency: one store per hit."""

import pytest

from edge.share.recency import Recency


def test_a_touched_copy_is_as_old_as_its_touch():
    recency = Recency(16)
    recency.touch(3, 1_700_000_000)

    assert recency.read(3) == 1_700_000_000
    assert recency.read(4) == 0


def test_copies_that_share_a_word_look_as_young_as_the_younger():
    recency = Recency(16)
    recency.touch(1, 10)
    recency.touch(17, 20)

    assert recency.read(1) == 20


def test_the_size_is_a_power_of_two():
    with pytest.raises(AssertionError):
        Recency(100)


def test_uses_are_added_up_and_bounded():
    recency = Recency(16)
    recency.count(3)
    recency.count(3, 4)

    assert recency.uses(3) == 5
    assert recency.uses(4) == 0
    recency.count(3, 2**32)
    assert recency.uses(3) == 2**32 - 1


def test_a_new_copy_does_not_inherit_the_uses_of_whoever_had_its_words():
    recency = Recency(16)
    recency.count(3, 7)
    recency.begin(19, 10)

    assert (recency.read(19), recency.uses(19)) == (10, 0)


def test_counting_does_not_touch_the_seconds():
    recency = Recency(16)
    recency.touch(15, 9)
    recency.count(15)

    assert recency.read(15) == 9
