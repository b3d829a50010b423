"""
What a purge names, and which copies it hits.

A purge of one address is done on the spot. One of a host, a prefix, a tag or everything may hit a million copies, so it
*stands*: one small record that holds in every process from the moment it is committed. Whoever reads copies weighs them
against the purges that stand (:class:`Standing`), the keeper makes them true in the store, portion by portion, and one that
it is through with is remembered a while longer, for the sake of replies that were asked for before it.

A purge hits what was asked for at or before its moment, never what was asked for after: that is also how it wins a race with
a fetch. A *hard* one takes a copy away. A *soft* one ends its freshness: it is asked about before it is used, but for
the windows of ``stale-while-revalidate`` and ``stale-if-error``, which begin at the purge.

Pure. Does not know addresses' spelling (whoever takes a purge in does), nor how records lie.
Source: Fastly's ``Surrogate-Key`` and soft purge; Cloudflare's and Akamai's ``Cache-Tag``; Varnish's bans, whose lurker the
keeper is.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from edge.cache.groups import group_at, groups_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.cache.copy import Copy

MOST_STANDING: Final = 1024
"""Purges remembered one by one. Each process reads all of them again when one is added: at this number, in under a millisecond."""

LEAST_LIFETIME_S: Final = 0.001
"""A copy that was fresh once keeps a lifetime: whether it may be used when the origin is gone depends on that."""


class What(Enum):
    """What a standing purge names."""

    HOST = "host"  # an authority; without a port, on all of them
    PREFIX = "prefix"  # the beginning of an address, with or without its scheme
    TAG = "tag"  # one tag of Cache-Tag or Surrogate-Key
    GROUP = "group"  # one group of Cache-Groups, behind the origin that it is a group of (RFC 9875)
    ALL = "all"  # everything there is


class Purge(msgspec.Struct, array_like=True, frozen=True):
    """
    A purge that stands.

    Attributes:
        what: what ``text`` is.
        text: in the spelling that copies have; empty for ALL.
        when_wall: its moment.
        is_soft: see the module.
        is_swept: every copy that it hits has been dealt with; it only refuses what comes late.
    """

    what: What
    text: bytes
    when_wall: float
    is_soft: bool = False
    is_swept: bool = False


encode_purges: Final[Callable[[list[Purge]], bytes]] = msgspec.msgpack.Encoder().encode
decode_purges: Final[Callable[[bytes], list[Purge]]] = msgspec.msgpack.Decoder(list[Purge]).decode


def tags_of(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the tags in a reply's fields: ``Cache-Tag`` separates by commas, ``Surrogate-Key`` by spaces. Case counts."""
    found: set[bytes] = set()
    for name, value in fields:
        if name == b"surrogate-key":
            found.update(value.split())
        elif name == b"cache-tag":
            found.update(tag for piece in value.split(b",") if (tag := piece.strip()))
    return frozenset(found)


def softened(copy: Copy, when_wall: float) -> Copy:
    """Return *copy* with its freshness ended at *when_wall*, if it had not ended before."""
    left = when_wall - copy.age_base_wall
    if copy.lifetime_s <= max(left, LEAST_LIFETIME_S):
        return copy
    return msgspec.structs.replace(copy, lifetime_s=max(left, LEAST_LIFETIME_S))


def added(purges: list[Purge], purge: Purge) -> list[Purge] | None:
    """
    Return *purges* with *purge*, which takes the place of an earlier one of the same kind (one that only refuses what comes late not
    that of one whose copies are still there).

    Of too many, those that only refuse what comes late become one that refuses everything asked for before the last of them: at
    worst a reply is not stored that might have been. None if there are too many of the others: the keeper is behind.
    """
    kept = [
        old
        for old in purges
        if (old.what, old.text, old.is_soft) != (purge.what, purge.text, purge.is_soft)
        or old.when_wall > purge.when_wall
        or (purge.is_swept and not old.is_swept)
    ]
    if len(kept) >= MOST_STANDING:
        swept = [old.when_wall for old in kept if old.is_swept]
        kept = [old for old in kept if not old.is_swept]
        if len(kept) >= MOST_STANDING - 1:
            return None
        kept.append(Purge(What.ALL, b"", max(swept), is_swept=True))
    return [*kept, purge]


class _Net:
    """Some purges, so laid out that a copy finds those that hit it without trying each."""

    __slots__ = ("_groups", "_hosts", "_lengths", "_prefixes", "_tags", "newest_wall")

    def __init__(self, purges: Iterable[Purge]) -> None:
        self._hosts: dict[bytes, list[float]] = {}
        self._tags: dict[bytes, list[float]] = {}
        self._prefixes: dict[bytes, list[float]] = {}
        self._groups: dict[bytes, list[float]] = {}
        self.newest_wall = float("-inf")
        place = {
            What.HOST: self._hosts,
            What.TAG: self._tags,
            What.PREFIX: self._prefixes,
            What.GROUP: self._groups,
            What.ALL: self._prefixes,
        }
        for purge in purges:
            place[purge.what].setdefault(purge.text, []).append(purge.when_wall)
            self.newest_wall = max(self.newest_wall, purge.when_wall)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})

    def first_hit(self, copy: Copy) -> float | None:
        """Return the moment of the earliest purge that hits *copy*. Cost: a comparison if it is newer than all of them."""
        if copy.request_wall > self.newest_wall:
            return None
        moments = [when for found in self._naming(copy) for when in found if when >= copy.request_wall]
        return min(moments) if moments else None

    def _naming(self, copy: Copy) -> Iterable[list[float]]:
        bare = copy.url.partition(b"://")[2]
        for length in self._lengths:
            for address in (copy.url, bare):
                if (found := self._prefixes.get(address[:length])) is not None:
                    yield found
        if self._hosts:
            authority = bare.partition(b"/")[0]
            for host in {authority, without_port(authority)}:
                if (found := self._hosts.get(host)) is not None:
                    yield found
        if self._tags:
            for tag in tags_of(copy.fields):
                if (found := self._tags.get(tag)) is not None:
                    yield found

        if self._groups:
            origin = copy.url[: len(copy.url) - len(bare)] + bare.partition(b"/")[0]
            for group in groups_of(copy.get(b"cache-groups")):
                if (found := self._groups.get(group_at(origin, group))) is not None:
                    yield found


def without_port(authority: bytes) -> bytes:
    """Return the host of *authority*."""
    host, colon, port = authority.rpartition(b":")
    return host if colon and port.isdigit() else authority


class Standing:
    """
    The purges that stand, as one process read them.

    Attributes:
        purges: all of them.
        version: of what was read.
    """

    __slots__ = ("_hard", "_late", "_soft", "purges", "version")

    def __init__(self, version: bytes = b"", purges: list[Purge] | None = None) -> None:
        self.version = version
        self.purges = purges or []
        waiting = [purge for purge in self.purges if not purge.is_swept]
        self._hard = _Net(purge for purge in waiting if not purge.is_soft)
        self._soft = _Net(purge for purge in waiting if purge.is_soft)
        self._late = _Net(self.purges)

    def weighed(self, copies: list[Copy]) -> list[Copy]:
        """Return what is left of *copies*: those hit hard are gone, those hit softly no longer fresh."""
        newest_wall = max(self._hard.newest_wall, self._soft.newest_wall)
        for copy in copies:
            if copy.request_wall <= newest_wall:
                break
        else:
            return copies
        left: list[Copy] = []
        for copy in copies:
            if self._hard.first_hit(copy) is None:
                when = self._soft.first_hit(copy)
                left.append(copy if when is None else softened(copy, when))
        return left

    def refuses(self, copy: Copy) -> bool:
        """Whether *copy* comes late: it was asked for before a purge that names it."""
        return self._late.first_hit(copy) is not None


NONE_STAND: Final = Standing()
