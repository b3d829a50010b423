"""Counting what origins answer, and how soon: once per reply, whoever asked and whatever for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.observe.ledger import add_duration

if TYPE_CHECKING:
    from edge.exchange.steering import Way
    from edge.message.head import ReplyHead
    from edge.worker.means import Means
    from edge.worker.origin_exchange import OriginExchange


def count_reply(
    means: Means, origin: str, way: Way | None, ox: OriginExchange, reply: ReplyHead, took_s: float
) -> None:
    """Count a final head from *origin*, which came after *took_s* for a request that went *way*."""
    cells = means.cells
    at = means.origin_cells[origin]
    cells[at.replies + min(reply.status // 100, 5) - 1] += 1
    add_duration(took_s, at.duration, cells)
    if ox.reused:
        cells[at.reused] += 1
    if ox.attempts > 1:
        cells[at.retries] += 1
        if way is not None and way.cells is not None:
            cells[way.cells.retries] += 1
