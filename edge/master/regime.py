"""
What one generation serves: its configuration, and everything made from it before the fork.

Making one is the whole check of a reload: if it cannot be made, nothing has changed, and :class:`Refused` says why.
Sockets are not part of it: they belong to addresses, which outlive generations.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.clock import SYSTEM
from edge.config.problem import Severity
from edge.master import privileges
from edge.master.check import check
from edge.master.logs import Logs
from edge.observe.names import assign_origins, assign_routes
from edge.policy.operators import read_tokens
from edge.policy.program import digest
from edge.tls.certificates import Unusable
from edge.tls.contexts import ContextStore
from edge.tls.credentials import Credentials, credentials_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edge.config.problem import Problem
    from edge.config.tree import Config, Listener
    from edge.tls.certificates import Readings


class Refused(Exception):  # noqa: N818 - sentences for the operator
    """
    A configuration cannot be used.

    Attributes:
        reasons: one line each.
        warnings: what besides is doubtful about it.
    """

    def __init__(self, *reasons: str, warnings: Iterable[str] = ()) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.warnings = tuple(warnings)

    @property
    def summary(self) -> str:
        """The first reason, and how many more there are."""
        more = len(self.reasons) - 1
        return self.reasons[0] + (f" (and {more} more)" if more else "")


@dataclass(slots=True)
class Regime:
    """
    What one generation serves.

    Attributes:
        generation: its number.
        config: the tree.
        tls: the contexts, or None if no listener speaks TLS. Certificates may be renewed in it.
        somebody: whom its children become.
        credentials: what is believed of each origin and shown to it, by name, as it was in the files.
        origin_blocks, route_blocks: which counters each origin and route was lent.
        logs: its open log files.
        operators: digests of the tokens that the admin address asks for.
        programs: digests of the files in which routes' policy functions are, by function.
    """

    generation: int
    config: Config
    tls: ContextStore | None
    somebody: privileges.Identity | None
    credentials: dict[str, Credentials]
    origin_blocks: dict[str, int]
    route_blocks: dict[str, int]
    logs: Logs
    operators: frozenset[bytes] = frozenset()
    programs: dict[str, bytes] = field(default_factory=dict)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Every listener, the admin's last."""
        admin = self.config.admin.listener
        return (*self.config.listeners, admin) if admin else self.config.listeners

    @property
    def addresses(self) -> set[str]:
        """Every address it listens on."""
        return {listener.address for listener in self.listeners}


def read(path: Path, readings: Readings | None = None) -> tuple[Config, list[Problem]]:
    """
    Read the configuration at *path* and check every file it names.

    Args:
        path: absolute.
        readings: of certificates, before.

    Returns:
        The tree, and warnings.

    Raises:
        Refused: it has errors.
    """
    checked = check(path, readings=readings)
    if checked.config is None:
        errors = [problem for problem in checked.problems if problem.severity is Severity.ERROR]
        doubts = [problem for problem in checked.problems if problem.severity is not Severity.ERROR]
        raise Refused(*map(str, errors), warnings=map(str, doubts))
    return checked.config, checked.problems


def read_credentials(config: Config) -> dict[str, Credentials]:
    """
    Read what is believed of each origin and shown to it.

    Raises:
        Unusable: (a ``ValueError``) a file cannot be used; says why, all of it.
    """
    found, errors = credentials_of(
        {name: origin.tls for name, origin in config.origins.items()}, now_wall=SYSTEM.wall()
    )
    if errors:
        raise Unusable("\n".join(errors))
    return found


def make(
    generation: int,
    config: Config,
    earlier_blocks: Mapping[str, int],
    earlier_routes: Mapping[str, int] | None = None,
    readings: Readings | None = None,
) -> Regime:
    """
    Make what *config* needs before a fork.

    Args:
        generation: its number.
        config: checked.
        earlier_blocks: which counters origins were lent before.
        earlier_routes: which counters routes were lent before.
        readings: of certificates, before.

    Raises:
        Refused: something it names cannot be used after all.
    """
    try:
        somebody = privileges.identity(config.server.user, is_root=os.geteuid() == 0)
        if config.cache.path is not None:
            privileges.give(config.cache.path, somebody)
        has_tls = any(listener.tls for listener in config.listeners)
        tls = ContextStore.build(config, readings=readings) if has_tls else None
        credentials = read_credentials(config)
        operators = read_operators(config)
        logs = Logs(config.log)
    except (privileges.NobodyThere, OSError, ValueError) as error:
        raise Refused(*str(error).splitlines()) from error
    return Regime(
        generation,
        config,
        tls,
        somebody,
        credentials,
        assign_origins(config.origins, earlier_blocks),
        assign_routes((route.label for route in config.routes), earlier_routes),
        logs,
        operators,
        read_programs(config),
    )


def read_operators(config: Config) -> frozenset[bytes]:
    """
    Read the digests of the operators' tokens; empty if there is no file of them.

    Raises:
        OSError, ValueError: the file cannot be read or used.
    """
    return frozenset() if config.admin.tokens is None else read_tokens(config.admin.tokens.read_text("utf-8"))


def read_programs(config: Config) -> dict[str, bytes]:
    """Read what is in the files where policy functions are; nothing is imported. Raises nothing."""
    folder = config.source.resolve().parent
    return {route.policy: digest(route.policy, folder) for route in config.routes if route.policy is not None}
