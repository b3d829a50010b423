"""
``edge check``: what is wrong with a configuration, all of it, one line each. Starts nothing.

The lines are ``FILE:LINE:COL: what, and what was expected``, the form editors and compilers share. Warnings do not fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.problem import Severity
from edge.master.check import check

if TYPE_CHECKING:
    from pathlib import Path


def run(path: Path) -> int:
    """
    Print every problem of the configuration at *path*, and a last line that sums up.

    Returns:
        The exit code: 0 if it can be used, else 1.
    """
    checked = check(path, tries_functions=True)
    for problem in checked.problems:
        print(problem)
    errors = sum(problem.severity is Severity.ERROR for problem in checked.problems)
    warnings = len(checked.problems) - errors
    print(f"{path}: {_summary(errors, warnings)}")
    return 0 if checked.ok else 1


def _summary(errors: int, warnings: int) -> str:
    counts = [_count(errors, "error"), _count(warnings, "warning")]
    found = " and ".join(filter(None, counts))
    return found if errors else f"good{', with ' if found else ''}{found}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}" if number else ""
