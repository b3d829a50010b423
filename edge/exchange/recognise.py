"""
What a request head means here: who it is for, what it says to the cache, and whether it may pass at all.

All of this depends on the head and the door it came by alone, so it is worked out once and remembered on the head
(``head.known``); the parser gives the same head for the same bytes. What depends on who asks, on the time or on what is
stored is not in it.

Source: RFC 9110 §7.4 (misdirected requests), §7.6.3 (loops), §15.5.20.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.cache.ask import Ask, ask_of
from edge.exchange.decision import Answer
from edge.message.cache_control import NOTHING_SAID
from edge.message.head import Framing, RequestHead
from edge.origin.request import own_hops
from edge.reply.errors import error_reply, redirect_reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from edge.cache.policy import RoutePolicy
    from edge.config.tree import Listener, Origin, Route
    from edge.exchange.decision import Serve
    from edge.policy.access import AccessList

MOST_HOPS: Final = 4
"""How often a request may pass an edge. More is a route that leads back here."""


@dataclass(slots=True, eq=False)
class Door:
    """
    How a session came in: its listener and, with TLS, the context that its server name chose.

    Attributes:
        scheme: ``b"https"`` or ``b"http"``.
        context: the TLS context; None on a plain listener.
        is_admin: the operators' door.
        may_serve: whether a host may be asked for by this door: a certificate that demands client certificates
            is not got round by naming another host in the handshake.
        memo: the heads that were parsed for sessions of this door.
        introducers: who begins with a PROXY header here; None: nobody does.
    """

    listener: Listener
    scheme: bytes
    context: ssl.SSLContext | None = None
    is_admin: bool = False
    may_serve: Callable[[bytes], bool] | None = None
    memo: dict[bytes, RequestHead] = field(default_factory=dict)
    introducers: AccessList | None = None


class Known:
    """
    What a head means here.

    Attributes:
        head: as parsed.
        door: the door it came by.
        ask: what it says to the cache.
        asked: what the origin is asked instead, where the route leaves something out of the key; else the same head.
        route: where it goes; None where ``answer`` is set.
        origin: the origin's settings.
        answer: makes the edge's own reply for a wall time and a peer, where that is all there is to say; else None.
            Where the request is an operator's it is carried out by this: once per request.
        direct: a prepared copy may answer it without another look at the request (but for conditions).
        serve: gives the prepared copy that last did, while the memory keeps it: a head must not keep its bytes in use.
    """

    __slots__ = ("answer", "ask", "asked", "direct", "door", "head", "origin", "route", "serve")

    def __init__(self, head: RequestHead, door: Door, ask: Ask, asked: RequestHead | None = None) -> None:
        self.head = head
        self.asked = asked or head
        self.door = door
        self.ask = ask
        self.route: Route | None = None
        self.origin: Origin | None = None
        self.answer: Callable[[float, str], Answer] | None = None
        self.direct = (
            ask.bypass is None
            and ask.cc is NOTHING_SAID
            and ask.range is None
            and ask.if_match is None
            and ask.if_unmodified_since is None
        )
        self.serve: Callable[[], Serve | None] = _nothing


def _nothing() -> None:
    """Nothing has answered this head yet."""


def recognise(
    head: RequestHead,
    door: Door,
    find: Callable[[bytes, bytes], Route | None],
    origins: dict[str, Origin],
    preference: tuple[bytes, ...],
    https_port: int,
    policy_of: Callable[[Route], RoutePolicy | None] = lambda _route: None,
) -> Known:
    """
    Work out what *head* means and remember it there.

    Args:
        head: as parsed.
        door: where it came in.
        find: the route table's, by host and path.
        origins: by name.
        preference: the codings we make, best first.
        https_port: where a redirecting listener sends its clients.
        policy_of: what is ruled for a route.

    Cost: about 6 µs, once per head.
    """
    answer = _at_the_door(head, door, https_port)
    route = None if answer is not None else find(head.host, head.path)
    known = _asking(head, door, preference, None if route is None else policy_of(route))
    known.route = route
    known.origin = None if route is None else origins.get(route.origin)
    if answer is None and known.origin is None:
        answer = lambda now, _peer: _refusal(head, 404, now, "destination_not_found")  # noqa: E731 - as those at the door
    known.answer = answer
    head.known = known
    return known


def _at_the_door(head: RequestHead, door: Door, https_port: int) -> Callable[[float, str], Answer] | None:
    """Say what is answered before any route is looked for, if anything."""
    if door.listener.redirect is not None:
        return lambda now, _peer: _redirect(head, now, https_port)
    if door.may_serve is not None and not door.may_serve(head.host):
        return lambda now, _peer: _refusal(head, 421, now, "http_request_denied")
    if own_hops(head) > MOST_HOPS:
        return lambda now, _peer: _refusal(head, 508, now, "proxy_loop_detected", says_proxy_status=True)
    return None


def _asking(head: RequestHead, door: Door, preference: tuple[bytes, ...], policy: RoutePolicy | None) -> Known:
    """Work out what *head* says to the cache, and what the origin is asked."""
    if policy is None:
        return Known(head, door, ask_of(head, preference))
    asked = policy.asked(head)
    ask = ask_of(asked, preference, policy, policy.bypass(head))
    # What passes the cache by is the client's own matter, and reaches the origin as it came.
    return Known(head, door, ask, asked if ask.bypass is None else head)


def _redirect(head: RequestHead, now_wall: float, port: int) -> Answer:
    to_head = head.method == b"HEAD"
    return Answer(*redirect_reply(head.host, head.target, now_wall=now_wall, port=port, to_head=to_head))


def _refusal(head: RequestHead, status: int, now_wall: float, word: str, *, says_proxy_status: bool = False) -> Answer:
    reply, body = error_reply(
        status,
        now_wall=now_wall,
        accept=head.get(b"accept"),
        proxy_error=word if says_proxy_status else None,
        to_head=head.method == b"HEAD",
    )
    return Answer(reply, body, word=word)


def is_tunnel(head: RequestHead) -> bool:
    """Whether the head asks for another protocol in a way we carry: a GET without a body."""
    return head.upgrade is not None and head.method == b"GET" and head.framing is Framing.NONE
