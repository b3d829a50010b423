"""
Taking the plan's steps with children, and hearing what becomes of them.

Every birth, word and death passes here on its way to the roster. What to do about it is asked of the plan next.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from edge.master import obituary, plan
from edge.master.house import NoRoom
from edge.master.plan import Stop
from edge.master.roster import State
from edge.share.channel import Word

if TYPE_CHECKING:
    from edge.master.desk import Desk
    from edge.master.reloading import Reloading
    from edge.master.roster import Child
    from edge.master.watch import Watch

_log = logging.getLogger("edge.master")


class Staff:
    """The children of *desk*."""

    def __init__(self, desk: Desk, watch: Watch, reloading: Reloading) -> None:
        self._desk = desk
        self._watch = watch
        self._reloading = reloading

    def look(self) -> None:
        """Note every child's deadline, as its row has it now."""
        desk = self._desk
        for child in desk.roster.children.values():
            desk.roster.seen(child.pid, desk.house.estate.scoreboard.row(child.slot).deadline)

    def spawn(self, step: plan.Spawn, now: float) -> None:
        """Fork a child; if that cannot be, wait as for one that died."""
        desk = self._desk
        try:
            child = desk.house.birth(desk.regime, step.place, now)
        except NoRoom as no_room:
            wait_s = desk.setbacks.met(step.place, now_mono=now, ready_s=0.0, reason=str(no_room))
            _log.error("no new child for place %d: %s; next attempt in %gs", step.place, no_room, wait_s)
            return
        desk.roster.forked(child)
        self._watch.add(desk.house.channels[child.pid])

    def ask(self, step: plan.Ask, now: float) -> None:
        """Ask a child to leave."""
        desk = self._desk
        desk.house.estate.scoreboard.row(desk.roster.children[step.pid].slot).ready = False
        desk.roster.asked(step.pid, now, step.kill_by)
        desk.house.say(step.pid, Word.LEAVE)

    def strike(self, step: plan.Strike) -> None:
        """Send a child a signal that ends it."""
        desk = self._desk
        child = desk.roster.children[step.pid]
        level = logging.INFO if desk.wish.stop is Stop.NOW else logging.ERROR
        _log.log(level, "%s (pid %d) %s: %s", child.name, step.pid, step.why, step.signum.name)
        desk.roster.struck(step.pid, step.why, step.kill_by)
        desk.house.strike(step.pid, step.signum)

    def hear(self, pid: int) -> None:
        """Take what a child has said."""
        channel = self._desk.house.channels[pid]
        channel.flush()
        while (message := channel.receive_nowait()) is not None:
            for fd in message.fds:  # no child has any to send: whatever it is, it is not kept
                os.close(fd)
            if message.word is Word.GONE:  # it is dying, and SIGCHLD will say so; or it has closed its end, and is deaf
                self._watch.remove(channel)
                return
            self._heard(self._desk.roster.children[pid], message.word, message.payload.decode("utf-8", "replace"))

    def _heard(self, child: Child, word: Word, payload: str) -> None:
        desk = self._desk
        match word:
            case Word.READY:
                desk.roster.said_ready(child.pid, desk.clock.mono())
                if child.state is State.READY:
                    desk.setbacks.became_ready(child.place)
                    desk.house.estate.scoreboard.row(child.slot).ready = not child.is_keeper
            case Word.FAILED:
                desk.roster.said_failed(child.pid, payload)
            case Word.RELOADED:
                self._reloading.renewed(child, why_not=payload)
            case _:
                _log.warning("%s said %s, which is not for it to say", child.name, word.name)

    def bury(self, pid: int, status: int) -> None:
        """Note that a child has been reaped: hear its last words, say its obituary, give back what it held."""
        desk = self._desk
        now = desk.clock.mono()
        child = desk.roster.children[pid]
        self.hear(pid)
        self._watch.remove(desk.house.channels[pid])
        desk.roster.seen(pid, desk.house.estate.scoreboard.row(child.slot).deadline)
        line = obituary.obituary(child, status, now)
        desk.roster.died(pid)
        desk.house.bury(child, is_violent=os.WIFSIGNALED(status))
        self._reloading.died(pid)
        if obituary.is_peaceful(child, status):
            _log.info("%s", line)
            return
        _log.error("%s", line)
        if not child.was_asked and not desk.is_stopping and child.generation == desk.wish.generation:
            self._mourn(child, status, now)

    def _mourn(self, child: Child, status: int, now: float) -> None:
        """Note a death nobody asked for. The keeper serves from its birth: nobody waits for it to be ready."""
        service_began = child.born_mono if child.is_keeper else child.ready_mono
        wait_s = self._desk.setbacks.met(
            child.place,
            now_mono=now,
            ready_s=None if service_began is None else now - service_began,
            reason=child.reason or obituary.cause(status),
        )
        if wait_s:
            _log.error("%s keeps dying: the next one starts in %gs", child.name, wait_s)
