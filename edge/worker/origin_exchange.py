"""
One exchange with an origin, as an awaiting shell: a connection is lent, the request sent, the reply waited for, and asked
again where that is allowed.

What can be done without waiting is done by an :class:`~edge.worker.attempt.Attempt`, how long is waited by
:mod:`~edge.worker.waits`; here is their order, and the retries. Does not know clients, caches or what a reply is for. It goes through these steps, with a method for each::

    async with origins.exchange("shop", request, client=b"192.0.2.1") as exchange:    # a connection is lent
        head = await exchange.reply()                                               # sent, and answered
        while data := await exchange.body():                                        # the end gives the connection back
            ...

A body that lies here already is sent with ``send_body`` and ``send_end`` before ``reply``. One that is still coming
is sent by a task beside, ``async with exchange.sending(source)``: the origin may answer, or say 100, at any time.

Nothing waits that need not: reads and writes are tried first, except that right after sending a request nobody looks for
the reply before the socket says so. trio's scheduler runs others only when a task waits, and an exchange between two
fast peers might never wait: so after ``TURN_BYTES`` it takes a checkpoint. A small reply never takes one, because it was
waited for.

Invariant: a request is sent again only where :func:`edge.origin.retry.may_retry` says so.

Hot: once per miss. Cost in ``bench/micro/test_origin.py``.
Source: RFC 9110 §7.5, §9.2.2, §10.1.1; RFC 9209 §2.3.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import trio
from trio.lowlevel import checkpoint, wait_writable

from edge.config.origin_rules import RouteRetry
from edge.errors import Fault, OriginFault
from edge.message.head import Framing
from edge.origin.pace import patience_s
from edge.origin.retry import Verdict, failure_of, may_retry
from edge.worker.attempt import TURN_BYTES, Attempt
from edge.worker.hedging import first_of_two
from edge.worker.waits import flush, rearm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from edge.message.head import Field, ReplyHead
    from edge.origin.request import OriginRequest
    from edge.origin.retry import Rules
    from edge.worker.pools import Group, Link, Server
    from edge.worker.waits import Watch

_NOBODY: frozenset[Server] = frozenset()

NO_RETRY: Final = RouteRetry(retries=0)
SAFE: Final = frozenset({b"GET", b"HEAD"})
LEAST_BAD: Final = 429
"""No status below it is tried again or counted against a server."""


class OriginExchange:
    """
    One request to one origin. Leaving the ``async with`` block closes the connection unless it was given back before.

    Attributes:
        server: which one was asked, for the log: ``127.0.0.1:8001`` or the socket's path.
        reused: its connection had carried an exchange before.
        attempts: times the request was sent, or begun to be sent.
        attempt: the last of them.
        is_kept: the reply is being stored: others wait for it, too.
        is_sending, is_held, scope, is_overdue: see :class:`edge.worker.waits.Waiter`.
        avoid: who has failed it and is asked again only if there is nobody else.
        heard: the fields that the client sent, where those of the request are not the same.
        rules: of its route, for what is tried again.
    """

    # Defaults live on the class: an exchange writes only what differs.
    server = ""
    reused = False
    attempts = 0
    attempt: Attempt  # once there is a connection
    avoid: Server | None = None
    _asked_mono = 0.0
    _is_begun = False
    _body_begun = False
    is_sending = False
    is_kept = False
    _waited_s = 0.0  # for the body
    _replaced: trio.Event | None = None  # while the connection of a request whose body is being sent is replaced
    scope: trio.CancelScope | None = None
    is_overdue = False
    _chosen: Server | None = None  # before there was a connection to it
    _own_first_byte_s: float | None = None
    _own_between_bytes_s: float | None = None
    _fault: Fault | None = None  # found by who asked without waiting; raised to who waits

    def __init__(
        self,
        group: Group,
        watch: Watch,
        request: OriginRequest,
        client: bytes,
        on_interim: Callable[[ReplyHead], None] | None,
        rules: Rules,
    ) -> None:
        self.rules = rules
        self._group = group
        self._watch = watch
        self.request = request
        self.heard: Sequence[Field] = request.fields
        self.client = client
        self._on_interim = on_interim

    def limit(self, first_byte_s: float | None, between_bytes_s: float | None) -> None:
        """Let it take this long instead of what is said for its origin; None: as is said there."""
        self._own_first_byte_s, self._own_between_bytes_s = first_byte_s, between_bytes_s

    @property
    def _first_byte_s(self) -> float:
        own = self._own_first_byte_s
        return self._group.settings.first_byte_s if own is None else own

    @property
    def _between_bytes_s(self) -> float:
        own = self._own_between_bytes_s
        return self._group.settings.between_bytes_s if own is None else own

    def __repr__(self) -> str:
        attempt = getattr(self, "attempt", None)
        return f"<OriginExchange {self.request.method!r} attempts={self.attempts} {attempt!r}>"

    async def __aenter__(self) -> Self:
        if not self._is_begun and not self._borrow():
            self._begin(await self._group.lend(self, self._chosen))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.attempt.kill()

    def _borrow(self) -> bool:
        """Take a connection that is there; False: one must be made, or waited for."""
        group = self._group
        if group.waiting:
            return False
        now_mono = group.clock.mono()
        server = self._chosen
        if server is None:
            self._chosen = server = group.choose(self, _NOBODY, now_mono)
        link = None if server is None else server.take(now_mono, self.request.preface)
        if link is None:
            return False
        self._begin(link)
        return True

    def _begin(self, link: Link) -> None:
        self._is_begun = True
        server = link.server
        self.server = server.label
        self._group.words[server.asked] += 1
        self.reused = link.uses > 0
        self.attempt = Attempt(link, self.request, self._on_interim)

    # -- the request ----------------------------------------------------------------------------------------

    @property
    def request_bytes(self) -> int:
        """Sent in the last attempt, head included."""
        return self.attempt.request_bytes

    async def send_head(self) -> None:
        """
        Send the request's head. Optional: the first of send_body, send_end, sending and reply does it.

        Raises:
            OriginFault: it could not be sent, nor to another connection.
        """
        while not (attempt := self.attempt).is_asked:
            self.attempts += 1
            if self._group.chooser.is_timed:
                self._asked_mono = self._group.clock.mono()
            attempt.ask()
            if not attempt.flush():
                await flush(self, self._between_bytes_s)
            if attempt.broken is not None and not attempt.request_bytes:
                await self._again(attempt.broken)

    async def send_body(self, data: bytes | memoryview) -> bool:
        """
        Send a part of the body; waits while the origin takes no more.

        Returns:
            False when the origin has answered, or closed, instead of taking it: stop sending and call reply().
        """
        if not self.attempt.is_asked:
            await self.send_head()
        if not self._is_open:
            return False
        attempt = self.attempt
        self._body_begun = True
        attempt.link.wire.send_body(data)
        attempt.unwaited += len(data)
        if not attempt.flush():
            return await flush(self, self._between_bytes_s)
        if attempt.unwaited >= TURN_BYTES:
            attempt.unwaited = 0
            await checkpoint()
        return attempt.broken is None

    async def send_end(self, trailers: list[Field] | None = None) -> None:
        """End the request's body (not needed when there is none)."""
        if not self.attempt.is_asked:
            await self.send_head()
        attempt = self.attempt
        if attempt.is_whole or not self._is_open:
            return
        attempt.link.wire.send_end(trailers or [])
        if attempt.flush() or await flush(self, self._between_bytes_s):
            attempt.is_whole = True

    @asynccontextmanager
    async def sending(
        self,
        source: Callable[[], Awaitable[bytes | memoryview | None]],
        trailers: Callable[[], list[Field]] | None = None,
    ) -> AsyncIterator[None]:
        """
        Send the body in a task beside, while the block awaits the reply: for every body that is not already here.

            async with exchange.sending(session_body):
                head = await exchange.reply()
                while data := await exchange.body(): ...

        An origin that takes no more ends the sending, not the block: its reply decides. Leaving the block stops the
        sending; a request that was not sent whole costs the connection its next use.

        Args:
            source: gives the next part, None at the end.
            trailers: gives what is said behind the end, once it has come; dropped where the framing cannot carry it.

        Raises:
            Fault: what *source* raised (the client left), or the origin took nothing for too long: the block is
                cancelled, and this is raised from it.
        """
        await self.send_head()
        failed: list[Fault] = []
        raised: list[Fault] = []

        async def pump() -> None:
            try:
                while (data := await source()) is not None:
                    if self.is_held:  # told to go on, or tired of waiting: it is the client's turn now
                        self._body_begun = True
                        rearm(self, math.inf)
                    if self._replaced is not None:
                        await self._replaced.wait()
                    if not await self.send_body(data):
                        return
                if self._replaced is not None:
                    await self._replaced.wait()
                await self.send_end(trailers() if trailers is not None else None)
            except trio.ClosedResourceError:
                return  # the reply has ended and the connection with it
            except Fault as fault:
                failed.append(fault)
                nursery.cancel_scope.cancel()
            finally:
                self.is_sending = False
                rearm(self, self._first_byte_s if self.attempt.head is None else self._between_bytes_s)

        self.is_sending = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            try:
                yield
            except Fault as fault:
                raised.append(fault)  # carried around the nursery, which would wrap it in a group
            nursery.cancel_scope.cancel()
        for told in failed or raised:
            raise told

    @property
    def is_held(self) -> bool:
        """The client sends nothing of the body before the origin has told it to."""
        return self.request.expect_continue and not self._body_begun and not self.attempt.is_continued

    @property
    def _is_open(self) -> bool:
        """More of the body can be sent: nothing broke, and an answer stops only who sends without a task beside."""
        attempt = self.attempt
        return attempt.broken is None and attempt.has_link and (attempt.head is None or self.is_sending)

    # -- the reply ------------------------------------------------------------------------------------------

    @property
    def trailers(self) -> list[Field]:
        """The reply's, once its body has ended."""
        return self.attempt.trailers

    def reply(self) -> Awaitable[ReplyHead]:
        """
        Wait for the final reply's head, or a 101.

        Where the route's rules and the origin's budget allow it, a request that has failed is sent again.

        Raises:
            OriginFault: ``http_response_timeout``, ``connection_terminated``, ``http_protocol_error`` and the like.
        """
        if self.rules.hedge_s is not None and self._may_hedge:
            return first_of_two(self, self.rules.hedge_s)
        return self.reply_alone()

    async def reply_alone(self) -> ReplyHead:
        """Wait for the final reply's head from one server at a time. May be cancelled and called again."""
        while True:
            try:
                if self._fault is not None:
                    fault, self._fault = self._fault, None
                    raise fault
                if not self.attempt.is_asked:
                    await self.send_head()
                attempt = self.attempt
                head = attempt.head
                if head is None:
                    await self._watch.readable(self, self._first_byte_s, "http_response_timeout")
                    head = attempt.reply() or await self._rest_of_head(attempt)
            except OriginFault as fault:
                await self._again(fault)
            else:
                self._learn(attempt, head)
                if head.status < LEAST_BAD or attempt.is_final or not await self._elsewhere(attempt, head):
                    return head

    def _learn(self, attempt: Attempt, head: ReplyHead) -> None:
        """Note what a reply's head says about its server, once."""
        group, server = self._group, attempt.served_by
        if attempt.is_learnt:
            return
        attempt.is_learnt = True
        if head.status >= LEAST_BAD and head.status in group.bad_statuses:
            server.failed(f"status {head.status}", group.clock.mono())
        elif group.words[server.trouble]:
            server.answered(group.clock.mono())
        if group.chooser.is_timed:
            now_mono = group.clock.mono()
            group.chooser.timed(server, now_mono - self._asked_mono, now_mono)

    async def _elsewhere(self, attempt: Attempt, head: ReplyHead) -> bool:
        """Have the request sent again if a reply's status is a reason to; True: another attempt is under way."""
        attempt.is_final = True
        group, status = self._group, head.status
        if status not in self.rules.statuses or self.request.framing is not Framing.NONE or group.waiting:
            return False
        if not self._may_again(status, attempt):
            return False
        self.avoid = attempt.served_by
        now_mono = group.clock.mono()
        try:
            chosen = group.choose(self, _NOBODY, now_mono)
            if chosen is None or not group.spend(now_mono):
                return False  # what we have is a reply: it is not given up for a place in a queue
            link = await group.lend(self, chosen)
        except Fault:
            return False
        attempt.kill()
        self._begin(link)
        return True

    async def _rest_of_head(self, attempt: Attempt) -> ReplyHead:
        """Wait for the rest of a head that has begun: as long as for its first byte, and again after each 1xx."""
        clock, limit_s = self._group.clock, self._first_byte_s
        until_mono = clock.mono() + limit_s
        head, interims = None, attempt.interims
        while head is None:
            await self._watch.readable(self, max(until_mono - clock.mono(), 0.0), "http_response_timeout")
            head = attempt.reply()
            if attempt.interims > interims:
                until_mono, interims = clock.mono() + limit_s, attempt.interims
        return head

    def body_nowait(self) -> bytes | None:
        """Return what has come of the body without waiting: see :meth:`Attempt.body`. None: use :meth:`body`."""
        return self.attempt.body()

    async def body(self) -> bytes:
        """
        Wait for the next part of the reply's body.

        Returns:
            b"" at its end.

        Raises:
            OriginFault: it is cut short (``http_response_incomplete``) or pauses too long (``connection_read_timeout``).
        """
        return await self._next(self._between_bytes_s)

    def release(self) -> None:
        """Done: the connection goes back if it may serve again (the end of the body does this by itself)."""
        self.attempt.release()

    def kill(self) -> None:
        """Done: the connection is closed. May be called twice, and before there is one."""
        if self._is_begun:
            self.attempt.kill()

    # -- without waiting, and without a task ------------------------------------------------------------------

    def ask_nowait(self, heard: Callable[[Any], object], errand: object) -> bool:
        """
        Send the whole request on a connection that is there, and have *heard* called with *errand* when something comes, or too late.

        Returns:
            False: it takes waiting; whatever was done so far is gone on with by entering this and calling :meth:`resume`.
        """
        group = self._group
        if not group.is_patient or self.rules.hedge_s is not None:
            return False
        try:
            if not self._borrow():
                return False
        except OriginFault:
            return False  # there is nobody to ask: whoever enters this is told so
        attempt = self.attempt
        self.attempts += 1
        if group.chooser.is_timed:
            self._asked_mono = group.clock.mono()
        attempt.ask()
        if not attempt.flush() or attempt.broken is not None:
            return False
        return self._watch.call(self, self._first_byte_s, heard, errand)

    def reply_nowait(self, heard: Callable[[Any], object], errand: object) -> ReplyHead | None:
        """
        Return the final reply's head; None: *heard* will be called again.

        Raises:
            OriginFault: there will be none on this connection, or one that is a reason to ask again. It may be asked on
                another, by :meth:`resume`.
        """
        attempt = self.attempt
        watch = self._watch
        until_mono = watch.waits.pop(self)
        if self.is_overdue:
            raise self._keep(watch.overdue(self, self._first_byte_s, "http_response_timeout"))
        interims = attempt.interims
        try:
            head = attempt.reply()
        except OriginFault as fault:
            raise self._keep(fault) from None
        if head is None:
            if attempt.interims > interims:
                until_mono = self._group.clock.mono() + self._first_byte_s
            if not watch.ears.call(attempt.link.fd, heard, errand):
                raise self._keep(OriginFault("closed inside a reply's head", word="http_response_incomplete"))
            watch.waits[self] = until_mono
            return None
        self._learn(attempt, head)
        if head.status >= LEAST_BAD and head.status in self.rules.statuses:
            raise OriginFault(f"status {head.status}: it may be tried again, by who can wait")
        return head

    def forget(self) -> None:
        """Nobody is to be called any more."""
        self._watch.waits.pop(self, None)
        if self.attempt.has_link:
            self._watch.ears.uncall(self.attempt.link.fd)

    def _keep(self, fault: OriginFault) -> OriginFault:
        self._fault = fault
        return fault

    async def resume(self) -> None:
        """
        Go on with what :meth:`ask_nowait` began, as far as it came.

        Raises:
            OriginFault: it could not be sent, nor to another connection.
        """
        self._watch.waits.pop(self, None)
        attempt = self.attempt
        if attempt.is_asked:
            if attempt.has_link and attempt.link.wire.out and attempt.broken is None:
                await flush(self, self._between_bytes_s)
            if attempt.broken is not None and not attempt.request_bytes:
                await self._again(attempt.broken)

    # -- tunnels --------------------------------------------------------------------------------------------

    @property
    def upgraded(self) -> bool:
        """A 101 came: ``pull`` and ``push`` carry the tunnel."""
        return self.attempt.upgraded

    async def pull(self) -> bytes:
        """Tunnel: wait, however long, for bytes from the origin; b"" once it says no more."""
        return await self._next(math.inf)

    async def push(self, data: bytes | memoryview) -> None:
        """Tunnel: send bytes, waiting for room however long."""
        attempt = self.attempt
        link = attempt.link
        view = memoryview(data)
        attempt.unwaited += len(view)
        while view:
            taken = link.stream.push(view)
            view = view[taken:]
            if view and link.stream.wants_write:
                await wait_writable(link.fd)
                attempt.unwaited = 0
        if attempt.unwaited >= TURN_BYTES:
            attempt.unwaited = 0
            await checkpoint()

    def push_eof(self) -> None:
        """Tunnel: nothing more will be sent."""
        self.attempt.link.stream.shut()

    # -- within ---------------------------------------------------------------------------------------------

    async def _next(self, wait_s: float) -> bytes:
        attempt = self.attempt
        while (data := attempt.body()) is None:
            if attempt.unwaited >= TURN_BYTES:
                attempt.unwaited = 0
                await checkpoint()
            else:
                await self._wait(wait_s)
        return data

    async def _wait(self, pause_s: float) -> None:
        """Wait for more of the body: as long as it may pause, and as what has come of it has earned."""
        head, settings = self.attempt.head, self._group.settings
        if not settings.least_rate or self.upgraded or not (self.is_kept or (head and head.framing is Framing.LENGTH)):
            await self._watch.readable(self, pause_s, "connection_read_timeout")
            return
        clock = self._group.clock
        began_mono = clock.mono()
        left_s = patience_s(pause_s, self._waited_s, self.attempt.reply_bytes, settings.least_rate)
        if left_s <= 0.0:
            detail = f"{self.server}: slower than {settings.least_rate} bytes per second"
            raise OriginFault(detail, word="connection_read_timeout", reply=504)
        await self._watch.readable(self, left_s, "connection_read_timeout")
        self._waited_s += clock.mono() - began_mono

    async def _again(self, fault: Fault) -> None:
        """Replace the connection and forget the attempt if the request may be sent again; else raise *fault*."""
        attempt, group = self.attempt, self._group
        failure = failure_of(fault, may_be_seen=attempt.request_bytes > 0, reused=self.reused)
        if failure in group.bad_failures and not attempt.reply_bytes:
            now_mono = group.clock.mono()
            attempt.served_by.failed(fault.word, now_mono)
            if group.chooser.is_timed:
                group.chooser.timed(attempt.served_by, now_mono - self._asked_mono, now_mono)
        if not attempt.has_link or not self._may_again(failure, attempt) or not group.spend(group.clock.mono()):
            raise fault
        if failure in {"reset", "timeout"} or (failure == "closed" and group.chooser.is_free):
            self.avoid = attempt.served_by
        was_whole = attempt.is_whole
        attempt.kill()
        replaced = self._replaced = trio.Event()  # who sends the body beside may get its first byte meanwhile
        try:
            self._begin(await self._group.lend(self, None, fresh=True))
            if self.is_sending or was_whole:
                await self.send_head()
            if was_whole:
                await self.send_end()  # of no body, or of one that turned out to be empty
        finally:
            self._replaced = None
            replaced.set()

    def _may_again(self, failure: str | int | None, attempt: Attempt) -> bool:
        verdict = may_retry(
            failure,
            self.rules,
            method=self.request.method,
            may_be_seen=attempt.request_bytes > 0,
            body_begun=self._body_begun,
            answered=attempt.reply_bytes > 0,
            attempts=self.attempts,
            retries=self._group.settings.retries,
        )
        return verdict is Verdict.AGAIN

    # -- what binds a client to its server -------------------------------------------------------------------

    @property
    def binds(self) -> bool:
        """Clients of this origin are bound to their servers."""
        return self._group.chooser.bonds is not None

    def set_cookie(self) -> bytes | None:
        """Return the Set-Cookie value that binds the client to the server that answered; None if none is needed."""
        bonds = self._group.chooser.bonds
        if bonds is None:
            return None
        server = self.attempt.served_by
        if server.has_left or bonds.place(self.heard) == server.index:
            return None
        return bonds.set_cookie(server.index)

    # -- two servers at once ---------------------------------------------------------------------------------

    @property
    def _may_hedge(self) -> bool:
        return self.request.framing is Framing.NONE and self.request.method in SAFE and self.request.upgrade is None

    def rival(self) -> OriginExchange | None:
        """Return an exchange that asks another server the same; None if there is nobody with room, or no budget for it."""
        group, first = self._group, self.attempt.served_by
        if len(group.servers) < 2 or group.waiting:
            return None
        now_mono = group.clock.mono()
        other = OriginExchange(group, self._watch, self.request, self.client, self._on_interim, NO_RETRY)
        other.avoid, other.heard = first, self.heard
        try:
            other._chosen = group.choose(other, frozenset((first,)), now_mono)
        except OriginFault:
            return None
        if other._chosen is None or not group.spend(now_mono):
            return None
        group.node.cells[group.at.hedges] += 1
        return other

    def give_up_unless(self, heir: OriginExchange) -> None:
        """Close the connection, if there is one and *heir* does not go on with it."""
        attempt = getattr(self, "attempt", None)
        if attempt is not None and attempt is not heir.attempt:
            attempt.kill()

    def adopt(self, rival: OriginExchange) -> None:
        """Go on with the attempt of a *rival* that was quicker."""
        self.attempt.kill()
        self.attempt, self.server, self.reused = rival.attempt, rival.server, rival.reused
        self.attempts += rival.attempts
