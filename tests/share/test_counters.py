"""Counters: one writer per row, sums over all rows."""

import pytest

from edge.share.counters import Counters

NAMES = ("hits", "open", "bytes")


def test_a_total_is_the_sum_over_slots():
    counters = Counters(NAMES, 3)
    counters.slot(0)[0] += 2
    counters.slot(2)[0] += 5
    counters.add(1, 2, 100)

    assert counters.totals() == [7, 0, 100]


def test_a_row_ends_where_the_names_end():
    counters = Counters(NAMES, 2)

    with pytest.raises(IndexError):
        counters.slot(0)[3] = 1


def test_numbers_outlive_their_holder_but_gauges_do_not():
    counters = Counters(NAMES, 2, frozenset({"open"}))
    counters.slot(1)[0] = 4
    counters.slot(1)[1] = 9
    counters.slot(0)[1] = 1
    counters.forget_gauges(1)

    assert counters.totals() == [4, 1, 0]


def test_rows_begin_on_lines_of_their_own():
    assert Counters.size(9, 2) == 2 * 128


@pytest.mark.parametrize(("names", "gauges"), [(("a", "a"), ()), (("a",), ("b",))])
def test_a_name_counts_one_thing_and_a_gauge_is_a_name(names, gauges):
    with pytest.raises(AssertionError):
        Counters(names, 1, frozenset(gauges))
