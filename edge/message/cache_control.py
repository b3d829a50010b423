"""
What ``Cache-Control`` says, read once: of a request, of a reply, and of the targeted fields that share its syntax.

Decides how each directive is read when it is malformed or repeated, always towards asking the origin rather
than trusting a copy. Does not know which directives apply to whom; ``cache/`` weighs them.

Invariant: never raises. A freshness that cannot be read counts as 0 (RFC 9111 §4.2.1), a permission to serve
stale that cannot be read counts as not given, a restriction is taken wherever it stands.
Of a repeated directive with a number the first occurrence counts (RFC 9111 §4.2.1); restrictions add up.
Source: RFC 9111 §5.2, RFC 5861, RFC 8246.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

FOREVER = 2**31
"""Seconds. The value that a larger number, or ``max-stale`` without one, is read as (RFC 9111 §1.2.2)."""

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# One directive with its argument, quoted or not; junk behind it runs up to the next comma and is remembered as
# group 4, because a number with junk behind it is not a number. Possessive where repeats could meet, so that
# no value costs more than its length.
_DIRECTIVE = re.compile(
    rb"[\s,]*+(" + _TCHAR + rb'++)(?>(?:=(?:"((?>(?:[^"\\]|\\.)*))"|([^,"\s]*+)))?)[ \t]*+([^,]*+)|[\s,]++|[^,]++',
    re.DOTALL,
)
_UNESCAPE = re.compile(rb"\\(.)", re.DOTALL)

_FLAGS = {
    b"no-store": "no_store",
    b"public": "public",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"no-transform": "no_transform",
    b"only-if-cached": "only_if_cached",
    b"immutable": "immutable",
    b"must-understand": "must_understand",
}
# name → (attribute, what an unreadable number counts as, what no number counts as)
_SECONDS: dict[bytes, tuple[str, int | None, int | None]] = {
    b"max-age": ("max_age", 0, 0),
    b"s-maxage": ("s_maxage", 0, 0),
    b"min-fresh": ("min_fresh", FOREVER, FOREVER),
    b"max-stale": ("max_stale", None, FOREVER),
    b"stale-while-revalidate": ("stale_while_revalidate", None, None),
    b"stale-if-error": ("stale_if_error", None, None),
}
_NAMED = {
    b"no-cache": ("no_cache", "no_cache_fields"),
    b"private": ("private", "private_fields"),
}


@dataclass(slots=True)
class CacheControl:
    """
    Every directive a cache acts on. Shared between callers and never written to once made.

    Attributes:
        max_stale: seconds, FOREVER when sent without a number, None when not sent.
        no_cache: sent without field names; with names it is ``no_cache_fields`` instead. Likewise ``private``.
        no_cache_fields: names in lower case.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    no_transform: bool = False
    only_if_cached: bool = False
    immutable: bool = False
    must_understand: bool = False
    no_cache_fields: tuple[bytes, ...] = ()
    private_fields: tuple[bytes, ...] = ()


NOTHING_SAID = CacheControl()
"""What no field, or an empty one, says."""


def parse_cache_control(value: bytes | None) -> CacheControl:
    """
    Read a ``Cache-Control`` value (several lines joined by commas), or one of the targeted fields.

    Returns:
        A shared object: equal values give the same one, as long as it is remembered. Cost: a dict lookup then.

    Raises:
        Nothing.
    """
    return _read(value) if value else NOTHING_SAID


def delta_seconds(text: bytes) -> int | None:
    """Return RFC 9111 §1.2.2 delta-seconds, at most FOREVER; None if *text* is not digits alone."""
    if not text.isdigit():
        return None
    return min(int(text), FOREVER) if len(text) <= 10 else _long_delta(text)


def _long_delta(text: bytes) -> int:
    """Read digits of any length without handing them to ``int``, whose cost and limit grow with the length."""
    text = text.lstrip(b"0")
    return FOREVER if len(text) > 10 else min(int(text or b"0"), FOREVER)


@lru_cache(maxsize=512)  # sites say a handful of values; 512 of at most a head's size are bounded
def _read(value: bytes) -> CacheControl:
    said = CacheControl()
    seen: set[bytes] = set()
    for match in _DIRECTIVE.finditer(value):
        name, quoted, plain, junk = match.groups()
        if name is None:
            continue
        name = name.lower()
        argument = plain if quoted is None else _UNESCAPE.sub(rb"\1", quoted)
        if name in _FLAGS:
            setattr(said, _FLAGS[name], True)
        elif name in _SECONDS:
            if name not in seen:
                attribute, unreadable, absent = _SECONDS[name]
                number = delta_seconds(argument) if argument and not junk else None
                missing = argument is None and not junk
                setattr(said, attribute, number if number is not None else absent if missing else unreadable)
                seen.add(name)
        elif name in _NAMED:
            flag, attribute = _NAMED[name]
            names = tuple(part for raw in (argument or b"").lower().split(b",") if (part := raw.strip(b" \t")))
            if names and not junk:
                setattr(said, attribute, getattr(said, attribute) + names)
            else:
                setattr(said, flag, True)
    return said
