"""How often a key's reply has been fetched."""

import pytest

from edge.share.uses import Uses

KEY = 0x7ABC_DEF0_1234_5678


def test_uses_are_counted_by_key():
    uses = Uses(16)

    assert [1, 2, 3] == [uses.count(KEY) for _ in range(3)]
    assert 1 == uses.count(KEY + 1)


def test_of_two_keys_that_share_a_word_the_later_one_is_remembered():
    uses = Uses(16)
    uses.count(KEY)

    assert 1 == uses.count(KEY ^ 16)
    assert 1 == uses.count(KEY)


def test_another_process_counts_on():
    uses = Uses(16)
    uses.count(KEY)
    other = Uses(16, uses.page)

    assert 2 == other.count(KEY)


def test_a_count_stays_within_its_half_of_the_word():
    uses = Uses(16)
    uses.count(KEY)
    uses.page.words[KEY & 15] |= 0xFFFF_FFFF

    assert uses.count(KEY) > 1000
    assert uses.count(KEY) > 1000


def test_the_size_is_a_power_of_two():
    with pytest.raises(AssertionError):
        Uses(100)
