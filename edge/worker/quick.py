"""
A miss without a task: the question is sent, and when its answer comes whole, the reply is, each within a turn.

Most misses are simple: the request has no body, a connection to the origin is there, and the answer arrives in one piece
that may be passed on, or stored, as it is. Such an exchange waits for one event, and a task, its scope and two switches for
that are a third of what it costs. So here it is a callback. Whatever turns out not to be simple (the answer comes in
parts, must be coded, is a failure that may be retried) is handed to a task (:meth:`SlowLane.go_on`), which carries on
from where this came; and what is done in either is the same functions, of :mod:`~edge.worker.asking`,
:mod:`~edge.worker.landing` and :mod:`~edge.worker.passing`.

States of an errand here, one after the other

    asked      the request is sent; the origin's connection calls when something comes, the sweep when nothing does
    answered   the reply is whole: within one call it is weighed, stored or not, sent and settled
    elsewhere  a task has it; nothing here knows it any more

Invariant: an exchange taken here is settled once, here or by the task it was handed to.
Hot: once per miss. Bench: ``bench/micro/test_miss.py``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge.cache.ask import Method
from edge.cache.copy import IDENTITY
from edge.cache.storing import NotStored
from edge.errors import ClientGone, EdgeFault, Fault, OriginFault
from edge.message.head import Framing
from edge.observe import names
from edge.origin.request import Aim
from edge.worker.asking import begin, note, weigh
from edge.worker.flights import State
from edge.worker.landing import WHOLE, note_not_kept, put_whole
from edge.worker.passing import coding_of, pass_whole
from edge.worker.session import Phase

if TYPE_CHECKING:
    from edge.exchange.decision import Fetch
    from edge.worker.means import Errand, Means
    from edge.worker.session import Exchange
    from edge.worker.slow import SlowLane

log = logging.getLogger("edge")


class Quick:
    """
    The simple misses.

    Args:
        means: of the slow lane.
        slow: who carries on what is not simple.

    Attributes:
        asked: what origins are asked, and on whose behalf.
    """

    def __init__(self, means: Means, slow: SlowLane) -> None:
        self.asked: dict[Exchange, Errand] = {}
        self._means = means
        self._slow = slow

    def take(self, x: Exchange, plan: Fetch) -> bool:
        """Ask for *x* if that is simple; False: it is untouched. What goes wrong here is raised, and nothing is held then."""
        if plan.stale is not None or plan.others or plan.part is not None or x.head.framing is not Framing.NONE:
            return False
        if x.known.ask.method is not Method.GET or plan.aim is Aim.REFRESH or plan.part is not None:
            return False
        if x.known.way is None or not x.known.way.is_plain:
            return False
        means = self._means
        flight = None
        if plan.shared:
            ask, flights = x.known.ask, means.flights
            if flights is None or (flight := flights.take_off(ask.key, ask.hash)) is None:
                return False
            if not means.rooms.stands(x.known, plan):  # whoever had the key until now may have stored what we want
                flights.touch_down(flight)
                return False
            means.cells[names.FLIGHTS] += 1
        x.outcome = plan.fwd.value
        errand = None
        try:
            errand = begin(means, x, plan, flight)
            if errand.ox.ask_nowait(self._heard, errand):
                self.asked[x] = errand
                x.gone = self._gone
            else:
                self._slow.go_on(errand)
        except BaseException:
            if errand is not None:
                errand.ox.kill()
            if flight is not None and means.flights is not None:
                flight.end(State.OVER)
                means.flights.touch_down(flight)
            raise
        return True

    def close(self) -> None:
        """Settle everyone: the worker ends."""
        for x, errand in list(self.asked.items()):
            x.word = x.word or "connection_terminated"
            self._leave(errand)
            errand.ox.kill()
            if errand.flight is not None:
                errand.land(self._means.flights)
            self._slow.settle(x)

    def _gone(self, x: Exchange) -> None:
        """The client has left, or was refused: what is asked for it alone is not waited for."""
        errand = self.asked.get(x)
        if errand is None or errand.flight is not None:
            return
        self._leave(errand)
        if x.session.phase is Phase.CLOSED:
            errand.ox.kill()
            self._slow.fail(x, ClientGone("the client has left"))
        else:  # we are in the middle of its turn
            self._slow.go_on(errand)

    def _leave(self, errand: Errand) -> None:
        self.asked.pop(errand.x, None)
        errand.ox.forget()

    def _heard(self, errand: Errand) -> None:
        """Something has come from the origin, or nothing in time."""
        try:
            if not self._answer(errand):
                self._leave(errand)
                self._slow.go_on(errand)
        except Fault as fault:
            self._fail(errand, fault)
        except Exception:
            self._means.cells[names.BUGS] += 1
            log.exception("an error of our own, on %r: please report it", errand.x)
            self._fail(errand, EdgeFault("an error of our own; see the error log"))

    def _fail(self, errand: Errand, fault: Fault) -> None:
        """It costs this exchange, and nobody else."""
        self._leave(errand)
        errand.ox.kill()
        if errand.flight is not None and errand.flight.state is not State.OVER:
            errand.land(self._means.flights)
        self._slow.fail(errand.x, fault)

    def _answer(self, errand: Errand) -> bool:
        """Answer if the reply is here and simple; False: a task has to."""
        means, x, ox = self._means, errand.x, errand.ox
        del self.asked[x]  # a 1xx that is passed on may find the client gone: nothing of this is to end under our hands
        try:
            reply = ox.reply_nowait(self._heard, errand)
            if reply is None:
                if x.is_given_up and errand.flight is None:
                    return False
                self.asked[x] = errand
                return True
            errand.reply = reply
            note(means, errand)
            if reply.framing is not Framing.NONE and not self._read(errand):
                return False
        except OriginFault:  # it has been noted; the task meets it again, and knows whether to ask once more
            return False
        if x.is_given_up:
            return False
        verdict = errand.verdict = weigh(means, errand)
        if isinstance(verdict, NotStored):
            eligible, coding, _ = coding_of(means, errand)
            if coding != IDENTITY:
                return False
            self._leave(errand)
            if x.known.ask.bypass is None and means.rooms.store is not None:
                note_not_kept(means, x, verdict.reason)
            errand.land(means.flights)
            pass_whole(means, errand, verdict.reason, eligible=eligible)
        else:
            verdict.length = sum(map(len, errand.pieces))
            eligible = means.rooms.is_coded(verdict)
            coding = means.rooms.coding_for(x.known, eligible=eligible)
            if coding != IDENTITY:
                return False
            self._leave(errand)
            body = b"".join(errand.pieces)
            put_whole(means, errand, verdict, body, coding, body, None, eligible=eligible)
        self._slow.finish(x)
        return True

    def _read(self, errand: Errand) -> bool:
        """Read the body into ``errand.pieces``; False: it is not here to its end, or longer than is stored in one go."""
        ox = errand.ox
        rest = ox.attempt.rest()
        if rest is not None:
            errand.pieces = (rest,)
            return True
        pieces: list[bytes] = []
        errand.pieces = pieces
        size = 0
        while data := ox.body_nowait():
            pieces.append(data)
            size += len(data)
            if size > WHOLE:
                return False
        return data is not None
