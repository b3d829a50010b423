"""The keeper: room before anybody asks for it, and an end when it is told."""

from __future__ import annotations

import os
import select
from types import SimpleNamespace

import pytest

from edge.cache import evict
from edge.cache.audit import faults
from edge.cache.copy import Copy
from edge.cache.keeper import EXPIRE_S, LOOK_S, SOONEST_S, Keeper, main
from edge.cache.store import Store
from edge.cache.storing import Unstored, not_stored
from edge.share.bells import Bells
from edge.share.channel import Channel, Word
from edge.share.counters import Counters
from edge.share.recency import Recency
from edge.share.scoreboard import Scoreboard
from edge.share.stamps import Stamps
from tests.cache.conftest import MIB
from tests.cache.kit import NOW, ask
from tests.cache.test_store import bodies_of, draft, put


class Clock:
    def __init__(self):
        self.now = 0.0

    def mono(self):
        return self.now

    def wall(self):
        return NOW + self.now


@pytest.fixture
def clock():
    return Clock()


def run(keeper) -> int:
    return sum(1 for _ in keeper.work())


def test_nothing_is_due_in_a_store_with_room(store, clock):
    put(store)
    keeper = Keeper(store, lambda _: 0, clock)
    run(keeper)

    assert keeper.evicted == 0
    assert bodies_of(store) == [b"hello"]
    assert keeper.rest_s() == pytest.approx(evict.high(store.size) / 400e6, rel=0.1)


def test_above_the_high_mark_the_least_recently_used_go_until_the_low_one(folder, clock):
    store = Store.open(folder, 8 * MIB)
    recency = Recency()
    body = os.urandom(20_000)
    number = 0
    while store.used() <= evict.high(store.size):
        put(store, f"/{number}", body=body, at=NOW + number)
        number += 1
    hot = store.copies(ask("/0").key)[0]
    recency.touch(hot.copy_id, int(NOW) + 10**6)
    keeper = Keeper(store, recency.read, clock)

    assert keeper.rest_s() == SOONEST_S
    run(keeper)

    assert store.used() == pytest.approx(evict.low(store.size), rel=0.02)
    stays = [n for n in range(number) if bodies_of(store, f"/{n}")]
    assert stays == [0, *range(number - len(stays) + 1, number)]
    assert keeper.evicted == number - len(stays)
    assert faults(store) == []
    store.close()


def test_what_was_refused_for_want_of_room_finds_some_when_it_comes_again(folder, clock):
    store = Store.open(folder, 16 * MIB)
    keeper = Keeper(store, lambda _: 0, clock)
    for number in range(40):
        copy = store.put(draft(f"/{number}", at=NOW + number), os.urandom(MIB))
        if not isinstance(copy, Copy):
            assert copy == not_stored(Unstored.STORE_FULL)
            run(keeper)
            put(store, f"/{number}", body=os.urandom(MIB), at=NOW + number)

    assert len(bodies_of(store, "/39")) == 1
    assert bodies_of(store, "/1") == []
    assert faults(store) == []
    store.close()


def test_a_storm_of_writes_finds_room_again_and_again_and_the_size_is_kept(folder, clock):
    store = Store.open(folder, 4 * MIB)
    keeper = Keeper(store, lambda _: 0, clock)
    stored = 0
    for number in range(3000):
        stored += isinstance(store.put(draft(f"/{number}", at=NOW + number), os.urandom(7000)), Copy)
        if number % 10 == 0:
            clock.now += 0.02
            run(keeper)

    assert stored == 3000
    assert keeper.evicted > 2000
    assert (folder / "data.mdb").stat().st_size <= 4 * MIB
    assert faults(store) == []
    store.close()


def test_now_and_then_what_nobody_can_use_any_more_expires(store, clock):
    put(store, "/dead", fields={"cache-control": "s-maxage=5"})
    put(store, "/alive", fields={"cache-control": "max-age=86400"})
    counted = []
    keeper = Keeper(store, lambda _: 0, clock, counted.append)
    clock.now = EXPIRE_S - 1
    run(keeper)
    assert bodies_of(store, "/dead") == [b"hello"]

    clock.now = evict.OF_USE_S + 60
    run(keeper)

    assert bodies_of(store, "/dead") == []
    assert bodies_of(store, "/alive") == [b"hello"]
    assert (keeper.expired, keeper.evicted) == (1, 0)
    assert sum(counted) == 1


def test_a_broken_store_is_left_alone(store, clock):
    keeper = Keeper(store, lambda _: 0, clock)
    store.is_broken = True

    assert run(keeper) == 0
    assert keeper.rest_s() == LOOK_S


@pytest.fixture
def pair():
    ends = Channel.pair()
    yield ends
    for end in ends:
        end.close()


def heritage(folder, theirs):
    scoreboard = Scoreboard(2)
    return SimpleNamespace(
        slot=1,
        config=SimpleNamespace(cache=SimpleNamespace(path=folder, size=4 * MIB), server=SimpleNamespace(hang_s=30.0)),
        scoreboard=scoreboard,
        row=scoreboard.row(1),
        stamps=Stamps(),
        recency=Recency(),
        bells=Bells(2),
        counters=Counters(("other", "evicted"), 2),
        evicted_at=1,
        channel=theirs,
    )


def fork_main(inherited, ours) -> int:
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            ours.sock.close()
            code = main(inherited)
        finally:
            os._exit(code)
    inherited.channel.sock.close()
    select.select([ours], [], [], 10)
    return pid


@pytest.mark.parametrize("how", ["told", "abandoned"])
def test_it_says_ready_and_leaves_when_it_is_told_or_its_master_is_gone(folder, how, pair):
    ours, theirs = pair
    inherited = heritage(folder, theirs)
    pid = fork_main(inherited, ours)
    message = ours.receive_nowait()
    assert message is not None
    assert message.word is Word.READY
    assert not inherited.row.ready
    if how == "told":
        ours.send(Word.LEAVE)
    else:
        ours.close()

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert '"clean"' in (folder / "state").read_text()


def test_it_makes_room_for_another_process(folder, pair):
    ours, theirs = pair
    inherited = heritage(folder, theirs)
    pid = fork_main(inherited, ours)
    store = Store.open(folder, 4 * MIB)
    asked = refused = 0
    while asked < 1500:
        copy = store.put(draft(f"/{asked}", at=NOW + asked), os.urandom(7000))
        if isinstance(copy, Copy):
            asked += 1
        else:
            refused += 1
            select.select([], [], [], 0.002)
            assert refused < 5000
    ours.send(Word.LEAVE)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    assert faults(store) == []
    assert inherited.counters.slot(1)[1] > 500  # of some 9 MiB, 4 stay
    assert inherited.counters.total(0) == 0
    store.close()


def test_a_store_that_cannot_be_opened_is_said_on_the_channel(folder, pair):
    (folder / "file").write_text("")
    ours, theirs = pair
    inherited = heritage(folder / "file", theirs)

    assert main(inherited) == 1
    message = ours.receive_nowait()
    assert message is not None
    assert message.word is Word.FAILED
    assert b"cannot be opened" in message.payload


def test_its_logs_go_on_in_the_files_the_master_has_opened_anew(folder, tmp_path, pair):
    """What was written to the old number lands in the new file, and nothing holds the old file any more."""
    ours, theirs = pair
    inherited = heritage(folder, theirs)
    old, new = (os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("old", "new"))
    inherited.logs = {"errors": old}
    ours.send(Word.REOPEN_LOGS, b"errors", [new])
    ours.send(Word.LEAVE)
    before = set(os.listdir("/proc/self/fd"))

    assert main(inherited) == 0
    os.write(old, b"said after")
    assert (tmp_path / "new").read_bytes() == b"said after"
    assert (tmp_path / "old").read_bytes() == b""
    assert len(before) >= len(os.listdir("/proc/self/fd"))
    os.close(old)
    os.close(new)
