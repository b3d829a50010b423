"""
The master's loop: one input at a time, then whatever the plan says, then sleep.

The shell around the roster and the plan. Input is a signal, or a word on a channel; what it means is one ``match`` each.
Steps are taken one by one and noted in the roster, and the plan is asked again until it only wants to wait. Nothing here
blocks but the one select, and nothing but the plan decides about children.

It is one thread, without trio, and sleeps until the nearest deadline.

Source: Pitchfork ``monitor_loop``; nginx's reload.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from edge.config.diff import diff
from edge.config.schema import Change
from edge.listen.bind import CannotListen
from edge.master import certificates, obituary, pidfile, plan, regime, succession
from edge.master.house import NoRoom
from edge.master.plan import Stop, Wish
from edge.master.roster import KEEPER, Child, Roster, State
from edge.master.setbacks import Setbacks
from edge.observe import error_log
from edge.share.channel import Channel, Word

if TYPE_CHECKING:
    from pathlib import Path

    from edge.clock import Clock
    from edge.config.tree import Config
    from edge.master.house import House
    from edge.master.regime import Regime
    from edge.master.signals import Inbox

LATE_S: Final = 5.0
"""A turn that begins so much later than it should: the machine was suspended, or we were."""
SPARE_S: Final = 5.0
"""How long deadlines are not held against anyone after that: they slept, too."""
EMPTY_S: Final = 1.0
"""
How long a queue that the kernel was told to leave out stays open before it is emptied and closed: handshakes begun
before (their SYN chose the queue) are over by then, or are repeated by their clients.
"""

_log = logging.getLogger("edge.master")


class Master:
    """
    The running master.

    Args:
        path: of the configuration.
        house: what it holds.
        first: the regime to begin with; its sockets are open.
        inbox: where signals arrive.
        clock: where time is read.
        predecessor: the master whose sockets we took over, until it has gone.
    """

    def __init__(
        self,
        path: Path,
        house: House,
        first: Regime,
        *,
        inbox: Inbox,
        clock: Clock,
        predecessor: Channel | None = None,
    ) -> None:
        self.path = path
        self.house = house
        self.inbox = inbox
        self.clock = clock
        self.roster = Roster()
        self.setbacks = Setbacks()
        self.regime = first
        self.settled: Regime | None = None
        self.predecessor = predecessor
        self.successor: succession.Successor | None = None
        self.exit_code = 0
        self.wish = self._wish_for(first, settled=None)
        self._generations = first.generation
        self._is_main = predecessor is None
        self._is_reloading = False
        self._renewing: set[int] = set()
        self._trouble = ""
        self._vacant_since: dict[int, float] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(inbox, selectors.EVENT_READ)
        self._watched: dict[Channel, int] = {}
        self._deaf: set[Channel] = set()

    @staticmethod
    def _wish_for(regime: Regime, *, settled: int | None) -> Wish:
        config = regime.config
        return Wish(
            places=config.server.worker_count,
            generation=regime.generation,
            settled=settled,
            keeper=config.cache.path is not None,
            drain_s=config.server.drain_s,
        )

    # The loop.

    def run(self) -> int:
        """Live until told to stop; return the exit code."""
        watchdog_s = self.house.notifier.watchdog_s
        while (sleep_s := self._act()) is not None:
            if watchdog_s is not None:
                self.house.notifier.beat()
                sleep_s = min(sleep_s, watchdog_s)
            expected = self.clock.mono() + sleep_s
            ready = self._selector.select(sleep_s)
            self._mind_the_gap(expected)
            for key, _ in ready:
                self._hear(key.fileobj)
        self._close()
        return self.exit_code

    def _mind_the_gap(self, expected: float) -> None:
        now = self.clock.mono()
        if now - expected > LATE_S:
            _log.warning(
                "woke %.1fs late: the machine slept; nobody is held to the deadlines of that time", now - expected
            )
            self.wish = replace(self.wish, spare_until=now + SPARE_S)

    def _hear(self, source: object) -> None:
        match source:
            case Channel() if source is self.predecessor:
                self._hear_predecessor(source)
            case Channel() if self.successor is not None and source is self.successor.channel:
                self._hear_successor(self.successor)
            case Channel():
                pid = next((pid for pid, channel in self.house.channels.items() if channel is source), None)
                if pid is not None:
                    self._hear_child(pid, source)
            case _:
                for number in self.inbox.take():
                    self._hear_signal(number)

    def _act(self) -> float | None:
        """Take steps until there is only waiting left; return for how long, or None when all is over."""
        while True:
            now = self.clock.mono()
            for child in self.roster.children.values():
                child_row = self.house.estate.scoreboard.row(child.slot)
                self.roster.seen(child.pid, child_row.deadline)
            steps = plan.plan(self.wish, self.roster, self.setbacks, now)
            for step in steps:
                match step:
                    case plan.Wait(seconds):
                        if len(steps) == 1:
                            tended = self._tend_queues(now)
                            self._say_status()
                            self._watch()
                            waits = [wait for wait in (seconds, tended, self._patience(now)) if wait is not None]
                            return min(waits, default=3600.0)
                    case plan.Finish():
                        return None
                    case _:
                        self._take(step, now)

    def _take(self, step: plan.Spawn | plan.Ask | plan.Strike | plan.Settle | plan.GiveUp, now: float) -> None:
        match step:
            case plan.Spawn(place):
                self._spawn(place, now)
            case plan.Ask(pid, kill_by):
                self.house.estate.scoreboard.row(self.roster.children[pid].slot).ready = False
                self.roster.asked(pid, now, kill_by)
                self.house.say(pid, Word.LEAVE)
            case plan.Strike(pid, signum, why, kill_by):
                child = self.roster.children[pid]
                level = logging.INFO if self.wish.stop is Stop.NOW else logging.ERROR
                _log.log(level, "%s (pid %d) %s: %s", child.name, pid, why, signum.name)
                self.roster.struck(pid, why, kill_by)
                self.house.strike(pid, signum)
            case plan.Settle():
                self._settle()
            case plan.GiveUp(place, why):
                self._give_up(place, why)
            case _:
                assert_never(step)

    def _watch(self) -> None:
        """Watch every channel that can still say something; those with words waiting for room also for room."""
        channels = {*self.house.channels.values()}
        channels |= {self.successor.channel} if self.successor else set()
        channels |= {self.predecessor} if self.predecessor else set()
        for channel in channels - self._deaf:
            channel.flush()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.wants_write else 0)
            if self._watched.get(channel) is None:
                self._selector.register(channel, events)
            elif self._watched[channel] != events:
                self._selector.modify(channel, events)
            self._watched[channel] = events
        for channel in self._deaf & self._watched.keys():
            self._selector.unregister(channel)
            del self._watched[channel]

    def _unwatch(self, channel: Channel) -> None:
        """Stop watching a channel that is about to be closed: its descriptor's number will be another's."""
        if self._watched.pop(channel, None) is not None:
            self._selector.unregister(channel)
        self._deaf.discard(channel)

    def _patience(self, now: float) -> float | None:
        """How long a successor may still take; strike it when that is over."""
        if self.successor is None or self.successor.is_main:
            return None
        if now >= self.successor.ready_by:
            _log.error("the new program (pid %d) is not ready in time and is ended", self.successor.pid)
            os.kill(self.successor.pid, signal.SIGKILL)
            self.successor.ready_by = now + 60.0
        return self.successor.ready_by - now

    # Signals.

    def _hear_signal(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGTERM | signal.SIGINT:
                self._stop(number)
            case signal.SIGHUP:
                self._reload()
            case signal.SIGUSR1:
                self._reopen_logs()
            case signal.SIGUSR2:
                self._upgrade()
            case signal.SIGTTIN:
                self._resize(+1)
            case signal.SIGTTOU:
                self._resize(-1)
            case _:
                raise AssertionError(f"{number.name} is not one we take")

    def _stop(self, number: signal.Signals) -> None:
        if self.wish.stop is Stop.NO:
            _log.info("%s: stopping; what is carried may finish within %gs", number.name, self.wish.drain_s)
            self._stop_listening(remove_paths=True)
            self.wish = replace(self.wish, stop=Stop.DRAIN)
            self.house.notifier.stopping()
            if self.successor is not None and not self.successor.is_main:
                succession.end(self.successor)
        else:
            _log.warning("%s again: stopping at once", number.name)
            self.wish = replace(self.wish, stop=Stop.NOW)

    def _stop_listening(self, *, remove_paths: bool) -> None:
        """Close our copies at once, so that nobody is let in whom no worker will accept; workers hold theirs."""
        self.house.listening.close(remove_paths=remove_paths)

    def _resize(self, change: int) -> None:
        places = self.wish.places + change
        if self.wish.stop is not Stop.NO or not 1 <= places <= self.house.most_places:
            _log.warning("still %d workers: there can be 1 to %d", self.wish.places, self.house.most_places)
            return
        if change > 0:
            self.house.grow(places - 1)
        self.wish = replace(self.wish, places=places)
        _log.info("%d workers from now on, until the next reload", places)

    def _reopen_logs(self) -> None:
        logs = self.regime.logs
        try:
            logs.reopen()
        except OSError as error:
            _log.error("logs stay as they are: %s", error)
            return
        if "errors" in logs.fds:
            self.house.error_log.replace(os.dup(logs.fds["errors"]))
        names, fds = ",".join(logs.fds).encode(), list(logs.fds.values())
        for child in self.roster.children.values():
            if child.generation == self.regime.generation:
                self.house.say(child.pid, Word.REOPEN_LOGS, names, fds)
        _log.info("logs reopened")

    # Reloading.

    def _reload(self) -> None:
        if self.wish.stop is not Stop.NO or self.successor is not None or not self._is_main:
            _log.warning("SIGHUP ignored: this master is leaving, or about to be replaced")
            return
        self.house.notifier.reloading(self.clock.mono())
        self._is_reloading = True
        try:
            config, warnings = regime.read(self.path)
            for warning in warnings:
                _log.warning("%s", warning)
            if diff(self.regime.config, config) <= Change.CERTIFICATES:
                self._renew_certificates(config)
            else:
                self._begin_generation(config)
        except (regime.Refused, CannotListen) as refused:
            reasons = refused.reasons if isinstance(refused, regime.Refused) else (str(refused),)
            for reason in reasons:
                _log.error("reload refused, nothing changed: %s", reason)
            self._reloaded(trouble=f"reload refused: {reasons[0]}")

    def _reloaded(self, *, trouble: str = "") -> None:
        """A reload is over, well or not."""
        self._trouble = trouble
        if self._is_reloading:
            self._is_reloading = False
            self._say_status()
            self.house.notifier.ready()

    def _renew_certificates(self, config: Config) -> None:
        """Take over *config*, in which nothing that workers read has changed but certificates, and read those anew."""
        before = self.regime.config.server.pid_file
        news = certificates.renew(self.regime.tls, config)
        self.regime.config = config
        after = config.server.pid_file
        if self._is_main and before != after:
            self._move_pid_file(before, after)
        if news is None:
            _log.info("reloaded: nothing has changed")
            self._reloaded()
            return
        for child in self.roster.workers():
            if child.stays and child.generation == self.regime.generation:
                self.house.say(child.pid, Word.RELOAD_CERTS, news.payload, news.fds)
                self._renewing.add(child.pid)
        news.close()
        _log.info("reloaded: certificates only, for %d workers", len(self._renewing))
        self._certificates_taken(None)

    def _certificates_taken(self, child: Child | None, why_not: str = "") -> None:
        """Note that *child* has new certificates, could not take them, or is dead."""
        if child is not None:
            self._renewing.discard(child.pid)
            if why_not:
                _log.error("%s cannot take the new certificates and is renewed: %s", child.name, why_not)
                self._begin_generation(self.regime.config)
                return
        if not self._renewing and self.regime is self.settled:
            self._reloaded()

    def _begin_generation(self, config: Config) -> None:
        fresh = regime.make(self._generations + 1, config, self.regime.origin_blocks)
        try:
            self.house.open(fresh)
        except CannotListen:
            fresh.logs.close()
            raise
        abandoned = self.regime if self.regime is not self.settled else None
        if abandoned is not None:
            abandoned.logs.close()
        self._generations = fresh.generation
        _log.info("generation %d begins", fresh.generation)
        settled = self.settled.generation if self.settled else None
        self.regime = fresh
        self.setbacks.forget()
        self.wish = replace(self._wish_for(fresh, settled=settled), spare_until=self.wish.spare_until)

    def _settle(self) -> None:
        """The wished generation is complete."""
        before, self.settled = self.settled, self.regime
        config = self.regime.config
        self.wish = replace(self.wish, settled=self.regime.generation)
        self.house.listening.close_except(self.regime.addresses)
        if before is not None and before is not self.regime:
            before.logs.close()
            if before.config.log != config.log:
                self._set_up_log(config)
            if before.config.server.pid_file != config.server.pid_file:
                self._move_pid_file(before.config.server.pid_file, None)
        _log.info("generation %d is complete: %d workers", self.regime.generation, self.wish.places)
        if self.predecessor is not None and not self._is_main:
            self.predecessor.send(Word.READY)  # it will answer when it has told systemd who we are
        elif self._is_main:
            self._begin_service()

    def _set_up_log(self, config: Config) -> None:
        fd = self.regime.logs.fds.get("errors")
        self.house.error_log = error_log.set_up(
            config.log.errors, level=config.log.level, fd=None if fd is None else os.dup(fd)
        )

    def _begin_service(self) -> None:
        """Everyone who should know that we serve is told."""
        self._move_pid_file(None, self.regime.config.server.pid_file)
        is_reload = self._is_reloading
        self._reloaded()
        if not is_reload:
            self._say_status()
            self.house.notifier.ready()

    def _move_pid_file(self, before: Path | None, after: Path | None) -> None:
        if before is not None:
            pidfile.remove(before, os.getpid())
        if after is not None:
            try:
                pidfile.write(after, os.getpid())
            except OSError as error:
                _log.error("cannot write the pid file: %s", error)

    # Another program.

    def _upgrade(self) -> None:
        if self.wish.stop is not Stop.NO or self.successor is not None or self.settled is None or not self._is_main:
            _log.warning("SIGUSR2 ignored: not while starting, stopping, or being replaced already")
            return
        try:
            self.successor = succession.begin(
                self.house, self._generations, self.regime.origin_blocks, self.clock.mono()
            )
        except OSError as error:
            _log.error("cannot start the new program: %s", error)
            return
        _log.info("started the new program (pid %d)", self.successor.pid)

    def _hear_successor(self, successor: succession.Successor) -> None:
        while (message := successor.channel.receive_nowait()) is not None:
            if message.word is Word.GONE:
                self._deaf.add(successor.channel)
                return
            if message.word is Word.READY and not successor.is_main:
                successor.is_main = True
                self._is_main = False
                _log.info("the new program (pid %d) is ready and takes over", successor.pid)
                self.house.notifier.main_pid(successor.pid)
                successor.channel.send(Word.READY)
                self._stop_listening(remove_paths=False)
                self.wish = replace(self.wish, stop=Stop.DRAIN)

    def _successor_died(self, status: int) -> None:
        successor = self.successor
        if successor is None:
            return
        self._unwatch(successor.channel)
        successor.channel.close()
        self.successor = None
        if not successor.is_main:
            self._trouble = f"upgrade failed: the new program ended before it was ready ({obituary.cause(status)})"
            _log.error("%s; nothing has changed", self._trouble)
            self.house.listening.forget_steering()

    def _hear_predecessor(self, channel: Channel) -> None:
        """The old master has told systemd who we are, or is dead: either way we are the service now."""
        while (message := channel.receive_nowait()) is not None:
            if not self._is_main and self.settled is not None:
                self._is_main = True
                self._begin_service()
            if message.word is Word.GONE:
                if not self._is_main:
                    _log.warning("the old master is gone before we were ready")
                    self._is_main = True
                self._unwatch(channel)
                channel.close()
                self.predecessor = None
                return

    def _give_up(self, place: int, why: str) -> None:
        """The wished generation cannot start: return to the one before it, or end if there is none."""
        sentence = f"worker {place} died {plan.BOOT_LIMIT} times before it was ready; the last time: {why or 'no reason known'}"
        if self.settled is None:
            _log.critical("giving up: %s", sentence)
            self.house.notifier.status(f"giving up: {sentence}")
            self.exit_code = 1
            self._stop_listening(remove_paths=self._is_main)
            self.wish = replace(self.wish, stop=Stop.NOW)
            return
        failed, self.regime = self.regime, self.settled
        _log.error(
            "generation %d is given up, generation %d goes on: %s", failed.generation, self.regime.generation, sentence
        )
        self.setbacks.forget()
        self.wish = self._wish_for(self.regime, settled=self.regime.generation)
        failed.logs.close()
        self.house.listening.close_except(self.regime.addresses)
        self._reloaded(trouble=f"reload failed: {sentence}")

    # Children.

    def _spawn(self, place: int, now: float) -> None:
        try:
            self.roster.forked(self.house.birth(self.regime, place, now))
        except NoRoom as no_room:
            wait_s = self.setbacks.met(place, now_mono=now, ready_s=0.0, reason=str(no_room))
            _log.error("no new child for place %d: %s; next attempt in %gs", place, no_room, wait_s)

    def _hear_child(self, pid: int, channel: Channel) -> None:
        channel.flush()
        while (message := channel.receive_nowait()) is not None:
            child = self.roster.children[pid]
            for fd in message.fds:  # no child sends any: whatever it is, it is not kept
                os.close(fd)
            match message.word:
                case Word.READY:
                    self.roster.said_ready(pid, self.clock.mono())
                    if child.state is State.READY:
                        self.setbacks.became_ready(child.place)
                        self.house.estate.scoreboard.row(child.slot).ready = True
                case Word.FAILED:
                    self.roster.said_failed(pid, message.payload.decode("utf-8", "replace"))
                case Word.RELOADED:
                    self._certificates_taken(child, why_not=message.payload.decode("utf-8", "replace"))
                case Word.GONE:
                    self._deaf.add(channel)
                    return
                case _:
                    _log.warning("%s said %s, which is not for it to say", child.name, message.word.name)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.roster.children:
                self._bury(pid, status)
            elif self.successor is not None and pid == self.successor.pid:
                self._successor_died(status)

    def _bury(self, pid: int, status: int) -> None:
        now = self.clock.mono()
        channel = self.house.channels[pid]
        self._hear_child(pid, channel)  # its last words
        self._unwatch(channel)
        child = self.roster.children[pid]
        self.roster.seen(pid, self.house.estate.scoreboard.row(child.slot).deadline)
        line = obituary.obituary(child, status, now)
        self.roster.died(pid)
        if pid in self._renewing:
            self._renewing.discard(pid)
            self._certificates_taken(None)
        self.house.bury(child, is_violent=os.WIFSIGNALED(status))
        if obituary.is_peaceful(child, status):
            _log.info("%s", line)
            return
        _log.error("%s", line)
        if not child.was_asked and self.wish.stop is Stop.NO and child.generation == self.wish.generation:
            self._mourn(child, status, now)

    def _mourn(self, child: Child, status: int, now: float) -> None:
        """Note a death nobody asked for."""
        service_began = child.born_mono if child.is_keeper else child.ready_mono
        reason = child.reason or obituary.cause(status)
        wait_s = self.setbacks.met(
            child.place,
            now_mono=now,
            ready_s=None if service_began is None else now - service_began,
            reason=reason,
        )
        if wait_s:
            _log.error("%s keeps dying: the next one starts in %gs", child.name, wait_s)

    # Queues.

    def _tend_queues(self, now: float) -> float | None:
        """
        Let nobody wait in a queue that nobody empties.

        Returns:
            When to look again, in seconds; None: when something happens.
        """
        if self.wish.stop is not Stop.NO or self.settled is None:
            return None
        accepting = plan.accepting(self.wish, self.roster)
        self.house.listening.steer(accepting or range(self.wish.places))
        holders = {child.place for child in self.roster.workers() if child.stays}
        spare = self.house.listening.spare_places(self.wish.places)
        vacant = (spare | set(range(self.wish.places))) - holders
        self._vacant_since = {place: self._vacant_since.get(place, now) for place in vacant}
        again = None
        for place, since in self._vacant_since.items():
            if now - since < EMPTY_S:
                again = min(again or EMPTY_S, EMPTY_S - (now - since))
                continue
            if not accepting:  # nobody to hand anything to: whatever waits is no worse off in the queue
                continue
            count = self.house.hand_over(place, self.roster.workers())
            if count:
                _log.info("%d connections waiting for worker %d were handed to others", count, place)
            if place >= self.wish.places:
                self.house.listening.give_up(place)
            else:
                again = EMPTY_S
        return again

    # What others are told.

    def _say_status(self) -> None:
        ready = sum(child.state is State.READY for child in self.roster.workers())
        leaving = sum(child.state is State.LEAVING for child in self.roster.workers())
        if self.wish.stop is not Stop.NO:
            words = f"stopping: {len(self.roster.workers())} workers finish what they carry"
        else:
            words = f"generation {self.regime.generation}: {ready} of {self.wish.places} workers ready"
            words += f", {leaving} leaving" if leaving else ""
            words += "".join(f"; {trouble}" for trouble in (self._trouble, self._crash_loops()) if trouble)
        if self._is_main:
            self.house.notifier.status(words)

    def _crash_loops(self) -> str:
        waiting = self.setbacks.waiting(self.clock.mono())
        names = ", ".join("keeper" if place == KEEPER else f"worker {place}" for place in waiting)
        return f"keeps dying and is waited for: {names} ({self.setbacks.last_reason(waiting[0])})" if waiting else ""

    def _close(self) -> None:
        path = self.regime.config.server.pid_file
        if path is not None:
            pidfile.remove(path, os.getpid())
        self.house.listening.close(remove_paths=self._is_main)
        for channel in (self.predecessor, self.successor and self.successor.channel):
            if channel:
                self._unwatch(channel)
                channel.close()
        self._selector.close()
        _log.info("stopped")
