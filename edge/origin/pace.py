"""
How long a peer whose bytes are waited for may go on pausing: a byte a minute is never late, and never done.

Decides by what has come and by how long it was waited for; time in which nobody waited does not count, so a slow reader on
the other side costs the sender nothing. Source: Apache's ``RequestReadTimeout`` (``MinRate``).
"""

from __future__ import annotations


def patience_s(pause_s: float, waited_s: float, came_bytes: int, least_rate: int) -> float:
    """
    Return how long the next bytes are waited for; nothing or less: no more.

    Args:
        pause_s: the longest single pause that is allowed.
        waited_s: for all that has come so far.
        came_bytes: how much that is.
        least_rate: bytes per second that must come on average, beyond one pause.
    """
    return min(pause_s, pause_s + came_bytes / least_rate - waited_s)
