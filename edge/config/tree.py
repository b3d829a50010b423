"""
What the configuration is, once it has been read: frozen values with an attribute per setting.

Built once, before the fork; every room reads attributes and none writes. Paths are absolute, sizes are bytes, times
are seconds (``_s``). Every class can be made without a file, with the defaults shown here, which is what tests do.
This is also where a setting is declared: its row stands beside its field (see ``schema.py``).

Does not know: how a file is read (``load.py``), or whether what it names exists (``files.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from edge.config import kinds
from edge.config.address import parse_address, parse_target
from edge.config.contents import Contents
from edge.config.origin_rules import Ejection, HealthCheck, RouteRetry, Sticky
from edge.config.route_rules import (
    ErrorPages,
    RouteLimits,
    RouteMaintenance,
    RouteMirror,
    RouteRedirect,
    RouteRequestHeaders,
    RouteRespond,
    RouteResponseHeaders,
    RouteRewrite,
    RouteTimeouts,
)
from edge.config.schema import Change, setting, table

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

ClientVerify = Literal["none", "optional", "required"]


@table
class Server:
    """``[server]``: the processes."""

    workers: int | Literal["auto"] = setting(
        kinds.Workers(),
        "Worker processes; auto is one per core this process may use.",
        default="auto",
        least=1,
        most=1024,
    )
    user: str | None = setting(
        kinds.Text(), "Who the workers run as; only used when started as root.", default=None, example='"edge"'
    )
    pid_file: Path | None = setting(
        kinds.FilePath(),
        "Where the master writes its process id.",
        default=None,
        needs=Change.NOTHING,
        example='"/run/edge/edge.pid"',
    )
    drain_s: float = setting(
        kinds.Time(), "How long a leaving worker may finish what it carries.", default=30.0, name="drain", most=86400.0
    )
    hang_s: float = setting(
        kinds.Time(),
        "A worker whose loop has not turned for so long is killed and replaced.",
        default=30.0,
        name="hang",
        least=1.0,
        most=3600.0,
    )
    backlog: int = setting(
        kinds.Integer(),
        "Connections the kernel may hold per listening queue before we accept them; the kernel's somaxconn caps it.",
        default=4096,
        least=1,
        most=65535,
        needs=Change.LISTENERS,
    )

    @property
    def worker_count(self) -> int:
        """How many workers are wanted; ``auto`` counts the cores this process may run on."""
        return len(os.sched_getaffinity(0)) if self.workers == "auto" else self.workers


@table
class Listener:
    """``[[listener]]``: one address clients connect to. What the address says is taken apart when made."""

    address: str = setting(
        kinds.ListenAddress(),
        "HOST:PORT, [IPv6]:PORT, unix:/path, or systemd:NAME for an inherited socket.",
        needs=Change.LISTENERS,
        example='"0.0.0.0:443"',
    )
    tls: bool = setting(kinds.Boolean(), "Whether clients speak TLS here.", default=False)
    redirect: Literal["https"] | None = setting(
        kinds.Choice("https"), "Answer everything with a redirect to the same URL over https.", default=None
    )
    client_ca: Path | None = setting(
        kinds.FilePath(),
        "CA certificates (PEM) that client certificates are verified against.",
        default=None,
        example='"certs/clients.pem"',
    )
    client_verify: ClientVerify = setting(
        kinds.Choice("none", "optional", "required"),
        "Whether a client must show a certificate signed by client_ca.",
        default="none",
    )
    backlog: int = setting(
        kinds.Integer(),
        "Overrides [server] backlog for this listener.",
        default=4096,
        least=1,
        most=65535,
        needs=Change.LISTENERS,
    )
    proxy_protocol_from: tuple[IPv4Network | IPv6Network | Literal["unix"], ...] = setting(
        kinds.ListOf(kinds.NetworkOrUnix()),
        "Balancers that begin every connection here with a PROXY header (version 1 or 2) that says whose it is. Their "
        "connections without one are closed; one from anybody else is not read, but is no request either. "
        '"unix": whoever may connect to a Unix socket.',
        default=(),
        example='["10.0.0.0/24"]',
    )
    kind: Literal["tcp", "unix", "systemd"] = field(init=False, repr=False, compare=False, default="tcp")
    host: str = field(init=False, repr=False, compare=False, default="")
    port: int = field(init=False, repr=False, compare=False, default=0)
    path: str = field(init=False, repr=False, compare=False, default="")
    name: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        address = parse_address(self.address)
        object.__setattr__(self, "kind", address.kind)
        object.__setattr__(self, "host", address.host)
        object.__setattr__(self, "port", address.port)
        object.__setattr__(self, "path", address.path)
        object.__setattr__(self, "name", address.name)


@table
class Certificate:
    """``[[certificate]]``: either *chain* and *key*, or *directory*."""

    chain: Path | None = setting(
        kinds.FilePath(),
        "The certificate and its intermediates, PEM, leaf first.",
        default=None,
        needs=Change.CERTIFICATES,
        example='"certs/shop/fullchain.pem"',
    )
    key: Path | None = setting(
        kinds.FilePath(),
        "Its private key, PEM, not encrypted.",
        default=None,
        needs=Change.CERTIFICATES,
        example='"certs/shop/privkey.pem"',
    )
    directory: Path | None = setting(
        kinds.FilePath(),
        "Instead of chain and key: every NAME/fullchain.pem with NAME/privkey.pem in it.",
        default=None,
        needs=Change.CERTIFICATES,
        example='"certs/tenants"',
    )
    client_ca: Path | None = setting(
        kinds.FilePath(),
        "For these names instead of the listener's: CA certificates that client certificates are verified against.",
        default=None,
        example='"certs/clients.pem"',
    )
    client_verify: ClientVerify = setting(
        kinds.Choice("none", "optional", "required"),
        "For these names instead of the listener's: whether a client must show a certificate.",
        default="none",
    )


@table
class CacheConfig:
    """``[cache]``: the store all workers share. Without a path nothing is stored."""

    path: Path | None = setting(
        kinds.FilePath(),
        "The store's directory, shared by all workers, kept across restarts; without it nothing is cached.",
        default=None,
        example='"cache"',
    )
    size: int = setting(kinds.Size(), "The store's size on disk.", default=1 * GIB, least=1 * MIB, most=64 << 40)
    memory: int = setting(
        kinds.Size(), "Per worker: the hottest copies, ready to send.", default=64 * MIB, least=0, most=1 << 40
    )
    max_object: int = setting(
        kinds.Size(),
        "A reply with a longer body is passed on but not stored.",
        default=128 * MIB,
        least=1,
        most=1 << 40,
    )
    purge_from: tuple[IPv4Network | IPv6Network, ...] = setting(
        kinds.ListOf(kinds.Network()),
        "Clients whose PURGE is carried out; others are refused. Without it PURGE goes to the origin like any method.",
        default=(),
        example='["127.0.0.1/32"]',
    )


@table
class Levels(Mapping[str, int]):
    """``[compression.levels]``: how hard each encoder tries. Also a mapping from encoding to level."""

    gzip: int = setting(kinds.Integer(), "Effort for gzip.", default=6, least=1, most=9)
    br: int = setting(kinds.Integer(), "Effort for Brotli.", default=5, least=0, most=11)
    zstd: int = setting(kinds.Integer(), "Effort for Zstandard.", default=6, least=1, most=19)

    def __getitem__(self, encoding: str) -> int:
        if encoding == "gzip":
            return self.gzip
        if encoding == "br":
            return self.br
        if encoding == "zstd":
            return self.zstd
        raise KeyError(encoding)

    def __iter__(self) -> Iterator[str]:
        return iter(("gzip", "br", "zstd"))

    def __len__(self) -> int:
        return 3


@table
class Compression:
    """``[compression]``: what is compressed, and with what."""

    encodings: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Choice("zstd", "br", "gzip")),
        "Encodings offered, the preferred first; an empty list compresses nothing.",
        default=("zstd", "br", "gzip"),
    )
    types: tuple[str, ...] = setting(
        kinds.ListOf(kinds.MediaRange()),
        "Media types worth compressing; images, video and archives already are.",
        default=(
            "text/*",
            "application/json",
            "application/*+json",
            "application/javascript",
            "application/xml",
            "application/*+xml",
            "application/wasm",
            "application/vnd.ms-fontobject",
            "image/svg+xml",
            "image/x-icon",
            "font/ttf",
            "font/otf",
        ),
    )
    min_length: int = setting(
        kinds.Size(), "A shorter body is sent as it is: it would hardly shrink.", default=256, least=0, most=1 * GIB
    )
    levels: Levels = setting(kinds.Table(Levels), "How hard each encoder tries.", default=Levels())
    padding: int = setting(
        kinds.Size(),
        "By up to so many bytes a compressed reply that is for one visitor (asked for with a cookie or credentials, or setting a "
        "cookie) is made longer, at random, so that its length does not tell what is in it (BREACH); 0 pads nothing.",
        default=256,
        least=0,
        most=4 * KIB,
    )
    cross_site: bool = setting(
        kinds.Boolean(),
        "Whether such replies are compressed for requests that another site's page has caused (Sec-Fetch-Site: cross-site). "
        "False is what stops BREACH in today's browsers, and costs the compression of pages that links from elsewhere lead to.",
        default=True,
    )


@table
class OriginServer:
    """One server of an origin. What the URL says is taken apart when made."""

    url: str = setting(kinds.TargetUrl(), "Where it is.", example='"http://127.0.0.1:8001"')
    scheme: Literal["http", "https"] = field(repr=False, compare=False, default="http")
    host: str = field(repr=False, compare=False, default="")
    port: int = field(repr=False, compare=False, default=0)
    unix_path: str | None = field(repr=False, compare=False, default=None)
    weight: int = setting(
        kinds.Integer(), "Its share of the requests, relative to the other servers'.", default=1, least=1, most=1000
    )
    backup: bool = setting(kinds.Boolean(), "Whether it is asked only while none of the others can be.", default=False)

    discover: Literal["addresses", "srv"] | None = setting(
        kinds.Choice("addresses", "srv"),
        "Whether the URL's host stands for several servers: one for each of its addresses, or, where it names a service "
        "(_http._tcp.app.internal), one for each of its SRV records, with their ports, weights and priorities. Name servers are "
        "asked again when the answer runs out.",
        default=None,
        example='"addresses"',
    )

    def __post_init__(self) -> None:
        if not self.host:
            target = parse_target(self.url)
            object.__setattr__(self, "scheme", target.scheme)
            object.__setattr__(self, "host", target.host)
            object.__setattr__(self, "port", target.port)
            object.__setattr__(self, "unix_path", target.unix_path)


@table
class OriginTls:
    """``[origin.NAME.tls]``: how an ``https`` origin is verified."""

    verify: bool = setting(
        kinds.Boolean(), "Whether its certificate must be valid for its name; false trusts anyone.", default=True
    )
    ca: Path | None = setting(
        kinds.FilePath(),
        "CA certificates (PEM) to trust instead of the system's.",
        default=None,
        example='"certs/internal-ca.pem"',
    )
    chain: Path | None = setting(
        kinds.FilePath(),
        "A certificate of our own, with its intermediates, PEM, leaf first, for origins that ask for one.",
        default=None,
        example='"certs/edge/fullchain.pem"',
    )
    key: Path | None = setting(
        kinds.FilePath(),
        "Its private key, PEM, not encrypted; read by the master.",
        default=None,
        example='"certs/edge/privkey.pem"',
    )
    server_name: str | None = setting(
        kinds.Text(),
        "The name asked for and verified, if it is not the URL's host.",
        default=None,
        example='"api.internal"',
    )


Balance = Literal["round_robin", "least_connections", "least_time", "ip_hash", "consistent_hash", "random_two"]


@table
class Origin:
    """``[origin.NAME]``: servers that answer alike."""

    name: str
    servers: tuple[OriginServer, ...] = setting(
        kinds.ListOf(kinds.Table(OriginServer, short="url"), may_be_empty=False),
        "Its servers: URLs, or tables with url and weight.",
        default=(),
        example='["http://127.0.0.1:8001", { url = "http://127.0.0.1:8002", weight = 2 }]',
    )
    servers_file: Path | None = setting(
        kinds.FilePath(),
        "Servers besides, or instead: a TOML or JSON file with a list of the same form, servers = [...]. It is looked at every "
        "second and needs no reload; while it is broken, what it said last holds.",
        default=None,
        example='"servers.toml"',
    )
    balance: Balance = setting(
        kinds.Choice("round_robin", "least_connections", "least_time", "ip_hash", "consistent_hash", "random_two"),
        "How a server is chosen for each request, for all workers together.",
        default="round_robin",
    )
    hash_key: str = setting(
        kinds.HashKey(),
        "What consistent_hash goes by: target (host, path and query), path, client, header:NAME, cookie:NAME or query:NAME. "
        "Requests without it go by their target.",
        default="target",
    )
    bounded_load: float | None = setting(
        kinds.Factor(),
        "With consistent_hash: no server carries more than so many times its share of the requests under way; what is above "
        "goes to the next. Without it, as many as come.",
        default=None,
        least=1.05,
        most=100.0,
        example="1.25",
    )
    slow_start_s: float = setting(
        kinds.Time(),
        "How long a server that comes back takes until it has its whole share again; 0: at once. Hashes do not know this.",
        default=0.0,
        name="slow_start",
        most=3600.0,
    )
    connect_s: float = setting(
        kinds.Time(),
        "How long connecting, TLS included, may take.",
        default=5.0,
        name="connect",
        least=0.001,
        most=300.0,
    )
    first_byte_s: float = setting(
        kinds.Time(),
        "How long the origin may think before its reply begins.",
        default=60.0,
        name="first_byte",
        least=0.001,
        most=86400.0,
    )
    between_bytes_s: float = setting(
        kinds.Time(),
        "How long a reply may pause, or a request's body not be taken.",
        default=60.0,
        name="between_bytes",
        least=0.001,
        most=86400.0,
    )
    idle_s: float = setting(
        kinds.Time(),
        "How long an unused connection is kept; shorter than the origin keeps it (5s is common), so that we close first.",
        default=4.0,
        name="idle",
        least=0.0,
        most=3600.0,
    )
    least_rate: int = setting(
        kinds.Size(),
        "Bytes per second that a reply must bring on average, beyond the time it may pause, if it has said how long it is or "
        "is being stored. 0: a byte within each between_bytes is enough.",
        default=256,
        least=0,
        most=1 * GIB,
    )
    max_connections: int = setting(
        kinds.Integer(), "Connections to each server, per worker.", default=1024, least=1, most=65535
    )
    max_idle: int = setting(
        kinds.Integer(), "Unused connections kept to each server, per worker.", default=64, least=0, most=65535
    )
    min_idle: int = setting(
        kinds.Integer(),
        "Unused connections to each server that are kept ready, per worker, TLS handshake and all.",
        default=0,
        least=0,
        most=65535,
    )
    max_age_s: float | None = setting(
        kinds.Time(),
        "A connection older than this carries no further exchange. Without it age does not count.",
        default=None,
        name="max_age",
        least=1.0,
        most=30 * 86400.0,
        example='"1h"',
    )
    max_uses: int | None = setting(
        kinds.Integer(),
        "Exchanges that one connection carries at most. Without it as many as come.",
        default=None,
        least=1,
        most=1_000_000_000,
        example="1000",
    )
    source: tuple[str, ...] = setting(
        kinds.ListOf(kinds.IpAddress()),
        "The address connections come from, at most one of each family; without it the kernel chooses.",
        default=(),
        example='["10.0.0.5"]',
    )
    proxy_protocol: Literal["v1", "v2"] | None = setting(
        kinds.Choice("v1", "v2"),
        "Begin each connection with a PROXY header that says who the client is; it is then used for that client's "
        "connection alone.",
        default=None,
        example='"v2"',
    )
    max_requests: int | None = setting(
        kinds.Integer(),
        "Requests under way at each server, of the whole node; what is above waits. Without it max_connections alone counts.",
        default=None,
        least=1,
        most=1_000_000,
        example="200",
    )
    max_pending: int | None = setting(
        kinds.Integer(),
        "Requests that may wait while all servers are busy, of the whole node; more are answered 503 at once. Without it as "
        "many per worker as there are connections.",
        default=None,
        least=0,
        most=1_000_000,
        example="100",
    )
    queue_s: float = setting(
        kinds.Time(),
        "How long a request may wait while all servers are busy; then it is answered 503.",
        default=5.0,
        name="queue",
        least=0.001,
        most=300.0,
    )
    retries: int = setting(
        kinds.Integer(), "Further attempts for a request that may safely be sent again.", default=1, least=0, most=10
    )
    retry_budget: float = setting(
        kinds.Share(),
        "Further attempts and hedges there may be, of the whole node's requests to this origin in the last seconds.",
        default=0.2,
    )
    retry_reserve: int = setting(
        kinds.Integer(),
        "Further attempts that are allowed in ten seconds however few requests there are.",
        default=10,
        least=0,
        most=1000,
    )
    health: HealthCheck = setting(
        kinds.Table(HealthCheck), "How its servers are asked whether they are well.", default=HealthCheck()
    )
    ejection: Ejection = setting(
        kinds.Table(Ejection), "When a server that answers badly is left alone.", default=Ejection()
    )
    sticky: Sticky = setting(kinds.Table(Sticky), "Whether clients stay with their server.", default=Sticky())
    tls: OriginTls = setting(kinds.Table(OriginTls), "How an https origin is verified.", default=OriginTls())
    host_header: Literal["client", "server"] = setting(
        kinds.Choice("client", "server"),
        "Which Host the origin sees: the one the client asked for, or the server's own.",
        default="client",
    )


_NEVER_KEPT = frozenset({206, 304, 412, 413, 416, 417, 421, 425, 426, 428, 431})
"""What such a reply says holds for one request's range, conditions, body or connection."""


@table
class RouteCache:
    """
    ``[route.cache]``, behind its ``[[route]]``: how the cache treats what goes this way.

    Nothing here makes the cache keep what the origin forbids (no-store, private, no-cache), or what it may not keep for
    everybody (a reply to Authorization). What a request says and the key leaves out is not said to the origin either.
    """

    enabled: bool = setting(kinds.Boolean(), "Whether anything is kept; false passes every request on.", default=True)
    ttl_s: float | None = setting(
        kinds.Time(),
        "Replaces whatever lifetime the origin gives, of replies with 200, 203, 204, 300, 301 and 308. "
        "Counted, like every lifetime, from when the origin made the reply.",
        default=None,
        name="ttl",
        most=kinds.YEAR_S,
        example='"10m"',
    )
    default_ttl_s: float | None = setting(
        kinds.Time(),
        "The lifetime where the origin gives none, instead of our guess from Last-Modified; for the same statuses.",
        default=None,
        name="default_ttl",
        most=kinds.YEAR_S,
        example='"1m"',
    )
    min_ttl_s: float | None = setting(
        kinds.Time(),
        "A shorter lifetime is taken for this; for the same statuses.",
        default=None,
        name="min_ttl",
        most=kinds.YEAR_S,
        example='"5s"',
    )
    max_ttl_s: float | None = setting(
        kinds.Time(),
        "A longer lifetime is taken for this, whatever the status.",
        default=None,
        name="max_ttl",
        most=kinds.YEAR_S,
        example='"1d"',
    )
    status_ttl: tuple[tuple[int, float], ...] = setting(
        kinds.StatusTimes(never=_NEVER_KEPT),
        "Replaces the lifetime of replies with one of these statuses, errors too.",
        default=(),
        example='{ 404 = "10s", 503 = "1s" }',
    )
    stale_while_revalidate_s: float | None = setting(
        kinds.Time(),
        "How long a stale copy may be used while it is refreshed, where the origin does not say. "
        "Like the next one not where it says must-revalidate, proxy-revalidate, s-maxage or no-cache.",
        default=None,
        name="stale_while_revalidate",
        most=kinds.YEAR_S,
        example='"30s"',
    )
    stale_if_error_s: float | None = setting(
        kinds.Time(),
        "How long a stale copy may be used when the origin fails, where the origin does not say.",
        default=None,
        name="stale_if_error",
        most=kinds.YEAR_S,
        example='"1d"',
    )
    query: Literal["all", "none"] = setting(
        kinds.Choice("all", "none"),
        "Whether the query is part of the key. What is left out of the key is not sent to the origin either.",
        default="all",
    )
    query_keep: tuple[str, ...] = setting(
        kinds.ListOf(kinds.ParameterName()),
        "Only these query parameters count; the others are left out. Empty: all.",
        default=(),
        example='["page", "sort"]',
    )
    query_drop: tuple[str, ...] = setting(
        kinds.ListOf(kinds.ParameterName()),
        "These query parameters are left out.",
        default=(),
        example='["utm_*", "fbclid", "gclid"]',
    )
    query_sort: bool = setting(
        kinds.Boolean(),
        "Whether query parameters are sorted by name, so that their order does not count; of one name it does.",
        default=False,
    )
    key_headers: tuple[str, ...] = setting(
        kinds.ListOf(kinds.FieldName()),
        "Requests that differ in these header fields get copies of their own (64 for each address), as if Vary named them.",
        default=(),
        example='["x-country"]',
    )
    key_cookies: tuple[str, ...] = setting(
        kinds.ListOf(kinds.CookieName()),
        "Requests that differ in these cookies get copies of their own.",
        default=(),
        example='["lang"]',
    )
    strip_cookies: bool = setting(
        kinds.Boolean(),
        "Whether cookies are taken off requests that the cache may answer, but for those in key_cookies, and Set-Cookie off "
        "replies that are kept. Without it a reply with Set-Cookie is kept, cookie and all, if its origin has given it a lifetime.",
        default=False,
    )
    bypass_headers: tuple[str, ...] = setting(
        kinds.ListOf(kinds.FieldName()),
        "A request with one of these header fields passes the cache by, unchanged.",
        default=(),
        example='["x-preview"]',
    )
    bypass_cookies: tuple[str, ...] = setting(
        kinds.ListOf(kinds.CookieName(patterns=True)),
        "A request with one of these cookies passes the cache by, unchanged.",
        default=(),
        example='["session", "wordpress_logged_in_*"]',
    )
    match_type: bool = setting(
        kinds.Boolean(),
        "Whether a reply is kept only if its Content-Type is what the path's ending promises: /account/x.css that is text/html is not "
        "(web cache deception).",
        default=False,
    )
    min_uses: int = setting(
        kinds.Integer(),
        "How often a reply must have been fetched, by whichever worker, before it is kept: 2 spares the store what is asked "
        "for once.",
        default=1,
        least=1,
        most=1000,
    )
    max_object: int | None = setting(
        kinds.Size(),
        "Overrides [cache] max_object here.",
        default=None,
        least=1,
        most=1 << 40,
        example='"1 GiB"',
    )
    parts: bool = setting(
        kinds.Boolean(),
        "Whether a range of what is not stored is asked for as such (in whole slices of 1 MiB), kept, and the rest fetched when "
        "it is wanted; false: everything is fetched whole.",
        default=True,
    )
    on_leave: Literal["finish", "stop"] = setting(
        kinds.Choice("finish", "stop"),
        "What becomes of a fetch that is being stored when everybody who waited for it has left: it is finished, or stopped "
        "unless it is nearly there. Of what is stopped the part that has come is kept where a strong validator allows.",
        default="finish",
    )
    finish_left: int = setting(
        kinds.Size(),
        "With on_leave = stop: nearly there is what misses no more than this.",
        default=1 * MIB,
        least=0,
        most=1 << 40,
    )
    finish_percent: int = setting(
        kinds.Integer(),
        "With on_leave = stop: or of what so much has come, where the length is known.",
        default=95,
        least=1,
        most=100,
    )


@table
class Share:
    """One origin of a route's split."""

    origin: str = setting(kinds.Text(), "The name of an [origin.NAME].", example='"canary"')
    weight: int = setting(
        kinds.Integer(),
        "Its share of the clients, relative to the others'; 0 gives it none.",
        default=1,
        least=0,
        most=1_000_000,
    )


@table
class Basic:
    """``[basic.NAME]``: people who sign in with a name and a password (RFC 7617)."""

    name: str
    realm: str = setting(
        kinds.Text(), "What a browser shows when it asks for the password.", default="Sign in", example='"Staff only"'
    )
    users: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Text()),
        "Users, each a name, a colon and an argon2 or bcrypt hash.",
        default=(),
        example='["alice:$2y$05$XZJU7yxhPzm3rQqpkmrXNuODaeCVbRkZ3bDTAuhlgA/7gtvO1qRlO"]',
    )
    file: Contents | None = setting(
        kinds.ContentsFile(),
        "More of them, one a line, as 'htpasswd -B' writes it. Read with this file; a HUP takes changes up.",
        default=None,
        example='"staff.htpasswd"',
    )
    cache_s: float = setting(
        kinds.Time(),
        "How long a password that was right is not worked out again; such hashes are slow on purpose. 0: never.",
        default=300.0,
        name="cache",
        most=86400.0,
    )


@table
class Jwt:
    """``[jwt.NAME]``: tokens that somebody signs (RFC 7519), and with which keys."""

    name: str
    algorithms: tuple[str, ...] = setting(
        kinds.ListOf(
            kinds.Choice(
                "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "ES256", "ES384", "ES512", "ES256K", "EdDSA",
            ),
            may_be_empty=False,
        ),
        "Algorithms that are taken. A key is for those that fit it and no other, whatever a token says.",
        example='["RS256"]',
    )  # fmt: skip
    secret_file: Contents | None = setting(
        kinds.ContentsFile(),
        "For HS256, HS384, HS512: the shared secret, of at least 32, 48 or 64 bytes.",
        default=None,
        example='"jwt.secret"',
    )
    key_file: Contents | None = setting(
        kinds.ContentsFile(),
        "A public key, or a certificate with it, PEM.",
        default=None,
        example='"login.pem"',
    )
    jwks_file: Contents | None = setting(
        kinds.ContentsFile(), "A set of keys (RFC 7517).", default=None, example='"jwks.json"'
    )
    jwks_origin: str | None = setting(
        kinds.Text(),
        "The [origin.NAME] that a set of keys is fetched from. Without keys nobody passes, and the log says so.",
        default=None,
        example='"shop"',
    )
    jwks_path: str = setting(
        kinds.Text(), "What is asked for there.", default="/.well-known/jwks.json", example='"/keys"'
    )
    refresh_s: float = setting(
        kinds.Time(),
        "How often it is fetched; also when a token names a key that is not known, but not more often than every 10s.",
        default=600.0,
        name="refresh",
        least=10.0,
        most=86400.0,
    )
    keep_s: float = setting(
        kinds.Time(),
        "How long the last good set is used while it cannot be fetched.",
        default=86400.0,
        name="keep",
        least=60.0,
        most=30 * 86400.0,
    )
    issuer: str | None = setting(
        kinds.Text(),
        "Who must have issued the token (iss).",
        default=None,
        example='"https://login.example/"',
    )
    audience: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Text()), "It must be for one of these (aud).", default=(), example='["shop"]'
    )
    leeway_s: float = setting(
        kinds.Time(),
        "How far its issuer's clock and ours may be apart.",
        default=30.0,
        name="leeway",
        most=600.0,
    )
    require_expiry: bool = setting(kinds.Boolean(), "Whether a token must say when it ends (exp).", default=True)
    claims: tuple[tuple[str, tuple[str, ...]], ...] = setting(
        kinds.ClaimMap(),
        "What must be claimed: for each claim one of these values. A list, or words with spaces as in scope, must hold one.",
        default=(),
        example='{ scope = "orders" }',
    )
    headers: tuple[tuple[str, str], ...] = setting(
        kinds.FieldMap(example='{ x-user = "sub" }'),
        "What the origin is told: header fields by claim. The same fields of clients are removed, on every route.",
        default=(),
        example='{ x-user = "sub" }',
    )
    cookie: str | None = setting(
        kinds.CookieName(),
        "The cookie that carries the token; without it, Authorization: Bearer does.",
        default=None,
        example='"token"',
    )
    realm: str = setting(kinds.Text(), "What a client without a token is told.", default="edge")


@table
class ForwardAuth:
    """``[forward_auth.NAME]``: a service that is asked, with the head of each request, whether it may pass."""

    name: str
    origin: str = setting(kinds.Text(), "The [origin.NAME] that is asked.", default="", required=True, example='"shop"')
    path: str = setting(
        kinds.Text(),
        "What it is asked for, with GET; the request is named by X-Forwarded-Method and X-Forwarded-Uri. 2xx lets it pass; "
        "a redirect or a 4xx is the client's answer; all else is 503.",
        default="/",
        example='"/check"',
    )
    timeout_s: float = setting(
        kinds.Time(), "How long it may take.", default=5.0, name="timeout", least=0.01, most=60.0
    )
    copy_headers: tuple[str, ...] = setting(
        kinds.ListOf(kinds.FieldName()),
        "Header fields of its answer that the origin is told. The same fields of clients are removed, on every route.",
        default=(),
        example='["x-user"]',
    )
    user_header: str | None = setting(
        kinds.FieldName(),
        "The header field of its answer that names the user, for limits by user.",
        default=None,
        example='"x-user"',
    )
    cache_s: float = setting(
        kinds.Time(),
        "How long a yes is used again for the same request of the same client.",
        default=0.0,
        name="cache",
        most=3600.0,
    )
    cache_by: tuple[str, ...] = setting(
        kinds.ListOf(kinds.FieldName()),
        "The only header fields that its answer depends on, beside method, scheme, host and target; without it, all that it "
        "hears. Clients that send one of them are told apart by them and no longer by their address, unless x-forwarded-for "
        "is among them.",
        default=(),
        example='["authorization", "cookie"]',
    )
    cache_whole_host: bool = setting(
        kinds.Boolean(),
        "Whether a yes to one method and target is one to all of the host: only for a service that looks at neither "
        "X-Forwarded-Method nor X-Forwarded-Uri.",
        default=False,
    )


RateBy = Literal["client", "network", "header", "user", "claim", "route"]


@table
class Rate:
    """``[rate.NAME]``: how many requests are too many. One budget for all workers, and all routes that name it."""

    name: str
    limit: int = setting(
        kinds.Integer(), "Requests in each period, on average.", least=1, most=1_000_000, example="100"
    )
    per_s: float = setting(kinds.Time(), "The period.", default=60.0, name="per", least=0.1, most=86400.0)
    burst: int | None = setting(
        kinds.Integer(),
        "How many may be made at once; without it as many as limit.",
        default=None,
        least=1,
        most=1_000_000,
        example="20",
    )
    by: RateBy = setting(
        kinds.Choice("client", "network", "header", "user", "claim", "route"),
        "Who has a budget of their own: each client address, each network, each value of a header, each user, each value "
        "of a claim, or all of a route together. Where there is no such value, the client address.",
        default="client",
    )
    header: str | None = setting(kinds.FieldName(), 'With by = "header": which.', default=None, example='"x-api-key"')
    claim: str | None = setting(kinds.Text(), 'With by = "claim": which.', default=None, example='"tenant"')
    ipv4_prefix: int | None = setting(
        kinds.Integer(),
        "How many bits of an IPv4 address count; without it 32, or 24 by network.",
        default=None,
        least=1,
        most=32,
        example="24",
    )
    ipv6_prefix: int | None = setting(
        kinds.Integer(),
        "How many bits of an IPv6 address count; without it 64, or 48 by network.",
        default=None,
        least=1,
        most=128,
        example="56",
    )
    dry_run: bool = setting(kinds.Boolean(), "Whether what is too much is only counted and logged.", default=False)


@table
class RouteAccess:
    """``[route.access]``, behind its ``[[route]]``: who may pass, and how often."""

    allow: tuple[IPv4Network | IPv6Network, ...] = setting(
        kinds.ListOf(kinds.Network()),
        "Networks that may pass. If there are any, others may not. Of networks that lie in each other the smallest decides.",
        default=(),
        example='["10.0.0.0/8", "2001:db8::/32"]',
    )
    deny: tuple[IPv4Network | IPv6Network, ...] = setting(
        kinds.ListOf(kinds.Network()), "Networks that may not pass.", default=(), example='["10.9.0.0/16"]'
    )
    allow_files: tuple[Contents, ...] = setting(
        kinds.ListOf(kinds.ContentsFile()),
        "Files with more of them, one network a line. Read with this file; a HUP takes changes up.",
        default=(),
        example='["office.txt"]',
    )
    deny_files: tuple[Contents, ...] = setting(
        kinds.ListOf(kinds.ContentsFile()),
        "Files with networks that may not pass, one a line.",
        default=(),
        example='["blocked.txt"]',
    )
    basic: str | None = setting(kinds.Text(), "The [basic.NAME] to sign in with.", default=None, example='"shop"')
    jwt: str | None = setting(kinds.Text(), "The [jwt.NAME] to show a token of.", default=None, example='"shop"')
    forward_auth: str | None = setting(
        kinds.Text(), "The [forward_auth.NAME] that is asked.", default=None, example='"shop"'
    )
    client_certificate: Literal["optional", "required"] = setting(
        kinds.Choice("optional", "required"),
        "Whether a client must have shown a certificate; its listener's client_verify says whether it is asked for one.",
        default="optional",
    )
    certificate_headers: tuple[tuple[str, str], ...] = setting(
        kinds.FieldMap(
            "subject", "issuer", "serial", "san", "fingerprint", "not_after", "certificate",
            example='{ x-client = "subject" }',
        ),
        "What the origin is told of it. The same fields of clients are removed, on every route.",
        default=(),
        example='{ x-client = "subject", x-client-hash = "fingerprint" }',
    )  # fmt: skip
    satisfy: Literal["all", "any"] = setting(
        kinds.Choice("all", "any"),
        "Whether all that is named here must be shown, or any one of it is enough (an allowed network, a certificate, a "
        "token, a password). What is denied stays denied.",
        default="all",
    )
    rates: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Text()), "The [rate.NAME] limits that hold here.", default=(), example='["shop"]'
    )
    concurrency: int | None = setting(
        kinds.Integer(),
        "Requests of this route that may be under way at once, on the whole node; what is answered from memory is not "
        "counted. More are answered 503.",
        default=None,
        least=1,
        most=1_000_000,
        example="200",
    )
    client_concurrency: int | None = setting(
        kinds.Integer(),
        "The same for each client address (IPv6: the first 64 bits). More are answered 429.",
        default=None,
        least=1,
        most=100_000,
        example="10",
    )
    concurrency_dry_run: bool = setting(
        kinds.Boolean(), "Whether what is too much at once is only counted and logged.", default=False
    )


@table
class RouteCors:
    """``[route.cors]``, behind its ``[[route]]``: what pages of other sites may do here (CORS)."""

    origins: tuple[str, ...] = setting(
        kinds.ListOf(kinds.SiteOrigin()),
        "Sites whose pages may ask; empty: the edge says nothing about it, and passes on what the origin says.",
        default=(),
        example='["https://shop.example", "https://*.shop.example"]',
    )
    methods: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Method()), "Methods they may use.", default=("GET", "HEAD", "POST")
    )
    headers: tuple[str, ...] = setting(
        kinds.ListOf(kinds.FieldName()),
        "Header fields they may send beside the harmless ones.",
        default=(),
        example='["content-type", "x-requested-with"]',
    )
    expose: tuple[str, ...] = setting(
        kinds.ListOf(kinds.FieldName()),
        "Header fields of replies they may read beside the harmless ones.",
        default=(),
        example='["x-request-id"]',
    )
    credentials: bool = setting(
        kinds.Boolean(), "Whether they may ask in the name of whoever is signed in here.", default=False
    )
    max_age_s: float = setting(
        kinds.Time(),
        "How long a browser may remember what it was allowed.",
        default=600.0,
        name="max_age",
        most=86400.0,
    )


@table
class Route:
    """``[[route]]``: which requests go to which origin. The most specific wins: see ``edge/policy/route.py``."""

    host: str | None = setting(
        kinds.HostPattern(),
        "A host, or *.host for every name below it; without it any host.",
        default=None,
        example='"shop.example"',
    )
    path: str = setting(
        kinds.PathPrefix(), "A prefix, on segment borders: /api is /api and /api/x, not /apix.", default="/"
    )
    origin: str = setting(kinds.Text(), "The name of an [origin.NAME].", default="", example='"shop"')
    cache: RouteCache = setting(
        kinds.Table(RouteCache), "How the cache treats what goes this way.", default=RouteCache()
    )
    retry: RouteRetry = setting(
        kinds.Table(RouteRetry), "When a request that failed is sent again.", default=RouteRetry()
    )
    name: str | None = setting(
        kinds.Text(), "What it is called where it is spoken of.", default=None, example='"shop-beta"'
    )
    path_exact: str | None = setting(
        kinds.ExactPath(), "Instead of path: this path and no other.", default=None, example='"/robots.txt"'
    )
    path_pattern: str | None = setting(
        kinds.Expression(),
        "What the whole path must match, tried below path. RE2: no back-references, no look-around, no input that takes long.",
        default=None,
        example="'/items/[0-9]+(/.*)?'",
    )
    methods: tuple[str, ...] = setting(
        kinds.ListOf(kinds.MethodName()),
        "Only these methods. Without it any.",
        default=(),
        example='["GET", "HEAD"]',
    )
    headers: tuple[tuple[str, str], ...] = setting(
        kinds.Conditions(kinds.FieldName()),
        'Only requests with all of these header fields: with this value, with any ("*"), or with one that an expression '
        'matches as a whole ("~EXPRESSION").',
        default=(),
        example='{ x-beta = "1", user-agent = "~.*Mobile.*" }',
    )
    query: tuple[tuple[str, str], ...] = setting(
        kinds.Conditions(kinds.Text()),
        "Only requests with all of these query parameters, decoded; of one that comes twice the first counts.",
        default=(),
        example='{ preview = "*" }',
    )
    networks: tuple[IPv4Network | IPv6Network, ...] = setting(
        kinds.ListOf(kinds.Network()),
        "Only clients in these networks.",
        default=(),
        example='["10.0.0.0/8", "2001:db8::/32"]',
    )
    order: int = setting(
        kinds.Integer(),
        "Between routes that are equally specific the smaller number goes first; then the one that stands first.",
        default=0,
        least=-1_000_000,
        most=1_000_000,
    )
    split: tuple[Share, ...] = setting(
        kinds.ListOf(kinds.Table(Share, short="origin")),
        "Instead of origin: several, and how many of the clients go to each. A client stays with its origin, and as the weights "
        "change no more clients move than must.",
        default=(),
        example='[{ origin = "shop", weight = 95 }, { origin = "canary", weight = 5 }]',
    )
    split_by: str = setting(
        kinds.SplitKey(),
        "What is one client to split: address, cookie:NAME or header:NAME; its address where it sends no such thing.",
        default="address",
    )
    access: RouteAccess = setting(kinds.Table(RouteAccess), "Who may pass, and how often.", default=RouteAccess())
    cors: RouteCors = setting(kinds.Table(RouteCors), "What pages of other sites may do here.", default=RouteCors())
    rewrite: RouteRewrite = setting(
        kinds.Table(RouteRewrite), "What the origin is asked for instead.", default=RouteRewrite()
    )
    redirect: RouteRedirect = setting(
        kinds.Table(RouteRedirect), "Instead of an origin: where clients are sent.", default=RouteRedirect()
    )
    respond: RouteRespond = setting(
        kinds.Table(RouteRespond), "Instead of an origin: a fixed answer.", default=RouteRespond()
    )
    maintenance: RouteMaintenance = setting(
        kinds.Table(RouteMaintenance), "Everybody gets 503, but for some.", default=RouteMaintenance()
    )
    request_headers: RouteRequestHeaders = setting(
        kinds.Table(RouteRequestHeaders),
        "What is done to the header that the origin is sent.",
        default=RouteRequestHeaders(),
    )
    response_headers: RouteResponseHeaders = setting(
        kinds.Table(RouteResponseHeaders),
        "What is done to the header of every reply, as it leaves.",
        default=RouteResponseHeaders(),
    )
    limits: RouteLimits = setting(kinds.Table(RouteLimits), "What a client may send this way.", default=RouteLimits())
    timeouts: RouteTimeouts = setting(
        kinds.Table(RouteTimeouts), "How long an origin may take this way.", default=RouteTimeouts()
    )
    error_pages: ErrorPages = setting(
        kinds.Table(ErrorPages), "Own pages for what goes wrong, before those of [error_pages].", default=ErrorPages()
    )
    mirror: RouteMirror = setting(
        kinds.Table(RouteMirror), "Another origin that hears what this one is asked.", default=RouteMirror()
    )
    policy: str | None = setting(
        kinds.FunctionName(),
        "A function of yours, module:function, that is asked about every request after all other rules: see edge/policy/verdict.py. "
        "Its module is looked for beside this file first. What it fails on is refused with 500; replies are kept only "
        "where the origin says public or s-maxage.",
        default=None,
        example='"rules:beta"',
    )
    policy_timeout_s: float = setting(
        kinds.Time(),
        "How long it may take. What takes longer is refused with 503 and interrupted; it holds one of a few threads until it ends.",
        default=0.25,
        name="policy_timeout",
        least=0.001,
        most=60.0,
    )
    server_timing: bool = setting(
        kinds.Boolean(),
        "Tell clients by Server-Timing how long the origin took, and we: whoever may not know that should not be told.",
        default=False,
    )

    @property
    def label(self) -> str:
        """What it is called in metrics: its name, or its host and path."""
        if self.name is not None:
            return self.name
        return f"{self.host or '*'}{self.path_exact or self.path}"


@table
class Discovery:
    """``[discovery]``: how name servers are asked for origins' servers (``discover``)."""

    nameservers: tuple[tuple[str, int], ...] = setting(
        kinds.ListOf(kinds.NameServer()),
        "Who is asked, in this order; without it those of /etc/resolv.conf.",
        default=(),
        example='["10.0.0.2", "10.0.0.3:5353"]',
    )
    timeout_s: float = setting(
        kinds.Time(), "How long an answer is waited for.", default=5.0, name="timeout", least=0.1, most=60.0
    )
    least_s: float = setting(
        kinds.Time(),
        "An answer is not asked for again sooner, however soon it runs out.",
        default=1.0,
        name="least",
        least=0.1,
        most=3600.0,
    )
    most_s: float = setting(
        kinds.Time(),
        "An answer is asked for again after so long, however long it could be believed.",
        default=300.0,
        name="most",
        least=1.0,
        most=86400.0,
    )


@table
class ServersFile:
    """What stands in an origin's ``servers_file``."""

    servers: tuple[OriginServer, ...] = setting(
        kinds.ListOf(kinds.Table(OriginServer, short="url"), may_be_empty=False),
        "The servers: URLs, or tables with url and weight.",
        default=(),
        required=True,
        example='["http://127.0.0.1:8001", { url = "http://127.0.0.1:8002", weight = 2 }]',
    )


@table
class Log:
    """``[log]``: what is written, where."""

    access: Path | Literal["stderr", "off"] = setting(
        kinds.FilePath("stderr", "off"), "Where one line per exchange goes.", default="stderr"
    )
    format: Literal["json", "combined"] = setting(
        kinds.Choice("json", "combined"), "The form of that line.", default="json"
    )
    errors: Path | Literal["stderr"] = setting(
        kinds.FilePath("stderr"), "Where everything else worth saying goes.", default="stderr"
    )
    level: Literal["debug", "info", "warning", "error"] = setting(
        kinds.Choice("debug", "info", "warning", "error"), "What is worth saying.", default="info"
    )
    slow_s: float | None = setting(
        kinds.Time(),
        "An exchange that took longer, to the last byte that its client took, is told in the errors, as the access log would.",
        default=None,
        name="slow",
        least=0.001,
        most=86400.0,
        example='"2s"',
    )


@table
class Trace:
    """``[trace]``: W3C Trace Context (traceparent, tracestate) towards origins."""

    enabled: bool = setting(
        kinds.Boolean(),
        "Continue the trace a request is part of, or begin one; its ids are the request's id, and so in the log. "
        "Without it the client's fields are passed on as they are.",
        default=False,
    )
    sample: float = setting(
        kinds.Share(), "Which share of the traces that begin here is asked to be recorded.", default=0.0
    )


@table
class Admin:
    """``[admin]``: plain HTTP for operators: /metrics, /healthz, /readyz."""

    address: str | None = setting(
        kinds.ListenAddress(),
        "Where it listens; keep it away from clients. Without it there is none.",
        default=None,
        needs=Change.LISTENERS,
        example='"127.0.0.1:9180"',
    )
    tokens: Path | None = setting(
        kinds.FilePath(),
        "A file with a token a line, of 16 characters at least; whoever asks must show one, as a bearer token or as the password of Basic. "
        "Without it only this machine may ask, and address must be one of its own.",
        default=None,
        example='"admin.tokens"',
    )

    @property
    def listener(self) -> Listener | None:
        """The address as a listener, for whoever binds it."""
        return None if self.address is None else Listener(self.address)


@table
class Limits:
    """``[limits]``: what a client may send, and how many may be here."""

    line_bytes: int = setting(
        kinds.Size(), "The request line; longer is 414.", default=8 * KIB, name="request_line", least=256, most=1 * MIB
    )
    header_bytes: int = setting(
        kinds.Size(), "The whole head; longer is 431.", default=32 * KIB, name="headers", least=1 * KIB, most=16 * MIB
    )
    header_count: int = setting(kinds.Integer(), "Header lines; more is 431.", default=100, least=10, most=10000)
    body_bytes: int | None = setting(
        kinds.Size(),
        "A request's body; longer is 413. Without it a body may have any length: bodies are streamed.",
        default=None,
        name="body",
        least=0,
        example='"100 MiB"',
    )
    connections: int = setting(
        kinds.Integer(),
        "Client connections at once, per worker. When there are so many, those at rest make room for new ones, and where none is, "
        "new ones are closed.",
        default=10000,
        least=1,
        most=1_000_000,
    )
    connections_per_client: int | None = setting(
        kinds.Integer(),
        "Connections at once from one address, in all workers together; more are closed at once. Clients in trusted_proxies are not "
        "counted. Without it there is no such limit.",
        default=None,
        least=1,
        most=1_000_000,
        example="200",
    )
    client_prefix: int = setting(
        kinds.Integer(),
        "How many leading bits of an IPv6 address make one client: who has an address has its whole network.",
        default=64,
        least=16,
        most=128,
    )


@table
class Timeouts:
    """``[timeouts]``: how long a client may take, and both sides of a tunnel."""

    handshake_s: float = setting(
        kinds.Time(), "For the TLS handshake.", default=10.0, name="handshake", least=0.01, most=300.0
    )
    head_s: float = setting(
        kinds.Time(),
        "From a request's first byte to the end of its head.",
        default=10.0,
        name="head",
        least=0.01,
        most=300.0,
    )
    body_s: float = setting(
        kinds.Time(), "Between two reads of a request's body.", default=30.0, name="body", least=0.01, most=3600.0
    )
    write_s: float = setting(
        kinds.Time(), "Between two writes a client takes.", default=60.0, name="write", least=0.01, most=3600.0
    )
    idle_s: float = setting(
        kinds.Time(), "Between two requests on a kept connection.", default=75.0, name="idle", least=0.0, most=86400.0
    )
    tunnel_s: float = setting(
        kinds.Time(),
        "How long nothing may pass through a tunnel (a WebSocket), either way.",
        default=3600.0,
        name="tunnel",
        least=0.01,
        most=30 * 86400.0,
    )


_NO_ORIGINS: Mapping[str, Origin] = MappingProxyType({})
_NONE: Mapping[str, Any] = MappingProxyType({})


@table
class Config:
    """The whole file."""

    server: Server = setting(kinds.Table(Server), "The processes.", default=Server())
    listeners: tuple[Listener, ...] = setting(
        kinds.Tables(Listener), "Addresses clients connect to.", default=(), name="listener", needs=Change.LISTENERS
    )
    certificates: tuple[Certificate, ...] = setting(
        kinds.Tables(Certificate),
        "Names are read from the certificates; the first is the default.",
        default=(),
        name="certificate",
        needs=Change.CERTIFICATES,
    )
    cache: CacheConfig = setting(kinds.Table(CacheConfig), "The store all workers share.", default=CacheConfig())
    compression: Compression = setting(
        kinds.Table(Compression), "What is compressed, and with what.", default=Compression()
    )
    origins: Mapping[str, Origin] = setting(
        kinds.Named(Origin), "Who answers what we cannot.", default=_NO_ORIGINS, name="origin"
    )
    routes: tuple[Route, ...] = setting(
        kinds.Tables(Route), "Which requests go to which origin.", default=(), name="route"
    )
    basic: Mapping[str, Basic] = setting(kinds.Named(Basic), "Users with passwords.", default=_NONE)
    jwt: Mapping[str, Jwt] = setting(kinds.Named(Jwt), "Who signs tokens.", default=_NONE)
    forward_auth: Mapping[str, ForwardAuth] = setting(
        kinds.Named(ForwardAuth), "Who is asked whether a request may pass.", default=_NONE
    )
    rates: Mapping[str, Rate] = setting(
        kinds.Named(Rate), "How many requests are too many.", default=_NONE, name="rate"
    )
    error_pages: ErrorPages = setting(kinds.Table(ErrorPages), "Own pages for what goes wrong.", default=ErrorPages())
    discovery: Discovery = setting(
        kinds.Table(Discovery), "How name servers are asked for origins' servers.", default=Discovery()
    )
    log: Log = setting(kinds.Table(Log), "What is written, where.", default=Log())
    trace: Trace = setting(kinds.Table(Trace), "How requests are followed through many services.", default=Trace())
    admin: Admin = setting(kinds.Table(Admin), "For operators.", default=Admin(), needs=Change.LISTENERS)
    limits: Limits = setting(kinds.Table(Limits), "What a client may send.", default=Limits())
    timeouts: Timeouts = setting(kinds.Table(Timeouts), "How long a client may take.", default=Timeouts())
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        kinds.ListOf(kinds.Network()),
        "Clients that are proxies of ours: what they say about the client before them is believed.",
        default=(),
        example='["10.0.0.0/8"]',
    )
    source: Path = Path("edge.toml")
