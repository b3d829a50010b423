"""
Which content codings a client accepts, and which of ours it gets.

Decides the order in which variants are tried. Does not know which variants exist, nor whether a reply is worth
encoding.

Invariant: never raises; a member that cannot be read is a coding that is not accepted.
Source: RFC 9110 §12.5.3, §8.4.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from edge.message.headers import is_token, members

IDENTITY = b"identity"

_ALIAS = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # §8.4.1: recipients should take them as the same
_WEIGHT = re.compile(rb"[ \t]*q=(?:(0(?:\.[0-9]{0,3})?)|(1(?:\.0{0,3})?))[ \t]*", re.IGNORECASE)
_MEMORABLE = 128  # bytes; browsers send under 40. Longer ones are read each time, so that junk cannot fill the memory


@dataclass(slots=True)
class AcceptEncoding:
    """
    What a client said. Qualities are thousandths, so that they compare exactly.

    Attributes:
        qualities: coding in lower case → 0 (refused) to 1000.
        rest: the quality of ``*``, None if it was not sent.
    """

    qualities: dict[bytes, int] = field(default_factory=dict)
    rest: int | None = None

    def quality(self, coding: bytes) -> int:
        """Return how much *coding* is wanted; ``identity`` is wanted a little unless something refuses it."""
        said = self.qualities.get(coding, self.rest)
        if said is None:
            return 1 if coding == IDENTITY else 0
        if coding == IDENTITY and coding not in self.qualities:
            return min(said, 1)
        return said


def parse_accept_encoding(value: bytes | None) -> AcceptEncoding:
    """
    Read an ``Accept-Encoding`` value.

    No field at all is read like an empty one: RFC 9110 would allow any coding, but clients that are silent are clients that
    cannot decode. Of a repeated coding the first counts.
    """
    accept = AcceptEncoding()
    for member in members(value):
        coding, mark, parameter = member.partition(b";")
        coding = coding.strip(b" \t").lower()
        coding = _ALIAS.get(coding, coding)
        if not is_token(coding):
            continue
        quality = 1000
        if mark:
            weight = _WEIGHT.fullmatch(parameter)
            quality = 0 if weight is None else 1000 if weight[2] else _thousandths(weight[1])
        if coding == b"*":
            accept.rest = quality if accept.rest is None else accept.rest
        else:
            accept.qualities.setdefault(coding, quality)
    return accept


def _thousandths(text: bytes) -> int:
    """Read ``0``, ``0.`` or ``0.123``."""
    return int(text[2:].ljust(3, b"0"))


def negotiate(accept: bytes | None, preference: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """
    Return the codings to try, best first.

    By the client's qualities; where those are equal, by our *preference*. The last is ``identity`` unless the client
    refuses it; what the client wants less than ``identity`` is left out, since ``identity`` is always at hand. May be
    empty: the client refuses everything we have.

    Args:
        accept: the field's joined value, None if it was not sent.
        preference: our codings in lower case, best first, without ``identity``.

    Cost: a dict lookup for a value seen lately.
    """
    if accept is None:
        return (IDENTITY,)
    return _remembered(accept, preference) if len(accept) <= _MEMORABLE else _negotiate(accept, preference)


def _negotiate(accept: bytes, preference: tuple[bytes, ...]) -> tuple[bytes, ...]:
    said = parse_accept_encoding(accept)
    plain = said.quality(IDENTITY)
    ours = [(quality, coding) for coding in preference if (quality := said.quality(coding)) and quality >= plain]
    ours.sort(key=lambda entry: -entry[0])  # stable: our preference breaks ties
    chosen = tuple(coding for _, coding in ours)
    return (*chosen, IDENTITY) if plain else chosen


_remembered = lru_cache(maxsize=1024)(_negotiate)
