"""
What to do now: every rule of starting, replacing, renewing and ending children.

Pure: :func:`plan` looks at what is wished, who exists and what time it is, and returns steps; the loop takes them
and calls again. It remembers nothing itself, so every rule is one row of a table test.

The rules:

- Every wished place has one child of the wished generation. One that died is replaced, after what its setbacks ask.
- A new generation is complete (every place ready) before anyone of an older one is asked to leave; then they are asked
  one after the other, a little apart, so that their clients do not all come back at once.
- A generation overtaken by another before it was complete leaves at once where an older one holds the place, or
  reloads in quick succession would fill the machine.
- A generation that cannot become ready is given up: the one before it was never touched. If there is none before it, the
  master ends.
- Who is asked to leave has the drain time to finish and is killed after it.
- Who has let its deadline pass is struck with SIGABRT, whose handler writes where it hung, then with SIGKILL.
- There is one keeper, never two: an old one is gone before a new one starts.
- Stopping asks everyone; a second time kills everyone.

Source: nginx (reload), Pitchfork ``monitor_loop``, gunicorn (TTIN/TTOU).
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

from edge.master.roster import KEEPER, Child, Roster, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.master.setbacks import Setbacks

BOOT_LIMIT: Final = 4
"""Children of one place that may die before they are ready until their generation is given up: about 1 s of trying."""
ASK_APART_S: Final = 0.05
"""Between two requests to leave on a reload."""
LEAVE_GRACE_S: Final = 5.0
"""What a leaving child gets on top of the drain time: it cuts what is left itself, more politely than SIGKILL."""
ABORT_S: Final = 2.0
"""How long SIGABRT's handler may write where the child hung."""


class Stop(Enum):
    """Whether the house is closing."""

    NO = "no"
    DRAIN = "drain"  # everyone finishes what they carry
    NOW = "now"  # nobody finishes anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """
    How things should be.

    Attributes:
        places: workers wanted.
        generation: of the configuration they should serve.
        settled: the last generation that was complete; None while the first has not been.
        keeper: whether a keeper is wanted.
        drain_s: how long a leaving child may finish what it carries.
        stop: whether we are closing.
        spare_until: deadlines before this monotonic second are not held against anyone: the machine slept.
    """

    places: int
    generation: int
    settled: int | None
    keeper: bool
    drain_s: float
    stop: Stop = Stop.NO
    spare_until: float = -inf


@dataclass(frozen=True, slots=True)
class Spawn:
    """Fork a child for *place*."""

    place: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a child to leave; it has until *kill_by*."""

    pid: int
    kill_by: float


@dataclass(frozen=True, slots=True)
class Strike:
    """Send a child *signum*; a harder one is due at *kill_by*."""

    pid: int
    signum: signal.Signals
    why: str
    kill_by: float


@dataclass(frozen=True, slots=True)
class Settle:
    """The wished generation is complete: it is the one to return to from now on."""

    generation: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The wished generation cannot start."""

    place: int
    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Everyone has left."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing else is due for so many seconds; None: until something happens. Always the last step."""

    seconds: float | None


Step = Spawn | Ask | Strike | Settle | GiveUp | Finish | Wait


def plan(wish: Wish, roster: Roster, setbacks: Setbacks, now: float) -> list[Step]:
    """
    Return what is due at *now* (monotonic), ending in how long to wait.

    After the steps are taken and noted in the roster, the same call returns only a Wait.
    """
    steps: list[Step] = []
    due: list[float] = []
    for child in list(roster.children.values()):
        steps += _patience(wish, child, now, due)
    struck = {step.pid for step in steps if isinstance(step, Strike)}
    if wish.stop is not Stop.NO:
        steps += _stopping(wish, roster, now, struck)
    else:
        steps += _staffing(wish, roster, setbacks, now, due, struck)
    if steps and isinstance(steps[-1], Finish | GiveUp):
        return steps
    steps.append(Wait(max(0.0, min(due) - now) if due else None))
    return steps


def accepting(wish: Wish, roster: Roster) -> tuple[int, ...]:
    """Return the places whose queues have somebody who empties them, in order."""
    return tuple(
        sorted({c.place for c in roster.workers() if c.state is State.READY and c.place < wish.places})
        if wish.stop is Stop.NO
        else ()
    )


def _patience(wish: Wish, child: Child, now: float, due: list[float]) -> Iterator[Step]:
    """End our patience with who hangs, or lingers."""
    if wish.stop is Stop.NOW and child.state is not State.DOOMED:
        yield Strike(child.pid, signal.SIGKILL, "stopped at once", inf)
        return
    if child.state is State.DOOMED or child.state is State.LEAVING:
        kill_by = max(child.kill_by, wish.spare_until)
        if now >= kill_by:
            yield Strike(child.pid, signal.SIGKILL, "did not finish in time", inf)
            return
        if kill_by < inf:
            due.append(kill_by)
    if child.state is not State.DOOMED and child.deadline:
        deadline = max(child.deadline, wish.spare_until)
        if now > deadline:
            why = "was not ready in time" if child.state is State.STARTING else "hung"
            yield Strike(child.pid, signal.SIGABRT, why, now + ABORT_S)
        else:
            due.append(deadline + 0.001)


def _stopping(wish: Wish, roster: Roster, now: float, struck: set[int]) -> Iterator[Step]:
    for child in roster.children.values():
        if child.stays and child.pid not in struck:
            yield _ask(wish, child, now)
    if not roster.children:
        yield Finish()


def _staffing(
    wish: Wish, roster: Roster, setbacks: Setbacks, now: float, due: list[float], struck: set[int]
) -> Iterator[Step]:
    if wish.settled != wish.generation:
        for place in range(wish.places):
            if setbacks.boots_failed(place) >= BOOT_LIMIT:
                yield GiveUp(place, setbacks.last_reason(place))
                return
    is_complete = True
    for place in range(wish.places):
        child = roster.current(place, wish.generation)
        if child is None:
            is_complete = False
            if now >= setbacks.not_before(place):
                yield Spawn(place)
            else:
                due.append(setbacks.not_before(place))
        elif child.state is not State.READY or child.pid in struck:
            is_complete = False
    if is_complete and wish.settled != wish.generation:
        yield Settle(wish.generation)
    yield from _keeping(wish, roster, setbacks, now, due)
    yield from _thinning(wish, roster, now, due, struck, may_renew=is_complete)


def _keeping(wish: Wish, roster: Roster, setbacks: Setbacks, now: float, due: list[float]) -> Iterator[Step]:
    """See to the keeper. It is renewed once its generation is settled, so that a failed reload leaves it alone."""
    if wish.settled != wish.generation:
        return
    keepers = roster.keepers()
    for keeper in keepers:
        if keeper.stays and (not wish.keeper or keeper.generation != wish.generation):
            yield _ask(wish, keeper, now)
    if wish.keeper and not keepers:
        if now >= setbacks.not_before(KEEPER):
            yield Spawn(KEEPER)
        else:
            due.append(setbacks.not_before(KEEPER))


def _thinning(
    wish: Wish, roster: Roster, now: float, due: list[float], struck: set[int], *, may_renew: bool
) -> Iterator[Step]:
    """Ask those to leave who have no place any more."""
    for child in roster.workers():
        if not child.stays or child.pid in struck:
            continue
        if child.generation == wish.generation:
            if child.place >= wish.places:
                yield _ask(wish, child, now)
        elif may_renew or _is_overtaken(wish, roster, child):
            next_ask = roster.last_asked_mono + ASK_APART_S
            if now < next_ask:
                due.append(next_ask)
            else:
                yield _ask(wish, child, now)
                due.append(now + ASK_APART_S)
            return


def _is_overtaken(wish: Wish, roster: Roster, child: Child) -> bool:
    """Whether *child* is of a generation that was begun after the settled one, which holds its place, and not settled."""
    return (
        wish.settled is not None
        and child.generation > wish.settled
        and roster.current(child.place, wish.settled) is not None
    )


def _ask(wish: Wish, child: Child, now: float) -> Ask:
    return Ask(child.pid, now + wish.drain_s + LEAVE_GRACE_S)
