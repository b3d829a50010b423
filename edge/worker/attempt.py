"""
One request on one connection, as far as it goes without waiting: bytes both ways, and what becomes of the connection.

Knows neither deadlines nor retries: whoever asks again makes a new :class:`Attempt`. Tells what bytes mean by the sans-IO
:class:`~edge.http.h1.client.ClientConnection`.

States of an attempt, each of which :meth:`repr` shows

    NEW        the connection is lent; nothing has been said
    ASKED      the request's head was given to the connection
    ANSWERED   the final reply's head has come; its body may be read
    ENDED      the reply is read to its end; the connection is given back, closed, or a tunnel's

Invariant: only a connection on which the request was sent whole and the reply read to its framed end, with nothing behind
it, is lent again.

Hot: once per miss. Cost in ``bench/micro/test_origin.py``.
Source: RFC 9112 §6, §9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.errors import Fault, OriginFault, Retry
from edge.http.events import Body, End, Reply
from edge.message.head import Framing
from edge.origin.pool import keep_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.message.head import Field, ReplyHead
    from edge.origin.request import OriginRequest
    from edge.worker.pools import Link

TURN_BYTES: Final = 262144
"""Most bytes one exchange moves without letting others run."""

_CONTINUE = 100
_SWITCHING = 101


class Attempt:
    """
    One request on one connection.

    Args:
        link: lent; it is given back, or closed, by this attempt.
        request: what is asked.
        on_interim: called with every 1xx but 101; must not wait.

    Attributes:
        server: the label of who is asked.
        is_asked: the head was given to the connection.
        is_whole: the request is sent to its end.
        head: the final reply's, once it has come.
        is_ended: the reply is read to its end.
        trailers: of the reply, once its body has ended.
        upgraded: a 101 came.
        broken: why nothing more can be sent; a reply may still have come.
        request_bytes, reply_bytes: sent and received, heads included.
        interims: 1xx heads that have come.
        is_continued: a 100 was among them.
        unwaited: bytes moved since this exchange last waited.
        served_by: who is asked.
        is_learnt: what its reply's head says about the server has been noted.
        is_final: its reply has been taken for the request's.
    """

    # Defaults live on the class: an attempt writes only what differs, half of the cost of filling the slots.
    is_asked = False
    is_whole = False
    head: ReplyHead | None = None
    is_ended = False
    trailers: list[Field] = []  # noqa: RUF012 - never written to, only replaced
    upgraded = False
    broken: Fault | None = None
    request_bytes = 0
    reply_bytes = 0
    interims = 0
    is_continued = False
    unwaited = 0
    cut: OriginFault | None = None  # the body broke off: said to everyone who asks for more
    is_learnt = False
    is_final = False

    def __init__(self, link: Link, request: OriginRequest, on_interim: Callable[[ReplyHead], None] | None) -> None:
        self.served_by = link.server
        self.server = link.server.label
        self._request = request
        self._on_interim = on_interim
        self._link: Link | None = link

    def __repr__(self) -> str:
        state = "ended" if self.is_ended else "answered" if self.head else "asked" if self.is_asked else "new"
        return f"<Attempt {state} {self._request.method!r} {self.server}>"

    @property
    def link(self) -> Link:
        """The connection, which must still be lent."""
        if self._link is None:
            raise AssertionError(f"{self!r} has no connection")
        return self._link

    @property
    def has_link(self) -> bool:
        """The connection has been neither given back nor closed."""
        return self._link is not None

    # -- the request ----------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Give the head (and without a body the whole request) to the connection; nothing is sent yet."""
        link, request = self._link, self._request
        assert link is not None
        group = link.server.group
        self.is_asked = True
        link.wire.send_request(
            request.method,
            request.target,
            link.server.authority if group.settings.host_header == "server" else request.authority,
            request.fields,
            request.framing,
            request.length,
            upgrade=request.upgrade,
            last=not group.keeps,
            lines=request.lines,
        )
        self.is_whole = request.framing is Framing.NONE

    def flush(self) -> bool:
        """Send what waits to be sent; False if the origin takes no more for now. What breaks is noted, not raised."""
        link = self._link
        assert link is not None
        out, stream = link.wire.out, link.stream
        try:
            while out.pending:
                taken = stream.push(out.first())
                if taken:
                    out.sent(taken)
                    self.request_bytes += taken
                elif stream.wants_write:
                    return False
        except OriginFault as fault:
            # the origin may have answered before it closed: whoever awaits the reply finds out
            if not self.request_bytes:
                fault.retry = Retry.YES
            self.broken = fault
        return True

    # -- the reply ------------------------------------------------------------------------------------------

    def reply(self) -> ReplyHead | None:
        """
        Return the final reply's head, or a 101's, if it has come; None: wait.

        Raises:
            OriginFault: there will be none.
        """
        if self.head is not None:
            return self.head
        link = self._link
        assert link is not None
        wire, stream = link.wire, link.stream
        while True:
            data = stream.pull()
            if data is None:
                return None
            if data:
                self.reply_bytes += len(data)
                wire.receive(data)
            elif not self.reply_bytes:
                raise OriginFault("closed without a reply", word="connection_terminated", retry=Retry.IF_REUSED)
            else:
                wire.receive_eof()
            while type(event := wire.next_event()) is Reply:
                head = event.head
                if head.status >= 200:
                    self.head = head
                    if head.framing is Framing.NONE:
                        self._finish([])
                    return head
                if head.status == _SWITCHING:  # only after having been asked for: the connection sees to that
                    self.head = head
                    self.upgraded = True
                    wire.tunnel()
                    return head
                self.interims += 1
                self.is_continued = self.is_continued or head.status == _CONTINUE
                if self._on_interim is not None:
                    self._on_interim(head)
            if stream.drained:
                return None

    def body(self) -> bytes | None:
        """
        Return what has come of the body.

        Returns:
            b"" at the end, at which the connection is given back at once: a slow client does not hold it. None: nothing
            yet, or this exchange has had its turn.

        Raises:
            OriginFault: the body is cut short.
        """
        if self.is_ended:
            return b""
        if self.cut is not None:
            raise self.cut
        try:
            return self._body()
        except OriginFault as fault:
            self.cut = fault
            raise

    def rest(self) -> bytes | None:
        """
        Return what is left of the body if all of it is here; the reply is over then. None: :meth:`body` gives it in parts.

        Cost: a third of the two calls it stands for.
        """
        link = self._link
        if link is None:
            return None
        data = link.wire.take_rest()
        if data is not None:
            self._finish([])
        return data

    def _body(self) -> bytes | None:
        link = self._link
        assert link is not None
        wire, stream = link.wire, link.stream
        while True:
            event = wire.next_event()
            if type(event) is Body:
                self.unwaited += len(event.data)
                return event.data
            if type(event) is End:
                self._finish(event.trailers)
                return b""
            if self.unwaited >= TURN_BYTES:
                return None
            more = stream.pull()
            if more is None:
                return None
            if more:
                self.reply_bytes += len(more)
                wire.receive(more)
            else:
                wire.receive_eof()

    # -- the end --------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Done: the connection goes back if it may serve again (the end of the body does this by itself)."""
        if self._link is not None:
            if self.is_ended and self.is_whole and not self.upgraded:
                self._give_back(self._link)
            else:
                self.kill()

    def kill(self) -> None:
        """Done: the connection is closed. May be called twice."""
        link, self._link = self._link, None
        if link is not None:
            group = link.server.group
            group.node.cells[group.at.received_bytes] += self.reply_bytes
            link.server.discard(link)

    def _finish(self, trailers: list[Field]) -> None:
        """The reply is read to its end. A tunnel's connection stays: the other direction may go on."""
        self.is_ended = True
        self.trailers = trailers
        link = self._link
        assert link is not None
        if self.upgraded:
            return
        if self.is_whole and self.broken is None and not link.wire.out.pending and link.wire.reusable:
            self._give_back(link)
        else:
            self.kill()

    def _give_back(self, link: Link) -> None:
        self._link = None
        group = link.server.group
        group.node.cells[group.at.received_bytes] += self.reply_bytes
        head = self.head
        keep_s = 0.0
        if group.keeps and head is not None:
            said = head.index.get(b"keep-alive")
            keep_s = group.settings.idle_s if said is None else keep_for(group.settings.idle_s, said)
        link.server.give_back(link, group.clock.mono(), keep_s)
