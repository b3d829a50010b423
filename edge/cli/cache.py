"""``edge cache ls|show|stats``: what a running edge has stored, as lines for people, or as JSON for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from edge.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.cli.operator import Operator


MOST_SPANS: Final = 20
"""Parts of one copy that are listed; a program gets all of them."""


def stats(operator: Operator, *, as_json: bool) -> int:
    """Print how much is stored, and what it has been good for. Returns the exit code; raises Unanswered."""
    told = operator.ask("GET", "/cache")
    if as_json:
        print(json.dumps(told))
        return 0
    requests = told["requests"]
    asked = sum(number for word, number in requests.items() if word not in {"none", "bypass", "method"})
    print(f"copies     {told['copies']} of {told['addresses']} addresses")
    print(
        f"pages      {size(told['used_bytes'])} of {size(told['size_bytes'])}, {part(told['used_bytes'], told['size_bytes'])}"
    )
    print(f"landing    {told['landing']}")
    print(f"purges     {told['standing_purges']} standing")
    print(
        f"hits       {requests['hit']} of {asked} requests that the cache was asked about, {part(requests['hit'], asked)}"
    )
    for word, number in sorted(requests.items(), key=lambda pair: -pair[1]):
        if number:
            print(f"  {word:<12}{number}")
    if told["is_damaged"]:
        print("the store is damaged: nothing is stored or found until the edge is started anew")
    return 0


def ls(operator: Operator, which: Sequence[tuple[str, str]], *, as_json: bool) -> int:
    """
    Print a line for every copy, or every one of *which*.

    Args:
        operator: of the edge.
        which: ``host``, ``prefix`` and ``tag``, all of which must hold.
        as_json: one object per line.

    Returns:
        The exit code.

    Raises:
        Unanswered: the edge did not answer; what was printed is there.
    """
    after = ""
    is_first = True
    while after or is_first:
        told = operator.ask("GET", "/cache/ls", [*which, ("limit", "500"), *([("after", after)] if after else [])])
        if is_first and not as_json:
            print(f"{'STATUS':<7}{'AGE':>8}{'TTL':>9}{'SIZE':>11}{'USES':>9}  {'STATE':<8}{'CODINGS':<18}URL")
        is_first = False
        for copy in told["copies"]:
            print(json.dumps(copy) if as_json else line(copy))
        after = told["next"]
    return 0


def line(copy: dict[str, Any]) -> str:
    """Return a copy as one line of :func:`ls`."""
    state = copy["state"].partition(",")[0].partition(" ")[0]
    codings = (
        ",".join(copy["codings"]) if copy["parts"] is None else f"in part, {part(copy['stored_bytes'], copy['bytes'])}"
    )
    return (
        f"{copy['status']:<7}{span(copy['age_s']):>8}{span(copy['ttl_s']):>9}{size(copy['bytes']):>11}{copy['uses']:>9}  "
        f"{state:<8}{codings:<18}{copy['url']}"
    )


def show(operator: Operator, url: str, *, as_json: bool) -> int:
    """Print all that is stored for *url*. Returns the exit code: 1 if nothing is. Raises Unanswered."""
    told = operator.ask("GET", "/cache/show", [("url", url)])
    if as_json:
        print(json.dumps(told))
        return 0 if told["copies"] else 1
    print(f"{told['url']}\nkey {told['key']}")
    if told["purged_wall"] is not None:
        print(f"purged or invalidated {moment(told['purged_wall'])}")
    if told["landing"] is not None:
        of = told["landing"]["of_bytes"]
        print(f"landing: {size(told['landing']['bytes'])}{f' of {size(of)}' if of else ''}")
    if not told["copies"]:
        print("nothing is stored")
        return 1
    for number, copy in enumerate(told["copies"], 1):
        print(f"\ncopy {number} of {len(told['copies'])}")
        for name, value in _facts(copy):
            print(f"  {name:<12}{value}")
        for name, value in copy["fields"]:
            print(f"  | {name}: {value}")
    return 0


def _facts(copy: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "status", f"{copy['status']}"
    yield "state", copy["state"]
    yield "age", span(copy["age_s"])
    yield "lifetime", f"{span(int(copy['lifetime_s']))}, {copy['lifetime']}; {span(copy['ttl_s'])} left"
    windows = [
        (f"while it is refreshed {span(copy['stale_while_revalidate_s'])}", copy["stale_while_revalidate_s"]),
        (f"if the origin fails {span(copy['stale_if_error_s'] or 0)}", copy["stale_if_error_s"]),
        ("never else", copy["must_revalidate"]),
    ]
    if stale := [says for says, holds in windows if holds]:
        yield "stale use", ", ".join(stale)
    yield "codings", ", ".join(f"{coding} {size(length)}" for coding, length in copy["codings"].items())
    if copy["parts"] is not None:
        spans = ", ".join(f"{start}-{end - 1}" for start, end in copy["spans"][:MOST_SPANS])
        more = f" and {copy['parts'] - MOST_SPANS} more" if copy["parts"] > MOST_SPANS else ""
        yield "in part", f"{size(copy['stored_bytes'])} of {size(copy['bytes'])}: bytes {spans or 'none'}{more}"
    for name, value in copy["vary"].items():
        yield "for", f"{name} {'not sent' if value is None else repr(value)}"
    if copy["tags"]:
        yield "tags", ", ".join(copy["tags"])
    yield "stored", moment(copy["stored_wall"])
    if copy["confirmed_wall"] != copy["stored_wall"]:
        yield "confirmed", moment(copy["confirmed_wall"])
    yield "uses", f"{copy['uses']}, last {moment(copy['used_wall'])}" if copy["used_wall"] else "not lately"


def explain(operator: Operator, query: Sequence[tuple[str, str]], *, as_json: bool) -> int:
    """Print what would happen to a request, step by step. Returns the exit code; raises Unanswered."""
    told = operator.ask("GET", "/explain", query)
    if as_json:
        print(json.dumps(told))
        return 0
    print(told["url"])
    for step in told["steps"]:
        source = f" — {step['source']}" if step["source"] else ""
        print(f"  {step['step']:<9}{step['says']}{source}")
    print(f"=> {told['outcome']}")
    return 0


def size(count: int) -> str:
    """Write a number of bytes for people."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def span(seconds: int) -> str:
    """Write a length of time for people: its two greatest units."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return sign + "".join(parts[:2])


def moment(wall: float) -> str:
    """Write a moment for people, and how long ago it was."""
    ago = int(SYSTEM.wall() - wall)
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC, {span(max(0, ago))} ago"


def part(some: int, whole: int) -> str:
    """Write a part of a whole."""
    return f"{100 * some / whole:.1f} %" if whole else "none"
