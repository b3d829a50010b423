"""
A thousand deaths: whoever writes to a store is killed, over and over, and every copy in it stays what it was.

Two writers and the real keeper share a store that is always full. Time and again one of them dies, the others working on: of
SIGKILL at any moment, or by its own hand right before its n-th put, delete or commit. Now and then all die at once. After
each death the store is read as a whole, the living writing on: every row and chunk accounted for, every body, in every
coding, compared with what its key says it must be.

How often: ``EDGE_KILLS=1000 pytest -m long tests/cache/test_soak.py -s``. Without the variable it is not run.
"""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections import Counter

import pytest

from edge.cache import evict
from edge.cache.audit import _faults
from edge.cache.copy import IDENTITY, decode_copies
from edge.cache.fill import Fill, is_alive
from edge.cache.keeper import Keeper
from edge.cache.parts import Parts
from edge.cache.store import Store
from edge.cache.storing import NotStored
from edge.cache.upkeep import NONE_LEFT, PORTION, Upkeep
from edge.clock import SYSTEM
from edge.share.bells import Bells
from edge.share.recency import Recency
from edge.share.stamps import Stamps
from tests.cache.conftest import MIB
from tests.cache.kit import ask
from tests.cache.test_store import draft

KILLS = int(os.environ.get("EDGE_KILLS", "0"))
SIZE = 8 * MIB
KEYS = 400
WRITERS = 2
PIECE = 50_000
PART = 16 * 4080


def body_for(number: int) -> bytes:
    """A body that begins with whose it is; the rest, its length too, follows from that and is like no other's."""
    chance = random.Random(number)
    return b"%06d" % number + chance.randbytes(chance.choice((10, 3000, 9000, 40_000, 300_000)))


class Dying:
    """A transaction whose process dies right before its n-th step."""

    def __init__(self, txn, steps: list[int]):
        self._txn = txn
        self._steps = steps

    def __getattr__(self, name):
        if name in {"put", "delete", "commit"}:
            self._steps[0] -= 1
            if self._steps[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._txn, name)


def doom(store: Store, steps: int) -> None:
    """Have this process die before its *steps*-th step, in whatever transaction that is."""
    begin, left = store._begin, [steps]
    store._begin = lambda **how: Dying(begin(**how), left) if how.get("write") else begin(**how)


def write(store: Store, recency: Recency, seed: int) -> None:
    chance = random.Random(seed)
    parts = Parts(store)
    while True:
        number = chance.randrange(100_000)
        body = body_for(number)
        now = time.time()
        copy = draft(f"/{number % KEYS}", at=now, fields={"etag": f'"{number}"'})
        copy.length = len(body)
        match chance.randrange(14):
            case 0:
                store.delete(copy.key, now)
            case 1:
                store.mark_stale(copy.key, now)
            case 2:
                for other in store.copies(copy.key):
                    recency.touch(other.copy_id, int(now))
                    store.update(other, other)
            case 3 | 4 | 5 | 6:
                fill = store.begin_fill(copy)
                if isinstance(fill, Fill):
                    for start in range(0, len(body), PIECE):
                        fill.append(body[start : start + PIECE])
                    if chance.randrange(5):
                        fill.commit()
                    else:
                        fill.abandon()
            case 7 | 8:
                begun = parts.begin(copy)
                starts = list(range(0, len(body), PART))
                chance.shuffle(starts)
                for start in starts[chance.randrange(2) :]:
                    if not isinstance(begun, NotStored):
                        begun = parts.land(begun, start, body[start : start + PART], now)
            case _:
                kept = store.put(copy, body, variants={b"br": b"b" + body[:6]})
                if not isinstance(kept, NotStored):
                    store.add_variant(kept, b"gzip", b"g" + body[:6])


class Hasty:
    """A clock on which the keeper is always due for everything."""

    def mono(self) -> float:
        return SYSTEM.mono() * 1000

    def wall(self) -> float:
        return SYSTEM.wall()


def keep(store: Store, recency: Recency) -> None:
    keeper = Keeper(store, recency.read, Hasty())
    while True:
        for _ in keeper.work():
            pass


def spawn(folder, shared, role: str, seed: int, steps: int | None) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            store = Store.open(folder, SIZE, **shared)
            assert store.note is None
            if steps is not None:
                doom(store, steps)
            if role == "keeper":
                keep(store, shared["recency"])
            else:
                write(store, shared["recency"], seed)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(99)
    return pid


def audit(folder, *, settled: bool) -> tuple[int, int, int]:
    """Read all there is, in one snapshot; returns how many copies, bytes of bodies, and how many copies are in part. *settled*: nobody else is there."""
    store = Store.open(folder, SIZE)
    assert store.note is None
    copies = read = in_part = 0
    with store._begin(buffers=True) as txn:
        assert list(_faults(store, txn)) == []
        assert store._records.used(txn) <= SIZE
        for key, data in txn.cursor(store._records.copies):
            for copy in decode_copies(data):
                number = int(copy.etag.strip(b'"'))
                assert bytes(key) == ask(f"/{number % KEYS}").key
                body = body_for(number)
                assert len(body) == copy.length
                for start, end in ((0, len(body)),) if copy.spans is None else copy.spans:
                    assert body[start:end] == store._records.read(txn, copy.bodies[IDENTITY].body_id, start, end)
                    read += end - start
                for coding, ref in copy.bodies.items():
                    if coding != IDENTITY:
                        assert body_in(store, txn, ref) == coding[:1] + body[:6]
                copies += 1
                in_part += copy.spans is not None
    if settled:
        upkeep = Upkeep(store)
        while upkeep.sweep_orphans(is_alive, time.time() + 10**6, 60):
            pass
        while upkeep.clear_grave(time.time() + 10**7, PORTION) != NONE_LEFT:
            pass
        with store._begin() as txn:
            assert list(_faults(store, txn)) == []
    store.close()
    return copies, read, in_part


def body_in(store, txn, ref) -> bytes:
    body = store._records.read(txn, ref.body_id, 0, ref.length)
    assert body is not None
    return body


def reap(pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == -signal.SIGKILL, code


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.skipif(not KILLS, reason="EDGE_KILLS says how many")
def test_every_copy_is_whole_after_each_of_many_deaths(folder):
    chance = random.Random(KILLS)
    shared = {"stamps": Stamps(), "recency": Recency(), "bells": Bells(WRITERS + 1)}
    alive: dict[str, int] = {}
    doomed: set[str] = set()
    deaths: Counter[str] = Counter()
    copies = read = seed = fullest = in_part = 0
    begun = time.monotonic()
    try:
        while deaths.total() < KILLS:
            for role in ("keeper", *(f"writer {number}" for number in range(WRITERS))):
                if role not in alive:
                    seed += 1
                    steps = chance.choice((None, None, chance.randrange(1, 40), chance.randrange(1, 400)))
                    alive[role] = spawn(folder, shared, role, seed, steps)
                    if steps is not None:
                        doomed.add(role)
            victim = chance.choice(sorted(alive))
            if victim not in doomed:
                time.sleep(chance.random() * 0.05)  # not a wait for anything: the moment of the kill is the point
                os.kill(alive[victim], signal.SIGKILL)
            reap(alive.pop(victim))
            deaths[f"{victim[:6]}, {'by its own hand' if victim in doomed else 'killed'}"] += 1
            doomed.discard(victim)
            settled = chance.randrange(20) == 0
            if settled:
                for role, pid in alive.items():
                    os.kill(pid, signal.SIGKILL)
                    deaths[f"{role[:6]}, with all others"] += 1
                for pid in alive.values():
                    reap(pid)
                alive.clear()
                doomed.clear()
            found = audit(folder, settled=settled)
            copies += found[0]
            read += found[1]
            fullest = max(fullest, found[1])
            in_part += found[2]
    finally:
        for pid in alive.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    print(
        f"\n{deaths.total()} deaths in {time.monotonic() - begun:.0f} s ({dict(sorted(deaths.items()))}); {copies} copies ({in_part} in part), "
        f"{read / 1e9:.1f} GB compared byte for byte; at most {fullest / SIZE:.0%} of the store in bodies at once"
    )

    assert fullest > evict.low(SIZE) / 2
    assert in_part or KILLS < 10
