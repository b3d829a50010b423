"""
One thing that is wrong with a configuration, and where.

Problems are collected, never raised: whoever checks a file wants to hear of all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Severity(Enum):
    """Whether a configuration with this problem may be used."""

    ERROR = "error"
    WARNING = "warning"  # it may, but probably does not do what was meant


@dataclass(frozen=True, slots=True)
class Problem:
    """
    What is wrong, and what was expected.

    Attributes:
        line, col: of the key or value, both from 1; 1:1 if the whole file is meant.
        message: one line, for whoever wrote the file.
    """

    file: Path
    line: int
    col: int
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        kind = "" if self.severity is Severity.ERROR else f"{self.severity.value}: "
        return f"{self.file}:{self.line}:{self.col}: {kind}{self.message}"
