"""
Which way a request takes, told step by step: the routes it comes by, why each is or is not its own, and what is done there.

What is said comes from the functions that decide; here it is put into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.exchange.answering import shown
from edge.message.path import ends_early, folded, plain
from edge.policy.access import AccessList

if TYPE_CHECKING:
    from edge.config.tree import Route
    from edge.exchange.decision import Answer
    from edge.exchange.explain import Account
    from edge.exchange.recognise import Known
    from edge.exchange.rooms import Rooms
    from edge.exchange.steering import Way
    from edge.message.head import RequestHead

SPECIFICITY = "[[route]]: the most specific host, then path, then what else is asked for"


def directions(rooms: Rooms, head: RequestHead, known: Known, client: str, account: Account) -> None:
    """
    Tell how *head* comes to its route.

    Args:
        rooms: whose routes.
        head: the request.
        known: what it means for this client.
        client: the client's address; empty: one that no network has.
        account: is told.
    """
    if rooms.steering.find(head) is None:
        path = plain(head.path)
        says = f"its path can be read as {shown(path)} and as {shown(folded(path))}, which are on different routes"
        if ends_early(head.target):
            says = "its path has a NUL (%00), where it ends for some readers"
        account.say("route", f"{says}: 400", "[[route]], RFC 3986 §6.2.2")
        return
    for route, objection in rooms.steering.passed(head):
        if objection is not None:
            account.say("route", f"not by {described(route)}: {objection}", f"[[route]] {objection.partition(':')[0]}")
        elif route.networks and not AccessList(route.networks).admits(client):
            account.say(
                "route", f"not by {described(route)}: {client or 'the client'} is not there", "[[route]] networks"
            )
        elif route is known.route:
            _taken(known, client, account)
            return


def _taken(known: Known, client: str, account: Account) -> None:
    """Tell of the route that is taken."""
    route, origin = known.route, known.origin
    assert route is not None
    if origin is None:
        account.say("route", described(route), SPECIFICITY)
        return
    servers = ", ".join(server.url for server in origin.servers)
    account.say("route", f"{described(route)}: to origin {origin.name} ({origin.balance} of {servers})", SPECIFICITY)
    if route.split:
        parts = ", ".join(f"{share.origin} {share.weight}" for share in route.split)
        by = f"address {client or 'unknown'}" if route.split_by == "address" else route.split_by
        account.say(
            "route", f"its clients are split ({parts}), by {by}: this one goes to {origin.name}", "[[route]] split"
        )
    if known.way is not None:
        _ruled(known, known.way, account)


def _ruled(known: Known, way: Way, account: Account) -> None:
    """Tell what is done with a request that goes to an origin, and with its reply."""
    route = way.route
    if way.rewriter is not None:
        says = "its path stays as it is"
        if known.asked.target != known.ask.target:
            says = f"the origin is asked for {shown(known.asked.target)}"
        account.say("rewrite", f"{says}; copies are kept under what was asked for", "[route.rewrite]")
    for rules, whose, source in (
        (route.request_headers, "the origin is sent", "[route.request_headers]"),
        (route.response_headers, "every reply leaves with", "[route.response_headers]"),
    ):
        changes = [f"{name}: {text}" for name, text in (*rules.set, *rules.add)]
        changes += [f"no {name}" for name in rules.remove]
        if changes:
            account.say("rewrite", f"{whose} {', '.join(changes)}", source)
    times = {
        "for its first byte": route.timeouts.first_byte_s,
        "between two": route.timeouts.between_bytes_s,
        "for all": route.timeouts.total_s,
    }
    if way.timeouts is not None:
        said = ", ".join(f"{seconds:g} s {what}" for what, seconds in times.items() if seconds is not None)
        account.say("route", f"the origin has {said}", "[route.timeouts]")
    if way.body_bytes is not None or route.limits.body_bytes is not None:
        most = way.body_bytes if route.limits.body_bytes is None else route.limits.body_bytes
        account.say("route", f"a request's body may have {most} bytes", "[route.limits] body, [limits] body")
    if way.mirror is not None:
        account.say(
            "route", f"{way.mirror.origin} hears {way.mirror.share:g} % of what the origin is asked", "[route.mirror]"
        )
    if way.pages is not None and way.pages.of_origins:
        account.say("route", "failures of the origin are replaced by pages", "[error_pages] of_origins")


def own_words(known: Known, answer: Answer, account: Account) -> None:
    """Tell why the edge itself answers what goes this way."""
    way, status = known.way, answer.head.status
    if way is None:
        return
    if status == 503 and way.route.maintenance.enabled:
        allowed = " ".join(map(str, way.route.maintenance.allow)) or "nobody"
        account.say("route", f"it is closed, but for {allowed}: 503", "[route.maintenance]")
    elif status == 431:
        account.say(
            "route", f"its header is longer than {way.route.limits.header_bytes} bytes: 431", "[route.limits] headers"
        )
    elif status == 413:
        account.say(
            "route", f"its body is longer than {way.body_bytes} bytes: 413", "[route.limits] body, [limits] body"
        )
    elif way.redirect is not None:
        account.say("route", f"to {shown(answer.head.get(b'location') or b'')}: {status}", "[route.redirect]")
    elif way.fixed is not None:
        account.say("route", f"the same answer to all: {status}, {len(way.fixed.body)} bytes", "[route.respond]")
    elif status == 400:
        account.say("rewrite", "it has dot segments, which would lead out of the new path: 400", "[route.rewrite]")


def described(route: Route) -> str:
    """Name a route by what it asks for."""
    path = f"path {route.path}" if route.path_exact is None else f"path exactly {route.path_exact}"
    if route.path_pattern is not None:
        path += f" matching {route.path_pattern}"
    asks = [f"host {route.host or 'any'}", path]
    if route.methods:
        asks.append(f"methods {' '.join(route.methods)}")
    asks += [f"header {name}: {text}" for name, text in route.headers]
    asks += [f"query {name}={text}" for name, text in route.query]
    if route.networks:
        asks.append(f"networks {' '.join(map(str, route.networks))}")
    said = ", ".join(asks)
    return said if route.name is None else f"{route.name} ({said})"
