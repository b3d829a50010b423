"""
How long a reply is good, and how old it is.

Decides which field speaks for the origin (``CDN-Cache-Control`` before ``Cache-Control`` and ``Expires``), the lifetime that
follows from it, the lifetime we guess when nothing does, and the age a reply had on arrival. Numbers only: what follows for
storing or serving, ``storing`` and ``lookup`` say. Times are wall seconds and come in as arguments.

Invariant: never raises. A lifetime that cannot be read is 0, an ``Age`` that cannot be read says nothing, a date with
another zone than GMT is no date.
Source: RFC 9111 §4.2, §5.1, §5.3; RFC 9213 §2.2.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from edge.cache.targeted import FIELD, parse_targeted
from edge.message.cache_control import CacheControl, delta_seconds, parse_cache_control
from edge.message.dates import parse_date

if TYPE_CHECKING:
    from collections.abc import Mapping

HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 §15.1: statuses for which a lifetime may be guessed without ``public``."""

HEURISTIC_FRACTION: Final = 0.1
"""Of the time since ``Last-Modified``: RFC 9111 §4.2.2 calls it typical, and every well-known cache agrees."""

HEURISTIC_LONGEST_S: Final = 24 * 3600
"""A guess is not trusted beyond a day: RFC 7234 asked for a warning from there on."""


class Basis(Enum):
    """What a lifetime rests on."""

    EXPLICIT = "explicit"  # the origin said so, even if what it said is 0 or unreadable
    HEURISTIC = "heuristic"  # guessed from Last-Modified
    NONE = "none"  # nothing to go by: the lifetime is 0


def control_of(index: Mapping[bytes, bytes]) -> tuple[CacheControl, bool]:
    """
    Return the directives that speak to us, and whether they come from a targeted field.

    Args:
        index: a reply's.
    """
    targeted = index.get(FIELD)
    if targeted is not None:
        said = parse_targeted(targeted)
        if said is not None:
            return said, True
    return parse_cache_control(index.get(b"cache-control")), False


def gmt_date(value: bytes | None) -> float | None:
    """Read a date for reckoning with expiry: RFC 9111 §4.2 takes no zone but GMT, whatever else is a date elsewhere."""
    date = parse_date(value)
    if date is None or value is None or value[-3:].upper() == b"UTC":
        return None
    return date


def lifetime(
    index: Mapping[bytes, bytes],
    cc: CacheControl,
    status: int,
    response_wall: float,
    *,
    is_targeted: bool = False,
) -> tuple[float, Basis]:
    """
    Return how many seconds a reply is fresh, counted from age 0, and why.

    First match wins: s-maxage, max-age, Expires − Date, a tenth of the time since Last-Modified.

    Args:
        index: the reply's.
        cc: from :func:`control_of`.
        status: of the reply.
        response_wall: stands in for a Date that is missing or unreadable.
        is_targeted: as :func:`control_of` says: then ``Expires`` is not for us.
    """
    if cc.s_maxage is not None:
        return float(cc.s_maxage), Basis.EXPLICIT
    if cc.max_age is not None:
        return float(cc.max_age), Basis.EXPLICIT
    date = gmt_date(index.get(b"date"))
    if date is None:
        date = response_wall
    if not is_targeted and b"expires" in index:
        expires = gmt_date(index[b"expires"])  # two lines joined are no date: already expired
        return (0.0 if expires is None else max(0.0, expires - date)), Basis.EXPLICIT
    if status in HEURISTIC_STATUSES or cc.public:
        modified = gmt_date(index.get(b"last-modified"))
        if modified is not None:
            guess = max(0.0, date - modified) * HEURISTIC_FRACTION
            return min(guess, HEURISTIC_LONGEST_S), Basis.HEURISTIC
    return 0.0, Basis.NONE


def age_value(value: bytes | None) -> int:
    """Return the seconds an ``Age`` field says: its first member, if that is a number; else it says nothing."""
    if value is None:
        return 0
    return delta_seconds(value.partition(b",")[0].strip(b" \t")) or 0


def initial_age(index: Mapping[bytes, bytes], request_wall: float, response_wall: float) -> float:
    """
    Return how old a reply was when its head arrived (RFC 9111 §4.2.3): by its Date or by its Age, whichever is more.

    Clocks that jumped between request and response count as no delay.
    """
    date = gmt_date(index.get(b"date"))
    apparent = 0.0 if date is None else max(0.0, response_wall - date)
    # A Date has whole seconds. What is less than one is the rounding of its second, not an age.
    if apparent < 1.0:
        apparent = 0.0
    return max(apparent, age_value(index.get(b"age")) + max(0.0, response_wall - request_wall))
