"""
What a stored reply is, and how it is written down.

A :class:`Copy` holds everything that policy and the reply's composer need, worked out once when it was stored, so that
a hit parses nothing. All copies of one key are one record, a list, because a lookup wants them all and nothing else.
Bodies are not in it: :class:`BodyRef` names them.

A copy is never written to once made; a change is :func:`msgspec.structs.replace`. The array layout is the database's
format: a field may be added at the end, anything else needs another :data:`FORMAT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterable

FORMAT: Final = 2
"""Changes when records written before could not be read any more; a store of another format is started anew."""

IDENTITY: Final = b"identity"


class BodyRef(msgspec.Struct, array_like=True, gc=False):
    """
    One body in the store.

    Attributes:
        body_id: never used again for other bytes.
        length: bytes.
    """

    body_id: int
    length: int


class Copy(msgspec.Struct, array_like=True, gc=False):
    """
    A stored reply.

    Attributes:
        copy_id: never used again for another copy; 0 while it is not stored. A 304 keeps it.
        key: see ``key``.
        url: scheme, authority and target as one address: for people, and for purging by prefix or host.
        status: 200-999, never 206 or 304.
        reason: as the origin sent it, may be empty.
        fields: end-to-end, with neither framing nor ``age``, without what ``no-cache=`` and ``private=`` named.
        vary: the selecting fields, see :data:`edge.cache.vary.Selecting`.
        request_wall: when the request that brought it was sent.
        response_wall: when its head arrived, or that of the 304 that last confirmed it.
        date_wall: its ``Date``, or response_wall if it had none.
        initial_age: seconds it was old at response_wall (RFC 9111 §4.2.3).
        lifetime_s: seconds it is fresh for, counted from age 0 (§4.2.1). 0 = ask each time.
        is_explicit: the origin gave that lifetime; False = we guessed (§4.2.2), or it gave none.
        swr_s: seconds it may be served after that while it is being refreshed; 0 = may not (RFC 5861 §3).
        sie_s: seconds it may be served after that when the origin fails; None = the origin did not say.
        must_revalidate: never serve it stale but within swr_s and sie_s: must-revalidate, proxy-revalidate or s-maxage.
        no_cache: ask before each use.
        is_invalid: an unsafe method changed what it stands for: ask before any use, whatever else is said.
        no_transform: its body must not be encoded.
        etag: well-formed, or None.
        last_modified: as sent, a date, or None.
        length: the identity body's bytes.
        bodies: by content coding; ``identity`` (the origin's own bytes, coded by it or not) is always there.
        stored_wall: when it was first stored.
        spans: the bytes of the identity body that are there (:mod:`edge.cache.spans`); None: all of them, the usual case. Such a
            copy has no other coding.
    """

    copy_id: int
    key: bytes
    url: bytes
    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    vary: tuple[tuple[bytes, bytes | None], ...]
    request_wall: float
    response_wall: float
    date_wall: float
    initial_age: float
    lifetime_s: float
    is_explicit: bool
    swr_s: int
    sie_s: int | None
    must_revalidate: bool
    no_cache: bool
    is_invalid: bool
    no_transform: bool
    etag: bytes | None
    last_modified: bytes | None
    length: int
    bodies: dict[bytes, BodyRef]
    stored_wall: float
    spans: tuple[tuple[int, int], ...] | None = None

    @property
    def age_base_wall(self) -> float:
        """The wall second at which its age was zero."""
        return self.response_wall - self.initial_age

    @property
    def fresh_until_wall(self) -> float:
        """The wall second at which it becomes stale. Whether it may be used before, lookup says."""
        return self.response_wall - self.initial_age + self.lifetime_s

    def get(self, name: bytes) -> bytes | None:
        """Return the joined value of *name*, in lower case. Cost: a scan of the fields."""
        found = [value for other, value in self.fields if other == name]
        return b", ".join(found) if found else None


encode_copy = msgspec.msgpack.Encoder().encode
_decode_copy = msgspec.msgpack.Decoder(Copy).decode
_decode_copies = msgspec.msgpack.Decoder(list[Copy]).decode


def encode_copies(copies: Iterable[Copy]) -> bytes:
    """Write down all copies of one key."""
    return encode_copy(list(copies))


def decode_copies(data: Buffer) -> list[Copy]:
    """
    Read what :func:`encode_copies` wrote. Cost: under 1 µs per copy.

    Raises:
        msgspec.MsgspecError: *data* is something else.
    """
    return _decode_copies(data)


def decode_copy(data: Buffer) -> Copy:
    """
    Read one copy, as a fill's record holds it.

    Raises:
        msgspec.MsgspecError: *data* is something else.
    """
    return _decode_copy(data)
