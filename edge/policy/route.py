"""
Which route a request takes: of all that match, the most specific.

A route matches a *host* (exact, ``*.`` and a suffix, or any) and a *path* (a prefix on segment borders, within which it may
ask for a pattern; or exactly one), and may ask for more: methods, header fields, query parameters, the network that the
client is in. Of two that match, the one that is ahead in the first of these decides:

    1. host      an exact one, then the longer wildcard, then any
    2. path      an exact one, then the longer prefix, then one with a pattern
    3. methods   asked for
    4. headers   more of them asked for
    5. query     more of it asked for
    6. networks  asked for
    7. order     the smaller number
    8.           the one that stands first in the file

That is a total order (:func:`rank`). A route that a request does not match never hides a less specific one that it does.

Who the client is, is not in a head, and what is known of a head is shared by all who send the same bytes. So
:meth:`RouteTable.find` goes on behind a route that asks for networks, to the first that does not: whoever has the client's
address then takes the first of them that admits it.

Paths are compared as they are given: which spellings are the same is the caller's business (:mod:`edge.message.path`).

Invariant: a request's cost is bounded by the table, never by the request (prefixes longer than the longest one known are
cut off first, and likewise hosts; patterns are linear and tried only below their prefix).

Source: Gateway API HTTPRouteMatch (precedence; ``/api`` and ``/api/`` are the same prefix; ``*`` stands for one or more
labels; of a parameter that comes twice the first counts).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from edge.message.pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from edge.message.head import RequestHead

ANY: Final = "*"
"""As a condition's text: it must be there, whatever its value."""

PATTERN_MARK: Final = "~"
"""Before a condition's text: an expression that the whole value must match."""


MOST_PARAMETERS: Final = 1000
"""Of a query that are looked at: as many as PHP takes."""


class Matching(Protocol):
    """What a table needs to know of a route."""

    @property
    def host(self) -> str | None:
        """A host, ``*.`` and a host, or None for any; lower case."""
        ...

    @property
    def path(self) -> str:
        """A prefix that begins with a slash."""
        ...

    @property
    def path_exact(self) -> str | None:
        """The whole path; then there is no prefix."""
        ...

    @property
    def path_pattern(self) -> str | None:
        """An expression for the whole path, tried below the prefix."""
        ...

    @property
    def methods(self) -> Sequence[str]:
        """Methods, or empty for any."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Names in lower case, with the value asked for: literally, ``*`` for any, or ``~`` and an expression."""
        ...

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        """Names of parameters, decoded, with the value asked for, like headers."""
        ...

    @property
    def networks(self) -> Sequence[IPv4Network | IPv6Network]:
        """Where the client must be, or empty for anywhere."""
        ...

    @property
    def order(self) -> int:
        """Decides between routes that are equally specific."""
        ...


R = TypeVar("R", bound=Matching)

Rank = tuple[bool, int, bool, int, bool, bool, int, int, bool, int]


def rank(route: Matching) -> Rank:
    """Return how specific *route* is; greater goes first, and of equals the one that stands first."""
    host = route.host
    is_exact_host = host is not None and not host.startswith("*.")
    exact = route.path_exact
    return (
        is_exact_host,
        0 if host is None else len(host),
        exact is not None,
        len(route.path.rstrip("/")) if exact is None else len(exact),
        route.path_pattern is not None,
        bool(route.methods),
        len(route.headers),
        len(route.query),
        bool(route.networks),
        -route.order,
    )


def is_conditional(route: Matching) -> bool:
    """Return whether the address alone does not say that *route* is taken."""
    return bool(route.methods or route.headers or route.query or route.networks)


class _Entry(Generic[R]):
    """A route and what it asks for beyond host and prefix."""

    __slots__ = ("_headers", "_methods", "_query", "alone", "asks_who", "is_plain", "pattern", "route")

    def __init__(self, route: R) -> None:
        self.route = route
        self.alone = (route,)
        self.pattern = None if route.path_pattern is None else Pattern(route.path_pattern)
        self._methods = frozenset(method.encode() for method in route.methods)
        self._headers = [(name.encode(), _condition(text)) for name, text in route.headers]
        self._query = [(name.encode(), _condition(text)) for name, text in route.query]
        self.asks_who = bool(route.networks)
        self.is_plain = not (self.pattern or is_conditional(route))

    def objection(self, path: bytes, head: RequestHead) -> str | None:
        """Say what is not as asked for, as far as the head can tell; None: all is."""
        if self._methods and head.method not in self._methods:
            return "methods"
        for name, fits in self._headers:
            value = head.index.get(name)
            if value is None or not fits(value):
                return f"headers: {name.decode()}"
        if self._query:
            said = parameters(head.query)
            for name, fits in self._query:
                value = said.get(name)
                if value is None or not fits(value):
                    return f"query: {name.decode()}"
        if self.pattern is not None and self.pattern.match(path) is None:
            return "path_pattern"
        return None


_Entries = list[_Entry[R]]
_Paths = tuple[
    int, dict[bytes, _Entries[R]], dict[bytes, _Entries[R]]
]  # length of the longest prefix; prefix without closing slash (root is empty) → routes; exact path → routes


class RouteTable(Generic[R]):
    """
    Routes, arranged for :meth:`find`.

    Cost: a host with one route for ``/`` is one dictionary lookup (bench/micro/test_route.py).
    """

    __slots__ = ("_any", "_exact", "_longest_wild", "_wild")

    def __init__(self, routes: Iterable[R]) -> None:
        by_host: dict[bytes | None, list[R]] = {}
        for route in routes:
            host = None if route.host is None else route.host.encode("ascii")
            by_host.setdefault(host, []).append(route)
        tables = {host: _paths(each) for host, each in by_host.items()}
        # Behind every host pattern stands the chain of path tables to try, the most specific first.
        self._any = _chain(tables, [None])
        self._exact: dict[bytes, list[_Paths[R]]] = {}
        self._wild: dict[bytes, list[_Paths[R]]] = {}
        for host in tables:
            if host is None:
                continue
            if host.startswith(b"*."):
                self._wild[host[2:]] = _chain(tables, [host, *_wider(host[2:]), None])
            else:
                self._exact[host] = _chain(tables, [host, *_wider(host), None])
        self._longest_wild = max(map(len, self._wild), default=-1)

    def regardless(self, host: bytes) -> tuple[R, ...] | None:
        """Return what :meth:`find` does for this host, where that is the same for every path and whatever else is sent; else None."""
        chain = self._exact.get(host)
        if chain is None:
            chain = self._chain_for(host)
        if not chain:
            return None
        longest, prefixes, exact = chain[0]
        if longest or exact:
            return None
        entries = prefixes.get(b"")
        if entries and entries[0].is_plain and not entries[0].asks_who:
            return entries[0].alone
        return None

    def find(self, host: bytes, path: bytes, head: RequestHead) -> tuple[R, ...]:
        """
        Choose the route for a request.

        Args:
            host: lower case, without port; IPv6 in brackets.
            path: the target without its query; ``*`` (of OPTIONS) counts as the root.
            head: what else may be asked for.

        Returns:
            The routes that it may take, the most specific first: all but the last ask for networks. The last does, too, if
            nobody takes those who are in none of them; empty if nobody takes anyone.

        Raises:
            Nothing.
        """
        chain = self._exact.get(host)
        if chain is None:
            chain = self._chain_for(host)
        found: tuple[R, ...] = ()
        for longest, prefixes, exact in chain:
            for entry in exact.get(path, ()) if exact else ():
                if entry.is_plain or entry.objection(path, head) is None:
                    found = (*found, entry.route) if found else entry.alone
                    if not entry.asks_who:
                        return found
            prefix = _no_longer_than(longest, path)
            while True:
                for entry in prefixes.get(prefix, ()):
                    if entry.is_plain or entry.objection(path, head) is None:
                        found = (*found, entry.route) if found else entry.alone
                        if not entry.asks_who:
                            return found
                if not prefix:
                    break
                border = prefix.rfind(b"/")
                prefix = prefix[:border] if border > 0 else b""
        return found

    def all_for(self, host: bytes, path: bytes) -> list[R]:
        """Return every route that some request for this address takes. Arguments as for :meth:`find`."""
        found: list[R] = []
        for entry in self._on_the_way(host, path):
            if entry.pattern is None or entry.pattern.match(path):
                found.append(entry.route)
                if not is_conditional(entry.route):
                    break
        return found

    def passed(self, host: bytes, path: bytes, head: RequestHead) -> list[tuple[R, str | None]]:
        """
        Return every route that :meth:`find` comes by, in that order, each with what it asks for in vain.

        None where it may be taken; the last of these is where the search ends.
        """
        found: list[tuple[R, str | None]] = []
        for entry in self._on_the_way(host, path):
            objection = entry.objection(path, head)
            found.append((entry.route, objection))
            if objection is None and not entry.asks_who:
                break
        return found

    def _on_the_way(self, host: bytes, path: bytes) -> Iterable[_Entry[R]]:
        """Go through the routes that stand at this host and on this path, the most specific first: as :meth:`find` does."""
        chain = self._exact.get(host)
        if chain is None:
            chain = self._chain_for(host)
        for longest, prefixes, exact in chain:
            if exact:
                yield from exact.get(path, ())
            prefix = _no_longer_than(longest, path)
            while True:
                entries = prefixes.get(prefix)
                if entries is not None:
                    yield from entries
                if not prefix:
                    break
                border = prefix.rfind(b"/")
                prefix = prefix[:border] if border > 0 else b""

    def _chain_for(self, host: bytes) -> list[_Paths[R]]:
        """Return the chain of a host that is not named exactly: a wildcard's, or the one for any host."""
        if host.endswith(b"."):  # the absolute form of the same name (RFC 3986 §3.2.2)
            host = host[:-1]
            chain = self._exact.get(host)
            if chain is not None:
                return chain
        longest = self._longest_wild
        if longest >= 0:
            dot = host.find(b".", max(0, len(host) - longest - 1))
            while dot > 0:
                chain = self._wild.get(host[dot + 1 :])
                if chain is not None:
                    return chain
                dot = host.find(b".", dot + 1)
        return self._any


def _no_longer_than(longest: int, path: bytes) -> bytes:
    """Cut *path* at a segment's border to what a prefix can be."""
    if not longest:
        return b""
    if len(path) <= longest:
        return path
    border = path.rfind(b"/", 0, longest + 1)
    return path[:border] if border > 0 else b""


@lru_cache(maxsize=8)  # every route that asks for some looks into the same query
def parameters(query: bytes | None) -> Mapping[bytes, bytes]:
    """
    Return the parameters of a query by name, decoded; the first where there are several of one name.

    Of more than MOST_PARAMETERS the others count for nothing.
    """
    found: dict[bytes, bytes] = {}
    for piece in (query or b"").split(b"&", MOST_PARAMETERS)[:MOST_PARAMETERS]:
        if b"%" in piece or b"+" in piece:
            name, _, value = piece.replace(b"+", b" ").partition(b"=")
            found.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
        else:
            name, _, value = piece.partition(b"=")
            found.setdefault(name, value)
    return found


def _condition(text: str) -> Callable[[bytes], Any]:
    """Return what tells whether a value is as asked for."""
    if text == ANY:
        return lambda _value: True
    if text.startswith(PATTERN_MARK):
        return Pattern(text[1:]).match
    return text.encode().__eq__


def _wider(host: bytes) -> list[bytes]:
    """The wildcards that cover *host*, the longest first."""
    labels = host.split(b".")
    return [b"*." + b".".join(labels[cut:]) for cut in range(1, len(labels))]


def _paths(routes: list[R]) -> _Paths[R]:
    """Arrange the routes of one host."""
    prefixes: dict[bytes, _Entries[R]] = {}
    exact: dict[bytes, _Entries[R]] = {}
    for route in sorted(routes, key=rank, reverse=True):
        if route.path_exact is not None:
            exact.setdefault(route.path_exact.encode("ascii"), []).append(_Entry(route))
        else:
            prefixes.setdefault(route.path.encode("ascii").rstrip(b"/"), []).append(_Entry(route))
    for entries in (*prefixes.values(), *exact.values()):
        # Behind one that takes everything nobody is ever asked.
        end = next((at for at, entry in enumerate(entries, 1) if entry.is_plain), len(entries))
        del entries[end:]
    return max(map(len, prefixes), default=0), prefixes, exact


def _chain(tables: dict[bytes | None, _Paths[R]], patterns: list[bytes | None]) -> list[_Paths[R]]:
    chain: list[_Paths[R]] = []
    for pattern in patterns:
        paths = tables.get(pattern)
        if paths is None:
            continue
        chain.append(paths)
        root = paths[1].get(b"")
        if root is not None and root[-1].is_plain:
            break  # the root matches everything: nothing less specific can be reached
    return chain
