"""
From a command line to a running master: everything that is done once.

The order is what matters here: the configuration is checked before a socket is opened, sockets before a child is
born, and every failure on the way is sentences on the log and exit code 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from typing import TYPE_CHECKING, Final

from edge.clock import SYSTEM
from edge.listen import inherited
from edge.listen.bind import CannotListen
from edge.listen.listening import Listening
from edge.master import pidfile, privileges, regime, succession
from edge.master.desk import Desk
from edge.master.estate import Estate, slots_for
from edge.master.house import House
from edge.master.loop import Master
from edge.master.notify import Notifier
from edge.master.signals import Inbox
from edge.master.spawn import Lazy
from edge.observe import error_log
from edge.tls.certificates import Readings

if TYPE_CHECKING:
    from pathlib import Path

    from edge.master.spawn import Main

WORKER: Final = Lazy("edge.worker", also=("edge.worker.life",))
KEEPER: Final = Lazy("edge.cache.keeper")
_log = logging.getLogger("edge.master")


def start(config_path: Path, worker_main: Main | None, keeper_main: Main | None) -> int:
    """Be the master; return the exit code."""
    privileges.hide()
    log = error_log.set_up()
    path = config_path.absolute()
    notifier = Notifier.from_environment(os.environ)
    readings = Readings()
    try:
        found = succession.inherit(os.environ)
        config, warnings = regime.read(path, readings)
        for warning in warnings:
            _log.warning("%s", warning)
        first = regime.make(found.generation + 1, config, found.origin_blocks, found.route_blocks, readings)
    except (regime.Refused, CannotListen, ValueError, KeyError) as refused:
        return _refuse(notifier, refused)
    log = error_log.set_up(
        config.log.errors,
        level=config.log.level,
        fd=os.dup(first.logs.fds["errors"]) if "errors" in first.logs.fds else None,
    )
    slots = slots_for(config.server.worker_count)
    if found.estate and found.estate.scoreboard.slots < slots:
        found.estate, found.complaint = None, "there are more workers than the running program had room for"
    house = House(
        estate=found.estate or Estate.make(slots),
        listening=found.listening if found.channel else Listening(inherited.take(os.environ)),
        notifier=notifier,
        worker_main=worker_main or WORKER,
        keeper_main=keeper_main or KEEPER,
        error_log=log,
    )
    try:
        house.open(first)
    except CannotListen as refused:
        return _refuse(notifier, refused)
    _introduce(house, first, found)
    _raise_descriptor_limit()
    privileges.name_process(pidfile.MASTER)
    inbox = Inbox()
    try:
        return Master(Desk(path, house, SYSTEM, first, readings), inbox, found.channel).run()
    finally:
        inbox.close()
        notifier.close()


def _refuse(notifier: Notifier, refused: Exception) -> int:
    reasons = refused.reasons if isinstance(refused, regime.Refused) else (str(refused),)
    for doubt in refused.warnings if isinstance(refused, regime.Refused) else ():
        _log.warning("%s", doubt)
    for reason in reasons:
        _log.error("%s", reason)
    notifier.status(f"cannot start: {reasons[0]}")
    notifier.close()
    return 1


def _introduce(house: House, first: regime.Regime, found: succession.Inheritance) -> None:
    config = first.config
    where = ", ".join(queues.bound for queues in house.listening.queues.values()) or "nothing"
    _log.info("%d workers, listening on %s (pid %d)", config.server.worker_count, where, os.getpid())
    if found.complaint:
        _log.warning("old and new workers share no memory until the old ones have left: %s", found.complaint)
    if os.geteuid() == 0 and first.somebody is None:
        _log.warning("workers run as root: name somebody in [server] user")
    unused = set(house.listening.named) - {listener.name for listener in first.listeners if listener.kind == "systemd"}
    for name in sorted(unused):
        _log.warning("no listener uses the socket %r that systemd passed", name)


def _raise_descriptor_limit() -> None:
    """Allow ourselves as many descriptors as we may have: a connection is one, a miss two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # not allowed to: what we have must do
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
