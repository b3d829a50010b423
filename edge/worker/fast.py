"""
The fast lane: one task that owns every client socket and does for it all that can be done without waiting.

The worker's own epoll holds persistent, edge-triggered registrations; trio sees one descriptor. A turn polls once and
calls :meth:`FastLane.advance` for each session that is ready. A hit passes from socket to reply inside that call:
no task switch, no ``await``, no timer. Whatever must wait becomes an :class:`~edge.worker.session.Exchange` and goes
to the slow lane, which calls ``advance`` again when it has something to send.

Rules
    1. *Push before you take.* A request is taken only with nothing left to write, so it is never stranded.
    2. *Read last*, and only what epoll has promised. Bytes in the parser or in OpenSSL never wake epoll; a socket that
       was read dry is not asked again before its next edge (``session.readable``), whoever calls ``advance``.
    3. *Closed is terminal*, and closing wakes or cancels whoever was waiting.
    4. Nobody gets more than CAP bytes a turn; who has more to do comes again in the next, before anybody sleeps.

It does not know what a request deserves (:mod:`edge.exchange`) or how bytes are framed (:mod:`edge.http`).

Cost: 8 µs per turn plus what each session does: 13 µs for a small hit, half of it system calls; ``bench/load``.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from edge.errors import ClientFault, Fault, Side
from edge.exchange.decision import Answer, Serve
from edge.exchange.send import send_answer, send_refusal, send_serve
from edge.http.events import Body, End, Request, Wait
from edge.message.proxy_protocol import HEADER_BYTES, read_header
from edge.observe import names
from edge.observe.error_log import Seldom
from edge.tls.hello import NEED_DATA, NO_COMMON_PROTOCOL, NotTls, peek_hello
from edge.tls.stream import PlainStream, Ready, TlsStream
from edge.worker.admitting import shown_by
from edge.worker.deadlines import NEVER, Deadlines
from edge.worker.ears import EpollEars
from edge.worker.session import Exchange, Phase, Session, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock
    from edge.config.tree import Listener
    from edge.exchange.decision import Decision
    from edge.exchange.recognise import Door, Known
    from edge.exchange.rooms import Rooms
    from edge.http.connection import Connection
    from edge.share.crowd import Seat
    from edge.worker.slow import SlowLane

log = logging.getLogger("edge")

EVENTS: Final = 256
"""Most events per turn: at about 15 µs each the slow lane waits 4 ms at worst."""

CAP: Final = 512 * 1024
"""Most bytes a session may send in one turn; see rule 4."""

READ_CAP: Final = 256 * 1024
"""Most bytes a session may be read for in one turn."""

LEAST_RATE: Final = 256
"""
Bytes per second that a client must send of a body, or take of a reply, on average and beyond the time it may pause.

A byte a minute would never pause too long, and hold a connection to the origin for days (Apache's ``MinRate`` is 500).
"""

GREETINGS: Final = 16
"""
Most handshakes that are taken a step further in one turn: at up to 0.5 ms each, those who are in already wait 8 ms at worst for
those who want to be. The others' turn comes next.
"""

ORIGINS_S: Final = 0.002
"""How long a turn may last before origins that have something to say wait for the next: clients come first."""

ORIGINS_LEAST: Final = 2
"""How many are heard in every turn all the same: hits alone must not stop misses for good."""

LINGER_S: Final = 2.0
"""How long a client may go on sending what nobody will read, before its socket is closed for good (nginx: 5 s)."""

_WATCH: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_HUNG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_READABLE: Final = select.EPOLLIN | _HUNG_UP
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_NO_HELLO: Final = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 45\r\n\r\n"
)
_NO_HELLO_BODY: Final = b"This port speaks HTTPS. Please use https://.\r\n"


class FastLane:
    """
    Every client socket of this worker.

    Args:
        rooms: what requests are decided with.
        clock: read once a turn.
        connect: makes the sans-IO connection for a session that is open.
        door_for: the door that a server name opens on a TLS listener.
        serve_hits: False sends every exchange through the slow lane; a test compares the bytes.
    """

    def __init__(
        self,
        rooms: Rooms,
        clock: Clock,
        connect: Callable[[Door], Connection],
        door_for: Callable[[Listener, bytes | None], Door],
        *,
        serve_hits: bool = True,
    ) -> None:
        self.rooms = rooms
        self.clock = clock
        self.connect = connect
        self.door_for = door_for
        self.serve_hits = serve_hits
        self.slow: SlowLane
        self.epoll = select.epoll()
        self.ears = EpollEars(self.epoll)
        self.sessions: dict[int, Session] = {}
        self.watched: dict[int, Callable[[], object]] = {}
        self.deadlines: Deadlines[Session] = Deadlines()
        self.is_welcome: Callable[[Session], bool] = _everybody_is
        self.left: Callable[[Session], None] = _nobody_counts
        self.greetings = GREETINGS
        self.draining = False
        self.emptied = trio.Event()
        self.cells = rooms.cells
        self._again: dict[Session, None] = {}
        self._seldom = Seldom()
        self.now_mono = 0.0
        self.now_s = 0
        self.tick_clock()

    # -- turns ----------------------------------------------------------------------------------------------

    async def run(self, heartbeat: Callable[[float], None]) -> None:
        """
        Take turns for ever.

        Args:
            heartbeat: called once a turn with the mono time: the loop lives.
        """
        poll = self.epoll.poll
        fd = self.epoll.fileno()
        sessions = self.sessions
        listening, pending = self.ears.listening, self.ears.pending
        while True:
            if self._again or pending:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(fd)
            self.tick_clock()
            heartbeat(self.now_mono)
            self.greetings = GREETINGS
            if self._again:
                again, self._again = self._again, {}
                for session in again:
                    self.advance(session)
            for ready, events in poll(0, EVENTS):
                session_or_none = sessions.get(ready)
                if session_or_none is not None:
                    if events & _READABLE:
                        session_or_none.readable = True
                        if events & _HUNG_UP:
                            session_or_none.hung_up = True
                    self.advance(session_or_none)
                elif ready in listening:
                    pending[ready] = pending.get(ready, 0) | events
                elif (call := self.watched.get(ready)) is not None:
                    call()
            if pending:
                self.ears.hear(self.clock, self.now_mono + ORIGINS_S, ORIGINS_LEAST)
            self.cells[names.TURNS] += 1

    def tick_clock(self) -> None:
        """Read both clocks: now is the same for everyone in a turn."""
        self.now_mono = self.clock.mono()
        self.rooms.now_wall = wall = self.clock.wall()
        self.now_s = self.rooms.now_s = int(wall)

    def now_wall_ahead(self) -> float:
        """Return the seconds that the wall clock is ahead of the other, as read last: they change when it is set."""
        return self.rooms.now_wall - self.now_mono

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        """Call *call* in every turn in which *fd* is readable."""
        self.watched[fd] = call
        self.epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop calling; *fd* is still open."""
        if self.watched.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def sweep(self) -> None:
        """Close, or answer, every session whose deadline has passed. Called about once a second."""
        self.tick_clock()
        for session in self.deadlines.sweep(self.now_mono):
            self._expire(session)

    # -- sessions come and go -------------------------------------------------------------------------------

    def admit(self, sock: socket.socket, peer: str, door: Door, seat: Seat | None = None) -> Session:
        """Take a connected socket; it is ours from now on. With a *seat* it calls :attr:`left` when it closes."""
        sock.setblocking(False)
        session = Session(sock, peer, door, self.advance)
        session.seat = seat
        self.sessions[session.fd] = session
        self.epoll.register(session.fd, _WATCH)
        self.cells[names.SESSIONS] += 1
        self.cells[names.SESSIONS_OPEN] += 1
        introducers = door.introducers
        if introducers is not None and introducers.admits(peer):
            session.phase = Phase.PREFACE
            self.deadlines.arm(session, self.now_mono + self.rooms.config.timeouts.handshake_s)
        elif door.listener.tls:
            self.deadlines.arm(session, self.now_mono + self.rooms.config.timeouts.handshake_s)
        else:
            self._open(session, PlainStream(sock, Side.CLIENT))
        self.advance(session)
        return session

    def _open(self, session: Session, stream: PlainStream | TlsStream) -> None:
        session.stream = stream
        session.conn = self.connect(session.door)
        session.phase = Phase.OPEN
        session.waiting = Waiting.NOTHING
        self.deadlines.arm(session, NEVER)  # the handshake's, which else goes on if a request has come with its end
        if self.draining:
            session.conn.leave(at_once=False)

    def close(self, session: Session, *, reset: bool = False) -> None:
        """Let go of the socket, whatever was under way."""
        if session.phase is Phase.CLOSED:
            return
        if session.owed is not None:
            self._settle_owed(session, cut=True)
        has_stream = session.phase is not Phase.HELLO and session.phase is not Phase.PREFACE
        session.phase = Phase.CLOSED
        self.deadlines.forget(session)
        self._again.pop(session, None)
        del self.sessions[session.fd]
        self.cells[names.SESSIONS_OPEN] -= 1
        if session.seat is not None:
            self.left(session)
        # No epoll_ctl(DEL): the close does it, for no other descriptor refers to this socket (epoll(7), question 6).
        if reset:
            with suppress(OSError):  # setsockopt(2) on a socket the peer has reset: it is closed next
                session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if has_stream:
            session.stream.close()
        else:
            session.sock.close()
        for exchange in list(session.carried.values()):
            exchange.give_up()
        session.roomier()
        if not self.sessions and self.draining:
            self.emptied.set()

    def drain(self) -> None:
        """Let every session end after what it has begun; those at rest may ask once more (see :meth:`rest`)."""
        self.draining = True
        for session in list(self.sessions.values()):
            if session.phase is Phase.OPEN:
                session.conn.leave(at_once=False)
        if not self.sessions:
            self.emptied.set()

    def rest(self, idle_s: float) -> None:
        """(Draining) Close the sessions at rest that have been so for *idle_s*."""
        limit = self.rooms.config.timeouts.idle_s
        for session in list(self.sessions.values()):
            if session.waiting is Waiting.IDLE and session.deadline - limit + idle_s <= self.now_mono:
                self.close_kindly(session)

    def _expire(self, session: Session) -> None:
        waiting = session.waiting
        if waiting.value in names.TIMEOUTS:
            self.cells[names.TIMEOUTS[waiting.value]] += 1
        if waiting is Waiting.HANDSHAKE:
            self.cells[names.HANDSHAKES_FAILED] += 1
        if waiting is Waiting.HEAD or waiting is Waiting.BODY:
            if session.conn.reads_body and not session.carried:
                self.close_kindly(session)  # the reply is long complete, only the rest of its request never came
                return
            self._misunderstood(session, ClientFault(f"the {waiting.value} did not come in time", reply=408))
            self.advance(session)
        elif waiting is Waiting.IDLE:
            self.close_kindly(session)
        elif waiting is Waiting.TUNNEL:
            for exchange in session.carried.values():
                exchange.word = exchange.word or "connection_read_timeout"
                exchange.detail = exchange.detail or "nothing came through the tunnel"
            self.close_kindly(session)
        else:
            self.close(session, reset=waiting is Waiting.WRITE)

    def close_kindly(self, session: Session) -> None:
        """Say good-bye in TLS's words, then close."""
        session.stream.part()
        self.close(session)

    # -- one session, as far as it goes ----------------------------------------------------------------------

    def advance(self, session: Session) -> None:
        """Do everything that can be done for *session* without waiting. Safe to call at any time, in any phase."""
        phase = session.phase
        if phase is not Phase.OPEN:
            if phase is Phase.CLOSED:
                return
            if phase is Phase.LINGER:
                self._linger(session)
                return
            if not self._greet(session):
                return
        try:
            self._exchange(session)
        except ClientFault:
            self.close(session)
        except Exception:  # noqa: BLE001 - whatever it is, it costs this session only; said once, in _bug
            self._bug(session)

    def _exchange(self, session: Session) -> None:
        """Push, take, read: see the rules above."""
        conn = session.conn
        stream = session.stream
        out = conn.out
        sent = got = 0
        while True:
            while out.pending:
                piece = out.first()
                taken = stream.push_last(piece) if conn.closing and len(piece) == out.pending else stream.push(piece)
                if taken:
                    out.sent(taken)
                    sent += taken
                elif stream.wants_write:
                    break
                if sent >= CAP and out.pending:
                    self._again[session] = None
                    break
            if sent and session.carried:
                session.roomier()
            if out.pending:
                break
            if session.owed is not None:
                self._settle_owed(session)
            if conn.closing:
                self._leave(session)
                return
            try:
                event = conn.next_event()
            except ClientFault as fault:
                self._misunderstood(session, fault)
                continue
            if type(event) is Request:
                self._begin(session, event)
                continue
            if type(event) is Body:
                carried = session.carried.get(event.stream)
                if carried is not None:
                    carried.deliver(event.data)
                    if carried.is_full:
                        break
                continue
            if type(event) is End:
                carried = session.carried.get(event.stream)
                if carried is not None:
                    carried.deliver_end(event.trailers)
                continue
            if event is Wait.PAUSED and conn.buffered > READ_CAP:
                break
            if got >= READ_CAP:
                self._again[session] = None
                break
            if session.carried and session.is_full:
                break
            if not session.readable:
                break
            data = stream.pull()
            if data is None:
                session.readable = False
                break
            if not data:
                session.readable = False
                if not self._ended(session):
                    return
                continue
            if stream.drained and not session.hung_up:
                session.readable = False  # the next byte is a new edge; an end that has come without one is not
            got += len(data)
            conn.receive(data)
        self._rearm(session, moved=sent + got)

    def _begin(self, session: Session, event: Request) -> None:
        """Take one request: answer it here if that needs no waiting, else hand the exchange to the slow lane."""
        rooms = self.rooms
        head = event.head
        if session.waiting is Waiting.HEAD:
            session.waiting = Waiting.IDLE  # this head has come in time; the next has a time of its own
        known = head.known
        if known is None:
            known = rooms.recognise(head, session.door)
        if known.pick is not None:
            known = rooms.picked(known, session.peer)
        if known.guard is not None:
            self._begin_guarded(session, event, known)
            return
        decision = rooms.decide(known, session.peer)
        if self.serve_hits:
            if type(decision) is Serve:
                status, length = send_serve(session.conn, event.stream, known, decision, self.now_s)
                session.owed = (known, self.now_mono, status, length, decision.coding, "hit", "", "")
                return
            if type(decision) is Answer:
                send_answer(session.conn, event.stream, decision)
                session.owed = (
                    known, self.now_mono, decision.head.status, len(decision.body), "", decision.outcome, decision.word,
                    decision.detail,
                )  # fmt: skip
                return
        exchange = Exchange(session, event.stream, head, known, self.now_mono)
        session.carried[event.stream] = exchange
        self.slow.take(exchange, decision, is_quick=self.serve_hits)

    def _begin_guarded(self, session: Session, event: Request, known: Known) -> None:
        """Take one request to a route with rules: it must be admitted before anything is decided about it."""
        rooms = self.rooms
        guard, admission = known.guard, rooms.admission
        assert guard is not None
        assert admission is not None
        shown = shown_by(session, event.head.host) if guard.wants_certificate else None
        address = rooms.address(session.peer, event.head)
        visit = admission.visit(known, session.peer, address, shown)
        decision: Decision | None = visit.advance(self.now_mono, rooms.now_wall)
        if decision is None:
            known = visit.known
            decision = rooms.decide(known, session.peer)
        if self.serve_hits:
            if type(decision) is Serve:
                status, length = send_serve(session.conn, event.stream, known, decision, self.now_s, dress=visit.dress)
                session.owed = (known, self.now_mono, status, length, decision.coding, "hit", "", visit.detail)
                return
            if type(decision) is Answer:
                send_answer(session.conn, event.stream, decision, visit.dress)
                session.owed = (
                    known, self.now_mono, decision.head.status, len(decision.body), "", decision.outcome, decision.word,
                    decision.detail or visit.detail,
                )  # fmt: skip
                return
        exchange = Exchange(session, event.stream, event.head, known, self.now_mono)
        exchange.visit, exchange.dress, exchange.detail = visit, visit.dress, visit.detail
        session.carried[event.stream] = exchange
        self.slow.take(exchange, decision, is_quick=self.serve_hits)

    def _settle_owed(self, session: Session, *, cut: bool = False) -> None:
        """Every exchange ends in one entry; this is the fast lane's."""
        owed = session.owed
        session.owed = None
        assert owed is not None
        known, started, status, length, coding, outcome, word, detail = owed
        if cut:
            length = max(0, length - session.conn.out.pending)
            word = "connection_terminated"
        name = self.slow.name
        request_id = "" if name is None else name(known.head, session.peer).decode("latin-1")
        wall = self.clock.wall()
        self.rooms.record(
            (wall, self.rooms.address(session.peer, known.head), session.tls, known.head, status, length, self.clock.mono() - started, outcome, coding,
             "", 0.0, request_id, word, detail)
        )  # fmt: skip

    def _misunderstood(self, session: Session, fault: ClientFault) -> None:
        """The client broke the protocol, or kept us waiting: it is refused, and what it had under way is given up."""
        # One whose reply is complete may still be waiting to be settled; it is not what was misunderstood.
        carried = next((x for x in session.carried.values() if not x.complete), None)
        if carried is None:
            line = session.conn.first_line() or None
            sent = send_refusal(session.conn, fault, self.rooms.now_wall, pages=self.rooms.steering.pages)
            self.rooms.record(
                (self.clock.wall(), session.peer, session.tls, line, fault.reply or 0, sent, 0.0, "none", "", "", 0.0, "",
                 fault.word, fault.detail)
            )  # fmt: skip
            return
        carried.word, carried.detail = fault.word, fault.detail
        if carried.status:
            session.conn.abort()
        else:
            carried.status = fault.reply or 0
            carried.sent_bytes = send_refusal(
                session.conn, fault, self.rooms.now_wall, carried.stream, carried.known.pages
            )
        carried.give_up()

    def _ended(self, session: Session) -> bool:
        """The client will send no more. False if the session was closed."""
        conn = session.conn
        conn.receive_eof()
        if conn.tunnels:
            return True
        # A client that closes its side has gone: a requester that half-closes cannot be told from it (nginx: 499).
        self.close(session)
        return False

    def _rearm(self, session: Session, moved: int) -> None:
        """Choose what the session waits for now, and until when."""
        conn = session.conn
        timeouts = self.rooms.config.timeouts
        now = self.now_mono
        if conn.out.pending:
            self._pace(session, Waiting.WRITE, moved, timeouts.write_s)
        elif conn.at_rest:
            session.waiting = Waiting.IDLE
            self.deadlines.arm(session, now + timeouts.idle_s)
        elif not session.carried:
            if session.waiting is not Waiting.HEAD:
                session.waiting = Waiting.HEAD
                self.deadlines.arm(session, now + timeouts.head_s)
        elif conn.reads_body and not conn.is_held and not any(x.is_full for x in session.carried.values()):
            if any(x.status for x in session.carried.values()):  # both sides talk: silence on one is no attack
                if moved or session.waiting is not Waiting.BODY:
                    session.waiting = Waiting.BODY
                    self.deadlines.arm(session, now + timeouts.body_s)
            else:
                self._pace(session, Waiting.BODY, moved, timeouts.body_s)
        elif conn.tunnels:
            if moved or session.waiting is not Waiting.TUNNEL:
                session.waiting = Waiting.TUNNEL
                self.deadlines.arm(session, now + timeouts.tunnel_s)
        elif session.waiting is not Waiting.NOTHING:
            session.waiting = Waiting.NOTHING
            self.deadlines.arm(session, NEVER)

    def _pace(self, session: Session, waiting: Waiting, moved: int, pause_s: float) -> None:
        """Let the client pause for *pause_s*, and no longer for having moved a little: see LEAST_RATE."""
        if session.waiting is not waiting:
            session.waiting = waiting
            session.paced_mono = self.now_mono
            session.paced_bytes = 0
        elif not moved:
            return
        session.paced_bytes += moved
        earned_mono = session.paced_mono + session.paced_bytes / LEAST_RATE
        self.deadlines.arm(session, min(self.now_mono, earned_mono) + pause_s)

    # -- the beginning and the end ---------------------------------------------------------------------------

    def _greet(self, session: Session) -> bool:
        """Hear whose connection it is, peek, choose the context, shake hands. True once the session is open."""
        if session.phase is Phase.PREFACE and not self._introduced(session):
            return False
        if session.phase is Phase.OPEN:
            return True
        if session.phase is Phase.HANDSHAKE and not session.readable and not session.stream.wants_write:
            return False  # an edge of room to write, which nobody waits for: every new socket has one
        if not self.greetings:
            self._again[session] = None
            return False
        self.greetings -= 1
        try:
            if session.phase is Phase.HELLO:
                hello = peek_hello(session.sock)
                if hello is NEED_DATA:
                    if session.hung_up:
                        self.close(session)
                    return False
                if isinstance(hello, NotTls):
                    self._not_tls(session, hello)
                    return False
                if not hello.speaks(b"http/1.1"):
                    session.sock.send(NO_COMMON_PROTOCOL)
                    self._failed_handshake(session, ClientFault(f"offers only {hello.alpn!r}"))
                    return False
                session.door = self.door_for(session.door.listener, hello.server_name)
                assert session.door.context is not None
                session.stream = TlsStream(session.sock, Side.CLIENT, session.door.context)
                session.phase = Phase.HANDSHAKE
            stream = session.stream
            if stream.handshake() is not Ready.DONE:
                session.readable = False
                if session.hung_up:
                    self._failed_handshake(session)
                return False
        except (Fault, OSError) as fault:
            self._failed_handshake(session, fault)
            return False
        assert isinstance(stream, TlsStream)
        if stream.drained and not session.hung_up:
            session.readable = False
        session.tls = stream.version or ""
        self.cells[names.HANDSHAKES_RESUMED if stream.resumed else names.HANDSHAKES_FULL] += 1
        self._open(session, stream)
        return True

    def _introduced(self, session: Session) -> bool:
        """Read a balancer's PROXY header and no byte more. True once it is read: the session's phase is the next one."""
        try:
            seen = session.sock.recv(HEADER_BYTES, socket.MSG_PEEK)
            if not seen:
                self.close(session)
                return False
            header = read_header(seen)
            if header is None:
                if session.hung_up:
                    self.close(session)
                return False
            session.sock.recv(header.size)
        except BlockingIOError:
            return False
        except (ClientFault, OSError) as fault:
            self.cells[names.INTRODUCTIONS_FAILED] += 1
            held = self._seldom.may_say(session.door.listener.address, self.now_mono)
            if held is not None:
                log.warning(
                    "%s is in proxy_protocol_from of %s, but its connection did not begin with a PROXY header: %s; closed",
                    session.peer or "the Unix socket's peer",
                    session.door.listener.address,
                    fault,
                )
            self.close(session)
            return False
        if header.ends.source:
            session.ends = header.ends
            session.peer = header.ends.source
            if not self.is_welcome(session):
                self.close(session)
                return False
        if session.door.listener.tls:
            session.phase = Phase.HELLO
        else:
            self._open(session, PlainStream(session.sock, Side.CLIENT))
        return True

    def _failed_handshake(self, session: Session, fault: Exception | None = None) -> None:
        self.cells[names.HANDSHAKES_FAILED] += 1
        log.debug("handshake with %s failed: %r", session.peer, fault)
        self.close(session)

    def _not_tls(self, session: Session, hello: NotTls) -> None:
        """Someone speaks something else on a TLS port: tell an HTTP client so in its own words."""
        self.cells[names.HANDSHAKES_FAILED] += 1
        if hello.kind == "http":
            with suppress(OSError):  # send(2): whoever makes this mistake may be gone already
                session.sock.recv(65536)
                session.sock.send(_NO_HELLO + _NO_HELLO_BODY)
                session.sock.shutdown(socket.SHUT_WR)
            session.stream = PlainStream(session.sock, Side.CLIENT)
            session.phase = Phase.LINGER
            session.waiting = Waiting.LINGER
            self.deadlines.arm(session, self.now_mono + LINGER_S)
            return
        self.close(session)

    def _leave(self, session: Session) -> None:
        """All is said. Close at once if the client has nothing more under way, else let its bytes run dry first."""
        if session.conn.torn:
            self.close(session, reset=True)
            return
        for exchange in list(session.carried.values()):
            exchange.give_up()
        if session.hung_up or not session.conn.lingers:
            session.stream.part()
            self.close(session)
            return
        session.stream.shut()
        session.phase = Phase.LINGER
        session.waiting = Waiting.LINGER
        self.deadlines.arm(session, self.now_mono + LINGER_S)
        session.roomier()
        self._linger(session)

    def _linger(self, session: Session) -> None:
        """Throw away what comes: closing with bytes unread would reset the connection and our last words with it."""
        try:
            for _ in range(16):
                if not session.sock.recv(65536):
                    break
            else:
                return
        except BlockingIOError:
            return
        except OSError:  # recv(2): reset by the peer, which is an end too
            pass
        self.close(session)

    def _bug(self, session: Session) -> None:
        """An error of our own: it costs this session, and nobody else."""
        self.cells[names.BUGS] += 1
        log.error("an error of our own in the fast lane, on %r: please report it", session, exc_info=True)  # noqa: LOG014 - called from the handler
        self.close(session, reset=True)


def _everybody_is(_: Session) -> bool:
    return True


def _nobody_counts(session: Session) -> None:
    raise AssertionError(f"{session!r} has a seat, and nobody has given it one")
