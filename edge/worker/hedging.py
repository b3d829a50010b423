"""
Asking a second server when the first one is slow, and taking the reply that comes first.

For requests without a body whose method is safe, where their route says so. It costs the origin a further attempt, so it is
counted against the origin's budget like one; without budget, or without a second server that has room, the first is waited for.

Source: Dean & Barroso 2013, "The Tail at Scale" (hedged requests).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from edge.errors import Fault

if TYPE_CHECKING:
    from edge.message.head import ReplyHead
    from edge.worker.origin_exchange import OriginExchange


async def first_of_two(exchange: OriginExchange, after_s: float) -> ReplyHead:
    """
    Wait for the final reply's head, after *after_s* from two servers.

    Raises:
        Fault: neither gave one; what befell the first.
    """
    with trio.move_on_after(after_s):
        return await exchange.reply_alone()
    rival = exchange.rival()
    if rival is None:
        return await exchange.reply_alone()
    heads: list[tuple[OriginExchange, ReplyHead]] = []
    faults: dict[OriginExchange, Fault] = {}

    async def ask(one: OriginExchange) -> None:
        try:
            if one is rival:
                await one.__aenter__()
            head = await one.reply_alone()
        except Fault as fault:
            faults[one] = fault
            return
        if not heads:
            heads.append((one, head))
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, exchange)
            nursery.start_soon(ask, rival)
        if not heads:
            raise faults[exchange]
        winner, head = heads[0]
        if winner is rival:
            exchange.adopt(rival)
        return head
    finally:
        rival.give_up_unless(exchange)
