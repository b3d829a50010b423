"""
What all processes of a node know of every origin, and of every server of one: a row for each, found by its name.

A row has two halves. The *common* half is one for the node: how the server stands, whose turn it is, how quick it was. What
is written there by several processes at once is written whole (one 64-bit word), and must be such that a lost update does no
harm. The *own* half is one per slot, and written by the slot's holder only: what it carries, what it has asked. Sums over the
slots are exact, and the share of a holder that dies goes with it.

A row belongs to its name over reloads and upgrades, for as long as the page lives: what an operator ordered for a server
still holds when the server comes back. Only where all rows are somebody's, as after months of servers that come and go, does the
one that nobody has used for longest become another's, unless an operator ordered something for it. Rows are given out under a POSIX record lock on the page's memfd, which every process
inherits; so are the *posts*, which one process at a time may hold (who checks the servers' health). The kernel gives such a
lock up when its process dies. It is a few system calls, and nothing that a request waits for.

What the columns mean is said by whoever writes them: :mod:`edge.origin.health`, :mod:`edge.origin.balance` and
:mod:`edge.origin.budget`. Whoever changes how a server stands calls :meth:`Fleet.changed`; whoever has worked something out
from that keeps :attr:`Fleet.version` beside it.

Cost: reading or writing a column is one item access, about 50 ns.
"""

from __future__ import annotations

import errno
import fcntl
import os
from hashlib import blake2b
from random import getrandbits
from typing import TYPE_CHECKING, Final

from edge.share.page import CACHE_LINE, Page

if TYPE_CHECKING:
    from collections.abc import Iterable

ROWS: Final = 1024
"""Origins and servers that a node knows at most, those of earlier configurations included."""

SECRET_BYTES: Final = 32

_LINE: Final = CACHE_LINE // 8
_HEADER: Final = 2 * _LINE
_SECRET_AT: Final = 8
"""Bytes: behind the version."""

COMMON: Final = 2 * _LINE
"""Words of a row's common half: a line that is seldom written, and one that every request may write."""

OWN: Final = _LINE
"""Words of a row's own half, for each slot."""

NAME: Final = 0
"""The first common column is the fleet's own: a hash of the name; 0 is a row that nobody has."""

ORDERED: Final = 1
"""The second is health's: what an operator ordered; a row with something there is nobody else's, ever."""

SEEN: Final = COMMON - 1
"""The last is the fleet's own as well: in which second a process last said that it uses the row, see :meth:`Fleet.keep`."""

_UNUSED_S: Final = 60
"""A row that nobody has said he uses for so long may become another's."""

_LOCK: Final = 0
"""Record 0 is locked while a row is given out; the others are posts."""

_PATIENCE: Final = 100_000
"""Times the lock is asked for: it is held for microseconds, unless its holder has been stopped in that very moment."""


class NoRowLeft(OSError):  # noqa: N818 - a limit, not an error
    """Every row is somebody's, or nobody can be given one now."""


class Fleet:
    """
    The rows of a node.

    Args:
        slots: processes there may be.
        page: one that was handed over; else a new one is made, with a new secret.

    Attributes:
        slots: as given.
        words, floats: the whole page; see :meth:`common` and :meth:`own` for where a row is.
    """

    __slots__ = ("_posts", "floats", "page", "slots", "words")

    def __init__(self, slots: int, page: Page | None = None) -> None:
        self.slots = slots
        self.page = page or Page(self.size(slots), "fleet")
        self.words = self.page.words
        self.floats = self.page.floats
        if page is None:
            self.words.cast("B")[_SECRET_AT : _SECRET_AT + SECRET_BYTES] = os.urandom(SECRET_BYTES)
        self._posts: set[int] = set()

    @staticmethod
    def size(slots: int) -> int:
        """Bytes that the rows of *slots* processes need."""
        return 8 * (_HEADER + ROWS * (COMMON + OWN * slots))

    @property
    def secret(self) -> bytes:
        """A key that only this node's processes know, for as long as the page lives."""
        return bytes(self.words.cast("B")[_SECRET_AT : _SECRET_AT + SECRET_BYTES])

    # -- rows -----------------------------------------------------------------------------------------------

    def row(self, name: bytes) -> int:
        """
        Return the row of *name*, giving it one if it has none.

        Raises:
            NoRowLeft: all are taken.

        Cost: some 2 µs when it has one, a few system calls when not.
        """
        known = int.from_bytes(blake2b(name, digest_size=8).digest()) or 1
        row = self._find(known)
        if row is not None:
            return row
        for _ in range(_PATIENCE):
            if self._lock(_LOCK):
                break
            os.sched_yield()
        else:
            raise NoRowLeft("another process has stopped while it was giving out a row")
        try:
            row = self._find(known)
            if row is None:
                row = self._find(0)
                if row is None:
                    row = self._unused()
                if row is None:
                    raise NoRowLeft(f"{ROWS} origins and servers are known already, and in use")
                self.keep(row, self._now_s())
                self.words[self.common(row) + NAME] = known
            return row
        finally:
            fcntl.lockf(self.page.fd, fcntl.LOCK_UN, 1, _LOCK)

    def keep(self, row: int, now_s: int) -> None:
        """Say that the row is in use. Call about once a second for each that is."""
        self.words[_HEADER + row * COMMON + SEEN] = now_s

    def _now_s(self) -> int:
        """Return about what time it is: whoever lives says so every second."""
        return max(self.words[self.common(row) + SEEN] for row in range(ROWS))

    def _unused(self) -> int | None:
        """
        Take back the row that nobody has used for longest, and clear it but for its name, so that there is never a gap; None:
        all are in use, or kept for an order.
        """
        words, now_s = self.words, self._now_s()
        seen = {row: words[self.common(row) + SEEN] for row in range(ROWS)}
        idle = [row for row in seen if seen[row] < now_s - _UNUSED_S and not words[self.common(row) + ORDERED]]
        if not idle:
            return None
        row = min(idle, key=seen.__getitem__)
        at = self.common(row)
        words[at + NAME + 1 : at + COMMON] = memoryview(bytes((COMMON - NAME - 1) * 8)).cast("Q")
        for slot in range(self.slots):
            own = self.own(row, slot)
            words[own : own + OWN] = memoryview(bytes(OWN * 8)).cast("Q")
        return row

    def _find(self, known: int) -> int | None:
        words = self.words
        for row in range(ROWS):
            held = words[_HEADER + row * COMMON]
            if held == known:
                return row
            if not held:  # rows are given out in order, and one that is taken back is another's at once
                return None if known else row
        return None

    def common(self, row: int) -> int:
        """Return where the common half of *row* begins, in words."""
        return _HEADER + row * COMMON

    def own(self, row: int, slot: int) -> int:
        """Return where the half of *row* that belongs to *slot* begins, in words."""
        return _HEADER + ROWS * COMMON + (slot * ROWS + row) * OWN

    def total(self, row: int, column: int, slots: Iterable[int] | None = None) -> int:
        """Return the sum of an own column over *slots*, or over all of them."""
        words, first = self.words, _HEADER + ROWS * COMMON + row * OWN + column
        return sum([words[first + slot * ROWS * OWN] for slot in (range(self.slots) if slots is None else slots)])

    def forget(self, slot: int) -> None:
        """Clear everything that is *slot*'s own: its holder is gone, and with it what it carried."""
        first = self.own(0, slot)
        self.words[first : first + ROWS * OWN] = memoryview(bytes(ROWS * OWN * 8)).cast("Q")

    # -- news -----------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that is another one whenever something has changed in how any server stands."""
        return self.words[0]

    def changed(self) -> None:
        """Say that something has changed. Call after it was written."""
        self.words[0] = getrandbits(64)

    # -- posts ----------------------------------------------------------------------------------------------

    def take_post(self, number: int) -> bool:
        """Take the post *number* (from 1) if nobody has it; it is free again when this process ends, however it ends."""
        assert number > _LOCK
        if number in self._posts or not self._lock(number):
            return False
        self._posts.add(number)
        return True

    def leave_post(self, number: int) -> None:
        """Give back a post that is ours."""
        self._posts.remove(number)
        fcntl.lockf(self.page.fd, fcntl.LOCK_UN, 1, number)

    def _lock(self, record: int) -> bool:
        """Lock a record for this process (within it the kernel would grant it twice), or say that another has it."""
        try:
            fcntl.lockf(self.page.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, record)
        except OSError as refused:
            if refused.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True
