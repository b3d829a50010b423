"""
How copies and bodies lie in the database: everything that is done inside a transaction.

Layout, by database:

- ``copies``: key → all copies of that key (:mod:`edge.cache.copy`).
- ``chunks``: body id, number → one page's worth of a body. Chunks are as long as a page holds, so that no write ever looks for
  free pages in a row: with 64 KiB chunks a store that had been full for a while wrote at a third of the speed, and
  refused bodies at nine tenths of its size because no sixteen free pages lay together.
- ``sizes``: copy id → key, bytes, when stored, when dead: what the keeper goes by.
- ``fills``: key → how far a body has come that is still arriving; ``heads``: key → the copy it will be.
- ``graves``: body id → when it was given up. A body longer than WHOLE_BYTES is not removed with its copy but buried for
  a while, so that nobody's download is cut off because a newer reply has arrived; the keeper clears graves.
- ``wishes``: what was refused for want of room, so that the keeper makes some; one record.
- ``tombs``: key → when it was purged or invalidated. A reply that was asked for before is not stored after. Very many become one purge
  of everything that has been dealt with.
- ``purges``: the purges of more than one key that stand (:mod:`edge.cache.purge`): one record with all of them, and one with its
  version, so that a process reads them again only when they have changed.

Ids are the transaction's number: they grow, and are never used twice in the life of a database.

Does not begin or end transactions, and raises what LMDB raises: :mod:`edge.cache.store` does the one and catches the other.
Invariant: after a commit every chunk belongs to a copy, a fill or a grave, and every copy's bodies are whole.
"""

from __future__ import annotations

import struct
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.cache import evict
from edge.cache.combine import may_combine
from edge.cache.copy import IDENTITY, BodyRef, Copy, decode_copies, decode_copy, encode_copies
from edge.cache.purge import NONE_STAND, Purge, Standing, What, added, decode_purges, encode_purges
from edge.cache.storing import NotStored, Unstored, not_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import lmdb

    from edge.cache.fill import Progress

WHOLE_BYTES: Final = 256 * 1024
"""A body of up to so many bytes is stored in one transaction, read at once, and removed with its copy."""

MOST_VARIANTS: Final = 64
"""Copies per key. All of them are read at every lookup; beyond, the oldest goes."""

PAGE_HEADER: Final = 16
SIZE: Final = struct.Struct(">16sQII")
SIZE_ROW: Final = struct.Struct(">16xQII")
"""The same without its key."""
WHEN: Final = struct.Struct(">d")
ID: Final = struct.Struct(">Q")
CHUNK: Final = struct.Struct(">QI")
DATABASES: Final = (b"copies", b"chunks", b"sizes", b"fills", b"heads", b"graves", b"tombs", b"wishes", b"purges")

ROOM: Final = b"room"
"""Key of the one wish: bytes."""

STANDING: Final = b"standing"
VERSION: Final = b"version"
"""Keys of the purges and of their version."""

UNDATED: Final = 0.0
"""When something ended whose end had no clock at hand; the keeper dates it when it sees it first."""

MOST_TOMBS: Final = 65536
"""Keys that are remembered as purged or invalidated one by one: some 4 MiB; fewer in a small store."""

_HEAD_BYTES: Final = 512
"""About what a copy's head and rows take."""


class Records:
    """
    The databases of one environment.

    Attributes:
        chunk_bytes: of a body in one record: what a page holds.
    """

    __slots__ = (
        "_all",
        "_standing",
        "chunk_bytes",
        "chunks",
        "copies",
        "fills",
        "graves",
        "heads",
        "page_bytes",
        "purges",
        "size",
        "sizes",
        "tombs",
        "wishes",
    )

    def __init__(self, env: lmdb.Environment, size: int) -> None:
        self.size = size
        self.page_bytes: int = env.stat()["psize"]
        self.chunk_bytes = self.page_bytes - PAGE_HEADER
        opened = [env.open_db(name) for name in DATABASES]
        self._all = tuple(opened)
        self.copies, self.chunks, self.sizes, self.fills, self.heads, self.graves, self.tombs, self.wishes = opened[:-1]
        self.purges = opened[-1]
        self._standing = NONE_STAND

    def used(self, txn: lmdb.Transaction) -> int:
        """Return the bytes of the pages in use. Cost: some 6 µs."""
        return self._pages(txn, self._all) * self.page_bytes

    def _pages(self, txn: lmdb.Transaction, databases: Iterable[Any]) -> int:
        pages = 0
        for database in databases:
            stat = txn.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages

    def lacks_room(self, txn: lmdb.Transaction, extra: int) -> NotStored | None:
        """Return why *extra* bytes of bodies may not be written now, if they may not."""
        if extra > evict.largest(self.size):
            return not_stored(Unstored.TOO_LARGE)
        # All of it: under a storm of fills the rows of those that have ended (380 bytes each, kept for minutes) took the room
        # that deleting needs, and the store could neither be written nor emptied any more (bench/store/storm.py).
        used = self.used(txn)
        if not evict.may_grow(used, extra + 4 * self.page_bytes, self.size):
            return not_stored(Unstored.STORE_FULL)
        return None

    def refusal(self, txn: lmdb.Transaction, copy: Copy) -> NotStored | None:
        """Return why *copy* may not be stored any more: its key was purged after it was asked for."""
        tomb = txn.get(copy.key, None, self.tombs)
        if tomb is not None and WHEN.unpack(tomb)[0] >= copy.request_wall:
            return not_stored(Unstored.PURGED)
        if self.standing(txn).refuses(copy):
            return not_stored(Unstored.PURGED)
        return None

    # Purges.

    def note_purge(self, txn: lmdb.Transaction, key: bytes, now_wall: float) -> None:
        """
        Have nothing stored under *key* any more that was asked for before *now_wall*.

        One small record, the key's tomb. When there are very many of them (whoever can have unsafe requests answered can bring about as
        many as he likes) all become one that refuses whatever was asked for before: at worst a reply is not stored that might
        have been.
        """
        if txn.stat(self.tombs)["entries"] >= most_tombs(self.size) and txn.get(key, None, self.tombs) is None:
            everything = added(self.standing(txn).purges, Purge(What.ALL, b"", now_wall, is_swept=True))
            if everything is not None:
                self.write_purges(txn, everything)
                txn.drop(self.tombs, delete=False)
                return
        txn.put(key, WHEN.pack(now_wall), db=self.tombs)

    def standing(self, txn: lmdb.Transaction) -> Standing:
        """Return the purges that stand. Cost: 0.3 µs while they do not change."""
        version = txn.get(VERSION, b"", self.purges)
        if version != self._standing.version:
            self._standing = Standing(bytes(version), decode_purges(bytes(txn.get(STANDING, b"", self.purges))))
        return self._standing

    def write_purges(self, txn: lmdb.Transaction, purges: list[Purge]) -> None:
        """Put all purges that stand. The version is random: one that was never committed must not be met again."""
        txn.put(STANDING, encode_purges(purges), db=self.purges)
        txn.put(VERSION, ID.pack(getrandbits(64)), db=self.purges)

    # Copies.

    def read_copies(self, txn: lmdb.Transaction, key: bytes) -> list[Copy]:
        """Return all copies of *key*."""
        data = txn.get(key, None, self.copies)
        return [] if data is None else decode_copies(data)

    def write_copies(self, txn: lmdb.Transaction, key: bytes, copies: list[Copy]) -> None:
        """Put all copies of *key*; none removes the record."""
        if copies:
            txn.put(key, encode_copies(copies), db=self.copies)
        else:
            txn.delete(key, db=self.copies)

    def place(self, txn: lmdb.Transaction, copy: Copy) -> Copy | NotStored:
        """Put a copy whose bodies are written among the others of its key."""
        refused = self.refusal(txn, copy)
        if refused is not None:
            return refused
        kept: list[Copy] = []
        for other in self.read_copies(txn, copy.key):
            if other.vary != copy.vary:
                kept.append(other)
            elif other.request_wall > copy.request_wall and not other.is_invalid and not _completes(copy, other):
                return not_stored(Unstored.SUPERSEDED)
            else:
                self.remove(txn, other, copy.response_wall)
        while len(kept) >= MOST_VARIANTS:
            oldest = min(kept, key=lambda other: other.response_wall)
            kept.remove(oldest)
            self.remove(txn, oldest, copy.response_wall)
        self.write_copies(txn, copy.key, [*kept, copy])
        self.note_size(txn, copy)
        return copy

    def note_size(self, txn: lmdb.Transaction, copy: Copy) -> None:
        """Write the row that the keeper goes by."""
        if copy.spans is None:
            size = sum(self._footprint(ref.length) for ref in copy.bodies.values()) + _HEAD_BYTES
        else:
            size = sum(self._footprint(end - start) for start, end in copy.spans) + _HEAD_BYTES
        row = SIZE.pack(copy.key, size, evict.second_of(copy.stored_wall), evict.second_of(evict.dead_wall(copy)))
        txn.put(ID.pack(copy.copy_id), row, db=self.sizes)

    def remove(self, txn: lmdb.Transaction, copy: Copy, now_wall: float) -> None:
        """Remove what belongs to a copy: its bodies and its row, but not the copy itself from its list."""
        for ref in copy.bodies.values():
            if ref.length > WHOLE_BYTES:
                self.bury(txn, ref.body_id, now_wall)
            else:
                for number in range(-(-ref.length // self.chunk_bytes)):
                    txn.delete(CHUNK.pack(ref.body_id, number), db=self.chunks)
        txn.delete(ID.pack(copy.copy_id), db=self.sizes)

    def adopt(self, txn: lmdb.Transaction, key: bytes, progress: Progress) -> Copy | None:
        """
        Make a copy of what has landed of a fill that will not be ended, if the rest can be fetched behind it.

        One per transaction: the copy's id is the transaction's number.

        Returns:
            The copy, of which parts are stored; None if what has landed is of no use.
        """
        head = txn.get(key, None, self.heads)
        if head is None:
            return None
        draft = decode_copy(head)
        landed = progress.landed_bytes
        if landed != draft.length:
            landed -= landed % self.chunk_bytes
        if not may_combine(draft) or not 0 < landed <= draft.length:
            return None
        bodies = {IDENTITY: BodyRef(progress.body_id, draft.length)}
        stored = ((0, landed),) if landed < draft.length else None
        if any(other.vary == draft.vary and other.spans is None for other in self.read_copies(txn, key)):
            return None  # one that is whole, stale as it may be, is of more use when the origin is gone
        placed = self.place(txn, msgspec.structs.replace(draft, copy_id=txn.id(), bodies=bodies, spans=stored))
        return placed if isinstance(placed, Copy) else None

    def bury(self, txn: lmdb.Transaction, body_id: int, now_wall: float) -> None:
        """Give a body up: the keeper removes it, when nobody can be reading it any more."""
        txn.put(ID.pack(body_id), WHEN.pack(now_wall), db=self.graves)

    # Bodies.

    def write_body(self, txn: lmdb.Transaction, body_id: int, data: bytes) -> BodyRef:
        """Write a body that is complete."""
        chunk = self.chunk_bytes
        if len(data) <= chunk:
            if data:
                txn.put(CHUNK.pack(body_id, 0), data, db=self.chunks)
        else:
            view = memoryview(data)
            for number, start in enumerate(range(0, len(data), chunk)):
                txn.put(CHUNK.pack(body_id, number), view[start : start + chunk], db=self.chunks)
        return BodyRef(body_id, len(data))

    def write_part(self, txn: lmdb.Transaction, body_id: int, start: int, data: bytes | memoryview) -> None:
        """Write a part of a body: it begins with a chunk, and ends with one or with the body."""
        chunk = self.chunk_bytes
        first, off = divmod(start, chunk)
        assert not off, "a part begins where a chunk does"
        view = memoryview(data)
        for number, at in enumerate(range(0, len(view), chunk), first):
            txn.put(CHUNK.pack(body_id, number), view[at : at + chunk], db=self.chunks)

    def append(self, txn: lmdb.Transaction, progress: Progress, data: bytes) -> None:
        """Write behind what has landed; the last chunk is completed in place."""
        chunk = self.chunk_bytes
        number, filled = divmod(progress.landed_bytes, chunk)
        view = memoryview(data)
        at = 0
        if filled:
            head = txn.get(CHUNK.pack(progress.body_id, number), b"", self.chunks)
            at = min(chunk - filled, len(view))
            txn.put(CHUNK.pack(progress.body_id, number), bytes(head) + view[:at], db=self.chunks)
            number += 1
        for start in range(at, len(view), chunk):
            txn.put(CHUNK.pack(progress.body_id, number), view[start : start + chunk], db=self.chunks)
            number += 1

    def read(self, txn: lmdb.Transaction, body_id: int, start: int, end: int) -> bytes | None:
        """Return the bytes *start* to *end*, at least one; None if any is missing. *txn* gives buffers."""
        chunk = self.chunk_bytes
        first, last = start // chunk, (end - 1) // chunk
        get: Callable[..., Any] = txn.get
        database = self.chunks
        if first == last:
            data = get(CHUNK.pack(body_id, first), None, database)
            if data is None or len(data) < end - first * chunk:
                return None
            return bytes(data[start - first * chunk : end - first * chunk])
        pieces = [get(CHUNK.pack(body_id, number), None, database) for number in range(first, last + 1)]
        if None in pieces or len(pieces[-1]) < end - last * chunk:
            return None
        pieces[-1] = pieces[-1][: end - last * chunk]
        pieces[0] = pieces[0][start - first * chunk :]
        return b"".join(pieces)

    def _footprint(self, length: int) -> int:
        """Return about how many bytes of pages a body takes: what fits twice in a page shares one."""
        whole, rest = divmod(length, self.chunk_bytes)
        return whole * self.page_bytes + (self.page_bytes if rest > self.chunk_bytes // 2 else rest)


def most_tombs(size: int) -> int:
    """Return how many tombs a store of *size* may hold: three hundredths of it at most."""
    return max(64, min(MOST_TOMBS, size // 2048))


def _completes(copy: Copy, other: Copy) -> bool:
    """Whether *copy* is all of what parts are stored of as *other*, though that was asked for later."""
    return other.spans is not None and copy.spans is None and may_combine(other) and copy.etag == other.etag
