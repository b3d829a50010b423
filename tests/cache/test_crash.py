"""Killed at any point, the store stays what it promises: every copy in it is whole, byte for byte."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from edge.cache.audit import faults
from edge.cache.copy import IDENTITY, decode_copies
from edge.cache.fill import Fill, is_alive
from edge.cache.store import Store
from edge.cache.storing import NotStored
from edge.cache.upkeep import NONE_LEFT, PORTION, Upkeep
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask
from tests.cache.test_store import draft, pattern

SIZE = 16 * MIB


def body_for(number: int) -> bytes:
    """A body that tells whose it is, of a length that tells too."""
    return b"%06d" % number + pattern(random.Random(number).choice((10, 3000, 9000, 300_000)))


def write_for_ever(folder, seed: int) -> None:
    chance = random.Random(seed)
    store = Store.open(folder, SIZE)
    upkeep = Upkeep(store)
    at = NOW + seed
    while True:
        at += 0.001
        number = chance.randrange(100_000)
        copy = draft(f"/{number % 40}", at=at)
        body = body_for(number)
        match chance.randrange(10):
            case 0:
                store.delete(copy.key, at)
            case 1:
                store.mark_stale(copy.key, at)
            case 2:
                upkeep.evict([row[0] for row in upkeep.rows(0, 5, lambda _: 0)], at)
            case 3:
                upkeep.clear_grave(at, PORTION)
            case 4 | 5 | 6:
                fill = store.begin_fill(copy)
                if isinstance(fill, Fill):
                    for start in range(0, len(body), 50_000):
                        fill.append(body[start : start + 50_000])
                    if chance.randrange(5):
                        fill.commit()
                    else:
                        fill.abandon()
            case _:
                kept = store.put(copy, body, variants={b"br": b"b" + body[:6]})
                if not isinstance(kept, NotStored):
                    store.add_variant(kept, b"gzip", b"g" + body[:6])


def check(folder) -> int:
    """Read every stored body and compare it with what it must be; returns how many there were."""
    store = Store.open(folder, SIZE)
    assert store.note is None
    assert faults(store) == []
    found = 0
    with store._begin() as txn:
        copies = [copy for _, data in txn.cursor(store._records.copies) for copy in decode_copies(data)]
    for copy in copies:
        body = store.read_whole(copy.bodies[IDENTITY])
        assert body is not None
        assert body == body_for(int(body[:6]))
        for coding, ref in copy.bodies.items():
            if coding != IDENTITY:
                assert store.read_whole(ref) == coding[:1] + body[:6]
        found += 1
    upkeep = Upkeep(store)
    while upkeep.sweep_orphans(is_alive, NOW + 10**6, 60):
        pass
    while upkeep.clear_grave(NOW + 10**7, PORTION) != NONE_LEFT:
        pass
    assert faults(store) == []
    store.close()
    return found


@pytest.mark.slow
def test_two_writers_killed_at_random_points_leave_nothing_half_done(folder):
    chance = random.Random(7)
    found = 0
    for turn in range(40):
        pids = []
        for writer in range(2):
            pid = os.fork()
            if pid == 0:
                try:
                    write_for_ever(folder, turn * 2 + writer)
                finally:
                    os._exit(99)
            pids.append(pid)
        time.sleep(0.02 + chance.random() * 0.05)  # not a wait for anything: the moment of the kill is the point
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        found += check(folder)

    assert found > 40


def test_a_writer_killed_between_any_two_of_its_writes_leaves_the_copy_before_or_the_copy_after(folder, monkeypatch):
    """Fault points: the process dies before the n-th write of a transaction, for every n."""
    import lmdb

    from edge.cache.store import Store as Opened

    store = Opened.open(folder, SIZE)
    store.put(draft("/x"), b"before" * 1000)
    store.close()
    deaths = 0
    for point in range(1, 30):
        pid = os.fork()
        if pid == 0:
            opened = Opened.open(folder, SIZE)
            records = opened._records
            count = [0]

            class Dying:
                def __init__(self, txn):
                    self.txn = txn

                def __getattr__(self, name):
                    method = getattr(self.txn, name)
                    if name in {"put", "delete", "commit"}:
                        count[0] += 1
                        if count[0] == point:
                            os.kill(os.getpid(), signal.SIGKILL)
                    return method

            begin = opened._begin
            opened._begin = lambda **how: Dying(begin(**how)) if how.get("write") else begin(**how)
            assert records is not None
            kept = opened.put(draft("/x", at=NOW + point), b"after%d" % point * 1000)
            os._exit(0 if not isinstance(kept, NotStored) else 1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        deaths += code == -signal.SIGKILL
        opened = Opened.open(folder, SIZE)
        assert faults(opened) == []
        [copy] = opened.copies(ask("/x").key)
        body = opened.read_whole(copy.bodies[IDENTITY])
        assert body is not None
        assert body == (b"before" * 1000 if code else b"after%d" % point * 1000)
        opened.delete(ask("/x").key, NOW - 100)
        opened.put(draft("/x"), b"before" * 1000)
        opened.close()
        if code == 0:
            break

    assert deaths >= 5
    assert lmdb is not None
