"""
What we say about our cache on every reply: one member of the ``Cache-Status`` list.

Decides only the spelling. Which word is true is the cache's and the exchange's to know. A member either *hit* or
was forwarded (*fwd*), never both, so there are two functions and no way to say both.

Source: RFC 9211 §2; strings and tokens RFC 8941 §3.3.
"""

from __future__ import annotations

import re

FWD = frozenset({"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"})
"""The reasons for going forward that RFC 9211 §2.2 registers."""

_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def hit(ttl: int, *, detail: str | None = None) -> bytes:
    """
    Say that the reply came from a copy and the origin was not waited for.

    Args:
        ttl: seconds of freshness left; negative while stale (RFC 9211 §2.4).
        detail: one more word for people.
    """
    member = b"edge; hit; ttl=%d" % ttl
    return member if detail is None else member + b"; detail=" + item(detail)


def forwarded(
    fwd: str,
    *,
    fwd_status: int | None = None,
    ttl: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    detail: str | None = None,
) -> bytes:
    """
    Say that the origin was asked, why, and what came of it.

    Args:
        fwd: one of :data:`FWD`.
        fwd_status: what the origin answered, if that is not the status of this reply too (a 304 that refreshed a
            copy) or if the caller wants it said anyway.
        ttl: seconds of freshness of what is sent now, if it was or could be stored.
        stored: the reply was kept.
        collapsed: this request joined a flight that another one started.
        detail: one more word for people, such as why it was not stored.
    """
    if fwd not in FWD:
        raise AssertionError(fwd)
    member = b"edge; fwd=" + fwd.encode()
    if fwd_status is not None:
        member += b"; fwd-status=%d" % fwd_status
    if ttl is not None:
        member += b"; ttl=%d" % ttl
    if stored:
        member += b"; stored"
    if collapsed:
        member += b"; collapsed"
    if detail is not None:
        member += b"; detail=" + item(detail)
    return member


def item(text: str) -> bytes:
    """Spell *text* as a token if it is one, else as a quoted string; what a string cannot hold becomes ``?``."""
    if _TOKEN.fullmatch(text):
        return text.encode()
    plain = _UNPRINTABLE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return b'"' + plain.encode() + b'"'
