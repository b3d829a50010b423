"""
What an operator is told about the servers of origins, and what he may order: drain, disable, enable.

How a server stands is read from its row of the fleet page, and an order is written there: every worker goes by it with its next
request, and it holds over reloads and upgrades until it is taken back, or the edge is started anew.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from edge.exchange.purging import Misread
from edge.observe.metrics import Gauge
from edge.origin.balance import ASKED, OPEN, TIME
from edge.origin.budget import PENDING
from edge.origin.health import Health, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge.clock import Clock
    from edge.config.tree import Origin
    from edge.origin.members import Member, Members
    from edge.share.fleet import Fleet

log = logging.getLogger("edge.origin")

ORDERS: Final = {"drain": Order.DRAINING, "disable": Order.DISABLED, "enable": Order.ENABLED}


class Servers:
    """
    The servers of every origin.

    Args:
        fleet: where how they stand is kept.
        origins: the configuration's, by name.
        members: gives each origin's servers as they are now.
        clock: for what is still to come.
    """

    def __init__(
        self, fleet: Fleet, origins: Mapping[str, Origin], members: Callable[[str], Members], clock: Clock
    ) -> None:
        self._fleet = fleet
        self._origins = origins
        self._members = members
        self._clock = clock

    def told(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        now_mono = self._clock.mono()
        return {
            "origins": [
                {
                    "origin": name,
                    "balance": settings.balance,
                    "waiting": self._fleet.total(self._fleet.row(name.encode()), PENDING),
                    "servers": [
                        self._server(name, settings, member, now_mono) for member in self._members(name).servers
                    ],
                }
                for name, settings in self._origins.items()
            ]
        }

    def order(self, what: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """
        Carry out an order.

        Args:
            what: a key of :data:`ORDERS`.
            query: ``origin`` once, and ``server`` once or more: URLs, or as the log calls them.

        Returns:
            What was done, for JSON.

        Raises:
            Misread: somebody is meant who is not there.
        """
        names = [value for key, value in query if key == "origin"]
        wanted = [value for key, value in query if key == "server"]
        if len(names) != 1 or not wanted or len(query) != len(names) + len(wanted):
            raise Misread("say origin=NAME once, and server=URL for each server that is meant")
        (name,) = names
        if name not in self._origins:
            raise Misread(f"there is no origin {name!r}; expected one of {', '.join(self._origins)}")
        servers = self._members(name).servers
        meant = []
        for text in wanted:
            found = [member for member in servers if text in {member.url, member.label}]
            if not found:
                raise Misread(
                    f"origin {name!r} has no server {text!r}; expected one of {', '.join(member.url for member in servers)}"
                )
            meant += found
        now_mono = self._clock.mono()
        for member in meant:
            if self._health(name, member).obey(ORDERS[what], now_mono):
                log.warning("origin %s: an operator says %s %s", name, what, member.label)
        return {"order": what, "origin": name, "servers": [member.url for member in meant]}

    def gauges(self) -> Iterator[Gauge]:
        """Give how every server stands as metrics, those of one name together."""
        now_mono = self._clock.mono()
        rows = [
            (name, settings, member, self._health(name, member))
            for name, settings in self._origins.items()
            for member in self._members(name).servers
        ]
        labels = [(("origin", name), ("server", member.label)) for name, _, member, _ in rows]
        for (_, settings, _, health), label in zip(rows, labels, strict=True):
            state = health.state(now_mono, settings.slow_start_s)
            says = "How each server of an origin stands: 1 for its state."
            yield Gauge("edge_origin_server_state", says, 1, (*label, ("state", state)))
        for (_, _, _, health), label in zip(rows, labels, strict=True):
            yield Gauge("edge_origin_server_up", "Whether it may be asked now.", int(health.may_ask(now_mono)), label)
        for (_, _, _, health), label in zip(rows, labels, strict=True):
            yield Gauge("edge_origin_server_ejections", "Times it has been left alone so far.", health.ejections, label)
        for name_, column, says in (
            ("edge_origin_server_requests_open", OPEN, "Exchanges under way with it, of all workers."),
            ("edge_origin_server_requests", ASKED, "Exchanges with it so far, of the workers that are there."),
        ):
            for (name, _, member, _), label in zip(rows, labels, strict=True):
                yield Gauge(name_, says, self._fleet.total(self._row(name, member), column), label)
        for name in self._origins:
            pending = self._fleet.total(self._fleet.row(name.encode()), PENDING)
            yield Gauge(
                "edge_origin_requests_waiting", "Requests that wait for a server.", pending, (("origin", name),)
            )

    # -- within ---------------------------------------------------------------------------------------------

    def _row(self, name: str, member: Member) -> int:
        return self._fleet.row(member.row_name(name))

    def _health(self, name: str, member: Member) -> Health:
        return Health(self._fleet, self._row(name, member))

    def _server(self, name: str, settings: Origin, member: Member, now_mono: float) -> dict[str, Any]:
        row = self._row(name, member)
        health = Health(self._fleet, row)
        status, checked_mono = health.last_check
        is_out = not health.may_ask(now_mono) and health.again_mono > now_mono
        return {
            "server": member.label,
            "url": member.url,
            "state": health.state(now_mono, settings.slow_start_s),
            "order": health.order.name.lower(),
            "checks": health.checked.name.lower(),
            "weight": member.weight,
            "share": round(health.share(now_mono, settings.slow_start_s), 2),
            "backup": member.is_backup,
            "open": self._fleet.total(row, OPEN),
            "asked": self._fleet.total(row, ASKED),
            "failures": health.failures,
            "ejections": health.ejections,
            "again_s": round(health.again_mono - now_mono, 1) if is_out else None,
            "reply_s": round(self._fleet.floats[self._fleet.common(row) + TIME], 4) or None,
            "check_status": status or None,
            "check_age_s": round(now_mono - checked_mono, 1) if checked_mono else None,
        }
