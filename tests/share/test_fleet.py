"""One row per server for the whole node: found by name, exact in sum, and kept for as long as the page lives."""

import os

import pytest

from edge.origin.balance import TURN
from edge.origin.health import CHECK_MONO, CHECK_STATUS, EJECTIONS, FAILURES, ORDER
from edge.share.fleet import COMMON, ORDERED, OWN, ROWS, SECRET_BYTES, SEEN, Fleet, NoRowLeft
from edge.share.page import Page


@pytest.fixture
def fleet():
    return Fleet(4)


def in_a_child(what):
    """Run *what* in another process; return its exit code."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            code = what()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_name_has_one_row_in_every_process(fleet):
    first, second = fleet.row(b"shop\0http://a"), fleet.row(b"shop\0http://b")

    assert first != second
    assert first == fleet.row(b"shop\0http://a")
    assert second == in_a_child(lambda: fleet.row(b"shop\0http://b"))


def test_processes_that_ask_at_once_never_share_a_row(fleet):
    """Rows are given out under a lock: two servers in one row would be drained together."""
    read, write = os.pipe()
    pids = []
    for child in range(4):
        pid = os.fork()
        if not pid:
            try:
                rows = [fleet.row(b"%d of %d" % (number, child)) for number in range(100)]
                os.write(write, b"".join(b"%d\n" % row for row in rows))
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        rows = pipe.read().split()

    assert 400 == len(rows) == len(set(rows))
    assert rows.count("0") == 1


def test_halves_lie_beside_each_other_and_nowhere_twice(fleet):
    places = [range(fleet.common(row), fleet.common(row) + COMMON) for row in (0, 1, ROWS - 1)]
    places += [range(fleet.own(row, slot), fleet.own(row, slot) + OWN) for row in (0, 1, ROWS - 1) for slot in (0, 3)]
    words = [word for place in places for word in place]

    assert len(words) == len(set(words))
    assert max(words) < len(fleet.words)
    assert min(words) * 8 >= 8 + SECRET_BYTES


def test_own_columns_are_summed_and_go_with_their_holder(fleet):
    row = fleet.row(b"x")
    for slot, number in ((0, 3), (2, 4)):
        fleet.words[fleet.own(row, slot) + 1] = number

    assert 7 == fleet.total(row, 1)
    assert 4 == fleet.total(row, 1, (1, 2))
    fleet.forget(2)

    assert 3 == fleet.total(row, 1)
    assert row == fleet.row(b"x"), "the common half is the node's"


def test_any_change_is_another_version(fleet):
    seen = {fleet.version}
    for _ in range(3):
        fleet.changed()
        seen.add(fleet.version)

    assert 4 == len(seen)


def test_a_post_is_held_by_one_process_and_free_when_it_dies(fleet):
    assert 1 == in_a_child(lambda: fleet.take_post(1))
    assert fleet.take_post(1), "its holder has ended without a word"
    assert not fleet.take_post(1)
    assert 0 == in_a_child(lambda: fleet.take_post(1))
    assert 1 == in_a_child(lambda: fleet.take_post(2))
    fleet.leave_post(1)

    assert 1 == in_a_child(lambda: fleet.take_post(1))


def test_a_page_that_is_handed_over_keeps_its_rows_and_its_secret(fleet):
    row = fleet.row(b"x")
    again = Fleet(4, Page(Fleet.size(4), "fleet", os.dup(fleet.page.fd)))

    assert (row, fleet.secret) == (again.row(b"x"), again.secret)
    assert Fleet(4).secret != fleet.secret


def test_of_a_full_page_the_row_nobody_has_used_for_longest_becomes_anothers(fleet):
    """Nothing of the one before is left in it; and what an operator ordered is nobody else's."""
    rows = [fleet.row(b"%d" % number) for number in range(ROWS)]
    for number, row in enumerate(rows):
        fleet.keep(row, 1000 if number > 5 else 100 + number)
    fleet.words[fleet.common(rows[0]) + ORDERED] = 2
    fleet.words[fleet.common(rows[1]) + 5] = 7
    fleet.words[fleet.own(rows[1], 3) + 2] = 7
    taken = fleet.row(b"new")

    assert taken == rows[1] == in_a_child(lambda: fleet.row(b"new"))
    assert 0 == fleet.words[fleet.common(taken) + 5] == fleet.total(taken, 2)
    assert rows[0] == fleet.row(b"0")
    assert rows[2:6] == [fleet.row(b"new %d" % number) for number in range(4)]
    with pytest.raises(NoRowLeft):
        fleet.row(b"one more")


def test_a_full_page_says_so(fleet):
    for number in range(ROWS):
        fleet.row(b"%d" % number)
    with pytest.raises(NoRowLeft, match="1024 origins and servers"):
        fleet.row(b"one more")

    assert 7 == fleet.row(b"7")


def test_the_column_that_keeps_a_row_is_healths():
    assert ORDERED == ORDER
    assert SEEN not in {ORDER, FAILURES, EJECTIONS, CHECK_STATUS, CHECK_MONO, TURN, TURN + 1, TURN + 2}
