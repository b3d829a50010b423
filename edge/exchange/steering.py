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
from edge.config.route_rules import RouteTimeouts
from edge.config.tree import RouteCache
from edge.message.head import RequestHead
from edge.message.headers import tokens
from edge.message.path import ends_early, folded, plain
from edge.observe.names import RouteCells
from edge.policy.fields import Changes
from edge.policy.networks import NetworkTable, prefixes_of
from edge.policy.rewrite import Location, Rewriter
from edge.policy.route import RouteTable, is_conditional
from edge.policy.split import Split
from edge.reply.pages import Page, Pages, content_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from ipaddress import IPv4Network, IPv6Network

    from edge.config.route_rules import ErrorPages, RouteMirror, RouteRespond, RouteRewrite
    from edge.config.tree import Origin, Route
    from edge.message.head import Field

_MARK_BYTES: Final = 8

REQUEST_VARIABLES: Final = ("client", "scheme", "host", "authority", "path", "query", "target", "request_id")
_OF_ONE_CLIENT: Final = frozenset({"client", "request_id"})
REPLY_VARIABLES: Final = ("scheme", "host", "authority", "path")


@dataclass(slots=True, eq=False)
class Fixed:
    """An answer that is always the same."""

    status: int
    body: bytes
    content_type: bytes | None


@dataclass(slots=True, eq=False)
class Way:
    """
    Where a route leads, or one of the ways it splits into.

    Attributes:
        route: as configured.
        origin: who is asked; None if nobody is.
        policy: what is ruled for the cache; None if nothing is.
        rewriter: what the origin is asked for instead; None: what the client asked for.
        redirect: where clients are sent; None: nowhere.
        fixed: what is answered; None: what the origin says.
        request_changes: what is done to the header that the origin is sent; None: nothing.
        reply_changes: what is done to the header of every reply; None: nothing.
        changes: does it, where it is the same for every request.
        pages: for what goes wrong; None: there are none.
        timeouts: how long the origin may take; None: as it is said for the origin.
        mirror: who hears what the origin is asked; None: nobody.
        is_plain: neither of these, no timing is told, and no page replaces what an origin says: nothing is to be done about a question but ask it.
        body_bytes: how long a request's body may be, where the parser takes longer ones; None: as long as the parser takes.
        cells: where its route is counted; None: nowhere.
        tells_timing: clients are told how long its origin took.
    """

    route: Route
    origin: Origin | None
    policy: RoutePolicy | None
    rewriter: Rewriter | None = None
    redirect: Location | None = None
    fixed: Fixed | None = None
    request_changes: Changes | None = None
    reply_changes: Changes | None = None
    changes: Callable[[list[Field]], list[Field]] | None = None
    pages: Pages | None = None
    timeouts: RouteTimeouts | None = None
    mirror: RouteMirror | None = None
    is_plain: bool = True
    body_bytes: int | None = None
    cells: RouteCells | None = None
    tells_timing: bool = False

    def may_vary_by_client(self, vary: bytes | None) -> bool:
        """Whether a reply that says *vary* may differ by a field that we made of who asks: nobody else may have it."""
        rules = self.request_changes
        if vary is None or rules is None or rules.names.isdisjoint(_OF_ONE_CLIENT):
            return False
        return not rules.touched.isdisjoint(tokens(vary))

    def changes_for(self, head: RequestHead) -> Callable[[list[Field]], list[Field]] | None:
        """Return what is done to the header of a reply to *head*; None: nothing."""
        rules = self.reply_changes
        if rules is None or self.changes is not None:
            return self.changes
        values = {"scheme": head.scheme, "host": head.host, "authority": head.authority, "path": head.path}
        return lambda fields: rules.apply(fields, values)


@dataclass(slots=True, eq=False)
class Ways:
    """
    Where a route leads.

    Attributes:
        all: every way; one, unless the route is split.
        split: which of them is a client's; None: there is one.
        by: what a client is told apart by: ``address``, ``cookie`` or ``header``.
        name: of the cookie or header.
        networks: whose clients alone may go there; None: anybody's.
        let_in: whose clients may go there though it is closed; None: nobody's.
        straight: the one way, where everybody goes it and its origin is asked what the client asks for; else None.
    """

    all: list[Way]
    split: Split[Way] | None = None
    by: str = "address"
    name: bytes = b""
    networks: NetworkTable | None = None
    let_in: NetworkTable | None = None
    straight: Way | None = None

    def straighten(self) -> None:
        """Note whether there is but one way, with nothing on it."""
        way = self.all[0]
        route = way.route
        if self.split is None and self.networks is None and not route.maintenance.enabled:
            is_open = way.redirect is None and way.fixed is None and way.origin is not None and way.rewriter is None
            if is_open and way.body_bytes is None and route.limits.header_bytes is None:
                self.straight = way


class Steering:
    """
    All routes. Nothing of it is changed once made.

    Args:
        routes: as configured.
        origins: by name.
        error_pages: for what goes wrong where no route has its own.
        body_bytes: how long a request's body may be where no route says otherwise; None: any length.
        blocks: which counters each route was lent, by its label.

    Attributes:
        pages: for what goes wrong before a route is known; None: there are none.
        most_body_bytes: how long a body may be on any route: what a parser must take; None: any length.
    """

    __slots__ = ("_looks_at_paths", "_table", "_ways", "most_body_bytes", "pages")

    def __init__(
        self,
        routes: Iterable[Route],
        origins: Mapping[str, Origin] | None = None,
        error_pages: ErrorPages | None = None,
        body_bytes: int | None = None,
        blocks: Mapping[str, int] | None = None,
    ) -> None:
        routes = tuple(routes)
        self.pages = None if error_pages is None else pages_of(error_pages, None)
        self.most_body_bytes = most_body(routes, body_bytes)
        self._table = RouteTable(routes)
        self._looks_at_paths = any(
            (each.path != "/", each.path_exact, each.path_pattern) != (False, None, None) for each in routes
        )
        self._ways: dict[int, Ways] = {}
        for route in routes:
            own = _own_body(route, body_bytes, self.most_body_bytes)
            ways = self._ways[id(route)] = _ways(route, origins or {}, self.pages, own)
            ways.networks = _table(route.networks)
            ways.let_in = _table(route.maintenance.allow)
            ways.straighten()
            block = None if blocks is None else blocks.get(route.label)
            if block is not None:
                for way in ways.all:
                    way.cells = RouteCells.of(block)

    def find(self, head: RequestHead) -> tuple[Route, ...] | None:
        """
        Choose the route for *head*: see :meth:`RouteTable.find`.

        Returns:
            None: its path can be read in two ways, for which there are different routes, or has a NUL.
        """
        if ends_early(head.target):
            return None
        host = head.host
        always = self._table.regardless(host)
        if always is not None:
            return always
        path = plain(head.path)
        found = self._table.find(host, path, head)
        if not self._looks_at_paths:
            return found
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


def _table(networks: Iterable[IPv4Network | IPv6Network]) -> NetworkTable | None:
    prefixes = prefixes_of(networks)
    return NetworkTable(prefixes, ()) if prefixes else None


def _ways(route: Route, origins: Mapping[str, Origin], pages: Pages | None, body_bytes: int | None) -> Ways:
    mark = _mark(route)
    if not route.split:
        return Ways([_way(route, origins.get(route.origin), mark, pages, body_bytes)])
    ways = [
        _way(route, origins.get(share.origin), b"%b\0%b" % (mark, share.origin.encode()), pages, body_bytes)
        for share in route.split
    ]
    split = Split([(share.origin, share.weight, way) for share, way in zip(route.split, ways, strict=True)])
    by, _, name = route.split_by.partition(":")
    return Ways(ways, split, by, name.encode())


def _way(route: Route, origin: Origin | None, mark: bytes, pages: Pages | None, body_bytes: int | None) -> Way:
    """Put everything that is ruled for *route* in the terms of those who carry it out."""
    cut = len(route.path.rstrip("/")) if route.path_exact is None else len(route.path_exact)
    of_requests, of_replies = route.request_headers, route.response_headers
    way = Way(route, origin, policy_of(route.cache, mark), body_bytes=body_bytes)
    way.rewriter = _rewriter(route.rewrite, cut)
    if route.redirect.to is not None:
        way.redirect = Location(cut, route.path_pattern, route.redirect.to)
    if route.respond.status is not None:
        way.fixed = _fixed(route.respond)
    if of_requests.set or of_requests.add or of_requests.remove:
        way.request_changes = Changes(
            set_=of_requests.set, add=of_requests.add, remove=of_requests.remove, known=REQUEST_VARIABLES
        )
    if of_replies.set or of_replies.add or of_replies.remove:
        rules = Changes(set_=of_replies.set, add=of_replies.add, remove=of_replies.remove, known=REPLY_VARIABLES)
        way.reply_changes = rules
        if not rules.names:
            way.changes = lambda fields: rules.apply(fields, {})
    way.pages = pages_of(route.error_pages, pages)
    way.timeouts = None if route.timeouts == RouteTimeouts() else route.timeouts
    way.mirror = None if route.mirror.origin is None else route.mirror
    way.tells_timing = route.server_timing
    is_asked_plainly = (way.timeouts, way.mirror) == (None, None) and not (way.pages and way.pages.of_origins)
    way.is_plain = is_asked_plainly and not way.tells_timing
    return way


def _rewriter(rules: RouteRewrite, cut: int) -> Rewriter | None:
    if rules.prefix is None and rules.pattern is None:
        return None
    return Rewriter(cut, prefix=rules.prefix, pattern=rules.pattern, to=rules.to)


def _fixed(rules: RouteRespond) -> Fixed:
    assert rules.status is not None
    body, kind = (rules.body or "").encode(), b"text/plain; charset=utf-8" if rules.body else None
    if rules.file is not None:
        body, kind = rules.file.data, content_type(rules.file.path.name)
    return Fixed(rules.status, body, kind if rules.content_type is None else rules.content_type.encode())


def pages_of(rules: ErrorPages, otherwise: Pages | None) -> Pages | None:
    """Return the pages that *rules* name, and behind them those of *otherwise*; None if there are none at all."""
    if not rules.pages:
        return otherwise
    named = ((status, Page(file.data, content_type(file.path.name))) for status, file in rules.pages)
    of_origins = rules.of_origins or (otherwise is not None and otherwise.of_origins)
    return Pages(named, otherwise, of_origins=of_origins)


def most_body(routes: Iterable[Route], body_bytes: int | None) -> int | None:
    """Return how long a request's body may be on any of *routes*; None: any length."""
    if body_bytes is None:
        return None
    return max([body_bytes, *(route.limits.body_bytes or 0 for route in routes)])


def _own_body(route: Route, body_bytes: int | None, most: int | None) -> int | None:
    """Return the limit of *route*, where a parser that takes *most* does not see to it already."""
    own = body_bytes if route.limits.body_bytes is None else route.limits.body_bytes
    return None if own == most else own


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
