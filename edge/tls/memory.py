"""
A file that is nowhere: how secrets reach interfaces that only take paths.

A sealed memfd, read through ``/proc/self/fd``. It has no name another process could open, no disk, and nobody
can change it after it was checked. An unprivileged process may read one that it was sent by root.

Source: memfd_create(2), fcntl(2) F_ADD_SEALS, proc(5).
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def seal(data: bytes, name: str = "edge") -> int:
    """
    Put *data* into a sealed memfd and return the descriptor, the caller's to close.

    Raises:
        OSError: no descriptors or no memory left.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def unseal(fd: int) -> bytes:
    """
    Read all of a memfd that :func:`seal` made, wherever its offset is; the descriptor stays open.

    Raises:
        ValueError: it is not sealed: whoever sent it could still change it.
        OSError: it is no memfd.
    """
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError("a memfd that is not sealed")
    size = os.fstat(fd).st_size
    parts = []
    at = 0
    while at < size:
        part = os.pread(fd, size - at, at)
        parts.append(part)
        at += len(part)
    return b"".join(parts)


class MemoryFile:
    """*data* as a path, for as long as the block lasts."""

    __slots__ = ("_fd", "path")

    def __init__(self, data: bytes) -> None:
        self._fd = seal(data)
        self.path = f"/proc/self/fd/{self._fd}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
