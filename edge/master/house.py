"""
What the master holds: the estate, the open sockets, and a channel to every child.

It does what it is told, one thing at a time: let a child be born for a place, say a word to children, bury one. It
decides nothing and keeps no state of anybody's life; that is the roster's.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.master import spawn
from edge.master.roster import KEEPER, Child, State
from edge.observe.names import CACHE_EVICTED
from edge.share.channel import Channel, Word
from edge.share.heritage import Heritage

if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Iterable

    from edge.config.tree import Listener
    from edge.listen.bind import CannotListen
    from edge.listen.listening import Listening
    from edge.master.estate import Estate
    from edge.master.notify import Notifier
    from edge.master.regime import Regime
    from edge.observe.error_log import ErrorLog

BOOT_S: Final = 60.0
"""How long a child may take from its fork until it is ready."""
MAX_SHARE: Final = 0.3
"""Of the slots, how many may be wanted as workers: the rest is for the generations that come and go."""

_log = logging.getLogger("edge.master")


class NoRoom(Exception):  # noqa: N818 - the machine's limit, not our error
    """A child could not be made: no free slot, or the kernel refused to fork."""


@dataclass(slots=True)
class House:
    """
    What the master holds.

    Attributes:
        worker_main, keeper_main: what children run.
        error_log: the master's own.
        channels: by pid.
    """

    estate: Estate
    listening: Listening
    notifier: Notifier
    worker_main: spawn.Main | spawn.Lazy
    keeper_main: spawn.Main | spawn.Lazy
    error_log: ErrorLog
    channels: dict[int, Channel] = field(default_factory=dict)

    @property
    def most_places(self) -> int:
        """How many workers there may be."""
        return max(1, int(self.estate.scoreboard.slots * MAX_SHARE))

    def birth(self, regime: Regime, place: int, now_mono: float) -> Child:
        """
        Fork a child for *place*.

        Raises:
            NoRoom: it could not be made.
        """
        slot = self.estate.take_slot()
        if slot is None:
            raise NoRoom("every slot of the scoreboard is taken")
        row = self.estate.scoreboard.row(slot)
        is_keeper = place == KEEPER
        deadline = 0.0 if is_keeper else now_mono + BOOT_S
        row.deadline, row.generation, row.pid = deadline, regime.generation, os.getpid()
        ours, theirs = Channel.pair()
        heritage = Heritage(
            slot=slot,
            place=place,
            generation=regime.generation,
            config=regime.config,
            tls=None if is_keeper else regime.tls,
            scoreboard=self.estate.scoreboard,
            counters=self.estate.counters,
            stamps=self.estate.stamps,
            recency=self.estate.recency,
            bells=self.estate.bells,
            shunned=self.estate.shunned,
            uses=self.estate.uses,
            claims=self.estate.claims,
            fleet=self.estate.fleet,
            notices=self.estate.notices,
            crowd=self.estate.crowd,
            rates=self.estate.rates,
            under_way=self.estate.under_way,
            channel=theirs,
            listeners=[] if is_keeper else self._lend(regime.config.listeners, place),
            admin=None if is_keeper else self._admin(regime, place),
            operators=regime.operators,
            evicted_at=CACHE_EVICTED,
            origin_blocks=regime.origin_blocks,
            route_blocks=regime.route_blocks,
            credentials={} if is_keeper else regime.credentials,
            logs=regime.logs.fds,
        )
        main = self.keeper_main if is_keeper else self.worker_main
        try:
            pid = spawn.spawn(heritage, main, regime.somebody, keep=(self.error_log.sink.fileno(),))
        except OSError as error:
            row.clear()
            ours.close()
            raise NoRoom(f"cannot fork: {error.strerror}") from error
        finally:
            theirs.close()
        row.pid = pid
        self.channels[pid] = ours
        return Child(pid, slot, place, regime.generation, now_mono, deadline)

    def _lend(self, listeners: Iterable[Listener], place: int) -> list[tuple[Listener, socket.socket]]:
        return [
            (listener, sock) for listener in listeners for sock in self.listening.queues[listener.address].lend(place)
        ]

    def _admin(self, regime: Regime, place: int) -> socket.socket | None:
        admin = regime.config.admin.listener
        return self.listening.queues[admin.address].lend(place)[0] if admin else None

    def say(self, pid: int, word: Word, payload: bytes = b"", fds: Iterable[int] = ()) -> None:
        """Say *word* to a child; if it is dead already, nothing happens."""
        if pid in self.channels:
            self.channels[pid].send(word, payload, tuple(fds))

    def strike(self, pid: int, signum: signal.Signals) -> None:
        """Send a child a signal. Its pid is ours until it is reaped, so nobody else can be meant."""
        os.kill(pid, signum)

    def bury(self, child: Child, *, is_violent: bool) -> None:
        """
        Give back what a reaped child held.

        A child that was killed may have died between a commit to the store and the bump of its stamp: then nobody's
        memory is trusted any more.
        """
        self.channels.pop(child.pid).close()
        self.estate.give_back(child.slot)
        if is_violent:
            self.estate.stamps.bump_all()
        self.estate.bells.ring_all()  # its flights ended with it, and it cannot say so itself

    def hand_over(self, place: int, workers: Iterable[Child]) -> int:
        """
        Accept what is pending in the queues of *place* and let others serve it.

        Returns:
            How many connections were handed over.
        """
        heirs = [worker for worker in workers if worker.state is State.READY and worker.place != place]
        if not heirs:
            return 0
        count = 0
        for address, connections in self.listening.pending(place).items():
            for at, heir in enumerate(heirs):
                share = connections[at :: len(heirs)]
                if share:
                    self.say(heir.pid, Word.TAKE, address.encode(), [sock.fileno() for sock in share])
            for sock in connections:
                sock.close()
            count += len(connections)
        return count

    def open(self, regime: Regime) -> None:
        """
        Open what *regime* listens on.

        Raises:
            CannotListen: nothing has changed.
        """
        wanted = [(listener, listener.backlog) for listener in regime.listeners]
        self._say_shared(self.listening.open(wanted, regime.config.server.worker_count))

    def grow(self, place: int) -> None:
        """Open queues for one place more; where that fails it shares another's."""
        self._say_shared(self.listening.grow(place))

    @staticmethod
    def _say_shared(problems: Iterable[CannotListen]) -> None:
        for problem in problems:
            _log.warning("a worker shares another's queue: %s", problem)
