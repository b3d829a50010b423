"""
Connections that are there before anybody asks for one.

Once a second each server is given as many idle connections as ``min_idle`` wants, as far as there is room for them. One that
cannot be reached is left alone for as long as its health says; what went wrong is noted there, and nobody else learns of it.
Where nothing is to be kept ready there is no task.

Invariant: an idle connection that an exchange may take has nothing on it yet, and counts as used: the server may have closed it
unseen, like any other that has waited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from edge.errors import Fault

if TYPE_CHECKING:
    from edge.worker.pools import Group, Server

PAUSE_S: Final = 1.0


async def keep_ready(group: Group) -> None:
    """Keep connections ready until *group* keeps none any more."""
    while group.keeps:
        async with trio.open_nursery() as nursery:
            for server in group.servers:
                if _lacks(server):
                    nursery.start_soon(_fill, server)
        await trio.sleep(PAUSE_S)


def _lacks(server: Server) -> bool:
    group, pool = server.group, server.pool
    return (
        pool.idle < group.settings.min_idle
        and pool.may_open
        and group.keeps
        and not server.has_left
        and server.health.may_ask(group.clock.mono())
    )


async def _fill(server: Server) -> None:
    """Open one connection after the other until there are enough."""
    while _lacks(server):
        try:
            link = await server.group.open(server, server.group.clock.mono())
        except Fault:
            return
        server.put_by(link)
