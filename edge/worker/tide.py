"""
Giving memory back when a crowd has left.

What ten thousand connections took, TLS most of it, is free for the next ten thousand when they close, but stays this
process's: the C library keeps what lies between what is still used. It gives it back when asked. Asking costs some tens of
milliseconds with hundreds of MiB, so it is done once for each time that many have left, and never for a few.

Decides when; knows nothing of sessions but how many there are.
Source: malloc_trim(3). Measured in ``tests/node/test_flood.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MANY: Final = 1024
"""So many must have left: some 20 MiB."""


FEW: Final = 64
"""So many may leave within a second at any time."""


class Tide:
    """
    The highest number of sessions since memory was last given back.

    Args:
        give_back: does it.
    """

    __slots__ = ("_give_back", "_high", "_last")

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back or _trim
        self._high = 0
        self._last = 0

    def look(self, sessions: int) -> bool:
        """
        (Every tick) Give memory back if half of a crowd has left, and no more are leaving; return whether it was done.

        Those who leave after it would leave theirs behind.
        """
        are_leaving = self._last - sessions > FEW
        self._last = sessions
        self._high = max(self._high, sessions)
        if are_leaving or self._high - sessions < max(MANY, self._high // 2):
            return False
        self._high = sessions
        self._give_back()
        return True


def _trim() -> None:
    with contextlib.suppress(AttributeError):  # another C library than glibc has nothing of the kind
        ctypes.CDLL(None).malloc_trim(0)
