"""
The log files that are paths, opened by the master so that an unprivileged worker needs no right to.

``stderr`` is inherited anyway and is not here. A reopened file has a new descriptor, which children get over the
channel; appending is atomic, so any number of processes write to one file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config.tree import Log


class Logs:
    """
    Open log files.

    Attributes:
        fds: descriptor by what is written to it: ``"access"``, ``"errors"``.
    """

    def __init__(self, log: Log) -> None:
        self.paths = {
            name: target
            for name, target in (("access", log.access), ("errors", log.errors))
            if isinstance(target, Path)
        }
        self.fds = _open_all(self.paths)

    def reopen(self) -> None:
        """
        Open every path anew, after a rotation.

        Raises:
            OSError: one could not be opened; all stay as they were.
        """
        fresh = _open_all(self.paths)
        self.close()
        self.fds = fresh

    def close(self) -> None:
        """Close our descriptors; children have their own."""
        while self.fds:
            os.close(self.fds.popitem()[1])


def _open_all(paths: dict[str, Path]) -> dict[str, int]:
    opened: dict[str, int] = {}
    try:
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            opened[name] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        for fd in opened.values():
            os.close(fd)
        raise
    return opened
