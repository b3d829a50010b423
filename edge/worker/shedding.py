"""
Whose connection is given up first when there is no room for another.

Decides by what a client would lose, and by how long it has had it: first those to whom all has been said, then handshakes and
heads that take longer than honest ones do, then connections at rest, which any client opens anew when it needs one. Who has asked
something and is owed a reply is never chosen. Pure: sessions in, sessions out; it closes nothing.

Source: nginx ``ngx_drain_connections``; RFC 9112 §9.5 (a server may close at rest whenever it needs to).
"""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Final

from edge.worker.session import Phase, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.config.tree import Timeouts
    from edge.worker.session import Session

PATIENCE_S: Final = 2.0
"""A handshake or a head that has taken longer is not an ordinary client's: two round trips to the other side of the world are 0.6 s."""


def cheapest(sessions: Iterable[Session], now_mono: float, timeouts: Timeouts, most: int) -> list[Session]:
    """
    Choose at most *most* sessions to close, the least loss first; of equals whoever has waited longest.

    Cost: 0.3 µs per session: 3 ms with 10,000. Ask for many at a time.
    """
    found = []
    for session in sessions:
        match session.waiting:
            case Waiting.LINGER:
                found.append((0, session.deadline, session.fd, session))
            case Waiting.HANDSHAKE if session.phase is not Phase.OPEN:
                if now_mono - (began := session.deadline - timeouts.handshake_s) >= PATIENCE_S:
                    found.append((1, began, session.fd, session))
            case Waiting.HEAD:
                if now_mono - (began := session.deadline - timeouts.head_s) >= PATIENCE_S:
                    found.append((1, began, session.fd, session))
            case Waiting.IDLE if not session.carried:
                found.append((2, session.deadline, session.fd, session))
    return [each[-1] for each in nsmallest(most, found)]
