"""
The tables below ``[origin.NAME]`` and ``[[route]]`` that say who of an origin's servers is asked, and when again.

They are part of the tree (see ``tree.py``, where the house's rules for such tables are told) and stand here because they belong
together: the health of servers, who is left out for bad answers, who stays with which server, and what is tried again.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from edge.config import kinds
from edge.config.schema import setting, table

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""RFC 9110 §9.2.2."""

STATUSES = ("429", "500", "502", "503", "504")


@table
class HealthCheck:
    """``[origin.NAME.health]``: each server is asked regularly, by one worker for the whole node. Without a path nobody asks."""

    path: str | None = setting(
        kinds.RequestTarget(), "What is asked for, with a GET.", default=None, example='"/healthz"'
    )
    host: str | None = setting(
        kinds.HostHeader(), "The Host that is sent, if not the server's own.", default=None, example='"shop.example"'
    )
    statuses: tuple[tuple[int, int], ...] = setting(
        kinds.ListOf(kinds.StatusRange(), may_be_empty=False), "Replies that are well.", default=((200, 299),)
    )
    body: str | None = setting(
        kinds.Text(), "What the first 64 KiB of the reply's body must contain.", default=None, example='"ready"'
    )
    interval_s: float = setting(
        kinds.Time(),
        "Between two checks of a server.",
        default=5.0,
        name="interval",
        least=0.1,
        most=3600.0,
    )
    timeout_s: float = setting(
        kinds.Time(),
        "How long one check may take, connecting and TLS included.",
        default=2.0,
        name="timeout",
        least=0.01,
        most=300.0,
    )
    rise: int = setting(
        kinds.Integer(), "Checks in a row that must pass until a server is asked again.", default=2, least=1, most=100
    )
    fall: int = setting(
        kinds.Integer(), "Checks in a row that must fail until a server is asked no more.", default=3, least=1, most=100
    )


@table
class Ejection:
    """
    ``[origin.NAME.ejection]``: who answers badly several times in a row is left alone for a while, by all workers.

    A server that cannot be connected to is left alone at once, whatever stands here.
    """

    failures: int = setting(
        kinds.Integer(),
        "Failures in a row after which a server is left alone; 0: never.",
        default=5,
        least=0,
        most=1000,
    )
    on: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Choice("reset", "timeout", *STATUSES), may_be_empty=False),
        "What counts: a connection that ends without a reply, no reply in time (first_byte), or a status.",
        default=("reset", "timeout"),
    )
    pause_s: float = setting(
        kinds.Time(),
        "How long a server is left alone at first; it doubles each time it fails again.",
        default=1.0,
        name="pause",
        least=0.01,
        most=3600.0,
    )
    longest_s: float = setting(
        kinds.Time(),
        "How long at most.",
        default=30.0,
        name="longest",
        least=0.01,
        most=86400.0,
    )
    floor: float = setting(
        kinds.Share(), "At least this share of the servers stays in, however badly they answer.", default=0.5
    )


@table
class Sticky:
    """``[origin.NAME.sticky]``: a cookie that keeps a client with the server that answered it first. Without a cookie none does."""

    cookie: str | None = setting(kinds.CookieName(), "The cookie's name.", default=None, example='"edge_server"')
    secret: str | None = setting(
        kinds.Text(),
        "What the cookie is signed with, for nodes that share clients; without it the node makes one when it starts.",
        default=None,
        example='"at least 16 characters"',
    )
    max_age_s: float | None = setting(
        kinds.Time(),
        "How long a browser keeps it; without it until it is closed.",
        default=None,
        name="max_age",
        least=1.0,
        most=kinds.YEAR_S,
        example='"8h"',
    )
    path: str = setting(kinds.PathPrefix(), "The cookie's Path.", default="/")
    same_site: Literal["lax", "strict", "none"] = setting(
        kinds.Choice("lax", "strict", "none"), "The cookie's SameSite.", default="lax"
    )
    secure: bool = setting(kinds.Boolean(), "Whether browsers send it over https only.", default=True)
    http_only: bool = setting(kinds.Boolean(), "Whether scripts in a page are kept from it.", default=True)


@table
class RouteRetry:
    """
    ``[route.retry]``, behind its ``[[route]]``: when a request that failed is sent again, to another server if there is one.

    A request of which no byte was sent may always be. One that may have been seen is sent again only if its method is
    idempotent, its body has not begun, and nothing of a reply has come; and only within the origin's retry_budget.
    """

    retries: int | None = setting(
        kinds.Integer(), "Overrides [origin.NAME] retries here.", default=None, least=0, most=10, example="2"
    )
    methods: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Choice(*IDEMPOTENT)),
        "Only these, of the idempotent methods; empty: all of them.",
        default=(),
        example='["GET", "HEAD"]',
    )
    on: tuple[str, ...] = setting(
        kinds.ListOf(kinds.Choice("connect", "closed", "reset", "timeout", *STATUSES)),
        "After which failures: no connection, a kept connection that had been closed, any connection that ends without a reply, "
        "no reply in time (first_byte), or a status.",
        default=("connect", "closed"),
    )
    hedge_s: float | None = setting(
        kinds.Time(),
        "A GET or HEAD that has no reply by then is also sent to a second server, and the first reply is taken.",
        default=None,
        name="hedge",
        least=0.001,
        most=300.0,
        example='"300ms"',
    )
    kinds: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    statuses: frozenset[int] = field(init=False, repr=False, compare=False, default=frozenset())
    tried_methods: frozenset[bytes] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        kinds = {name for name in self.on if not name.isdigit()}
        if "reset" in kinds:
            kinds.add("closed")
        object.__setattr__(self, "kinds", frozenset(kinds))
        object.__setattr__(self, "statuses", frozenset(int(name) for name in self.on if name.isdigit()))
        object.__setattr__(self, "tried_methods", frozenset(method.encode() for method in self.methods))
