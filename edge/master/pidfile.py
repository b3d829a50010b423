"""
The file that says which process is the master.

Written whole or not at all; removed only while it still names us, so that a successor's file is left alone. It is a
note for operators and scripts: nothing here locks or decides by it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

MASTER: Final = "edge-master"
"""How the kernel calls a master's process."""


def write(path: Path, pid: int) -> None:
    """
    Let *path* name *pid*.

    Raises:
        OSError: it could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{pid}")
    fresh.write_text(f"{pid}\n", encoding="ascii")
    os.replace(fresh, path)  # noqa: PTH105 - says what it does


def holder(path: Path) -> int | None:
    """Return the pid that *path* names, if it is a master's that runs, and neither ours nor that of the one who began us."""
    try:
        pid = int(path.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):  # there is no file, it is none, or nobody is there
        return None
    return pid if name == MASTER and pid not in {os.getpid(), os.getppid()} else None


def remove(path: Path, pid: int) -> None:
    """Remove *path* if it names *pid*. Raises nothing: a file we may not remove stays."""
    with contextlib.suppress(OSError, ValueError):
        if int(path.read_text(encoding="ascii")) == pid:
            path.unlink()
