"""
The commands: ``edge run``, ``edge check``, ``edge demo``; and of an edge that runs ``edge purge``,
``edge cache`` and ``edge explain``.

Reads the command line and hands over. Decides only exit codes: 0 good, 1 failed, 2 bad usage. Each command's module is
imported when it is asked for, so that ``edge --version`` does not wait for what serving needs. What an argument of the steering
commands may be is the edge's to say; where it says that one makes no sense, that is bad usage as well.
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

STEERING = frozenset({"purge", "cache", "explain", "origins"})
"""Commands that ask an edge that runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Args:
        argv: what follows the program's name; None takes it from the process.

    Returns:
        The exit code.
    """
    parser = _parser()
    try:
        given = parser.parse_args(argv)
        if given.command == "purge" and not given.orders:
            parser.error("name what to purge: URL, --host, --prefix, --tag, or --all")
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
    if given.command in STEERING:
        return _steer(given)
    from edge.master import run  # noqa: PLC0415

    return run(given.config)


def _steer(given: argparse.Namespace) -> int:
    """Ask an edge that runs."""
    from edge.cli import cache, origins, purge  # noqa: PLC0415
    from edge.cli.operator import Misasked, Operator, Unanswered  # noqa: PLC0415

    try:
        operator = Operator(given.config, given.admin)
        if given.command == "purge":
            return purge.run(operator, given.orders, is_soft=given.soft)
        if given.command == "origins":
            if given.what == "ls":
                return origins.ls(operator, as_json=given.json)
            return origins.order(operator, given.what, given.origin, given.server, as_json=given.json)
        if given.command == "explain":
            return cache.explain(operator, [("url", given.url), *given.query], as_json=given.json)
        if given.what == "show":
            return cache.show(operator, given.url, as_json=given.json)
        if given.what == "ls":
            return cache.ls(operator, given.query, as_json=given.json)
        return cache.stats(operator, as_json=given.json)
    except Misasked as why:
        print(why, file=sys.stderr)
        return BAD_USAGE
    except Unanswered as why:
        print(why, file=sys.stderr)
        return FAILED


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
    steering = argparse.ArgumentParser(add_help=False, allow_abbrev=False, parents=[config])
    steering.add_argument("--admin", metavar="ADDRESS", help="the edge's admin address; by default as configured")
    _add_purge(commands, steering)
    steering.add_argument("--json", action="store_true", help="for programs")
    _add_cache(commands, steering)
    _add_explain(commands, steering)
    _add_origins(commands, steering)
    return parser


def _add_purge(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], steering: argparse.ArgumentParser
) -> None:
    says = "Take things back from the cache of a running edge; no worker uses them once this has ended."
    command = commands.add_parser(
        "purge", help="take things back from the cache", description=says, parents=[steering], allow_abbrev=False
    )
    command.add_argument("url", nargs="*", action=_Order, metavar="URL", help="an address, in all its variants")
    for name, metavar, what in (
        ("host", "HOST", "everything of a host"),
        ("prefix", "PREFIX", "every address that begins so"),
        ("tag", "TAG", "every reply that has it in Cache-Tag or Surrogate-Key"),
    ):
        command.add_argument(f"--{name}", action=_Order, metavar=metavar, help=what)
    command.add_argument("--all", action=_Order, nargs=0, help="everything")
    command.add_argument("--soft", action="store_true", help="keep the copies, but ask the origin before they are used")
    command.set_defaults(orders=[])


def _add_cache(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], steering: argparse.ArgumentParser
) -> None:
    cache = commands.add_parser(
        "cache", help="say what is stored", description="Say what a running edge has stored.", allow_abbrev=False
    )
    whats = cache.add_subparsers(dest="what", metavar="ls|show|stats", required=True)
    ls = whats.add_parser("ls", help="a line for every copy", parents=[steering], allow_abbrev=False)
    for name, what in (("host", "of a host"), ("prefix", "whose address begins so"), ("tag", "with a tag")):
        ls.add_argument(f"--{name}", action=_Order, dest=name, metavar=name.upper(), help=f"only those {what}")
    ls.set_defaults(query=[])
    show = whats.add_parser("show", help="all there is for an address", parents=[steering], allow_abbrev=False)
    show.add_argument("url", metavar="URL")
    whats.add_parser("stats", help="how much, and what for", parents=[steering], allow_abbrev=False)


def _add_explain(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], steering: argparse.ArgumentParser
) -> None:
    says = "Say what would happen to a request, rule by rule, each with its source. Changes nothing."
    command = commands.add_parser(
        "explain", help="say what would happen to a request", description=says, parents=[steering], allow_abbrev=False
    )
    command.add_argument("url", metavar="URL")
    for flags, name, metavar, what in (
        (("-X", "--method"), "method", "METHOD", "of the request; GET by default"),
        (("-H", "--header"), "field", "FIELD", "of the request: 'Name: value'"),
        (("--reply",), "reply", "FIELD", "of a reply: say also whether it would be stored"),
        (("--status",), "status", "STATUS", "of that reply; 200 by default"),
        (("--client",), "client", "ADDRESS", "of the client; by default one that is in no network"),
    ):
        command.add_argument(*flags, action=_Order, dest=name, metavar=metavar, help=what)
    command.set_defaults(query=[])


def _add_origins(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], steering: argparse.ArgumentParser
) -> None:
    says = "Say how the servers of a running edge's origins stand, or have one drained, disabled or enabled."
    origins = commands.add_parser(
        "origins", help="say how origins' servers stand", description=says, allow_abbrev=False
    )
    whats = origins.add_subparsers(dest="what", metavar="ls|drain|disable|enable", required=True)
    whats.add_parser("ls", help="a line for every server", parents=[steering], allow_abbrev=False)
    for name, what in (
        ("drain", "ask it no more, but for clients that a cookie binds to it"),
        ("disable", "ask it no more at all"),
        ("enable", "ask it again, slowly at first where slow_start says so"),
    ):
        order = whats.add_parser(name, help=what, parents=[steering], allow_abbrev=False)
        order.add_argument("origin", metavar="ORIGIN")
        order.add_argument("server", metavar="SERVER", nargs="+", help="its URL, or as the log calls it")


class _Order(argparse.Action):
    """Gathers what is named, in the order given: of a purge in ``orders``, else in ``query``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        each = [values] if isinstance(values, str) else values or (["1"] if self.nargs == 0 else [])
        gathered = "orders" if hasattr(namespace, "orders") else "query"
        setattr(namespace, gathered, [*getattr(namespace, gathered), *((self.dest, value) for value in each)])
