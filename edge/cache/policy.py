"""
What an operator has ruled for one route: which requests are the same thing there, and how long a reply is good.

A :class:`RoutePolicy` is made once per route; a route without rules has none. It works in two places: on the request, before
the key is made (:meth:`~RoutePolicy.asked`, :meth:`~RoutePolicy.key`, :meth:`~RoutePolicy.bypass`), and on the draft of a copy
(:meth:`~RoutePolicy.lifetime` and what :mod:`~edge.cache.storing` reads from it). Both are done once per head or reply and
remembered there: a hit knows nothing of them.

Two rules keep it safe:

- *What is not keyed is not said.* A query parameter or a cookie that is left out of the key is left out of the request to the
  origin, too. If it were still sent, it could change a reply that is then everybody's: that is how caches are poisoned. So
  the origin is asked for the address that the copy is kept under, however differently it cuts a query into parameters.
- *No rule lifts a ban.* ``no-store``, ``private``, ``no-cache``, ``Vary: *`` and the rule on ``Authorization`` stand. A reply that sets
  a cookie is kept for a lifetime that the origin gave, never for a longer one that was only ruled, unless cookies are stripped.

Headers and cookies that the operator keys on select among the copies of one address, as if ``Vary`` named them: so an unsafe
method and a purge find all of them under the one key.

Invariant: never raises on anything that was sent.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from edge.cache.ask import Bypassed
from edge.cache.freshness import Basis
from edge.cache.key import key_of
from edge.cache.vary import COOKIE, cookie_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge.message.head import Field, RequestHead

RULED_STATUSES: Final = frozenset({200, 203, 204, 300, 301, 308})
"""
What a lifetime may be ruled for without naming the status: replies that are good for a while by their nature (RFC 9110 §15.1)
and are no errors.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Stopping:
    """
    When a fetch that is being stored is given up, once everybody who waited for it has left.

    Attributes:
        is_on: False: never.
        left_bytes: it is finished if no more than these are missing.
        percent: it is finished if so much of it has landed.

    Source: Squid's ``quick_abort_max`` and ``quick_abort_pct``. nginx and Varnish finish what they store in any case.
    """

    is_on: bool = False
    left_bytes: int = 1 << 20
    percent: int = 95

    def stops(self, landed: int, length: int) -> bool:
        """Whether to give up a body of *length* bytes (0: unknown, then it is never nearly there) of which *landed* are here."""
        return self.is_on and not (
            length and (length - landed <= self.left_bytes or landed * 100 >= length * self.percent)
        )


NEVER_STOPPING: Final = Stopping()


class RoutePolicy:
    """
    One route's rules. Names of fields are in lower case; names of cookies and parameters as they are, where a ``*`` at the end
    stands for any ending.

    Args:
        is_on: False: everything passes the cache by.
        ttl_s: replaces a lifetime.
        default_ttl_s: where the origin gave none.
        min_ttl_s, max_ttl_s: bounds of what it gave.
        status_ttl: replaces the lifetime of a status, ahead of the others.
        swr_s, sie_s: where the origin gave no window to serve stale in.
        has_query: the query is part of the key.
        query_keep: the only parameters that are; empty: all.
        query_drop: parameters that are not.
        query_sort: their order is not.
        key_headers, key_cookies: what copies of one address are told apart by.
        strip_cookies: other cookies are neither sent nor kept.
        bypass_headers, bypass_cookies: what makes a request pass.
        must_be_alike: a reply is kept only if its type is what the end of its address promises.
        min_uses: how often a reply must have been fetched before it is kept.
        max_object: bytes; None: as everywhere.
        mark: sets keys apart from other routes' for the same address; empty: the address alone leads to this one.
        keeps_parts: a range of what is not stored is asked for as such, and kept.
        stopping: when a fetch that is being stored is given up because nobody waits for it any more.

    Attributes:
        selects: what is added to the selecting fields, sorted.
    """

    __slots__ = (
        "_bypass_cookies",
        "_bypass_headers",
        "_default_ttl_s",
        "_drops",
        "_has_query",
        "_is_on",
        "_keeps",
        "_key_cookies",
        "_mark",
        "_max_ttl_s",
        "_min_ttl_s",
        "_query_sort",
        "_status_ttl",
        "_ttl_s",
        "keeps_parts",
        "max_object",
        "min_uses",
        "must_be_alike",
        "selects",
        "sie_s",
        "stopping",
        "strip_cookies",
        "swr_s",
    )

    def __init__(
        self,
        *,
        is_on: bool = True,
        ttl_s: float | None = None,
        default_ttl_s: float | None = None,
        min_ttl_s: float | None = None,
        max_ttl_s: float | None = None,
        status_ttl: Mapping[int, float] | None = None,
        swr_s: int | None = None,
        sie_s: int | None = None,
        has_query: bool = True,
        query_keep: Iterable[bytes] = (),
        query_drop: Iterable[bytes] = (),
        query_sort: bool = False,
        key_headers: Iterable[bytes] = (),
        key_cookies: Iterable[bytes] = (),
        strip_cookies: bool = False,
        bypass_headers: Iterable[bytes] = (),
        bypass_cookies: Iterable[bytes] = (),
        must_be_alike: bool = False,
        min_uses: int = 1,
        max_object: int | None = None,
        mark: bytes = b"",
        keeps_parts: bool = True,
        stopping: Stopping = NEVER_STOPPING,
    ) -> None:
        self._is_on = is_on
        self._ttl_s = ttl_s
        self._default_ttl_s = default_ttl_s
        self._min_ttl_s = min_ttl_s
        self._max_ttl_s = max_ttl_s
        self._status_ttl = status_ttl or {}
        self.swr_s = swr_s
        self.sie_s = sie_s
        self._has_query = has_query
        self._keeps = _pattern(query_keep)
        self._drops = _pattern(query_drop)
        self._query_sort = query_sort
        self._key_cookies = frozenset(key_cookies)
        self.strip_cookies = strip_cookies
        self._bypass_headers = frozenset(bypass_headers)
        self._bypass_cookies = _pattern(bypass_cookies)
        self.must_be_alike = must_be_alike
        self.min_uses = min_uses
        self.max_object = max_object
        self.keeps_parts = keeps_parts
        self.stopping = stopping
        self.selects = tuple(sorted({*key_headers, *(COOKIE + name for name in self._key_cookies)}))
        self._mark = b"\0".join((*self.selects, b"", mark) if mark else self.selects)

    # -- the request -----------------------------------------------------------------------------------------

    def bypass(self, head: RequestHead) -> Bypassed | None:
        """Say why a GET or HEAD passes the cache by, if these rules say so. *head* is the client's own."""
        if not self._is_on:
            return Bypassed.ROUTE_OFF
        if not self._bypass_headers.isdisjoint(head.index):
            return Bypassed.ROUTE_HEADER
        if self._bypass_cookies is not None and b"cookie" in head.index:
            matches = self._bypass_cookies
            # Some origins still cut at commas (RFC 2965): in doubt a request passes.
            line = _cookie_line(head.fields).replace(b",", b";")
            if any(matches(name) for name, _ in cookie_pairs(line)):
                return Bypassed.ROUTE_COOKIE
        return None

    def asked(self, head: RequestHead) -> RequestHead:
        """
        Return what the cache, and after it the origin, is asked instead of *head*: without what is not keyed.

        The same object, if there is nothing to leave out.
        """
        target = self.target(head.target)
        fields = head.fields
        if b"cookie" in head.index and (self.strip_cookies or self._key_cookies):
            fields = self._cookies(fields)
        if target == head.target and fields is head.fields:
            return head
        return dataclasses.replace(head, target=target, fields=fields, index={}, known=None)

    def target(self, target: bytes) -> bytes:
        """
        Return *target* with only what counts of its query.

        Names are compared decoded; what stays, stays as it was sent. Only ``&`` separates: an origin that also
        cuts at ``;`` gets the same bytes as the key.
        """
        path, mark, query = target.partition(b"?")
        if not mark:
            return target
        if not self._has_query:
            return path
        if self._keeps is None and self._drops is None and not self._query_sort:
            return target
        named = [(_name(piece), piece) for piece in query.split(b"&") if piece]
        if self._keeps is not None:
            named = [pair for pair in named if self._keeps(pair[0])]
        if self._drops is not None:
            named = [pair for pair in named if not self._drops(pair[0])]
        if self._query_sort:
            named.sort(key=lambda pair: pair[0])  # stable: the order within one name may mean something
        return path + b"?" + b"&".join([piece for _, piece in named]) if named else path

    def key(self, scheme: bytes, authority: bytes, target: bytes) -> bytes:
        """
        Return the key of an address whose target is as :meth:`target` gives it.

        What copies are told apart by is part of it: when that changes, copies that do not have it are not found any more.
        So is the mark, where not the address alone leads to this route.
        """
        return key_of(scheme, authority, b"%b\0%b" % (target, self._mark) if self._mark else target)

    def _cookies(self, fields: list[Field]) -> list[Field]:
        """Put all cookies on one line, where the origin and we read the same of them; only the keyed ones if the rest is stripped."""
        line = _cookie_line(fields)
        if self.strip_cookies:
            line = b"; ".join([pair for name, pair in cookie_pairs(line) if name in self._key_cookies])
        kept = [field for field in fields if field[0] != b"cookie"]
        if line:
            kept.append((b"cookie", line))
        return kept

    # -- the reply -------------------------------------------------------------------------------------------

    def lifetime(self, status: int, given_s: float, basis: Basis) -> tuple[float, bool]:
        """
        Return the lifetime of a reply, and whether it was ruled rather than given or guessed.

        First match wins: the status's own; then, for RULED_STATUSES, ttl, or default_ttl where the origin gave none. What the
        origin gave, or we guessed, is kept within min_ttl (for the same statuses) and max_ttl.

        Args:
            status: the reply's.
            given_s: from :func:`edge.cache.freshness.lifetime`.
            basis: from there, too.
        """
        own = self._status_ttl.get(status)
        if own is not None:
            return own, True
        longest = self._max_ttl_s if self._max_ttl_s is not None else float("inf")
        if status in RULED_STATUSES:
            if self._ttl_s is not None:
                return min(self._ttl_s, longest), True
            if self._default_ttl_s is not None and basis is not Basis.EXPLICIT:
                return min(self._default_ttl_s, longest), True
            if self._min_ttl_s is not None and basis is not Basis.NONE:
                given_s = max(given_s, self._min_ttl_s)
        return min(given_s, longest), False


def _pattern(names: Iterable[bytes]) -> Callable[[bytes], object] | None:
    """Return what tells whether a name is one of *names*; None if there are none."""
    parts = [re.escape(name[:-1]) + b".*" if name.endswith(b"*") else re.escape(name) for name in names]
    return re.compile(b"|".join(parts), re.DOTALL).fullmatch if parts else None


def _name(piece: bytes) -> bytes:
    """Return the name of a query's parameter, decoded."""
    name = piece.partition(b"=")[0]
    return unquote_to_bytes(name.replace(b"+", b" ")) if b"%" in name or b"+" in name else name


def _cookie_line(fields: list[Field]) -> bytes:
    """Return all cookies as one line (RFC 6265 §5.4); HTTP/2 allows to cut it (RFC 9113 §8.2.3)."""
    return b"; ".join([value for name, value in fields if name == b"cookie"])
