"""A policy function is found by name, beside the configuration first; what is wrong with it is one sentence."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from edge.policy.program import NoSuchFunction, digest, find, trial

SOURCE = """
from edge.policy.verdict import Pass
import sys
sys.edge_tests_imported = True
def good(request): return Pass()
def none(): return Pass()
async def waits(request): return Pass()
two = lambda a, b: None
number = 5
class Callable:
    def __call__(self, request): return Pass()
instance = Callable()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A module, whose name nobody has imported."""
    name = f"rules_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / f"broken_{name}.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for module in (name, f"broken_{name}"):
        sys.modules.pop(module, None)


def module_in(folder: Path) -> str:
    return min(path.stem for path in folder.glob("rules_*.py"))


def test_a_function_is_found_beside_the_configuration(folder: Path) -> None:
    assert find(f"{module_in(folder)}:good", folder).__name__ == "good"
    assert callable(find(f"{module_in(folder)}:instance", folder))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("none", "cannot be called with a request"),
        ("two", "cannot be called with a request"),
        ("number", "is int, which cannot be called"),
        ("waits", "coroutine function"),
        ("absent", "has no absent"),
    ],
)
def test_what_cannot_be_called_is_told(folder: Path, function: str, why: str) -> None:
    with pytest.raises(NoSuchFunction, match=why):
        find(f"{module_in(folder)}:{function}", folder)


def test_what_cannot_be_imported_is_told(folder: Path) -> None:
    with pytest.raises(NoSuchFunction, match="cannot be imported: ZeroDivisionError"):
        find(f"broken_{module_in(folder)}:good", folder)
    with pytest.raises(NoSuchFunction, match="cannot be imported: ModuleNotFoundError"):
        find("no_such_module_anywhere:good", folder)


def test_a_trial_happens_in_a_process_of_its_own(folder: Path, monkeypatch) -> None:
    monkeypatch.delattr(sys, "edge_tests_imported", raising=False)
    name = module_in(folder)

    assert trial(f"{name}:good", folder) is None
    assert "has no absent" in trial(f"{name}:absent", folder)
    assert "ZeroDivisionError" in trial(f"broken_{name}:x", folder)
    assert not hasattr(sys, "edge_tests_imported")


def test_a_digest_tells_what_is_in_a_modules_file_and_imports_nothing(folder: Path, monkeypatch) -> None:
    """Nor the packages that it is in; of those the last is what counts."""
    monkeypatch.delattr(sys, "edge_tests_imported", raising=False)
    plain = module_in(folder)
    package = folder / f"package_{plain}"
    (package / "inner").mkdir(parents=True)  # the inner one without an __init__: a namespace
    for path in (package / "__init__.py", package / "inner" / "deep.py"):
        path.write_text(SOURCE)
    names = (plain, package.name, f"{package.name}.inner.deep")
    before = [digest(f"{name}:good", folder) for name in names]
    (folder / f"{plain}.py").write_text(SOURCE + "# another\n")
    (package / "inner" / "deep.py").write_text(SOURCE + "# another\n")
    after = [digest(f"{name}:good", folder) for name in names]

    assert 1 == len(set(before))
    assert b"" not in before
    assert [False, True, False] == [one == other for one, other in zip(before, after, strict=True)]
    assert not hasattr(sys, "edge_tests_imported")
    assert not {*names, f"{package.name}.inner"} & {*sys.modules}


@pytest.mark.parametrize(
    "name", ["no_such_module_anywhere", "no_such_package.inner", "json.no_such_part", "sys", "sys.x"]
)
def test_what_is_in_no_file_has_no_digest(folder: Path, name: str) -> None:
    assert digest(f"{name}:f", folder) == b""


def test_what_lies_in_an_archive_has_no_digest(folder: Path, monkeypatch) -> None:
    """It can be imported, but is no file."""
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("edge_tests_archived.py", SOURCE)
    monkeypatch.syspath_prepend(str(folder / "archive.zip"))

    assert digest("edge_tests_archived:f", folder) == b""


def test_a_module_leaves_no_bytecode_that_could_be_taken_for_a_later_file(folder: Path) -> None:
    find(f"{module_in(folder)}:good", folder)

    assert not (folder / "__pycache__").exists()
    assert digest(f"{module_in(folder)}:good", folder)
