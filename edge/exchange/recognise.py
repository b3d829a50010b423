"""
What a request head means here: who it is for, what it says to the cache, and whether it may pass at all.

All of this depends on the head and the door it came by alone, so it is worked out once and remembered on the head
(``head.known``); the parser gives the same head for the same bytes. What depends on who asks, on the time or on what is
stored is not in it: where a route asks for networks, or splits its clients by address, the head has several meanings, and
``known.pick`` says which is whose.

Source: RFC 9110 §7.4 (misdirected requests), §7.6.2 (how far an OPTIONS goes), §7.6.3 (loops), §15.5.20.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.cache.ask import Ask, ask_of
from edge.cache.vary import cookie_value
from edge.exchange.decision import Answer
from edge.exchange.wording import fixed, ours, redirect, refuse
from edge.http.h1.memo import HeadMemo
from edge.message.cache_control import NOTHING_SAID
from edge.message.forwards import forwards_left
from edge.message.head import Framing, RequestHead
from edge.origin.request import own_hops
from edge.reply.errors import redirect_reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from edge.config.tree import Listener, Origin, Route
    from edge.exchange.decision import Serve
    from edge.exchange.guard import Guard
    from edge.exchange.steering import Steering, Way, Ways
    from edge.message.head import Field
    from edge.policy.access import AccessList
    from edge.policy.networks import NetworkTable

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
        vouches: whether a certificate shown at this door counts as shown to a host; None: none is.
        memo: the heads that were parsed for sessions of this door.
        introducers: who begins with a PROXY header here; None: nobody does.
    """

    listener: Listener
    scheme: bytes
    context: ssl.SSLContext | None = None
    is_admin: bool = False
    may_serve: Callable[[bytes], bool] | None = None
    vouches: Callable[[bytes], bool] | None = None
    memo: HeadMemo = field(default_factory=HeadMemo)
    introducers: AccessList | None = None


class Known:
    """
    What a head means here.

    Attributes:
        head: as parsed.
        door: the door it came by.
        ask: what it says to the cache.
        asked: what the origin is asked instead, where the route leaves something out of the key; else the same head.
        way: where it goes, with all that is ruled there; None where the edge answers before it looks for a route.
        route: the way's; None like it.
        origin: the way's; None where ``answer`` is set, but for a PURGE.
        changes: what is done to the header of every reply; None: nothing.
        pages: the operator's own, for what goes wrong; None: there are none.
        pick: gives what the head means for a client's address, where that depends on it; else None. Then this object is what
            it means for those whom no route asks for by their network.
        answer: makes the edge's own reply for a wall time and a peer, where that is all there is to say; else None.
            Where the request is an operator's it is carried out by this: once per request.
        direct: a prepared copy may answer it without another look at the request (but for conditions).
        serve: gives the prepared copy that last did, while the memory keeps it: a head must not keep its bytes in use.
        unchanged: the validators (ETag, and when last modified) of a copy to which the conditions last said "not modified".
        guard: who may pass here, and how often; None: everybody.
        derived: what it means for whom, where the origin is told who asks: see :mod:`edge.exchange.admission`.
    """

    __slots__ = (
        "answer", "ask", "asked", "changes", "derived", "direct", "door", "guard", "head", "origin", "pages", "pick", "route",
        "serve", "unchanged", "way",
    )  # fmt: skip

    def __init__(
        self, head: RequestHead, door: Door, ask: Ask, asked: RequestHead | None = None, way: Way | None = None
    ) -> None:
        self.head = head
        self.asked = asked or head
        self.door = door
        self.ask = ask
        self.way = way
        self.route: Route | None = None if way is None else way.route
        self.origin: Origin | None = None if way is None else way.origin
        self.pages = None if way is None else way.pages
        self.changes = None if way is None else way.changes_for(head)
        self.pick: Callable[[str], Known] | None = None
        self.answer: Callable[[float, str], Answer] | None = None
        self.direct = (
            ask.bypass is None
            and ask.cc is NOTHING_SAID
            and ask.range is None
            and ask.if_match is None
            and ask.if_unmodified_since is None
        )
        self.serve: Callable[[], Serve | None] = _nothing
        self.unchanged: tuple[bytes | None, float | None] | None = None
        self.guard: Guard | None = None
        self.derived: dict[tuple[Field, ...], Known] | None = None


def _nothing() -> None:
    """Nothing has answered this head yet."""


def recognise(
    head: RequestHead,
    door: Door,
    steering: Steering,
    preference: tuple[bytes, ...],
    https_port: int,
    prepare: Callable[[Known], None] | None = None,
) -> Known:
    """
    Work out what *head* means and remember it there.

    Args:
        head: as parsed.
        door: where it came in.
        steering: the routes.
        preference: the codings we make, best first.
        https_port: where a redirecting listener sends its clients.
        prepare: notes on each meaning who may have it; None where everybody may.

    Cost: about 6 µs, once per head; as much again for each further meaning it has.
    """
    answer = _at_the_door(head, door, https_port)
    if answer is not None:
        known = _asking(head, door, preference, None)
        known.answer = answer
    else:
        known = _on_its_way(head, door, steering, preference, prepare)
    if known.way is None:
        known.pages = steering.pages
    head.known = known
    return known


def _on_its_way(
    head: RequestHead,
    door: Door,
    steering: Steering,
    preference: tuple[bytes, ...],
    prepare: Callable[[Known], None] | None,
) -> Known:
    """Find the route that *head* takes; or the routes, and who takes which."""
    routes = steering.find(head)
    if routes is None:
        return _refused(_asking(head, door, preference, None), 400, "http_request_denied")
    if len(routes) == 1 and (straight := steering.ways(routes[0]).straight) is not None:
        known = _asking(head, door, preference, straight)
        if prepare is not None:
            prepare(known)
        return known

    def taken(way: Way) -> Known:
        known = _taken(head, door, preference, way)
        if prepare is not None:
            prepare(known)
        return known

    def lead(ways: Ways) -> Known:
        """Say what the head means on a route; and while that is closed, for whom."""
        closed = ways.all[0].route.maintenance
        if not closed.enabled:
            return open_to(ways)
        shut = _taken(head, door, preference, ways.all[0])
        _refused(shut, 503, "destination_unavailable", retry_after_s=math.ceil(closed.retry_after_s))
        return shut if ways.let_in is None else _forked(ways.let_in, open_to(ways), shut)

    def open_to(ways: Ways) -> Known:
        """Say what the head means on a route that is open."""
        if ways.split is None:
            return taken(ways.all[0])
        client = _told_apart_by(head, ways)
        if client is not None:
            return taken(ways.split.of(client))
        meanings = {id(way): taken(way) for way in ways.all}
        split = ways.split
        known = taken(ways.all[0])
        known.pick = lambda address: meanings[id(split.of(address.encode()))]
        return known

    rest = None if not routes or routes[-1].networks else routes[-1]
    if rest is not None:
        known = lead(steering.ways(rest))
    else:
        known = _refused(_asking(head, door, preference, None), 404, "destination_not_found")
        known.pages = steering.pages
    for route in reversed(routes):
        if route is not rest:
            ways = steering.ways(route)
            assert ways.networks is not None
            known = _forked(ways.networks, lead(ways), known)
    return known


def _forked(networks: NetworkTable, within: Known, others: Known) -> Known:
    """Return what a head means, if that is *within* for clients in *networks* and else what *others* says."""

    def pick(address: str) -> Known:
        known = within if networks.admits(address) else others
        return known if known.pick is None else known.pick(address)

    fork = Known(others.head, others.door, others.ask, others.asked, others.way)
    fork.answer, fork.pages = others.answer, others.pages
    fork.pick = pick
    return fork


def _told_apart_by(head: RequestHead, ways: Ways) -> bytes | None:
    """Return what *head* says of who its client is, where a route is split; None: nothing, and the address decides."""
    if ways.by == "header":
        return head.get(ways.name) or None
    if ways.by == "cookie":
        return cookie_value(ways.name, head.get(b"cookie")) or None
    return None


def _taken(head: RequestHead, door: Door, preference: tuple[bytes, ...], way: Way) -> Known:
    """Say what *head* means on a way."""
    known = _asking(head, door, preference, way)
    limits = way.route.limits
    if limits.header_bytes is not None and _header_bytes(head) > limits.header_bytes:
        return _refused(known, 431, "http_request_error")
    if way.redirect is not None:
        known.answer = redirect(known, way.route.redirect.status, way.redirect.of(head))
    elif way.fixed is not None:
        known.answer = fixed(known, way.fixed)
    elif way.body_bytes is not None and head.length > way.body_bytes:
        return _refused(known, 413, "http_request_error")
    elif way.origin is None:
        return _refused(known, 404, "destination_not_found")
    elif way.rewriter is not None:
        target = way.rewriter.target(known.asked.target)
        if not isinstance(target, bytes):
            return _refused(known, 400, "http_request_denied")
        known.asked = dataclasses.replace(known.asked, target=target, known=None)
    return known


def _header_bytes(head: RequestHead) -> int:
    """About as long as the fields were when they came."""
    return sum(len(name) + len(value) + 4 for name, value in head.fields)


def _refused(known: Known, status: int, word: str, *, retry_after_s: int | None = None) -> Known:
    known.answer = lambda now, _peer: refuse(known, status, now, word, retry_after_s=retry_after_s)
    known.origin = None
    return known


def _at_the_door(head: RequestHead, door: Door, https_port: int) -> Callable[[float, str], Answer] | None:
    """Say what is answered before any route is looked for, if anything."""
    if door.listener.redirect is not None:
        return lambda now, _peer: _redirect(head, now, https_port)
    if door.may_serve is not None and not door.may_serve(head.host):
        return lambda now, _peer: refuse(head.known, 421, now, "http_request_denied")
    if own_hops(head) > MOST_HOPS:
        return lambda now, _peer: refuse(head.known, 508, now, "proxy_loop_detected", proxy_error="proxy_loop_detected")
    if forwards_left(head) == 0:
        return lambda now, _peer: ours(head.known, now)
    return None


def _asking(head: RequestHead, door: Door, preference: tuple[bytes, ...], way: Way | None) -> Known:
    """Work out what *head* says to the cache, and what the origin is asked."""
    policy = None if way is None else way.policy
    if policy is None:
        return Known(head, door, ask_of(head, preference), None, way)
    asked = policy.asked(head)
    ask = ask_of(asked, preference, policy, policy.bypass(head))
    # What passes the cache by is the client's own matter, and reaches the origin as it came.
    return Known(head, door, ask, asked if ask.bypass is None else head, way)


def _redirect(head: RequestHead, now_wall: float, port: int) -> Answer:
    to_head = head.method == b"HEAD"
    return Answer(*redirect_reply(head.host, head.target, now_wall=now_wall, port=port, to_head=to_head))


def is_tunnel(head: RequestHead) -> bool:
    """Whether the head asks for another protocol in a way we carry: a GET without a body."""
    return head.upgrade is not None and head.method == b"GET" and head.framing is Framing.NONE
