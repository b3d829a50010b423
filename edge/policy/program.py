"""
Operators' policy functions: found by name, and called.

A function is named ``module:function``. Its module is looked for beside the configuration file first, then where Python
looks. It is imported by each worker for itself, after the fork and as whoever the worker runs as: never by the master, who may
be root. A worker of a new generation imports it anew. The master looks where the module's file is, and what is in it, so that a reload
after a change begins a new generation.

Does not know when a function is called, nor for how long it may run (:mod:`edge.worker.admitting`).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec

    from edge.policy.verdict import Request

NAME: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
IMPORT_S: Final = 20.0
"""How long a module may take to be imported when it is tried."""


class NoSuchFunction(ValueError):  # noqa: N818 - it reads as what it is
    """There is no such function, or none that could be called with a request; the text says why."""


def find(name: str, folder: Path) -> Callable[[Request], object]:
    """
    Import a function.

    Args:
        name: ``module:function``.
        folder: of the configuration file.

    Raises:
        NoSuchFunction: it cannot be imported, or called with one argument.
    """
    module_name, _, function_name = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # a folder's listing may be older than a file in it
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:  # no bytecode is left: it is told from a later file by a second's time and by length alone
        module = importlib.import_module(module_name)
    except Exception as error:
        raise NoSuchFunction(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = before
    function = getattr(module, function_name, None)
    if function is None:
        raise NoSuchFunction(f"{module_name} has no {function_name}")
    if not callable(function):
        raise NoSuchFunction(f"{name} is {type(function).__name__}, which cannot be called")
    if inspect.iscoroutinefunction(function):
        raise NoSuchFunction(f"{name} is a coroutine function; expected a plain one, which is called in a thread")
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError) as error:
        raise NoSuchFunction(f"{name} cannot be called with a request: {error}") from error
    found: Callable[[Request], object] = function
    return found


def digest(name: str, folder: Path) -> bytes:
    """
    Return a digest of the file in which a function is, without importing anything; empty if there is none, or it cannot be read.

    Only the module's own file counts: of what it imports nothing is known before it is imported.

    Args:
        name: ``module:function``.
        folder: of the configuration file.
    """
    spec = _spec(name.partition(":")[0], folder)
    if spec is None or spec.origin is None or not spec.has_location:
        return b""
    try:
        with Path(spec.origin).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # whoever imports it says what is wrong
        return b""


def _spec(module_name: str, folder: Path) -> ModuleSpec | None:
    """
    Say where Python would find a module, as :func:`find` has it look.

    ``importlib.util.find_spec`` would import the packages that the module is in.
    """
    importlib.invalidate_caches()
    first, *parts = module_name.split(".")
    spec = PathFinder.find_spec(first, [str(folder), *sys.path])
    if spec is None:  # not on the path, but where a package is installed in place, or built in
        spec = next((found for finder in sys.meta_path if (found := finder.find_spec(first, None)) is not None), None)
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec


def trial(name: str, folder: Path) -> str | None:
    """
    Import a function in a process of its own, and say what is wrong with it; None: nothing.

    What it does to its process when it is imported does not happen to ours.
    """
    words = [sys.executable, "-m", "edge.policy.program", name, str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves, with the operator's own words
            words, capture_output=True, text=True, timeout=IMPORT_S, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{name} was not imported within {IMPORT_S:g}s"
    if done.returncode == 0:
        return None
    return (done.stdout.strip() or done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1]


def main(name: str, folder: Path) -> int:
    """Try *name*; print what is wrong."""
    try:
        find(name, folder)
    except NoSuchFunction as why:
        print(str(why).splitlines()[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
