"""
Everything that can be known about a configuration before anything is started.

The one check there is: ``edge check`` prints what it finds, the master asks it before it starts and before every reload.
It composes what rooms below know each for itself: the file and its cross references, the users and paths it names, the
certificates, the users, keys and networks. It changes nothing.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from edge.clock import SYSTEM, Clock
from edge.config.files import check_files
from edge.config.load import load
from edge.config.problem import Problem, Severity
from edge.config.tree import Admin, Certificate, Listener, OriginTls, Route
from edge.exchange.access_flaws import access_flaws
from edge.policy.operators import read_tokens
from edge.policy.program import trial
from edge.policy.shadow import shadows
from edge.tls.certificates import survey
from edge.tls.credentials import read_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.config.load import Loaded
    from edge.tls.certificates import Readings


def check(
    path: Path, *, clock: Clock = SYSTEM, readings: Readings | None = None, tries_functions: bool = False
) -> Loaded:
    """
    Read the configuration at *path* and look at every file it names.

    Parts that could be read are looked at even if others could not, so that one run tells all.

    Args:
        path: relative or not; problems name it as it is given here.
        clock: says whether certificates are in date.
        readings: of certificates, before.
        tries_functions: policy functions are imported, each in a process of its own. The master, who may be root, does not.

    Returns:
        The tree and its warnings, or None in its place and every problem found.

    Raises:
        Nothing.
    """
    loaded = load(path)
    found = check_files(loaded)
    named = {(problem.line, problem.col) for problem in found}
    return loaded.and_also(
        [
            *found,
            *_certificates(loaded, clock, readings, named),
            *_credentials(loaded, clock, named),
            *_operators(loaded, named),
            *_shadowed_routes(loaded),
            *(loaded.problem(key, message) for key, message in access_flaws(loaded.parts)),
            *(_functions(loaded, path) if tries_functions else ()),
        ]
    )


def _certificates(
    loaded: Loaded, clock: Clock, readings: Readings | None, named: set[tuple[int, int]]
) -> Iterator[Problem]:
    """What is wrong inside certificate files, but for those already *named* as unreadable."""
    parts = loaded.parts
    found = survey(parts.all(Certificate), parts.all(Listener), now_wall=clock.wall(), readings=readings)
    for flaw in found.flaws:
        problem = loaded.problem(flaw.key, flaw.message, Severity.ERROR if flaw.is_error else Severity.WARNING)
        if not (flaw.unread and (problem.line, problem.col) in named):
            yield problem


def _credentials(loaded: Loaded, clock: Clock, named: set[tuple[int, int]]) -> Iterator[Problem]:
    """What is wrong inside the files of origins' TLS, but for those already *named* as unreadable."""
    for key, tls in loaded.parts.all(OriginTls):
        for flaw in read_credentials(key, tls, now_wall=clock.wall())[1]:
            problem = loaded.problem(flaw.key, flaw.message, Severity.ERROR if flaw.is_error else Severity.WARNING)
            if not (flaw.unread and (problem.line, problem.col) in named):
                yield problem


def _operators(loaded: Loaded, named: set[tuple[int, int]]) -> Iterator[Problem]:
    """What is wrong with the operators' tokens."""
    for key, admin in loaded.parts.all(Admin):
        where = (*key, "tokens")
        if admin.tokens is None or loaded.positions.value(where) in named:
            continue
        try:
            read_tokens(admin.tokens.read_text("utf-8"))
            if admin.tokens.stat().st_mode & stat.S_IROTH:
                words = f"{admin.tokens} may be read by everybody on this machine; expected mode 0600 or 0640"
                yield loaded.problem(where, words, Severity.WARNING)
        except (OSError, ValueError) as error:
            why = (
                "it is not UTF-8"
                if isinstance(error, UnicodeDecodeError)
                else getattr(error, "strerror", None) or error
            )
            yield loaded.problem(where, f"{admin.tokens} cannot be used: {why}")


def _functions(loaded: Loaded, path: Path) -> Iterator[Problem]:
    """Policy functions that cannot be imported, or called."""
    for key, route in loaded.parts.all(Route):
        if route.policy is not None:
            why = trial(route.policy, path.resolve().parent)
            if why is not None:
                yield loaded.problem((*key, "policy"), why)


def _shadowed_routes(loaded: Loaded) -> Iterator[Problem]:
    """Routes that are never taken, and those between which only their order decides."""
    routes = list(loaded.parts.all(Route))
    for shadow in shadows([route for _, route in routes]):
        key, other = routes[shadow.at][0], routes[shadow.by][0]
        line, _ = loaded.positions.value(other)
        if shadow.never:
            yield loaded.problem(
                key,
                f"this [[route]] is never taken: the one in line {line} takes whatever it would, and goes before it",
            )
        else:
            yield loaded.problem(
                key,
                f"a request may match this [[route]] and the one in line {line}, which is no less specific and stands first; "
                "expected order = 1, or another number, where that is meant",
                Severity.WARNING,
            )
