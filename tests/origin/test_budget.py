"""Further attempts are a share of what was asked, over all workers; a few are allowed however little there is to do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.origin.budget import SPAN_S, Budget, may_spend
from edge.share.fleet import Fleet

NOW = 10_000.0


def budgets(count=1, share=0.2, reserve=0, fleet=None):
    fleet = fleet or Fleet(count)
    row = fleet.row(b"shop")
    made = [Budget(fleet, row, slot, share, reserve) for slot in range(count)]
    for one in made:
        one.turn(NOW)
    return fleet, made


@pytest.mark.parametrize(
    ("asked", "again", "share", "reserve", "expected"),
    [
        (100, 19, 0.2, 0, True),
        (100, 20, 0.2, 0, False),
        (0, 0, 0.2, 0, False),
        (0, 9, 0.2, 10, True),
        (0, 10, 0.2, 10, False),
        (10, 0, 0.0, 0, False),
        (100, 19, 0.2, 10, True),
        (100, 20, 0.2, 10, False),
    ],
)
def test_a_share_of_what_was_asked_or_the_reserve(asked, again, share, reserve, expected):
    assert expected is may_spend(asked, again, share, reserve)


def test_the_budget_is_the_nodes():
    """A worker that has asked nothing may spend what another's requests allow, and both see it spent."""
    fleet, (busy, idle) = budgets(2)
    fleet.words[busy.asked_at] += 50

    assert [True] * 10 + [False] == [one.spend(NOW, (0, 1)) for one in [busy, idle] * 5 + [busy]]
    assert (50, 10) == idle.spent((0, 1))


def test_what_was_asked_long_ago_allows_nothing():
    fleet, (one,) = budgets()
    fleet.words[one.asked_at] += 100
    assert one.spend(NOW + SPAN_S, (0,)), "the span before counts"
    assert not one.spend(NOW + 2 * SPAN_S, (0,))
    assert (0, 1) == one.spent((0,))
    assert not one.spend(NOW + 50 * SPAN_S, (0,))
    assert (0, 0) == one.spent((0,))


def test_a_worker_that_is_gone_counts_no_more():
    fleet, (one, other) = budgets(2)
    fleet.words[other.asked_at] += 100
    fleet.forget(1)

    assert not one.spend(NOW, (0, 1))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(0, 1.5)), min_size=1, max_size=300),
    st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]),
    st.integers(0, 5),
)
def test_no_storm(happenings, share, reserve):
    """
    Whatever the order: what is sent again within two spans is never more than its share of what was asked in those and the one
    before, or the reserve of each pair.
    """
    fleet, made = budgets(3, share, reserve)
    now, log = NOW, []
    for slot, is_again, passes in happenings:
        now += passes
        made[slot].turn(now)
        if is_again:
            if made[slot].spend(now, (0, 1, 2)):
                log.append((now, 0, 1))
        else:
            fleet.words[made[slot].asked_at] += 1
            log.append((now, 1, 0))
    for until, _, again in log:
        if again:
            number = int(until / SPAN_S)
            span = [entry for entry in log if number - 1 <= int(entry[0] / SPAN_S) <= number and entry[0] <= until]
            assert sum(entry[2] for entry in span) <= max(share * sum(entry[1] for entry in span), reserve)
