"""
Whether a store is what it promises to be, looked at as a whole.

For tests, and for whoever doubts a cache: everything is read, nothing changed, and what is wrong comes back as sentences. It
takes one snapshot for all of it, so it is not for a store under load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.copy import decode_copies
from edge.cache.fill import FillState, Progress
from edge.cache.records import CHUNK, ID, SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lmdb

    from edge.cache.store import Store


def faults(store: Store) -> list[str]:
    """
    Return what is wrong: bodies that are not whole, rows without copies, chunks that belong to nobody.

    Raises:
        lmdb.Error, msgspec.MsgspecError: the database itself is damaged.
    """
    with store._begin() as txn:
        return list(_faults(store, txn))


def _faults(store: Store, txn: lmdb.Transaction) -> Iterator[str]:
    records = store._records
    owners: dict[int, str] = {}
    rows: set[int] = set()
    for key, data in txn.cursor(records.copies):
        for copy in decode_copies(data):
            if copy.key != key:
                yield f"copy {copy.copy_id} lies under another key"
            if copy.copy_id in rows:
                yield f"copy {copy.copy_id} is there twice"
            rows.add(copy.copy_id)
            row = txn.get(ID.pack(copy.copy_id), None, records.sizes)
            if row is None or SIZE.unpack(row)[0] != key:
                yield f"copy {copy.copy_id} has no row"
            for coding, ref in copy.bodies.items():
                owners[ref.body_id] = f"copy {copy.copy_id}"
                for start, end in ((0, ref.length),) if copy.spans is None else copy.spans:
                    found = _length(store, txn, ref.body_id, start, end)
                    if found != end - start:
                        yield f"copy {copy.copy_id} {coding.decode()}: {found} bytes of {end - start} from {start} on"
    for raw, _ in txn.cursor(records.sizes):
        if ID.unpack(raw)[0] not in rows:
            yield f"row {ID.unpack(raw)[0]} has no copy"
    for key, data in txn.cursor(records.fills):
        progress = Progress.read(bytes(data))
        if txn.get(key, None, records.heads) is None:
            yield f"fill {progress.body_id} has no head"
        if progress.state is FillState.FILLING:
            owners[progress.body_id] = "fill"
    for raw, _ in txn.cursor(records.graves):
        owners.setdefault(ID.unpack(raw)[0], "grave")
    strays = {CHUNK.unpack(raw)[0] for raw, _ in txn.cursor(records.chunks)} - owners.keys()
    for body_id in sorted(strays):
        yield f"body {body_id} belongs to nobody"


def _length(store: Store, txn: lmdb.Transaction, body_id: int, start: int, end: int) -> int:
    """Return how many bytes of a body are there in a row from *start*, where a chunk begins."""
    length = 0
    for number in range(start // store.chunk_bytes, -(-end // store.chunk_bytes)):
        data = txn.get(CHUNK.pack(body_id, number), None, store._records.chunks)
        if data is None:
            break
        length += len(data)
    return length
