"""
A file becomes a tree, or a list of everything that is wrong with it.

One walk over what ``tomllib`` gave, row by row: a value that does not fit is reported with its place and the walk goes
on, so that one run tells all. The parts of a faulty file that made sense are kept, so that the checks that follow can look
at them too.

Does not know: which settings there are (``tree.py``), how parts must agree (``agree.py``), whether files exist
(``files.py``).
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge.config.agree import Parts, disagreements
from edge.config.agree_access import access_disagreements
from edge.config.kinds import (
    ListOf,
    Named,
    Size,
    Table,
    Tables,
    Text,
    Time,
    did_you_mean,
    size_words,
    sort_of,
    time_words,
)
from edge.config.positions import Path as Key
from edge.config.positions import Positions
from edge.config.problem import Problem, Severity
from edge.config.schema import Kind, Row, Unfit, rows, toml
from edge.config.tree import Config, Listener, OriginServer, Server, ServersFile

_ORIGIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
_MISPLACED = "trusted_proxies"
"""Read in [server] too: TOML wants what is in no table before the first one, which is easily forgotten."""

_TOML_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)\Z")


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    What reading a file gave.

    Attributes:
        config: the tree; None if there is any error.
        problems: in the order of the file; warnings too.
        file: as it was named, for messages.
        parts: every table that could be read, for further checks; the file may be faulty elsewhere.
        positions: where the keys stand that *parts* are named by.
    """

    config: Config | None
    problems: list[Problem]
    file: Path
    parts: Parts
    positions: Positions

    @property
    def ok(self) -> bool:
        """Whether the configuration may be used."""
        return self.config is not None

    def problem(self, key: Key, message: str, severity: Severity = Severity.ERROR) -> Problem:
        """Make a problem with the value at *key*."""
        line, col = self.positions.value(key)
        return Problem(self.file, line, col, message, severity)

    def and_also(self, found: list[Problem]) -> Loaded:
        """Return this with more problems; an error among them takes the tree away."""
        if not found:
            return self
        problems = in_order([*self.problems, *found])
        config = None if any(problem.severity is Severity.ERROR for problem in found) else self.config
        return Loaded(config, problems, self.file, self.parts, self.positions)


def load(path: Path | str) -> Loaded:
    """
    Read the configuration file at *path*.

    Pure but for reading that file, and those that belong to it (``contents.py``): schema and cross references are checked, other
    files are not looked at.

    Raises:
        Nothing; a file that cannot be read is a problem like any other.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        col = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        return _unreadable(path, f"byte 0x{error.object[error.start]:02x} is not UTF-8, which TOML must be", line, col)
    return parse(text, path)


def parse(text: str, path: Path) -> Loaded:
    """
    Read *text* as if it stood in the file *path*.

    Raises:
        Nothing.
    """
    try:
        raw = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one, and so is a number too long for int()
        message = str(error)
        place = _TOML_PLACE.search(message)
        message = _TOML_PLACE.sub("", message)
        if place is None:
            line, col = 1, 1
        elif place[1]:
            line, col = int(place[1]), int(place[2])
        else:
            lines = text.split("\n")
            line, col = len(lines), len(lines[-1]) + 1
        return _unreadable(path, f"this is not TOML: {message}", line, col)
    except RecursionError:
        return _unreadable(path, "this is nested too deeply to be a configuration")
    return _Reader(text, path, raw).loaded()


def parse_servers(data: bytes, path: Path) -> tuple[tuple[OriginServer, ...], list[Problem]]:
    """
    Read what stands in an origin's ``servers_file``: TOML, or JSON if its name ends so.

    Returns:
        The servers, at least one if there is no problem; and the problems, each an error. In JSON they have no place but what
        is not JSON at all.
    """
    place, problems = (1, 1), []
    try:
        text = data.decode("utf-8")
        if path.suffix == ".json":
            raw = json.loads(text)
            raw, text = {"servers": raw} if isinstance(raw, list) else raw, ""
        else:
            raw = tomllib.loads(text)
    except json.JSONDecodeError as error:
        return (), [Problem(path, error.lineno, error.colno, f"this is not JSON: {error.msg}")]
    except (ValueError, RecursionError) as error:
        found = _TOML_PLACE.search(str(error))
        if found is not None and found[1]:
            place = int(found[1]), int(found[2])
        kind = "JSON" if path.suffix == ".json" else "TOML"
        return (), [Problem(path, *place, f"this is not {kind}: {_TOML_PLACE.sub('', str(error))}")]
    if not isinstance(raw, dict):
        return (), [Problem(path, *place, f"this is {sort_of(raw)}; expected a list of servers")]
    reader = _Reader(text, path, raw)
    servers: tuple[OriginServer, ...] = reader.settings(ServersFile, raw, ()).get("servers", ())
    problems = list(reader.problems)
    for at, server in enumerate(servers):
        if server.discover is not None:
            where = reader.positions.value(("servers", at, "discover"))
            problems.append(Problem(path, *where, "a list of servers names servers; expected no discover here"))
    return (() if problems else servers), in_order(problems)


def in_order(problems: list[Problem]) -> list[Problem]:
    """Sort problems as they stand in the file, each once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.col))


def _unreadable(path: Path, message: str, line: int = 1, col: int = 1) -> Loaded:
    return Loaded(None, [Problem(path, line, col, message)], path, Parts({}, {}), Positions(""))


@dataclass(slots=True)
class _Reader:
    """One walk over one file."""

    text: str
    file: Path
    raw: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)
    made: dict[Key, Any] = field(default_factory=dict)
    positions: Positions = field(init=False)
    base: Path = field(init=False)

    def __post_init__(self) -> None:
        self.positions = Positions(self.text)
        self.base = self.file.absolute().parent

    def loaded(self) -> Loaded:
        values = self.settings(Config, self.raw, ())
        self.inherit(values)
        parts = Parts(self.made, self.raw)
        for found in (*disagreements(parts), *access_disagreements(parts)):
            self.problems.append(Problem(self.file, *self.positions.value(found.key), found.message, found.severity))
        failed = any(problem.severity is Severity.ERROR for problem in self.problems)
        config = None if failed else Config(**values, source=self.file.absolute())
        return Loaded(config, in_order(self.problems), self.file, parts, self.positions)

    def inherit(self, values: dict[str, Any]) -> None:
        """Give listeners that do not say otherwise the backlog of [server]."""
        server = self.made.get(("server",))
        if not isinstance(server, Server) or "listeners" not in values:
            return
        for key, part in self.made.items():
            if isinstance(part, Listener) and "backlog" not in self.written(key):
                self.made[key] = replace(part, backlog=server.backlog)
        values["listeners"] = tuple(part for part in self.made.values() if isinstance(part, Listener))

    def written_in_server(self) -> dict[str, Any]:
        """Return the raw [server] table."""
        server = self.raw.get("server")
        return server if isinstance(server, dict) else {}

    def written(self, key: Key) -> dict[str, Any]:
        """Return the raw table at *key*."""
        table: Any = self.raw
        for part in key:
            table = table[part]
        return table if isinstance(table, dict) else {}

    def wrong(self, at: tuple[int, int], message: str) -> None:
        self.problems.append(Problem(self.file, *at, message))

    def settings(self, cls: type, raw: dict[str, Any], key: Key) -> dict[str, Any]:
        """Read the settings of one table; what is missing or wrong is missing in the answer."""
        known = {row.name: row for row in rows(cls)}
        values: dict[str, Any] = {}
        for name in raw:
            if cls is Server and name == _MISPLACED:
                continue
            if name not in known:
                self.wrong(self.positions.key((*key, name)), _unknown(name, key, known))
        for name, row in known.items():
            if name in raw:
                self.setting(row, raw[name], (*key, name), values)
            elif name == _MISPLACED and name in self.written_in_server():
                self.setting(row, raw["server"][name], ("server", name), values)
            elif row.required:
                self.wrong(self.positions.value(key), f"{headed(key)} has no {name!r}; expected {name} = {row.example}")
        return values

    def setting(self, row: Row, raw: Any, key: Key, values: dict[str, Any]) -> None:
        try:
            value = self.read(row.kind, raw, key)
            _check_bounds(row, value)
        except Unfit as unfit:
            self.wrong(self.positions.value(key), f"{row.name}: {unfit}")
        else:
            if value is not _FAILED:
                values[row.field] = value

    def read(self, kind: Kind, raw: Any, key: Key) -> Any:
        if isinstance(kind, Named):
            return self.named(kind, raw, key)
        if isinstance(kind, Tables):
            return self.tables(kind, raw, key)
        if isinstance(kind, Table):
            return self.table(kind, raw, key)
        if isinstance(kind, ListOf):
            return self.list(kind, raw, key)
        return kind.read(raw, self.base)

    def table(self, kind: Table, raw: Any, key: Key, **given: Any) -> Any:
        if kind.short is not None and isinstance(raw, str):
            raw = {kind.short: raw}
        if not isinstance(raw, dict):
            if isinstance(raw, list) and raw and isinstance(raw[0], dict):
                raise Unfit(f"there can be only one; expected {headed(key)}, not [{headed(key)}]")
            raise Unfit(f"this is {sort_of(raw)}; expected {kind.words if kind.short else headed(key)}")
        values = self.settings(kind.cls, raw, key)
        if any(row.required and row.field not in values for row in rows(kind.cls)):
            return _FAILED
        self.made[key] = kind.cls(**given, **values)
        return self.made[key]

    def tables(self, kind: Tables, raw: Any, key: Key) -> Any:
        if isinstance(raw, dict):
            raise Unfit(f"there can be several; expected [[{key[-1]}]], not [{key[-1]}]")
        if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
            raise Unfit(f"this is {sort_of(raw)}; expected tables, each headed [[{key[-1]}]]")
        made = [self.table(kind, item, (*key, at)) for at, item in enumerate(raw)]
        return tuple(item for item in made if item is not _FAILED)

    def named(self, kind: Named, raw: Any, key: Key) -> Any:
        if not isinstance(raw, dict):
            raise Unfit(f"this is {sort_of(raw)}; expected tables, each headed [{key[-1]}.NAME]")
        made: dict[str, Any] = {}
        for name, item in raw.items():
            where = (*key, name)
            if not isinstance(item, dict) and name in {row.name for row in rows(kind.cls)}:
                self.wrong(
                    self.positions.key(where), f"every {key[-1]} has a name; expected [{key[-1]}.NAME], not [{key[-1]}]"
                )
                continue
            if not _ORIGIN_NAME.match(name):
                self.wrong(
                    self.positions.key(where), f"{name!r} is no name; expected letters, digits, '_', '-' and '.'"
                )
                continue
            try:
                value = self.table(kind, item, where, name=name)
            except Unfit as unfit:
                self.wrong(self.positions.value(where), f"{name}: {unfit}")
            else:
                if value is not _FAILED:
                    made[name] = value
        return MappingProxyType(made)

    def list(self, kind: ListOf, raw: Any, key: Key) -> Any:
        if not isinstance(raw, list):
            raise Unfit(f"this is {sort_of(raw)}; expected a list, as in [{_sample(kind.item, raw)}]")
        if not raw and not kind.may_be_empty:
            raise Unfit(f"this list is empty; expected at least one, each {kind.item.words}")
        made = []
        for at, item in enumerate(raw):
            try:
                value = self.read(kind.item, item, (*key, at))
            except Unfit as unfit:
                self.wrong(self.positions.value((*key, at)), str(unfit))
            else:
                if value is not _FAILED:
                    made.append(value)
        return tuple(made)


_FAILED: Any = object()
"""Stands for what could not be read and has been reported."""


def headed(key: Key) -> str:
    """Name a table as its header does: ``[origin.shop]``, ``[[listener]]``."""
    names = ".".join(str(part) for part in key if isinstance(part, str))
    if not names:
        return "the file"
    return f"[[{names}]]" if isinstance(key[-1], int) else f"[{names}]"


def _unknown(name: str, key: Key, known: dict[str, Row]) -> str:
    near = did_you_mean(name, list(known))
    if near:
        return f"{headed(key)} has no setting {name!r}{near}"
    elsewhere = _homes().get(name)
    if elsewhere:
        return f"{headed(key)} has no setting {name!r}; it belongs {' or '.join(elsewhere)}"
    return f"{headed(key)} has no setting {name!r}; expected {', '.join(known)}"


def _homes() -> dict[str, list[str]]:
    """Each setting's name → where it may stand, in words."""
    homes: dict[str, list[str]] = {}

    def visit(cls: type, prefix: str, header: str) -> None:
        for row in rows(cls):
            homes.setdefault(row.name, []).append(header)
            if isinstance(row.kind, Table):
                name = f"{prefix}{row.name}"
                if isinstance(row.kind, Named):
                    visit(row.kind.cls, f"{name}.NAME.", f"in [{name}.NAME]")
                elif isinstance(row.kind, Tables):
                    visit(row.kind.cls, f"{name}.", f"in [[{name}]]")
                else:
                    visit(row.kind.cls, f"{name}.", f"in [{name}]")

    visit(Config, "", "at the top of the file, before any [table]")
    return homes


def _check_bounds(row: Row, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if row.least is not None and value < row.least:
        raise Unfit(f"{_shown(row.kind, value)} is too little; expected at least {_shown(row.kind, row.least)}")
    if row.most is not None and value > row.most:
        raise Unfit(f"{_shown(row.kind, value)} is too much; expected at most {_shown(row.kind, row.most)}")


def _shown(kind: Kind, value: float) -> str:
    if isinstance(kind, Size):
        return size_words(int(value))
    return time_words(value) if isinstance(kind, Time) else str(value)


def _sample(item: Kind, raw: object) -> str:
    """Show what would stand in a list if *raw*, which stands alone, were in one."""
    return toml(raw) if isinstance(raw, str) and isinstance(item, (Text, Table)) else "..."
