"""
The house rules that a reader relies on and no linter knows: which room may see which, and who alone may do what.

Read from the source itself, so that a new room is held to them from its first line.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

EDGE = Path(__file__).parent.parent / "edge"
SOURCES = sorted(EDGE.rglob("*.py"))

FLOORS = [
    {"clock", "errors"},
    {"message"},
    {"share"},
    {"config", "tls", "listen", "http", "policy", "cache", "compress", "origin", "reply", "observe"},
    {"exchange"},
    {"worker"},
    {"master"},
    {"cli"},
    {"__main__"},
]
"""From the ground up. A room sees the floors below its own, and itself; never a sibling."""

HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}

FORBIDDEN_FOLDERS = {"utils", "util", "helpers", "common", "core", "misc"}


def room_of(path: Path) -> str:
    """The first folder below edge/, or the name of a module that stands beside the rooms."""
    return path.relative_to(EDGE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    """Every room named by an import, also one made for types alone: knowing a type is knowing."""
    rooms = {parts[1] for name in imported(tree) if len(parts := name.split(".")) > 1 and parts[0] == "edge"}
    return rooms - {"__version__"}  # belongs to the house, not to a room


def imported(tree: ast.AST) -> set[str]:
    """Every module, or name of one, that is imported anywhere, absolute."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide which room they lead to"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def attributes(tree: ast.AST) -> set[str]:
    """Every ``name.attribute`` that is spelled out."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def broken_rules(room: str, tree: ast.AST, *, file: str = "") -> list[str]:
    """What in a module of *room* the house does not allow."""
    names = imported(tree)
    used = attributes(tree) | names
    broken = [
        f"{room} imports {other}, which is not below it"
        for other in sorted(imported_rooms(tree) - {room})
        if HEIGHT.get(other, len(FLOORS)) >= HEIGHT.get(room, len(FLOORS))
    ]
    tops = {name.partition(".")[0] for name in names}
    if "trio" in tops and room != "worker":
        broken.append("trio is imported outside worker/")
    if used & {"os.fork", "os.forkpty"} and room != "master":
        broken.append("os.fork is named outside master/")
    if room != "clock":
        if "time" in tops:
            broken.append("time is imported outside clock.py")
        if now := used & {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}:
            broken.append(f"{', '.join(sorted(now))} reads time outside clock.py")
    return [f"{file}{rule}" for rule in broken]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(EDGE)))
def test_a_module_keeps_to_its_floor(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert [] == broken_rules(room_of(path), tree)


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in SOURCES} - {"__init__"}

    assert set() == rooms - HEIGHT.keys()


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(EDGE)) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]

    assert [] == silent


def test_no_group_in_a_pattern_is_possessive() -> None:
    """Python before 3.11.5, and Debian 12 has 3.11.2, keeps what a failed round of ``(?:…)*+`` took; ``(?>…)`` is sound."""
    possessive = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")
    found = [
        f"{path.relative_to(EDGE)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if possessive.search(line)
    ]

    assert [] == found


def test_no_folder_is_a_drawer() -> None:
    """A name that says nothing collects everything."""
    folders = {path.name for path in EDGE.rglob("*") if path.is_dir()} | {path.stem for path in SOURCES}

    assert set() == folders & FORBIDDEN_FOLDERS


@pytest.mark.parametrize(
    ("room", "source", "rule"),
    [
        ("message", "from edge.http.out import Out", "message imports http, which is not below it"),
        ("http", "from edge.cache.key import key_hash", "http imports cache, which is not below it"),
        ("http", "import edge.worker", "http imports worker, which is not below it"),
        ("http", "from edge import cache", "http imports cache, which is not below it"),
        (
            "cache",
            "if TYPE_CHECKING:\n    from edge.tls.stream import Stream",
            "cache imports tls, which is not below it",
        ),
        ("clock", "from edge.errors import Fault", "clock imports errors, which is not below it"),
        ("exchange", "import trio", "trio is imported outside worker/"),
        ("exchange", "from trio.lowlevel import checkpoint", "trio is imported outside worker/"),
        ("worker", "import os\nos.fork()", "os.fork is named outside master/"),
        ("worker", "from os import fork", "os.fork is named outside master/"),
        ("cache", "from time import monotonic", "time is imported outside clock.py"),
        ("cache", "def f():\n    import time", "time is imported outside clock.py"),
        ("reply", "from datetime import datetime\ndatetime.now()", "datetime.now reads time outside clock.py"),
    ],
)
def test_the_reader_of_rules_sees_a_breach(room: str, source: str, rule: str) -> None:
    """A test that looks for nothing finds nothing."""
    assert [rule] == broken_rules(room, ast.parse(source))


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("http", "from edge.message.head import Field\nfrom edge.errors import Fault\nfrom edge.http.out import Out"),
        ("worker", "import trio\nfrom edge.clock import Clock\nfrom edge.exchange.decide import decide"),
        ("master", "import os\nos.fork()"),
        ("clock", "import time"),
        ("reply", "from edge import __version__"),
    ],
)
def test_the_reader_of_rules_lets_the_house_be(room: str, source: str) -> None:
    assert [] == broken_rules(room, ast.parse(source))
