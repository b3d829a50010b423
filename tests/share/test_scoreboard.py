"""One row per slot: who holds it, until when it promised to turn."""

from edge.share.page import CACHE_LINE
from edge.share.scoreboard import Scoreboard


def test_rows_do_not_touch_each_other():
    board = Scoreboard(3)
    board.row(1).deadline = 12.5
    board.row(1).pid = 99
    board.row(1).generation = 4
    board.row(1).ready = True

    assert [row.pid for row in board.rows] == [0, 99, 0]
    assert [row.deadline for row in board.rows] == [0.0, 12.5, 0.0]
    assert repr(board.row(1)) == "<Row 1 pid=99 ready=True deadline=12.500>"
    assert board.row(1).generation == 4


def test_a_row_fills_a_cache_line_of_its_own():
    assert Scoreboard.size(5) == 5 * CACHE_LINE


def test_a_cleared_row_is_free_and_promises_nothing():
    row = Scoreboard(1).row(0)
    row.pid, row.deadline, row.ready, row.generation = 1, 2.0, True, 3
    row.clear()

    assert (row.pid, row.deadline, row.ready, row.generation) == (0, 0.0, False, 0)


def test_ready_counts_who_takes_connections():
    board = Scoreboard(3)
    board.row(0).ready = board.row(2).ready = True

    assert board.ready() == 2


def test_the_same_row_is_given_every_time():
    board = Scoreboard(2)

    assert board.row(1) is board.row(1)
