"""
Before the fork: who runs, what they inherit, and what becomes of them.

One process, single-threaded, without trio: it checks the configuration, opens the sockets, makes the TLS contexts, maps the
shared pages, forks the workers and the keeper, and then only listens, reaps and plans. It never reads a byte that a
client sent.

Read :mod:`~edge.master.plan` first: it has all the rules. :mod:`~edge.master.roster` is who exists,
:mod:`~edge.master.loop` the one loop, :mod:`~edge.master.house` what is held, :mod:`~edge.master.spawn` the only fork.

Source: Pitchfork, Varnish's manager, nginx's signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.share.heritage import Heritage


def run(
    config_path: Path,
    *,
    worker_main: Callable[[Heritage], int] | None = None,
    keeper_main: Callable[[Heritage], int] | None = None,
) -> int:
    """
    Be the master until told to stop.

    Args:
        config_path: the configuration.
        worker_main: a worker's life; the default is ``edge.worker.main``, imported in the child.
        keeper_main: the keeper's life; the default is ``edge.cache.keeper.main``, imported in the child.

    Returns:
        The exit code: 0 after an orderly stop, 1 if it could not start.
    """
    from edge.master.start import start  # noqa: PLC0415 - `edge check` uses this room without starting anything

    return start(config_path, worker_main, keeper_main)
