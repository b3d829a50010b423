"""
Purges, as those who may ask for them write them: read, carried out, answered.

They come by two ways: ``POST /purge?…`` on the operators' door, and the method ``PURGE`` from whoever is in
``[cache] purge_from``. Both end in :meth:`Purger.carry_out`; when that has returned, no process uses what was purged.

What may be named: ``url`` (exactly, in all its variants), ``host``, ``prefix``, ``tag`` (as often as wanted), or ``all``;
``soft`` makes all of it soft. What a purge does lies in :mod:`edge.cache.purge`.

An address is compared byte for byte with those that were asked for: its host is brought into the parser's spelling, and
nothing else is changed but what a route leaves out of its keys.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from edge.cache.key import key_of
from edge.cache.purge import Purge, What, tags_of
from edge.cache.storing import NotStored, Unstored
from edge.exchange.answering import say_json, shown
from edge.http.h1.target import canonical_authority
from edge.observe import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.cache.store import Store
    from edge.clock import Clock
    from edge.exchange.decision import Answer
    from edge.message.head import RequestHead
    from edge.observe.ledger import Cells

    KeysFor = Callable[[bytes, bytes, bytes], tuple[bytes, ...]]

log = logging.getLogger("edge")

_ADDRESS: Final = re.compile(rb"(?i:(https?)://)?([^/?#]*)([/?][^#]*)?(?:#.*)?")
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]*")
_SCHEMES: Final = (b"https", b"http")

MOST_ORDERS: Final = 256
"""Things purged by one call; each stands for itself."""


class Misread(ValueError):  # noqa: N818 - it is the other's error
    """What was asked for cannot be understood; the text says why, to whoever asked."""


@dataclass(frozen=True, slots=True)
class Order:
    """
    One thing to purge.

    Attributes:
        name: ``url``, ``host``, ``prefix``, ``tag`` or ``all``.
        text: what of it; empty for ``all``.
        keys: of a ``url``.
    """

    name: str
    text: bytes = b""
    keys: tuple[bytes, ...] = ()


Query = list[tuple[str, str]]
"""What stands behind the ``?``, decoded."""

NO_CACHE: Final = "there is no cache: [cache] path is not set"


def read_query(query: bytes | None) -> Query:
    """Decode a query: UTF-8, percent-encoded."""
    return parse_qsl((query or b"").decode("latin-1"), keep_blank_values=True)


def only_url(query: Query) -> bytes:
    """
    Return the ``url`` that is all a query names.

    Raises:
        Misread: it names something else, or more.
    """
    if len(query) != 1 or query[0][0] != "url":
        raise Misread("expected one url, and nothing else")
    return query[0][1].encode()


def _one_key(scheme: bytes, authority: bytes, target: bytes) -> tuple[bytes, ...]:
    return (key_of(scheme, authority, target),)


def read_orders(query: Query, keys_for: KeysFor = _one_key) -> tuple[list[Order], bool]:
    """
    Read the query of ``POST /purge``.

    Args:
        query: as sent.
        keys_for: gives the keys of a scheme, an authority and a target, where routes have rules of their own.

    Returns:
        What to purge, at least one thing, and whether softly.

    Raises:
        Misread: nothing is named, or something that there is not.
    """
    orders: list[Order] = []
    is_soft = False
    for name, value in query:
        text = value.encode()
        match name:
            case "url":
                scheme, authority, target = address_of(text)
                url = b"%b://%b%b" % (scheme, authority, target)
                orders.append(Order("url", url, keys_for(scheme, authority, target)))
            case "host" | "prefix" | "tag":
                orders.append(Order(name, read_selection(name, text)))
            case "all":
                if _is_yes(name, value):
                    orders.append(Order("all"))
            case "soft":
                is_soft = _is_yes(name, value)
            case _:
                raise Misread(f"{name!r} is not known here; expected url, host, prefix, tag, all, or soft")
    if not orders:
        raise Misread("nothing is named; expected url, host, prefix, tag, or all")
    if len(orders) > MOST_ORDERS:
        raise Misread(f"{len(orders)} things are named; expected {MOST_ORDERS} at most")
    return orders, is_soft


def read_selection(name: str, text: bytes) -> bytes:
    """
    Return *text* in the spelling that copies have.

    Args:
        name: ``host``, ``prefix`` or ``tag``.
        text: as written.

    Raises:
        Misread: it is no such thing.
    """
    if name == "host":
        return _host(text)
    if name == "prefix":
        return _prefix(text)
    if not text.strip():
        raise Misread("a tag is not empty")
    return text


def orders_of(head: RequestHead, keys_for: KeysFor = _one_key) -> tuple[list[Order], bool]:
    """
    Read a ``PURGE``: of the tags in its ``Cache-Tag`` or ``Surrogate-Key``, or of its own target, by either scheme: whoever
    purges often stands behind the TLS that clients come through. ``Soft-Purge: 1`` makes it soft.
    """
    is_soft = (head.get(b"soft-purge") or b"").strip().lower() in {b"1", b"true", b"yes"}
    tags = tags_of(head.fields)
    if tags:
        return [Order("tag", tag) for tag in sorted(tags)[:MOST_ORDERS]], is_soft
    keys = tuple(key for scheme in _SCHEMES for key in keys_for(scheme, head.authority, head.target))
    return [Order("url", b"%b%b" % (head.authority, head.target), keys)], is_soft


def address_of(text: bytes) -> tuple[bytes, bytes, bytes]:
    """
    Take an address apart, as a request for it would be.

    Returns:
        Scheme, authority and target, as they stand in a head.

    Raises:
        Misread: it is none, or one that no request can be for.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or match[1] is None or not _VISIBLE.fullmatch(text):
        raise Misread(
            f"{shown(text)!r} is not an address; expected one such as 'https://shop.example/a?b', percent-encoded"
        )
    scheme = match[1].lower()
    authority = canonical_authority(match[2], scheme)
    if authority is None:
        raise Misread(f"{shown(match[2])!r} is not a host")
    target = match[3] or b"/"
    return scheme, authority, target if target.startswith(b"/") else b"/" + target


def _host(text: bytes) -> bytes:
    """A host, on every port unless one is given that no scheme has by default."""
    authority = canonical_authority(text, b"")
    if authority is None:
        raise Misread(f"{shown(text)!r} is not a host; expected one such as 'shop.example', without scheme and path")
    return authority.removesuffix(b":443").removesuffix(b":80")


def _prefix(text: bytes) -> bytes:
    """The beginning of an address, with or without its scheme: at least the whole host."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not match[2] or not match[3] or not match[3].startswith(b"/") or not _VISIBLE.fullmatch(text):
        raise Misread(
            f"{shown(text)!r} is not the beginning of an address; expected one such as 'https://shop.example/images/'"
        )
    scheme = match[1].lower() if match[1] else b""
    authority = canonical_authority(match[2], scheme)
    if authority is None:
        raise Misread(f"{shown(match[2])!r} is not a host")
    return b"%b%b%b" % (scheme and scheme + b"://", authority, match[3])


def _is_yes(name: str, value: str) -> bool:
    if value.lower() in {"", "1", "true", "yes"}:
        return True
    if value.lower() in {"0", "false", "no"}:
        return False
    raise Misread(f"{name}={value} is neither yes nor no")


class Purger:
    """
    Carries purges out.

    Args:
        store: None when there is no cache.
        clock: its wall is read when a purge is made, not when the turn began: what was asked for in between is hit too.
        cells: this slot's counters.
    """

    __slots__ = ("_cells", "_clock", "_store")

    def __init__(self, store: Store | None, clock: Clock, cells: Cells) -> None:
        self._store = store
        self._clock = clock
        self._cells = cells

    def answer(self, head: RequestHead, orders: list[Order], now_wall: float, *, is_soft: bool, by: str) -> Answer:
        """
        Carry out what *head* asked for, and say so.

        Args:
            head: the request.
            orders: what it says.
            now_wall: for the reply's date.
            is_soft: see :mod:`edge.cache.purge`.
            by: who asks, for the log.
        """
        if self._store is None:
            return say_json(head, 409, {"error": NO_CACHE}, now_wall)
        done: list[dict[str, str | int]] = []
        for order in orders:
            outcome = self._carry_out(self._store, order, is_soft=is_soft)
            what = f"{order.name} {shown(order.text)}".strip()
            if isinstance(outcome, NotStored):
                why = _WHY_NOT.get(outcome.reason, outcome.reason.value)
                log.error("%s was not purged, as %s asked: %s", what, by, why)
                return say_json(
                    head,
                    503,
                    {"error": f"{what} was not purged: {why}", "purged": done},
                    now_wall,
                    extra=((b"retry-after", b"1"),),
                )
            self._cells[names.CACHE_PURGES[order.name]] += 1
            log.info("purged%s, as %s asked: %s", " softly" if is_soft else "", by, what)
            said: dict[str, str | int] = {order.name: shown(order.text) or 1}
            if outcome is not None:
                said["copies"] = outcome
            done.append(said)
        return say_json(head, 200, {"purged": done, "soft": is_soft}, now_wall)

    def _carry_out(self, store: Store, order: Order, *, is_soft: bool) -> int | NotStored | None:
        """Purge one thing. Returns how many copies it hit, where that is known at once."""
        now_wall = self._clock.wall()
        if not order.keys:
            return store.purge(Purge(What(order.name), order.text, now_wall, is_soft))
        count = 0
        for key in order.keys:
            done = store.soften(key, now_wall) if is_soft else store.delete(key, now_wall)
            if isinstance(done, NotStored):
                return done
            count += done
        return count


_WHY_NOT: Final = {
    Unstored.STORE_BUSY: "too many purges stand that the keeper has not come to yet",
    Unstored.STORE_FULL: "the store has no room to note it",
    Unstored.STORE_BROKEN: "the store is damaged",
}
