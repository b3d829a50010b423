"""
Who exists: every child of the master, and the state each is in.

Pure bookkeeping: it changes only when told of a fork, a word, a decision or a death, and decides nothing. What
should be done about it is the plan's; doing it is the loop's. It knows no clock, sockets or signals.

A child's states and what moves it from one to the next are :data:`MOVES`, the whole machine on one screen.

Invariant: a slot belongs to at most one child.
Source: Pitchfork ``children.rb`` and ``worker.rb``; Varnish ``mgt_child.c`` (named states).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final

KEEPER: Final = -1
"""The place of the keeper, which accepts nothing."""


class State(Enum):
    """What is true of a child in each state."""

    STARTING = "starting"  # forked, takes no connections yet; its deadline is the one written before the fork
    READY = "ready"  # takes connections; it renews its deadline itself
    LEAVING = "leaving"  # was asked to go and takes no new connections; patience ends at kill_by
    DOOMED = "doomed"  # was sent a signal that ends it; only its death can follow (a harder signal at kill_by)
    DEAD = "dead"  # reaped; no longer in the roster


class Event(Enum):
    """What can happen to a child."""

    SAID_READY = "said ready"
    ASKED = "asked to leave"
    STRUCK = "struck"  # by a signal of ours
    DIED = "died"


MOVES: Final[dict[tuple[State, Event], State]] = {
    (State.STARTING, Event.SAID_READY): State.READY,
    (State.STARTING, Event.ASKED): State.LEAVING,
    (State.STARTING, Event.STRUCK): State.DOOMED,
    (State.STARTING, Event.DIED): State.DEAD,
    (State.READY, Event.SAID_READY): State.READY,  # twice says nothing new
    (State.READY, Event.ASKED): State.LEAVING,
    (State.READY, Event.STRUCK): State.DOOMED,
    (State.READY, Event.DIED): State.DEAD,
    (State.LEAVING, Event.SAID_READY): State.LEAVING,  # said before it heard us
    (State.LEAVING, Event.STRUCK): State.DOOMED,
    (State.LEAVING, Event.DIED): State.DEAD,
    (State.DOOMED, Event.SAID_READY): State.DOOMED,
    (State.DOOMED, Event.STRUCK): State.DOOMED,
    (State.DOOMED, Event.DIED): State.DEAD,
}
"""What is not here (asking one who is already leaving or doomed) is a bug of the plan."""


@dataclass(slots=True)
class Child:
    """
    One child.

    Attributes:
        pid: its process.
        slot: its row in the shared pages.
        place: which queues it was lent; KEEPER for the keeper.
        generation: of its configuration.
        born_mono: when it was forked.
        deadline: as last seen on the scoreboard, monotonic; 0.0 = it may take as long as it likes.
        ready_mono: when it said that it is ready, or None.
        kill_by: when our patience with a leaving or doomed child ends.
        was_asked: it leaves because we asked; its end is no setback.
        reason: what it said of its own failure, or why we struck it.
    """

    pid: int
    slot: int
    place: int
    generation: int
    born_mono: float
    deadline: float = 0.0
    state: State = State.STARTING
    ready_mono: float | None = None
    kill_by: float = inf
    was_asked: bool = False
    reason: str = ""

    @property
    def is_keeper(self) -> bool:
        """Whether it is the keeper."""
        return self.place == KEEPER

    @property
    def stays(self) -> bool:
        """Whether it takes connections or is about to."""
        return self.state is State.STARTING or self.state is State.READY

    @property
    def name(self) -> str:
        """What logs call it."""
        return "keeper" if self.is_keeper else f"worker {self.place}"


@dataclass(slots=True)
class Roster:
    """All children by pid. Methods are the only way to change it."""

    children: dict[int, Child] = field(default_factory=dict)
    last_asked_mono: float = -inf

    def forked(self, child: Child) -> None:
        """Note a new child."""
        assert child.pid not in self.children
        assert all(child.slot != other.slot for other in self.children.values()), "a slot has one holder"
        self.children[child.pid] = child

    def said_ready(self, pid: int, now_mono: float) -> None:
        """Note that a child takes connections now."""
        child = self._move(pid, Event.SAID_READY)
        if child.ready_mono is None:
            child.ready_mono = now_mono

    def said_failed(self, pid: int, reason: str) -> None:
        """Note why a child says it cannot start. It is still alive: its death will follow."""
        self.children[pid].reason = reason

    def asked(self, pid: int, now_mono: float, kill_by: float) -> None:
        """Note that a child was asked to leave."""
        child = self._move(pid, Event.ASKED)
        child.was_asked = True
        child.kill_by = kill_by
        self.last_asked_mono = now_mono

    def struck(self, pid: int, reason: str, kill_by: float) -> None:
        """Note that a child was sent a signal that should end it, and when to send a harder one."""
        child = self._move(pid, Event.STRUCK)
        child.reason = child.reason or reason
        child.kill_by = kill_by

    def seen(self, pid: int, deadline: float) -> None:
        """Note the deadline found in a child's row."""
        self.children[pid].deadline = deadline

    def died(self, pid: int) -> Child:
        """Take a reaped child off the roster; its ``state`` stays what it was before, for the obituary."""
        child = self.children[pid]
        before = child.state
        self._move(pid, Event.DIED)
        child.state = before
        del self.children[pid]
        return child

    def workers(self) -> list[Child]:
        """Every worker, by place, the oldest first."""
        found = [child for child in self.children.values() if not child.is_keeper]
        return sorted(found, key=lambda child: (child.place, child.generation, child.born_mono))

    def keepers(self) -> list[Child]:
        """Every keeper: one, or none."""
        return [child for child in self.children.values() if child.is_keeper]

    def current(self, place: int, generation: int) -> Child | None:
        """Return who holds *place* for *generation*, ready or starting."""
        return next(
            (
                child
                for child in self.children.values()
                if child.place == place and child.generation == generation and child.stays
            ),
            None,
        )

    def _move(self, pid: int, event: Event) -> Child:
        child = self.children[pid]
        to = MOVES.get((child.state, event))
        assert to is not None, f"{child.name} is {child.state.value} and cannot have been {event.value}"
        child.state = to
        return child

    def __repr__(self) -> str:
        who = ", ".join(f"{child.name}:{child.pid} {child.state.value}" for child in self.children.values())
        return f"<Roster {who or 'nobody'}>"
