"""
A part of a representation instead of the whole: 206, 416, ``multipart/byteranges``.

Decides whether a Range applies to a composed reply, and what is then sent in which order. Does not know where the body
lies: the answer is a list of pieces, each either bytes to send as they are or a span to cut from the body. What bytes
a Range names is :mod:`edge.message.ranges`.

Invariant: a 206 has exactly the bytes its Content-Range says of exactly the representation its validators name; its
``length`` is the sum of its pieces. A reply that does not say ``Accept-Ranges: bytes`` is never cut, so that no variant of
ours, whose tag is weak, ever is.

Source: RFC 9110 §13.1.5 (If-Range), §14, §15.3.7, §15.5.17.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.message.ranges import UNSATISFIABLE, RangeAnswer, Span, parse_range
from edge.message.validators import is_etag, strong_match

if TYPE_CHECKING:
    from edge.message.head import Field

_STRONG_AFTER_S = 1.0
"""A date is a strong validator if the copy was made this much later than it (RFC 9110 §8.8.2.2)."""


@dataclass(slots=True)
class Partial:
    """
    A partial reply, ready to send.

    Attributes:
        head: status 206; its length is that of all pieces together.
        pieces: in sending order: bytes as they are, or a span of the representation's body.
    """

    head: ReplyHead
    pieces: list[bytes | Span]


def cut(
    head: ReplyHead,
    range_: bytes | None,
    if_range: bytes | None = None,
    *,
    boundary: bytes | None = None,
    in_order: bool = False,
) -> Partial | Literal[RangeAnswer.UNSATISFIABLE] | None:
    """
    Answer a GET's Range from a reply that has been composed whole.

    Args:
        head: as composed for the whole body, its length known.
        range_: the field's value, None if it was not sent.
        if_range: likewise.
        boundary: between parts; random if not given, so that no body can contain it but by chance.
        in_order: parts are sent in the order of the body, not of the request.

    Returns:
        What to send instead; UNSATISFIABLE for a 416 (:func:`edge.reply.errors.unsatisfiable_reply`); None
        to send the whole, because the Range does not apply or cannot be read.
    """
    if range_ is None or head.status != 200 or head.length is None or head.get(b"accept-ranges") != b"bytes":
        return None
    if if_range is not None and not if_range_holds(if_range, head):
        return None
    spans = parse_range(range_, head.length)
    if spans is None or spans is UNSATISFIABLE:
        return spans
    if len(spans) == 1:
        return _single(head, spans[0], head.length)
    if in_order:
        spans.sort()
    return _multipart(head, spans, head.length, boundary or secrets.token_hex(16).encode())


def if_range_holds(value: bytes, head: ReplyHead) -> bool:
    """
    Return whether an If-Range names, strongly, the representation in *head*.

    A date holds only if it is the very Last-Modified that is sent, and that is old enough to be strong.
    """
    if is_etag(value):
        etag = head.get(b"etag")
        return etag is not None and strong_match(value, etag)
    asked, modified, made = parse_date(value), parse_date(head.get(b"last-modified")), parse_date(head.get(b"date"))
    if asked is None or modified is None or made is None:
        return False
    return asked == modified and made - modified >= _STRONG_AFTER_S


def _single(head: ReplyHead, span: Span, whole: int) -> Partial:
    """Make a 206 whose body is one span."""
    fields = [*head.fields, (b"content-range", _content_range(span, whole))]
    return _partial(head, fields, [span])


def _multipart(head: ReplyHead, spans: list[Span], whole: int, boundary: bytes) -> Partial:
    """Make a 206 whose parts carry the type and range that the head does not (RFC 9110 §14.6)."""
    content_type = head.get(b"content-type")
    typed = b"" if content_type is None else b"content-type: " + content_type + b"\r\n"
    pieces: list[bytes | Span] = []
    for span in spans:
        before = b"\r\n" if pieces else b""
        opening = b"%b--%b\r\n%bcontent-range: %b\r\n\r\n" % (before, boundary, typed, _content_range(span, whole))
        pieces += [opening, span]
    pieces.append(b"\r\n--%b--\r\n" % boundary)
    fields = [pair for pair in head.fields if pair[0] != b"content-type"]
    fields.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    return _partial(head, fields, pieces)


def _partial(head: ReplyHead, fields: list[Field], pieces: list[bytes | Span]) -> Partial:
    length = sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
    changed = replace(head, status=206, reason=b"", fields=fields, framing=Framing.LENGTH, length=length, index={})
    return Partial(changed, pieces)


def _content_range(span: Span, whole: int) -> bytes:
    return b"bytes %d-%d/%d" % (span[0], span[1] - 1, whole)
