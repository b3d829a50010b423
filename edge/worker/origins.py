"""
Every origin of the configuration, as one worker knows them: whom to ask for an exchange, and what is done once a second.

The connections lie in :mod:`~edge.worker.pools`; how one exchange goes, step by step, is told in
:mod:`~edge.worker.origin_exchange`.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from edge.config.origin_rules import RouteRetry
from edge.observe import names
from edge.share.fleet import Fleet
from edge.tls.credentials import Credentials
from edge.worker.dial import Dialler
from edge.worker.ears import TrioEars
from edge.worker.origin_exchange import OriginExchange
from edge.worker.pools import Group, Node
from edge.worker.waits import Watch
from edge.worker.warming import keep_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge.clock import Clock
    from edge.config.tree import Origin
    from edge.message.head import ReplyHead
    from edge.observe.ledger import Cells
    from edge.origin.request import OriginRequest
    from edge.origin.retry import Rules
    from edge.share.bells import Bells
    from edge.worker.ears import Ears


_NOTHING: Mapping[str, Credentials] = MappingProxyType({})


USUAL: Final = RouteRetry()
"""What is tried again where no route says otherwise."""


class Standing(NamedTuple):
    """How one server stands, for ``/metrics``."""

    origin: str
    server: str
    is_well: bool
    lent: int
    idle: int
    waiting: int  # exchanges queued for the origin (the same on each of its servers)


class Origins:
    """
    Every origin of the configuration, with its servers, their connections and their health. One per worker.

    Args:
        origins: by name.
        clock: for ages and health; deadlines are trio's.
        dialler: instead of the system's resolver and sockets.
        ears: instead of trio's way of waiting.
        fleet: what the node knows of servers; None: nobody shares it.
        slot: which rows of it are our own.
        credentials: what is believed of each origin and shown to it, by name; without, the system's authorities.
        cells: this worker's counters.
        blocks: which of them each origin was lent; None: as if for the first time.
        bells: of all workers.
        alive: gives the slots of the processes that are there; None: nobody else is.

    Raises:
        OSError: there are more servers than the node has rows.
    """

    def __init__(
        self,
        origins: Mapping[str, Origin],
        clock: Clock,
        *,
        dialler: Dialler | None = None,
        ears: Ears | None = None,
        fleet: Fleet | None = None,
        slot: int = 0,
        credentials: Mapping[str, Credentials] = _NOTHING,
        cells: Cells | None = None,
        blocks: Mapping[str, int] | None = None,
        bells: Bells | None = None,
        alive: Callable[[], Iterable[int]] | None = None,
    ) -> None:
        self._clock = clock
        ears = ears or TrioEars()
        self._watch = Watch(clock, ears)
        dialler = dialler or Dialler(clock)
        self.node = Node(fleet or Fleet(1), slot, [0] * len(names.NAMES) if cells is None else cells, bells, alive)
        blocks = names.assign_origins(origins) if blocks is None else blocks
        self.groups = {
            name: Group(
                settings,
                clock,
                dialler,
                ears,
                self.node,
                credentials.get(name) or Credentials(settings.tls.verify),
                names.OriginCells.of(blocks[name]),
            )
            for name, settings in origins.items()
        }

    def exchange(
        self,
        name: str,
        request: OriginRequest,
        client: bytes = b"",
        on_interim: Callable[[ReplyHead], None] | None = None,
        rules: Rules = USUAL,
    ) -> OriginExchange:
        """
        Begin an exchange: ``async with origins.exchange(...) as exchange``. Entering gets a connection.

        Args:
            name: of the origin in the configuration.
            request: from :func:`edge.origin.request.origin_request`.
            client: the client's address as text, for balancing by client.
            on_interim: called with every 1xx but 101; must not wait.
            rules: of the route, for what is tried again.

        Raises (entering):
            OriginFault: no server could be reached.
            EdgeFault: no connection came free in time (503).
        """
        group = self.groups[name]
        group.words[group.budget.asked_at] += 1
        return OriginExchange(group, self._watch, request, client, on_interim, rules)

    async def tend(self) -> None:
        """Keep connections ready where that is asked for; ends once nothing is kept any more."""
        async with trio.open_nursery() as nursery:
            for group in self.groups.values():
                if group.settings.min_idle:
                    nursery.start_soon(keep_ready, group)

    def sweep(self) -> None:
        """
        End waits that are overdue, and close kept connections that are too old or that the origin has closed.

        Call about once a second, from a task that does not wait inside.
        """
        now_mono = self._clock.mono()
        self._watch.sweep(now_mono)
        self.node.look()
        for group in self.groups.values():
            group.sweep(now_mono)

    def heard(self) -> None:
        """Our bell has rung: a server that others kept busy may have room."""
        for group in self.groups.values():
            group.look_again()

    def leave(self) -> None:
        """Keep nothing any more: close what is idle, and close the rest as it comes back (draining)."""
        for group in self.groups.values():
            group.keeps = False
            for server in group.servers:
                for link in server.pool.aged(math.inf):
                    server.discard(link)

    def standing(self) -> list[Standing]:
        """Return how every server stands now."""
        return [
            Standing(
                name,
                server.label,
                server.health.may_ask(self._clock.mono()),
                server.pool.lent,
                server.pool.idle,
                group.waiting,
            )
            for name, group in self.groups.items()
            for server in group.servers
        ]
