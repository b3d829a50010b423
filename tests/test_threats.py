"""edge/THREATS.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
NAMED = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", (HOUSE / "edge/THREATS.md").read_text())


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_what_shows_that_a_threat_is_met_exists(path: str, name: str) -> None:
    """A row without its test is a wish."""
    assert re.search(rf"^(async )?def {name}\(", (HOUSE / path).read_text(), re.MULTILINE)


def test_every_row_has_its_test() -> None:
    """A row has three cells, the last of which names at least one."""
    rows = [line for line in (HOUSE / "edge/THREATS.md").read_text().splitlines() if line.startswith("| ")]
    claims = [row for row in rows if not row.startswith(("| attack |", "| who |", "| **"))]

    assert len(claims) > 30
    assert not [row for row in claims if row.count("::test_") == 0]
