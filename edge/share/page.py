"""
One piece of memory that every process sees.

A page is made before the fork and inherited. Behind it stands a memfd, so that ``USR2`` can hand the same page to
the program that follows; workers keep the descriptors of those pages only in which they lock records, and need no more than
the mapping of the others. It knows nothing of what is written to it. A page lives until its process ends: views of it are held in hot paths and are never released.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

CACHE_LINE: Final = 64
"""Rows are padded to this, so that two processes never write to one line of the processor's cache."""


class Page:
    """
    Zeroed shared memory of *size* bytes, or the memory behind *fd* if one is given.

    Attributes:
        fd: the memfd behind it; close-on-exec.
        size: bytes, as asked.
        words: the whole page as unsigned 64-bit words.
        halves: the whole page as unsigned 32-bit words.
        floats: the whole page as doubles.
    """

    __slots__ = ("_map", "fd", "floats", "halves", "name", "size", "words")

    def __init__(self, size: int, name: str, fd: int | None = None) -> None:
        assert size > 0
        assert size % 8 == 0, "a page is cut into 64-bit words"
        if fd is None:
            fd = os.memfd_create(f"edge-{name}", os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
        elif os.fstat(fd).st_size != size:
            raise ValueError(f"page {name} was handed over with {os.fstat(fd).st_size} bytes, expected {size}")
        self.fd = fd
        self.name = name
        self.size = size
        self._map = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        whole = memoryview(self._map)
        self.words: memoryview[int] = whole.cast("Q")
        self.halves: memoryview[int] = whole.cast("I")
        self.floats: memoryview[float] = whole.cast("d")

    def __repr__(self) -> str:
        return f"<Page {self.name} {self.size} bytes>"
