"""Requests, replies and copies in a line each, and a fixed now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.ask import Ask, ask_of
from edge.cache.storing import NotStored, may_store
from edge.message.dates import format_date
from edge.message.head import Framing, ReplyHead, RequestHead

if TYPE_CHECKING:
    from edge.cache.copy import Copy

NOW = 1_800_000_000.0
PREFERENCE = (b"zstd", b"br", b"gzip")

Fields = dict[str, str | int] | list[tuple[str, str | int]]


def fields_of(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Names and values as a parser gives them; a number is a date that many seconds from NOW."""
    pairs = fields.items() if isinstance(fields, dict) else fields
    return [
        (name.lower().encode(), format_date(NOW + value) if isinstance(value, int) else value.encode("latin-1"))
        for name, value in pairs
    ]


def head(target: str = "/x", method: str = "GET", fields: Fields = {}, **more) -> RequestHead:
    return RequestHead(method.encode(), b"https", b"shop.example", target.encode(), fields_of(fields), **more)


def ask(target: str = "/x", method: str = "GET", fields: Fields = {}, *, preference=PREFERENCE, **more) -> Ask:
    return ask_of(head(target, method, fields, **more), preference)


def reply(status: int = 200, fields: Fields = {}, length: int = 5) -> ReplyHead:
    return ReplyHead(status, fields_of(fields), framing=Framing.LENGTH, length=length)


def stored(fields: Fields, *, status: int = 200, at: float = NOW, asked: Ask | None = None, length: int = 5) -> Copy:
    """The copy that such a reply, requested and received at *at*, becomes."""
    copy = may_store(asked or ask(), reply(status, fields, length), request_wall=at, response_wall=at)
    assert not isinstance(copy, NotStored), copy
    return copy


def why_not(fields: Fields, *, status: int = 200, asked: Ask | None = None, length: int = 5, **more) -> str:
    """The word for why such a reply is not stored; "stored" if it is."""
    verdict = may_store(asked or ask(), reply(status, fields, length), request_wall=NOW, response_wall=NOW, **more)
    return verdict.reason.value if isinstance(verdict, NotStored) else "stored"
