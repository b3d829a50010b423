"""What is put is found, by every process, until something newer takes its place."""

from __future__ import annotations

import os

import lmdb
import msgspec
import pytest

from edge.cache.audit import faults
from edge.cache.copy import IDENTITY, Copy
from edge.cache.fill import FillState
from edge.cache.records import MOST_VARIANTS, WHOLE_BYTES
from edge.cache.refresh import refresh
from edge.cache.store import Store
from edge.cache.storing import NotStored, Unstored, may_store, not_stored
from edge.message.head import Framing, ReplyHead
from edge.share.recency import Recency
from edge.share.stamps import Stamps
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask, fields_of, reply, stored


def draft(target="/x", *, at=NOW, fields=None, asked=None) -> Copy:
    return stored({"cache-control": "max-age=60", "etag": '"a"', **(fields or {})}, at=at, asked=asked or ask(target))


def put(store, target="/x", body=b"hello", **more) -> Copy:
    copy = store.put(draft(target, **more), body)
    assert isinstance(copy, Copy), copy
    return copy


def pattern(length: int) -> bytes:
    return (b"%08d" * (length // 8 + 1) % tuple(range(length // 8 + 1)))[:length] if length else b""


def bodies_of(store, target="/x") -> list[bytes | None]:
    return [store.read_whole(copy.bodies[IDENTITY]) for copy in store.copies(ask(target).key)]


class Elsewhere:
    """
    A process that does *work* when it is let go.

    It is forked at once, so make it before this process opens the store: an open environment must not be carried over a fork.
    """

    def __init__(self, work):
        self._wait, self._start = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                os.read(self._wait, 1)
                code = work() or 0
            finally:
                os._exit(code)

    def run(self) -> int:
        """Let it go; returns its exit code, or minus the signal that ended it."""
        os.write(self._start, b".")
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._start)
        os.close(self._wait)
        return code


def in_another_process(work) -> int:
    """Do *work* in another process now; this one must not have a store open."""
    return Elsewhere(work).run()


def test_what_is_put_is_found(store):
    copy = put(store, body=b"hello")

    assert store.copies(copy.key) == [copy]
    assert store.read_whole(copy.bodies[IDENTITY]) == b"hello"
    assert (copy.length, copy.copy_id > 0) == (5, True)
    assert store.copies(ask("/y").key) == []
    assert faults(store) == []


@pytest.mark.parametrize("length", [0, 1, 2000, 4079, 4080, 4081, 8160, 65536, WHOLE_BYTES, WHOLE_BYTES + 1, 3 * MIB])
def test_a_body_of_any_length_is_read_whole_or_in_part(store, length):
    body = pattern(length)
    ref = put(store, body=body).bodies[IDENTITY]

    assert ref.length == length
    assert store.read_whole(ref) == body
    for start, end in ((0, 1), (0, 4080), (1, length), (4079, 4082), (length // 2, length), (length - 1, length)):
        if 0 <= start < end <= length:
            assert store.read(ref.body_id, start, end) == body[start:end]
    assert store.read(ref.body_id, 5, 5) == b""
    assert store.read(ref.body_id, max(0, length - 1), length + 1) is None
    assert faults(store) == []


def test_a_body_that_is_gone_is_none(store):
    assert store.read(12345, 0, 1) is None


def test_a_newer_reply_takes_the_place_of_the_older(store):
    old = put(store, body=b"old")
    new = put(store, body=b"new", at=NOW + 1)

    assert bodies_of(store) == [b"new"]
    assert new.copy_id > old.copy_id
    assert store.read_whole(old.bodies[IDENTITY]) is None
    assert faults(store) == []


def test_superseded(store):
    put(store, body=b"new", at=NOW + 1)

    assert store.put(draft(at=NOW), b"old") == not_stored(Unstored.SUPERSEDED)
    assert bodies_of(store) == [b"new"]
    assert faults(store) == []


def test_replies_for_other_selecting_fields_lie_side_by_side(store):
    for value in "12":
        put(store, body=value.encode(), fields={"vary": "foo"}, asked=ask(fields={"foo": value}))
    put(store, body=b"1b", fields={"vary": "foo"}, asked=ask(fields={"foo": "1"}), at=NOW + 1)

    assert sorted(bodies_of(store)) == [b"1b", b"2"]
    assert faults(store) == []


def test_of_too_many_variants_the_oldest_goes(store):
    for number in range(MOST_VARIANTS + 3):
        put(store, body=b"%d" % number, fields={"vary": "foo"}, asked=ask(fields={"foo": str(number)}), at=NOW + number)

    assert len(bodies_of(store)) == MOST_VARIANTS
    assert b"0" not in bodies_of(store)
    assert faults(store) == []


def test_codings_may_be_put_at_once_or_added(store):
    copy = store.put(draft(), b"hello", variants={b"br": b"h"})
    assert isinstance(copy, Copy)

    grown = store.add_variant(copy, b"gzip", b"hh")

    assert grown is not None
    assert [store.read_whole(grown.bodies[coding]) for coding in (IDENTITY, b"br", b"gzip")] == [b"hello", b"h", b"hh"]
    assert store.copies(copy.key) == [grown]
    assert store.add_variant(copy, b"gzip", b"other") == grown
    assert faults(store) == []


def test_a_coding_is_not_added_to_another_body(store):
    old = put(store, body=b"old")
    put(store, body=b"new", at=NOW + 1)

    assert store.add_variant(old, b"br", b"o") is None
    assert faults(store) == []


def test_a_304_updates_a_copy_in_place(store):
    copy = put(store)
    told = ReplyHead(304, fields_of({"cache-control": "max-age=900"}))
    fresh = refresh(ask(), copy, told, request_wall=NOW + 5, response_wall=NOW + 5).copy

    updated = store.update(copy, fresh)

    assert updated is not None
    assert (updated.copy_id, updated.lifetime_s) == (copy.copy_id, 900)
    assert store.copies(copy.key) == [updated]
    assert bodies_of(store) == [b"hello"]


def test_an_update_keeps_codings_added_meanwhile(store):
    copy = put(store)
    store.add_variant(copy, b"br", b"h")

    updated = store.update(copy, msgspec.structs.replace(copy, lifetime_s=1.0))

    assert updated is not None
    assert set(updated.bodies) == {IDENTITY, b"br"}


def test_an_update_of_what_is_gone_changes_nothing(store):
    copy = put(store)
    store.forget(copy, NOW)

    assert store.update(copy, copy) is None
    assert bodies_of(store) == []
    assert faults(store) == []


def test_delete_removes_all_variants_and_says_how_many(store):
    for value in "12":
        put(store, fields={"vary": "foo"}, asked=ask(fields={"foo": value}))

    assert store.delete(ask().key, NOW + 1) == 2
    assert store.delete(ask().key, NOW + 1) == 0
    assert bodies_of(store) == []
    assert faults(store) == []


def test_mark_stale_makes_every_copy_invalid(store):
    put(store)

    assert store.mark_stale(ask().key, NOW + 1) == 1
    assert [copy.is_invalid for copy in store.copies(ask().key)] == [True]


@pytest.mark.parametrize("purge", [Store.delete, Store.mark_stale])
def test_purged(store, purge):
    """What was asked for before a purge is not stored after it, by any way in; what is asked for later is."""
    fill = store.begin_fill(draft())
    copy = put(store, at=NOW - 1)
    purge(store, ask().key, NOW)

    assert store.put(draft(at=NOW), b"x") == not_stored(Unstored.PURGED)
    assert store.begin_fill(draft(at=NOW)) == not_stored(Unstored.PURGED)
    assert store.update(copy, msgspec.structs.replace(copy, request_wall=NOW)) is None
    assert fill.commit() == not_stored(Unstored.PURGED)
    assert isinstance(store.put(draft(at=NOW + 1), b"new"), Copy)
    assert faults(store) == []


def test_what_a_post_answered_outlives_the_invalidation_by_its_own_success(store):
    post = ask(method="POST", framing=Framing.LENGTH, length=1)
    store.mark_stale(post.key, NOW + 1)
    told = reply(200, {"cache-control": "max-age=60", "content-location": "/x"})
    copy = may_store(post, told, request_wall=NOW, response_wall=NOW + 1)

    assert isinstance(copy, Copy)
    assert isinstance(store.put(copy, b"hello"), Copy)


def test_an_older_reply_may_replace_one_that_is_invalid(store):
    put(store, at=NOW)
    store.mark_stale(ask().key, NOW + 1)

    assert isinstance(store.put(draft(at=NOW + 2), b"new"), Copy)
    assert bodies_of(store) == [b"new"]


def test_every_change_stamps_its_key_after_it_and_no_other(folder):
    stamps = Stamps()
    store = Store.open(folder, 32 * MIB, stamps=stamps)
    hashed, other = ask("/x").hash, ask("/y").hash
    seen = [stamps.read(hashed)]

    def changed() -> bool:
        seen.append(stamps.read(hashed))
        return seen[-1] != seen[-2]

    copy = put(store)
    assert changed()
    assert store.add_variant(copy, b"br", b"h") is not None
    assert changed()
    assert store.update(copy, copy) is not None
    assert changed()
    fill = store.begin_fill(draft(at=NOW + 1))
    assert not isinstance(fill, NotStored)
    fill.append(b"x")
    assert not changed()
    fill.commit()
    assert changed()
    store.mark_stale(copy.key, NOW + 2)
    assert changed()
    store.delete(copy.key, NOW + 3)
    assert changed()
    store.copies(copy.key)
    assert store.put(draft(at=NOW), b"x") == not_stored(Unstored.PURGED)
    assert not changed()
    assert stamps.read(other) == 0
    store.close()


def test_a_new_copy_counts_as_used(folder):
    recency = Recency()
    store = Store.open(folder, 32 * MIB, recency=recency)

    assert recency.read(put(store).copy_id) == int(NOW)
    store.close()


def test_store_full_is_a_value_and_the_file_never_outgrows_its_size(folder):
    size = 4 * MIB
    store = Store.open(folder, size)
    body = os.urandom(50_000)
    refused = 0
    for number in range(200):
        refused += store.put(draft(f"/{number}"), body) == not_stored(Unstored.STORE_FULL)

    assert refused > 100
    assert store.used() <= size
    assert (folder / "data.mdb").stat().st_size <= size
    assert bodies_of(store, "/0") == [body]
    assert faults(store) == []
    assert store.delete(ask("/0").key, NOW) == store.delete(ask("/1").key, NOW) == 1
    assert isinstance(store.put(draft("/new"), body), Copy)
    store.close()


def test_store_full_in_the_middle_of_a_fill_abandons_it(folder):
    store = Store.open(folder, 2 * MIB)
    fill = store.begin_fill(draft())
    assert not isinstance(fill, NotStored)
    outcomes = [fill.append(os.urandom(100_000)) for _ in range(40)]

    assert outcomes[0] is None
    assert not_stored(Unstored.STORE_FULL) in outcomes
    assert fill.commit() == not_stored(Unstored.STORE_FULL)
    assert bodies_of(store) == []
    assert faults(store) == []
    store.close()


def test_what_cannot_fit_is_refused_before_it_begins(folder):
    store = Store.open(folder, 2 * MIB)
    huge = msgspec.structs.replace(draft(), length=3 * MIB)

    assert store.begin_fill(huge) == not_stored(Unstored.TOO_LARGE)
    store.close()


def test_lmdb_s_own_refusal_of_room_is_the_same_value(store, monkeypatch):
    def full(*_):
        raise lmdb.MapFullError("full")

    monkeypatch.setattr("edge.cache.records.Records.place", full)

    assert store.put(draft(), b"x") == not_stored(Unstored.STORE_FULL)
    assert not store.is_broken
    assert faults(store) == []


def test_store_broken(store, monkeypatch, folder):
    """Damage found while in use: misses and refusals from then on, and word for whoever opens the store next."""
    copy = put(store)

    def damaged(*_):
        raise lmdb.CorruptedError("a page is not what it was")

    monkeypatch.setattr("edge.cache.records.Records.read_copies", damaged)

    assert store.delete(copy.key, NOW) == not_stored(Unstored.STORE_BROKEN)
    assert store.is_broken
    assert "a page is not what it was" in store.damage
    assert store.put(draft(at=NOW + 9), b"x") == not_stored(Unstored.STORE_BROKEN)
    assert (folder / "damage").exists()


def test_a_record_that_does_not_decode_is_damage(store):
    with store._begin(write=True) as txn:
        txn.put(ask().key, b"\xc1junk", db=store._records.copies)

    assert store.copies(ask().key) == []
    assert store.is_broken


def test_processes_see_each_other_s_copies(folder):
    def writer():
        store = Store.open(folder, 32 * MIB)
        put(store, "/theirs", body=b"theirs")
        store.close()

    def reader():
        other = Store.open(folder, 32 * MIB)
        return 0 if bodies_of(other, "/theirs") == [b"theirs"] and bodies_of(other, "/ours") == [b"ours"] else 1

    first, second = Elsewhere(writer), Elsewhere(reader)
    store = Store.open(folder, 32 * MIB)
    assert first.run() == 0
    put(store, "/ours", body=b"ours")

    assert bodies_of(store, "/theirs") == [b"theirs"]
    assert second.run() == 0
    store.close()


def test_processes_see_each_other_s_fills_as_they_land(folder):
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = Store.open(folder, 32 * MIB)
        fill = store.begin_fill(draft())
        for part in (b"hel", b"lo" * 3000):
            fill.append(part)
            os.write(from_child, b".")
            os.read(to_child, 1)
        fill.commit()
        os.write(from_child, b".")
        os.read(to_child, 1)
        os._exit(0)
    store = Store.open(folder, 32 * MIB)
    landed = []
    for _ in range(3):
        os.read(to_parent, 1)
        view = store.fill_of(ask().key)
        assert view is not None
        assert store.progress_of(ask().key) == view.progress
        landed.append((view.state, store.read(view.body_id, 0, view.landed_bytes)))
        os.write(from_parent, b".")
    os.waitpid(pid, 0)

    assert landed == [
        (FillState.FILLING, b"hel"),
        (FillState.FILLING, b"hel" + b"lo" * 3000),
        (FillState.DONE, b"hel" + b"lo" * 3000),
    ]
    assert bodies_of(store) == [b"hel" + b"lo" * 3000]
    store.close()
    for fd in (to_child, from_parent, to_parent, from_child):
        os.close(fd)
