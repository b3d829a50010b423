"""An audit that finds nothing must be able to find something."""

from __future__ import annotations

import pytest

from edge.cache.audit import faults
from edge.cache.copy import IDENTITY
from edge.cache.records import CHUNK, ID
from tests.cache.test_fill import begin
from tests.cache.test_store import put


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lambda txn, db, copy, body: txn.delete(CHUNK.pack(body, 1), db=db.chunks), "identity: 4080 bytes of 9000"),
        (lambda txn, db, copy, body: txn.put(CHUNK.pack(body, 2), b"x", db=db.chunks), "identity: 8161 bytes of 9000"),
        (lambda txn, db, copy, body: txn.delete(ID.pack(copy.copy_id), db=db.sizes), "has no row"),
        (lambda txn, db, copy, body: txn.put(ID.pack(999), bytes(32), db=db.sizes), "row 999 has no copy"),
        (lambda txn, db, copy, body: txn.put(CHUNK.pack(999, 0), b"x", db=db.chunks), "body 999 belongs to nobody"),
        (lambda txn, db, copy, body: txn.delete(b"f" * 16, db=db.heads), ""),
        (
            lambda txn, db, copy, body: txn.put(b"k" * 16, txn.get(copy.key, None, db.copies), db=db.copies),
            "another key",
        ),
    ],
)
def test_what_was_tampered_with_is_found(store, tamper, expected):
    copy = put(store, body=b"x" * 9000)
    with store._begin(write=True) as txn:
        tamper(txn, store._records, copy, copy.bodies[IDENTITY].body_id)

    found = faults(store)

    assert bool(found) == bool(expected)
    assert expected in "\n".join(found)


def test_a_fill_without_a_head_is_found(store):
    fill = begin(store)
    with store._begin(write=True) as txn:
        txn.delete(fill.copy.key, db=store._records.heads)

    assert faults(store) == [f"fill {fill.body_id} has no head"]
