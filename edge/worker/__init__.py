"""
After the fork: sessions, the two lanes, timers, drain. The only place with trio.

A socket never changes hands; the exchange does. :mod:`~edge.worker.fast` owns every client socket and does all that can be
done now; :mod:`~edge.worker.slow` carries each exchange that must wait in a task of its own and speaks to the session,
never to its socket. What they decide lies in :mod:`edge.exchange`; here is only how it is carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config.tree import Config
    from edge.share.heritage import Heritage


def prepare(config: Config) -> None:
    """Import what this configuration needs besides: once it has given up its privileges, a worker may not be able to."""
    if any(server.discover is not None for origin in config.origins.values() for server in origin.servers):
        import edge.worker.name_servers  # noqa: F401, PLC0415


def main(heritage: Heritage) -> int:
    """Serve until the master says LEAVE or is gone; return the exit code."""
    from edge.worker.life import live  # noqa: PLC0415 - trio is imported in the child, never in the master

    return live(heritage)
