"""
Which routes are never taken, and between which the order of the file alone decides.

A route is *shadowed* if another goes before it (:func:`edge.policy.route.rank`) and takes every request that it would. Two are
*alike* if they are equally specific and some request matches both. What an expression matches is not worked out: two that
differ are taken to meet, and neither to cover the other.

Source: Gateway API, HTTPRouteRule (where specificity does not decide, an implementation falls back on order).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.message.pattern import Pattern
from edge.policy.route import ANY, PATTERN_MARK, Matching, rank

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class Shadow:
    """
    What is to be said of a route.

    Attributes:
        at: its number.
        by: the other's.
        never: it is never taken; else it is where the other is not, and that stands first.
    """

    at: int
    by: int
    never: bool


def shadows(routes: Sequence[Matching]) -> list[Shadow]:
    """
    Find the routes in *routes* that are shadowed by another or alike to one before them, each once, in their order.

    Cost: quadratic in the routes for one host and path; there are seldom more than a few.
    """
    places: dict[tuple[object, ...], list[int]] = {}
    for at, route in enumerate(routes):
        path = route.path.rstrip("/") if route.path_exact is None else route.path_exact
        places.setdefault((route.host, route.path_exact is None, path), []).append(at)
    found = [shadow for place in places.values() for shadow in _at_one_place(routes, place)]
    return sorted(found, key=lambda shadow: shadow.at)


def _at_one_place(routes: Sequence[Matching], place: list[int]) -> Iterator[Shadow]:
    ranked = sorted(place, key=lambda at: rank(routes[at]), reverse=True)
    for behind, at in enumerate(ranked):
        route = routes[at]
        ahead = [(other, routes[other]) for other in ranked[:behind]]
        by = next((other for other, each in ahead if covers(each, route)), None)
        if by is not None:
            yield Shadow(at, by, never=True)
            continue
        alike = next((other for other, each in ahead if rank(each) == rank(route) and may_meet(each, route)), None)
        if alike is not None:
            yield Shadow(at, alike, never=False)


def covers(wide: Matching, narrow: Matching) -> bool:
    """Return whether *wide*, for the same host and path, takes every request that *narrow* takes."""
    return (
        wide.path_pattern in {None, narrow.path_pattern}
        and (not wide.methods or (bool(narrow.methods) and set(narrow.methods) <= set(wide.methods)))
        and _implied(wide.headers, narrow.headers)
        and _implied(wide.query, narrow.query)
        and (not wide.networks or (bool(narrow.networks) and _within(narrow.networks, wide.networks)))
    )


def may_meet(one: Matching, other: Matching) -> bool:
    """Return whether some request may match both, which are for the same host and path."""
    return (
        (not one.methods or not other.methods or not set(one.methods).isdisjoint(other.methods))
        and _compatible(one.headers, other.headers)
        and _compatible(one.query, other.query)
        and (not one.networks or not other.networks or _overlap(one.networks, other.networks))
    )


def _implied(wanted: Sequence[tuple[str, str]], said: Sequence[tuple[str, str]]) -> bool:
    """Whether whatever is as *said* is as *wanted*."""
    given = dict(said)
    return all(name in given and _includes(text, given[name]) for name, text in wanted)


def _includes(wide: str, narrow: str) -> bool:
    if wide in {ANY, narrow}:
        return True
    is_literal = narrow != ANY and not narrow.startswith(PATTERN_MARK)
    return is_literal and wide.startswith(PATTERN_MARK) and _fits(wide, narrow)


def _compatible(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> bool:
    """Whether a request can be as both want it."""
    given = dict(one)
    return all(name not in given or _both(given[name], text) for name, text in other)


def _both(one: str, other: str) -> bool:
    one_is_open, other_is_open = (text == ANY or text.startswith(PATTERN_MARK) for text in (one, other))
    if one_is_open and other_is_open:
        return True
    if one_is_open or other_is_open:
        return _includes(one, other) or _includes(other, one)
    return one == other


def _fits(pattern: str, literal: str) -> bool:
    return Pattern(pattern[1:]).match(literal.encode()) is not None


def _within(narrow: Sequence[IPv4Network | IPv6Network], wide: Sequence[IPv4Network | IPv6Network]) -> bool:
    return all(
        any(each.version == other.version and each.subnet_of(other) for other in wide)  # type: ignore[arg-type]
        for each in narrow
    )


def _overlap(one: Sequence[IPv4Network | IPv6Network], other: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(each.overlaps(another) for each in one for another in other if each.version == another.version)
