"""
Whether a request's conditions hold for the representation we have.

Decides in the order of RFC 9110 §13.2.2 and nothing else. Does not know where the representation comes from. A cache may
answer If-None-Match and If-Modified-Since from a copy; If-Match and If-Unmodified-Since ask about the origin's state,
so whoever answers from a copy forwards a request that has them (RFC 9111 §4.3.2) and uses them here only for what
is the edge's own.

Invariant: never raises; a condition that cannot be read does not change the answer, except If-Match, which then refuses.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

from edge.message.validators import AnyTag, strong_match, weak_match

if TYPE_CHECKING:
    from collections.abc import Callable

Tags = list[bytes] | Literal[AnyTag.ANY]
"""As :func:`edge.message.validators.parse_etags` returns them."""


class Condition(Enum):
    """What the conditions say to do."""

    PROCEED = "proceed"  # none was sent, or all hold: answer as if there were none; a Range may be looked at
    NOT_MODIFIED = "not_modified"  # the client has this representation: 304
    PRECONDITION_FAILED = "precondition_failed"  # the client meant another state: 412


def evaluate(
    *,
    safe: bool,
    etag: bytes | None,
    last_modified: float | None,
    if_none_match: Tags | None = None,
    if_modified_since: float | None = None,
    if_match: Tags | None = None,
    if_unmodified_since: float | None = None,
) -> Condition:
    """
    Weigh a request's conditions against the representation that would be sent.

    Args:
        safe: the method is GET or HEAD.
        etag: of the variant that would be sent, as it would be sent.
        last_modified: wall time; a cache that has none uses the copy's Date (RFC 9111 §4.3.2).
        if_none_match: None if it was not sent. Present, it takes If-Modified-Since's place.
        if_modified_since: wall time; None if it was not sent or is not a date.
        if_match: None if it was not sent. Present, it takes If-Unmodified-Since's place.
        if_unmodified_since: as ``if_modified_since``.

    Source: RFC 9110 §13.1, §13.2.2 steps 1 to 4; step 5 is :func:`edge.reply.ranged.cut`.
    """
    if if_match is not None:
        if not _any_matches(if_match, etag, strong_match):
            return Condition.PRECONDITION_FAILED
    elif if_unmodified_since is not None and last_modified is not None and last_modified > if_unmodified_since:
        return Condition.PRECONDITION_FAILED
    if if_none_match is not None:
        if _any_matches(if_none_match, etag, weak_match):
            return Condition.NOT_MODIFIED if safe else Condition.PRECONDITION_FAILED
    elif safe and if_modified_since is not None and last_modified is not None and last_modified <= if_modified_since:
        return Condition.NOT_MODIFIED
    return Condition.PROCEED


def _any_matches(tags: Tags, etag: bytes | None, match: Callable[[bytes, bytes], bool]) -> bool:
    """Return whether one of the client's tags names the representation. ``*`` names any, and there is one."""
    if tags is AnyTag.ANY:
        return True
    return etag is not None and any(match(tag, etag) for tag in tags)
