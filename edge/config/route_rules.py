"""
The tables below ``[[route]]`` that say what is done with a request that goes that way, and with its reply.

They are part of the tree (see ``tree.py``, where the house's rules for such tables are told) and stand here because they belong
together. What they mean is told in ``edge/policy/ROUTING.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import kinds, route_kinds
from edge.config.contents import Contents
from edge.config.route_kinds import REPLY_FIELDS, REQUEST_FIELDS
from edge.config.schema import setting, table

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

_FIELDS = "In values {{ and }} are braces, and "


@table
class RouteRewrite:
    """``[route.rewrite]``: what the origin is asked for instead. Either prefix, or pattern and to. The query stays."""

    prefix: str | None = setting(
        kinds.PathPrefix(),
        'What takes the place of the route\'s path: with path = "/api" and "/v2" here, /api/x is /v2/x; "/" takes it off.',
        default=None,
        example='"/v2"',
    )
    pattern: str | None = setting(
        kinds.Expression(),
        "An expression for the whole path; a path that it does not match stays as it is.",
        default=None,
        example="'/items/([0-9]+)(/.*)?'",
    )
    to: str | None = setting(
        kinds.Text(),
        "What such a path becomes: {1} to {9} are what the expression's groups caught, {path} is all of it, {rest} what is "
        "behind the route's path.",
        default=None,
        example='"/catalog/{1}{2}"',
    )


@table
class RouteRedirect:
    """``[route.redirect]``: where clients are sent; then no origin is asked."""

    to: str | None = setting(
        kinds.Text(),
        "A path, or http(s)://HOST and more. {scheme}, {host}, {authority} (with port), {path}, {query} (with its ?), {target} "
        "(both), {rest} (behind the route's path), {1} to {9} (what path_pattern's groups caught).",
        default=None,
        example='"https://www.{host}{target}"',
    )
    status: int = setting(
        route_kinds.OneOf(301, 302, 303, 307, 308),
        "Browsers remember 301 and 308 for good; 307 and 308 keep the method.",
        default=307,
    )


@table
class RouteRespond:
    """``[route.respond]``: a fixed answer; then no origin is asked."""

    status: int | None = setting(kinds.Integer(), "Its status.", default=None, least=200, most=599, example="200")
    body: str | None = setting(kinds.Text(), "Its body.", default=None, example='"Back soon."')
    file: Contents | None = setting(
        route_kinds.PageFile(),
        "Instead of body: a file, read with this one; a HUP takes changes up.",
        default=None,
        example='"pages/hello.html"',
    )
    content_type: str | None = setting(
        route_kinds.FieldValue(),
        "Its type; without it by the file's name, or plain text.",
        default=None,
        example='"application/json"',
    )


@table
class RouteMaintenance:
    """``[route.maintenance]``: everybody gets 503, but for some."""

    enabled: bool = setting(kinds.Boolean(), "Whether it is so now.", default=False)
    retry_after_s: float = setting(
        kinds.Time(), "What Retry-After says.", default=300.0, name="retry_after", least=1.0, most=30 * 86400.0
    )
    allow: tuple[IPv4Network | IPv6Network, ...] = setting(
        kinds.ListOf(kinds.Network()), "Clients for whom all is as ever.", default=(), example='["10.0.0.0/8"]'
    )


@table
class RouteRequestHeaders:
    """``[route.request_headers]``: what is done to the header that the origin is sent; after all that the edge does to it."""

    set: tuple[tuple[str, str], ...] = setting(
        route_kinds.FieldValues(REQUEST_FIELDS),
        "Fields that have this value, whatever the client said. "
        + _FIELDS
        + "{client} is the client's address; {scheme}, {host}, "
        "{authority}, {path}, {query} (with its ?) and {target} are what it asked for, without what of the query is in no key; "
        "{request_id} is X-Request-ID.",
        default=(),
        example='{ x-real-ip = "{client}", x-channel = "web" }',
    )
    add: tuple[tuple[str, str], ...] = setting(
        route_kinds.FieldValues(REQUEST_FIELDS, adds=True),
        "Fields that are sent beside what the client said.",
        default=(),
        example='{ x-channel = "web" }',
    )
    remove: tuple[str, ...] = setting(
        kinds.ListOf(route_kinds.FieldPattern(REQUEST_FIELDS)),
        "Fields that are taken off; with * at its end, all that begin so.",
        default=(),
        example='["x-debug-*"]',
    )


@table
class RouteResponseHeaders:
    """``[route.response_headers]``: what is done to every reply's header as it leaves; what is stored stays as it came."""

    set: tuple[tuple[str, str], ...] = setting(
        route_kinds.FieldValues(REPLY_FIELDS),
        "Fields that have this value, whatever the origin said. "
        + _FIELDS
        + "{scheme}, {host}, {authority} and {path} are what the "
        "client asked for.",
        default=(),
        example='{ cache-control = "no-cache", strict-transport-security = "max-age=31536000" }',
    )
    add: tuple[tuple[str, str], ...] = setting(
        route_kinds.FieldValues(REPLY_FIELDS, adds=True),
        "Fields that are said beside what the origin said.",
        default=(),
        example='{ vary = "x-beta" }',
    )
    remove: tuple[str, ...] = setting(
        kinds.ListOf(route_kinds.FieldPattern(REPLY_FIELDS)),
        "Fields that are taken off; with * at its end, all that begin so.",
        default=(),
        example='["server", "x-powered-by", "x-internal-*"]',
    )


@table
class RouteLimits:
    """``[route.limits]``: what a client may send this way, instead of [limits]."""

    body_bytes: int | None = setting(
        kinds.Size(),
        "A request's body; longer is 413. It may be more than [limits] body.",
        default=None,
        name="body",
        least=0,
        most=1 << 50,
        example='"10 MiB"',
    )
    header_bytes: int | None = setting(
        kinds.Size(),
        "All header fields together; longer is 431. Less than [limits] headers, which is looked at before a route is known.",
        default=None,
        name="headers",
        least=64,
        most=16 << 20,
        example='"4 KiB"',
    )


@table
class RouteTimeouts:
    """``[route.timeouts]``: how long an origin may take this way, instead of its own settings."""

    first_byte_s: float | None = setting(
        kinds.Time(),
        "How long it may think before its reply begins.",
        default=None,
        name="first_byte",
        least=0.001,
        most=86400.0,
        example='"5s"',
    )
    between_bytes_s: float | None = setting(
        kinds.Time(),
        "How long its reply may pause, or a request's body not be taken.",
        default=None,
        name="between_bytes",
        least=0.001,
        most=86400.0,
        example='"10s"',
    )
    total_s: float | None = setting(
        kinds.Time(),
        "From asking it, further attempts and a wait for a connection included, to the end of its reply. Where the reply is not "
        "kept, until the client has it.",
        default=None,
        name="total",
        least=0.001,
        most=86400.0,
        example='"30s"',
    )


@table
class ErrorPages:
    """``[error_pages]``, and ``[route.error_pages]``, whose pages go before those: own pages for what goes wrong."""

    pages: tuple[tuple[str, Contents], ...] = setting(
        route_kinds.StatusFiles(),
        "Files by status, or by 4xx and 5xx for all that have none of their own; read with this file, a HUP takes changes up. Who asks "
        "for JSON gets no page that is none.",
        default=(),
        example='{ 404 = "pages/404.html", 5xx = "pages/sorry.html" }',
    )
    of_origins: bool = setting(
        kinds.Boolean(),
        "Whether replies of origins with such a status are replaced, too. Their header stays, but for what speaks of the body.",
        default=False,
    )


@table
class RouteMirror:
    """``[route.mirror]``: another origin hears what the origin is asked, too, and what it says is thrown away."""

    origin: str | None = setting(kinds.Text(), "The [origin.NAME] that listens.", default=None, example='"shop"')
    share: float = setting(route_kinds.Percent(), "How many of the requests it hears.", default=100.0)
    body_bytes: int = setting(
        kinds.Size(),
        "A request with a longer body is not mirrored; bodies are held until they are whole.",
        default=64 << 10,
        name="body",
        least=0,
        most=16 << 20,
    )
    at_once: int = setting(
        kinds.Integer(),
        "Mirrored requests under way, per worker and route; what is more is not mirrored.",
        default=64,
        least=1,
        most=10_000,
    )
    timeout_s: float = setting(
        kinds.Time(), "How long one may take.", default=10.0, name="timeout", least=0.01, most=3600.0
    )
