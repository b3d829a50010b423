"""
What the keeper does to the store, in portions that no request has to wait for.

Every call is one short transaction: while one process writes, the others that want to wait, and the keeper is the one with
the least right to keep them waiting. What takes long (a large body, a million rows) is called for again and again.

Decides how a portion is done; how many, and when, the keeper decides. Source: DESIGN §4 (the keeper).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import lmdb

from edge.cache import evict
from edge.cache.fill import FillState, Progress
from edge.cache.key import key_hash
from edge.cache.records import CHUNK, ID, ROOM, SIZE, SIZE_ROW, UNDATED, WHEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge.cache.store import Store

NONE_LEFT: Final = -1

PORTION: Final = 256
"""Records changed, or chunks removed, per transaction: well under a millisecond."""


class Upkeep:
    """The keeper's side of *store*."""

    __slots__ = ("_records", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = store._records

    def rows(self, after: int, limit: int, used: Callable[[int], int]) -> list[evict.Row]:
        """
        Return up to *limit* rows with ids above *after*, ascending.

        Args:
            after: the last id of the portion before, 0 to begin.
            limit: so many at most; the snapshot lives no longer than this.
            used: the second of a copy's last use, by id (:meth:`edge.share.recency.Recency.read`).
        """
        found: list[evict.Row] = []
        unpack = SIZE_ROW.unpack
        try:
            with self._store._begin() as txn, txn.cursor(self._records.sizes) as cursor:
                if cursor.set_range(ID.pack(after + 1)):
                    for raw, data in islice(cursor, limit):
                        copy_id = int.from_bytes(raw)
                        size, stored_s, dead_s = unpack(data)
                        used_s = used(copy_id)
                        found.append((copy_id, size, max(stored_s, used_s), dead_s, stored_s))
        except lmdb.Error as error:
            self._store._trouble(error)
        return found

    def evict(self, ids: Iterable[int], now_wall: float) -> int:
        """Remove copies by id, all in one transaction: keep the list short. Returns how many there were."""
        hashes: list[int] = []

        def change(txn: lmdb.Transaction) -> int:
            for copy_id in ids:
                row = txn.get(ID.pack(copy_id), None, self._records.sizes)
                if row is None:
                    continue
                key = SIZE.unpack(row)[0]
                kept = []
                for copy in self._records.read_copies(txn, key):
                    if copy.copy_id == copy_id:
                        self._records.remove(txn, copy, now_wall)
                    else:
                        kept.append(copy)
                txn.delete(ID.pack(copy_id), db=self._records.sizes)
                self._records.write_copies(txn, key, kept)
                hashes.append(key_hash(key))
            return len(hashes)

        count = self._store._changed(hashes, change)
        return count if isinstance(count, int) else 0

    def clear_grave(self, before_wall: float, limit: int) -> int:
        """
        Remove up to *limit* chunks of a body that was buried before *before_wall*.

        Returns:
            How many; fewer than *limit* means that this grave is cleared. NONE_LEFT if there is none to clear.
        """

        def change(txn: lmdb.Transaction) -> int:
            with txn.cursor(self._records.graves) as cursor:
                for raw, data in cursor:
                    if UNDATED < WHEN.unpack(data)[0] < before_wall:
                        return self._clear(txn, bytes(raw), limit)
            return NONE_LEFT

        count = self._store._changed((), change)
        return count if isinstance(count, int) else NONE_LEFT

    def _clear(self, txn: lmdb.Transaction, grave: bytes, limit: int) -> int:
        count = 0
        with txn.cursor(self._records.chunks) as cursor:
            found = cursor.set_range(CHUNK.pack(ID.unpack(grave)[0], 0))
            while found and count < limit and cursor.key()[:8] == grave:
                cursor.delete()  # moves on to the next
                found = bool(cursor.key())
                count += 1
        if count < limit:
            txn.delete(grave, db=self._records.graves)
        return count

    def sweep_orphans(self, alive: Callable[[Progress], bool], now_wall: float, forget_s: float) -> int:
        """
        Fail the fills whose process is dead, date what ended undated, and forget what ended long ago.

        Looks first, and writes only what must change, PORTION records at most: call again while it returns as many.

        Args:
            alive: whether the process that fills still lives (:func:`edge.cache.fill.is_alive`).
            now_wall: seconds.
            forget_s: seconds after which nobody asks for an ended fill or an old purge any more.

        Returns:
            How many records were changed.
        """
        records, store = self._records, self._store
        try:
            with store._begin() as txn:
                fills = list(islice(self._orphans(txn, alive, now_wall - forget_s), PORTION))
                tombs = list(islice(self._old_tombs(txn, now_wall - forget_s), PORTION - len(fills)))
                with txn.cursor(records.graves) as cursor:
                    graves = [raw for raw, data in cursor if WHEN.unpack(data)[0] == UNDATED][:PORTION]
        except lmdb.Error as error:
            store._trouble(error)
            return 0
        if not (fills or tombs or graves):
            return 0

        def change(txn: lmdb.Transaction) -> int:
            for key, seen in fills:
                data = txn.get(key, None, records.fills)
                if data != seen.write():
                    continue  # it got on since
                if seen.state is FillState.FILLING:
                    records.bury(txn, seen.body_id, now_wall)
                    txn.put(key, seen.ended(FillState.FAILED, now_wall).write(), db=records.fills)
                elif seen.since_wall == UNDATED:
                    txn.put(key, seen.ended(seen.state, now_wall).write(), db=records.fills)
                else:
                    txn.delete(key, db=records.fills)
                    txn.delete(key, db=records.heads)
            for key, data in tombs:
                if txn.get(key, None, records.tombs) == data:
                    txn.delete(key, db=records.tombs)
            for raw in graves:
                txn.put(raw, WHEN.pack(now_wall), db=records.graves)
            return len(fills) + len(tombs) + len(graves)

        count = store._changed((), change)
        if store._bells is not None and any(seen.state is FillState.FILLING for _, seen in fills):
            store._bells.ring_all()
        return count if isinstance(count, int) else 0

    def _orphans(
        self, txn: lmdb.Transaction, alive: Callable[[Progress], bool], before_wall: float
    ) -> Iterator[tuple[bytes, Progress]]:
        """List the fills that something must be done about."""
        with txn.cursor(self._records.fills) as cursor:
            for key, data in cursor:
                progress = Progress.read(bytes(data))
                if progress.state is FillState.FILLING:
                    if not alive(progress):
                        yield bytes(key), progress
                elif progress.since_wall < before_wall:
                    yield bytes(key), progress

    def _old_tombs(self, txn: lmdb.Transaction, before_wall: float) -> Iterator[tuple[bytes, bytes]]:
        """List the tombs that no fetch can run into any more. A fill under way may be older than any of them."""
        with txn.cursor(self._records.tombs) as cursor:
            for key, data in cursor:
                if WHEN.unpack(data)[0] < before_wall:
                    fill = txn.get(key, None, self._records.fills)
                    if fill is None or Progress.read(bytes(fill)).state is not FillState.FILLING:
                        yield bytes(key), bytes(data)

    def wished(self) -> int:
        """Return how many bytes were refused room since this was asked last; 0 if none were."""
        records = self._records

        def change(txn: lmdb.Transaction) -> int:
            data = txn.get(ROOM, None, records.wishes)
            if data is None:
                return 0
            txn.delete(ROOM, db=records.wishes)
            return int(ID.unpack(data)[0])

        count = self._store._changed((), change)
        return count if isinstance(count, int) else 0

    def reap_readers(self) -> int:
        """Free the snapshots of readers that were killed: they would pin their pages for ever. Returns how many."""
        return int(self._store._env.reader_check())
