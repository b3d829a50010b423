"""Which connection is lent, which is closed, and that the count is always right."""

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.origin.pool import Pool, keep_for, lasts_for


def opened(pool, *links):
    for _ in links:
        pool.opening()
    return links


def full(*links, most):
    """A pool in which these are idle, the freshest last."""
    pool = Pool(most, most)
    for link in opened(pool, *links):
        pool.give_back(link, 0.0, 4.0)
    return pool


def test_the_freshest_is_lent_first():
    """So that what is not needed ages and goes."""
    pool = Pool(4, 4)
    for link in opened(pool, "a", "b", "c"):
        pool.give_back(link, 0.0, 4.0)

    assert ("c", True) == pool.take(1.0)
    assert ("b", True) == pool.take(1.0)
    assert "<Pool lent=2 idle=1 most=4>" == repr(pool)


def test_nothing_idle_is_said_plainly():
    assert (None, False) == Pool(1, 1).take(0.0)


def test_one_that_is_too_old_is_condemned_not_lent():
    pool = Pool(4, 4)
    opened(pool, "a")
    pool.give_back("a", 0.0, 4.0)

    assert ("a", False) == pool.take(4.0)
    assert (1, 0) == (pool.lent, pool.idle)


def test_the_oldest_goes_when_too_many_are_kept():
    pool = Pool(4, 2)
    opened(pool, "a", "b", "c")

    assert [None, None, "a"] == [pool.give_back(link, 0.0, 4.0) for link in "abc"]
    assert ["b", "c"] == pool.kept()


@pytest.mark.parametrize(("most_idle", "keep_s"), [(0, 4.0), (4, 0.0)])
def test_nothing_is_kept_where_nothing_may_be(most_idle, keep_s):
    pool = Pool(4, most_idle)
    opened(pool, "a")

    assert "a" == pool.give_back("a", 0.0, keep_s)
    assert 1 == pool.lent


def test_a_full_pool_has_room_while_one_is_idle():
    pool = Pool(1, 1)
    opened(pool, "a")
    assert not pool.has_room
    pool.give_back("a", 0.0, 4.0)

    assert pool.has_room
    assert not pool.may_open


def test_aged_gives_up_what_is_over_and_keeps_the_rest():
    pool = Pool(4, 4)
    opened(pool, "a", "b", "c")
    for link, keep_s in zip("abc", (3.0, 1.0, 2.0), strict=True):
        pool.give_back(link, 0.0, keep_s)

    assert [] == pool.aged(0.5)
    assert ["b", "c"] == pool.aged(2.0)
    assert ["a"] == pool.kept()
    assert [] == Pool(1, 1).aged(9.0)


def test_one_that_spoke_is_condemned():
    pool = Pool(4, 4)
    opened(pool, "a", "b")
    pool.give_back("a", 0.0, 4.0)
    pool.give_back("b", 0.0, 4.0)
    pool.condemn("a")
    pool.gone()

    assert (["b"], 1, 0) == (pool.kept(), pool.count, pool.lent)


def test_counting_wrong_is_our_mistake():
    pool = Pool(1, 1)
    with pytest.raises(AssertionError):
        pool.gone()
    pool.opening()
    with pytest.raises(AssertionError):
        pool.opening()


@pytest.mark.parametrize(
    ("keep_alive", "expected"),
    [
        (None, 4.0),
        (b"timeout=5, max=100", 4.0),
        (b"timeout=3", 2.0),
        (b"max=10; Timeout = 3", 2.0),
        (b'timeout="2"', 1.0),
        (b"timeout=1", 0.0),
        (b"timeout=0", 0.0),
        (b"nothing of use", 4.0),
        (b"xtimeout=1", 4.0),
        (b"timeout=999999999999", 4.0),
    ],
)
def test_the_origin_shortens_but_never_lengthens_how_long_we_keep(keep_alive, expected):
    """We close a second before it does, so that its end and our request do not cross."""
    assert expected == keep_for(4.0, keep_alive)


@pytest.mark.parametrize(
    ("carried", "age_s", "max_uses", "max_age_s", "expected"),
    [
        (10**9, 1e9, None, None, math.inf),
        (9, 0.0, 10, None, math.inf),
        (10, 0.0, 10, None, 0.0),
        (1, 20.0, None, 60.0, 40.0),
        (1, 60.0, None, 60.0, 0.0),
        (1, 61.0, 10, 60.0, -1.0),
        (10, 1.0, 10, 60.0, 0.0),
    ],
)
def test_a_connection_ends_by_use_and_by_age(carried, age_s, max_uses, max_age_s, expected):
    assert expected == lasts_for(carried, age_s, max_uses, max_age_s)


def test_the_freshest_that_is_fit_is_lent():
    pool = full("a1", "b1", "a2", "b2", most=5)

    assert ("a2", True) == pool.take_fit(lambda link: link[0] == "a", 0.0)
    assert ("a1", True) == pool.take_fit(lambda link: link[0] == "a", 0.0)
    assert (None, False) == pool.take_fit(lambda link: link[0] == "a", 0.0)
    assert 2 == pool.idle


def test_one_that_is_not_fit_makes_room_for_one_that_is():
    pool = full("b1", "b2", most=2)

    assert ("b1", False) == pool.take_fit(lambda link: link[0] == "a", 0.0)
    pool.gone()

    assert pool.may_open


class PoolMachine(RuleBasedStateMachine):
    """Any sequence of use keeps the count and never lends a connection twice or after it was condemned."""

    def __init__(self):
        super().__init__()
        self.pool = Pool(3, 2)
        self.lent = []
        self.dead = set()
        self.now = 0.0
        self.made = 0

    @precondition(lambda self: self.pool.may_open)
    @rule()
    def open(self):
        self.pool.opening()
        self.made += 1
        self.lent.append(self.made)

    @rule()
    def take(self):
        link, may_use = self.pool.take(self.now)
        if link is None:
            return
        assert link not in self.lent
        assert link not in self.dead
        if may_use:
            self.lent.append(link)
        else:
            self.bury(link)

    @rule(kind=st.sampled_from([0, 1]))
    def take_fit(self, kind):
        """Connections of two kinds in one pool: one that is not fit is never lent, and never keeps a fit one out."""
        link, may_use = self.pool.take_fit(lambda link: link % 2 == kind, self.now)
        if link is None:
            assert self.pool.may_open or not self.pool.idle
            return
        assert link not in self.lent
        assert link not in self.dead
        if may_use:
            assert link % 2 == kind
            self.lent.append(link)
        else:
            self.bury(link)

    def bury(self, link):
        self.dead.add(link)
        self.pool.gone()

    @precondition(lambda self: self.lent)
    @rule(keep_s=st.sampled_from([0.0, 1.0, 5.0]))
    def give_back(self, keep_s):
        condemned = self.pool.give_back(self.lent.pop(), self.now, keep_s)
        if condemned is not None:
            self.bury(condemned)

    @precondition(lambda self: self.lent)
    @rule()
    def lose(self):
        self.bury(self.lent.pop())

    @rule(seconds=st.sampled_from([0.5, 2.0]))
    def wait(self, seconds):
        self.now += seconds
        for link in self.pool.aged(self.now):
            self.bury(link)

    @invariant()
    def counted(self):
        assert self.pool.lent == len(self.lent)
        assert self.pool.count == self.pool.lent + self.pool.idle <= 3
        assert self.pool.idle <= 2


TestAnySequence = PoolMachine.TestCase
