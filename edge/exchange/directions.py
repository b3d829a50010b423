"""
Which way a request takes, told step by step: the routes it comes by, why each is or is not its own, and what is done there.

What is said comes from the functions that decide; here it is put into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.exchange.answering import shown
from edge.message.path import folded, plain
from edge.policy.access import AccessList

if TYPE_CHECKING:
    from edge.config.tree import Route
    from edge.exchange.explain import Account
    from edge.exchange.recognise import Known
    from edge.exchange.rooms import Rooms
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
        account.say(
            "route",
            f"its path can be read as {shown(path)} and as {shown(folded(path))}, which are on different routes: 400",
            "[[route]], RFC 3986 §6.2.2",
        )
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
    route, origin = known.route, known.origin
    assert route is not None
    if origin is None:
        return
    servers = ", ".join(server.url for server in origin.servers)
    account.say("route", f"{described(route)}: to origin {origin.name} ({origin.balance} of {servers})", SPECIFICITY)
    if route.split:
        parts = ", ".join(f"{share.origin} {share.weight}" for share in route.split)
        by = f"address {client}" if route.split_by == "address" else route.split_by
        account.say(
            "route", f"its clients are split ({parts}), by {by}: this one goes to {origin.name}", "[[route]] split"
        )


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
