"""What goes when room is needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.cache.evict import OF_USE_S, Oldest, dead_wall, high, largest, low, may_grow, second_of, to_free, usable
from tests.cache.kit import NOW, stored


def gone(rows, wanted):
    oldest = Oldest(wanted)
    for copy_id, size, used_s in rows:
        oldest.offer((copy_id, size, used_s, 0, 0))
    return [copy_id for copy_id, _ in oldest.victims()]


GIB = 1 << 30


def test_nothing_goes_until_the_high_mark_and_then_down_to_the_low_one():
    assert low(GIB) < high(GIB) < usable(GIB) < GIB
    assert (round(low(GIB) / GIB, 2), round(high(GIB) / GIB, 2), round(usable(GIB) / GIB, 2)) == (0.9, 0.95, 0.98)
    assert to_free(high(GIB), GIB) == 0
    assert to_free(high(GIB) + 1, GIB) == high(GIB) + 1 - low(GIB)
    assert may_grow(usable(GIB) - 10, 10, GIB)
    assert not may_grow(usable(GIB) - 10, 11, GIB)


def test_a_small_store_keeps_more_of_itself_free_to_be_able_to_delete():
    assert usable(1 << 20) == 3 << 18
    assert usable(8 << 20) == 7 << 20


def test_what_was_refused_makes_more_go_but_never_more_than_half():
    assert to_free(low(GIB), GIB, 1000) == 1000
    assert to_free(0, GIB, 1000) <= 0
    assert to_free(low(GIB), GIB, GIB) == largest(GIB)


def test_the_least_recently_used_go_first_whatever_their_size():
    rows = [(1, 10, 300), (2, 1000, 200), (3, 10, 100), (4, 10, 200)]

    assert gone(rows, 5) == [3]
    assert gone(rows, 11) == [3, 2]
    assert gone(rows, 1015) == [3, 2, 4]


def test_of_one_second_those_stored_first_go_and_only_as_many_as_are_wanted():
    assert gone([(number, 10, 100) for number in range(1, 100)], 35) == [1, 2, 3, 4]


def test_if_there_is_less_than_is_wanted_everything_goes():
    assert gone([(1, 10, 5), (2, 10, 2**32 - 2)], 1000) == [1, 2]
    assert gone([], 10) == []


def test_a_pass_may_end_when_whatever_follows_was_stored_later_than_the_youngest_victim():
    oldest = Oldest(10)
    assert not oldest.is_settled(10**6)
    oldest.offer((1, 10, 100, 0, 100))

    assert not oldest.is_settled(100)
    assert oldest.is_settled(101)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), max_size=60), st.integers(1, 1500))
def test_exactly_the_oldest_go_until_there_is_enough(sizes, wanted):
    rows = [(number, size, used) for number, (size, used) in enumerate(sizes, 1)]
    expected, freed = [], 0
    for copy_id, size, _ in sorted(rows, key=lambda row: (row[2], row[0])):
        if freed >= wanted:
            break
        expected.append(copy_id)
        freed += size

    assert gone(rows, wanted) == expected


def test_a_copy_is_dead_a_day_after_all_its_lifetimes():
    assert dead_wall(stored({"cache-control": "max-age=60", "etag": '"a"'})) == NOW + 60 + OF_USE_S
    assert dead_wall(stored({"cache-control": "max-age=60, stale-if-error=999999"})) == NOW + 60 + 999999
    assert dead_wall(stored({"cache-control": "s-maxage=60"})) == NOW + 60


def test_seconds_stay_in_32_bits():
    assert (second_of(-1.5), second_of(1.9), second_of(1e12)) == (0, 1, 2**32 - 1)
