"""A copy of which parts are stored."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.cache import evict
from edge.cache.audit import faults
from edge.cache.copy import IDENTITY, Copy
from edge.cache.fill import FillState, is_alive
from edge.cache.parts import Parts
from edge.cache.purge import Purge, What
from edge.cache.records import WHOLE_BYTES
from edge.cache.store import Store
from edge.cache.storing import Unstored, not_stored
from edge.cache.upkeep import NONE_LEFT, PORTION, Upkeep
from edge.share.stamps import Stamps
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask, stored
from tests.cache.test_store import Elsewhere, draft, pattern

CHUNK = 4080
LENGTH = 20 * CHUNK + 7
BODY = pattern(LENGTH)
FIELDS = {"cache-control": "max-age=60", "etag": '"a"'}


def drafted(length: int = LENGTH, at: float = NOW, fields=FIELDS) -> Copy:
    return stored(fields, length=length, at=at)


def begun(store, **more) -> Copy:
    copy = Parts(store).begin(drafted(**more))
    assert isinstance(copy, Copy), copy
    return copy


def land(store, copy: Copy, start: int, end: int, *, at: float = NOW):
    return Parts(store).land(copy, start, BODY[start:end], at)


def test_a_part_is_there_when_it_has_landed_and_the_whole_when_all_have(folder):
    stamps = Stamps()
    store = Store.open(folder, 32 * MIB, stamps=stamps)
    copy = begun(store)
    before = stamps.read(ask().hash)
    one = land(store, copy, 5 * CHUNK, 9 * CHUNK)

    assert ((5 * CHUNK, 9 * CHUNK),) == one.spans
    assert BODY[5 * CHUNK + 3 : 9 * CHUNK] == store.read(one.bodies[IDENTITY].body_id, 5 * CHUNK + 3, 9 * CHUNK)
    assert store.read(one.bodies[IDENTITY].body_id, 0, 1) is None
    assert [one] == store.copies(copy.key)
    assert before == stamps.read(ask().hash)

    two = land(store, one, 9 * CHUNK, LENGTH)
    whole = land(store, copy, 0, 5 * CHUNK)

    assert ((5 * CHUNK, LENGTH),) == two.spans
    assert whole.spans is None
    assert BODY == store.read_whole(whole.bodies[IDENTITY])
    assert before != stamps.read(ask().hash)
    assert faults(store) == []
    store.close()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(11)))
def test_parts_may_land_in_any_order(store, order):
    store.delete(drafted().key, NOW - 1)
    copy = begun(store)
    for place in order:
        copy = land(store, copy, place * 2 * CHUNK, min(LENGTH, (place + 1) * 2 * CHUNK))
        assert faults(store) == []

    assert copy.spans is None
    assert BODY == store.read_whole(copy.bodies[IDENTITY])


def test_beginning_again_gives_what_is_there(store):
    copy = begun(store)
    grown = land(store, copy, 0, CHUNK)

    assert grown == begun(store, at=NOW + 5)
    assert grown == Parts(store).latest(copy)


@pytest.mark.parametrize(
    ("length", "fields", "reason"),
    [
        (LENGTH, {"cache-control": "max-age=60"}, Unstored.PARTIAL),
        (LENGTH, FIELDS | {"etag": 'W/"a"'}, Unstored.PARTIAL),
        (evict.largest(32 * MIB) + 1, FIELDS, Unstored.TOO_LARGE),
    ],
)
def test_what_cannot_be_put_together_is_not_begun(store, length, fields, reason):
    assert not_stored(reason) == Parts(store).begin(drafted(length, fields=fields))
    assert store.copies(ask().key) == []


def test_another_representation_takes_the_place_of_parts(store):
    land(store, begun(store), 0, CHUNK)
    other = begun(store, fields=FIELDS | {"etag": '"b"'}, at=NOW + 1)

    assert [other] == store.copies(other.key)
    assert () == other.spans
    assert faults(store) == []


def test_the_whole_takes_the_place_of_its_parts_even_if_they_were_asked_for_later(store):
    parts = land(store, begun(store, at=NOW + 9), 0, CHUNK)
    whole = store.put(drafted(), BODY)

    assert isinstance(whole, Copy)
    assert [whole] == store.copies(whole.key)
    assert whole == Parts(store).latest(parts)
    assert not_stored(Unstored.PURGED) == land(store, parts, CHUNK, 2 * CHUNK)


@pytest.mark.parametrize(
    "take_back",
    [
        lambda store, copy: store.delete(copy.key, NOW + 5),
        lambda store, copy: store.mark_stale(copy.key, NOW + 5),
        lambda store, copy: store.soften(copy.key, NOW + 5),
        lambda store, copy: store.purge(Purge(What.ALL, b"", NOW + 5)),
        lambda store, copy: store.purge(Purge(What.TAG, b"t", NOW + 5, is_soft=True)),
    ],
)
def test_what_was_asked_for_before_a_purge_does_not_land_after_it(store, take_back):
    copy = land(store, begun(store, fields=FIELDS | {"cache-tag": "t"}), 0, CHUNK)
    take_back(store, copy)

    assert not_stored(Unstored.PURGED) == land(store, copy, CHUNK, 2 * CHUNK)


def test_what_was_asked_for_after_an_invalidation_lands(store):
    copy = begun(store)
    store.mark_stale(copy.key, NOW + 5)

    assert isinstance(land(store, copy, 0, CHUNK, at=NOW + 6), Copy)


def test_a_304_leaves_parts_as_they_are(store):
    copy = land(store, begun(store), 0, CHUNK)
    told = store.update(copy, drafted(at=NOW + 50))

    assert ((0, CHUNK),) == told.spans
    assert NOW + 50 == told.response_wall


def test_parts_are_counted_by_what_is_there_and_evicted_like_any_copy(store):
    length = 10 * MIB
    copy = Parts(store).begin(drafted(length))
    landed = Parts(store).land(copy, 5 * MIB // CHUNK * CHUNK, bytes(100 * CHUNK), NOW)
    upkeep = Upkeep(store)
    [(copy_id, size, *_)] = upkeep.rows(0, 10, lambda _: 0)

    assert copy_id == landed.copy_id
    assert 100 * CHUNK <= size < 101 * 4096 + 1000
    assert 1 == upkeep.evict([copy_id], NOW)
    while upkeep.clear_grave(NOW + 1, PORTION) != NONE_LEFT:
        pass
    assert store.read(landed.bodies[IDENTITY].body_id, 5 * MIB // CHUNK * CHUNK, 5 * MIB) is None
    assert faults(store) == []


def test_no_room_is_a_reason_and_a_wish(folder):
    store = Store.open(folder, 4 * MIB)
    copy = begun(store)
    at = 0
    while isinstance(store.put(draft(f"/{at}"), bytes(100_000)), Copy):
        at += 1
    Upkeep(store).wished()

    assert not_stored(Unstored.STORE_FULL) == Parts(store).land(copy, 0, bytes(64 * CHUNK), NOW)
    assert 64 * CHUNK <= Upkeep(store).wished()
    assert not_stored(Unstored.STORE_FULL) == Parts(store).begin(stored(FIELDS, length=MIB, asked=ask("/more")))
    assert [copy] == store.copies(copy.key)
    store.close()


# -- what a fill leaves --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("landed", "there"), [(9 * CHUNK + 5, 9 * CHUNK), (CHUNK, CHUNK), (LENGTH, None)])
def test_what_has_landed_of_a_fill_that_is_given_up_is_a_copy_in_part(store, landed, there):
    fill = store.begin_fill(drafted())
    fill.append(BODY[:landed])
    fill.abandon(Unstored.TRUNCATED)
    [copy] = store.copies(ask().key)

    assert (None if there is None else ((0, there),)) == copy.spans
    assert FillState.FAILED is store.progress_of(copy.key).state
    assert BODY[: there or LENGTH] == store.read(copy.bodies[IDENTITY].body_id, 0, there or LENGTH)
    assert faults(store) == []


@pytest.mark.parametrize("fields", [{"cache-control": "max-age=60"}, FIELDS | {"etag": 'W/"a"'}])
def test_what_no_validator_names_is_buried(store, fields):
    fill = store.begin_fill(drafted(fields=fields))
    fill.append(BODY[: 9 * CHUNK])
    fill.abandon(Unstored.TRUNCATED)

    assert store.copies(ask().key) == []


def test_a_whole_copy_stays_whatever_broke_off_behind_it(store):
    old = store.put(drafted(5, fields=FIELDS | {"etag": '"old"'}), b"hello")
    fill = store.begin_fill(drafted(at=NOW + 9))
    fill.append(BODY[: 9 * CHUNK])
    fill.abandon(Unstored.TRUNCATED)

    assert [old] == store.copies(old.key)


@pytest.mark.parametrize("by", ["the keeper", "whoever waited", "the next fill"])
def test_what_a_killed_process_has_landed_is_taken_over(folder, by):
    def work():
        store = Store.open(folder, 32 * MIB)
        store.begin_fill(drafted()).append(BODY[: 9 * CHUNK + 1])
        os.kill(os.getpid(), signal.SIGKILL)

    other = Elsewhere(work)
    store = Store.open(folder, 32 * MIB)
    other.run()
    match by:
        case "the keeper":
            Upkeep(store).sweep_orphans(is_alive, NOW, 60)
        case "whoever waited":
            Parts(store).adopt(ask().key)
        case _:
            store.begin_fill(drafted(at=NOW + 1)).abandon()
    [copy] = store.copies(ask().key)

    assert ((0, 9 * CHUNK),) == copy.spans
    assert faults(store) == []
    store.close()


def test_a_fill_of_a_living_process_is_not_taken_over(store):
    fill = store.begin_fill(drafted())
    fill.append(BODY[: 9 * CHUNK])
    Parts(store).adopt(ask().key)

    assert store.copies(ask().key) == []
    assert isinstance(fill.commit(), Copy)


def test_parts_longer_than_a_whole_are_buried_when_they_go(store):
    copy = begun(store, length=WHOLE_BYTES * 2)
    landed = Parts(store).land(copy, 0, bytes(CHUNK), NOW)
    store.delete(copy.key, NOW + 1)

    assert bytes(CHUNK) == store.read(landed.bodies[IDENTITY].body_id, 0, CHUNK), "whoever reads it now may go on"
    assert faults(store) == []
