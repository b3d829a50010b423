"""
The commands: ``edge run``, ``edge check``, ``edge demo``.

Reads the command line and hands over. Decides only exit codes: 0 good, 1 failed, 2 bad usage. Each command's module is
imported when it is asked for, so that ``edge --version`` does not wait for what serving needs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_FILE = Path("/etc/edge/edge.toml")

GOOD, FAILED, BAD_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Args:
        argv: what follows the program's name; None takes it from the process.

    Returns:
        The exit code.
    """
    try:
        given = _parser().parse_args(argv)
    except SystemExit as leaving:  # argparse has printed what was asked for, or what was wrong
        return leaving.code if isinstance(leaving.code, int) else BAD_USAGE
    try:
        return _run(given)
    except BrokenPipeError:  # whoever read our output has enough; what is still buffered must go somewhere at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(given: argparse.Namespace) -> int:
    if given.command == "check":
        from edge.cli import check  # noqa: PLC0415

        return check.run(given.config)
    if given.command == "demo":
        from edge.cli import demo  # noqa: PLC0415

        return demo.run(check=given.check)
    from edge.master import run  # noqa: PLC0415

    return run(given.config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge",
        description="An edge node: ends TLS, answers from a shared cache, compresses once, forwards misses.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edge {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    config = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    config.add_argument(
        "-c", "--config", metavar="FILE", type=Path, default=DEFAULT_FILE, help=f"the configuration ({DEFAULT_FILE})"
    )
    for name, says, parents in (
        ("run", "run the master, in the foreground", [config]),
        ("check", "read the configuration and every file it names, and print every problem", [config]),
        ("demo", "run an edge on loopback in front of a small shop, and print what to try", []),
    ):
        command = commands.add_parser(
            name, help=says, description=f"{says[0].upper()}{says[1:]}.", parents=parents, allow_abbrev=False
        )
        if name == "demo":
            command.add_argument("--check", action="store_true", help="walk the tour and say whether all of it works")
    return parser
