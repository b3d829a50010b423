"""Every word for why the cache did what it did has a test: one that is named after it, or that says it of something that happened."""

from __future__ import annotations

import ast
import re
from enum import Enum
from functools import cache
from pathlib import Path

import pytest

from edge.cache.ask import Bypassed
from edge.cache.lookup import Fwd, Why
from edge.cache.storing import Unstored

TESTS = Path(__file__).parents[1]
REASONS = [reason for words in (Unstored, Fwd, Why, Bypassed) for reason in words]


@cache
def evidence() -> frozenset[str]:
    """What tests are called, and what they say in their parameters and assertions: ``Why.AHEAD``, ``detail=min-uses``, ``fwd=miss``."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for test in ast.walk(ast.parse(path.read_text())):
            if not isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) or not test.name.startswith("test_"):
                continue
            found.add(test.name)
            judging = [node for node in ast.walk(test) if isinstance(node, ast.Assert)]
            for node in (inner for part in (*test.decorator_list, *judging) for inner in ast.walk(part)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    found.add(f"{node.value.id}.{node.attr}")
                elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                    found.update(re.findall(r"(?:detail|fwd)=[a-z-]+", text))
    return frozenset(found)


@pytest.mark.parametrize("reason", REASONS, ids=str)
def test_every_reason_has_its_test(reason: Enum) -> None:
    kind = type(reason).__name__
    said = {f"{kind}.{reason.name}", f"test_{reason.value.replace('-', '_')}"}
    said.add(f"fwd={reason.value}" if kind == "Fwd" else f"detail={reason.value}")

    assert said & evidence()
