"""
Where what is ruled for a route contradicts itself: part of :mod:`edge.config.agree`.

A route leads to one thing: an origin, several, an answer, or elsewhere. Everything that is done with what goes to an origin is
pointless where none is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.kinds import size_words
from edge.config.problem import Severity
from edge.config.route_rules import (
    RouteMirror,
    RouteRedirect,
    RouteRequestHeaders,
    RouteRewrite,
    RouteTimeouts,
)
from edge.message.pattern import Pattern
from edge.message.place import GROUPS, PATH_VARIABLES, PLACE_VARIABLES, is_place
from edge.message.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.positions import Path as Key
    from edge.config.tree import Limits, Route

Found = tuple["Key", str, Severity]
ERROR, WARNING = Severity.ERROR, Severity.WARNING


def leads(route: Route) -> list[str]:
    """Name every setting by which *route* leads somewhere."""
    settings = {
        "origin": route.origin,
        "split": route.split,
        "redirect": route.redirect.to is not None,
        "respond": route.respond.status is not None,
    }
    return [name for name, given in settings.items() if given]


def route_rules(key: Key, route: Route, limits: Limits) -> Iterator[Found]:
    """Find what in *route*, written at *key*, contradicts itself."""
    yield from _path(key, route)
    ways = leads(route)
    if not ways:
        yield key, "[[route]] has no 'origin'; expected origin = \"shop\"", ERROR
    for name in ways[1:]:
        yield (*key, name), f"{ways[0]} says already where to; expected one of the two", ERROR
    yield from _split(key, route)
    yield from _rewrite(key, route)
    yield from _redirect(key, route)
    yield from _respond(key, route)
    if ways and ways[0] in {"redirect", "respond"}:
        yield from _pointless(key, route)
    yield from _limits(key, route, limits)
    if route.mirror.origin is None and route.mirror != RouteMirror():
        yield (*key, "mirror"), "nobody listens; expected an origin", ERROR
    elif route.mirror.origin is not None and route.mirror.origin in {
        route.origin,
        *(one.origin for one in route.split),
    }:
        yield (
            (*key, "mirror", "origin"),
            f"{route.mirror.origin!r} would be asked twice; expected another origin",
            WARNING,
        )
    if not route.maintenance.enabled and route.maintenance.allow:
        yield (*key, "maintenance"), "nobody is kept out; expected enabled = true, or no allow", WARNING
    if route.error_pages.of_origins and not route.error_pages.pages:
        yield (*key, "error_pages", "of_origins"), "there are no pages to put in their place; expected pages", WARNING


def _path(key: Key, route: Route) -> Iterator[Found]:
    if route.path_exact is not None and route.path != "/":
        yield (*key, "path_exact"), "path is a prefix and path_exact the whole; expected one of the two", ERROR
    if route.path_exact is not None and route.path_pattern is not None:
        yield (*key, "path_pattern"), "path_exact says all there is to say of the path; expected one of the two", ERROR


def _split(key: Key, route: Route) -> Iterator[Found]:
    names = [share.origin for share in route.split]
    if len(set(names)) < len(names):
        yield (*key, "split"), "an origin is named twice; expected each once, with its whole weight", ERROR
    if route.split and not any(share.weight for share in route.split):
        yield (*key, "split"), "no origin has a weight; expected at least one", ERROR
    if not route.split and route.split_by != "address":
        yield (*key, "split_by"), "nothing is split here; expected a split beside it", WARNING


def _rewrite(key: Key, route: Route) -> Iterator[Found]:
    rules = route.rewrite
    if rules == RouteRewrite():
        return
    where = (*key, "rewrite")
    if rules.prefix is not None and (rules.pattern is not None or rules.to is not None):
        yield (*where, "prefix"), "a path is rewritten by its prefix or by a pattern; expected one of the two", ERROR
    elif rules.prefix is None and (rules.pattern is None or rules.to is None):
        yield where, "expected a prefix, or pattern and to", ERROR
    if rules.to is not None:
        groups = GROUPS[: Pattern(rules.pattern).groups] if rules.pattern is not None else ()
        try:
            Template(rules.to, (*PATH_VARIABLES, *groups))
        except ValueError as problem:
            yield (*where, "to"), f"{rules.to!r}: {problem}", ERROR
        if not rules.to.startswith(("/", "{path}")):
            yield (*where, "to"), f"{rules.to!r} is no path; expected it to begin with a slash", ERROR
        if any(not "!" <= sign <= "~" or sign in "?#" for sign in rules.to):
            yield (
                (*where, "to"),
                f"{rules.to!r} cannot be asked for; expected a path, percent-encoded, without query",
                ERROR,
            )


def _redirect(key: Key, route: Route) -> Iterator[Found]:
    rules = route.redirect
    if rules.to is None:
        if rules != RouteRedirect():
            yield (*key, "redirect"), "nobody is sent anywhere; expected to", ERROR
        return
    groups = GROUPS[: Pattern(route.path_pattern).groups] if route.path_pattern is not None else ()
    where = (*key, "redirect", "to")
    try:
        Template(rules.to, (*PLACE_VARIABLES, *groups))
    except ValueError as problem:
        yield where, f"{rules.to!r}: {problem}", ERROR
    if not is_place(rules.to):
        yield (
            where,
            (
                f"{rules.to!r} could lead to a host that whoever asks has chosen, or nowhere; expected a path that begins with one "
                "slash, or http:// or https://, a host (or {host}), and then a slash, {path}, {rest} or {target}"
            ),
            ERROR,
        )
    if any(not "!" <= sign <= "~" for sign in rules.to):
        yield where, f"{rules.to!r} is no address; expected it percent-encoded", ERROR


def _respond(key: Key, route: Route) -> Iterator[Found]:
    rules = route.respond
    where = (*key, "respond")
    if rules.status is None:
        if rules.body is not None or rules.file is not None or rules.content_type is not None:
            yield where, "nothing is answered; expected a status", ERROR
        return
    if rules.body is not None and rules.file is not None:
        yield (*where, "body"), "file says already what; expected one of the two", ERROR
    if rules.status in {204, 205, 304} and (rules.body is not None or rules.file is not None):
        yield (*where, "status"), f"a reply with {rules.status} has no body; expected none, or another status", ERROR
    if rules.status in {206, 304}:
        yield (*where, "status"), f"{rules.status} is an answer to what a request asks; expected another status", ERROR


def _pointless(key: Key, route: Route) -> Iterator[Found]:
    """What is done with what goes to an origin, where none is asked."""
    settings = {
        "rewrite": route.rewrite != RouteRewrite(),
        "request_headers": route.request_headers != RouteRequestHeaders(),
        "timeouts": route.timeouts != RouteTimeouts(),
        "mirror": route.mirror != RouteMirror(),
    }
    for name, given in settings.items():
        if given:
            yield (*key, name), f"no origin is asked here; expected no {name}", WARNING


def _limits(key: Key, route: Route, limits: Limits) -> Iterator[Found]:
    headers = route.limits.header_bytes
    if headers is not None and headers >= limits.header_bytes:
        yield (
            (*key, "limits", "headers"),
            f"[limits] headers, {size_words(limits.header_bytes)}, refuses what is longer before a route is known; expected less",
            WARNING,
        )
