"""Shunned keys: nobody waits for another's fetch of them."""

import pytest

from edge.share.shunned import Shunned

KEY = 0x7ABC_DEF0_1234_5678


def test_a_key_is_shunned_until_its_second():
    shunned = Shunned(16)
    shunned.shun(KEY, 100)

    assert shunned.is_shunned(KEY, 99)
    assert not shunned.is_shunned(KEY, 100)


def test_a_neighbour_in_the_same_word_is_not_shunned():
    shunned = Shunned(16)
    shunned.shun(KEY, 100)

    assert not shunned.is_shunned(KEY ^ 16, 99)


def test_a_forgiven_key_is_not_shunned():
    shunned = Shunned(16)
    shunned.shun(KEY, 100)
    shunned.forgive(KEY)

    assert not shunned.is_shunned(KEY, 1)


def test_forgiving_a_neighbour_changes_nothing():
    shunned = Shunned(16)
    shunned.shun(KEY, 100)
    shunned.forgive(KEY ^ 16)

    assert shunned.is_shunned(KEY, 1)


def test_nothing_is_shunned_at_first():
    assert not Shunned(16).is_shunned(0, 0)


def test_the_size_is_a_power_of_two():
    with pytest.raises(AssertionError):
        Shunned(100)


def test_why_a_reply_was_not_stored_is_remembered_to_the_minute():
    shunned = Shunned(16)
    shunned.note(KEY, 7, 1_800_000_059)

    assert shunned.noted(KEY) == (7, 1_800_000_000)
    assert shunned.noted(KEY ^ 16) is None
    assert shunned.noted(KEY ^ 1) is None


def test_a_note_shuns_nobody_and_a_shunned_key_has_no_note():
    shunned = Shunned(16)
    shunned.note(KEY, 7, 1_800_000_000)
    shunned.shun(KEY ^ 1, 100)

    assert not shunned.is_shunned(KEY, 1)
    assert shunned.noted(KEY ^ 1) is None


def test_the_latest_note_counts():
    shunned = Shunned(16)
    shunned.note(KEY, 7, 1_800_000_000)
    shunned.note(KEY, 255, 1_800_000_060)

    assert shunned.noted(KEY) == (255, 1_800_000_060)
