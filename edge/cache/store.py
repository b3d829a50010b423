"""
Where copies are: one LMDB environment that every process of the edge has open.

Decides that every change is one transaction, followed by one stamp, and what becomes of errors. Does not
decide what may be kept, used or evicted, and reads no clock.

Layout and ids: :mod:`edge.cache.records`. What the keeper does: :mod:`edge.cache.upkeep`.

A reader's snapshot lives for one call, never for the length of a download. A writer that is killed leaves what
it had not committed unwritten, and at worst a fill that nobody finishes; the keeper buries it. No sync: the disk is waited
for only by whoever closes the store last (:mod:`edge.cache.door`). No writemap: on a full disk a write fails with an error
instead of SIGBUS, for 7 µs per small copy.

Invariant: nothing here raises for want of room, or for a damaged file; both are values. A store that is damaged answers
like an empty one that takes nothing.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import lmdb
import msgspec

from edge.cache import evict
from edge.cache.copy import IDENTITY, BodyRef, Copy, decode_copies, decode_copy, encode_copy
from edge.cache.door import DAMAGED, Door
from edge.cache.fill import Fill, FillState, FillView, Progress, is_alive, start_ticks
from edge.cache.key import key_hash
from edge.cache.purge import Purge, added, softened
from edge.cache.records import DATABASES, ID, ROOM, UNDATED, WHEN, WHOLE_BYTES, Records
from edge.cache.storing import NotStored, Unstored, not_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")

_READERS: Final = 1024


class Stamper(Protocol):
    """What tells other processes that a key has changed: :class:`edge.share.stamps.Stamps`."""

    def bump(self, key_hash: int) -> None:
        """Make stale what is remembered about the key."""

    def bump_all(self) -> None:
        """Make everything stale."""


class Toucher(Protocol):
    """Where uses are noted: :class:`edge.share.recency.Recency`."""

    def begin(self, copy_id: int, now_s: int) -> None:
        """Note a new copy."""


class Ringer(Protocol):
    """What wakes those who wait for a fill: :class:`edge.share.bells.Bells`."""

    def ring_all(self) -> None:
        """Wake everyone who waits."""


@dataclass(frozen=True, slots=True)
class Counts:
    """
    How much of everything is in a store.

    Attributes:
        keys: addresses with a copy or more.
        copies: of all of them.
        fills: bodies that are landing.
        graves: bodies given up that are still readable.
        purges: that stand and are not dealt with yet.
        used_bytes: of pages.
    """

    keys: int = 0
    copies: int = 0
    fills: int = 0
    graves: int = 0
    purges: int = 0
    used_bytes: int = 0


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
        "_door",
        "_env",
        "_recency",
        "_records",
        "_stamps",
        "_ticks",
        "damage",
        "is_broken",
        "note",
        "path",
        "size",
    )

    def __init__(
        self,
        env: lmdb.Environment,
        records: Records,
        door: Door,
        stamps: Stamper | None,
        recency: Toucher | None,
        bells: Ringer | None,
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
        self._records = records
        self._ticks = start_ticks(os.getpid()) or 0

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
            OSError: the directory cannot be used, or there is not so much room in this process's memory.
        """
        door = Door(Path(path), size, boot)

        def make() -> lmdb.Environment:
            return lmdb.open(
                str(door.path),
                map_size=size,
                max_dbs=len(DATABASES),
                max_readers=_READERS,
                sync=False,
                metasync=False,
                mode=0o600,
            )

        try:
            env, records = door.enter(make, lambda env: Records(env, size))
        except lmdb.Error as error:
            door.drop()
            number = errno.ENOMEM if isinstance(error, lmdb.MemoryError) else errno.EIO
            raise OSError(number, f"the cache of {size >> 20} MiB cannot be opened: {error}") from error
        except BaseException:
            door.drop()
            raise
        return cls(env, records, door, stamps, recency, bells)

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of a body lie in one record."""
        return self._records.chunk_bytes

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
                data = txn.get(key, None, self._records.copies)
                return [] if data is None else self._records.standing(txn).weighed(decode_copies(data))
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
        if start >= end:
            return b""
        try:
            txn = self._begin(buffers=True)
            try:
                return self._records.read(txn, body_id, start, end)
            finally:
                txn.abort()
        except lmdb.Error as error:
            self._trouble(error)
            return None

    def fill_of(self, key: bytes) -> FillView | None:
        """Return how far the latest fill of *key* has come, if there was one lately."""
        try:
            with self._begin() as txn:
                data = txn.get(key, None, self._records.fills)
                head = txn.get(key, None, self._records.heads)
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
                data = txn.get(key, None, self._records.fills)
            return None if data is None else Progress.read(bytes(data))
        except lmdb.Error as error:
            self._trouble(error)
            return None

    def browse(self, after: bytes, limit: int) -> tuple[list[Copy], bytes] | None:
        """
        Return the copies of up to *limit* keys, as they may be used now.

        Args:
            after: the key that the portion before ended with; empty to begin.
            limit: keys. The snapshot lives for one call, so what changes meanwhile is seen or not, and nothing twice.

        Returns:
            The copies, and the key that this portion ended with: empty at the end of the store. None if it cannot be read.
        """
        found: list[Copy] = []
        try:
            with self._begin(buffers=True) as txn, txn.cursor(self._records.copies) as cursor:
                standing = self._records.standing(txn)
                if not (cursor.set_range(after + b"\0") if after else cursor.first()):
                    return found, b""
                count = 0
                for raw, data in islice(cursor, limit):
                    count += 1
                    after = bytes(raw)
                    found += standing.weighed(decode_copies(data))
                return found, after if count == limit else b""
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._trouble(error)
            return None

    def counts(self) -> Counts:
        """Return how much of everything there is. Cost: some 20 µs."""
        records = self._records
        try:
            with self._begin() as txn:
                return Counts(
                    keys=txn.stat(records.copies)["entries"],
                    copies=txn.stat(records.sizes)["entries"],
                    fills=sum(
                        Progress.read(bytes(data)).state is FillState.FILLING for _, data in txn.cursor(records.fills)
                    ),
                    graves=txn.stat(records.graves)["entries"],
                    purges=sum(not purge.is_swept for purge in records.standing(txn).purges),
                    used_bytes=records.used(txn),
                )
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._trouble(error)
            return Counts()

    def purged_wall(self, key: bytes) -> float | None:
        """Return when *key* itself was last purged or invalidated, if that was lately."""
        try:
            with self._begin() as txn:
                tomb = txn.get(key, None, self._records.tombs)
            return None if tomb is None else float(WHEN.unpack(tomb)[0])
        except lmdb.Error as error:
            self._trouble(error)
            return None

    def used(self) -> int:
        """Return the bytes of the pages in use. Cost: some 10 µs."""
        try:
            with self._begin() as txn:
                return self._records.used(txn)
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
        expected = sum(map(len, codings.values()))

        def change(txn: lmdb.Transaction) -> Copy | NotStored:
            refused = self._records.lacks_room(txn, expected)
            if refused is not None:
                return refused
            number = txn.id()
            bodies = {
                coding: self._records.write_body(txn, number << 4 | at, data)
                for at, (coding, data) in enumerate(codings.items())
            }
            stored = msgspec.structs.replace(copy, copy_id=number, length=len(body), bodies=bodies)
            return self._records.place(txn, stored)

        return self._touched(self._wished(expected, self._changed((key_hash(copy.key),), change)))

    def begin_fill(self, copy: Copy) -> Fill | NotStored:
        """
        Begin to store a body that is still arriving. Its bytes can be read by any process as soon as they are appended.

        Only one fill of a key is under way at a time; a fill whose process is dead gives way.

        Args:
            copy: from :func:`edge.cache.storing.may_store`; ``length`` is what was announced, or 0.
        """

        def change(txn: lmdb.Transaction) -> Fill | NotStored:
            refused = self._records.refusal(txn, copy)
            if refused is not None:
                return refused
            refused = self._records.lacks_room(txn, copy.length)
            if refused is not None:
                return refused
            data = txn.get(copy.key, None, self._records.fills)
            if data is not None:
                older = Progress.read(bytes(data))
                if older.state is FillState.FILLING:
                    if is_alive(older):
                        return not_stored(Unstored.STORE_BUSY)
                    if self._records.adopt(txn, copy.key, older) is None:
                        self._records.bury(txn, older.body_id, copy.response_wall)
            progress = Progress(txn.id() << 4, os.getpid(), self._ticks, FillState.FILLING, 0, copy.response_wall)
            txn.put(copy.key, progress.write(), db=self._records.fills)
            txn.put(copy.key, encode_copy(copy), db=self._records.heads)
            return Fill(self, copy, progress)

        return self._wished(copy.length, self._changed((), change))

    def add_variant(self, copy: Copy, encoding: bytes, data: bytes) -> Copy | None:
        """
        Store another coding of a body beside it.

        Returns:
            The copy as it is now; None if it is gone, has another body by now, or there is no room. The one at hand stays
            usable either way.
        """

        def change(txn: lmdb.Transaction) -> Copy | None:
            copies = self._records.read_copies(txn, copy.key)
            mine = next((other for other in copies if other.copy_id == copy.copy_id), None)
            if mine is None or mine.bodies.get(IDENTITY) != copy.bodies.get(IDENTITY) or len(data) > WHOLE_BYTES:
                return None
            if self._records.lacks_room(txn, len(data)) is not None:
                return None
            if encoding in mine.bodies:
                return mine
            ref = self._records.write_body(txn, txn.id() << 4, data)
            grown = msgspec.structs.replace(mine, bodies={**mine.bodies, encoding: ref})
            self._records.write_copies(txn, copy.key, [grown if other is mine else other for other in copies])
            self._records.note_size(txn, grown)
            return grown

        stored = self._changed((key_hash(copy.key),), change)
        return stored if isinstance(stored, Copy) else None

    def update(self, old: Copy, new: Copy) -> Copy | None:
        """
        Put *new* (from a 304, or marked) in the place of *old*. Its bodies stay as they are in the store.

        Returns:
            The copy as it is now, or None if *old* is gone.
        """

        def change(txn: lmdb.Transaction) -> Copy | None:
            copies = self._records.read_copies(txn, old.key)
            mine = next((other for other in copies if other.copy_id == old.copy_id), None)
            if mine is None or self._records.refusal(txn, new) is not None:
                return None
            changed = msgspec.structs.replace(
                new, copy_id=mine.copy_id, bodies=mine.bodies, length=mine.length, spans=mine.spans
            )
            kept = [other for other in copies if other is not mine]
            for other in kept:
                if other.vary == changed.vary:  # a 304 may have changed what selects
                    self._records.remove(txn, other, new.response_wall)
            kept = [other for other in kept if other.vary != changed.vary]
            self._records.write_copies(txn, old.key, [*kept, changed])
            self._records.note_size(txn, changed)
            return changed

        stored = self._changed((key_hash(old.key),), change)
        return stored if isinstance(stored, Copy) else None

    def delete(self, key: bytes, now_wall: float) -> int | NotStored:
        """
        Remove all copies of *key*. What was asked for before *now_wall* will not be stored any more.

        Returns:
            How many there were; or why nothing could be changed.
        """

        def change(txn: lmdb.Transaction) -> int:
            copies = self._records.read_copies(txn, key)
            for copy in copies:
                self._records.remove(txn, copy, now_wall)
            self._records.write_copies(txn, key, [])
            self._records.note_purge(txn, key, now_wall)
            return len(copies)

        return self._changed((key_hash(key),), change)

    def soften(self, key: bytes, now_wall: float) -> int | NotStored:
        """
        End the freshness of all copies of *key* (:func:`edge.cache.purge.softened`). A reply asked for before is not stored.

        Returns:
            As :meth:`delete`.
        """
        return self._marked(key, now_wall, lambda copy: softened(copy, now_wall))

    def purge(self, purge: Purge) -> NotStored | None:
        """
        Have a purge stand. When this returns it holds in every process, whatever number of copies it hits.

        Returns:
            None, or why nothing could be changed: STORE_BUSY if the keeper is too far behind.

        Cost: one small transaction and the stamps, some 0.1 ms; everyone looks into the store again for every key he remembers.
        """

        def change(txn: lmdb.Transaction) -> NotStored | None:
            purges = added(self._records.standing(txn).purges, purge)
            if purges is None:
                return not_stored(Unstored.STORE_BUSY)
            self._records.write_purges(txn, purges)
            return None

        refused = self._changed((), change)
        if refused is None and self._stamps is not None:
            self._stamps.bump_all()
        return refused

    def is_late(self, copy: Copy) -> bool:
        """Whether *copy*, which need not be stored, was asked for before a purge or invalidation that names it."""
        try:
            with self._begin() as txn:
                return self._records.refusal(txn, copy) is not None
        except (lmdb.Error, msgspec.MsgspecError) as error:
            self._trouble(error)
            return False

    def forget(self, copy: Copy, now_wall: float) -> None:
        """Remove one copy, if it is still there."""

        def change(txn: lmdb.Transaction) -> None:
            copies = self._records.read_copies(txn, copy.key)
            mine = next((other for other in copies if other.copy_id == copy.copy_id), None)
            if mine is not None:
                self._records.remove(txn, mine, now_wall)
                self._records.write_copies(txn, copy.key, [other for other in copies if other is not mine])

        self._changed((key_hash(copy.key),), change)

    def mark_stale(self, key: bytes, now_wall: float) -> int | NotStored:
        """
        Have every copy of *key* validated before its next use (RFC 9111 §4.4). A reply asked for before is not stored.

        Returns:
            As :meth:`delete`.
        """
        return self._marked(key, now_wall, lambda copy: msgspec.structs.replace(copy, is_invalid=True))

    def _marked(self, key: bytes, now_wall: float, mark: Callable[[Copy], Copy]) -> int | NotStored:
        """Put what *mark* makes of each copy of *key* in its place; what was asked for before comes too late."""

        def change(txn: lmdb.Transaction) -> int:
            copies = [mark(copy) for copy in self._records.read_copies(txn, key)]
            if copies:
                self._records.write_copies(txn, key, copies)
                for copy in copies:
                    self._records.note_size(txn, copy)
            self._records.note_purge(txn, key, now_wall)
            return len(copies)

        return self._changed((key_hash(key),), change)

    # What a fill asks for.

    def fill_append(self, fill: Fill, data: bytes) -> NotStored | None:
        """See :meth:`edge.cache.fill.Fill.append`."""

        def change(txn: lmdb.Transaction) -> NotStored | None:
            progress = fill.progress
            if txn.get(fill.copy.key, None, self._records.fills) != progress.write():
                return not_stored(Unstored.PURGED)
            refused = self._records.lacks_room(txn, len(data))
            if refused is not None:
                return refused
            self._records.append(txn, progress, data)
            progress.landed_bytes += len(data)
            txn.put(fill.copy.key, progress.write(), db=self._records.fills)
            return None

        before = fill.progress.landed_bytes
        done = self._wished(len(data), self._changed((), change))
        if done is not None:
            fill.progress.landed_bytes = before
        elif self._bells is not None:
            self._bells.ring_all()
        return done

    def fill_commit(self, fill: Fill) -> Copy | NotStored:
        """See :meth:`edge.cache.fill.Fill.commit`."""

        def change(txn: lmdb.Transaction) -> Copy | NotStored:
            progress, copy = fill.progress, fill.copy
            if txn.get(copy.key, None, self._records.fills) != progress.write():
                return not_stored(Unstored.PURGED)
            ref = BodyRef(progress.body_id, progress.landed_bytes)
            stored = msgspec.structs.replace(copy, copy_id=txn.id(), length=ref.length, bodies={IDENTITY: ref})
            placed = self._records.place(txn, stored)
            if isinstance(placed, Copy):
                txn.put(copy.key, progress.ended(FillState.DONE).write(), db=self._records.fills)
            return placed

        placed = self._touched(self._changed((key_hash(fill.copy.key),), change))
        if self._bells is not None:
            self._bells.ring_all()
        return placed

    def fill_abandon(self, fill: Fill) -> None:
        """See :meth:`edge.cache.fill.Fill.abandon`."""

        def change(txn: lmdb.Transaction) -> None:
            key, progress = fill.copy.key, fill.progress
            data = txn.get(key, None, self._records.fills)
            if data is not None and Progress.read(bytes(data)).body_id == progress.body_id:
                if self._records.adopt(txn, key, progress) is None:
                    self._records.bury(txn, progress.body_id, UNDATED)
                txn.put(key, progress.ended(FillState.FAILED).write(), db=self._records.fills)

        self._changed((key_hash(fill.copy.key),), change)
        if self._bells is not None:
            self._bells.ring_all()

    # Inside a transaction.

    def _changed(self, hashes: Sequence[int], change: Callable[[lmdb.Transaction], _T]) -> _T | NotStored:
        """
        Run *change* in a transaction and commit it; then stamp the keys with *hashes*, read after the change.

        A change that returns NotStored has changed nothing.
        """
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
        if self._stamps is not None:
            for number in hashes:
                self._stamps.bump(number)
        return result

    def _wished(self, extra: int, result: _T | NotStored) -> _T | NotStored:
        """If there was no room for *extra* bytes, leave word for the keeper."""
        if isinstance(result, NotStored) and result.reason is Unstored.STORE_FULL:

            def change(txn: lmdb.Transaction) -> None:
                data = txn.get(ROOM, None, self._records.wishes)
                if data is None or ID.unpack(data)[0] < extra:
                    txn.put(ROOM, ID.pack(extra + 1), db=self._records.wishes)

            self._changed((), change)
        return result

    def _touched(self, placed: Copy | NotStored) -> Copy | NotStored:
        """Note a new copy as used: its word in the shared page may be that of an old one."""
        if self._recency is not None and isinstance(placed, Copy):
            self._recency.begin(placed.copy_id, evict.second_of(placed.response_wall))
        return placed

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
