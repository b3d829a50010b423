"""
Where copies are: one LMDB environment that every process of the edge has open.

Decides how copies and bodies lie in the database, and that every change is one transaction followed by one stamp. Does not
decide what may be kept, used or evicted, and reads no clock.

Layout, by database:

- ``copies``: key → all copies of that key (:mod:`edge.cache.copy`).
- ``chunks``: body id, number → one page's worth of a body. Chunks are as long as a page holds, so that no write ever looks for
  free pages in a row: with 64 KiB chunks a store that had been full for a while wrote at a third of the speed, and
  refused bodies at nine tenths of its size because no sixteen free pages lay together (bench/micro/test_store.py).
- ``sizes``: copy id → key, bytes, when stored, when dead: what the keeper goes by.
- ``fills``: key → how far a body has come that is still arriving; ``heads``: key → the copy it will be.
- ``graves``: body id → when it was given up. A body longer than WHOLE_BYTES is not removed with its copy but buried for
  a while, so that nobody's download is cut off because a newer reply has arrived; the keeper clears graves.
- ``tombs``: key → when it was purged or invalidated. A reply that was asked for before is not stored after.

Ids are the transaction's number: they grow, and are never used twice in the life of a database.

A reader's snapshot lives for one call, never for the length of a download. A writer that is killed leaves what
it had not committed unwritten, and at worst a fill that nobody finishes; the keeper buries it. No sync: the disk is waited
for only by whoever closes the store last (:mod:`edge.cache.door`). No writemap: on a full disk a write fails with an error
instead of SIGBUS, for 7 µs per small copy.

Invariant: nothing here raises for want of room, or for a damaged file; both are values. A store that is damaged answers
like an empty one that takes nothing.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import lmdb
import msgspec

from edge.cache import evict
from edge.cache.copy import IDENTITY, BodyRef, Copy, decode_copies, decode_copy, encode_copies, encode_copy
from edge.cache.door import DAMAGED, Door
from edge.cache.fill import Fill, FillState, FillView, Progress, is_alive, start_ticks
from edge.cache.key import key_hash
from edge.cache.storing import NotStored, Unstored, not_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_T = TypeVar("_T")

WHOLE_BYTES: Final = 256 * 1024
"""A body of up to so many bytes is stored in one transaction, read at once, and removed with its copy."""

MOST_VARIANTS: Final = 64
"""Copies per key. All of them are read at every lookup; beyond, the oldest goes."""

_PAGE_HEADER: Final = 16
_SIZE: Final = struct.Struct(">16sQII")
_WHEN: Final = struct.Struct(">d")
_ID: Final = struct.Struct(">Q")
_CHUNK: Final = struct.Struct(">QI")
_DATABASES: Final = (b"copies", b"chunks", b"sizes", b"fills", b"heads", b"graves", b"tombs")
_READERS: Final = 1024


class Stamper(Protocol):
    """What tells other processes that a key has changed: :class:`edge.share.stamps.Stamps`."""

    def bump(self, key_hash: int) -> None:
        """Make stale what is remembered about the key."""

    def bump_all(self) -> None:
        """Make everything stale."""


class Toucher(Protocol):
    """Where uses are noted: :class:`edge.share.recency.Recency`."""

    def touch(self, copy_id: int, now_s: int) -> None:
        """Note a use."""


class Ringer(Protocol):
    """What wakes those who wait for a fill: :class:`edge.share.bells.Bells`."""

    def ring_all(self) -> None:
        """Wake everyone who waits."""


class Store:
    """
    The store, as one process has it open. Made by :meth:`open`, after the fork; not to be carried over another.

    Attributes:
        path: its directory.
        size: bytes the database may grow to.
        note: what was done to a database that could not be trusted, one sentence for the log; else None.
        is_broken: the database turned out to be damaged while in use. Everything is a miss from now on.
        damage: what LMDB said then.
    """

    __slots__ = (
        "_begin",
        "_bells",
        "_chunks",
        "_copies",
        "_door",
        "_env",
        "_fills",
        "_graves",
        "_heads",
        "_recency",
        "_sizes",
        "_stamps",
        "_ticks",
        "_tombs",
        "chunk_bytes",
        "damage",
        "is_broken",
        "note",
        "page_bytes",
        "path",
        "size",
    )

    def __init__(
        self, env: lmdb.Environment, door: Door, stamps: Stamper | None, recency: Toucher | None, bells: Ringer | None
    ) -> None:
        self._env = env
        self._door = door
        self._begin = env.begin
        self._stamps = stamps
        self._recency = recency
        self._bells = bells
        self.path = door.path
        self.size = door.size
        self.note = door.note
        self.is_broken = False
        self.damage = ""
        self.page_bytes: int = env.stat()["psize"]
        self.chunk_bytes = self.page_bytes - _PAGE_HEADER
        self._ticks = start_ticks(os.getpid()) or 0
        opened = [env.open_db(name) for name in _DATABASES]
        self._copies, self._chunks, self._sizes, self._fills, self._heads, self._graves, self._tombs = opened

    @classmethod
    def open(
        cls,
        path: Path | str,
        size: int,
        *,
        stamps: Stamper | None = None,
        recency: Toucher | None = None,
        bells: Ringer | None = None,
        boot: str | None = None,
    ) -> Store:
        """
        Open the store in *path*, or start an empty one; see ``note``.

        Args:
            path: its directory, made if missing. Never opened twice in one process at a time (LMDB's rule).
            size: bytes.
            stamps: bumped after every change. None: this process alone uses the store.
            recency: told of new copies.
            bells: rung when a fill gets on.
            boot: for tests.

        Raises:
            OSError, lmdb.Error: the directory cannot be used.
        """
        door = Door(Path(path), size, boot)

        def make() -> lmdb.Environment:
            return lmdb.open(
                str(door.path),
                map_size=size,
                max_dbs=len(_DATABASES),
                max_readers=_READERS,
                sync=False,
                metasync=False,
                mode=0o600,
            )

        try:
            env = door.enter(make)
        except BaseException:
            door.drop()
            raise
        return cls(env, door, stamps, recency, bells)

    def close(self) -> None:
        """Close the store. The last process to do so waits until everything is on the disk."""
        if self.is_broken:
            self._env.close()
            self._door.leave(None)
        else:
            self._door.leave(self._env)

    # Reading. Each call is one snapshot.

    def copies(self, key: bytes) -> list[Copy]:
        """Return all copies stored for *key*. Cost: about 2 µs for one."""
        try:
            txn = self._begin(buffers=True)
            try:
                data = txn.get(key, None, self._copies)
                return [] if data is None else decode_copies(data)
            finally:
                txn.abort()
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._trouble(error)
            return []

    def read_whole(self, ref: BodyRef) -> bytes | None:
        """Return all of a body, or None if it is gone. For bodies up to WHOLE_BYTES. Cost: one copy of its bytes."""
        return self.read(ref.body_id, 0, ref.length)

    def read(self, body_id: int, start: int, end: int) -> bytes | None:
        """
        Return the bytes *start* to *end* of a body, or None if any of them is gone.

        For a long body call again and again with some 64 KiB at a time: between calls nothing is held, so a slow client
        pins nothing. A body replaced meanwhile stays readable for a while.
        """
        chunk = self.chunk_bytes
        if start >= end:
            return b""
        first, last = start // chunk, (end - 1) // chunk
        try:
            txn = self._begin(buffers=True)
            try:
                get: Callable[..., Any] = txn.get
                db = self._chunks
                if first == last:
                    data = get(_CHUNK.pack(body_id, first), None, db)
                    if data is None or len(data) < end - first * chunk:
                        return None
                    return bytes(data[start - first * chunk : end - first * chunk])
                pieces = [get(_CHUNK.pack(body_id, number), None, db) for number in range(first, last + 1)]
                if None in pieces or len(pieces[-1]) < end - last * chunk:
                    return None
                pieces[-1] = pieces[-1][: end - last * chunk]
                pieces[0] = pieces[0][start - first * chunk :]
                return b"".join(pieces)
            finally:
                txn.abort()
        except lmdb.Error as error:
            self._trouble(error)
            return None

    def fill_of(self, key: bytes) -> FillView | None:
        """Return how far the latest fill of *key* has come, if there was one lately."""
        try:
            with self._begin() as txn:
                data = txn.get(key, None, self._fills)
                head = txn.get(key, None, self._heads)
            if data is None or head is None:
                return None
            return FillView(Progress.read(bytes(data)), decode_copy(head))
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._trouble(error)
            return None

    def progress_of(self, key: bytes) -> Progress | None:
        """Return only the numbers of :meth:`fill_of`: what a joiner asks each time its bell rings."""
        try:
            with self._begin() as txn:
                data = txn.get(key, None, self._fills)
            return None if data is None else Progress.read(bytes(data))
        except lmdb.Error as error:
            self._trouble(error)
            return None

    def used(self) -> int:
        """Return the bytes of the pages in use. Cost: some 10 µs."""
        try:
            with self._begin() as txn:
                return self._used(txn)
        except lmdb.Error as error:
            self._trouble(error)
            return 0

    # Changing. Each call is one transaction, and one stamp after it.

    def put(self, copy: Copy, body: bytes, *, variants: Mapping[bytes, bytes] | None = None) -> Copy | NotStored:
        """
        Store a reply that is complete.

        It takes the place of the copy with the same selecting fields, if there is one.

        Args:
            copy: from :func:`edge.cache.storing.may_store`.
            body: the identity body.
            variants: other codings of it, by name.

        Returns:
            The copy as stored, with its ids; or why not.

        Cost: about 20 µs for 1 KiB.
        """
        if len(body) > WHOLE_BYTES:
            fill = self.begin_fill(copy)
            if isinstance(fill, NotStored):
                return fill
            for start in range(0, len(body), WHOLE_BYTES):
                refused = fill.append(body[start : start + WHOLE_BYTES])
                if refused is not None:
                    return refused
            return fill.commit()
        codings = {IDENTITY: body} if not variants else {IDENTITY: body, **variants}

        def change(txn: lmdb.Transaction) -> Copy | NotStored:
            expected = sum(len(data) for data in codings.values()) + 4 * self.page_bytes
            if not evict.may_grow(self._used(txn), expected, self.size):
                return not_stored(Unstored.STORE_FULL)
            number = txn.id()
            bodies = {
                coding: self._write_body(txn, number << 4 | at, data)
                for at, (coding, data) in enumerate(codings.items())
            }
            stored = msgspec.structs.replace(copy, copy_id=number, length=len(body), bodies=bodies)
            return self._place(txn, stored)

        return self._changed(copy.key, change)

    def begin_fill(self, copy: Copy) -> Fill | NotStored:
        """
        Begin to store a body that is still arriving. Its bytes can be read by any process as soon as they are appended.

        Only one fill of a key is under way at a time; a fill whose process is dead gives way.

        Args:
            copy: from :func:`edge.cache.storing.may_store`; ``length`` is what was announced, or 0.
        """

        def change(txn: lmdb.Transaction) -> Fill | NotStored:
            refused = self._refused(txn, copy)
            if refused is not None:
                return refused
            if not evict.may_grow(self._used(txn), copy.length + 8 * self.page_bytes, self.size):
                return not_stored(Unstored.STORE_FULL)
            data = txn.get(copy.key, None, self._fills)
            if data is not None:
                older = Progress.read(bytes(data))
                if older.state is FillState.FILLING:
                    if is_alive(older):
                        return not_stored(Unstored.STORE_BUSY)
                    self._bury(txn, older.body_id, copy.response_wall)
            progress = Progress(txn.id() << 4, os.getpid(), self._ticks, FillState.FILLING, 0, copy.response_wall)
            txn.put(copy.key, progress.write(), db=self._fills)
            txn.put(copy.key, encode_copy(copy), db=self._heads)
            return Fill(self, copy, progress)

        return self._changed(None, change)

    def add_variant(self, copy: Copy, encoding: bytes, data: bytes) -> Copy | None:
        """
        Store another coding of a body beside it.

        Returns:
            The copy as it is now; None if it is gone, has another body by now, or there is no room. The one at hand stays
            usable either way.
        """

        def change(txn: lmdb.Transaction) -> Copy | None:
            copies = self._read_copies(txn, copy.key)
            mine = next((other for other in copies if other.copy_id == copy.copy_id), None)
            if mine is None or mine.bodies.get(IDENTITY) != copy.bodies.get(IDENTITY) or len(data) > WHOLE_BYTES:
                return None
            if not evict.may_grow(self._used(txn), len(data) + 4 * self.page_bytes, self.size):
                return None
            if encoding in mine.bodies:
                return mine
            ref = self._write_body(txn, txn.id() << 4, data)
            grown = msgspec.structs.replace(mine, bodies={**mine.bodies, encoding: ref})
            self._write_copies(txn, copy.key, [grown if other is mine else other for other in copies])
            self._note_size(txn, grown)
            return grown

        stored = self._changed(copy.key, change)
        return stored if isinstance(stored, Copy) else None

    def update(self, old: Copy, new: Copy) -> Copy | None:
        """
        Put *new* (from a 304, or marked) in the place of *old*. Its bodies stay as they are in the store.

        Returns:
            The copy as it is now, or None if *old* is gone.
        """

        def change(txn: lmdb.Transaction) -> Copy | None:
            copies = self._read_copies(txn, old.key)
            mine = next((other for other in copies if other.copy_id == old.copy_id), None)
            if mine is None or self._refused(txn, new) is not None:
                return None
            changed = msgspec.structs.replace(new, copy_id=mine.copy_id, bodies=mine.bodies, length=mine.length)
            kept = [other for other in copies if other is not mine]
            for other in kept:
                if other.vary == changed.vary:  # a 304 may have changed what selects
                    self._remove(txn, other, new.response_wall)
            kept = [other for other in kept if other.vary != changed.vary]
            self._write_copies(txn, old.key, [*kept, changed])
            self._note_size(txn, changed)
            return changed

        stored = self._changed(old.key, change)
        return stored if isinstance(stored, Copy) else None

    def delete(self, key: bytes, now_wall: float) -> int:
        """
        Remove all copies of *key*. What was asked for before *now_wall* will not be stored any more.

        Returns:
            How many there were.
        """

        def change(txn: lmdb.Transaction) -> int:
            copies = self._read_copies(txn, key)
            for copy in copies:
                self._remove(txn, copy, now_wall)
            self._write_copies(txn, key, [])
            txn.put(key, _WHEN.pack(now_wall), db=self._tombs)
            return len(copies)

        count = self._changed(key, change)
        return count if isinstance(count, int) else 0

    def forget(self, copy: Copy, now_wall: float) -> None:
        """Remove one copy, if it is still there."""

        def change(txn: lmdb.Transaction) -> None:
            copies = self._read_copies(txn, copy.key)
            mine = next((other for other in copies if other.copy_id == copy.copy_id), None)
            if mine is not None:
                self._remove(txn, mine, now_wall)
                self._write_copies(txn, copy.key, [other for other in copies if other is not mine])

        self._changed(copy.key, change)

    def mark_stale(self, key: bytes, now_wall: float) -> int:
        """
        Have every copy of *key* validated before its next use (RFC 9111 §4.4). A reply asked for before is not stored.

        Returns:
            How many there were.
        """

        def change(txn: lmdb.Transaction) -> int:
            copies = self._read_copies(txn, key)
            marked = [msgspec.structs.replace(copy, is_invalid=True) for copy in copies]
            if marked:
                self._write_copies(txn, key, marked)
            txn.put(key, _WHEN.pack(now_wall), db=self._tombs)
            return len(copies)

        count = self._changed(key, change)
        return count if isinstance(count, int) else 0

    # For the keeper: rows and records in bounded portions, and what it does about them.

    def rows(self, after: int, limit: int, used: Callable[[int], int]) -> list[evict.Row]:
        """
        Return up to *limit* rows with ids above *after*, ascending.

        Args:
            after: the last id of the portion before, 0 to begin.
            limit: so many at most; the snapshot lives no longer than this.
            used: the second of a copy's last use, by id (:meth:`edge.share.recency.Recency.read`).
        """
        found: list[evict.Row] = []
        try:
            with self._begin() as txn, txn.cursor(self._sizes) as cursor:
                if cursor.set_range(_ID.pack(after + 1)):
                    for raw, data in cursor:
                        (copy_id,) = _ID.unpack(raw)
                        _, size, stored_s, dead_s = _SIZE.unpack(data)
                        found.append(evict.Row(copy_id, size, max(stored_s, used(copy_id)), dead_s))
                        if len(found) == limit:
                            break
        except lmdb.Error as error:
            self._trouble(error)
        return found

    def evict(self, ids: Iterable[int], now_wall: float) -> int:
        """Remove copies by id in one transaction; keep the list short. Returns how many there were."""
        hashes: list[int] = []

        def change(txn: lmdb.Transaction) -> int:
            hashes.clear()
            count = 0
            for copy_id in ids:
                row = txn.get(_ID.pack(copy_id), None, self._sizes)
                if row is None:
                    continue
                key = _SIZE.unpack(row)[0]
                copies = self._read_copies(txn, key)
                kept = []
                for copy in copies:
                    if copy.copy_id == copy_id:
                        self._remove(txn, copy, now_wall)
                    else:
                        kept.append(copy)
                txn.delete(_ID.pack(copy_id), db=self._sizes)
                self._write_copies(txn, key, kept)
                hashes.append(key_hash(key))
                count += 1
            return count

        count = self._changed(None, change)
        if self._stamps is not None:
            for number in hashes:
                self._stamps.bump(number)
        return count if isinstance(count, int) else 0

    def clear_grave(self, before_wall: float, limit: int) -> int:
        """
        Remove up to *limit* chunks of the oldest body that was buried before *before_wall*.

        Returns:
            How many; less than *limit* means that grave is cleared. -1 if there is none.
        """

        def change(txn: lmdb.Transaction) -> int:
            with txn.cursor(self._graves) as cursor:
                body_id = next(
                    (_ID.unpack(raw)[0] for raw, data in cursor if _WHEN.unpack(data)[0] < before_wall), None
                )
            if body_id is None:
                return -1
            count = 0
            with txn.cursor(self._chunks) as cursor:
                found = cursor.set_range(_CHUNK.pack(body_id, 0))
                while found and count < limit and cursor.key()[:8] == _ID.pack(body_id):
                    found = cursor.delete()
                    count += 1
            if count < limit:
                txn.delete(_ID.pack(body_id), db=self._graves)
            return count

        count = self._changed(None, change)
        return count if isinstance(count, int) else -1

    def sweep_orphans(self, alive: Callable[[Progress], bool], now_wall: float, forget_s: float) -> int:
        """
        Fail the fills whose process is dead, and forget the records of fills and purges that are long over.

        Args:
            alive: whether the process that fills still lives (:func:`edge.cache.fill.is_alive`).
            now_wall: seconds.
            forget_s: seconds after which nobody asks for an ended fill or an old purge any more.

        Returns:
            How many fills were failed.
        """

        def change(txn: lmdb.Transaction) -> int:
            dead = 0
            for key, data in list(txn.cursor(self._fills)):
                progress = Progress.read(bytes(data))
                if progress.state is FillState.FILLING:
                    if not alive(progress):
                        self._bury(txn, progress.body_id, now_wall)
                        txn.put(key, progress.ended(FillState.FAILED, now_wall).write(), db=self._fills)
                        dead += 1
                elif progress.since_wall < now_wall - forget_s:
                    txn.delete(key, db=self._fills)
                    txn.delete(key, db=self._heads)
            for key, data in list(txn.cursor(self._tombs)):
                if _WHEN.unpack(data)[0] < now_wall - forget_s:
                    txn.delete(key, db=self._tombs)
            return dead

        count = self._changed(None, change)
        if isinstance(count, int) and count and self._bells is not None:
            self._bells.ring_all()
        return count if isinstance(count, int) else 0

    def reap_readers(self) -> int:
        """Free the snapshots of readers that were killed: they would pin their pages for ever. Returns how many."""
        return int(self._env.reader_check())

    # What a fill asks for.

    def fill_append(self, fill: Fill, data: bytes) -> NotStored | None:
        """See :meth:`edge.cache.fill.Fill.append`."""

        def change(txn: lmdb.Transaction) -> NotStored | None:
            progress = fill.progress
            if txn.get(fill.copy.key, None, self._fills) != progress.write():
                return not_stored(Unstored.PURGED)
            if not evict.may_grow(self._used(txn), len(data) + 4 * self.page_bytes, self.size):
                return not_stored(Unstored.STORE_FULL)
            self._append(txn, progress, data)
            progress.landed_bytes += len(data)
            try:
                txn.put(fill.copy.key, progress.write(), db=self._fills)
            except BaseException:
                progress.landed_bytes -= len(data)
                raise
            return None

        before = fill.progress.landed_bytes
        done = self._changed(None, change)
        if done is not None:
            fill.progress.landed_bytes = before
        elif self._bells is not None:
            self._bells.ring_all()
        return done

    def fill_commit(self, fill: Fill) -> Copy | NotStored:
        """See :meth:`edge.cache.fill.Fill.commit`."""

        def change(txn: lmdb.Transaction) -> Copy | NotStored:
            progress, copy = fill.progress, fill.copy
            if txn.get(copy.key, None, self._fills) != progress.write():
                return not_stored(Unstored.PURGED)
            ref = BodyRef(progress.body_id, progress.landed_bytes)
            stored = msgspec.structs.replace(copy, copy_id=txn.id(), length=ref.length, bodies={IDENTITY: ref})
            placed = self._place(txn, stored)
            if isinstance(placed, Copy):
                txn.put(copy.key, progress.ended(FillState.DONE, copy.response_wall).write(), db=self._fills)
            return placed

        placed = self._changed(fill.copy.key, change)
        if self._bells is not None:
            self._bells.ring_all()
        return placed

    def fill_abandon(self, fill: Fill) -> None:
        """See :meth:`edge.cache.fill.Fill.abandon`."""

        def change(txn: lmdb.Transaction) -> None:
            key, progress = fill.copy.key, fill.progress
            data = txn.get(key, None, self._fills)
            if data is not None and Progress.read(bytes(data)).body_id == progress.body_id:
                txn.put(key, progress.ended(FillState.FAILED, progress.since_wall).write(), db=self._fills)
                self._bury(txn, progress.body_id, progress.since_wall)

        self._changed(None, change)
        if self._bells is not None:
            self._bells.ring_all()

    # Inside a transaction.

    def _changed(self, key: bytes | None, change: Callable[[lmdb.Transaction], _T]) -> _T | NotStored:
        """Run *change* in a transaction and commit it; then stamp *key*."""
        if self.is_broken:
            return not_stored(Unstored.STORE_BROKEN)
        try:
            txn = self._begin(write=True)
            try:
                result = change(txn)
                if type(result) is NotStored:
                    return result
                txn.commit()
            finally:
                txn.abort()  # does nothing after a commit
        except (lmdb.Error, msgspec.MsgspecError) as error:
            return self._trouble(error)
        if key is not None and self._stamps is not None:
            self._stamps.bump(key_hash(key))
        return result

    def _trouble(self, error: Exception) -> NotStored:
        """Turn what LMDB raised into a value."""
        if isinstance(error, lmdb.MapFullError | lmdb.TxnFullError | lmdb.DiskError):
            self._env.reader_check()  # a killed reader may pin the pages that are missing
            return not_stored(Unstored.STORE_FULL)
        if isinstance(error, lmdb.MapResizedError):
            self._env.set_mapsize(0)  # a newer generation runs with another size; zero takes it over
            return not_stored(Unstored.STORE_FULL)
        if isinstance(error, lmdb.ReadersFullError):
            self._env.reader_check()
            return not_stored(Unstored.STORE_FULL)
        if isinstance(error, (*DAMAGED, msgspec.MsgspecError)):
            self.is_broken = True
            self.damage = f"{type(error).__name__}: {error}"
            self._door.report_damage(self.damage)
            return not_stored(Unstored.STORE_BROKEN)
        return not_stored(Unstored.STORE_FULL)

    def _used(self, txn: lmdb.Transaction) -> int:
        pages = 0
        for database in (self._chunks, self._copies, self._sizes):
            stat = txn.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * self.page_bytes

    def _refused(self, txn: lmdb.Transaction, copy: Copy) -> NotStored | None:
        tomb = txn.get(copy.key, None, self._tombs)
        if tomb is not None and _WHEN.unpack(tomb)[0] >= copy.request_wall:
            return not_stored(Unstored.PURGED)
        return None

    def _place(self, txn: lmdb.Transaction, copy: Copy) -> Copy | NotStored:
        """Put a copy whose bodies are written among the others of its key."""
        refused = self._refused(txn, copy)
        if refused is not None:
            return refused
        kept: list[Copy] = []
        for other in self._read_copies(txn, copy.key):
            if other.vary != copy.vary:
                kept.append(other)
            elif other.request_wall > copy.request_wall and not other.is_invalid:
                return not_stored(Unstored.SUPERSEDED)
            else:
                self._remove(txn, other, copy.response_wall)
        while len(kept) >= MOST_VARIANTS:
            oldest = min(kept, key=lambda other: other.response_wall)
            kept.remove(oldest)
            self._remove(txn, oldest, copy.response_wall)
        self._write_copies(txn, copy.key, [*kept, copy])
        self._note_size(txn, copy)
        if self._recency is not None:
            self._recency.touch(copy.copy_id, evict.second_of(copy.response_wall))
        return copy

    def _read_copies(self, txn: lmdb.Transaction, key: bytes) -> list[Copy]:
        data = txn.get(key, None, self._copies)
        return [] if data is None else decode_copies(data)

    def _write_copies(self, txn: lmdb.Transaction, key: bytes, copies: list[Copy]) -> None:
        if copies:
            txn.put(key, encode_copies(copies), db=self._copies)
        else:
            txn.delete(key, db=self._copies)

    def _note_size(self, txn: lmdb.Transaction, copy: Copy) -> None:
        size = sum(self._footprint(ref.length) for ref in copy.bodies.values()) + 512
        row = _SIZE.pack(copy.key, size, evict.second_of(copy.stored_wall), evict.second_of(evict.dead_wall(copy)))
        txn.put(_ID.pack(copy.copy_id), row, db=self._sizes)

    def _footprint(self, length: int) -> int:
        """Return about how many bytes of pages a body takes: what fits twice in a page shares one."""
        chunk = self.chunk_bytes
        whole, rest = divmod(length, chunk)
        return whole * self.page_bytes + (self.page_bytes if rest > chunk // 2 else rest + 32)

    def _write_body(self, txn: lmdb.Transaction, body_id: int, data: bytes) -> BodyRef:
        chunk = self.chunk_bytes
        if len(data) <= chunk:
            if data:
                txn.put(_CHUNK.pack(body_id, 0), data, db=self._chunks)
        else:
            view = memoryview(data)
            for number, start in enumerate(range(0, len(data), chunk)):
                txn.put(_CHUNK.pack(body_id, number), view[start : start + chunk], db=self._chunks)
        return BodyRef(body_id, len(data))

    def _append(self, txn: lmdb.Transaction, progress: Progress, data: bytes) -> None:
        """Write behind what has landed; the last chunk is completed in place."""
        chunk = self.chunk_bytes
        number, filled = divmod(progress.landed_bytes, chunk)
        view = memoryview(data)
        at = 0
        if filled:
            head = txn.get(_CHUNK.pack(progress.body_id, number), b"", self._chunks)
            at = min(chunk - filled, len(view))
            txn.put(_CHUNK.pack(progress.body_id, number), bytes(head) + view[:at], db=self._chunks)
            number += 1
        for start in range(at, len(view), chunk):
            txn.put(_CHUNK.pack(progress.body_id, number), view[start : start + chunk], db=self._chunks)
            number += 1

    def _remove(self, txn: lmdb.Transaction, copy: Copy, now_wall: float) -> None:
        """Remove what belongs to a copy, but not the copy itself from its list."""
        for ref in copy.bodies.values():
            if ref.length > WHOLE_BYTES:
                self._bury(txn, ref.body_id, now_wall)
            else:
                for number in range(-(-ref.length // self.chunk_bytes)):
                    txn.delete(_CHUNK.pack(ref.body_id, number), db=self._chunks)
        txn.delete(_ID.pack(copy.copy_id), db=self._sizes)

    def _bury(self, txn: lmdb.Transaction, body_id: int, now_wall: float) -> None:
        txn.put(_ID.pack(body_id), _WHEN.pack(now_wall), db=self._graves)
