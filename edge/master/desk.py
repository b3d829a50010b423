"""
What the master knows and wants at this moment: one table that the parts of the loop read and write.

The parts (:mod:`~edge.master.staff`, :mod:`~edge.master.reloading`, :mod:`~edge.master.takeover`,
:mod:`~edge.master.ushers`) each own one subject and share nothing but this. It decides nothing.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge.master import pidfile
from edge.master.plan import Stop, Wish
from edge.master.roster import KEEPER, Roster, State
from edge.master.setbacks import Setbacks

if TYPE_CHECKING:
    from pathlib import Path

    from edge.clock import Clock
    from edge.master.house import House
    from edge.master.regime import Regime
    from edge.tls.certificates import Readings

_log = logging.getLogger("edge.master")


@dataclass(slots=True)
class Desk:
    """
    What the master knows and wants.

    Attributes:
        path: of the configuration.
        house: what is held.
        regime: what is wished to be served.
        readings: of certificates: what has not changed is not examined again.
        wish: the same as numbers, for the plan.
        settled: the last regime that was complete: the one to return to.
        is_main: we are the service, in systemd's eyes and everybody's. False before we have taken over from a master
            before us, and after the next has taken over from us.
        is_reloading: systemd waits for the end of a reload.
        trouble: what the operator should know, for ``systemctl status``; until the next reload.
        exit_code: what to end with.
    """

    path: Path
    house: House
    clock: Clock
    regime: Regime
    readings: Readings
    wish: Wish = field(init=False)
    roster: Roster = field(default_factory=Roster)
    setbacks: Setbacks = field(default_factory=Setbacks)
    settled: Regime | None = None
    is_main: bool = True
    is_reloading: bool = False
    trouble: str = ""
    exit_code: int = 0

    def __post_init__(self) -> None:
        self.wish = self.wish_for(self.regime)

    def wish_for(self, regime: Regime) -> Wish:
        """Return what serving *regime* takes."""
        config = regime.config
        return Wish(
            places=config.server.worker_count,
            generation=regime.generation,
            settled=self.settled.generation if self.settled else None,
            keeper=config.cache.path is not None,
            drain_s=config.server.drain_s,
        )

    def stop(self, how: Stop) -> None:
        """
        Want to be gone.

        Our copies of the sockets are closed at once, so that nobody is let in whom no worker will accept; workers hold
        theirs until they have taken what is pending.
        """
        self.house.listening.close(remove_paths=self.is_main)
        self.wish = replace(self.wish, stop=how)

    @property
    def is_stopping(self) -> bool:
        """Whether the house is closing."""
        return self.wish.stop is not Stop.NO

    def begin_service(self) -> None:
        """Tell everyone who should know that we serve, or serve anew."""
        self.move_pid_file(None, self.regime.config.server.pid_file)
        self.trouble = ""
        self.is_reloading = False
        self.say_status()
        self.house.notifier.ready()

    def end_reload(self, trouble: str = "") -> None:
        """Tell systemd that a reload is over, well or not: what serves is what :attr:`settled` says."""
        self.trouble = trouble
        if self.is_reloading:
            self.is_reloading = False
            self.say_status()
            self.house.notifier.ready()

    def move_pid_file(self, before: Path | None, after: Path | None) -> None:
        """Name us in *after*, no longer in *before*."""
        if before is not None:
            pidfile.remove(before, os.getpid())
        if after is not None:
            other = pidfile.holder(after)
            if other is not None:
                _log.warning("%s named another master (pid %d), which runs; expected a pid_file for each", after, other)
            try:
                pidfile.write(after, os.getpid())
            except OSError as error:
                _log.error("cannot write the pid file: %s", error)

    def say_status(self) -> None:
        """Say how things are, for ``systemctl status``."""
        if not self.is_main:
            return
        workers = self.roster.workers()
        ready = sum(child.state is State.READY for child in workers)
        leaving = sum(child.state is State.LEAVING for child in workers)
        if self.is_stopping:
            words = [f"stopping: {len(workers)} workers finish what they carry"]
        else:
            words = [f"generation {self.regime.generation}: {ready} of {self.wish.places} workers ready"]
            words += [f"{leaving} leaving"] if leaving else []
            words += [trouble for trouble in (self.trouble, self._crash_loops()) if trouble]
        self.house.notifier.status("; ".join(words))

    def _crash_loops(self) -> str:
        waiting = self.setbacks.waiting(self.clock.mono())
        names = ", ".join("keeper" if place == KEEPER else f"worker {place}" for place in waiting)
        return f"keeps dying and is waited for: {names} ({self.setbacks.last_reason(waiting[0])})" if waiting else ""
