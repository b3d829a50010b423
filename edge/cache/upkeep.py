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
import msgspec
from msgspec.structs import replace

from edge.cache import evict
from edge.cache.copy import decode_copies
from edge.cache.fill import FillState, Progress
from edge.cache.key import key_hash
from edge.cache.parts import Parts
from edge.cache.records import CHUNK, ID, ROOM, SIZE, SIZE_ROW, UNDATED, WHEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge.cache.purge import Purge
    from edge.cache.store import Store

NONE_LEFT: Final = -1

PORTION: Final = 256
"""Records changed, or chunks removed, per transaction: well under a millisecond."""


class Upkeep:
    """The keeper's side of *store*."""

    __slots__ = ("_parts", "_records", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = store._records
        self._parts = Parts(store)

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

        for key, seen in fills:
            if seen.state is FillState.FILLING:
                self._parts.adopt(key)

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

    def purges(self) -> list[Purge]:
        """Return the purges whose copies are still to be dealt with."""
        try:
            with self._store._begin() as txn:
                return [purge for purge in self._records.standing(txn).purges if not purge.is_swept]
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._store._trouble(error)
            return []

    def purged(self, after: bytes, limit: int) -> tuple[list[bytes], bytes] | None:
        """
        Look for copies that a standing purge hits.

        Args:
            after: where the portion before ended; empty to begin.
            limit: keys to look at.

        Returns:
            The keys of such copies, and where this portion ended; empty at the end of the store. None if it could not be read.
        """
        found: list[bytes] = []
        records = self._records
        try:
            with self._store._begin(buffers=True) as txn, txn.cursor(records.copies) as cursor:
                standing = records.standing(txn)
                if not (cursor.set_range(after + b"\0") if after else cursor.first()):
                    return found, b""
                for raw, data in islice(cursor, limit):
                    after = bytes(raw)
                    copies = decode_copies(data)
                    if standing.weighed(copies) != copies:
                        found.append(after)
                return found, after
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._store._trouble(error)
            return None

    def purge(self, keys: Iterable[bytes], now_wall: float) -> int | None:
        """
        Remove, or end the freshness of, the copies of *keys* that standing purges hit; all in one transaction.

        Returns:
            How many; None if nothing could be changed.
        """
        hashes: list[int] = []

        def change(txn: lmdb.Transaction) -> int:
            count = 0
            for key in keys:
                copies = self._records.read_copies(txn, key)
                left = self._records.standing(txn).weighed(copies)
                if left == copies:
                    continue
                stay = {copy.copy_id: copy for copy in left}
                for copy in copies:
                    kept = stay.get(copy.copy_id)
                    if kept is None:
                        self._records.remove(txn, copy, now_wall)
                    elif kept != copy:
                        self._records.note_size(txn, kept)
                    count += kept != copy
                self._records.write_copies(txn, key, left)
                hashes.append(key_hash(key))
            return count

        count = self._store._changed(hashes, change)
        return count if isinstance(count, int) else None

    def swept(self, purges: list[Purge]) -> None:
        """Note that the copies that *purges* hit have been dealt with: only what comes late is weighed against them now."""

        def change(txn: lmdb.Transaction) -> None:
            standing = self._records.standing(txn).purges
            done = [replace(purge, is_swept=True) if purge in purges else purge for purge in standing]
            self._records.write_purges(txn, done)

        self._store._changed((), change)

    def forget_purges(self, now_wall: float, forget_s: float) -> None:
        """
        Forget the purges that were swept and that nothing can come too late for any more.

        Args:
            now_wall: seconds.
            forget_s: how long an origin may take to answer. A body that is landing was asked for no longer before its head.
        """
        records = self._records

        def is_over(purge: Purge, oldest_wall: float) -> bool:
            return purge.is_swept and purge.when_wall + forget_s < min(oldest_wall, now_wall)

        def change(txn: lmdb.Transaction) -> None:
            oldest_wall = self._oldest_fill(txn)
            standing = records.standing(txn).purges
            records.write_purges(txn, [purge for purge in standing if not is_over(purge, oldest_wall)])

        try:
            with self._store._begin() as txn:
                oldest_wall = self._oldest_fill(txn)
                has_some = any(is_over(purge, oldest_wall) for purge in records.standing(txn).purges)
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._store._trouble(error)
            return
        if has_some:
            self._store._changed((), change)

    def _oldest_fill(self, txn: lmdb.Transaction) -> float:
        """Return when the head arrived of the body that has been landing for longest."""
        oldest_wall = float("inf")
        with txn.cursor(self._records.fills) as cursor:
            for _, data in cursor:
                progress = Progress.read(bytes(data))
                if progress.state is FillState.FILLING:
                    oldest_wall = min(oldest_wall, progress.since_wall)
        return oldest_wall

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
