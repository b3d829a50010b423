"""
What one process has found out for all: a notice on each subject, put up by one and read by everybody.

A row holds the last notice on its subject; it outlives whoever put it up, over reloads and upgrades, so that a process that is
born while nothing can be found out knows what was known last. A subject's row is found by its hash; when all rows are
somebody's, the one that nobody has looked at for longest becomes another's, and who held it finds out by its hash.

Who may put up notices on a subject holds its *desk*: a POSIX record lock on the page's memfd, which every process inherits, and
which the kernel gives up when its holder dies.

A notice is read while it may be being written. Its number is odd meanwhile, and another one afterwards (a seqlock), so a reader
that sees an even number twice has read one notice and not two halves. A writer that dies in the middle leaves it odd: then
there is no notice until the next.

Cost: looking whether there is another notice is two item accesses, 0.1 µs.
"""

from __future__ import annotations

import errno
import fcntl
import os
from hashlib import blake2b
from typing import Final

from edge.share.page import Page

ROWS: Final = 256
ROW_BYTES: Final = 64 * 1024

NOTICE_BYTES: Final = ROW_BYTES - 32
"""The longest notice."""

_SUBJECT, _SEEN, _NUMBER, _LENGTH, _TEXT = range(5)
"""Words of a row; the text begins at the last."""

_WIDTH: Final = ROW_BYTES // 8
_LOCK: Final = ROWS
"""The record that is locked while a row is given out; the others are the rows' desks."""

_PATIENCE: Final = 100_000
"""Times the lock is asked for: it is held for microseconds, unless its holder has been stopped in that very moment."""


class Notices:
    """
    The notices of a node.

    Args:
        page: one that was handed over; else a new one is made.
    """

    __slots__ = ("_bytes", "_desks", "page")

    def __init__(self, page: Page | None = None) -> None:
        self.page = page or Page(self.size(), "notices")
        self._bytes: memoryview[int] = self.page.words.cast("B")
        self._desks: set[int] = set()

    @staticmethod
    def size() -> int:
        """Bytes of the page; memory is used only for rows that are."""
        return ROWS * ROW_BYTES

    # -- rows -----------------------------------------------------------------------------------------------

    def row(self, subject: bytes, now_s: int) -> int:
        """
        Return the row of *subject*, giving it one if it has none. Cost: 20 µs, and some system calls if it has none.

        Raises:
            OSError: another process has stopped while it was giving out a row.
        """
        known = hash_of(subject)
        row = self._find(known)
        if row is not None:
            return row
        for _ in range(_PATIENCE):
            if self._lock(_LOCK):
                break
            os.sched_yield()
        else:
            raise OSError(errno.EDEADLK, "another process has stopped while it was giving out a row")
        try:
            row = self._find(known)
            if row is None:
                row = self._find(0)
            if row is None:
                words = self.page.words
                row = min(range(ROWS), key=lambda each: words[each * _WIDTH + _SEEN])
            at = row * _WIDTH
            words = self.page.words
            if words[at + _SUBJECT] != known:
                words[at + _NUMBER] = words[at + _NUMBER] | 1
                words[at + _SUBJECT] = known
                words[at + _LENGTH] = 0
            words[at + _SEEN] = now_s
            return row
        finally:
            fcntl.lockf(self.page.fd, fcntl.LOCK_UN, 1, _LOCK)

    def _find(self, known: int) -> int | None:
        words = self.page.words
        return next((row for row in range(ROWS) if words[row * _WIDTH + _SUBJECT] == known), None)

    # -- notices --------------------------------------------------------------------------------------------

    def number(self, row: int, known: int, now_s: int) -> int:
        """
        Return the number of the notice on the subject of that hash; 0 if there is none (yet, or for a moment).

        Counts as having looked at it: who looks about once a second keeps the row.
        """
        at = row * _WIDTH
        words = self.page.words
        if words[at + _SUBJECT] != known:
            return 0
        words[at + _SEEN] = now_s
        number = words[at + _NUMBER]
        return 0 if number & 1 else number

    def read(self, row: int, known: int) -> bytes | None:
        """Return the notice on the subject of that hash; None if there is none (yet, or for a moment)."""
        at = row * _WIDTH
        words = self.page.words
        number = words[at + _NUMBER]
        if not number or number & 1 or words[at + _SUBJECT] != known:
            return None
        begin = (at + _TEXT) * 8
        text = bytes(self._bytes[begin : begin + min(words[at + _LENGTH], NOTICE_BYTES)])
        if words[at + _NUMBER] != number or words[at + _SUBJECT] != known:
            return None
        return text

    def post(self, row: int, known: int, text: bytes) -> bool:
        """
        Put up a notice on the subject of that hash. Only who holds the row's desk may.

        Returns:
            False: the row is another subject's by now.

        Raises:
            ValueError: it is too long.
        """
        if len(text) > NOTICE_BYTES:
            raise ValueError(f"{len(text)} bytes; at most {NOTICE_BYTES} can be told")
        assert row in self._desks, "a notice from who does not hold the desk"
        at = row * _WIDTH
        words = self.page.words
        if words[at + _SUBJECT] != known:
            return False
        words[at + _NUMBER] = words[at + _NUMBER] | 1
        begin = (at + _TEXT) * 8
        self._bytes[begin : begin + len(text)] = text
        words[at + _LENGTH] = len(text)
        words[at + _NUMBER] += 1
        return True

    # -- desks ----------------------------------------------------------------------------------------------

    def take_desk(self, row: int) -> bool:
        """Take the row's desk if nobody has it, or we do; it is free again when this process ends, however it ends."""
        if row not in self._desks and not self._lock(row):
            return False
        self._desks.add(row)
        return True

    def leave_desk(self, row: int) -> None:
        """Give back a desk, if it is ours."""
        if row not in self._desks:
            return
        self._desks.remove(row)
        fcntl.lockf(self.page.fd, fcntl.LOCK_UN, 1, row)

    def _lock(self, record: int) -> bool:
        try:
            fcntl.lockf(self.page.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, record)
        except OSError as refused:
            if refused.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True


def hash_of(subject: bytes) -> int:
    """Return what a subject is known by; never 0."""
    return int.from_bytes(blake2b(subject, digest_size=8).digest()) or 1
