"""
Tunnels: another protocol, asked for with Upgrade, whose bytes are carried both ways until the origin has ended.

That the client has ended is told to the origin, which may have more to say. Nothing is known of what is carried. An
origin that declines answers like any other, and its reply is passed on.

Source: RFC 9110 §7.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from edge.cache.lookup import Fwd
from edge.cache.storing import Unstored
from edge.errors import Fault
from edge.exchange.decision import Fetch
from edge.message.head import ReplyHead
from edge.message.headers import end_to_end
from edge.observe import names
from edge.origin.request import Aim
from edge.worker.asking import note
from edge.worker.means import Errand
from edge.worker.passing import pass_on
from edge.worker.question import compose, put

if TYPE_CHECKING:
    from edge.worker.means import Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange


async def tunnel(means: Means, x: Exchange) -> None:
    """Ask for another protocol, and carry its bytes."""
    plan = Fetch(Aim.PASS, Fwd.BYPASS)
    x.outcome = plan.fwd.value
    request = compose(means, x, plan)
    asked_mono, asked_wall = means.clock.mono(), means.clock.wall()
    async with put(means, x, request) as ox:
        reply = await ox.reply()
        errand = Errand(x, plan, None, ox, asked_mono, asked_wall)
        errand.reply = reply
        note(means, errand)
        if reply.status != 101:
            await pass_on(means, errand, Unstored.METHOD)
            return
        x.status = 101
        fields = end_to_end(reply.fields, reply.index)
        if ox.binds and (cookie := ox.set_cookie()) is not None:
            fields.append((b"set-cookie", cookie))
        x.session.conn.tunnel(x.stream, ReplyHead(101, fields, reply.reason))
        x.begin_body()
        x.push()
        means.cells[names.TUNNELS_OPEN] += 1
        try:
            async with trio.open_nursery() as both:
                both.start_soon(_up, x, ox)
                while data := await ox.pull():
                    x.send(data)
                    await x.room()
                both.cancel_scope.cancel()
        except* Fault as group:
            first = group.exceptions[0]
            assert isinstance(first, Fault)
            x.word, x.detail = first.word, first.detail
        finally:
            means.cells[names.TUNNELS_OPEN] -= 1
        x.end()


async def _up(x: Exchange, ox: OriginExchange) -> None:
    """Carry a tunnel's bytes from the client to the origin."""
    while (data := await x.more()) is not None:
        await ox.push(data)
    ox.push_eof()
