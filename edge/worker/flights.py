"""
Fetches under way: who fetches a key for the whole node, and how others share what lands.

Of all workers one holds the claim on a key and flies; the others, and other exchanges of the same worker, join: they read
what has landed, from the pieces kept at hand or from the store, and sleep until more has. A flight of this worker is told
to its joiners directly; one of another worker is looked at in the store when our bell rings. Nobody polls, and a claim
dies with its process, so nobody waits for the dead.

States of a :class:`Flight`

    ASKED     nothing is known yet; ``draft`` is None
    LANDING   the head is known and the reply is being stored; ``draft`` and what has landed may be read
    LANDED    complete; all of it may be read
    OVER      nothing (more) can be read from it: it was not storable, failed, or lies in the store as a copy

Invariant: a joiner that has begun to send can always go on to the end or learns that there is none (``fault``).
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final

import trio

from edge.cache.fill import FillState
from edge.errors import OriginFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.cache.copy import Copy
    from edge.cache.store import Store
    from edge.cache.storing import Unstored
    from edge.errors import Fault
    from edge.share.bells import Bells
    from edge.share.claims import Claims

AT_HAND: Final = 16
"""Pieces (of up to 64 KiB) of a flight that are kept in memory for its joiners, so that these need not read the store."""

PIECE: Final = 64 * 1024
"""Most bytes read from the store at once."""

_WISH: Final = 0x2A1F_7C35_93D8_4E66
"""Turns the number of a key into another: below 2⁶³, and none that anybody claims but by chance."""

BACKSTOP_S: Final = 5.0
"""A joiner looks again after this long even if nobody rang: a bell lost with a killed process costs no more."""


class State(Enum):
    """How far a flight is; see above."""

    ASKED = "asked"
    LANDING = "landing"
    LANDED = "landed"
    OVER = "over"


class Flight:
    """
    One fetch on behalf of a key.

    Attributes:
        key, hash: whose.
        is_ours: this worker fetches.
        draft: what the reply will be when stored.
        body_id: of the body in the store, 0 if none is written.
        landed: bytes; the first ``stored`` of them can be read from the store.
        fault: why it will not be complete, if it broke off while landing.
        followers: exchanges that wait for another worker's flight.
        unstored: why it goes on without the store, if it does, for those who read it already: they get pieces from memory, and
            hold it back if they are slow.
    """

    # Defaults live on the class, and what most flights have no use for is made when it is first wanted.
    draft: Copy | None = None
    body_id = 0
    landed = 0
    stored = 0
    fault: Fault | None = None
    unstored: Unstored | None = None
    followers = 0
    _at_hand: OrderedDict[int, bytes] | None = None
    _readers: set[Reader] | None = None
    _lot: trio.lowlevel.ParkingLot | None = None

    def __init__(self, key: bytes, key_hash: int, *, is_ours: bool) -> None:
        self.key = key
        self.hash = key_hash
        self.is_ours = is_ours
        self.state = State.ASKED

    def __repr__(self) -> str:
        return (
            f"<Flight {'ours' if self.is_ours else 'theirs'} {self.state.value} "
            f"landed={self.landed} readers={len(self._readers or ())}>"
        )

    def begin(self, draft: Copy, body_id: int) -> None:
        """The head is known, and the body begins to land."""
        self.draft = draft
        self.body_id = body_id
        self.state = State.LANDING
        self.changed()

    def land(self, data: bytes) -> None:
        """One more piece has landed."""
        at_hand = self._at_hand
        if at_hand is None:
            at_hand = self._at_hand = OrderedDict()
        at_hand[self.landed] = data
        self.landed += len(data)
        if not self.unstored:
            self.stored = self.landed
        if not self.unstored and len(at_hand) > AT_HAND:
            at_hand.popitem(last=False)
        self.changed()

    def end(self, state: State, fault: Fault | None = None) -> None:
        """Nothing more will land."""
        if self.state is not State.OVER and self.state is not State.LANDED:
            self.state = state
            self.fault = fault
        self.changed()

    def changed(self) -> None:
        """Let everyone look."""
        if self._lot:
            self._lot.unpark_all()

    async def change(self) -> None:
        """Wait until something has changed, or for BACKSTOP_S."""
        with trio.move_on_after(BACKSTOP_S):
            await self._park()

    async def _park(self) -> None:
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        await self._lot.park()

    async def room(self) -> bool:
        """(Unstored) Wait until the slowest reader has left fewer than AT_HAND pieces; False if nobody reads any more."""
        while self._readers:
            slowest = min(reader.at for reader in self._readers)
            at_hand: dict[int, bytes] = self._at_hand or {}
            for start in [start for start in at_hand if start < slowest]:
                del at_hand[start]
            if len(at_hand) < AT_HAND:
                return True
            await self._park()
        return False

    def seat(self, store: Store | None) -> Reader:
        """Make a reader from the first piece on. It counts as one at once, and until :meth:`leave`."""
        reader = Reader(self, store)
        if self._readers is None:
            self._readers = set()
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """*reader* reads no more: nothing is held back for it."""
        if self._readers is not None:
            self._readers.discard(reader)
        self.changed()

    @contextmanager
    def reading(self, store: Store | None) -> Iterator[Reader]:
        """Read from the first piece on, while the block lasts."""
        reader = self.seat(store)
        try:
            yield reader
        finally:
            self.leave(reader)

    @property
    def has_readers(self) -> bool:
        """Whether anybody of this worker reads it."""
        return bool(self._readers)

    def at_hand(self, start: int) -> bytes | None:
        """Return the piece that begins at *start*, if it is kept in memory."""
        return None if self._at_hand is None else self._at_hand.get(start)


class Reader:
    """One exchange's way through a flight's body."""

    __slots__ = ("_flight", "_store", "at")

    def __init__(self, flight: Flight, store: Store | None) -> None:
        self._flight = flight
        self._store = store
        self.at = 0

    def next_nowait(self) -> bytes | None:
        """
        Return the next piece; b"" at the end; None: nothing has landed yet.

        Raises:
            Fault: the flight broke off.
        """
        flight = self._flight
        if self.at < flight.landed:
            data = flight.at_hand(self.at)
            if data is None and self._store is not None and self.at < flight.stored:
                data = self._store.read(flight.body_id, self.at, min(flight.stored, self.at + PIECE))
            if data is None:
                raise OriginFault("what had landed is gone from the store", word="http_response_incomplete")
            self.at += len(data)
            if flight.unstored:
                flight.changed()
            return data
        if flight.state is State.LANDED:
            return b""
        if flight.state is State.OVER:
            raise flight.fault or OriginFault("the fetch broke off", word="http_response_incomplete")
        return None

    async def next(self) -> bytes:
        """Wait for the next piece; b"" at the end."""
        while True:
            data = self.next_nowait()
            if data is not None:
                return data
            await self._flight.change()


def _wish(key_hash: int) -> int:
    """Return the number by which a worker shows that it follows another's flight of a key."""
    return key_hash ^ _WISH


class Flights:
    """
    The flights this worker knows of, its own and those it has joined.

    Args:
        claims: this process's, on keys.
        store: where others' flights are looked at.
        bells, slot: how we are woken, and wake.
    """

    __slots__ = ("_bells", "_lot", "_slot", "_store", "claims", "known")

    def __init__(self, claims: Claims, store: Store, bells: Bells, slot: int) -> None:
        self.claims = claims
        self.known: dict[int, Flight] = {}
        self._store = store
        self._bells = bells
        self._slot = slot
        self._lot = trio.lowlevel.ParkingLot()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Be counted among those who are rung for. Look once more at what is waited for, then wait for :meth:`rung`."""
        self._bells.waiting(self._slot, +1)
        try:
            yield
        finally:
            self._bells.waiting(self._slot, -1)

    async def rung(self) -> None:
        """Wait until anything has been rung for."""
        with trio.move_on_after(BACKSTOP_S):
            await self._lot.park()

    def take_off(self, key: bytes, key_hash: int) -> Flight | None:
        """Claim the key for this worker; None if somebody has it."""
        if not self.claims.claim(key_hash):
            return None
        if (followed := self.known.pop(key_hash, None)) is not None:
            self._see(followed, is_flying=False)  # its flier gave the key back; our bell has not told us yet
        flight = Flight(key, key_hash, is_ours=True)
        self.known[key_hash] = flight
        return flight

    def touch_down(self, flight: Flight) -> None:
        """Give the key back. What has been stored is visible before anybody is woken."""
        if self.known.get(flight.hash) is flight:
            del self.known[flight.hash]
            self.claims.release(flight.hash)
            self.ring()

    def ring(self) -> None:
        """Tell everyone that something has landed or ended."""
        if self._lot:
            self._lot.unpark_all()
        self._bells.ring_all()

    @contextmanager
    def joined(self, key: bytes, key_hash: int) -> Iterator[Flight]:
        """
        Follow the flight that has the key, here or in another worker, while the block lasts.

        One that has the hash but another key brings nothing: it is OVER from the start.
        """
        flight = self.known.get(key_hash)
        if flight is None:
            flight = self.known[key_hash] = Flight(key, key_hash, is_ours=False)
        elif flight.key != key:
            flight = Flight(key, key_hash, is_ours=True)
            flight.end(State.OVER)
        if flight.is_ours:
            yield flight
            return
        self._bells.waiting(self._slot, +1)
        if not flight.followers:
            self.claims.show(_wish(key_hash))
        flight.followers += 1
        try:
            self.look(flight)
            yield flight
        finally:
            self._bells.waiting(self._slot, -1)
            flight.followers -= 1
            if not flight.followers:
                self.claims.hide(_wish(key_hash))
                self._forget(flight)

    def is_wanted(self, flight: Flight) -> bool:
        """Whether anybody waits for a flight of ours, here or in another worker."""
        return flight.has_readers or self.claims.is_shown(_wish(flight.hash))

    def heard(self) -> None:
        """Our bell has rung: look at every flight of another worker."""
        self._bells.clear(self._slot)
        self._lot.unpark_all()
        for flight in list(self.known.values()):
            if not flight.is_ours:
                self.look(flight)

    def look(self, flight: Flight) -> None:
        """See in the store how far another worker's flight is."""
        self._see(flight, is_flying=self.claims.holder(flight.hash) is not None)

    def _see(self, flight: Flight, *, is_flying: bool) -> None:
        """Look, after the claim: what was stored before it was given back is then seen."""
        progress = self._store.progress_of(flight.key)
        if not flight.body_id:
            if progress is not None and progress.state is FillState.FILLING and is_flying:
                view = self._store.fill_of(flight.key)
                if view is not None:
                    flight.begin(view.copy, view.body_id)
                    progress = view.progress
            elif not is_flying:
                self._over(flight)
        if not flight.body_id:
            return
        if progress is None or progress.body_id != flight.body_id:
            self._over(flight, OriginFault("the fetch was given up", word="http_response_incomplete"))
            return
        if progress.landed_bytes > flight.landed:
            flight.landed = flight.stored = progress.landed_bytes
            flight.changed()
        if progress.state is FillState.DONE:
            flight.end(State.LANDED)
            self._forget(flight)
        elif progress.state is FillState.FAILED or not is_flying:
            self._over(flight, OriginFault("the fetch broke off", word="http_response_incomplete"))

    def _over(self, flight: Flight, fault: Fault | None = None) -> None:
        flight.end(State.OVER, fault)
        self._forget(flight)

    def _forget(self, flight: Flight) -> None:
        if self.known.get(flight.hash) is flight:
            del self.known[flight.hash]
