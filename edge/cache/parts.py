"""
A copy of which parts are stored: how one begins, grows, and becomes whole.

It is an ordinary copy in every respect (its key, its variants, its lifetime, purges, eviction, what a 304 does to it), but that
``spans`` says which bytes of its body are there. Who sends from it looks first. The bytes of a part are committed together
with its span: whoever is killed loses what he had not committed, and leaves nothing to be cleared away.

Decides neither what is asked of the origin (:mod:`~edge.cache.spans`) nor what may be put together (:mod:`~edge.cache.combine`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edge.cache import evict, spans
from edge.cache.combine import may_combine, validator_of
from edge.cache.copy import IDENTITY, BodyRef
from edge.cache.fill import FillState, is_alive
from edge.cache.key import key_hash
from edge.cache.storing import NotStored, Unstored, not_stored

if TYPE_CHECKING:
    import lmdb

    from edge.cache.copy import Copy
    from edge.cache.store import Store


class Parts:
    """The parts in *store*."""

    __slots__ = ("_records", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = store._records

    def slice_bytes(self, length: int = 0) -> int:
        """Return how long the slices of a body of *length* are (0: it is not known)."""
        return spans.slice_bytes(self._records.chunk_bytes, length)

    def latest(self, copy: Copy) -> Copy | None:
        """Return the copy that has the same bytes as *copy* under its key now: with more spans, whole, or gone."""
        mark = validator_of(copy)
        for other in self._store.copies(copy.key):
            if other.copy_id == copy.copy_id:
                return other
            if other.vary == copy.vary and other.length == copy.length and validator_of(other) == mark:
                return other
        return None

    def begin(self, copy: Copy) -> Copy | NotStored:
        """
        Begin a copy that parts will be stored of.

        Args:
            copy: from :func:`edge.cache.storing.may_store`, of the whole that :func:`edge.cache.combine.as_whole` gives.

        Returns:
            The copy as stored, without a byte; or the one of the same bytes that is there already; or why not: PARTIAL, if its parts
            cannot be told to belong together.
        """
        if not may_combine(copy):
            return not_stored(Unstored.PARTIAL)
        if copy.length > evict.largest(self._store.size):
            return not_stored(Unstored.TOO_LARGE)
        mark = validator_of(copy)
        hashes = [key_hash(copy.key)]
        room = self.slice_bytes(copy.length)

        def change(txn: lmdb.Transaction) -> Copy | NotStored:
            refused = self._records.lacks_room(txn, min(room, copy.length))
            if refused is not None:
                return refused
            for other in self._records.read_copies(txn, copy.key):
                if other.vary == copy.vary and other.length == copy.length and validator_of(other) == mark:
                    hashes.clear()
                    return other
            number = txn.id()
            bodies = {IDENTITY: BodyRef(number << 4, copy.length)}
            return self._records.place(txn, msgspec.structs.replace(copy, copy_id=number, bodies=bodies, spans=()))

        placed = self._store._wished(min(room, copy.length), self._store._changed(hashes, change))
        return self._store._touched(placed) if hashes else placed

    def land(self, copy: Copy, start: int, data: bytes | memoryview, request_wall: float) -> Copy | NotStored:
        """
        Store bytes of *copy* that were missing.

        Args:
            copy: as it was seen last.
            start: where they belong: a multiple of the store's ``chunk_bytes``.
            data: up to a multiple of that, or to the body's end.
            request_wall: when they were asked for. What was asked for before a purge is not stored after it.

        Returns:
            The copy as it is now, whole if these were the last that were missing; or why they were not stored: PURGED, if it is gone.
        """
        hashes: list[int] = []

        def change(txn: lmdb.Transaction) -> Copy | NotStored:
            copies = self._records.read_copies(txn, copy.key)
            mine = next((other for other in copies if other.copy_id == copy.copy_id), None)
            if mine is None or mine.bodies[IDENTITY] != copy.bodies[IDENTITY]:
                return not_stored(Unstored.PURGED)
            if mine.spans is None:
                return mine
            refused = self._records.refusal(txn, msgspec.structs.replace(mine, request_wall=request_wall))
            refused = refused or self._records.lacks_room(txn, len(data))
            if refused is not None:
                return refused
            body = mine.bodies[IDENTITY]
            self._records.write_part(txn, body.body_id, start, data)
            there = spans.added(mine.spans, start, start + len(data))
            is_whole = there == ((0, body.length),)
            if is_whole:
                hashes.append(key_hash(copy.key))
            grown = msgspec.structs.replace(mine, spans=None if is_whole else there)
            self._records.write_copies(txn, copy.key, [grown if other is mine else other for other in copies])
            self._records.note_size(txn, grown)
            return grown

        return self._store._wished(len(data), self._store._changed(hashes, change))

    def adopt(self, key: bytes) -> None:
        """Make a copy of what a process that is dead has left of a fill of *key*, without waiting for the keeper to do so."""
        seen = self._store.progress_of(key)
        if seen is None or seen.state is not FillState.FILLING or is_alive(seen):
            return

        def change(txn: lmdb.Transaction) -> None:
            if txn.get(key, None, self._records.fills) == seen.write() and self._records.adopt(txn, key, seen):
                txn.put(key, seen.ended(FillState.FAILED).write(), db=self._records.fills)

        self._store._changed((key_hash(key),), change)
