"""
A file that belongs to the configuration as if it stood in it: a list of networks, users, a key.

It is read with the configuration, by the master, who may read what workers may not; they inherit what it says. So a reload that
finds it changed takes it up like any other change.

Does not know what should be in it.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MOST: Final = 64 << 20
"""Bytes of one file: 100,000 networks have two."""


@dataclass(frozen=True, slots=True)
class Contents:
    """
    What a file holds.

    Attributes:
        path: where it is; absolute.
        data: all of it. Never shown: it may be a secret.
        error: why it could not be read; empty if it could.
    """

    path: Path
    data: bytes = field(default=b"", repr=False)
    error: str = ""


def read(path: Path) -> Contents:
    """Read a file. Raises nothing: what was wrong is in the answer. Never waits for a pipe."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Contents(path, error="is no regular file")
        if status.st_size > MOST:
            return Contents(path, error=f"is larger than {MOST >> 20} MiB")
        return Contents(path, path.read_bytes())
    except OSError as error:
        return Contents(path, error=f"cannot be read: {error.strerror}")
