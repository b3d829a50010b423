"""What operators are answered with: text, or JSON. It is about this moment, and nobody keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge.exchange.decision import Answer
from edge.message.dates import format_date
from edge.message.head import Framing, ReplyHead

if TYPE_CHECKING:
    from edge.message.head import Field, RequestHead

TEXT: Final = "text/plain; charset=utf-8"


def say(
    head: RequestHead,
    status: int,
    body: bytes,
    now_wall: float,
    content_type: str = TEXT,
    *,
    extra: tuple[Field, ...] = (),
    word: str = "",
) -> Answer:
    """Answer *head* with *body*, or with its length alone if that was asked for."""
    fields = [
        (b"date", format_date(now_wall)),
        (b"content-type", content_type.encode()),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    if head.method == b"HEAD":
        return Answer(ReplyHead(status, fields, framing=Framing.NONE, length=len(body)), b"", word=word)
    return Answer(ReplyHead(status, fields, framing=Framing.LENGTH, length=len(body)), body, word=word)


def say_json(
    head: RequestHead,
    status: int,
    value: Any,
    now_wall: float,
    *,
    extra: tuple[Field, ...] = (),
    word: str = "",
) -> Answer:
    """Answer *head* with a JSON text. Bytes in it must have been made text: see :func:`shown`."""
    body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    return say(head, status, body, now_wall, "application/json", extra=extra, word=word)


def shown(data: bytes) -> str:
    """Make text of bytes from the wire: UTF-8 where it is, and byte by byte where it is not."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
