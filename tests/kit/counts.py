"""
What the suites of many cases have tried, for the end of the run: a green dot says nothing of how much was behind it.

A suite adds to its line while it runs; ``tests/conftest.py`` prints all lines under *what was tried*.
"""

from __future__ import annotations

from collections import Counter

LINES: dict[str, Counter[str]] = {}


def tried(suite: str, **numbers: int) -> None:
    """Add *numbers* to the line of *suite*; ``_`` in a name stands for a space."""
    line = LINES.setdefault(suite, Counter())
    for name, number in numbers.items():
        line[name.replace("_", " ")] += number


def told() -> list[str]:
    """Return the lines."""
    return [
        f"{suite}: " + ", ".join(f"{number:,} {name}" for name, number in line.items()) for suite, line in LINES.items()
    ]
