"""What one process puts up the others read, whole or not at all, and after its death."""

from __future__ import annotations

import os
import signal

import pytest

from edge.share.notices import NOTICE_BYTES, ROWS, Notices, hash_of


def read(notices: Notices, subject: bytes, now_s: int = 1) -> bytes | None:
    return notices.read(notices.row(subject, now_s), hash_of(subject))


def post(notices: Notices, subject: bytes, text: bytes, now_s: int = 1) -> int:
    row = notices.row(subject, now_s)
    assert notices.take_desk(row)
    assert notices.post(row, hash_of(subject), text)
    return row


def test_a_notice_is_read_by_its_subject():
    notices = Notices()
    post(notices, b"a", b"first")
    post(notices, b"b", b"other")
    row = post(notices, b"a", b"second")

    assert (b"second", b"other", None) == (read(notices, b"a"), read(notices, b"b"), read(notices, b"c"))
    assert notices.row(b"a", 1) == row


def test_another_notice_has_another_number():
    notices, known = Notices(), hash_of(b"a")
    row = notices.row(b"a", 1)
    numbers = [notices.number(row, known, 1)]
    assert notices.take_desk(row)
    for _ in range(3):
        notices.post(row, known, b"the same")
        numbers.append(notices.number(row, known, 1))

    assert 0 == numbers[0]
    assert len(set(numbers)) == 4
    assert b"" != notices.read(row, known)


def test_one_of_any_length_that_fits():
    notices = Notices()
    for text in (b"", b"x", bytes(NOTICE_BYTES)):
        post(notices, b"a", text)
        assert text == read(notices, b"a")
    with pytest.raises(ValueError, match="at most"):
        post(notices, b"a", bytes(NOTICE_BYTES + 1))

    assert bytes(NOTICE_BYTES) == read(notices, b"a")


def test_only_one_process_holds_a_desk_and_none_after_its_death():
    """And what it put up stays."""
    notices = Notices()
    row = notices.row(b"a", 1)
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        notices.take_desk(row)
        notices.post(row, hash_of(b"a"), b"from the child")
        os.write(told, b"!")
        signal.pause()
    try:
        os.read(ready, 1)
        assert not notices.take_desk(row)
        assert b"from the child" == read(notices, b"a")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)

    assert notices.take_desk(row)
    assert b"from the child" == read(notices, b"a")


def test_who_dies_while_writing_leaves_no_notice_and_the_next_one_counts():
    notices = Notices()
    row, known = post(notices, b"a", b"whole"), hash_of(b"a")
    words = notices.page.words
    at = row * (len(words) // ROWS) + 2
    before = words[at]
    words[at] |= 1  # where a writer would be

    assert (None, 0) == (notices.read(row, known), notices.number(row, known, 1))
    notices.post(row, known, b"again")
    assert b"again" == notices.read(row, known)
    assert words[at] not in {before, before | 1}


def test_when_all_are_taken_the_one_nobody_looks_at_becomes_anothers():
    notices = Notices()
    rows = [post(notices, b"%d" % number, b"text", now_s=100 + number) for number in range(ROWS)]
    for number in (0, 1):
        notices.number(rows[number], hash_of(b"%d" % number), 1000)
    row = notices.row(b"new", 1000)

    assert row == rows[2]
    assert not notices.post(row, hash_of(b"2"), b"too late")
    assert (None, None) == (notices.read(row, hash_of(b"new")), notices.read(row, hash_of(b"2")))
    assert 0 == notices.number(row, hash_of(b"2"), 1000)
    assert b"text" == notices.read(rows[0], hash_of(b"0"))


def test_a_desk_is_given_back():
    notices = Notices()
    row = notices.row(b"a", 1)
    assert notices.take_desk(row)
    assert notices.take_desk(row)
    notices.leave_desk(row)

    with pytest.raises(AssertionError):
        notices.post(row, hash_of(b"a"), b"x")
