"""One worker's memory: believed while the stamp stands, bounded, and never holding what it has let go."""

from __future__ import annotations

import msgspec

from edge.exchange import memory as module
from edge.exchange.decision import Serve
from edge.exchange.memory import GONE, Memory
from edge.reply.prepared import prepare
from edge.share.recency import Recency
from tests.cache import kit

STAMP = 7


def serve(copy_id=1, size=1000, stamp=STAMP, coding=b"identity"):
    copy = kit.stored({"cache-control": "max-age=60"})
    copy.copy_id = copy_id
    prepared = prepare(
        200, [], bytes(size), age_base_wall=0.0, fresh_until_wall=60.0, date_wall=0.0, encoding=coding, copy_id=copy_id
    )
    return Serve(prepared, copy, False, "", stamp)


def test_what_was_kept_is_found_by_copy_and_coding():
    memory = Memory(100_000)
    kept = serve(3, coding=b"br")
    memory.keep(b"br", kept)

    assert kept is memory.ready(kept.copy, b"br", STAMP)
    assert memory.ready(kept.copy, b"gzip", STAMP) is None
    assert memory.ready(serve(4).copy, b"br", STAMP) is None


def test_what_the_store_still_says_after_a_change_is_believed_again():
    """A purge of everything like it changes every stamp; what it did not hit need not be made anew."""
    memory = Memory(100_000)
    kept = serve()
    memory.keep(b"identity", kept)
    same = msgspec.structs.replace(kept.copy)

    assert kept is memory.ready(same, b"identity", STAMP + 1)
    assert STAMP + 1 == kept.stamp
    assert kept.copy is same


def test_a_copy_that_has_changed_is_not_taken_for_what_it_was():
    """A 304, or a soft purge, leaves a copy its id."""
    memory = Memory(100_000)
    kept = serve()
    memory.keep(b"identity", kept)
    softer = msgspec.structs.replace(kept.copy, lifetime_s=1.0)

    assert memory.ready(softer, b"identity", STAMP) is None
    assert STAMP == kept.stamp


def test_a_copy_read_nobody_knows_when_makes_nobody_believe_anything():
    memory = Memory(100_000)
    kept = serve()
    memory.keep(b"identity", kept)

    assert kept is memory.ready(msgspec.structs.replace(kept.copy), b"identity", None)
    assert STAMP == kept.stamp


def test_what_is_let_go_for_room_is_marked():
    """A head remembers a prepared copy too, and must not keep its bytes in use."""
    memory = Memory(30_000)
    served = [serve(number, 4000) for number in range(8)]
    for one in served:
        assert memory.keep(b"identity", one)

    gone = [one for one in served if one.stamp == GONE]

    assert served[: len(gone)] == gone
    assert 0 < len(gone) < 8
    assert memory.used <= 30_000


def test_what_was_used_lately_stays():
    memory = Memory(30_000)
    first = serve(0, 4000)
    memory.keep(b"identity", first)
    for number in range(1, 8):
        memory.keep(b"identity", serve(number, 4000))
        assert first is memory.ready(first.copy, b"identity", STAMP)


def test_what_is_replaced_is_marked():
    memory = Memory(100_000)
    old, new = serve(stamp=1), serve(stamp=2)
    memory.keep(b"identity", old)
    memory.keep(b"identity", new)

    assert (GONE, 2) == (old.stamp, new.stamp)
    assert new is memory.ready(new.copy, b"identity", 2)
    assert memory.used == new.prepared.size


def test_one_copy_takes_no_more_than_a_quarter():
    memory = Memory(40_000)

    assert not memory.keep(b"identity", serve(size=10_001))
    assert (0, 10_000) == (memory.used, memory.largest)


def test_a_memory_of_nothing_keeps_nothing():
    memory = Memory(0)

    assert not memory.keep(b"identity", serve(size=0))


def test_copies_are_known_while_the_stamp_stands():
    memory = Memory(0)
    copies = [kit.stored({"cache-control": "max-age=60"})]
    memory.learn(b"key", STAMP, copies)

    assert copies is memory.known(b"key", STAMP)
    assert memory.known(b"key", STAMP + 1) is None
    assert memory.known(b"other", STAMP) is None


def test_that_nothing_is_stored_is_not_worth_remembering():
    """Else a scan through addresses that do not exist would push out what is used."""
    memory = Memory(0)
    memory.learn(b"key", STAMP, [])

    assert memory.known(b"key", STAMP) is None


def test_the_keys_known_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "KNOWN_KEYS", 3)
    memory = Memory(0)
    copies = [kit.stored({"cache-control": "max-age=60"})]
    for number in range(5):
        memory.learn(b"%d" % number, STAMP, copies)

    assert [b"2", b"3", b"4"] == [key for number in range(5) if memory.known(key := b"%d" % number, STAMP)]


def test_the_uses_of_what_is_let_go_are_not_lost():
    recency = Recency(16)
    memory = Memory(30_000, recency)
    served = [serve(number, 4000) for number in range(8)]
    for one in served:
        one.uses = 2
        memory.keep(b"identity", one)
    gone = [one for one in served if one.stamp == GONE]

    assert gone
    assert {2} == {recency.uses(one.copy.copy_id) for one in gone}
    assert {0} == {one.uses for one in gone}


def test_what_heads_serve_by_themselves_is_not_let_go_before_what_nobody_uses():
    """A hit does not come by here: only its uses say that it was."""
    memory = Memory(30_000, Recency(16))
    served = [serve(number, 4000) for number in range(6)]
    for one in served[:5]:
        memory.keep(b"identity", one)
    served[0].uses = 3
    memory.keep(b"identity", served[5])
    memory.count()
    for number in range(6, 9):
        served[0].uses += 1
        memory.count()
        memory.keep(b"identity", serve(number, 4000))

    assert STAMP == served[0].stamp
    assert GONE == served[1].stamp


def test_when_all_are_in_use_one_is_let_go_all_the_same():
    memory = Memory(30_000, Recency(16))
    served = [serve(number, 1) for number in range(200)]
    for one in served:
        one.uses = 1
        assert memory.keep(b"identity", one)

    assert memory.used <= 30_000
    assert GONE == served[0].stamp
