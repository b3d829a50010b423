"""``edge origins``: how the servers of a running edge's origins stand; and ``drain``, ``disable`` and ``enable`` one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.cli.operator import Operator


def ls(operator: Operator, *, as_json: bool) -> int:
    """Print a line for every server. Returns the exit code; raises Unanswered."""
    told = operator.ask("GET", "/origins")
    if as_json:
        print(json.dumps(told))
        return 0
    print(f"{'ORIGIN':<14}{'STATE':<12}{'WEIGHT':>7}{'OPEN':>6}{'ASKED':>10}{'OUT':>5}  {'CHECK':<9}SERVER")
    for origin in told["origins"]:
        for server in origin["servers"]:
            print(line(origin["origin"], server))
        if origin["waiting"]:
            print(f"{origin['origin']:<14}{origin['waiting']} requests wait for a server")
    return 0


def line(origin: str, server: dict[str, Any]) -> str:
    """Return a server as one line of :func:`ls`."""
    weight = f"{server['weight']}" if server["share"] == 1 else f"{server['weight'] * server['share']:.1f}"
    check = server["checks"] if server["check_status"] is None else f"{server['checks']} {server['check_status']}"
    notes = [
        note
        for note, holds in (
            ("backup", server["backup"]),
            (f"asked again in {server['again_s']}s", server["again_s"] is not None),
        )
        if holds
    ]
    return (
        f"{origin:<14}{server['state']:<12}{weight:>7}{server['open']:>6}{server['asked']:>10}{server['ejections']:>5}  "
        f"{check:<9}{server['url']}{' (' + ', '.join(notes) + ')' if notes else ''}"
    )


def order(operator: Operator, what: str, origin: str, servers: Sequence[str], *, as_json: bool) -> int:
    """Have *servers* drained, disabled or enabled. Returns the exit code; raises Unanswered."""
    query = [("origin", origin), *(("server", server) for server in servers)]
    told = operator.ask("POST", f"/origins/{what}", query)
    if as_json:
        print(json.dumps(told))
        return 0
    for url in told["servers"]:
        print(f"{what}: {origin} {url}")
    return 0
