"""
The client side of HTTP/1.1: one origin's connection, requests out, replies in, one exchange at a time.

What may be looked at in each state of reading:

    IDLE    nothing was asked; whatever comes is stray
    HEAD    at or inside a reply's head, interim or final
    BODY    ``_body`` is inside the reply's body
    READ    the reply is whole; whatever comes is stray
    SWITCH  101 came: nothing is read until ``tunnel`` is called
    TUNNEL  bytes are carried verbatim
    OVER    the origin failed, or its connection ended

Stray bytes are never delivered: they would be taken for the answer to the next request. They make the connection
unfit for another (``reusable``), and so does anything that ended early. Source: RFC 9112 §6.3, §9.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from edge.errors import OriginFault, Retry
from edge.http.events import NEED_DATA, PAUSED, Body, End, Reply, Wait
from edge.http.h1.body import BodyDecoder, CloseDecoder, LengthDecoder
from edge.http.h1.chunked import ChunkedDecoder
from edge.http.h1.fields import find_bare_lf
from edge.http.h1.head import parse_reply_head
from edge.http.h1.render import request_head
from edge.http.h1.writer import BodyWriter
from edge.http.out import Out
from edge.message.head import Framing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.message.head import Field, ReplyHead

HEAD_BYTES = 64 * 1024
"""Of a reply's head. Twice what we take from clients: origins are ours, but may set many cookies."""

MOST_INTERIM = 32
"""Interim replies before the final one; an origin that sends more is stuck, not working."""


MEMO_HEADS = 256
MEMO_HEAD_BYTES = 2048
"""A memo holds at most MEMO_HEADS x MEMO_HEAD_BYTES = 512 KiB of keys; when full it is emptied."""

ReplyMemo: TypeAlias = "dict[bytes, ReplyHead]"
"""Heads that were read once, by their bytes, for replies to anything but HEAD. Shared by the connections to one origin."""


class Reading(Enum):
    """What the next byte from the origin belongs to."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    READ = "read"
    SWITCH = "switch"
    TUNNEL = "tunnel"
    OVER = "over"


IDLE: Final = Reading.IDLE
HEAD: Final = Reading.HEAD
BODY: Final = Reading.BODY
READ: Final = Reading.READ
SWITCH: Final = Reading.SWITCH
TUNNEL: Final = Reading.TUNNEL
OVER: Final = Reading.OVER


def _bad_chunk(detail: str) -> OriginFault:
    return OriginFault(detail, word="http_response_transfer_coding")


class ClientConnection:
    """
    A connection to an origin.

    Attributes:
        out: bytes waiting to be written.
        exchanges: how many requests were sent on it; more than one means it was reused.
    """

    __slots__ = (
        "_asked_upgrade",
        "_body",
        "_buffer",
        "_eof",
        "_interim",
        "_keep_alive",
        "_memo",
        "_method",
        "_reading",
        "_scanned",
        "_stray",
        "_writer",
        "exchanges",
        "out",
    )

    def __init__(self, memo: ReplyMemo | None = None) -> None:
        self.out = Out()
        self._memo: ReplyMemo = {} if memo is None else memo
        self.exchanges = 0
        self._writer = BodyWriter(self.out)
        self._reading = IDLE
        self._buffer = b""
        self._scanned = 0
        self._eof = False
        self._stray = False
        self._keep_alive = True
        self._method = b""
        self._asked_upgrade = False
        self._interim = 0
        self._body: BodyDecoder | None = None

    # --- asking ----------------------------------------------------------------------------------------------

    def send_request(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        fields: Sequence[Field],
        framing: Framing = Framing.NONE,
        length: int = 0,
        *,
        upgrade: bytes | None = None,
        last: bool = False,
        lines: bytes = b"",
    ) -> None:
        """
        Begin an exchange.

        Args:
            method: as the client sent it.
            target: origin-form or ``*``.
            authority: for Host.
            fields: end-to-end fields, without host, content-length and transfer-encoding.
            framing: NONE, LENGTH or CHUNKED; after NONE the request is whole, otherwise :meth:`send_end` ends it.
            length: of the body, for LENGTH.
            upgrade: the protocol to ask for.
            last: ask the origin to close after its reply.
            lines: more end-to-end fields, as :func:`~edge.http.h1.render.field_lines` writes them.
        """
        assert self._reading is IDLE or self.reusable, "a request on a connection that is not at rest"
        assert framing is not Framing.CLOSE, "a request cannot end with its connection"
        added = b""
        if framing is Framing.LENGTH:
            added = b"content-length: %d\r\n" % length
        elif framing is Framing.CHUNKED:
            added = b"transfer-encoding: chunked\r\n"
        if upgrade is not None:
            added += b"connection: upgrade\r\nupgrade: %b\r\n" % upgrade
        elif last:
            added += b"connection: close\r\n"
        self.out.append(request_head(method, target, authority, fields, added, lines))
        if framing is not Framing.NONE:
            self._writer.begin(framing, length)
        self.exchanges += 1
        self._method = method
        self._asked_upgrade = upgrade is not None
        self._keep_alive = not last
        self._interim = 0
        self._reading = HEAD

    def send_body(self, data: bytes | memoryview) -> None:
        """Send some of the request's body, or of the tunnel."""
        self._writer.write(data)

    def send_end(self, trailers: Sequence[Field] = ()) -> None:
        """End the request's body, or our direction of the tunnel."""
        self._writer.end(trailers)

    def tunnel(self) -> None:
        """After the Reply with status 101: carry bytes verbatim from now on, as Body, and the end of file as End."""
        assert self._reading is SWITCH, "a tunnel without 101"
        if self._writer.framing is not None:
            self._writer.end()
        self._writer.begin(Framing.CLOSE)
        self._reading = TUNNEL

    # --- being answered --------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes as read; never none."""
        if self._reading is IDLE or self._reading is READ or self._reading is OVER:
            self._stray = True
        else:
            self._buffer = self._buffer + data if self._buffer else data

    def receive_eof(self) -> None:
        """Note that the origin will send nothing more."""
        self._eof = True

    def next_event(self) -> Reply | Body | End | Wait:
        """
        Return what happened next.

        Raises:
            OriginFault: the origin broke the protocol or left early; said once. ``connection_terminated`` with
                retry IF_REUSED if it left before the first byte of a reply.
        """
        reading = self._reading
        try:
            if reading is HEAD:
                return self._read_head()
            if reading is BODY:
                return self._read_body()
        except OriginFault:
            self._over()
            raise
        return self._read_tunnel() if reading is TUNNEL else PAUSED

    def _read_head(self) -> Reply | Wait:
        """Find a reply's head and what follows it."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        too_long = (end if end >= 0 else len(buffer) - 3) > HEAD_BYTES
        if (too_long or end < 0) and find_bare_lf(buffer, 0 if too_long else self._scanned, HEAD_BYTES + 4):
            raise OriginFault("bare LF in a reply's head", word="http_protocol_error")
        if too_long:
            raise OriginFault("reply head too long", word="http_response_header_section_size")
        if end < 0:
            self._scanned = len(buffer)
            if not self._eof:
                return NEED_DATA
            if buffer:
                raise OriginFault("end of file inside a reply's head", word="http_response_incomplete")
            retry = Retry.NEVER if self._interim else Retry.IF_REUSED
            raise OriginFault("end of file before a reply", word="connection_terminated", retry=retry)
        self._scanned = 0
        self._buffer = buffer[end + 4 :]
        raw = buffer[: end + 4]
        head = (
            parse_reply_head(raw, self._method) if self._method == b"HEAD" else self._memo.get(raw) or self._parse(raw)
        )
        if head.status < 200:
            return self._interim_reply(head)
        self._keep_alive = self._keep_alive and head.keep_alive and not self._asked_upgrade
        framing = head.framing
        if framing is Framing.NONE:
            self._read_whole(self._buffer)
        else:
            self._reading = BODY
            if framing is Framing.LENGTH:
                self._body = LengthDecoder(head.length or 0)
            elif framing is Framing.CHUNKED:
                self._body = ChunkedDecoder(_bad_chunk)
            else:
                self._body = CloseDecoder()
        return Reply(self.exchanges, head)

    def _parse(self, raw: bytes) -> ReplyHead:
        """Read a head, and remember it: an origin says the same within a second, whatever it is asked for, surprisingly often."""
        head = parse_reply_head(raw, self._method)
        if len(raw) <= MEMO_HEAD_BYTES and head.status >= 200:
            if len(self._memo) >= MEMO_HEADS:
                self._memo.clear()
            self._memo[raw] = head
        return head

    def _interim_reply(self, head: ReplyHead) -> Reply:
        """Pass on a 1xx; 101 must have been asked for."""
        self._interim += 1
        if self._interim > MOST_INTERIM:
            raise OriginFault("interim replies without end", word="http_protocol_error")
        if head.status == 101:
            if not self._asked_upgrade:
                raise OriginFault("101 that nobody asked for", word="http_upgrade_failed")
            self._keep_alive = False
            self._reading = SWITCH
        return Reply(self.exchanges, head)

    def _read_body(self) -> Body | End | Wait:
        body = self._body
        assert body is not None, "BODY without a decoder"
        while not body.done:
            data = self._buffer
            if not data:
                if not self._eof:
                    return NEED_DATA
                if type(body) is not CloseDecoder:
                    raise OriginFault("end of file inside a reply's body", word="http_response_incomplete")
                body.done = True
                self._keep_alive = False
                break
            self._buffer = b""
            piece = body.decode(data)
            if piece:
                return Body(self.exchanges, piece)
        self._read_whole(body.rest or self._buffer)
        return End(self.exchanges, body.trailers)

    def take_rest(self) -> bytes | None:
        """Return what is left of a body with a length, if all of that is here; the reply is read then. Else None."""
        body = self._body
        if type(body) is not LengthDecoder or body.most_left() != len(self._buffer):
            return None
        data = self._buffer
        self._read_whole(b"")
        return data

    def _read_tunnel(self) -> Body | End | Wait:
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return Body(self.exchanges, data)
        if self._eof:
            self._reading = READ
            return End(self.exchanges)
        return NEED_DATA

    def _read_whole(self, rest: bytes) -> None:
        """Note that the reply is complete, and whether something came behind it."""
        self._stray = self._stray or bool(rest)
        self._reading = READ
        self._buffer = b""
        self._body = None

    def _over(self) -> None:
        self._reading = OVER
        self._buffer = b""
        self._body = None

    @property
    def reusable(self) -> bool:
        """Both messages are whole, both sides allow another, and nothing came that was not asked for."""
        return (
            self._reading is READ
            and self._keep_alive
            and not self._stray
            and not self._eof
            and self._writer.framing is None
        )

    def __repr__(self) -> str:
        stray = ", stray bytes" if self._stray else ""
        return f"<ClientConnection #{self.exchanges} reading {self._reading.value}, {self._writer!r}{stray}>"
