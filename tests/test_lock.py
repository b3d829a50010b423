"""systemd/requirements.lock pins all that a deployment installs: every dependency, with its dependencies, by version and hash."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOUSE = Path(__file__).parent.parent
LOCK = (HOUSE / "systemd/requirements.lock").read_text()
ENTRIES = re.findall(
    r"^([A-Za-z0-9_.\-]+)==(\S+)((?:[^\n]*\\\n)(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCK, re.MULTILINE
)
PINNED = {canonicalize_name(name): version for name, version, _ in ENTRIES}
WANTED = [
    Requirement(line) for line in tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["dependencies"]
]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_every_dependency_is_pinned_to_a_version_that_will_do(wanted: Requirement) -> None:
    """If not: the command at the head of the file makes it anew."""
    assert canonicalize_name(wanted.name) in PINNED
    assert wanted.specifier.contains(PINNED[canonicalize_name(wanted.name)])


@pytest.mark.parametrize("name", sorted(PINNED))
def test_what_a_pinned_package_needs_is_pinned_too(name: str) -> None:
    """As the installed one says; what is needed on other systems only is not looked for here."""
    try:
        requires = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        requires = []
    needed = [Requirement(line) for line in requires]
    missing = [
        each.name
        for each in needed
        if (each.marker is None or each.marker.evaluate({"extra": ""})) and canonicalize_name(each.name) not in PINNED
    ]

    assert [] == missing


def test_every_line_is_a_pin_a_hash_or_a_remark() -> None:
    """No index, no address, no file: where packages come from is the installer's business, and what they are is said here."""
    line = re.compile(r"[A-Za-z0-9_.\-]+==\S+(?: ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?|\s*#.*|")

    assert [] == [text for text in LOCK.splitlines() if not line.fullmatch(text)]
    assert "://" not in LOCK
    assert len(PINNED) == len(re.findall(r"^[^\s#]+==", LOCK, re.MULTILINE)) >= len(WANTED)
