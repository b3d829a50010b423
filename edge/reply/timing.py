"""
Telling a client where the time went: ``Server-Timing``.

Decides how it is said, not to whom: an origin's speed is nobody's business unless an operator says so for a route.

Source: W3C Server Timing; RFC 9211 for the cache's words.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.message.head import ReplyHead


def timed(head: ReplyHead, outcome: str, origin_s: float) -> ReplyHead:
    """
    Return *head* with what took time behind whatever the origin said of its own.

    Args:
        head: as it would leave.
        outcome: why the origin was asked: RFC 9211's word.
        origin_s: until its reply's head.
    """
    said = b"cache;desc=%b, origin;dur=%.1f" % (outcome.encode(), origin_s * 1000)
    return dataclasses.replace(head, fields=[*head.fields, (b"server-timing", said)], index={}, memo=None)
