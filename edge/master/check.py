"""
Everything that can be known about a configuration before anything is started.

The one check there is: ``edge check`` prints what it finds, the master asks it before it starts and before every reload.
It composes what rooms below know each for itself: the file and its cross references, the users and paths it names,
the certificates. It changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.files import check_files
from edge.config.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config.load import Loaded


def check(path: Path) -> Loaded:
    """
    Read the configuration at *path* and look at every file it names.

    Returns:
        The tree and its warnings, or None in its place and every problem found.

    Raises:
        Nothing.
    """
    loaded = load(path)
    return loaded.and_also(check_files(loaded))
