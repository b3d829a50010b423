"""
When two requests that differ are answered by one copy: the fields that ``Vary`` names, brought to one spelling.

Decides which names select, and what of a value is spelling only. Two values are the same if they differ in nothing
but what their field's grammar calls insignificant: white space around commas, for the ``Accept`` family also the
order of members, their case, and how a weight is written. That a copy's ``Content-Language`` is what a client likes best
is not sameness, and is not looked at (RFC 9111 §4.1 forbids it).

Invariant: never raises; a value that cannot be read as its field's grammar is compared as sent.
Source: RFC 9111 §4.1; RFC 9110 §12.4, §12.5.
"""

from __future__ import annotations

import re
from enum import Enum
from hashlib import blake2b
from typing import Final, Literal

from edge.message.headers import is_token, members, tokens

Selecting = tuple[tuple[bytes, bytes | None], ...]
"""Names in lower case, sorted, each with its value as :func:`normalise` gives it; None = the request had none."""


class Star(Enum):
    """``Vary: *``, alone or anywhere in the list: no other request is ever the same."""

    STAR = "*"


STAR: Final = Star.STAR

COOKIE: Final = b"cookie:"
"""Begins the name under which one cookie selects, where an operator keys on it. No field has a colon in its name."""

MOST_NAMES: Final = 32
"""Beyond so many selecting fields no two requests will match; taken as ``*``."""

_OF_ONE_CLIENT: Final = frozenset({b"x-forwarded-for", b"forwarded", b"x-request-id"})
"""What an origin is told of a client is written here, and is another for each."""

_LONG: Final = 96
"""Bytes. A longer value (a Cookie, a User-Agent) is kept as its digest."""

_WEIGHTED = frozenset({b"accept", b"accept-charset", b"accept-encoding", b"accept-language"})
_COMMA = re.compile(rb"[ \t]*,[ \t]*")
_PARAMETER = re.compile(rb"[ \t]*;[ \t]*")
_WEIGHT = re.compile(rb"[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def vary_names(value: bytes | None) -> tuple[bytes, ...] | Literal[Star.STAR]:
    """
    Return the names in a ``Vary`` value (all its lines joined), sorted and without repeats, or STAR.

    A reply that varies by what we say of each client is nobody else's, so that is STAR too: what clients say under those
    names is not what the origin heard.
    """
    if not value:
        return ()
    names = set(tokens(value))
    if b"*" in names or len(names) > MOST_NAMES or not names.isdisjoint(_OF_ONE_CLIENT):
        return STAR
    return tuple(sorted(name for name in names if is_token(name)))


def normalise(name: bytes, value: bytes | None) -> bytes | None:
    """
    Return *value* in the one spelling that all values of the same meaning share.

    Args:
        name: in lower case.
        value: all lines joined with commas; None if the request has no such field.
    """
    if value is None:
        return None
    if name in _WEIGHTED:
        value = _weighted(value)
    elif b"," in value and b'"' not in value:
        value = _COMMA.sub(b",", value)
    return _shortened(value)


def cookie_value(name: bytes, line: bytes | None) -> bytes | None:
    """
    Return what selects among copies that are told apart by the cookie *name*: every cookie of that name, in the order sent.

    Args:
        name: case counts.
        line: the request's ``Cookie``, all of it.
    """
    found = [pair for other, pair in cookie_pairs(line) if other == name] if line else []
    return _shortened(b"; ".join(found)) if found else None


def cookie_pairs(line: bytes) -> list[tuple[bytes, bytes]]:
    """Cut a ``Cookie`` line (RFC 6265 §4.2.1) into its cookies: the name of each, and all of it as sent."""
    return [
        (pair.partition(b"=")[0].rstrip(b" \t"), pair) for piece in line.split(b";") if (pair := piece.strip(b" \t"))
    ]


def _shortened(value: bytes) -> bytes:
    if len(value) > _LONG:
        return b"\0" + blake2b(value, digest_size=16).digest()  # NUL: no value that was sent begins with it
    return value


def _weighted(value: bytes) -> bytes:
    """Sort the members of an ``Accept`` field; of equal weight their order says nothing (RFC 9110 §12.4.2)."""
    if b'"' in value:
        return value
    ranges = set()
    for member in members(value):
        chosen, *parameters = _PARAMETER.split(member)
        weight = b"1"
        if parameters and (found := _WEIGHT.fullmatch(parameters[-1])):
            weight = found[1].rstrip(b"0").rstrip(b".") if b"." in found[1] else found[1]
            parameters.pop()
        ranges.add((b";".join((chosen.lower(), *parameters)), weight or b"0"))
    return b",".join(chosen if weight == b"1" else chosen + b";q=" + weight for chosen, weight in sorted(ranges))
