"""
The master's loop: one input at a time, then whatever the plan says, then sleep.

Input is a signal, or a word on a channel; what it means is one ``match``. Steps are taken one by one and noted in the
roster, and the plan is asked again until it only wants to wait. Nothing here blocks but the one wait, and nothing but the
plan decides about children.

It is one thread, without trio, and sleeps until the nearest deadline.

Source: Pitchfork ``monitor_loop``; nginx's signals.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from edge.master import plan
from edge.master.plan import Stop
from edge.master.reloading import Reloading
from edge.master.staff import Staff
from edge.master.takeover import Takeover
from edge.master.ushers import Ushers
from edge.master.watch import Watch
from edge.share.channel import Channel

if TYPE_CHECKING:
    from edge.master.desk import Desk
    from edge.master.signals import Inbox

LATE_S: Final = 5.0
"""A turn that begins so much later than it should: the machine was suspended, or we were."""
SPARE_S: Final = 5.0
"""How long deadlines are not held against anyone after that: they slept, too."""
LONGEST_S: Final = 10.0
"""A child that kept no deadline may have begun to; nobody tells us, so we look this often."""

SAME_S: Final = 0.25
"""A second stop so soon is the first: ``timeout`` signals its command, and then the group that it is in."""

_log = logging.getLogger("edge.master")


class Master:
    """
    The running master.

    Args:
        desk: what it knows; its first regime's sockets are open.
        inbox: where signals arrive.
        predecessor: the master whose sockets we took over, or None.
    """

    def __init__(self, desk: Desk, inbox: Inbox, predecessor: Channel | None = None) -> None:
        self._desk = desk
        self._inbox = inbox
        self._watch = Watch(inbox)
        self._takeover = Takeover(desk, self._watch, predecessor)
        self._reloading = Reloading(desk)
        self._staff = Staff(desk, self._watch, self._reloading)
        self._ushers = Ushers(desk)
        self._stopped_mono = 0.0
        self._is_reload_due = False

    def run(self) -> int:
        """Live until told to stop; return the exit code."""
        desk = self._desk
        watchdog_s = desk.house.notifier.watchdog_s or LONGEST_S
        while (sleep_s := self._act()) is not None:
            desk.house.notifier.beat()
            sleep_s = min(sleep_s, watchdog_s)
            expected = desk.clock.mono() + sleep_s
            heard = self._watch.wait(sleep_s)
            self._mind_the_gap(expected)
            for source in heard:
                self._hear(source)
        self._close()
        return desk.exit_code

    def _act(self) -> float | None:
        """Take steps until there is only waiting left; return for how long, or None when all is over."""
        desk = self._desk
        while True:
            self._catch_up()
            now = desk.clock.mono()
            self._staff.look()
            tended_s = self._ushers.tend(
                now
            )  # before anyone is asked to leave: the kernel leaves their queues out first
            steps = plan.plan(desk.wish, desk.roster, desk.setbacks, now)
            for step in steps:
                if isinstance(step, plan.Finish):
                    return None
                if not isinstance(step, plan.Wait):
                    self._take(step, now)
                elif len(steps) == 1:
                    if self._reloading.is_news():
                        self._takeover.announce()
                    desk.say_status()
                    waits = (step.seconds, tended_s, self._takeover.patience(now))
                    return min((wait for wait in waits if wait is not None), default=LONGEST_S)

    def _take(self, step: plan.Spawn | plan.Ask | plan.Strike | plan.Settle | plan.GiveUp, now: float) -> None:
        match step:
            case plan.Spawn():
                self._staff.spawn(step, now)
            case plan.Ask():
                self._staff.ask(step, now)
            case plan.Strike():
                self._staff.strike(step)
            case plan.Settle():
                self._reloading.settle()
            case plan.GiveUp():
                self._reloading.give_up(step)
            case _:
                assert_never(step)

    def _mind_the_gap(self, expected: float) -> None:
        now = self._desk.clock.mono()
        if now - expected > LATE_S:
            _log.warning("woke %.1fs late: the machine slept, and nobody is held to the deadlines", now - expected)
            self._desk.wish = replace(self._desk.wish, spare_until=now + SPARE_S)

    def _hear(self, source: object) -> None:
        if source is self._inbox:
            for number in self._inbox.take():
                self._hear_signal(number)
        elif isinstance(source, Channel) and self._takeover.is_ours(source):
            self._takeover.hear(source)
        else:
            pid = next((pid for pid, channel in self._desk.house.channels.items() if channel is source), None)
            if pid is not None:  # it may have been buried by what was heard just before
                self._staff.hear(pid)

    def _hear_signal(self, number: signal.Signals) -> None:
        desk = self._desk
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGTERM | signal.SIGINT:
                self._stop(number)
            case signal.SIGUSR1:
                self._reloading.reopen_logs()
            case signal.SIGHUP | signal.SIGUSR2 | signal.SIGTTIN | signal.SIGTTOU if desk.is_stopping:
                _log.warning("%s ignored: the house is closing", number.name)
            case signal.SIGTTIN:
                self._resize(desk.wish.places + 1)
            case signal.SIGTTOU:
                self._resize(desk.wish.places - 1)
            case signal.SIGHUP | signal.SIGUSR2 if self._takeover.is_under_way or desk.settled is None:
                if number == signal.SIGHUP:
                    _log.info("SIGHUP waits: not while starting, or while another program takes over")
                    self._is_reload_due = True
                else:
                    _log.warning("%s ignored: not while starting, or while another program takes over", number.name)
            case signal.SIGHUP:
                self._reloading.reload()
            case signal.SIGUSR2:
                self._takeover.begin(self._reloading.generations)
            case _:
                raise AssertionError(f"{number.name} is not one we take")

    def _catch_up(self) -> None:
        """Do the reload that had to wait; or have the new program do it, which may have read the configuration before."""
        desk = self._desk
        if not self._is_reload_due:
            return
        if desk.is_stopping:
            self._is_reload_due = False
            self._takeover.pass_on(signal.SIGHUP)
        elif not self._takeover.is_under_way and desk.settled is not None:
            self._is_reload_due = False
            self._reloading.reload()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._desk.roster.children:
                self._staff.bury(pid, status)
            elif self._takeover.is_successor(pid):
                self._takeover.died(status)  # anyone else is an orphan that came to us as process 1

    def _stop(self, number: signal.Signals) -> None:
        desk = self._desk
        now = desk.clock.mono()
        if desk.is_stopping:
            if now - self._stopped_mono < SAME_S:
                return
            _log.warning("%s again: stopping at once", number.name)
            desk.stop(Stop.NOW)
            return
        _log.info("%s: stopping; what is carried may finish within %gs", number.name, desk.wish.drain_s)
        self._stopped_mono = now
        desk.stop(Stop.DRAIN)
        desk.house.notifier.stopping()
        self._takeover.cancel()

    def _resize(self, places: int) -> None:
        desk = self._desk
        if not 1 <= places <= desk.house.most_places:
            _log.warning("still %d workers: there can be 1 to %d", desk.wish.places, desk.house.most_places)
            return
        if places > desk.wish.places:
            desk.house.grow(places - 1)
        desk.wish = replace(desk.wish, places=places)
        _log.info("%d workers from now on, until the next reload", places)

    def _close(self) -> None:
        desk = self._desk
        desk.move_pid_file(desk.regime.config.server.pid_file, None)
        self._takeover.close()
        self._watch.close()
        _log.info("stopped")
