"""
Where the parts of a configuration contradict each other, though each for itself is well formed.

Works on what could be read: a part that could not is missing, and is not missed here. The raw tables are looked at only
for what the tree cannot tell: whether something was written at all.

Does not know: positions; it names the key, and the reader knows where that stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from edge.config.agree_routes import route_rules
from edge.config.kinds import did_you_mean, size_words, time_words
from edge.config.origin_rules import Ejection, HealthCheck, RouteRetry, Sticky
from edge.config.problem import Severity
from edge.config.route_rules import RouteMirror
from edge.config.tree import (
    Admin,
    CacheConfig,
    Certificate,
    Compression,
    ForwardAuth,
    Jwt,
    Limits,
    Listener,
    Origin,
    OriginServer,
    OriginTls,
    Route,
    RouteCache,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.config.positions import Path as Key

P = TypeVar("P")

ERROR, WARNING = Severity.ERROR, Severity.WARNING

LEAST_SECRET = 16
"""Characters of a secret: what a program makes by chance is longer, what a person makes up shorter."""

MOST_ROWS = 900
"""Origins and servers: what the node's page holds (``edge/share/fleet.py``), with room for those of the file before."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What does not fit together: the value at *key*, and with what."""

    key: Key
    message: str
    severity: Severity = ERROR


@dataclass(frozen=True, slots=True)
class Parts:
    """
    Every table that could be read, by its key, in the order of the file; and the raw text's tables.

    What is named by key is what the operator wrote, so a default never disagrees with anything.
    """

    made: Mapping[Key, object]
    raw: Mapping[str, Any]

    def all(self, cls: type[P]) -> Iterator[tuple[Key, P]]:
        """Every part of one class with its key."""
        for key, part in self.made.items():
            if isinstance(part, cls):
                yield key, part

    def wrote(self, name: str) -> bool:
        """Whether the file has a top-level *name* that is not empty."""
        return bool(self.raw.get(name))


def disagreements(parts: Parts) -> Iterator[Disagreement]:
    """Find everything in *parts* that contradicts itself."""
    yield from _listeners(parts)
    yield from _certificates(parts)
    yield from _cache(parts)
    yield from _compression(parts)
    yield from _origins(parts)
    yield from _balancing(parts)
    yield from _retries(parts)
    yield from _routes(parts)
    yield from _route_caches(parts)


def _listeners(parts: Parts) -> Iterator[Disagreement]:
    if not parts.wrote("listener"):
        yield Disagreement(
            (), 'nothing listens; expected at least one [[listener]] with an address such as "0.0.0.0:443"'
        )
    taken: dict[str, Key] = {}
    for key, listener in parts.all(Listener):
        address = (*key, "address")
        if listener.address in taken:
            yield Disagreement(address, f"{listener.address!r} is listened on twice; expected each address once")
        elif listener.port or listener.kind != "tcp":  # port 0 is a different one each time
            taken[listener.address] = key
        if listener.tls and listener.redirect:
            yield Disagreement(
                (*key, "redirect"), "clients here use https already and would be sent in a circle; expected tls = false"
            )
        if listener.tls and not parts.wrote("certificate"):
            yield Disagreement((*key, "tls"), "there is no certificate to show; expected a [[certificate]]")
        if not listener.tls and (listener.client_ca or listener.client_verify != "none"):
            setting = "client_ca" if listener.client_ca else "client_verify"
            yield Disagreement((*key, setting), "only TLS clients show certificates; expected tls = true")
        yield from _client_verify(key, listener)
        yield from _proxy_protocol(key, listener)
    for key, admin in parts.all(Admin):
        if admin.address is not None and admin.address in taken:
            yield Disagreement(
                (*key, "address"),
                f"{admin.address!r} is a [[listener]]'s address; expected one of its own, for operators only",
            )
        elif admin.tokens is None and admin.listener is not None and _is_reached_from_afar(admin.listener):
            yield Disagreement(
                (*key, "address"),
                f"whoever reaches {admin.address!r} could purge and look at everything; expected an address of this machine's own "
                "such as 127.0.0.1, or tokens",
            )
        elif admin.tokens is not None and admin.address is None:
            yield Disagreement((*key, "tokens"), "there is no address to show them at; expected an address", WARNING)


def _is_reached_from_afar(listener: Listener) -> bool:
    """Whether other machines may reach a listener, as far as its address tells; of a socket of systemd's it does not."""
    return listener.kind == "tcp" and not ip_address(listener.host).is_loopback


def _proxy_protocol(key: Key, listener: Listener) -> Iterator[Disagreement]:
    where = (*key, "proxy_protocol_from")
    says_unix = "unix" in listener.proxy_protocol_from
    if listener.kind == "tcp" and says_unix:
        yield Disagreement(where, "nobody comes here over a Unix socket; expected the balancers' networks")
    if listener.kind == "unix" and listener.proxy_protocol_from and not says_unix:
        yield Disagreement(where, 'whoever comes over a Unix socket has no address; expected ["unix"]')
    if any(not isinstance(one, str) and not one.prefixlen for one in listener.proxy_protocol_from):
        yield Disagreement(
            where, "anybody at all may say here who he is; expected the balancers' own networks", WARNING
        )


def _client_verify(key: Key, part: Listener | Certificate) -> Iterator[Disagreement]:
    if part.client_verify != "none" and part.client_ca is None:
        yield Disagreement(
            (*key, "client_verify"), "there is nothing to verify against; expected a client_ca beside it"
        )
    if part.client_verify == "none" and part.client_ca is not None:
        yield Disagreement(
            (*key, "client_ca"), 'clients are not asked for a certificate; expected client_verify = "required"', WARNING
        )


def _certificates(parts: Parts) -> Iterator[Disagreement]:
    seen: set[tuple[object, ...]] = set()
    for key, certificate in parts.all(Certificate):
        pair = (certificate.chain, certificate.key)
        if certificate.directory is not None:
            if pair != (None, None):
                yield Disagreement(
                    key, "a [[certificate]] is either chain and key, or a directory; expected one of the two"
                )
        elif certificate.chain is None:
            what = "chain" if certificate.key else "chain and key, or directory"
            yield Disagreement(key, f"this [[certificate]] names no {what}")
        elif certificate.key is None:
            yield Disagreement(key, "this [[certificate]] has a chain but no key; expected the key that belongs to it")
        if (*pair, certificate.directory) in seen:
            yield Disagreement(key, "this [[certificate]] is the same as one before; expected each once", WARNING)
        seen.add((*pair, certificate.directory))
        yield from _client_verify(key, certificate)
    # Also one that could not be read, or not to its end, would use them.
    said = parts.raw.get("listener")
    written = [each for each in said if isinstance(each, dict)] if isinstance(said, list) else []
    if seen and written and all(each.get("tls", False) is False for each in written):
        key = next(key for key, _ in parts.all(Certificate))
        yield Disagreement(key, "no listener uses certificates; expected a [[listener]] with tls = true", WARNING)


def _cache(parts: Parts) -> Iterator[Disagreement]:
    for key, cache in parts.all(CacheConfig):
        table = parts.raw["cache"]
        if cache.path is None and "path" not in table:
            yield Disagreement(
                key, "without a path nothing is stored; expected path = ... or no [cache] at all", WARNING
            )
        if cache.max_object > cache.size:
            setting = "max_object" if "max_object" in table else "size"
            shown = size_words(cache.max_object)
            yield Disagreement(
                (*key, setting),
                f"one object may have {shown}, more than the whole store; expected max_object below size",
                WARNING,
            )


def _compression(parts: Parts) -> Iterator[Disagreement]:
    for key, compression in parts.all(Compression):
        for at, encoding in enumerate(compression.encodings):
            if encoding in compression.encodings[:at]:
                yield Disagreement((*key, "encodings"), f"{encoding!r} is named twice; expected each encoding once")


def _origins(parts: Parts) -> Iterator[Disagreement]:
    used = {route.origin for _, route in parts.all(Route)}
    used |= {share.origin for _, route in parts.all(Route) for share in route.split}
    used |= {service.origin for _, service in parts.all(ForwardAuth)}
    used |= {jwt.jwks_origin for _, jwt in parts.all(Jwt) if jwt.jwks_origin is not None}
    used |= {mirror.origin or "" for _, mirror in parts.all(RouteMirror)}
    listeners = [listener for _, listener in parts.all(Listener) if listener.kind == "tcp"]
    servers: dict[Key, list[tuple[Key, OriginServer]]] = {}
    for where, server in parts.all(OriginServer):
        servers.setdefault(where[:-2], []).append((where, server))
    for key, origin in parts.all(Origin):
        if origin.name not in used:
            yield Disagreement(key, f"no [[route]] leads to origin {origin.name!r}", WARNING)
        seen: set[str] = set()
        for where, server in servers.get(key, ()):
            if server.url in seen:
                yield Disagreement(where, f"{server.url!r} is named twice; expected a weight instead", WARNING)
            seen.add(server.url)
            if any(_is_same_place(listener, server.host, server.port) for listener in listeners):
                yield Disagreement(where, f"{server.url!r} is this edge itself: requests would go in a circle", WARNING)
        yield from _connections(key, origin)
        if not origin.servers and origin.servers_file is None and not _wrote_servers(parts, key):
            yield Disagreement(
                key, f"[origin.{origin.name}] has no servers; expected servers = [...], or a servers_file"
            )
        for where, server in servers.get(key, ()):
            if server.discover is not None and (server.unix_path is not None or _is_address(server.host)):
                what = "is a Unix socket" if server.unix_path is not None else "is an address already"
                yield Disagreement((*where, "discover"), f"{server.url!r} {what}; expected a name to ask for")
        if (
            origin.servers_file is None
            and (*key, "tls") in parts.made
            and not any(server.scheme == "https" for server in origin.servers)
        ):
            yield Disagreement(
                (*key, "tls"), "no server of this origin is https; expected one, or no tls settings", WARNING
            )
    for key, tls in parts.all(OriginTls):
        if (tls.chain is None) is not (tls.key is None):
            given, missing = ("key", "chain") if tls.chain is None else ("chain", "key")
            yield Disagreement((*key, given), f"there is a {given} but no {missing}; expected the {missing} beside it")


def _wrote_servers(parts: Parts, key: Key) -> bool:
    """Whether something stands there that was not fit: that has been said already."""
    table: Any = parts.raw
    for part in key:
        table = table[part]
    return "servers" in table


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _connections(key: Key, origin: Origin) -> Iterator[Disagreement]:
    if origin.min_idle:
        where = (*key, "min_idle")
        if origin.min_idle > origin.max_idle:
            yield Disagreement(where, f"no more than {origin.max_idle} are kept unused; expected a greater max_idle")
        elif origin.min_idle > origin.max_connections:
            yield Disagreement(where, f"there may be only {origin.max_connections}; expected a greater max_connections")
        if not origin.idle_s:
            yield Disagreement(where, "no connection is kept unused; expected an idle time above 0s")
        if origin.proxy_protocol is not None:
            yield Disagreement(where, "a connection that says who its client is cannot be made before he comes")
    families = [":" in address for address in origin.source]
    if len(set(families)) < len(families):
        yield Disagreement((*key, "source"), "two addresses of one family; expected at most one of each")
    if origin.source and origin.servers and all(server.unix_path is not None for server in origin.servers):
        yield Disagreement((*key, "source"), "Unix sockets are not reached from an address", WARNING)


def _balancing(parts: Parts) -> Iterator[Disagreement]:
    count = 0
    for key, origin in parts.all(Origin):
        count += 1 + len(origin.servers)
        if origin.servers and all(server.backup for server in origin.servers):
            yield Disagreement((*key, "servers"), "every server is a backup; expected one without backup = true")
        if origin.balance != "consistent_hash":
            for name, is_set in (("hash_key", origin.hash_key != "target"), ("bounded_load", origin.bounded_load)):
                if is_set:
                    yield Disagreement(
                        (*key, name),
                        f'nothing is hashed with balance = "{origin.balance}"; expected "consistent_hash"',
                        WARNING,
                    )
    if count > MOST_ROWS:
        yield Disagreement(("origin",), f"there are {count} origins and servers; expected at most {MOST_ROWS}")
    for key, check in parts.all(HealthCheck):
        if check.path is None:
            if check != HealthCheck():
                yield Disagreement(key, "without a path nobody is asked; expected path = ...", WARNING)
        elif check.timeout_s > check.interval_s:
            yield Disagreement(
                (*key, "timeout"),
                f"the next check is due after {time_words(check.interval_s)}; expected less than interval",
            )
    for key, ejection in parts.all(Ejection):
        if not ejection.failures and ejection != Ejection(failures=0):
            yield Disagreement(key, "with failures = 0 nobody is left out; expected more, or no other setting", WARNING)
        if ejection.pause_s > ejection.longest_s:
            yield Disagreement(
                (*key, "pause"), f"this is longer than longest, {time_words(ejection.longest_s)}; expected less"
            )
        yield from _twice((*key, "on"), ejection.on)
    for key, sticky in parts.all(Sticky):
        if sticky.cookie is None and sticky != Sticky():
            yield Disagreement(key, "without a cookie nobody stays; expected cookie = ...", WARNING)
        if sticky.secret is not None and len(sticky.secret) < LEAST_SECRET:
            yield Disagreement(
                (*key, "secret"), f"this can be guessed; expected {LEAST_SECRET} characters or more, made by chance"
            )
        if sticky.same_site == "none" and not sticky.secure:
            yield Disagreement((*key, "same_site"), "browsers take no such cookie; expected secure = true beside it")


def _retries(parts: Parts) -> Iterator[Disagreement]:
    origins = {origin.name: origin for _, origin in parts.all(Origin)}
    routes = dict(parts.all(Route))
    for key, rules in parts.all(RouteRetry):
        yield from _twice((*key, "on"), rules.on)
        yield from _twice((*key, "methods"), rules.methods)
        route = routes.get(key[:-1])
        origin = None if route is None else origins.get(route.origin)
        if rules.hedge_s is not None and origin is not None and _is_alone(origin):
            yield Disagreement(
                (*key, "hedge"), f"origin {origin.name!r} has one server, and no second to ask; expected two", WARNING
            )
        if rules.retries == 0 and (rules.methods or rules.on != RouteRetry().on):
            yield Disagreement(
                (*key, "retries"), "nothing is sent again here; expected more, or neither methods nor on", WARNING
            )


def _is_alone(origin: Origin) -> bool:
    """Whether there is one server, and no way by which others are found."""
    found = origin.servers_file is not None or any(server.discover is not None for server in origin.servers)
    return len(origin.servers) == 1 and not found


def _twice(key: Key, names: tuple[str, ...]) -> Iterator[Disagreement]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield Disagreement(key, f"{name!r} is named twice; expected each once")


def _is_same_place(listener: Listener, host: str, port: int) -> bool:
    if listener.port != port or not port:
        return False
    try:
        target = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    bound = ip_address(listener.host)
    return bound == target or (bound.is_unspecified and target.is_loopback)


def _routes(parts: Parts) -> Iterator[Disagreement]:
    written = parts.raw.get("origin")
    origins: dict[str, Any] = written if isinstance(written, dict) else {}
    limits = next((limits for _, limits in parts.all(Limits)), Limits())
    for key, route in parts.all(Route):
        named = [((*key, "origin"), route.origin)] if route.origin else []
        named += [((*key, "split", at, "origin"), share.origin) for at, share in enumerate(route.split)]
        named += [((*key, "mirror", "origin"), route.mirror.origin)] if route.mirror.origin is not None else []
        for where, name in named:
            if name not in origins:
                near = did_you_mean(name, list(origins))
                known = near or (
                    f"; expected one of {', '.join(origins)}" if origins else f"; expected [origin.{name}]"
                )
                yield Disagreement(where, f"there is no origin {name!r}{known}")
        yield from (Disagreement(*found) for found in route_rules(key, route, limits))
    serving = [key for key, listener in parts.all(Listener) if listener.redirect is None]
    if serving and not parts.wrote("route"):
        yield Disagreement(serving[0], "nothing can be answered here; expected at least one [[route]]", WARNING)


def _route_caches(parts: Parts) -> Iterator[Disagreement]:
    stores = [cache for _, cache in parts.all(CacheConfig) if cache.path is not None]
    for key, rules in parts.all(RouteCache):
        if rules == RouteCache():
            continue
        if not rules.enabled:
            if rules != RouteCache(enabled=False):
                yield Disagreement(key, "nothing is kept here; expected enabled = true, or no other setting", WARNING)
            continue
        if not stores:
            yield Disagreement(key, "nothing is stored at all; expected a [cache] with a path", WARNING)
        yield from _lifetimes(key, rules)
        if rules.query == "none" and (rules.query_keep or rules.query_drop or rules.query_sort):
            yield Disagreement(
                (*key, "query"), 'nothing is left of the query; expected query = "all" beside the other query settings'
            )
        if rules.on_leave == "finish":
            for name in ("finish_left", "finish_percent"):
                if getattr(rules, name) != getattr(RouteCache(), name):
                    yield Disagreement(
                        (*key, name), 'every fetch is finished already; expected on_leave = "stop" beside it', WARNING
                    )
        for size in (store.size for store in stores):
            if rules.max_object is not None and rules.max_object > size:
                yield Disagreement(
                    (*key, "max_object"),
                    f"one object may have {size_words(rules.max_object)}, more than the whole store; expected less",
                    WARNING,
                )


def _lifetimes(key: Key, rules: RouteCache) -> Iterator[Disagreement]:
    if rules.ttl_s is not None:
        for name, other in (("default_ttl", rules.default_ttl_s), ("min_ttl", rules.min_ttl_s)):
            if other is not None:
                yield Disagreement(
                    (*key, name), "ttl replaces every lifetime already; expected one of the two", WARNING
                )
    named = {"ttl": rules.ttl_s, "default_ttl": rules.default_ttl_s, "min_ttl": rules.min_ttl_s}
    given = {name: seconds for name, seconds in named.items() if seconds}
    for name, seconds in given.items():
        if rules.max_ttl_s is not None and seconds > rules.max_ttl_s:
            yield Disagreement(
                (*key, name), f"this is longer than max_ttl, {time_words(rules.max_ttl_s)}; expected less"
            )
    if given and not (rules.strip_cookies or rules.key_cookies or rules.bypass_cookies):
        name = next(iter(given))
        yield Disagreement(
            (*key, name),
            "replies get a lifetime that the origin did not give, and it hears every visitor's cookies: one visitor's page could "
            "go to the next; expected strip_cookies, key_cookies or bypass_cookies beside it",
            WARNING,
        )
