"""
Send what needs no waiting: the last steps of the journey, compose and send, for whichever lane.

Everything goes through the sans-IO connection, so nothing here knows which protocol or which lane it serves.

Hot: :func:`send_serve` on a plain hit is one call into :mod:`edge.reply.prepared` and one into the connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.cache.ask import Method
from edge.exchange.wording import changed
from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.message.ranges import UNSATISFIABLE
from edge.reply.cache_status import forwarded
from edge.reply.compose import compose_hit, compose_not_modified, ttl_at
from edge.reply.conditional import Condition, evaluate
from edge.reply.errors import error_reply, unsatisfiable_reply
from edge.reply.ranged import cut

if TYPE_CHECKING:
    from edge.cache.ask import Ask
    from edge.cache.copy import Copy
    from edge.errors import ClientFault
    from edge.exchange.decision import Answer, Serve
    from edge.exchange.recognise import Known
    from edge.http.connection import Connection
    from edge.reply.dress import Dress
    from edge.reply.pages import Pages

Span = tuple[int, int]


@dataclass(slots=True)
class Shaped:
    """
    A reply made from a copy, ready to be sent.

    Attributes:
        head: final.
        pieces: in sending order: bytes as they are, or a span of the copy's body; None: the body to its end,
            whatever its length.
    """

    head: ReplyHead
    pieces: list[bytes | Span] | None


def send_serve(
    conn: Connection,
    stream: int,
    known: Known,
    serve: Serve,
    now_s: int,
    *,
    cache_status: bytes | None = None,
    collapsed: str = "",
    dress: Dress | None = None,
) -> tuple[int, int]:
    """
    Send a copy that is ready in memory, or what it answers to the request's conditions.

    Args:
        conn: the client's.
        stream: of the exchange.
        known: the request.
        serve: what to send.
        now_s: this wall second.
        cache_status: what to say instead of a plain hit.
        collapsed: why it would have been forwarded, if it waited for the flight that brought the copy instead: that is a forward,
            too, and no hit (RFC 9211 §2.6).
        dress: what this client's reply wears.

    Returns:
        The status and how many bytes of body follow: for the log.
    """
    prepared = serve.prepared
    ask = known.ask
    if collapsed and cache_status is None:
        cache_status = forwarded(collapsed, ttl=ttl_at(now_s, prepared.fresh_until), collapsed=True)
    if dress is not None and conn.plain and cache_status is None and dress.fits_over(prepared.fields):
        sent_whole = _send_dressed(conn, stream, known, serve, now_s, dress)
        if sent_whole is not None:
            return sent_whole
    elif dress is None and conn.plain and cache_status is None:
        if ask.simple:
            if ask.method is Method.GET:
                conn.send_whole(stream, prepared.wire(now_s), prepared.body)
                return prepared.status, prepared.length
            conn.send_whole(stream, prepared.wire_head(now_s), None)
            return prepared.status, 0
        validators = prepared.etag, prepared.last_modified
        if prepared.status == 200 and (
            known.unchanged == validators or (ask.range is None and not_modified(ask, *validators, serve.copy))
        ):
            if validators[1] is not None:  # else the copy's own date decided
                known.unchanged = validators
            conn.send_whole(stream, prepared.wire_304(now_s), None)
            return 304, 0
    elif dress is None and cache_status is None and ask.simple and ask.method is Method.GET:
        conn.send_head(stream, prepared.head(now_s))
        if prepared.length:
            conn.send_body(stream, prepared.content())
        conn.send_end(stream)
        return prepared.status, prepared.length
    shaped = shape(
        known,
        serve.copy,
        now_s,
        coding=prepared.encoding,
        length=prepared.length,
        eligible=serve.eligible,
        cache_status=cache_status,
    )
    conn.send_head(stream, shaped.head if dress is None else dress.on(shaped.head))
    sent = 0
    content = prepared.content()
    for piece in whole(prepared.length) if shaped.pieces is None else shaped.pieces:
        data = piece if isinstance(piece, bytes) else content[piece[0] : piece[1]]
        conn.send_body(stream, data)
        sent += len(data)
    conn.send_end(stream)
    return shaped.head.status, sent


def _send_dressed(
    conn: Connection, stream: int, known: Known, serve: Serve, now_s: int, dress: Dress
) -> tuple[int, int] | None:
    """Send a plain hit in what one client's reply wears, if a prepared form of it will do."""
    prepared, ask = serve.prepared, known.ask
    if ask.simple:
        if ask.method is Method.GET:
            conn.send_whole(stream, prepared.wire_with(now_s, dress.lines), prepared.body)
            return prepared.status, prepared.length
        conn.send_whole(stream, prepared.wire_head(now_s)[:-2] + dress.lines + b"\r\n", None)
        return prepared.status, 0
    if (
        ask.range is None
        and prepared.status == 200
        and not_modified(ask, prepared.etag, prepared.last_modified, serve.copy)
    ):
        conn.send_whole(stream, prepared.wire_304(now_s)[:-2] + dress.lines + b"\r\n", None)
        return 304, 0
    return None


def whole(length: int) -> list[bytes | Span]:
    """The body as one piece; none if it is empty."""
    return [(0, length)] if length else []


def not_modified(ask: Ask, etag: bytes | None, last_modified: float | None, copy: Copy | None) -> bool:
    """Whether the client's own copy still stands, so that a 304 is all there is to say."""
    if last_modified is None and copy is not None:
        last_modified = copy.date_wall  # RFC 9111 §4.3.2
    if ask.if_none_match is None and ask.if_modified_since is None:
        return False
    condition = evaluate(
        safe=True,
        etag=etag,
        last_modified=last_modified,
        if_none_match=ask.if_none_match,
        if_modified_since=ask.if_modified_since,
    )
    return condition is Condition.NOT_MODIFIED


def shape(
    known: Known,
    copy: Copy,
    now_s: int,
    *,
    coding: bytes,
    length: int | None,
    eligible: bool,
    cache_status: bytes | None = None,
    in_order: bool = False,
) -> Shaped:
    """
    Compose the reply that *copy* gives to this request: whole, partial, 304, 416 or a head alone.

    Args:
        known: the request.
        copy: as stored, or on its way into the store.
        now_s: this wall second.
        coding: of the body that will be sent.
        length: of that body; None while it is still landing.
        eligible: it is coded for clients that ask.
        cache_status: what to say instead of a plain hit.
        in_order: several ranges are sent in the order of the body.
    """
    ask = known.ask
    to_head = ask.method is Method.HEAD
    head = compose_hit(
        copy.status,
        copy.fields,
        now_s=now_s,
        age_base_wall=copy.age_base_wall,
        fresh_until_wall=copy.fresh_until_wall,
        date_wall=copy.response_wall,
        length=length,
        encoding=coding,
        eligible=eligible,
        to_head=to_head,
        reason=copy.reason,
        cache_status=cache_status,
        changes=known.changes,
    )
    if copy.status == 200:
        if not_modified(ask, head.get(b"etag"), parse_date(head.get(b"last-modified")), copy):
            fresh = compose_not_modified(
                copy.fields,
                now_s=now_s,
                age_base_wall=copy.age_base_wall,
                fresh_until_wall=copy.fresh_until_wall,
                date_wall=copy.response_wall,
                encoding=coding,
                eligible=eligible,
                cache_status=cache_status,
                changes=known.changes,
            )
            return Shaped(fresh, [])
        if ask.range is not None and not to_head:
            part = cut(head, ask.range, ask.if_range, in_order=in_order)
            if part is UNSATISFIABLE:
                assert head.length is not None
                status = head.get(b"cache-status")
                extra = () if status is None else ((b"cache-status", status),)
                reply, body = unsatisfiable_reply(
                    head.length, now_wall=now_s, accept=known.head.get(b"accept"), extra=extra, pages=known.pages
                )
                return Shaped(changed(known, reply), [body])
            if part is not None:
                return Shaped(part.head, part.pieces)
    if head.framing is Framing.NONE:
        return Shaped(head, [])
    return Shaped(head, None)


def send_answer(conn: Connection, stream: int, answer: Answer, dress: Dress | None = None) -> None:
    """Send the edge's own words."""
    conn.send_head(stream, answer.head if dress is None else dress.on(answer.head))
    if answer.body:
        conn.send_body(stream, answer.body)
    conn.send_end(stream)


def send_refusal(
    conn: Connection, fault: ClientFault, now_wall: float, stream: int | None = None, pages: Pages | None = None
) -> int:
    """Tell a client what was wrong, if anything can be said, and close; returns how many bytes of body that is."""
    if fault.reply is None:
        conn.abort()
        return 0
    head, body = error_reply(fault.reply, now_wall=now_wall, pages=pages)
    return conn.refuse(stream, head, body)
