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
