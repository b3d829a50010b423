"""A body that is still arriving."""

from __future__ import annotations

import os

import msgspec
import pytest

from edge.cache.audit import faults
from edge.cache.copy import IDENTITY, Copy
from edge.cache.fill import Fill, FillState, Progress, is_alive, start_ticks
from edge.cache.records import WHOLE_BYTES
from edge.cache.store import Store
from edge.cache.storing import Unstored, not_stored
from tests.cache.kit import NOW, ask
from tests.cache.test_store import bodies_of, draft, in_another_process, pattern, put


def begin(store, **more) -> Fill:
    fill = store.begin_fill(draft(**more))
    assert isinstance(fill, Fill), fill
    return fill


@pytest.mark.parametrize("cut", [1, 700, 4079, 4080, 4081, 9000, 65536])
def test_what_is_appended_in_any_pieces_is_read_as_one(store, cut):
    body = pattern(4 * cut + 5)
    fill = begin(store)
    for start in range(0, len(body), cut):
        assert fill.append(body[start : start + cut]) is None
        assert store.read(fill.body_id, 0, fill.landed_bytes) == body[: start + cut]
    copy = fill.commit()

    assert isinstance(copy, Copy)
    assert copy.length == len(body)
    assert store.read_whole(copy.bodies[IDENTITY]) == body
    assert fill.is_over
    assert faults(store) == []


def test_a_fill_is_seen_with_its_head_from_its_first_byte(store):
    assert store.fill_of(ask().key) is None
    fill = begin(store)
    view = store.fill_of(ask().key)

    assert view is not None
    assert (view.state, view.landed_bytes, view.body_id) == (FillState.FILLING, 0, fill.body_id)
    assert view.copy == fill.copy
    assert store.copies(ask().key) == []


def test_an_empty_body_may_be_filled(store):
    copy = begin(store).commit()

    assert isinstance(copy, Copy)
    assert (copy.length, store.read_whole(copy.bodies[IDENTITY])) == (0, b"")
    assert faults(store) == []


def test_an_abandoned_fill_fails_and_what_landed_stays_for_a_while(store):
    fill = begin(store)
    fill.append(b"hell")
    fill.abandon(Unstored.TRUNCATED)

    progress = store.progress_of(ask().key)
    assert progress is not None
    assert progress.state is FillState.FAILED
    assert store.read(fill.body_id, 0, 4) == b"hell"
    assert store.copies(ask().key) == []
    assert faults(store) == []


def test_a_fill_that_is_over_takes_nothing_more(store):
    fill = begin(store)
    fill.abandon(Unstored.TRUNCATED)

    assert fill.append(b"x") == fill.commit() == not_stored(Unstored.TRUNCATED)
    fill.abandon(Unstored.TOO_LARGE)
    assert fill.refused == not_stored(Unstored.TRUNCATED)


def test_store_busy(store):
    """One fill of a key at a time, while its process lives."""
    fill = begin(store)

    assert store.begin_fill(draft()) == not_stored(Unstored.STORE_BUSY)
    fill.commit()
    begin(store, at=NOW + 1)


def test_a_fill_whose_process_died_gives_way(folder):
    def die_filling():
        begin(Store.open(folder, 32 << 20)).append(b"half")

    in_another_process(die_filling)
    store = Store.open(folder, 32 << 20)
    fill = begin(store)
    fill.append(b"whole")
    fill.commit()

    assert bodies_of(store) == [b"whole"]
    assert faults(store) == []
    store.close()


def test_a_small_reply_put_meanwhile_and_the_fill_both_find_their_place(store):
    fill = begin(store, at=NOW)
    put(store, body=b"small", at=NOW + 1)
    fill.append(b"large")

    assert fill.commit() == not_stored(Unstored.SUPERSEDED)
    assert bodies_of(store) == [b"small"]
    assert faults(store) == []


def test_a_long_body_that_is_replaced_stays_readable_for_downloads_under_way(store):
    body = pattern(WHOLE_BYTES + 1)
    old = put(store, body=body)
    put(store, body=b"new", at=NOW + 1)

    assert bodies_of(store) == [b"new"]
    assert store.read_whole(old.bodies[IDENTITY]) == body
    assert faults(store) == []


def test_bells_ring_when_a_fill_gets_on_or_ends(folder):
    class Bells:
        rung = 0

        def ring_all(self):
            self.rung += 1

    bells = Bells()
    store = Store.open(folder, 32 << 20, bells=bells)
    fill = begin(store)
    fill.append(b"x")
    assert bells.rung == 1
    fill.commit()
    assert bells.rung == 2
    begin(store, at=NOW + 1).abandon()
    assert bells.rung == 3
    store.close()


def test_the_record_is_read_as_it_was_written():
    progress = Progress(2**63, 123, 456, FillState.FILLING, 2**40, NOW)

    assert Progress.read(progress.write()) == progress
    assert progress.ended(FillState.DONE) == Progress(2**63, 123, 456, FillState.DONE, 2**40, 0.0)


def test_a_process_is_alive_while_it_is_the_same_process():
    mine = Progress(1, os.getpid(), start_ticks(os.getpid()) or 0, FillState.FILLING, 0, NOW)

    assert is_alive(mine)
    assert not is_alive(Progress(1, os.getpid(), 1, FillState.FILLING, 0, NOW))
    assert not is_alive(Progress(1, 2**22 + 1, 1, FillState.FILLING, 0, NOW))


def test_a_process_that_cannot_be_seen_is_alive_while_its_number_is_taken(monkeypatch):
    def invisible(pid):
        raise FileNotFoundError(pid)

    monkeypatch.setattr("edge.cache.fill.start_ticks", invisible)

    assert is_alive(Progress(1, os.getpid(), 1, FillState.FILLING, 0, NOW))
    assert is_alive(Progress(1, 1, 1, FillState.FILLING, 0, NOW))
    assert not is_alive(Progress(1, 2**22 + 1, 1, FillState.FILLING, 0, NOW))


def test_a_zombie_is_not_alive():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert start_ticks(pid) is None
    os.waitpid(pid, 0)


def test_a_draft_is_not_changed_by_its_fill(store):
    copy = draft()
    before = msgspec.structs.replace(copy)
    fill = store.begin_fill(copy)
    fill.append(b"hello")
    fill.commit()

    assert copy == before
