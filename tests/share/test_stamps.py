"""Stamps: what is remembered is used only while its stamp stands."""

import os

import pytest

from edge.share.stamps import Stamps


def test_a_bump_makes_an_older_stamp_stale():
    stamps = Stamps(16)
    before = stamps.read(5)
    stamps.bump(5)

    assert stamps.read(5) != before


def test_a_bump_leaves_other_words_alone():
    stamps = Stamps(16)
    before = stamps.read(6)
    stamps.bump(5)

    assert stamps.read(6) == before


def test_two_bumps_at_once_leave_no_stamp_trusted():
    """With counts, both would write n + 1 and a reader between them would trust the second one's leavings."""
    stamps = Stamps(16)
    stamps.bump(1)
    read_between = stamps.read(1)
    stamps.bump(1)

    assert stamps.read(1) != read_between


def test_parent_and_child_do_not_draw_the_same_stamp():
    stamps = Stamps(16)
    stamps.bump(1)
    pid = os.fork()
    if pid == 0:
        stamps.bump(2)
        os._exit(0)
    os.waitpid(pid, 0)
    stamps.bump(3)

    assert stamps.read(2) != stamps.read(3)


def test_bump_all_makes_everything_stale():
    stamps = Stamps(64)
    before = list(stamps.words)
    stamps.bump_all()

    assert not any(left == right for left, right in zip(before, stamps.words, strict=True))


def test_a_hash_of_any_size_finds_its_word():
    stamps = Stamps(16)
    stamps.bump(2**63 - 1)

    assert stamps.read(15) == stamps.read(2**63 - 1) == stamps.words[15]


def test_the_size_is_a_power_of_two():
    with pytest.raises(AssertionError):
        Stamps(100)
