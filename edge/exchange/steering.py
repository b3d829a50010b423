"""
The routes, each with what its operator has ruled: from configuration to the terms of the rooms that carry it out, once.

Does not decide what a rule means (:mod:`edge.cache.policy`), nor which route a request takes (:mod:`edge.policy.route`), but
which reading of its path counts: both must lead to the same route (:mod:`edge.message.path`).

The address is what the cache's keys are made of, and usually it says which route is taken. Where something else says it too (a
header, a network, a share of the clients), each way has a mark that is part of its keys, so that what one origin said is never
another's answer; and an address has several keys, which a purge or an unsafe method all finds (:meth:`Steering.keys_for`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge.cache.key import key_of
from edge.cache.policy import RoutePolicy, Stopping
from edge.config.tree import RouteCache
from edge.message.head import RequestHead
from edge.message.path import folded, plain
from edge.policy.route import RouteTable, is_conditional
from edge.policy.split import Split

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.config.tree import Origin, Route

_MARK_BYTES: Final = 8


@dataclass(slots=True, eq=False)
class Way:
    """
    Where a route leads, or one of the ways it splits into.

    Attributes:
        route: as configured.
        origin: who is asked; None if there is no such origin.
        policy: what is ruled for the cache; None if nothing is.
    """

    route: Route
    origin: Origin | None
    policy: RoutePolicy | None


@dataclass(slots=True, eq=False)
class Ways:
    """
    Where a route leads.

    Attributes:
        all: every way; one, unless the route is split.
        split: which of them is a client's; None: there is one.
        by: what a client is told apart by: ``address``, ``cookie`` or ``header``.
        name: of the cookie or header.
    """

    all: list[Way]
    split: Split[Way] | None = None
    by: str = "address"
    name: bytes = b""


class Steering:
    """All routes. Neither is changed once made."""

    __slots__ = ("_table", "_ways")

    def __init__(self, routes: Iterable[Route], origins: Mapping[str, Origin] | None = None) -> None:
        routes = tuple(routes)
        self._table = RouteTable(routes)
        self._ways = {id(route): _ways(route, origins or {}) for route in routes}

    def find(self, head: RequestHead) -> tuple[Route, ...] | None:
        """
        Choose the route for *head*: see :meth:`RouteTable.find`.

        Returns:
            None: its path can be read in two ways, for which there are different routes.
        """
        host, path = head.host, plain(head.path)
        found = self._table.find(host, path, head)
        other = folded(path)
        if other is not path and self._table.find(host, other, head) != found:
            return None
        return found

    def ways(self, route: Route) -> Ways:
        """Return where *route*, one of these, leads."""
        return self._ways[id(route)]

    def passed(self, head: RequestHead) -> list[tuple[Route, str | None]]:
        """Return the routes that *head* comes by: see :meth:`RouteTable.passed`."""
        return self._table.passed(head.host, plain(head.path), head)

    def keys_for(self, scheme: bytes, authority: bytes, target: bytes) -> tuple[bytes, ...]:
        """Return the keys that what is stored for an address is under, wherever it leads; the plainest request's last."""
        head = RequestHead(b"GET", scheme, authority, target, [])
        routes = self._table.all_for(head.host, plain(head.path))
        keys = {_key(way.policy, scheme, authority, target): None for route in routes for way in self.ways(route).all}
        return tuple(keys) or (key_of(scheme, authority, target),)


def _key(policy: RoutePolicy | None, scheme: bytes, authority: bytes, target: bytes) -> bytes:
    return key_of(scheme, authority, target) if policy is None else policy.key(scheme, authority, policy.target(target))


def _ways(route: Route, origins: Mapping[str, Origin]) -> Ways:
    mark = _mark(route)
    if not route.split:
        return Ways([Way(route, origins.get(route.origin), policy_of(route.cache, mark))])
    ways = [
        Way(route, origins.get(share.origin), policy_of(route.cache, b"%b\0%b" % (mark, share.origin.encode())))
        for share in route.split
    ]
    split = Split([(share.origin, share.weight, way) for share, way in zip(route.split, ways, strict=True)])
    by, _, name = route.split_by.partition(":")
    return Ways(ways, split, by, name.encode())


def _mark(route: Route) -> bytes:
    """
    Return what sets the keys of *route* apart from those of others for the same address; empty if the address alone leads here.

    It is made of what the route asks for, so that copies are found again while that stays the same.
    """
    if not is_conditional(route):
        return b""
    asks = (sorted(route.methods), route.headers, route.query, sorted(map(str, route.networks)))
    return blake2b(repr(asks).encode(), digest_size=_MARK_BYTES).digest()


def policy_of(rules: RouteCache, mark: bytes = b"") -> RoutePolicy | None:
    """Put *rules* in the cache's terms; None if they say nothing but what holds everywhere, and keys need no *mark*."""
    if rules == RouteCache() and not mark:
        return None
    return RoutePolicy(
        is_on=rules.enabled,
        ttl_s=rules.ttl_s,
        default_ttl_s=rules.default_ttl_s,
        min_ttl_s=rules.min_ttl_s,
        max_ttl_s=rules.max_ttl_s,
        status_ttl=dict(rules.status_ttl),
        swr_s=_whole(rules.stale_while_revalidate_s),
        sie_s=_whole(rules.stale_if_error_s),
        has_query=rules.query == "all",
        query_keep=_encoded(rules.query_keep),
        query_drop=_encoded(rules.query_drop),
        query_sort=rules.query_sort,
        key_headers=_encoded(rules.key_headers),
        key_cookies=_encoded(rules.key_cookies),
        strip_cookies=rules.strip_cookies,
        bypass_headers=_encoded(rules.bypass_headers),
        bypass_cookies=_encoded(rules.bypass_cookies),
        must_be_alike=rules.match_type,
        min_uses=rules.min_uses,
        max_object=rules.max_object,
        mark=mark,
        keeps_parts=rules.parts,
        stopping=Stopping(rules.on_leave == "stop", rules.finish_left, rules.finish_percent),
    )


def _encoded(names: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in names)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
