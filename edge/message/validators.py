"""
What tells two representations apart: entity tags and modification dates.

Decides what an entity tag is, when two are the same, and how the tag of a variant that we encoded is made from the
origin's and back. Does not know preconditions; ``reply/`` weighs those.

A variant's tag is always weak: its bytes differ from what the origin tagged, and RFC 9110 §8.8.1 lets a weak tag
stand for representations that mean the same. ``"abc"`` in brotli is ``W/"abc-br"``.
Source: RFC 9110 §8.8, §13.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

_ETAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_NEXT = re.compile(rb"[ \t,]*,[ \t,]*|[ \t]+$")
_LEAD = re.compile(rb"[ \t,]*")


class AnyTag(Enum):
    """``*`` in If-Match and If-None-Match: whatever there is."""

    ANY = "*"


ANY: Final = AnyTag.ANY


@dataclass(slots=True)
class Validators:
    """
    What a copy can be compared by.

    Attributes:
        etag: well-formed, with quotes and ``W/``; None if there is none.
        last_modified: as sent: it goes back to the origin byte for byte.
    """

    etag: bytes | None = None
    last_modified: bytes | None = None


def is_etag(value: bytes) -> bool:
    """Return whether *value* is one well-formed entity tag."""
    return _ETAG.fullmatch(value) is not None


def is_weak(etag: bytes) -> bool:
    """Return whether a well-formed tag is weak."""
    return etag.startswith(b"W/")


def parse_etags(value: bytes | None) -> list[bytes] | Literal[AnyTag.ANY]:
    """
    Read the list of If-Match or If-None-Match.

    Returns:
        ANY for ``*``; else the tags with their quotes. A list that is malformed anywhere is no list: nothing matches
        it, so that If-None-Match costs a full reply and If-Match refuses, which is the safe side of both.
    """
    if not value:
        return []
    value = value.strip(b" \t")
    if value == b"*":
        return ANY
    found: list[bytes] = []
    lead = _LEAD.match(value)
    at = lead.end() if lead else 0
    while at < len(value):
        tag = _ETAG.match(value, at)
        if tag is None:
            return []
        found.append(tag.group())
        at = tag.end()
        if at < len(value):
            comma = _NEXT.match(value, at)
            if comma is None:
                return []
            at = comma.end()
    return found


def strong_match(a: bytes, b: bytes) -> bool:
    """RFC 9110 §8.8.3.2: equal and neither weak."""
    return a == b and not a.startswith(b"W/")


def weak_match(a: bytes, b: bytes) -> bool:
    """RFC 9110 §8.8.3.2: equal, whether weak or not."""
    return a.removeprefix(b"W/") == b.removeprefix(b"W/")


def variant_etag(etag: bytes, encoding: bytes) -> bytes:
    """
    Return the tag of what we made of the representation tagged *etag* by *encoding*.

    Args:
        etag: well-formed (``is_etag``), weak or not.
        encoding: a content coding such as ``b"br"``.
    """
    opaque = etag.removeprefix(b"W/")
    return b'W/%b-%b"' % (opaque[:-1], encoding)


def origin_etag(etag: bytes, encodings: Iterable[bytes]) -> bytes:
    """
    Undo :func:`variant_etag`, for a tag that a client sends back and an origin must recognise.

    The answer is strong even if the origin's was weak: If-None-Match compares weakly and finds it either way; with If-Match
    an origin whose tag is weak refuses it, as it must. A tag that is strong, or does not end in one of *encodings*, is
    not of our making and is returned as it is.
    """
    if etag.startswith(b"W/"):
        for encoding in encodings:
            ending = b'-%b"' % encoding
            if etag.endswith(ending):
                return etag[2 : -len(ending)] + b'"'
    return etag
