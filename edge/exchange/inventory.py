"""
What is stored, told to operators: all of it a page at a time, one address in full, or in numbers.

Only looks: no use is noted, nothing is remembered, and what a client would be told is worked out by the same functions that
tell clients. A page is read in a millisecond or two, because it is read in a turn of the fast lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.cache.ask import Ask, Method
from edge.cache.fill import FillState
from edge.cache.lookup import Hit, weigh
from edge.cache.purge import Purge, Standing, What, tags_of
from edge.cache.spans import count
from edge.exchange.answering import shown
from edge.exchange.purging import Misread, address_of, read_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.cache.copy import Copy
    from edge.cache.store import Store
    from edge.share.recency import Recency

PAGE: Final = 100
MOST: Final = 500
"""Copies told at once, by default and at most."""
LOOKED_AT: Final = 500
"""Keys looked at per page: a filter that hits nothing must not keep clients waiting."""

_ALWAYS: Final = float("inf")
_PLAIN: Final = Ask(Method.GET, b"GET", b"", 0, b"", b"", b"", simple=True)
"""A request that wants nothing in particular."""


def state_of(copy: Copy, now_wall: float) -> str:
    """Say what *copy* is good for now, to a client that wants nothing in particular."""
    found = weigh(_PLAIN, copy, now_wall)
    if isinstance(found, Hit):
        return "fresh"
    if found.while_revalidate:
        return "stale, served while it is refreshed"
    if found.on_error:
        return "stale, served if the origin fails"
    if found.on_disconnect:
        return "stale, served if the origin cannot be reached"
    return {"no-cache": "asked about each time", "invalidated": "invalidated"}.get(found.why.value, "stale")


def summary(copy: Copy, now_wall: float, recency: Recency) -> dict[str, Any]:
    """Tell of *copy* in one line's worth."""
    age = copy.initial_age + max(0.0, now_wall - copy.response_wall)
    return {
        "url": shown(copy.url),
        "status": copy.status,
        "state": state_of(copy, now_wall),
        "age_s": int(age),
        "ttl_s": int(copy.lifetime_s - age),
        "bytes": copy.length,
        "stored_bytes": sum(ref.length for ref in copy.bodies.values()) if copy.spans is None else count(copy.spans),
        "parts": None if copy.spans is None else len(copy.spans),
        "codings": {coding.decode("latin-1"): ref.length for coding, ref in copy.bodies.items()},
        "vary": {shown(name): None if value is None else shown(value) for name, value in copy.vary},
        "tags": sorted(shown(tag) for tag in tags_of(copy.fields)),
        "stored_wall": copy.stored_wall,
        "used_wall": recency.read(copy.copy_id) or None,
        "uses": recency.uses(copy.copy_id),
    }


def particulars(copy: Copy, now_wall: float, recency: Recency) -> dict[str, Any]:
    """Tell all there is to tell of *copy*, but its body."""
    return summary(copy, now_wall, recency) | {
        "lifetime_s": copy.lifetime_s,
        "lifetime": "by the origin" if copy.is_explicit else "guessed" if copy.lifetime_s else "none given",
        "stale_while_revalidate_s": copy.swr_s,
        "stale_if_error_s": copy.sie_s,
        "must_revalidate": copy.must_revalidate,
        "etag": None if copy.etag is None else shown(copy.etag),
        "last_modified": None if copy.last_modified is None else shown(copy.last_modified),
        "spans": None if copy.spans is None else [list(span) for span in copy.spans],
        "asked_wall": copy.request_wall,
        "confirmed_wall": copy.response_wall,
        "fields": [[shown(name), shown(value)] for name, value in copy.fields],
    }


class Inventory:
    """
    Tells what is in *store*.

    Args:
        store: the one that this process has open.
        recency: when copies were last used, and how often.
    """

    __slots__ = ("_recency", "_store")

    def __init__(self, store: Store, recency: Recency) -> None:
        self._store = store
        self._recency = recency

    def numbers(self) -> dict[str, Any]:
        """Tell how much there is."""
        counts = self._store.counts()
        return {
            "addresses": counts.keys,
            "copies": counts.copies,
            "landing": counts.fills,
            "given_up": counts.graves,
            "standing_purges": counts.purges,
            "used_bytes": counts.used_bytes,
            "size_bytes": self._store.size,
            "is_damaged": self._store.is_broken,
        }

    def page(self, query: Iterable[tuple[str, str]], now_wall: float) -> dict[str, Any]:
        """
        Tell of a page of copies, in the order of their keys, which is no order to people.

        Args:
            query: ``host``, ``prefix``, ``tag``: which; ``limit``: how many at most; ``after``: what the last page gave as ``next``.
            now_wall: seconds.

        Returns:
            ``copies``, and ``next``: where the next page begins; None at the end. A page may be empty and not the last.

        Raises:
            Misread: *query* names something that there is not.
        """
        wanted: list[Standing] = []
        limit, after = PAGE, b""
        for name, value in query:
            match name:
                case "host" | "prefix" | "tag":
                    selection = Purge(What(name), read_selection(name, value.encode()), _ALWAYS)
                    wanted.append(Standing(b"", [selection]))
                case "limit":
                    limit = _number(value)
                case "after":
                    after = _key(value)
                case _:
                    raise Misread(f"{name!r} is not known here; expected host, prefix, tag, limit, or after")
        told: list[dict[str, Any]] = []
        left = LOOKED_AT
        while left > 0 and len(told) < limit:
            portion = min(left, limit - len(told))
            left -= portion
            found = self._store.browse(after, portion)
            if found is None:
                break
            copies, after = found
            told += [
                summary(copy, now_wall, self._recency)
                for copy in copies
                if all(which.refuses(copy) for which in wanted)
            ]
            if not after:
                break
        return {"copies": told, "next": after.hex() or None}

    def address(
        self, url: bytes, keys_for: Callable[[bytes, bytes, bytes], tuple[bytes, ...]], now_wall: float
    ) -> dict[str, Any]:
        """
        Tell all that is stored for *url*.

        Args:
            url: the address.
            keys_for: gives the keys of a scheme, an authority and a target.
            now_wall: seconds.

        Raises:
            Misread: it is no address.
        """
        scheme, authority, target = address_of(url)
        keys = keys_for(scheme, authority, target)
        fills = [fill for key in keys if (fill := self._store.fill_of(key)) and fill.state is FillState.FILLING]
        purged = [wall for key in keys if (wall := self._store.purged_wall(key)) is not None]
        return {
            "url": shown(b"%b://%b%b" % (scheme, authority, target)),
            "key": keys[-1].hex(),
            "copies": [particulars(copy, now_wall, self._recency) for key in keys for copy in self._store.copies(key)],
            "landing": {"bytes": fills[0].landed_bytes, "of_bytes": fills[0].copy.length or None} if fills else None,
            "purged_wall": max(purged, default=None),
        }


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 9:
        raise Misread(f"limit={value} is not a number")
    return max(1, min(int(value), MOST))


def _key(value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise Misread(f"after={value} is not what a page gave as its next") from None
