"""What the keeper does, a portion at a time."""

from __future__ import annotations

import os
import signal

import pytest

from edge.cache import evict
from edge.cache.audit import faults
from edge.cache.copy import IDENTITY, Copy
from edge.cache.fill import FillState, is_alive
from edge.cache.records import WHOLE_BYTES
from edge.cache.store import Store
from edge.cache.upkeep import NONE_LEFT, PORTION, Upkeep
from edge.share.stamps import Stamps
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask
from tests.cache.test_fill import begin
from tests.cache.test_store import Elsewhere, bodies_of, draft, in_another_process, put


def test_rows_come_in_portions_by_id_with_their_last_use(store):
    copies = [put(store, f"/{number}") for number in range(5)]
    upkeep = Upkeep(store)

    first = upkeep.rows(0, 3, lambda _: 0)
    rest = upkeep.rows(first[-1][0], 3, lambda copy_id: 2**31 if copy_id == copies[4].copy_id else 5)

    assert [row[0] for row in first + rest] == [copy.copy_id for copy in copies]
    assert [row[2] for row in first + rest] == [int(NOW)] * 4 + [2**31]
    assert upkeep.rows(rest[-1][0], 3, lambda _: 0) == []


def test_evicting_removes_copy_row_and_bodies_and_stamps(folder):
    stamps = Stamps()
    store = Store.open(folder, 32 * MIB, stamps=stamps)
    one = put(store, "/1", body=b"x" * 10_000)
    two = put(store, "/1", fields={"vary": "foo"}, asked=ask("/1", fields={"foo": "1"}))
    before = stamps.read(ask("/1").hash)

    assert Upkeep(store).evict([one.copy_id, 999_999], NOW) == 1
    assert store.copies(one.key) == [two]
    assert store.read(one.bodies[IDENTITY].body_id, 0, 1) is None
    assert stamps.read(ask("/1").hash) != before
    assert faults(store) == []
    store.close()


def test_a_grave_is_cleared_in_portions_when_it_is_old_enough(store):
    body = b"x" * (WHOLE_BYTES * 8)
    copy = put(store, body=body)
    store.delete(copy.key, NOW)
    upkeep = Upkeep(store)

    assert upkeep.clear_grave(NOW, PORTION) == NONE_LEFT
    cleared = []
    while (count := upkeep.clear_grave(NOW + 1, PORTION)) != NONE_LEFT:
        cleared.append(count)

    assert sum(cleared) == -(-len(body) // store.chunk_bytes)
    assert max(cleared) == PORTION
    assert store.read(copy.bodies[IDENTITY].body_id, 0, 1) is None
    assert faults(store) == []


def test_a_grave_next_to_another_body_takes_nothing_of_it(store):
    old = put(store, "/1", body=b"1" * (WHOLE_BYTES + 1))
    put(store, "/2", body=b"2" * (WHOLE_BYTES + 1))
    store.delete(old.key, NOW)
    while Upkeep(store).clear_grave(NOW + 1, PORTION) != NONE_LEFT:
        pass

    assert bodies_of(store, "/2") == [b"2" * (WHOLE_BYTES + 1)]
    assert faults(store) == []


def test_the_fill_of_a_dead_process_is_failed_and_its_bytes_go(folder):
    def die_filling():
        begin(Store.open(folder, 32 * MIB)).append(b"half" * 5000)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_another_process(die_filling) == -signal.SIGKILL
    store = Store.open(folder, 32 * MIB)
    upkeep = Upkeep(store)

    assert upkeep.sweep_orphans(is_alive, NOW, 60) == 1
    progress = store.progress_of(ask().key)
    assert progress is not None
    assert (progress.state, progress.since_wall) == (FillState.FAILED, NOW)
    assert upkeep.sweep_orphans(is_alive, NOW, 60) == 0
    while upkeep.clear_grave(NOW + 1, PORTION) != NONE_LEFT:
        pass
    assert upkeep.sweep_orphans(is_alive, NOW + 61, 60) == 1
    assert store.progress_of(ask().key) is None
    assert faults(store) == []
    store.close()


def test_the_fill_of_a_living_process_is_left_alone(store):
    fill = begin(store)

    assert Upkeep(store).sweep_orphans(is_alive, NOW + 10**6, 60) == 0
    fill.append(b"x")
    fill.commit()
    assert bodies_of(store) == [b"x"]


def test_what_ended_undated_is_dated_first_and_forgotten_later(store):
    fill = begin(store)
    fill.append(b"x")
    fill.abandon()
    upkeep = Upkeep(store)

    assert upkeep.clear_grave(NOW + 10**6, PORTION) == NONE_LEFT
    assert upkeep.sweep_orphans(is_alive, NOW + 100, 60) == 2
    assert store.progress_of(ask().key) is not None
    assert upkeep.clear_grave(NOW + 101, PORTION) == 1
    assert upkeep.sweep_orphans(is_alive, NOW + 161, 60) == 1
    assert store.progress_of(ask().key) is None


def test_old_purges_are_forgotten_unless_a_fill_is_under_way(store):
    begin(store, at=NOW)
    store.mark_stale(ask().key, NOW)
    store.mark_stale(ask("/y").key, NOW)
    upkeep = Upkeep(store)

    assert upkeep.sweep_orphans(is_alive, NOW + 59, 60) == 0
    assert upkeep.sweep_orphans(is_alive, NOW + 61, 60) == 1
    assert upkeep.sweep_orphans(is_alive, NOW + 61, 60) == 0


def test_the_snapshot_of_a_killed_reader_is_freed(folder):
    def die_reading():
        other = Store.open(folder, 32 * MIB)
        txn = other._begin()
        txn.get(b"x")
        os.kill(os.getpid(), signal.SIGKILL)

    other = Elsewhere(die_reading)
    store = Store.open(folder, 32 * MIB)
    assert other.run() == -signal.SIGKILL

    assert Upkeep(store).reap_readers() == 1
    store.close()


@pytest.mark.parametrize("length", [1, 1500, 9000, 200_000])
@pytest.mark.parametrize("size", [1 * MIB, 4 * MIB, 8 * MIB])
def test_a_store_filled_to_the_brim_can_be_emptied_again(folder, size, length):
    """Deleting needs free pages: a database without any could never be written again."""
    store = Store.open(folder, size)
    upkeep = Upkeep(store)
    number = refused = 0
    while refused < 10:
        number += 1
        refused += not isinstance(store.put(draft(f"/{number}"), os.urandom(length)), Copy)
    full = store.used()
    gone = 0
    while rows := upkeep.rows(0, 8, lambda _: 0):
        assert upkeep.evict([row[0] for row in rows], NOW) == len(rows)
        gone += len(rows)

    assert full > evict.usable(size) * 0.7
    assert gone == number - refused
    assert store.used() < 10 * 4096
    assert upkeep.wished() > length
    assert upkeep.wished() == 0
    assert faults(store) == []
    store.close()
