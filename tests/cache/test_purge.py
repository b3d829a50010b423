"""What a purge names, which copies it hits, and what stands in the way of one that comes late."""

from __future__ import annotations

import pytest

from edge.cache.audit import faults
from edge.cache.copy import IDENTITY, Copy
from edge.cache.fill import is_alive
from edge.cache.keeper import FORGET_S, Keeper
from edge.cache.lookup import Hit, Stale, lookup
from edge.cache.purge import (
    LEAST_LIFETIME_S,
    MOST_STANDING,
    NONE_STAND,
    Purge,
    Standing,
    What,
    added,
    softened,
    tags_of,
    without_port,
)
from edge.cache.records import most_tombs
from edge.cache.store import Store
from edge.cache.storing import Unstored, not_stored
from edge.cache.upkeep import Upkeep
from edge.share.stamps import Stamps
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask, stored
from tests.cache.test_fill import begin
from tests.cache.test_keeper import Clock, run
from tests.cache.test_store import draft, put


def standing(*purges) -> Standing:
    return Standing(b"1", list(purges))


def purge(what=What.ALL, text=b"", when=NOW + 1, **more) -> Purge:
    return Purge(what, text, when, **more)


COPY = stored(
    {"cache-control": "max-age=60", "cache-tag": "front, sale ,", "surrogate-key": "p-1  p-2"}, asked=ask("/a/b?c")
)
"""Of https://shop.example/a/b?c"""


# -- which ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (What.ALL, b""),
        (What.HOST, b"shop.example"),
        (What.PREFIX, b"https://shop.example/"),
        (What.PREFIX, b"https://shop.example/a/b?c"),
        (What.PREFIX, b"shop.example/a"),
        (What.TAG, b"front"),
        (What.TAG, b"sale"),
        (What.TAG, b"p-2"),
    ],
)
def test_a_purge_hits_what_it_names(what, text):
    assert standing(purge(what, text)).weighed([COPY]) == []
    assert standing(purge(what, text)).refuses(COPY)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (What.HOST, b"example"),
        (What.HOST, b"shop.example:8443"),
        (What.PREFIX, b"http://shop.example/"),
        (What.PREFIX, b"https://shop.example/a/b?c="),
        (What.PREFIX, b"hop.example/"),
        (What.TAG, b"Front"),
        (What.TAG, b"p-"),
        (What.TAG, b""),
    ],
)
def test_a_purge_hits_nothing_else(what, text):
    assert standing(purge(what, text)).weighed([COPY]) == [COPY]
    assert not standing(purge(what, text)).refuses(COPY)


def test_a_host_without_a_port_is_meant_on_all_of_them():
    copy = Copy(*[getattr(COPY, name) for name in Copy.__struct_fields__])
    copy.url = b"https://shop.example:8443/"

    assert standing(purge(What.HOST, b"shop.example")).weighed([copy]) == []
    assert standing(purge(What.HOST, b"shop.example:8443")).weighed([copy]) == []
    assert (without_port(b"[::1]:80"), without_port(b"[::1]"), without_port(b"a")) == (b"[::1]", b"[::1]", b"a")


def test_tags_are_separated_by_commas_or_by_spaces():
    fields = [(b"cache-tag", b"a, b c,,"), (b"surrogate-key", b" d\te,f "), (b"cache-tag", b"g"), (b"x", b"h")]

    assert tags_of(fields) == {b"a", b"b c", b"d", b"e,f", b"g"}


# -- when ----------------------------------------------------------------------------------------------------


def test_what_was_asked_for_after_a_purge_is_not_hit_by_it():
    newer = stored({"cache-control": "max-age=60"}, at=NOW + 2)

    assert standing(purge(when=NOW)).weighed([COPY, newer]) == [newer]
    assert not standing(purge(when=NOW)).refuses(newer)


def test_a_soft_purge_ends_freshness_and_begins_the_windows_of_stale_use():
    copy = stored({"cache-control": "max-age=600, stale-while-revalidate=30, stale-if-error=60"})
    (soft,) = standing(purge(when=NOW + 10, is_soft=True)).weighed([copy])

    assert isinstance(lookup(ask(), [copy], NOW + 11), Hit)
    found = lookup(ask(), [soft], NOW + 11)
    assert isinstance(found, Stale)
    assert (found.while_revalidate, found.on_error) == (True, True)
    late = lookup(ask(), [soft], NOW + 10 + 31)
    assert isinstance(late, Stale)
    assert (late.while_revalidate, late.on_error) == (False, True)


def test_what_was_stale_before_a_soft_purge_gets_no_longer_life_by_it():
    copy = stored({"cache-control": "max-age=5, stale-while-revalidate=30"})

    assert softened(copy, NOW + 10) is copy
    assert softened(copy, NOW - 1).lifetime_s == LEAST_LIFETIME_S
    assert softened(softened(copy, NOW + 2), NOW + 3).lifetime_s == pytest.approx(2)


def test_hard_beats_soft_whichever_came_first():
    soft, hard = purge(when=NOW + 2, is_soft=True), purge(when=NOW + 1)

    assert standing(soft, hard).weighed([COPY]) == standing(hard, soft).weighed([COPY]) == []


def test_of_several_soft_purges_the_first_counts():
    first, second = purge(when=NOW + 3, is_soft=True), purge(What.TAG, b"sale", NOW + 9, is_soft=True)

    (soft,) = standing(second, first).weighed([COPY])
    assert soft.lifetime_s == pytest.approx(3)


def test_one_that_was_swept_only_refuses_what_comes_late():
    swept = standing(purge(is_swept=True))

    assert swept.weighed([COPY]) == [COPY]
    assert swept.refuses(COPY)
    assert not NONE_STAND.refuses(COPY)


# -- how many ------------------------------------------------------------------------------------------------


def test_a_purge_takes_the_place_of_an_earlier_one_like_it():
    one = purge(What.TAG, b"a", NOW)
    soft = purge(What.TAG, b"a", NOW, is_soft=True)
    again = purge(What.TAG, b"a", NOW + 1)

    assert added([one, soft], again) == [soft, again]
    assert added([again], one) == [again, one]


def test_of_too_many_those_that_are_swept_become_one_that_refuses_all():
    many = [purge(What.TAG, b"%d" % at, NOW + at, is_swept=at % 2 == 0) for at in range(MOST_STANDING)]

    fewer = added(many, purge(What.TAG, b"new", NOW + 5000))
    assert fewer is not None
    assert len(fewer) == MOST_STANDING // 2 + 2
    assert fewer[-2] == Purge(What.ALL, b"", NOW + MOST_STANDING - 2, is_swept=True)
    assert standing(*fewer).weighed([COPY]) == [COPY]


def test_too_many_that_are_not_swept_yet_take_no_more():
    many = [purge(What.TAG, b"%d" % at) for at in range(MOST_STANDING)]

    assert added(many, purge(What.TAG, b"new")) is None
    assert added(many, many[7]) is not None


# -- in the store --------------------------------------------------------------------------------------------


def test_a_standing_purge_holds_at_once_and_what_comes_after_is_kept(store):
    put(store, "/1", fields={"cache-tag": "a"})
    put(store, "/2", fields={"cache-tag": "b"})

    assert store.purge(purge(What.TAG, b"a")) is None
    assert store.copies(ask("/1").key) == []
    assert len(store.copies(ask("/2").key)) == 1
    put(store, "/1", fields={"cache-tag": "a"}, at=NOW + 2)
    assert len(store.copies(ask("/1").key)) == 1


def test_a_standing_purge_makes_every_stamp_stale(folder):
    stamps = Stamps()
    store = Store.open(folder, 32 * MIB, stamps=stamps)
    before = list(stamps.words)
    store.purge(purge())

    assert all(word != other for word, other in zip(stamps.words, before, strict=True))
    store.close()


def test_a_standing_purge_holds_in_another_process_and_after_a_restart(folder):
    store = Store.open(folder, 32 * MIB)
    put(store)
    store.purge(purge())
    store.close()
    again = Store.open(folder, 32 * MIB)

    assert again.copies(ask().key) == []
    again.close()


def test_a_purge_wins_a_race_with_a_reply_that_is_on_its_way(store):
    late = draft(fields={"surrogate-key": "a"})
    store.purge(purge(What.TAG, b"a"))

    assert store.is_late(late)
    assert store.put(late, b"old") == not_stored(Unstored.PURGED)
    assert store.begin_fill(late) == not_stored(Unstored.PURGED)
    assert not store.is_late(draft(fields={"surrogate-key": "a"}, at=NOW + 2))


def test_a_purge_wins_a_race_with_a_body_that_is_landing(store):
    fill = begin(store, at=NOW)
    fill.append(b"half")
    store.purge(purge(What.HOST, b"shop.example"))
    fill.append(b"the rest")

    assert fill.commit() == not_stored(Unstored.PURGED)
    assert store.copies(ask().key) == []


def test_a_304_on_its_way_does_not_revive_what_was_purged(store):
    old = put(store)
    new = draft(at=NOW)
    store.purge(purge())

    assert store.update(old, new) is None


def test_softening_an_address_ends_the_freshness_of_its_copies(store):
    copy = put(store)

    assert store.soften(copy.key, NOW + 7) == 1
    assert [soft.lifetime_s for soft in store.copies(copy.key)] == [pytest.approx(7)]
    assert store.put(draft(), b"old") == not_stored(Unstored.PURGED)
    assert faults(store) == []


# -- the keeper ----------------------------------------------------------------------------------------------


def test_the_keeper_makes_a_purge_true_and_forgets_it_when_nothing_can_come_late(store):
    for at in range(20):
        put(store, f"/{at}", fields={"cache-tag": "even" if at % 2 == 0 else "odd"})
    store.purge(purge(What.TAG, b"even"))
    store.purge(purge(What.TAG, b"odd", is_soft=True))
    clock = Clock()
    clock.now = 10.0
    keeper = Keeper(store, lambda _: 0, clock)
    run(keeper)

    assert keeper.purged == 20
    assert [len(store.copies(ask(f"/{at}").key)) for at in range(20)] == [0, 1] * 10
    assert {copy.lifetime_s for copy in store.copies(ask("/1").key)} == {1.0}
    assert Upkeep(store).purges() == []
    assert store.put(draft(fields={"cache-tag": "even"}), b"late") == not_stored(Unstored.PURGED)
    assert faults(store) == []

    clock.now += FORGET_S + 1
    run(keeper)
    assert store.copies(ask("/1").key)[0].lifetime_s == 1.0
    assert isinstance(store.put(draft(fields={"cache-tag": "even"}), b"late"), Copy)


def test_a_purge_that_comes_during_a_pass_has_its_own(store):
    for at in range(30):
        put(store, f"/{at}")
    upkeep = Upkeep(store)
    store.purge(purge(What.HOST, b"elsewhere.example"))
    first = upkeep.purges()
    store.purge(purge(What.ALL))
    upkeep.swept(first)

    assert [left.what for left in upkeep.purges()] == [What.ALL]


def test_a_pass_that_cannot_write_is_begun_again(store, monkeypatch):
    put(store)
    store.purge(purge())
    keeper = Keeper(store, lambda _: 0, Clock())
    monkeypatch.setattr(Upkeep, "purge", lambda *_: None)
    run(keeper)

    assert len(Upkeep(store).purges()) == 1
    monkeypatch.undo()
    run(keeper)
    assert Upkeep(store).purges() == []
    assert keeper.purged == 1


def test_a_purge_is_remembered_while_a_body_from_before_it_is_landing(store):
    fill = begin(store, at=NOW)
    store.purge(purge())
    upkeep = Upkeep(store)
    upkeep.swept(upkeep.purges())
    upkeep.forget_purges(NOW + 10**6, FORGET_S)

    assert fill.commit() == not_stored(Unstored.PURGED)
    upkeep.forget_purges(NOW + 10**6, FORGET_S)
    assert upkeep.sweep_orphans(is_alive, NOW + 10**6, FORGET_S)
    assert isinstance(store.put(draft(), b"x"), Copy)


def test_keys_are_looked_through_in_portions(store):
    for at in range(10):
        put(store, f"/{at}", fields={"cache-tag": "a"} if at < 5 else {})
    store.purge(purge(What.TAG, b"a"))
    upkeep = Upkeep(store)
    found, after, portions = [], b"", 0
    while portion := upkeep.purged(after, 3):
        keys, after = portion
        found += keys
        portions += 1
        if not after:
            break

    assert sorted(found) == sorted(ask(f"/{at}").key for at in range(5))
    assert portions == 5
    assert upkeep.purge(found, NOW) == 5
    assert upkeep.purge(found, NOW) == 0
    assert store.read(store.copies(ask("/7").key)[0].bodies[IDENTITY].body_id, 0, 1) == b"h"


# -- very many of them ---------------------------------------------------------------------------------------


def test_invalidations_without_number_do_not_fill_the_store(folder):
    """Each has a record of its own until there are very many; then one refuses whatever was asked for before."""
    store = Store.open(folder, 4 << 20)
    most = most_tombs(4 << 20)
    used = []
    for number in range(3 * most):
        assert store.mark_stale(b"%016d" % number, NOW + number) == 0
        if number % most == most - 1:
            used.append(store.used())
    with store._begin() as txn:
        tombs = txn.stat(store._records.tombs)["entries"]
        [purge] = store._records.standing(txn).purges

    assert tombs <= most
    assert used[2] <= used[0] + 64 * 4096
    assert Purge(What.ALL, b"", purge.when_wall, is_swept=True) == purge
    assert NOW + 2 * most < purge.when_wall
    early, late = draft(at=NOW + 5), draft(at=NOW + 4 * most)
    assert store.put(early, b"x") == not_stored(Unstored.PURGED)
    assert isinstance(store.put(late, b"x"), Copy)
    store.close()


def test_what_only_refuses_does_not_take_the_place_of_a_purge_that_is_still_to_be_carried_out():
    """Or a copy that an operator has purged would be there again."""
    ordered = purge(when=NOW + 1)
    refusing = purge(when=NOW + 2, is_swept=True)

    assert [ordered, refusing] == added([ordered], refusing)
    assert [refusing] == added([purge(when=NOW, is_swept=True)], refusing)
    assert [purge(when=NOW + 3)] == added([ordered], purge(when=NOW + 3))
