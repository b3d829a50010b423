"""
Both sides of ``USR2``, as the loop sees them: a program before us, a program after us.

At most one of each. Which of two masters is the service is :attr:`~edge.master.desk.Desk.is_main`; it changes hands in
one exchange of words: *ready* from the new one, and the same word back once systemd has been told.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Final

from edge.master import obituary, succession
from edge.master.plan import Stop
from edge.share.channel import Channel, Word

if TYPE_CHECKING:
    from edge.master.desk import Desk
    from edge.master.watch import Watch

_log = logging.getLogger("edge.master")

AGAIN_S: Final = 60.0
"""Between two attempts to kill a new program that hangs. The first will do; this is how often the loop looks."""


class Takeover:
    """Who came before *desk*'s master, and who comes after."""

    def __init__(self, desk: Desk, watch: Watch, predecessor: Channel | None) -> None:
        self._desk = desk
        self._watch = watch
        self._predecessor = predecessor
        self._successor: succession.Successor | None = None
        if predecessor is not None:
            desk.is_main = False
            watch.add(predecessor)

    @property
    def is_under_way(self) -> bool:
        """Whether two masters are here: nothing else should be begun."""
        return self._successor is not None or not self._desk.is_main

    # The old side.

    def begin(self, generations: int) -> None:
        """Start the new program."""
        desk = self._desk
        try:
            successor = succession.begin(desk.house, generations, desk.regime, desk.clock.mono())
        except OSError as error:
            _log.error("cannot start the new program: %s", error)
            return
        self._successor = successor
        self._watch.add(successor.channel)
        _log.info("started the new program (pid %d)", successor.pid)

    def patience(self, now: float) -> float | None:
        """Return how long the new program may still take; end it when that is over."""
        successor = self._successor
        if successor is None or successor.is_main:
            return None
        if now >= successor.ready_by:
            _log.error("the new program (pid %d) is not ready in time and is ended", successor.pid)
            os.kill(successor.pid, signal.SIGKILL)
            successor.ready_by = now + AGAIN_S
        return successor.ready_by - now

    def cancel(self) -> None:
        """End a new program that has not taken over yet: we are stopping, and so is the service."""
        if self._successor is not None and not self._successor.is_main:
            os.kill(self._successor.pid, signal.SIGTERM)

    def pass_on(self, number: signal.Signals) -> None:
        """Send the new program a signal that was meant for the service, if that is what it is."""
        if self._successor is not None and self._successor.is_main:
            os.kill(self._successor.pid, number)

    def is_successor(self, pid: int) -> bool:
        """Whether *pid* is the new program."""
        return self._successor is not None and self._successor.pid == pid

    def died(self, status: int) -> None:
        """Note that the new program has ended."""
        desk, successor = self._desk, self._successor
        assert successor is not None
        self._watch.remove(successor.channel)
        successor.channel.close()
        self._successor = None
        if not successor.is_main:
            desk.trouble = f"upgrade failed: the new program ended before it was ready ({obituary.cause(status)})"
            _log.error("%s; nothing has changed", desk.trouble)
            desk.house.listening.forget_steering()

    # Words.

    def is_ours(self, source: object) -> bool:
        """Whether *source* is a channel to another master."""
        return source is self._predecessor or (self._successor is not None and source is self._successor.channel)

    def hear(self, channel: Channel) -> None:
        """Take what the other master has said."""
        while (message := channel.receive_nowait()) is not None:
            if message.word is Word.GONE:
                self._watch.remove(channel)
            if channel is self._predecessor:
                self._hear_predecessor(message.word)
            elif message.word is Word.READY and self._successor is not None and not self._successor.is_main:
                self._hand_over(self._successor)
            if message.word is Word.GONE:
                return

    def _hand_over(self, successor: succession.Successor) -> None:
        desk = self._desk
        _log.info("the new program (pid %d) is ready and takes over", successor.pid)
        desk.house.notifier.main_pid(successor.pid)
        successor.is_main = True
        desk.is_main = False
        successor.channel.send(Word.READY)
        if not desk.is_stopping:
            desk.stop(Stop.DRAIN)

    # The new side.

    def announce(self) -> None:
        """Our first generation is complete: say so to whoever must know, or serve if there is nobody."""
        if self._desk.is_main:
            self._desk.begin_service()
        elif self._predecessor is not None:
            self._predecessor.send(Word.READY)

    def _hear_predecessor(self, word: Word) -> None:
        """The old master has told systemd who we are, or is gone: either way we are the service now."""
        desk = self._desk
        if word is Word.GONE and self._predecessor is not None:
            self._predecessor.close()
            self._predecessor = None
        if not desk.is_main:
            desk.is_main = True
            if desk.settled is not None:
                desk.begin_service()
            else:
                _log.warning("the old master was gone before we were ready")

    def close(self) -> None:
        """Say nothing more to anybody."""
        for channel in (self._predecessor, self._successor.channel if self._successor else None):
            if channel is not None:
                self._watch.remove(channel)
                channel.close()
