"""
Fetches under way: who has a key, what can be read of its body, and how those in other workers learn of it.

The store and the bells are real; a claim is a line in a book that the workers of a test share, since those of one process
cannot refuse each other.
"""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edge.cache.fill import FillState, Progress
from edge.cache.store import Store
from edge.cache.storing import Unstored
from edge.errors import OriginFault
from edge.share.bells import Bells
from edge.share.claims import ClaimsPage
from edge.worker.flights import AT_HAND, BACKSTOP_S, PIECE, Flight, Flights, State
from tests.cache import kit
from tests.cache.conftest import folder, store  # noqa: F401 - fixtures, used by name
from tests.exchange.kit import MIB

KEY, HASH = kit.ask().key, kit.ask().hash
FIELDS = {"cache-control": "max-age=60"}


class Book:
    """Who has which number, for the workers of one test."""

    def __init__(self, entries, name):
        self._entries = entries
        self._name = name

    def claim(self, number):
        return self._entries.setdefault(number, self._name) == self._name and self._own(number)

    def _own(self, number):
        if (self._name, number) in self._entries:
            return False
        self._entries[self._name, number] = True
        return True

    def release(self, number):
        assert self._entries.pop(number) == self._name
        del self._entries[self._name, number]

    def holder(self, number):
        return self._entries.get(number)

    def show(self, number):
        self._entries["shown", number, self._name] = True

    def hide(self, number):
        del self._entries["shown", number, self._name]

    def is_shown(self, number):
        return any(
            entry[:2] == ("shown", number) and entry[2] != self._name
            for entry in self._entries
            if isinstance(entry, tuple)
        )


@pytest.fixture
def two(store):  # noqa: F811 - it is the fixture
    """Two workers of one node; every bell that is rung is heard by :func:`hear`."""
    entries = {}
    bells = Bells(2)
    store._bells = bells
    return [Flights(Book(entries, slot), store, bells, slot) for slot in range(2)]


def hear(*workers):
    for worker in workers:
        worker.heard()


def draft(length=0):
    return kit.stored(FIELDS, length=length)


async def all_of(reader):
    got = b""
    while data := await reader.next():
        got += data
    return got


# -- states --------------------------------------------------------------------------------------------------


def test_a_flight_begins_knowing_nothing():
    flight = Flight(KEY, HASH, is_ours=True)

    assert (State.ASKED, None, 0, 0) == (flight.state, flight.draft, flight.body_id, flight.landed)
    assert "<Flight ours asked landed=0 readers=0>" == repr(flight)


def test_a_flight_whose_head_is_known_lands():
    flight = Flight(KEY, HASH, is_ours=True)
    head = draft()
    flight.begin(head, 16)
    flight.land(b"one")

    assert (State.LANDING, head, 16, 3) == (flight.state, flight.draft, flight.body_id, flight.landed)


@pytest.mark.parametrize("first", [State.LANDED, State.OVER])
@pytest.mark.parametrize("then", [State.LANDED, State.OVER])
def test_a_flight_ends_once(first, then):
    """Whoever flies ends it in a finally, too."""
    flight = Flight(KEY, HASH, is_ours=True)
    fault = OriginFault("broken")
    flight.begin(draft(), 16)
    flight.end(first, fault)
    flight.end(then)

    assert (first, fault) == (flight.state, flight.fault)


# -- reading -------------------------------------------------------------------------------------------------


async def test_pieces_are_read_as_they_land(nursery):
    flight = Flight(KEY, HASH, is_ours=True)
    flight.begin(draft(), 0)
    got = []

    async def read():
        with flight.reading(None) as reader:
            while data := await reader.next():
                got.append(data)
            got.append("end")

    nursery.start_soon(read)
    for piece in (b"one", b"two"):
        await wait_all_tasks_blocked()
        flight.land(piece)
    await wait_all_tasks_blocked()
    assert [b"one", b"two"] == got

    flight.end(State.LANDED)
    await wait_all_tasks_blocked()
    assert [b"one", b"two", "end"] == got
    assert "readers=0" in repr(flight)


def test_not_waiting_says_what_there_is():
    flight = Flight(KEY, HASH, is_ours=True)
    flight.begin(draft(), 0)
    with flight.reading(None) as reader:
        assert reader.next_nowait() is None

        flight.land(b"one")
        assert (b"one", None) == (reader.next_nowait(), reader.next_nowait())

        flight.end(State.LANDED)
        assert b"" == reader.next_nowait()


def test_what_has_landed_can_be_read_though_the_flight_broke_off():
    flight = Flight(KEY, HASH, is_ours=True)
    flight.begin(draft(), 0)
    flight.land(b"one")
    flight.end(State.OVER, OriginFault("cut", word="http_response_incomplete"))
    with flight.reading(None) as reader:
        assert b"one" == reader.next_nowait()
        with pytest.raises(OriginFault, match="cut"):
            reader.next_nowait()


def test_a_flight_that_broke_off_without_a_word_is_incomplete():
    flight = Flight(KEY, HASH, is_ours=True)
    flight.end(State.OVER)
    with flight.reading(None) as reader, pytest.raises(OriginFault) as told:
        reader.next_nowait()

    assert "http_response_incomplete" == told.value.word


def test_a_late_reader_reads_the_beginning_from_the_store(store):  # noqa: F811
    flight = Flight(KEY, HASH, is_ours=True)
    fill = store.begin_fill(draft())
    flight.begin(fill.copy, fill.body_id)
    pieces = [bytes([number]) * 1000 for number in range(AT_HAND + 5)]
    for piece in pieces:
        fill.append(piece)
        flight.land(piece)
    flight.end(State.LANDED)
    assert flight.at_hand(0) is None

    with flight.reading(store) as reader:
        got = b""
        while data := reader.next_nowait():
            assert len(data) <= PIECE
            got += data
    assert b"".join(pieces) == got


def test_what_is_gone_from_the_store_breaks_the_reply_off():
    flight = Flight(KEY, HASH, is_ours=True)
    flight.begin(draft(), 0)
    for _ in range(AT_HAND + 1):
        flight.land(b"piece")
    with flight.reading(None) as reader, pytest.raises(OriginFault, match="gone from the store"):
        reader.next_nowait()


# -- without the store ---------------------------------------------------------------------------------------


def unstored(pieces):
    flight = Flight(KEY, HASH, is_ours=True)
    flight.begin(draft(), 0)
    flight.unstored = True
    for number in range(pieces):
        flight.land(b"%02d" % number)
    return flight


async def test_without_the_store_nothing_is_dropped_before_everyone_has_read_it():
    flight = unstored(2 * AT_HAND)
    with flight.reading(None) as reader:
        flight.end(State.LANDED)

        assert b"".join(b"%02d" % number for number in range(2 * AT_HAND)) == await all_of(reader)


async def test_without_the_store_the_slowest_reader_holds_the_flight_back(nursery):
    flight = unstored(AT_HAND)
    done = []

    async def wait():
        done.append(await flight.room())

    with flight.reading(None) as quick, flight.reading(None) as slow:
        nursery.start_soon(wait)
        for _ in range(AT_HAND):
            quick.next_nowait()
        await wait_all_tasks_blocked()
        assert [] == done

        slow.next_nowait()
        await wait_all_tasks_blocked()
        assert [True] == done
        assert (None, b"01") == (flight.at_hand(0), flight.at_hand(2))


async def test_without_the_store_a_reader_that_leaves_holds_nobody_back(nursery):
    flight = unstored(AT_HAND)
    done = []

    async def wait():
        done.append(await flight.room())

    with flight.reading(None) as quick:
        for _ in range(AT_HAND):
            quick.next_nowait()
        with flight.reading(None):
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert [] == done
        await wait_all_tasks_blocked()

    assert [True] == done


async def test_without_the_store_and_without_readers_there_is_no_use_in_flying(nursery):
    flight = unstored(AT_HAND)
    done = []

    async def wait():
        done.append(await flight.room())

    with flight.reading(None):
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()

    assert [False] == done
    assert not await unstored(0).room()


# -- whose key it is -----------------------------------------------------------------------------------------


def test_one_worker_flies(two):
    ours, theirs = two
    flight = ours.take_off(KEY, HASH)

    assert flight.is_ours
    assert (None, None) == (ours.take_off(KEY, HASH), theirs.take_off(KEY, HASH))


def test_a_key_that_was_given_back_can_be_taken(two):
    ours, theirs = two
    ours.touch_down(ours.take_off(KEY, HASH))

    assert theirs.take_off(KEY, HASH).is_ours
    assert {} == ours.known


def test_a_key_is_given_back_once(two):
    """Whoever gave it back early must not take it from the next who has it."""
    ours, _ = two
    first = ours.take_off(KEY, HASH)
    ours.touch_down(first)
    second = ours.take_off(KEY, HASH)
    ours.touch_down(first)

    assert second is ours.known[HASH]
    assert ours.take_off(KEY, HASH) is None


def test_giving_back_rings_for_those_who_wait(two):
    ours, theirs = two
    flight = ours.take_off(KEY, HASH)
    with theirs.waiting():
        ours.touch_down(flight)
        assert 1 == os.eventfd_read(theirs._bells.fd(1))
    ours.touch_down(ours.take_off(KEY, HASH))
    with pytest.raises(BlockingIOError):
        os.eventfd_read(theirs._bells.fd(1))


def test_who_joins_in_the_same_worker_gets_the_flight_itself(two):
    ours, _ = two
    flight = ours.take_off(KEY, HASH)
    with ours.joined(KEY, HASH) as joined:
        assert joined is flight
        assert not ours._bells.is_waiting(0)


def test_another_key_of_the_same_hash_is_not_joined(two):
    """Someone may look for two addresses that share a hash; neither must be answered with the other's reply."""
    ours, theirs = two
    flight = ours.take_off(KEY, HASH)
    with ours.joined(b"another", HASH) as joined:
        assert (True, State.OVER) == (joined is not flight, joined.state)
    with theirs.joined(KEY, HASH), theirs.joined(b"another", HASH) as joined:
        assert State.OVER is joined.state
    assert flight is ours.known[HASH]


# -- another worker's flight ---------------------------------------------------------------------------------


def test_nothing_is_known_of_anothers_flight_before_its_head(two):
    ours, theirs = two
    ours.take_off(KEY, HASH)
    with theirs.joined(KEY, HASH) as seen:
        assert (State.ASKED, False) == (seen.state, seen.is_ours)
        assert theirs._bells.is_waiting(1)
    assert ({}, False) == (theirs.known, theirs._bells.is_waiting(1))


def test_those_who_join_one_flight_of_another_look_at_it_together(two):
    ours, theirs = two
    ours.take_off(KEY, HASH)
    with theirs.joined(KEY, HASH) as one:
        with theirs.joined(KEY, HASH) as other:
            assert (True, 2) == (one is other, one.followers)
        assert theirs.known == {HASH: one}


def test_anothers_flight_is_seen_to_land(two, store):  # noqa: F811
    ours, theirs = two
    ours.take_off(KEY, HASH)
    with theirs.joined(KEY, HASH) as seen, seen.reading(store) as reader:
        fill = store.begin_fill(draft(6))
        hear(theirs)
        assert (State.LANDING, 6, fill.body_id) == (seen.state, seen.draft.length, seen.body_id)

        fill.append(b"one")
        hear(theirs)
        assert (b"one", None) == (reader.next_nowait(), reader.next_nowait())

        fill.append(b"two")
        fill.commit()
        hear(theirs)
        assert (State.LANDED, b"two", b"") == (seen.state, reader.next_nowait(), reader.next_nowait())
        assert {} == theirs.known


def test_who_joins_late_sees_all_that_has_landed(two, store):  # noqa: F811
    ours, theirs = two
    ours.take_off(KEY, HASH)
    fill = store.begin_fill(draft())
    fill.append(b"one")
    with theirs.joined(KEY, HASH) as seen:
        assert (State.LANDING, 3) == (seen.state, seen.landed)


def test_a_flight_that_brought_nothing_readable_is_over(two):
    """It was not storable, or was stored in one go: whoever joined looks for himself."""
    ours, theirs = two
    flight = ours.take_off(KEY, HASH)
    with theirs.joined(KEY, HASH) as seen:
        ours.touch_down(flight)
        hear(theirs)
        assert (State.OVER, None) == (seen.state, seen.draft)
        assert {} == theirs.known


@pytest.mark.parametrize("how", ["abandoned", "killed", "another took its place"])
def test_a_flight_that_is_given_up_breaks_off(two, store, how):  # noqa: F811
    ours, theirs = two
    flight = ours.take_off(KEY, HASH)
    fill = store.begin_fill(draft())
    fill.append(b"one")
    with theirs.joined(KEY, HASH) as seen, seen.reading(store) as reader:
        assert b"one" == reader.next_nowait()
        if how == "abandoned":
            fill.abandon(Unstored.TRUNCATED)
        elif how == "killed":
            ours.claims.release(HASH)
        else:
            fill.abandon()
            store.begin_fill(draft())
        hear(theirs)

        with pytest.raises(OriginFault) as told:
            reader.next_nowait()
        assert "http_response_incomplete" == told.value.word
        assert {} == theirs.known
    assert flight.is_ours


def test_a_fill_of_earlier_is_not_the_flight_that_is_joined(two, store):  # noqa: F811
    ours, theirs = two
    earlier = store.begin_fill(draft())
    earlier.append(b"old")
    earlier.commit()
    ours.take_off(KEY, HASH)
    with theirs.joined(KEY, HASH) as seen:
        assert State.ASKED is seen.state


@pytest.mark.parametrize("stored", [True, False])
def test_who_takes_the_key_over_tells_those_who_followed_the_one_before(two, store, stored):  # noqa: F811
    """Their bell has rung and not been heard yet; afterwards nobody would look at that flight any more."""
    ours, theirs = two
    flight = ours.take_off(KEY, HASH)
    with theirs.joined(KEY, HASH) as seen:
        if stored:
            fill = store.begin_fill(draft())
            fill.append(b"one")
            hear(theirs)
            fill.commit()
        ours.touch_down(flight)
        taken = theirs.take_off(KEY, HASH)

        assert (State.LANDED if stored else State.OVER) is seen.state
        assert taken is theirs.known[HASH]
    assert taken is theirs.known[HASH]
    hear(theirs)
    theirs.touch_down(taken)
    assert {} == theirs.known


# -- waking --------------------------------------------------------------------------------------------------


async def test_everyone_who_waits_looks_when_the_bell_rings(two, nursery):
    _, theirs = two
    woken = []

    async def wait():
        with theirs.waiting():
            await theirs.rung()
            woken.append(True)

    nursery.start_soon(wait)
    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    hear(theirs)
    await wait_all_tasks_blocked()

    assert [True, True] == woken
    assert not theirs._bells.is_waiting(1)


async def test_a_bell_that_is_lost_costs_some_seconds(two, autojump_clock):
    _, theirs = two
    before = trio.current_time()
    await theirs.rung()
    await Flight(KEY, HASH, is_ours=False).change()

    assert 2 * BACKSTOP_S == trio.current_time() - before


# -- with real claims ----------------------------------------------------------------------------------------


def test_a_flier_that_is_killed_is_noticed(folder):  # noqa: F811
    """The master gives back its claims; the fill it leaves behind is nobody's."""
    told, tell = os.pipe()
    leave, stay = os.pipe()
    page = ClaimsPage(2)
    child = os.fork()
    if not child:
        try:
            theirs = Store.open(folder / "store", 32 * MIB)
            assert page.of(1).claim(HASH)
            fill = theirs.begin_fill(draft())
            fill.append(b"one")
            os.write(tell, b"!")
            os.read(leave, 1)
        finally:
            os._exit(0)
    assert b"!" == os.read(told, 1)
    ours = Store.open(folder / "store", 32 * MIB)
    claims = page.of(0)
    flights = Flights(claims, ours, Bells(1), 0)
    try:
        assert flights.take_off(KEY, HASH) is None
        with flights.joined(KEY, HASH) as seen, seen.reading(ours) as reader:
            assert (State.LANDING, b"one") == (seen.state, reader.next_nowait())
            os.kill(child, 9)
            os.waitpid(child, 0)
            page.clear(1)  # as the master does
            hear(flights)
            assert State.OVER is seen.state
            with pytest.raises(OriginFault):
                reader.next_nowait()
        assert flights.take_off(KEY, HASH).is_ours
        assert FillState.FILLING is ours.progress_of(KEY).state
        assert isinstance(ours.progress_of(KEY), Progress)
    finally:
        claims.close()
        ours.close()
        for fd in (told, tell, leave, stay):
            os.close(fd)
