"""
Every number the edge counts, by name: one row each, from which the shared page and the exposition are laid out.

A row is one 64-bit cell per worker slot. Its place in :data:`ROWS` is the constant a hot path indexes with
(``cells[FLIGHT_JOINED] += 1``); series of one family (same name, other labels) stand together. What an exchange's end
says (requests, replies, bytes, durations, faults) is counted by :mod:`edge.observe.ledger` from the log entry alone and
by nobody else; the other cells are bumped where the thing happens.

Knows nothing of processes or text. Invariant: a row never moves while the program runs, so cells outlive reloads.
Source: Prometheus naming (base units, ``_total``), RFC 9211 §2.2, RFC 9209 §2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Kind(Enum):
    """How a row's cells behave."""

    COUNTER = "counter"  # only grows; summed over slots and generations
    GAUGE = "gauge"  # what is true now; summed over slots, zeroed when a slot's holder is gone
    BUCKET = "bucket"  # one bucket of a histogram, not cumulative; label ``le``
    SUM = "sum"  # the histogram's sum, in microseconds


@dataclass(frozen=True, slots=True)
class Row:
    """
    One cell.

    Attributes:
        name: of the family, with unit; counters end in ``_total``.
        labels: ``(name, value)`` pairs; the same label names throughout a family.
        help: one sentence, the family's.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def flat(self) -> str:
        """Name and labels as one string, unique among all rows."""
        return self.name + "".join(f",{name}={value}" for name, value in self.labels) + f":{self.kind.value}"


_rows: list[Row] = []


def _one(name: str, kind: Kind, help_: str, **labels: str) -> int:
    _rows.append(Row(name, kind, help_, tuple(labels.items())))
    return len(_rows) - 1


def _each(name: str, help_: str, label: str, values: Iterable[str]) -> dict[str, int]:
    return {value: _one(name, Kind.COUNTER, help_, **{label: value}) for value in values}


OTHER: Final = "other"
"""The label of whatever is not in a closed list."""

OUTCOMES: Final = (
    "hit",
    "uri-miss",
    "vary-miss",
    "miss",
    "request",
    "stale",
    "partial",
    "method",
    "bypass",
    "none",
    OTHER,
)
"""
What the cache did for an exchange: RFC 9211's ``hit`` or the token of its ``fwd`` parameter; ``none`` when it
was not asked (redirects, refusals, tunnels).
"""

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper borders of duration histograms; above the last stands ``+Inf``. From half a millisecond: a hit is faster."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Where a duration histogram's cells are: ``first`` .. ``first + len(BUCKETS_S)`` (the last is +Inf), then ``sum``."""

    first: int
    sum: int


def _histogram(name: str, help_: str, **labels: str) -> Histogram:
    first = len(_rows)
    for border in (*(str(border) for border in BUCKETS_S), "+Inf"):
        _one(name, Kind.BUCKET, help_, **labels, le=border)
    return Histogram(first, _one(name, Kind.SUM, help_, **labels))


# What an exchange's end says; counted by the ledger.
REQUESTS: Final = _each("edge_requests_total", "Exchanges ended, by what the cache did (RFC 9211).", "cache", OUTCOMES)
REPLIES: Final = _each(
    "edge_replies_total",
    "Replies by status class; none: nothing could be said.",
    "status",
    ("1xx", "2xx", "3xx", "4xx", "5xx", "none"),
)
SENT_BYTES: Final = _one("edge_sent_bytes_total", Kind.COUNTER, "Body bytes sent to clients.")
DURATION_HIT: Final = _histogram("edge_request_seconds", "From a request's head to its reply's last byte.", cache="hit")
DURATION_FWD: Final = _histogram("edge_request_seconds", "From a request's head to its reply's last byte.", cache="fwd")

FAULT_WORDS: Final = (
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
    "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout",
    "connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied",
    "http_response_incomplete", "http_response_header_section_size", "http_response_header_size",
    "http_response_body_size", "http_response_trailer_section_size", "http_response_trailer_size",
    "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout", "http_upgrade_failed",
    "http_protocol_error", "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error",
    "proxy_loop_detected", OTHER,
)  # fmt: skip
"""RFC 9209 §2.3's error types."""
FAULTS: Final = _each("edge_faults_total", "Exchanges that a fault ended (RFC 9209).", "error", FAULT_WORDS)

# Client connections.
SESSIONS: Final = _one("edge_sessions_total", Kind.COUNTER, "Client connections accepted.")
SESSIONS_OPEN: Final = _one("edge_sessions_open", Kind.GAUGE, "Client connections open now.")
SESSIONS_REFUSED: Final = _one(
    "edge_sessions_refused_total", Kind.COUNTER, "Client connections closed at once: the limit was reached."
)
SESSIONS_CROWDED: Final = _one(
    "edge_sessions_crowded_total",
    Kind.COUNTER,
    "Client connections closed at once: their client has as many as one may have.",
)
SHED: Final = _each(
    "edge_sessions_shed_total",
    "Client connections closed to make room for others.",
    "while",
    ("handshake", "head", "idle", "linger"),
)
HANDSHAKES_FULL: Final = _one("edge_tls_handshakes_total", Kind.COUNTER, "TLS handshakes done.", resumed="no")
HANDSHAKES_RESUMED: Final = _one("edge_tls_handshakes_total", Kind.COUNTER, "TLS handshakes done.", resumed="yes")
HANDSHAKES_FAILED: Final = _one(
    "edge_tls_handshakes_failed_total", Kind.COUNTER, "TLS handshakes that failed, timed out or were no TLS."
)
INTRODUCTIONS_FAILED: Final = _one(
    "edge_proxy_headers_failed_total", Kind.COUNTER, "Balancers' connections that did not begin with a PROXY header."
)
TIMEOUTS: Final = _each(
    "edge_session_timeouts_total",
    "Client connections closed by a deadline.",
    "while",
    ("handshake", "head", "body", "write", "idle", "tunnel"),
)
EXCHANGES_OPEN: Final = _one("edge_exchanges_open", Kind.GAUGE, "Exchanges in the slow lane now.")
TUNNELS_OPEN: Final = _one("edge_tunnels_open", Kind.GAUGE, "Tunnels (upgraded connections) open now.")

# Admission.
RULES: Final = ("network", "cors", "certificate", "jwt", "basic", "forward_auth", "rate", "concurrency", "policy")
"""What may refuse a request on its route."""

REFUSED: Final = _each("edge_refused_total", "Requests that a route's rules refused, by rule.", "rule", RULES)
DRY_RUNS: Final = _one(
    "edge_refused_dry_run_total", Kind.COUNTER, "Times a limit would have refused a request, were it not a dry run."
)
PREFLIGHTS: Final = _one("edge_cors_preflights_total", Kind.COUNTER, "Preflights of browsers answered.")
JWKS_FETCHES: Final = _each(
    "edge_jwks_fetches_total", "Sets of keys fetched, by whether they could be used.", "result", ("good", "failed")
)
SUBREQUESTS: Final = _each(
    "edge_forward_auth_total", "Services asked whether a request may pass.", "result", ("yes", "no", "failed")
)
PASSWORDS: Final = _each(
    "edge_passwords_verified_total", "Passwords verified by their slow hash.", "result", ("right", "wrong", "busy")
)

POLICIES: Final = _each(
    "edge_policy_calls_total",
    "Calls of policy functions, by what came of them.",
    "result",
    ("passed", "answered", "failed", "late", "busy"),
)
POLICY_OVERRUNS: Final = _one(
    "edge_policy_overruns", Kind.GAUGE, "Calls of policy functions that go on now though their time is over."
)
POLICY_SECONDS: Final = _histogram(
    "edge_policy_seconds", "What policy functions took, the way to their thread included."
)

# The cache.
CACHE_STORED: Final = _one("edge_cache_stored_total", Kind.COUNTER, "Replies stored.")
CACHE_NOT_STORED: Final = _one(
    "edge_cache_not_stored_total", Kind.COUNTER, "Replies to cacheable requests that were not stored."
)
CACHE_REVALIDATED: Final = _one(
    "edge_cache_revalidated_total", Kind.COUNTER, "Copies an origin's 304 made fresh again."
)
CACHE_STALE_SERVED: Final = _one(
    "edge_cache_stale_served_total", Kind.COUNTER, "Stale copies served (while revalidating, or for a failed origin)."
)
CACHE_INVALIDATED: Final = _one("edge_cache_invalidated_total", Kind.COUNTER, "Keys invalidated by unsafe methods.")
CACHE_PURGES: Final = _each(
    "edge_cache_purges_total", "Purges asked for, by what they name.", "what", ("url", "host", "prefix", "tag", "all")
)
CACHE_VARIANTS: Final = _one("edge_cache_variants_total", Kind.COUNTER, "Compressed variants added to stored copies.")
CACHE_EVICTED: Final = _one("edge_cache_evicted_total", Kind.COUNTER, "Copies evicted or expired by the keeper.")
CACHE_FULL: Final = _one("edge_cache_full_total", Kind.COUNTER, "Replies not stored because the store was full.")
CACHE_PARTS: Final = _one(
    "edge_cache_parts_total", Kind.COUNTER, "Questions for missing parts of stored copies that origins answered."
)
CACHE_PREPARED: Final = _one(
    "edge_cache_prepared_total", Kind.COUNTER, "Prepared copies built: memory misses that the shared store answered."
)
FLIGHTS: Final = _one("edge_flights_total", Kind.COUNTER, "Fetches begun on behalf of a key.")
FLIGHTS_JOINED: Final = _one(
    "edge_flights_joined_total", Kind.COUNTER, "Exchanges that joined a flight instead of fetching."
)

# Origins, all together; most of what is counted of them is per origin, below.
MIRRORED: Final = _one("edge_mirrored_total", Kind.COUNTER, "Requests that another origin was let hear.")
MIRRORS_FAILED: Final = _one(
    "edge_mirrors_failed_total", Kind.COUNTER, "Mirrored requests that got no reply, or none in time."
)
MIRRORS_DROPPED: Final = _one(
    "edge_mirrors_dropped_total",
    Kind.COUNTER,
    "Requests not mirrored, for their length or because too many were under way.",
)

DISCOVERED: Final = _each(
    "edge_discovery_total", "Times a name or a file was asked for an origin's servers.", "outcome", ("found", "failed")
)

# The logs and the worker itself.
LOG_DROPPED: Final = _one(
    "edge_log_dropped_total", Kind.COUNTER, "Access log lines dropped: the log could not keep up or be written."
)
BUGS: Final = _one("edge_bugs_total", Kind.COUNTER, "Exchanges ended by an error of our own; each is in the error log.")
SLOW: Final = _one("edge_slow_total", Kind.COUNTER, "Exchanges that took longer than [log] slow.")
TURNS: Final = _one("edge_fast_lane_turns_total", Kind.COUNTER, "Fast lane turns.")
SLOW_LANE: Final = _one("edge_slow_lane_total", Kind.COUNTER, "Exchanges that the slow lane carried.")


# Per origin: a fixed number of equal blocks, lent to names by assign_origins().
ORIGIN_BLOCKS: Final = 64
"""How many origins have series of their own; the last block is shared by all that came too late."""

_ORIGIN_FIRST: Final = len(_rows)
_ORIGIN_REPLIES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


_ORIGIN_FIGURES: Final = (
    ("connects", "edge_origin_connects_total", Kind.COUNTER, "Connections to origins made for exchanges."),
    ("reused", "edge_origin_reused_total", Kind.COUNTER, "Exchanges carried on a kept-alive origin connection."),
    ("idle", "edge_origin_idle_connections", Kind.GAUGE, "Kept-alive origin connections at rest."),
    (
        "received_bytes",
        "edge_origin_received_bytes_total",
        Kind.COUNTER,
        "Bytes of replies received from origins, heads and framing included.",
    ),
    (
        "retries",
        "edge_origin_retries_total",
        Kind.COUNTER,
        "Exchanges tried again on another connection or server, and answered.",
    ),
    (
        "retries_refused",
        "edge_origin_retries_refused_total",
        Kind.COUNTER,
        "Further attempts that an origin's retry budget did not allow.",
    ),
    (
        "hedges",
        "edge_origin_hedges_total",
        Kind.COUNTER,
        "Requests also sent to a second server because the first was slow.",
    ),
    (
        "ejections",
        "edge_origin_ejections_total",
        Kind.COUNTER,
        "Times a server was left alone: unreachable, or failing.",
    ),
)
"""What is counted of each origin in one cell: the attribute of :class:`OriginCells`, and the row."""


def _origin_block(origin: str) -> list[Row]:
    replies = "Replies from origins by status class."
    faults = "Exchanges that an origin failed."
    seconds = "Time to an origin's reply head."
    return [
        *(
            Row("edge_origin_replies_total", Kind.COUNTER, replies, (("origin", origin), ("status", status)))
            for status in _ORIGIN_REPLIES
        ),
        Row("edge_origin_faults_total", Kind.COUNTER, faults, (("origin", origin),)),
        *(Row(name, kind, help_, (("origin", origin),)) for _, name, kind, help_ in _ORIGIN_FIGURES),
        *(
            Row("edge_origin_reply_seconds", Kind.BUCKET, seconds, (("origin", origin), ("le", border)))
            for border in (*(str(border) for border in BUCKETS_S), "+Inf")
        ),
        Row("edge_origin_reply_seconds", Kind.SUM, seconds, (("origin", origin),)),
    ]


_ORIGIN_WIDTH: Final = len(_origin_block(""))
for _number in range(ORIGIN_BLOCKS):
    _rows.extend(_origin_block(f"#{_number}"))

# Per route: likewise, lent by assign_routes().
ROUTE_BLOCKS: Final = 128
"""How many routes have series of their own; the last block is shared by all that came too late."""

_ROUTE_FIRST: Final = len(_rows)


def _route_block(route: str) -> list[Row]:
    replies = "Replies by route and status class."
    hits = "Exchanges of a route that the cache answered."
    retries = "Exchanges of a route whose origin answered only when it was asked again."
    seconds = "From a request's head to its reply's last byte, by route."
    return [
        *(
            Row("edge_route_replies_total", Kind.COUNTER, replies, (("route", route), ("status", status)))
            for status in _ORIGIN_REPLIES
        ),
        Row("edge_route_hits_total", Kind.COUNTER, hits, (("route", route),)),
        Row("edge_route_retries_total", Kind.COUNTER, retries, (("route", route),)),
        *(
            Row("edge_route_seconds", Kind.BUCKET, seconds, (("route", route), ("le", border)))
            for border in (*(str(border) for border in BUCKETS_S), "+Inf")
        ),
        Row("edge_route_seconds", Kind.SUM, seconds, (("route", route),)),
    ]


_ROUTE_WIDTH: Final = len(_route_block(""))
for _number in range(ROUTE_BLOCKS):
    _rows.extend(_route_block(f"#{_number}"))

ROWS: Final[tuple[Row, ...]] = tuple(_rows)
"""Every row, in cell order. Those of origins are labelled by block number until :func:`named_rows` names them."""

NAMES: Final[tuple[str, ...]] = tuple(row.flat for row in ROWS)
GAUGES: Final[frozenset[str]] = frozenset(row.flat for row in ROWS if row.kind is Kind.GAUGE)
"""What the shared page is made with: ``Counters(NAMES, slots, GAUGES)``."""


@dataclass(frozen=True, slots=True)
class OriginCells:
    """Where one origin's cells are."""

    replies: int  # + status // 100 - 1
    faults: int
    connects: int
    reused: int
    idle: int
    received_bytes: int
    retries: int
    retries_refused: int
    hedges: int
    ejections: int
    duration: Histogram

    @classmethod
    def of(cls, block: int) -> OriginCells:
        """Return the cells of *block* (0 .. ORIGIN_BLOCKS - 1)."""
        first = _ORIGIN_FIRST + block * _ORIGIN_WIDTH
        faults = first + len(_ORIGIN_REPLIES)
        figures = {figure[0]: faults + 1 + number for number, figure in enumerate(_ORIGIN_FIGURES)}
        buckets = faults + 1 + len(figures)
        return cls(first, faults, duration=Histogram(buckets, first + _ORIGIN_WIDTH - 1), **figures)


@dataclass(frozen=True, slots=True)
class RouteCells:
    """Where one route's cells are."""

    replies: int  # + status // 100 - 1
    hits: int
    retries: int
    duration: Histogram

    @classmethod
    def of(cls, block: int) -> RouteCells:
        """Return the cells of a block."""
        first = _ROUTE_FIRST + block * _ROUTE_WIDTH
        hits = first + len(_ORIGIN_REPLIES)
        return cls(first, hits, hits + 1, Histogram(hits + 2, first + _ROUTE_WIDTH - 1))


def assign_routes(names: Iterable[str], earlier: Mapping[str, int] | None = None) -> dict[str, int]:
    """Lend every route a block of cells: as :func:`assign_origins` does."""
    return _assign(names, ROUTE_BLOCKS, earlier)


def assign_origins(names: Iterable[str], earlier: Mapping[str, int] | None = None) -> dict[str, int]:
    """
    Lend every origin a block of cells.

    Who had a block keeps it, so that counters go on across a reload; a new name takes the lowest block that no name,
    present or earlier, holds. Names that find none share the last block, exposed as ``other``.

    Args:
        names: the origins of the configuration now.
        earlier: what the previous call returned; its names stay listed, as their cells still hold numbers.
    """
    return _assign(names, ORIGIN_BLOCKS, earlier)


def _assign(names: Iterable[str], most: int, earlier: Mapping[str, int] | None) -> dict[str, int]:
    blocks = dict(earlier or {})
    taken = set(blocks.values())
    free = iter([number for number in range(most - 1) if number not in taken])
    for name in names:
        if name not in blocks:
            blocks[name] = next(free, most - 1)
    return blocks


def named_rows(origins: Mapping[str, int], routes: Mapping[str, int] | None = None) -> list[tuple[int, Row]]:
    """Return ``(cell, row)`` for all rows that are in use, origins' and routes' under their names, families unbroken."""
    return [
        *enumerate(ROWS[:_ORIGIN_FIRST]),
        *_lent(origins, ORIGIN_BLOCKS, _ORIGIN_FIRST, _origin_block),
        *_lent(routes or {}, ROUTE_BLOCKS, _ROUTE_FIRST, _route_block),
    ]


def _lent(blocks: Mapping[str, int], most: int, first: int, block: Callable[[str], list[Row]]) -> list[tuple[int, Row]]:
    """Return the rows of the blocks that are lent."""
    named = {number: name for name, number in blocks.items() if number < most - 1}
    if most - 1 in blocks.values():
        named[most - 1] = OTHER
    width = len(block(""))
    lent = [
        (first + number * width + offset, row)
        for number, name in sorted(named.items())
        for offset, row in enumerate(block(name))
    ]
    return sorted(lent, key=lambda pair: pair[1].name)
