"""
Where log bytes go: a file, or standard error, never waited for.

A log must not be able to stop a server. A file is appended to and trusted not to block. Everything else (a pipe, a
terminal, journald's socket) has a reader that may stall, so each write to it is one that either goes whole or
not at all, at once:

- a socket takes ``MSG_DONTWAIT`` per call, which leaves the descriptor's flags, shared with whoever started us, alone;
- a pipe or terminal is opened anew through ``/proc/self/fd``, which gives a description of our own that can be
  non-blocking. Where that is refused (a pipe made by another user), we ask ``poll`` first.

What is written to a pipe at once is at most ``PIPE_BUF`` bytes of whole lines: such writes are atomic, so the lines of
many workers do not mix. Knows nothing of what the lines mean. Raises nothing after it is open: what was not
taken is the caller's to keep or drop. Source: pipe(7), unix(7), write(2).
"""

from __future__ import annotations

import os
import select
import socket
import stat
from pathlib import Path
from typing import Final

PIPE_BUF: Final = select.PIPE_BUF
"""What Linux writes to a pipe in one piece (4096)."""

FILE_MODE: Final = 0o640
"""A log names clients and what they asked for: readable for its owner's group, no further."""


class Sink:
    """
    One open log.

    Args:
        target: ``"stderr"`` or a path.
        fd: an open descriptor of that target, when another process opened it for us. The sink owns it from now on.

    Raises:
        OSError: the path cannot be opened.
    """

    __slots__ = ("_fd", "_is_file", "_must_poll", "_socket", "target")

    def __init__(self, target: str | Path, fd: int | None = None) -> None:
        self.target = target
        self._fd = -1
        self._is_file = False
        self._must_poll = False
        self._socket: socket.socket | None = None
        self._take(self._open() if fd is None else fd)

    def __repr__(self) -> str:
        how = "file" if self._is_file else "socket" if self._socket else "polled" if self._must_poll else "nonblocking"
        return f"<Sink {self.target} fd={self._fd} {how}>"

    def fileno(self) -> int:
        """Return the descriptor; -1 once closed."""
        return self._fd

    def write(self, data: bytes) -> int:
        """
        Write what the target takes now.

        Args:
            data: whole lines, each ending in a newline.

        Returns:
            How many bytes were taken, ending at a line's end wherever the target allows; 0 when it takes nothing now.
            A target that is broken for good takes nothing either.
        """
        if self._fd < 0:
            return 0
        if self._is_file:
            return self._try(data)
        taken = 0
        view = memoryview(data)
        while taken < len(data):
            end = len(data)
            if end - taken > PIPE_BUF:
                end = data.rfind(b"\n", taken, taken + PIPE_BUF) + 1
                if end <= taken:  # one line longer than PIPE_BUF: it cannot be atomic, but it must not stop the log
                    end = taken + PIPE_BUF
            count = self._try(view[taken:end])
            taken += count
            if count == 0:
                break
        return taken

    def reopen(self) -> None:
        """
        Open the path anew, for a file that was renamed away. Standard error stays what it is.

        Raises:
            OSError: the path cannot be opened; the old file stays in use.
        """
        if isinstance(self.target, Path):
            self.replace(self._open())

    def replace(self, fd: int) -> None:
        """Go on with *fd*, opened by a process that may; the old descriptor is closed."""
        self.close()
        self._take(fd)

    def close(self) -> None:
        """Close the descriptor; twice is harmless."""
        fd, self._fd = self._fd, -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        elif fd >= 0:
            os.close(fd)

    def _open(self) -> int:
        if isinstance(self.target, Path):
            return os.open(self.target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        return os.dup(2)

    def _take(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        self._socket = socket.socket(fileno=fd) if stat.S_ISSOCK(mode) else None
        self._is_file = stat.S_ISREG(mode)
        self._must_poll = self._socket is None and not self._is_file
        if self._must_poll:
            try:
                own = os.open(
                    f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
                )
            except OSError:  # made by another user, or no /proc: ask poll before each write
                pass
            else:
                os.close(fd)
                fd = own
                self._must_poll = False
        self._fd = fd

    def _try(self, data: bytes | memoryview) -> int:
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT)
            if self._must_poll and not _is_writable(self._fd):
                return 0
            return os.write(self._fd, data)
        except OSError:  # would block, disk full, reader gone: the log loses lines, nobody else notices
            return 0


def _is_writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(flags & select.POLLOUT for _, flags in poll.poll(0))
