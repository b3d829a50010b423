"""
``CDN-Cache-Control``: cache directives meant for us and not for every cache on the way.

The field is a structured dictionary. If it does not parse, it says nothing and ``Cache-Control`` speaks again; if it
does, ``Cache-Control`` and ``Expires`` say nothing to us, whatever they hold. A directive whose value has the wrong type
is read as ``message/cache_control`` reads a malformed one: a lifetime counts as 0, a permission as not given, a restriction
as given. Parameters of a member are parsed and ignored.

Invariant: never raises.
Source: RFC 9213 §2; RFC 9651 §3.2, §4.2.
"""

from __future__ import annotations

import re
from functools import lru_cache

from edge.message.cache_control import FOREVER, CacheControl

FIELD = b"cdn-cache-control"
"""The only target list we are on: an edge in front of an operator's own origins is its CDN."""

_KEY = rb"[a-z*][a-z0-9_\-.*]*+"
_STRING = rb'"(?>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
_BARE = (
    rb"(?:-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9])|-?[0-9]{1,15}(?![0-9.])|"
    + _STRING
    + rb"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+|:[A-Za-z0-9+/=]*+:|\?[01]|@-?[0-9]{1,15}(?![0-9.])"
    + rb'|%"(?>(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*)")'
)
_PARAMETERS = rb"(?>(?:;\x20*+" + _KEY + rb"(?>(?:=" + _BARE + rb")?))*)"
_INNER = rb"\(\x20*+(?>(?:" + _BARE + _PARAMETERS + rb"(?:\x20++|(?=\))))*)\)"
_MEMBER = re.compile(rb"(" + _KEY + rb")(?>(?:=(" + _BARE + rb"|" + _INNER + rb"))?)" + _PARAMETERS)
_BETWEEN = re.compile(rb"[ \t]*+,[ \t]*+")
_INTEGER = re.compile(rb"-?[0-9]{1,15}")
_ESCAPE = re.compile(rb'\\(["\\])')

_SECONDS = {
    b"max-age": ("max_age", 0),
    b"s-maxage": ("s_maxage", 0),
    b"stale-while-revalidate": ("stale_while_revalidate", None),
    b"stale-if-error": ("stale_if_error", None),
}
# A permission is given by "true" alone, a restriction by whatever is not "false".
_PERMISSIONS = {b"public": "public", b"must-understand": "must_understand", b"immutable": "immutable"}
_RESTRICTIONS = {
    b"no-store": "no_store",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"no-transform": "no_transform",
}
_NAMED = {b"no-cache": ("no_cache", "no_cache_fields"), b"private": ("private", "private_fields")}


def parse_targeted(value: bytes | None) -> CacheControl | None:
    """Return what the field says, or None if it is absent, empty or not a dictionary."""
    return _read(value) if value else None


def parse_dictionary(value: bytes) -> dict[bytes, bytes | None] | None:
    """
    Parse a structured dictionary: its last value per key, still spelled as sent; None for a bare key.

    Returns:
        None if *value* is not one, or has no member.
    """
    members: dict[bytes, bytes | None] = {}
    value = value.strip(b" ")
    at = 0
    while True:
        member = _MEMBER.match(value, at)
        if member is None:
            return None
        members.pop(member[1], None)
        members[member[1]] = member[2]
        at = member.end()
        if at == len(value):
            return members
        comma = _BETWEEN.match(value, at)
        if comma is None:
            return None
        at = comma.end()


@lru_cache(maxsize=512)  # as for Cache-Control: sites say a handful of values
def _read(value: bytes) -> CacheControl | None:
    members = parse_dictionary(value)
    if members is None:
        return None
    said = CacheControl()
    for name, argument in members.items():
        is_true = argument is None or argument == b"?1"
        if name in _SECONDS:
            attribute, wrong = _SECONDS[name]
            setattr(said, attribute, _delta(argument, wrong))
        elif name in _PERMISSIONS:
            setattr(said, _PERMISSIONS[name], is_true)
        elif name in _RESTRICTIONS:
            setattr(said, _RESTRICTIONS[name], argument != b"?0")
        elif name in _NAMED:
            flag, attribute = _NAMED[name]
            names = _names(argument)
            if names:
                setattr(said, attribute, names)
            else:
                setattr(said, flag, argument != b"?0")
    return said


def _delta(argument: bytes | None, wrong: int | None) -> int | None:
    if argument is None or not _INTEGER.fullmatch(argument) or argument.startswith(b"-"):
        return wrong
    return min(int(argument), FOREVER)


def _names(argument: bytes | None) -> tuple[bytes, ...]:
    """Read the field names that a qualified ``no-cache`` or ``private`` carries in a String; none for other types."""
    if argument is None or not argument.startswith(b'"'):
        return ()
    text = _ESCAPE.sub(rb"\1", argument[1:-1]).lower()
    return tuple(name for part in text.split(b",") if (name := part.strip(b" \t")))
