"""
What a health check's reply means, and when it changes how a server stands.

Decides whether one reply is well, and after how many in a row a server is up or down. Does not know who asks, how often, or how
long it is waited.

Source: HAProxy ``rise`` and ``fall``; RFC 9110 §15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.origin.health import Checked

if TYPE_CHECKING:
    from collections.abc import Iterable

BODY_BYTES: Final = 64 * 1024
"""Of a reply's body that are looked at."""


def complaint(status: int, body: bytes, statuses: Iterable[tuple[int, int]], wanted: bytes | None) -> str | None:
    """
    Return what is wrong with a reply; None: it is well.

    Args:
        status: of the reply.
        body: its first BODY_BYTES.
        statuses: that are well, from the first to the last of each pair.
        wanted: what the body must contain; None: anything.
    """
    if not any(first <= status <= last for first, last in statuses):
        return f"status {status}"
    if wanted is not None and wanted not in body:
        return f"the body does not contain {wanted.decode('utf-8', 'replace')!r}"
    return None


class Series:
    """
    The checks of one server, as far as they are of one kind.

    Args:
        rise: that must pass in a row until a server that is down is up.
        fall: that must fail in a row until a server that is up is down.
    """

    __slots__ = ("_count", "_fall", "_passed", "_rise")

    def __init__(self, rise: int, fall: int) -> None:
        self._rise = rise
        self._fall = fall
        self._count = 0
        self._passed = True

    def note(self, before: Checked, *, passed: bool) -> Checked:
        """Return how a server stands after one more check; the first that passes is enough where nobody has checked yet."""
        self._count = self._count + 1 if passed is self._passed else 1
        self._passed = passed
        if passed:
            return Checked.UP if before is not Checked.DOWN or self._count >= self._rise else before
        return Checked.DOWN if self._count >= self._fall else before
