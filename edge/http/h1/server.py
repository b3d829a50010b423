"""
The server side of HTTP/1.1 and 1.0: one client's requests in, replies out, one exchange at a time.

Two halves that move independently. What may be looked at in each state:

    reading    HEAD    at or inside a request head; no exchange is open
               BODY    ``_body`` is inside a request's body; without an open exchange its bytes are discarded
               READ    the request is read whole; what is in ``_buffer`` belongs to the next
               TUNNEL  bytes are carried verbatim
               HALF    the client has ended its side of the tunnel; ours goes on
               OVER    nothing is read any more; the open exchange, if there is one, is the last
    replying   ``_writer``: no head out yet, or inside a body framed in one of four ways

An exchange opens with its Request and ends with ``send_end``, ``send_whole``, ``refuse`` or ``abort``; only then is the
next request looked at, so replies leave in the order of their requests (RFC 9112 §9.3.2).

If a reply ends before its request's body was read: a rest of at most DRAIN_BYTES is read and discarded so that the
connection can go on; for a longer one, one of unknown length, or one the client holds back until it is told to
continue, the reply says ``connection: close``.

A head that is byte for byte one seen before is not parsed again: :mod:`~edge.http.h1.memo`. Hot: ``receive``, ``next_event``, ``send_whole``.
Bench: bench/micro/test_http.py. Source: RFC 9112.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from edge.errors import ClientFault, ClientGone
from edge.http.events import NEED_DATA, PAUSED, Body, End, Request, Wait
from edge.http.h1.body import BodyDecoder, LengthDecoder
from edge.http.h1.chunked import ChunkedDecoder
from edge.http.h1.fields import find_bare_lf
from edge.http.h1.framing import has_no_body
from edge.http.h1.head import check_request_line, parse_request_head
from edge.http.h1.memo import HeadMemo
from edge.http.h1.render import reply_head
from edge.http.h1.writer import BodyWriter
from edge.http.out import Out
from edge.message.head import Framing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.http.limits import HeadLimits
    from edge.message.head import Field, ReplyHead, RequestHead

DRAIN_BYTES = 64 * 1024
"""What it may cost to keep a connection whose request body nobody wanted: less than a new TLS handshake does."""


TOLD_BYTES: Final = 256
"""Of a first line that is refused: what is kept of it, to be told to people."""


class Reading(Enum):
    """What the next byte from the client belongs to."""

    HEAD = "head"
    BODY = "body"
    READ = "read"
    TUNNEL = "tunnel"
    HALF = "half"
    OVER = "over"


HEAD: Final = Reading.HEAD
BODY: Final = Reading.BODY
READ: Final = Reading.READ
TUNNEL: Final = Reading.TUNNEL
HALF: Final = Reading.HALF
OVER: Final = Reading.OVER


class ServerConnection:
    """One client's HTTP/1 connection; see :class:`edge.http.connection.Connection` for what its methods promise."""

    __slots__ = (
        "_asked",
        "_body",
        "_buffer",
        "_continued",
        "_default_authority",
        "_eof",
        "_heads",
        "_last",
        "_leaving",
        "_limits",
        "_memo",
        "_newline_skipped",
        "_reading",
        "_refused",
        "_scanned",
        "_scheme",
        "_stream",
        "_writer",
        "closing",
        "lingers",
        "out",
        "plain",
        "torn",
        "width",
    )

    def __init__(
        self,
        scheme: bytes,
        limits: HeadLimits,
        memo: HeadMemo | None = None,
        default_authority: bytes | None = None,
    ) -> None:
        """
        Begin a connection.

        Args:
            scheme: ``b"https"`` or ``b"http"``: how clients reach us here.
            limits: what a request may measure.
            memo: remembered heads. May be shared by all connections of the same scheme, limits and
                default authority. None: nothing is remembered beyond this connection.
            default_authority: for HTTP/1.0 requests without Host.
        """
        self.width = 1
        self.out = Out()
        self.closing = False
        self.lingers = False
        self.torn = False
        self.plain = False
        self._scheme = scheme
        self._limits = limits
        self._memo = HeadMemo() if memo is None else memo
        self._heads = self._memo.heads
        self._default_authority = default_authority
        self._reading = HEAD
        self._refused = b""  # how the head began that was
        self._buffer = b""
        self._scanned = 0  # how far _buffer was searched for the head's end; 0: none of this head was looked at
        self._newline_skipped = False
        self._eof = False
        self._stream = 0
        self._asked: RequestHead | None = None  # of the open exchange
        self._body: BodyDecoder | None = None
        self._continued = False
        self._writer = BodyWriter(self.out)
        self._last = False  # the connection closes after the open exchange
        self._leaving = False

    # --- reading ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes as read. Cost: one reference if everything before was consumed."""
        if not self._buffer:
            self._buffer = data
        elif not self.closing:
            self._buffer += data

    def receive_eof(self) -> None:
        """Note that the client will send nothing more; what it asked for is still answered."""
        self._eof = True

    def next_event(self) -> Request | Body | End | Wait:
        """Return what happened next. Cost: 0.5 µs for a remembered head."""
        if (
            self._reading is HEAD
            and not self._scanned
            and (head := self._heads.get(self._buffer)) is not None
            and head.scheme == self._scheme  # a memo shared too widely costs time, not correctness
        ):
            self._buffer = b""
            self._asked = head
            self._stream += 1
            self._reading = READ
            self.plain = head.keep_alive and head.version == 11 and not self._leaving
            return Request(self._stream, head)
        try:
            if self._reading is HEAD:
                if not self._buffer and not self._eof:
                    return NEED_DATA
                return self._read_head()
            if self._reading is BODY:
                return self._read_body()
        except ClientFault:
            unanswered = self._reading is HEAD or self._asked is not None
            self._refused = self.first_line()
            self._close(lingers=True)
            if unanswered:
                raise
            return PAUSED  # the reply to this request is long complete: another would answer nothing
        return self._read_tunnel() if self._reading is TUNNEL else PAUSED

    def _read_head(self) -> Request | Wait:
        """Open an exchange with the next head, if it is here."""
        raw = self._take_head()
        if raw is None:
            if not self._eof:
                return NEED_DATA
            if self._buffer:
                raise ClientGone("end of file inside a head")
            self._close()
            return PAUSED
        head = self._heads.get(raw)
        if head is None or head.scheme != self._scheme:
            try:
                head = self._memo.read(raw, self._scheme, self._parse)
            except ClientFault:
                self._refused = raw[: TOLD_BYTES + 1]
                raise
        self._asked = head
        self._stream += 1
        if head.framing is Framing.NONE:
            self._reading = READ
            self.plain = head.keep_alive and head.version == 11 and not self._leaving
        else:
            self._reading = BODY
            self._continued = False
            if head.framing is Framing.LENGTH:
                self._body = LengthDecoder(head.length)
            else:
                self._body = ChunkedDecoder(ClientFault, self._limits.body_bytes)
        return Request(self._stream, head)

    def _parse(self, raw: bytes) -> RequestHead:
        return parse_request_head(raw, self._scheme, self._limits, self._default_authority)

    def _take_head(self) -> bytes | None:
        """
        Cut a complete head off the buffer; None while its end has not come.

        What can be refused is refused as soon as it shows, in an order that does not depend on how the input was cut.
        """
        buffer = self._buffer
        if not self._newline_skipped and buffer.startswith(b"\r"):
            if len(buffer) == 1:
                return None
            if buffer.startswith(b"\r\n"):  # RFC 9112 §2.2: one empty line before a request is forgiven
                self._newline_skipped = True
                self._scanned = 1
                self._buffer = buffer = buffer[2:]
        limits = self._limits
        line_end = buffer.find(b"\n", 0, limits.line_bytes + 2) - 1
        if line_end == -2:
            if len(buffer) > limits.line_bytes + 1:
                raise ClientFault("request line too long", reply=414)
            return None
        if line_end < 0 or buffer[line_end] != 13:
            raise ClientFault(f"request line {buffer[: line_end + 1][:80]!r} before a bare LF")
        end = buffer.find(b"\r\n\r\n", max(line_end, self._scanned - 3))
        too_long = (end if end >= 0 else len(buffer) - 3) - line_end > limits.header_bytes
        if too_long or (end < 0 and self._scanned <= 1):
            check_request_line(buffer)
        if too_long:
            _refuse_bare_lf(buffer, line_end, line_end + limits.header_bytes + 4)
            raise ClientFault("field lines too long", reply=431)
        if end < 0:
            _refuse_bare_lf(buffer, max(line_end, self._scanned), len(buffer))
            self._scanned = len(buffer)
            return None
        self._scanned = 0
        self._newline_skipped = False
        self._buffer = buffer[end + 4 :]
        return buffer[: end + 4]

    def _read_body(self) -> Request | Body | End | Wait:
        """Give on what has come of a request's body, or discard it if its exchange is over."""
        body = self._body
        assert body is not None, "BODY without a decoder"
        while not body.done:
            data = self._buffer
            if not data:
                if self._eof:
                    raise ClientGone("end of file inside a body")
                return NEED_DATA
            self._buffer = b""
            self._continued = True  # whatever it was told: it waits no more
            piece = body.decode(data)
            if piece and self._asked is not None:
                return Body(self._stream, piece)
        self._buffer = body.rest or self._buffer  # a body of no bytes has looked at none of them
        self._body = None
        asked = self._asked
        if asked is None:
            self._reading = HEAD
            return self.next_event()
        self._reading = READ
        replying = self._writer.framing is not None
        self.plain = asked.keep_alive and asked.version == 11 and not self._leaving and not replying
        return End(self._stream, body.trailers)

    def _read_tunnel(self) -> Body | End | Wait:
        """Carry what came, verbatim."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return Body(self._stream, data)
        if self._eof:
            self._reading = HALF
            return End(self._stream)
        return NEED_DATA

    def limit_body(self, stream: int, most: int) -> None:
        """Take no more of a body whose length nobody has said; one whose length is said was seen before."""
        self._open(stream)
        if isinstance(self._body, ChunkedDecoder):
            self._body.limit(most)

    # --- replying --------------------------------------------------------------------------------------------

    def send_whole(self, stream: int, wire: bytes, body: bytes | memoryview | None) -> None:
        """Send a reply rendered before and end the exchange. Cost: 0.3 µs."""
        if not self.plain or stream != self._stream:
            raise AssertionError("a rendered reply on an exchange that is not plain")
        self.out.append(wire)
        if body is not None:
            self.out.append(body)
        self.plain = False
        self._asked = None
        self._reading = HEAD

    def send_interim(self, stream: int, head: ReplyHead) -> None:
        """Send a 1xx reply; dropped for HTTP/1.0, which does not know them (RFC 9110 §15.2)."""
        asked = self._open(stream)
        assert self._writer.framing is None, "an interim reply after the final one"
        assert head.status in range(100, 200), "not an interim status"
        assert head.status != 101, "101 is sent by tunnel"
        if asked.version > 10:
            self._continued = self._continued or head.status == 100
            self.out.append(reply_head(head.status, head.reason, head.fields))

    def send_head(self, stream: int, head: ReplyHead) -> None:
        """Send the final reply's head and decide its framing: RFC 9112 §6.1, §6.3, §9.3."""
        asked = self._open(stream)
        framing, length = self._frame(asked, head)
        if framing is Framing.CHUNKED:
            added = b"transfer-encoding: chunked\r\n"
        else:
            added = b"" if length is None else b"content-length: %d\r\n" % length
        closes = self._leaving or not asked.keep_alive or framing is Framing.CLOSE or not self._may_drain(asked)
        if closes:
            added += b"connection: close\r\n"
        elif asked.version == 10:
            added += b"connection: keep-alive\r\n"
        wire = reply_head(head.status, head.reason, head.fields, added)
        self._writer.begin(framing, length or 0)
        self._last = closes
        self.plain = False
        self.out.append(wire)

    def _frame(self, asked: RequestHead, head: ReplyHead) -> tuple[Framing, int | None]:
        """Return how the reply's body is framed on this wire, and the Content-Length to say."""
        assert head.status >= 200, "not a final status"
        if has_no_body(head.status, asked.method):
            return Framing.NONE, None if head.status == 204 else head.length
        if head.framing is Framing.NONE:
            return Framing.LENGTH, 0
        if head.framing is Framing.LENGTH:
            assert head.length is not None, "framing LENGTH without a length"
            return Framing.LENGTH, head.length
        return (Framing.CHUNKED if asked.version > 10 else Framing.CLOSE), None

    def send_body(self, stream: int, data: bytes | memoryview) -> None:
        """Send some of the reply's body, or of the tunnel."""
        self._open(stream)
        self._writer.write(data)

    def send_end(self, stream: int, trailers: Sequence[Field] = ()) -> None:
        """End the reply; with it the exchange, and the connection if the reply said so."""
        self._open(stream)
        self._writer.end(trailers)
        self._asked = None
        self.plain = False
        if self._last:
            self._close(lingers=self._reading is not READ or bool(self._buffer))
        elif self._reading is READ:
            self._reading = HEAD

    def first_line(self) -> bytes:
        """Return how the head begins that was refused, or that is being read: TOLD_BYTES of its first line at most."""
        begun = self._refused or (self._buffer[: TOLD_BYTES + 1] if self._reading is HEAD else b"")
        return begun.partition(b"\n")[0].rstrip(b"\r")[:TOLD_BYTES]

    def refuse(self, stream: int | None, head: ReplyHead, body: bytes) -> int:
        """Send an error reply and close; to HEAD without its body. Returns what is sent of it."""
        assert self._writer.framing is None, "a refusal behind a reply's head"
        assert stream is None or stream == self._stream, "a refusal of another exchange"
        added = b"content-length: %d\r\nconnection: close\r\n" % len(body)
        self.out.append(reply_head(head.status, head.reason, head.fields, added))
        sent = 0
        if self._asked is None or not has_no_body(head.status, self._asked.method):
            self.out.append(body)
            sent = len(body)
        self._asked = None
        self._close(lingers=self._reading is not READ or bool(self._buffer))
        return sent

    def abort(self) -> None:
        """Give up the open reply: drop what waits, and close so that the client sees a cut."""
        self.out.clear()
        self._asked = None
        self._writer.framing = None
        self.torn = True
        self._close()

    def tunnel(self, stream: int, head: ReplyHead) -> None:
        """Send 101 and carry bytes verbatim from now on: RFC 9110 §7.8."""
        asked = self._open(stream)
        assert head.status == 101, "a tunnel begins with 101"
        assert asked.upgrade is not None, "nobody asked for another protocol"
        added = b"connection: upgrade\r\nupgrade: %b\r\n" % asked.upgrade
        self._writer.begin(Framing.CLOSE)
        self.out.append(reply_head(101, head.reason, head.fields, added))
        self._reading = TUNNEL
        self.plain = False
        self._last = True

    # --- the connection --------------------------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """No exchange is open and nothing waits in either direction."""
        return self._reading is HEAD and not self._buffer and not self.out.pending

    @property
    def buffered(self) -> int:
        """Bytes received and not yet looked at."""
        return len(self._buffer)

    @property
    def reads_body(self) -> bool:
        """The client's next bytes belong to the body of the request that is open, or was."""
        return self._reading is BODY

    @property
    def is_held(self) -> bool:
        """The client holds its request's body back until it hears 100, and has not heard it: its silence is our doing."""
        asked = self._asked
        return (
            self._reading is BODY
            and not self._continued
            and asked is not None
            and asked.expect_continue
            and not self._buffer
        )

    @property
    def tunnels(self) -> bool:
        """Bytes are carried verbatim, at least towards the client."""
        return self._reading is TUNNEL or self._reading is HALF

    def leave(self, *, at_once: bool = True) -> None:
        """Drain: the next reply is the last and says so; *at_once* closes a connection at rest without waiting for it."""
        self._leaving = True
        self.plain = False
        if at_once and self._reading is HEAD and not self._buffer:
            self._close()

    def _open(self, stream: int) -> RequestHead:
        """Return what the open exchange asked; a bug of ours if *stream* is not it."""
        asked = self._asked
        assert asked is not None, "no exchange is open"
        assert stream == self._stream, "another exchange is open"
        return asked

    def _may_drain(self, asked: RequestHead) -> bool:
        """Return whether what is left of the request's body is read on for the sake of the next request."""
        if self._reading is not BODY or self._body is None:
            return self._reading is READ
        left = self._body.most_left()
        if left is None or left - len(self._buffer) > DRAIN_BYTES:
            return False
        # A client that waits for 100 may never send its body: its next bytes could be either.
        return not asked.expect_continue or self._continued or bool(self._buffer) or left < asked.length

    def _close(self, *, lingers: bool = False) -> None:
        """Read no more; the connection is closing as soon as no exchange is open."""
        self._reading = OVER
        self._buffer = b""
        self._body = None
        self.plain = False
        self._last = True
        self.closing = self._asked is None
        self.lingers = self.lingers or (lingers and not self._eof)

    def __repr__(self) -> str:
        closing = ", closing" if self.closing else ""
        return f"<ServerConnection #{self._stream} reading {self._reading.value}, {self._writer!r}{closing}>"


def _refuse_bare_lf(buffer: bytes, start: int, end: int) -> None:
    """Refuse a head that will never be well formed, before its end: who ends lines so does not send one that we would find."""
    if found := find_bare_lf(buffer, start, end):
        raise ClientFault(f"field line {buffer[max(start, found.start() - 80) : found.start()]!r} before a bare LF")
