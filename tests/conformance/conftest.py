"""What the conformance tests measured, one line each, printed at the end whether they passed or not."""

from __future__ import annotations

import pytest

LINES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter, config) -> None:
    for line in config.stash.get(LINES, []):
        terminalreporter.write_line(line)


@pytest.fixture
def say(request):
    """Print a line at the end of the run."""
    return request.config.stash.setdefault(LINES, []).append
