"""
Which route a request takes: of all that match, the most specific.

A route has a *host* (exact, ``*.`` and a suffix, or None) and a *path* (a prefix on segment borders). More specific is,
in this order: an exact host, then the longer wildcard, then no host; among those the longer path. A route that matches
the host but not the path does not hide less specific ones that match both.

Paths are compared as the client sent them: nothing is decoded and no ``..`` is resolved, because the origin gets the
same bytes. A route therefore chooses *who answers*; it is not an access rule.

Invariant: a request's cost is bounded by the table, never by the request (prefixes longer than the longest one known are
cut off first, and likewise hosts).

Source: Gateway API HTTPRouteMatch (precedence; ``/api`` and ``/api/`` are the same prefix; ``*`` stands for one or more
labels).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable


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


R = TypeVar("R", bound=Matching)

_Paths = tuple[
    int, dict[bytes, R]
]  # length of the longest prefix; prefix without closing slash (root is empty) → route


class RouteTable(Generic[R]):
    """
    Routes, arranged for :meth:`find`. Of two for the same host and path the first is used.

    Cost: a host with one route for ``/`` is one dictionary lookup (bench/micro/test_route.py).
    """

    __slots__ = ("_any", "_exact", "_longest_wild", "_wild")

    def __init__(self, routes: Iterable[R]) -> None:
        by_host: dict[bytes | None, dict[bytes, R]] = {}
        for route in routes:
            host = None if route.host is None else route.host.encode("ascii")
            by_host.setdefault(host, {}).setdefault(route.path.encode("ascii").rstrip(b"/"), route)
        # Behind every host pattern stands the chain of path tables to try, the most specific first.
        self._any = _chain(by_host, [None])
        self._exact: dict[bytes, list[_Paths[R]]] = {}
        self._wild: dict[bytes, list[_Paths[R]]] = {}
        for host in by_host:
            if host is None:
                continue
            if host.startswith(b"*."):
                self._wild[host[2:]] = _chain(by_host, [host, *_wider(host[2:]), None])
            else:
                self._exact[host] = _chain(by_host, [host, *_wider(host), None])
        self._longest_wild = max(map(len, self._wild), default=-1)

    def find(self, host: bytes, path: bytes) -> R | None:
        """
        Choose the route for a request.

        Args:
            host: lower case, without port; IPv6 in brackets.
            path: the target without its query; ``*`` (of OPTIONS) counts as the root.

        Returns:
            The most specific route that matches both, or None.

        Raises:
            Nothing.
        """
        chain = self._exact.get(host)
        if chain is None:
            chain = self._chain_for(host)
        for longest, prefixes in chain:
            if not longest:
                return prefixes[b""]
            prefix = path
            if len(prefix) > longest:
                border = prefix.rfind(b"/", 0, longest + 1)
                prefix = prefix[:border] if border > 0 else b""
            while True:
                route = prefixes.get(prefix)
                if route is not None:
                    return route
                if not prefix:
                    break
                border = prefix.rfind(b"/")
                prefix = prefix[:border] if border > 0 else b""
        return None

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


def _wider(host: bytes) -> list[bytes]:
    """The wildcards that cover *host*, the longest first."""
    labels = host.split(b".")
    return [b"*." + b".".join(labels[cut:]) for cut in range(1, len(labels))]


def _chain(by_host: dict[bytes | None, dict[bytes, R]], patterns: list[bytes | None]) -> list[_Paths[R]]:
    chain: list[_Paths[R]] = []
    for pattern in patterns:
        prefixes = by_host.get(pattern)
        if prefixes is None:
            continue
        chain.append((max(map(len, prefixes)), prefixes))
        if b"" in prefixes:
            break  # the root matches everything: nothing less specific can be reached
    return chain
