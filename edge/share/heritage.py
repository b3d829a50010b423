"""
The complete list of what a child inherits. What is not named here is closed before the child's first line runs.

Made by the master for each child, read by the child, changed by nobody. It decides nothing.

Source: Varnish ``heritage.h``: the whole contract of a fork.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from edge.share.bells import Bells
    from edge.share.channel import Channel
    from edge.share.claims import ClaimsPage
    from edge.share.counters import Counters
    from edge.share.crowd import Crowd
    from edge.share.fleet import Fleet
    from edge.share.notices import Notices
    from edge.share.rates import Rates
    from edge.share.recency import Recency
    from edge.share.scoreboard import Row, Scoreboard
    from edge.share.shunned import Shunned
    from edge.share.stamps import Stamps
    from edge.share.uses import Uses


@dataclass(slots=True, kw_only=True)
class Heritage:
    """
    What one child inherits.

    Attributes:
        slot: the row that is this process's own in every shared page. No two living processes have the same, not
            even the old and the new generation of a place during a reload.
        place: which accept queue it was lent, 0 … workers - 1; -1 for the keeper, which accepts nothing.
        generation: counts up with every reload; for logs.
        config: :class:`edge.config.tree.Config`. (Typed Any because this room lies below that one.)
        tls: :class:`edge.tls.contexts.ContextStore`, or None if no listener speaks TLS.
        listeners: the listening sockets to accept from, each with its :class:`edge.config.tree.Listener`.
            Non-blocking. They stay the master's: closing one here takes nothing from whoever comes next.
        admin: the socket that answers /metrics, shared by all workers, or None.
        operators: digests of the tokens that the admin address asks for; empty: it asks for none.
        channel: to the master. Say READY on it once connections are taken; GONE on it means drain and leave.
        route_blocks: likewise, for routes.
        evicted_at: which counter says how many copies the keeper has removed.
        origin_blocks: which block of counters each origin was lent, as ``edge.observe.names.assign_origins`` says; kept
            over reloads, so that an origin's numbers go on.
        credentials: :class:`edge.tls.credentials.Credentials` by origin: what a worker may not read itself.
        logs: open files by what is written to them (``"access"``, ``"errors"``), for those that are paths. They are the
            child's own: whoever writes to one goes on with another when told REOPEN_LOGS, and keeps none of before.
    """

    slot: int
    place: int
    generation: int
    config: Any
    tls: Any
    scoreboard: Scoreboard
    counters: Counters
    stamps: Stamps
    recency: Recency
    bells: Bells
    shunned: Shunned
    uses: Uses
    claims: ClaimsPage
    fleet: Fleet
    notices: Notices
    crowd: Crowd
    rates: Rates
    under_way: Crowd
    channel: Channel
    listeners: list[tuple[Any, socket.socket]] = field(default_factory=list)
    admin: socket.socket | None = None
    operators: frozenset[bytes] = frozenset()
    evicted_at: int = 0
    origin_blocks: Mapping[str, int] = field(default_factory=dict)
    route_blocks: Mapping[str, int] = field(default_factory=dict)
    credentials: Mapping[str, Any] = field(default_factory=dict)
    logs: Mapping[str, int] = field(default_factory=dict)

    @property
    def row(self) -> Row:
        """Our own row of the scoreboard."""
        return self.scoreboard.row(self.slot)
