"""
Which server of an origin an exchange goes to: what :mod:`edge.origin` decides, with what this worker and the node know.

How the servers stand is surveyed when somebody has said that something has changed, or when the last survey's time is over;
between two surveys choosing is two comparisons, the balancer, and a look whether there is room. Waits for nothing.

Hot: once per miss; about 1 µs for three servers (``bench/micro/test_origin.py``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from edge.errors import OriginFault, Retry
from edge.origin.balance import TIME, TIME_MONO, KeyedBy, Load, Turns, cost, make_balancer, measured
from edge.origin.binding import Asking, Bonds, attributes, key_maker
from edge.origin.health import Pauses
from edge.origin.survey import may_eject, survey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from edge.config.tree import Origin
    from edge.message.head import Field
    from edge.origin.balance import Balancer
    from edge.origin.request import OriginRequest
    from edge.origin.retry import Rules
    from edge.origin.survey import Survey
    from edge.share.fleet import Fleet
    from edge.worker.pools import Server


class Asker(Protocol):
    """
    What a choice may depend on: who asks, and what for.

    Attributes:
        request: what for.
        heard: the fields that the client sent.
        client: the client's address as text.
        avoid: who failed this request before, and is asked again only if there is nobody else.
        rules: of its route, for what is tried again.
    """

    request: OriginRequest
    heard: Sequence[Field]
    client: bytes
    avoid: Server | None
    rules: Rules


class Chooser:
    """
    Chooses among the servers of one origin.

    Args:
        settings: the origin's.
        fleet: what the node knows of servers.
        row: of the origin, in it.

    Attributes:
        bonds: the cookies that bind clients to servers; None: none do.
        pauses: how long a server that is out is left alone.
        is_timed: reply times are of use.
    """

    __slots__ = (
        "_balancer",
        "_fleet",
        "_is_keyed",
        "_make_key",
        "_row",
        "_servers",
        "_settings",
        "_survey",
        "_until_mono",
        "_version",
        "_words",
        "bonds",
        "is_timed",
        "pauses",
    )

    _balancer: Balancer
    _survey: Survey

    def __init__(self, settings: Origin, fleet: Fleet, row: int) -> None:
        self._row = row
        self._settings = settings
        self._fleet = fleet
        self._words = fleet.words
        self._servers: Sequence[Server] = ()
        self._version = 0
        self._until_mono = -math.inf
        self._make_key = key_maker(settings.hash_key)
        self._is_keyed = KeyedBy.NOTHING
        self.pauses = Pauses(settings.ejection.pause_s, settings.ejection.longest_s)
        self.bonds: Bonds | None = None
        self.is_timed = settings.balance == "least_time"

    def become(self, servers: Sequence[Server]) -> None:
        """Choose among these from now on."""
        settings = self._settings
        self._servers = servers
        labels = [server.label for server in servers]
        self._balancer = make_balancer(
            settings.balance,
            [server.settings.weight for server in servers],
            [label.encode() for label in labels],
            turns=Turns.of(self._fleet, self._row),
            bound=settings.bounded_load,
        )
        self._is_keyed = self._balancer.keyed_by
        sticky = settings.sticky
        if sticky.cookie is not None:
            secret = self._fleet.secret if sticky.secret is None else sticky.secret.encode()
            shown = attributes(
                path=sticky.path,
                max_age_s=sticky.max_age_s,
                same_site=sticky.same_site,
                secure=sticky.secure,
                http_only=sticky.http_only,
            )
            self.bonds = Bonds(settings.name, labels, secret, sticky.cookie, shown)
        self._until_mono = -math.inf

    def choose(self, asker: Asker, tried: AbstractSet[Server], now_mono: float) -> Server | None:
        """
        Pick a server with room; None if all (untried) are full.

        Raises:
            OriginFault: an operator has taken every server out.
        """
        if now_mono >= self._until_mono or self._words[0] != self._version:
            self._look(now_mono)
        found = self._survey
        servers = self._servers
        able: Sequence[int] = found.able
        if self.bonds is not None and (bound := self._bound(asker, tried)) is not None:
            return bound
        if tried or asker.avoid is not None:
            able = self._left(tried, asker.avoid)
        elif not able:
            name = self._settings.name
            why = "every server is disabled or draining" if servers else "no server has been found yet"
            raise OriginFault(
                f"{name}: {why}",
                word="destination_unavailable",
                reply=503,
                retry=Retry.YES,
            )
        if len(able) > 1:
            server = servers[self._pick(able, asker, now_mono)]
            if not server.has_room:
                able = [index for index in able if servers[index].has_room]
                if not able:
                    return None
                server = servers[self._pick(able, asker, now_mono)]
        elif not able or not (server := servers[able[0]]).has_room:
            return None
        if found.trials and server.index in found.trials:
            server.health.tried(now_mono, self.pauses)
        return server

    @property
    def is_free(self) -> bool:
        """Nothing binds a request to its server: it goes to another as well."""
        return self._is_keyed is KeyedBy.NOTHING and self.bonds is None

    def is_exhausted(self, tried: AbstractSet[Server], now_mono: float) -> bool:
        """Return whether there is nobody left to try."""
        found = self.survey(now_mono)
        servers = self._servers
        return all(servers[index] in tried for index in (*found.able, *found.others))

    def survey(self, now_mono: float) -> Survey:
        """Return how the servers stand."""
        if now_mono >= self._until_mono or self._words[0] != self._version:
            self._look(now_mono)
        return self._survey

    def may_eject(self, now_mono: float) -> bool:
        """Return whether one server more may be left out for its answers."""
        ordinary = sum(not server.settings.is_backup for server in self._servers)
        return may_eject(self.survey(now_mono).in_use, ordinary, self._settings.ejection.floor)

    def timed(self, server: Server, took_s: float, now_mono: float) -> None:
        """Note how long a reply took."""
        floats, at = self._fleet.floats, server.common
        floats[at + TIME] = measured(floats[at + TIME], floats[at + TIME_MONO], took_s, now_mono)
        floats[at + TIME_MONO] = now_mono

    # -- within ---------------------------------------------------------------------------------------------

    def _look(self, now_mono: float) -> None:
        servers = self._servers
        self._version = self._words[0]  # before looking: what changes meanwhile is looked at again
        self._survey = survey(
            [server.settings for server in servers],
            [server.health for server in servers],
            now_mono,
            self._settings.slow_start_s,
        )
        self._until_mono = self._survey.until_mono
        if self._survey.able:
            self._balancer.prepare(self._survey.able, self._survey.weights)

    def _pick(self, able: Sequence[int], asker: Asker, now_mono: float) -> int:
        balancer = self._balancer
        loads: Sequence[float] = ()
        if balancer.load is not Load.NOTHING:
            loads = self._loads(balancer.load, now_mono)
        key = b"" if self._is_keyed is KeyedBy.NOTHING else self._key(asker)
        return balancer.pick(able, self._survey.weights, loads, key)

    def _loads(self, load: Load, now_mono: float) -> list[float]:
        if load is Load.BUSY:
            return [server.busy() for server in self._servers]
        floats = self._fleet.floats
        return [
            cost(floats[server.common + TIME], floats[server.common + TIME_MONO], server.busy(), now_mono)
            for server in self._servers
        ]

    def _key(self, asker: Asker) -> bytes:
        if self._is_keyed is KeyedBy.CLIENT:
            return asker.client
        request = asker.request
        return self._make_key(Asking(request.authority, request.target, asker.heard, asker.client))

    def _bound(self, asker: Asker, tried: AbstractSet[Server]) -> Server | None:
        """Return the server that the client is bound to, if it can be asked."""
        assert self.bonds is not None
        place = self.bonds.place(asker.heard)
        if place is None or place not in self._survey.bound:
            return None
        server = self._servers[place]
        return None if server in tried or server is asker.avoid or not server.has_room else server

    def _left(self, tried: AbstractSet[Server], avoid: Server | None) -> list[int]:
        """Return who is left, the able first; who is to be avoided only if there is nobody else."""
        servers, found = self._servers, self._survey
        able = [index for index in found.able if servers[index] not in tried]
        return (
            [index for index in able if servers[index] is not avoid]
            or able
            or [index for index in found.others if servers[index] not in tried]
        )
