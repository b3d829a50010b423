"""
The two ways in which a request's path can be read, so that nobody is led past a door that stands in only one of them.

What stands behind us may decode a path, merge its slashes and resolve its dots before it looks who is meant, or do none
of that. :func:`plain` is the path as sent, in its one spelling; :func:`folded` is what the most obliging reader makes of it.
Most paths have only one reading, and :func:`folded` returns the very same object.

Invariant: neither raises, and neither returns a byte that was not sent, or sent percent-encoded.
Source: RFC 3986 §6.2.2 (case of escapes, unreserved signs, dot segments); URL Standard (a backslash is a slash).
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ODD: Final = re.compile(rb"%|//|/\.|\\|;")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATHS: Final = _UNRESERVED | frozenset(b"!$&'()*,+;=:@/\\")
_DOTS: Final = frozenset({b".", b".."})


def plain(path: bytes) -> bytes:
    """
    Return *path* with what need not be encoded decoded, and the other escapes in capitals.

    Both spellings are the same path to everyone (RFC 3986 §6.2.2.1, §6.2.2.2); no slash, dot segment or sign with a meaning
    of its own appears or goes by this, but for a dot that was encoded.
    """
    if b"%" not in path:
        return path
    return _ESCAPE.sub(lambda escape: _spelled(escape, _UNRESERVED), path)


def folded(path: bytes) -> bytes:
    """
    Return the path that a reader arrives at who decodes whatever may be in a path, takes a backslash for a slash, drops
    parameters behind ``;``, merges slashes and resolves dots. The same object if that changes nothing.
    """
    if _ODD.search(path) is None or not path.startswith(b"/"):
        return path
    decoded = _ESCAPE.sub(lambda escape: _spelled(escape, _IN_PATHS), path).replace(b"\\", b"/")
    kept: list[bytes] = []
    segment = b""
    for segment in decoded.split(b"/"):
        segment = segment.partition(b";")[0]
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment and segment != b".":
            kept.append(segment)
    found = b"/" + b"/".join(kept)
    if kept and (not segment or segment in _DOTS):
        found += b"/"
    return path if found == path else found


def climbs(path: bytes) -> bool:
    """Return whether some reader finds a dot segment in *path*: one that would leave what it is put under."""
    if _ODD.search(path) is None:
        return False
    decoded = _ESCAPE.sub(lambda escape: _spelled(escape, _IN_PATHS), path).replace(b"\\", b"/")
    return any(segment.partition(b";")[0] in _DOTS for segment in decoded.split(b"/"))


def _spelled(escape: re.Match[bytes], decoded: frozenset[int]) -> bytes:
    sign = int(escape[1], 16)
    return bytes((sign,)) if sign in decoded else escape[0].upper()
