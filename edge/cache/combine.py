"""
May parts of a representation be put together, and what does a reply to a range say?

Parts belong together if, and only if, one strong validator names all of them (RFC 9110 §15.3.7.3, RFC 9111 §3.4): a strong
entity tag, or, where there is no tag, a modification date that lies well before the reply's own. So without one a part is of use to the
client alone that asked for it, and what is to be kept is asked for whole.

A stored part is written down as the copy that the whole will be (status 200, its whole length), with the spans that are there.

Pure; never raises.
Source: RFC 9110 §8.8.2.2, §13.1.5, §14.4, §15.3.7; RFC 9111 §3.3, §3.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge.cache.freshness import gmt_date
from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.message.validators import is_etag, is_weak

if TYPE_CHECKING:
    from edge.cache.copy import Copy

_CONTENT_RANGE: Final = re.compile(rb"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.IGNORECASE)
_STRONG_AFTER_S: Final = 60.0
"""
A date that is younger than that when its reply is made may come to name two states: RFC 9110 §8.8.2.2 asks for a second between them,
RFC 7232 asked for this minute. What is put together from many replies is worth it.
"""


@dataclass(slots=True, frozen=True)
class Part:
    """The bytes *start* to *end* of a representation of *length* bytes."""

    start: int
    end: int
    length: int

    @property
    def is_all(self) -> bool:
        """Whether it is all of it."""
        return self.start == 0 and self.end == self.length


class Fit(Enum):
    """What a reply to the question for missing bytes is."""

    PART = "part"  # the bytes asked for, or the first of them
    WHOLE = "whole"  # all of the same representation: the origin knows no ranges (any more)
    CHANGED = "changed"  # another representation: what is stored is out of date
    NOTHING = "nothing"  # none of these: an error, or what cannot be understood


def part_of(reply: ReplyHead) -> Part | None:
    """Return which bytes a 206 brings; None if it does not say so clearly, brings several parts, or has another length."""
    value = reply.index.get(b"content-range")
    match = None if value is None or reply.status != 206 else _CONTENT_RANGE.fullmatch(value)
    if match is None:
        return None
    part = Part(int(match[1]), int(match[2]) + 1, int(match[3]))
    if part.start >= part.end or part.end > part.length:
        return None
    if reply.framing is Framing.LENGTH and reply.length != part.end - part.start:
        return None
    return part if reply.framing is not Framing.NONE else None


def as_whole(reply: ReplyHead, part: Part) -> ReplyHead:
    """Return the head that the whole would have had: RFC 9110 §15.3.7 has a 206 say all that the 200 would."""
    fields = [field for field in reply.fields if field[0] not in {b"content-range", b"content-length"}]
    return replace(reply, status=200, reason=b"", fields=fields, length=part.length, framing=Framing.LENGTH, index={})


def validator_of(copy: Copy) -> bytes | None:
    """Return what names the very bytes of *copy*, to be sent as ``If-Range``; None if nothing does."""
    if copy.etag is not None:
        return None if is_weak(copy.etag) else copy.etag
    modified = parse_date(copy.last_modified)
    if modified is None or gmt_date(copy.get(b"date")) is None:
        return None
    return copy.last_modified if copy.date_wall - modified >= _STRONG_AFTER_S else None


def may_combine(copy: Copy) -> bool:
    """Whether parts of what *copy* stands for may be kept and put together."""
    return copy.status == 200 and copy.length > 0 and validator_of(copy) is not None


def fit(copy: Copy, reply: ReplyHead, start: int) -> Fit:
    """
    Say what a reply is to the question for the bytes of *copy* from *start* on.

    Args:
        copy: some of which is stored, under a strong validator.
        reply: the final head.
        start: the first byte that was asked for.
    """
    if reply.status == 416:
        return Fit.CHANGED  # there are no such bytes (any more)
    if reply.status not in {200, 206}:
        return Fit.NOTHING
    if not _is_same(copy, reply):
        return Fit.CHANGED
    if reply.status == 200:
        return Fit.WHOLE if reply.framing is Framing.CHUNKED or reply.length == copy.length else Fit.CHANGED
    part = part_of(reply)
    if part is None or part.start != start:
        return Fit.NOTHING
    return Fit.PART if part.length == copy.length else Fit.CHANGED


def _is_same(copy: Copy, reply: ReplyHead) -> bool:
    """Whether the reply is named by the copy's strong validator."""
    if copy.etag is not None:
        etag = reply.index.get(b"etag")
        return etag == copy.etag and is_etag(etag) and not is_weak(etag)
    return b"etag" not in reply.index and reply.index.get(b"last-modified") == copy.last_modified
