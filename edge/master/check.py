"""
Everything that can be known about a configuration before anything is started.

The one check there is: ``edge check`` prints what it finds, the master asks it before it starts and before every reload.
It composes what rooms below know each for itself: the file and its cross references, the users and paths it names, the
certificates, the users, keys and networks. It changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.clock import SYSTEM, Clock
from edge.config.files import check_files, is_open
from edge.config.load import load
from edge.config.problem import Problem, Severity
from edge.config.tree import Admin, Basic, Certificate, Jwt, Listener, OriginTls, Route
from edge.exchange.access_flaws import access_flaws
from edge.policy.operators import read_tokens
from edge.policy.program import trial
from edge.policy.shadow import shadows
from edge.tls.certificates import private_keys, survey
from edge.tls.credentials import read_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.config.agree import Parts
    from edge.config.load import Loaded
    from edge.config.positions import Path as Key
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
    named = {(problem.line, problem.col) for problem in found if problem.severity is Severity.ERROR}
    return loaded.and_also(
        [
            *found,
            *_certificates(loaded, clock, readings, named),
            *_credentials(loaded, clock, named),
            *_operators(loaded, named),
            *_open_secrets(loaded),
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
        except (OSError, ValueError) as error:
            why = (
                "it is not UTF-8"
                if isinstance(error, UnicodeDecodeError)
                else getattr(error, "strerror", None) or error
            )
            yield loaded.problem(where, f"{admin.tokens} cannot be used: {why}")


def _open_secrets(loaded: Loaded) -> Iterator[Problem]:
    """Secrets that everybody on this machine may read; one problem for those of one directory."""
    found: dict[Key, list[Path]] = {}
    for key, path in _secrets(loaded.parts):
        if is_open(path):
            found.setdefault(key, []).append(path)
    for key, (first, *others) in found.items():
        what = f"{first} and {len(others)} more" if others else f"{first}"
        words = f"{what} may be read by everybody on this machine; expected mode 0600 or 0640"
        yield loaded.problem(key, words, Severity.WARNING)


def _secrets(parts: Parts) -> Iterator[tuple[Key, Path]]:
    """Every file that somebody who reads it could pass for us, an operator or a user with."""
    for key, admin in parts.all(Admin):
        if admin.tokens is not None:
            yield (*key, "tokens"), admin.tokens
    for key, certificate in parts.all(Certificate):
        for where, path in private_keys(certificate):
            yield (*key, *where), path
    for key, tls in parts.all(OriginTls):
        if tls.key is not None:
            yield (*key, "key"), tls.key
    for key, basic in parts.all(Basic):
        if basic.file is not None:
            yield (*key, "file"), basic.file.path
    for key, jwt in parts.all(Jwt):
        if jwt.secret_file is not None:
            yield (*key, "secret_file"), jwt.secret_file.path
        if jwt.jwks_file is not None and any(name.startswith("HS") for name in jwt.algorithms):
            yield (*key, "jwks_file"), jwt.jwks_file.path


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
