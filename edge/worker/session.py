"""
A client connection: one socket, its stream, its sans-IO connection, and the exchanges it has in the slow lane.

Only :mod:`edge.worker.fast` touches the socket. The slow lane calls the few methods below, each of which writes into
the connection and lets the fast lane push what it can at once.

Invariants
    - CLOSED is terminal: every later call is a no-op, and whoever waits here has been woken or cancelled.
    - ``carried`` holds exactly the exchanges whose task has not settled yet.
    - While an exchange's inbox is full nothing more is read, so a slow origin costs at most HIGH plus one read.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Literal

import trio

from edge.errors import ClientGone
from edge.message.head import Framing
from edge.reply.timing import timed
from edge.worker.deadlines import NEVER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from edge.exchange.admission import Visit
    from edge.exchange.recognise import Door, Known
    from edge.http.connection import Connection
    from edge.message.head import Field, ReplyHead, RequestHead
    from edge.message.proxy_protocol import Ends
    from edge.origin.request import Said
    from edge.policy.certificate import Shown
    from edge.reply.dress import Dress
    from edge.share.crowd import Seat
    from edge.tls.stream import Stream

HIGH = 256 * 1024
"""Unsent bytes above which a carried exchange must wait for room; unread body bytes above which reading stops."""

MANY = 32
CRUMB = 16 * 1024
"""Where MANY parts of a request's body wait already, small ones are joined up to CRUMB bytes, a TLS record's worth."""


class Phase(Enum):
    """What is true of a session, and what may be touched."""

    PREFACE = "preface"  # the socket is open; a balancer's PROXY header comes before anything else
    HELLO = "hello"  # the socket is open, not a byte has been consumed; no stream, no connection
    HANDSHAKE = "handshake"  # the stream exists; nothing but handshake() may be called on it
    OPEN = "open"  # stream and connection may be used
    LINGER = "linger"  # all is said; what still comes is thrown away, so that our last words are not lost to a reset
    CLOSED = "closed"  # nothing may be touched


class Waiting(Enum):
    """What a deadline stands for: the word is the metric's label."""

    HANDSHAKE = "handshake"
    HEAD = "head"
    BODY = "body"
    WRITE = "write"
    IDLE = "idle"
    TUNNEL = "tunnel"
    LINGER = "linger"
    NOTHING = "nothing"  # an exchange is carried and has its own deadlines


class Exchange:
    """
    One request and its reply, while the slow lane carries it.

    Attributes:
        stream: the connection's number for it.
        head: the request's.
        known: what was worked out from it.
        scope: around what is of use to this client only, while that is being done; see :meth:`bound`.
        is_given_up: the client is gone, or was refused: nothing more is done for it.
        gone: who is told so while no task carries it.
        started_mono: when its head was complete.
        status: of the reply's head as far as one was sent; 0 before.
        sent_bytes: body bytes handed to the connection.
        outcome: RFC 9211's word for the log.
        complete: the reply has ended and was not cut.
        collapsed: it waited for another's flight.
        visit: its admission, on a route with rules; None: everybody may.
        dress: what its reply wears.
        leg: how often it has been handed over to another task; the task of the last leg ends it.
    """

    is_attended = True

    # Defaults live on the class: an exchange writes only what differs, a third of the cost of filling the slots.
    scope: trio.CancelScope | None = None
    is_given_up = False
    gone: Callable[[Exchange], None] | None = None
    collapsed = False
    leg = 0
    ended = True  # the request's body is here to its end
    trailers: list[Field] = []  # noqa: RUF012 - never written to, only replaced
    status = 0
    sent_bytes = 0
    complete = False
    outcome = "none"
    encoding = ""
    origin = ""
    origin_s = 0.0
    request_id = b""
    word = ""
    detail = ""
    visit: Visit | None = None
    dress: Dress | None = None
    _inbox_bytes = 0
    _inbox: deque[bytes] = deque()  # noqa: RUF012 - as trailers
    _lot: trio.lowlevel.ParkingLot

    def __init__(self, session: Session, stream: int, head: RequestHead, known: Known, started_mono: float) -> None:
        self.session = session
        self.stream = stream
        self.head = head
        self.known = known
        self.started_mono = started_mono
        if head.framing is not Framing.NONE:
            self.begin_body()

    def __repr__(self) -> str:
        return (
            f"<Exchange {self.stream} {self.head.method.decode('latin-1')} {self.outcome} status={self.status} "
            f"in={self._inbox_bytes}{'.' if self.ended else '…'} sent={self.sent_bytes}>"
        )

    # -- the request's body, from the fast lane to the slow one --------------------------------------------

    def begin_body(self) -> None:
        """Expect a body, or what the client says in a tunnel. Most requests have none, and no place for one."""
        self.ended = False
        self._inbox = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def deliver(self, data: bytes) -> None:
        """(Fast lane) Take a part of the request's body. Many crumbs are joined: each kept by itself costs 50 bytes more."""
        inbox = self._inbox
        if len(inbox) >= MANY and len(inbox[-1]) + len(data) <= CRUMB:
            inbox[-1] += data
        else:
            inbox.append(data)
        self._inbox_bytes += len(data)
        self._lot.unpark_all()

    def deliver_end(self, trailers: list[Field]) -> None:
        """(Fast lane) The request's body has ended."""
        self.ended = True
        self.trailers = trailers
        self._lot.unpark_all()

    @property
    def is_full(self) -> bool:
        """The session must stop reading."""
        return self._inbox_bytes >= HIGH

    async def more(self) -> bytes | None:
        """
        Wait for the next part of the request's body; None at its end.

        A client that breaks off, or the protocol, cancels the exchange instead.
        """
        while not self._inbox:
            if self.ended:
                return None
            await self._lot.park()
        was_full = self.is_full
        data = self._inbox.popleft()
        self._inbox_bytes -= len(data)
        if was_full and not self.is_full:
            self.session.resume()
        return data

    # -- the client ----------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """(Fast lane) The client is gone, or was refused: end what is done for it alone."""
        self.is_given_up = True
        if self.scope is not None:
            self.scope.cancel()
        elif self.gone is not None:
            self.gone(self)

    def bound(self) -> Bound:
        """
        Do what is of use to this client only: given up as soon as it is gone.

        Raises (entering, or leaving):
            ClientGone: it is gone.
        """
        return Bound(self)

    # -- the reply -----------------------------------------------------------------------------------------

    def interim(self, head: ReplyHead) -> None:
        """Send a 1xx, unless the final reply has begun."""
        if self.session.phase is Phase.OPEN and not self.status:
            self.session.conn.send_interim(self.stream, head)
            self.session.flush()

    def reply(self, head: ReplyHead) -> None:
        """Send the reply's head; nothing leaves before the first part of the body or the end is sent."""
        if self.dress is not None:
            head = self.dress.on(head)
        way = self.known.way
        if way is not None and way.tells_timing and self.origin_s:
            head = timed(head, self.outcome, self.origin_s)
        self.status = head.status
        if self.session.phase is Phase.OPEN:
            self.session.conn.send_head(self.stream, head)

    def send(self, data: bytes | memoryview) -> None:
        """Send a part of the reply's body. Follow with :meth:`room`."""
        self.sent_bytes += len(data)
        if self.session.phase is Phase.OPEN:
            self.session.conn.send_body(self.stream, data)
            self.session.flush()

    def send_later(self, data: bytes | memoryview) -> None:
        """Send a part of the body together with what follows: another part, or the end."""
        self.sent_bytes += len(data)
        if self.session.phase is Phase.OPEN:
            self.session.conn.send_body(self.stream, data)

    def push(self) -> None:
        """Let what was sent so far leave: a head whose body is yet to come."""
        self.session.flush()

    def sent(self) -> None:
        """The reply was given to the connection to its end, by :mod:`edge.exchange.send`."""
        self.complete = True
        self.session.flush()

    def end(self, trailers: list[Field] | None = None) -> None:
        """The reply is complete."""
        self.complete = True
        if self.session.phase is Phase.OPEN:
            self.session.conn.send_end(self.stream, trailers or [])
            self.session.flush()

    def refuse(self, head: ReplyHead, body: bytes) -> None:
        """Answer with an error and close: the request's framing or the client can no longer be trusted."""
        self.status = head.status
        self.complete = True
        if self.session.phase is Phase.OPEN:
            self.sent_bytes = self.session.conn.refuse(self.stream, head, body)
            self.session.flush()

    def abort(self) -> None:
        """The reply cannot be completed: tear the connection so that the client can tell."""
        if self.session.phase is Phase.OPEN:
            self.session.conn.abort()
            self.session.flush()

    async def room(self) -> None:
        """Wait until the client has taken enough of what it is owed."""
        await self.session.room(HIGH)


class Bound:
    """The block of :meth:`Exchange.bound`: a cancel scope that the client's end cancels. Cost: 1 µs."""

    __slots__ = ("_exchange", "_scope")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        session = self._exchange.session
        if session.phase is not Phase.OPEN or session.conn.closing:  # refused already, before its task first ran
            raise ClientGone("the client has left")
        self._scope = self._exchange.scope = trio.CancelScope()
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        swallowed = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise ClientGone("the client has left")
        return swallowed


class Unattended(Exchange):
    """An exchange of our own: it refreshes a copy, and nobody waits for its reply."""

    is_attended = False

    def __init__(self, known: Known, started_mono: float) -> None:
        super().__init__(NOBODY, 0, known.head, known, started_mono)

    def interim(self, head: ReplyHead) -> None:
        """There is nobody to tell."""


class Session:
    """
    One client connection.

    Attributes:
        peer: the client's address without port, as text; empty on a Unix socket.
        ends: both ends of the client's connection, where a balancer has told us; None: ask the socket.
        door: the listener it came in by, with the TLS context chosen for it.
        deadline, bucket: see :mod:`edge.worker.deadlines`.
        hung_up: the kernel has said that the client closed its side, or both.
        paced_mono, paced_bytes: since when the client is waited for without a break, and how much has moved since then.
        readable: the socket may have bytes, or an end, that were not read yet.
        seat: where its client's connections are counted, or None.
        shown: the certificate its client has shown; False: none; None: nobody has looked.
        said: what it had said to an origin last.
        owed: the log entry's parts of the reply that is being written by the fast lane, or None.
    """

    __slots__ = (
        "_advance",
        "_lot",
        "bucket",
        "carried",
        "conn",
        "deadline",
        "door",
        "ends",
        "fd",
        "hung_up",
        "owed",
        "paced_bytes",
        "paced_mono",
        "peer",
        "phase",
        "readable",
        "said",
        "seat",
        "shown",
        "sock",
        "stream",
        "tls",
        "waiting",
    )

    def __init__(self, sock: socket.socket, peer: str, door: Door, advance: Callable[[Session], None]) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.door = door
        self._advance = advance
        self.stream: Stream
        self.conn: Connection
        self.phase = Phase.HELLO
        self.waiting = Waiting.HANDSHAKE
        self.deadline = NEVER
        self.bucket = NEVER
        self.carried: dict[int, Exchange] = {}
        self.owed: Owed | None = None
        self.ends: Ends | None = None
        self.seat: Seat | None = None
        self.hung_up = False
        self.paced_mono = 0.0
        self.paced_bytes = 0
        self.readable = True
        self.said: Said | None = None
        self.tls = ""
        self.shown: Shown | Literal[False] | None = None
        self._lot: trio.lowlevel.ParkingLot | None = None  # most sessions are never waited for

    def __repr__(self) -> str:
        return f"<Session fd={self.fd} {self.peer} {self.phase.value} {self.waiting.value} carried={len(self.carried)}>"

    @property
    def is_full(self) -> bool:
        """Nothing more must be read: one of its exchanges has enough of its request's body."""
        for exchange in self.carried.values():  # noqa: SIM110 - a generator costs more than all of this
            if exchange.is_full:
                return True
        return False

    def flush(self) -> None:
        """Push what can be pushed, and take the next request if this made one possible."""
        self._advance(self)

    def resume(self) -> None:
        """Read again: the exchange that was full has taken some."""
        self._advance(self)

    async def room(self, most: int) -> None:
        """
        Wait until at most *most* bytes are unsent.

        Raises:
            ClientGone: the session closed.
        """
        while self.phase is Phase.OPEN and self.conn.out.pending > most:
            if self._lot is None:
                self._lot = trio.lowlevel.ParkingLot()
            await self._lot.park()
        if self.phase is not Phase.OPEN and self.phase is not Phase.LINGER:
            raise ClientGone("the client left before it had taken the whole reply")

    def settled(self) -> None:
        """An exchange has been settled: what it held up may go on."""
        if self.phase is Phase.OPEN and (self.readable or self.conn.buffered or self.conn.closing):
            self._advance(self)

    def roomier(self) -> None:
        """(Fast lane) Some was sent, or the session closed: let who waits look."""
        if self._lot is not None:
            self._lot.unpark_all()


Owed = tuple["Known", float, int, int, str, str, str, str]
"""What is logged when a reply of the fast lane's has left: known, started_mono, status, bytes, coding, outcome, word, detail."""

NOBODY: Session = None  # type: ignore[assignment]
"""The session of an exchange that has none; whoever asks has not looked at ``is_attended``."""
