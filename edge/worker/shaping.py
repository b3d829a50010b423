"""
The reply that a copy gives to one exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.copy import IDENTITY
from edge.exchange.send import shape
from edge.reply.cache_status import forwarded
from edge.reply.compose import ttl_at

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.exchange.rooms import Rooms
    from edge.exchange.send import Shaped
    from edge.worker.session import Exchange


def shape_copy(
    rooms: Rooms,
    x: Exchange,
    copy: Copy,
    coding: bytes,
    length: int | None,
    cache_status: bytes | None,
    *,
    eligible: bool,
    in_order: bool = False,
) -> Shaped:
    """Compose the reply that *copy* gives in *coding*: see :func:`edge.exchange.send.shape`."""
    x.encoding = "" if coding == IDENTITY else coding.decode()
    if cache_status is None and x.collapsed:
        cache_status = forwarded(x.outcome, ttl=ttl_at(rooms.now_s, copy.fresh_until_wall), collapsed=True)
    return shape(
        x.known,
        copy,
        rooms.now_s,
        coding=coding,
        length=length,
        eligible=eligible,
        cache_status=cache_status,
        in_order=in_order,
    )
