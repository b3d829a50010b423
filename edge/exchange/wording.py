"""
The edge's own words for a request whose route is known: refusals, redirects, fixed answers, maintenance.

A route may have pages of its own for what goes wrong, and changes to make to the header of every reply; whatever is answered
on its behalf goes through here, so that neither is forgotten.

Source: RFC 9110 §10.2.2, §10.2.3, §15.4.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from edge.exchange.decision import Answer
from edge.message.dates import format_date
from edge.message.head import Framing, ReplyHead
from edge.reply.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.exchange.recognise import Known
    from edge.exchange.steering import Fixed
    from edge.message.head import Field


def refuse(
    known: Known,
    status: int,
    now_wall: float,
    word: str = "",
    *,
    proxy_error: str | None = None,
    retry_after_s: int | None = None,
    extra: tuple[Field, ...] = (),
) -> Answer:
    """
    Refuse a request, in the words of its route.

    Args:
        known: what its head means.
        status: 4xx or 5xx.
        now_wall: for Date.
        word: a fault's, for the log.
        proxy_error: the fault's word for the client, too: adds ``Proxy-Status``.
        retry_after_s: for 429 and 503.
        extra: more fields.
    """
    head = known.head
    reply, body = error_reply(
        status,
        now_wall=now_wall,
        accept=head.get(b"accept"),
        proxy_error=proxy_error,
        retry_after_s=retry_after_s,
        extra=extra,
        to_head=head.method == b"HEAD",
        pages=known.pages,
    )
    return Answer(changed(known, reply), body, word=word)


def changed(known: Known, reply: ReplyHead) -> ReplyHead:
    """Return *reply* with the changes that its route makes."""
    if known.changes is None:
        return reply
    return ReplyHead(
        reply.status, known.changes(reply.fields), reply.reason, framing=reply.framing, length=reply.length
    )


def redirect(known: Known, status: int, place: bytes) -> Callable[[float, str], Answer]:
    """Send the client elsewhere."""
    body = b"This is at " + place + b"\n"
    fields = [
        (b"location", place),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return lambda now, _peer: _whole(known, status, fields, body, now)


def ours(known: Known, now_wall: float) -> Answer:
    """Answer as the last of its recipients, which can do whatever can be done."""
    return _whole(known, HTTPStatus.NO_CONTENT, [], b"", now_wall)


def fixed(known: Known, answer: Fixed) -> Callable[[float, str], Answer]:
    """Say what is always said."""
    fields = [] if answer.content_type is None else [(b"content-type", answer.content_type)]
    return lambda now, _peer: _whole(known, answer.status, fields, answer.body, now)


def _whole(known: Known, status: int, fields: list[Field], body: bytes, now_wall: float) -> Answer:
    sent = [(b"date", format_date(now_wall)), *fields]
    if status in {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT}:
        return Answer(changed(known, ReplyHead(status, sent, framing=Framing.NONE)), b"")
    if known.head.method == b"HEAD":
        return Answer(changed(known, ReplyHead(status, sent, framing=Framing.NONE, length=len(body))), b"")
    return Answer(changed(known, ReplyHead(status, sent, framing=Framing.LENGTH, length=len(body))), body)
