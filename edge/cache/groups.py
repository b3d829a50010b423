"""
Groups of replies of one origin, which a reply to an unsafe method can make invalid all at once.

A reply names its groups in ``Cache-Groups``; the reply to an unsafe method names those that are out of date in
``Cache-Group-Invalidation``. Both are structured lists of strings; one that is not says nothing. A group is one origin's (scheme,
host and port): what another origin calls by the same name is another group.

Invariant: never raises.
Source: RFC 9875 §2, §3; RFC 9651 §3.1, §4.2.1.
"""

from __future__ import annotations

import re
from typing import Final

MOST_GROUPS: Final = 32
"""In one field: what RFC 9875 §2 wants to be supported at least. More are not looked at."""

_MEMBER: Final = re.compile(
    rb'"(?>((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*))"(?>(?:;\x20*[a-z*][a-z0-9_\-.*]*(?:=(?:"(?:[^"\\]|\\.)*"|[^\x20";,]+))?)*)'
)
_BETWEEN: Final = re.compile(rb"[ \t]*,[ \t]*")
_ESCAPE: Final = re.compile(rb'\\(["\\])')


def groups_of(value: bytes | None) -> tuple[bytes, ...]:
    """Return the groups that a field names, MOST_GROUPS at most; none if it is not a list of strings."""
    found: list[bytes] = []
    value = (value or b"").strip(b" ")
    at = 0
    while at < len(value):
        member = _MEMBER.match(value, at)
        if member is None:
            return ()
        found.append(_ESCAPE.sub(rb"\1", member[1]))
        at = member.end()
        if at < len(value):
            comma = _BETWEEN.match(value, at)
            if comma is None or comma.end() == len(value):
                return ()
            at = comma.end()
    return tuple(found[:MOST_GROUPS])


def group_at(origin: bytes, group: bytes) -> bytes:
    """Return what stands for a group of an origin, which is written ``https://shop.example``."""
    return b"%b\0%b" % (origin, group)
