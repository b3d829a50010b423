"""
The routes, each with what its operator has ruled for the cache: from configuration to the cache's own terms, once.

Does not decide what a rule means (:mod:`edge.cache.policy`), nor which route a request takes (:mod:`edge.policy.route`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.key import key_of
from edge.cache.policy import RoutePolicy
from edge.config.tree import RouteCache
from edge.message.head import RequestHead
from edge.policy.route import RouteTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.config.tree import Route


class Steering:
    """
    All routes.

    Attributes:
        find: the route for a host and a path, or None.
    """

    __slots__ = ("_policies", "find")

    def __init__(self, routes: Iterable[Route]) -> None:
        routes = tuple(routes)
        self.find = RouteTable(routes).find
        self._policies: dict[tuple[str | None, str], RoutePolicy | None] = {}
        for route in routes:
            self._policies.setdefault((route.host, route.path), policy_of(route.cache))

    def policy(self, route: Route) -> RoutePolicy | None:
        """Return what is ruled for *route*; None if nothing is."""
        return self._policies[route.host, route.path]

    def key_for(self, scheme: bytes, authority: bytes, target: bytes) -> bytes:
        """Return the key that what is stored for an address is under, wherever its route leads."""
        head = RequestHead(b"GET", scheme, authority, target, [])
        route = self.find(head.host, head.path)
        policy = None if route is None else self.policy(route)
        return (
            key_of(scheme, authority, target)
            if policy is None
            else policy.key(scheme, authority, policy.target(target))
        )


def policy_of(rules: RouteCache) -> RoutePolicy | None:
    """Put *rules* in the cache's terms; None if they say nothing but what holds everywhere."""
    if rules == RouteCache():
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
        min_uses=rules.min_uses,
        max_object=rules.max_object,
    )


def _encoded(names: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in names)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
