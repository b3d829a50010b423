"""
The reference and the JSON Schema in ``conf/``, made from the rows.

``python -m edge.config.reference conf`` writes both; a test says when they are out of date. Neither decides anything:
the schema is for editors, and says less than ``edge check`` knows.

Shapes: the reference is a configuration that loads. What has a default shows it; what has none stands behind a ``#``
with an example.

Source: JSON Schema 2020-12.
"""

from __future__ import annotations

import json
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config.kinds import (
    Boolean,
    Choice,
    FilePath,
    HostPattern,
    Integer,
    ListenAddress,
    ListOf,
    Named,
    PathPrefix,
    Size,
    StatusTimes,
    Table,
    Tables,
    TargetUrl,
    Text,
    Time,
    Workers,
    size_words,
    time_words,
)
from edge.config.schema import Change, Kind, Row, rows
from edge.config.tree import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = "edge.reference.toml"
SCHEMA = "edge.schema.json"

_HEAD = """\
#:schema ./edge.schema.json

# Every setting there is. What has a default shows it; what has none stands behind a '#' with an example.
#
# Sizes are "64 MiB" or a number of bytes, times are "30s", "500ms", "1h 30m" or a number of seconds. Relative paths are
# relative to this file. 'edge check' says what is wrong with it. A HUP to the master takes up what has changed, with new
# workers while the old ones finish what they carry; where less or more is needed, it says so here.
"""

_NEEDS = {
    Change.NOTHING: "no new workers",
    Change.CERTIFICATES: "no new workers",
    Change.WORKERS: "",
    Change.LISTENERS: "opens and closes sockets",
}

_SOME_NAME = "shop"  # for tables the operator names
_NEEDED = "origin"  # of those, what every configuration has


def reference() -> str:
    """Write every setting with its default as a configuration file."""
    top = [row for row in rows(Config) if not isinstance(row.kind, Table)]
    tables = [row for row in rows(Config) if isinstance(row.kind, Table)]
    lines = [_HEAD.rstrip()]
    for row in top:
        lines += ["", *_setting(row)]
    for row in tables:
        lines += _table(row, row.name)
    return "\n".join(lines) + "\n"


def json_schema() -> dict[str, Any]:
    """Describe the file for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge.toml",
        "description": "The configuration of an edge node.",
        **_object(Config),
    }


def write(folder: Path) -> None:
    """Write both files into *folder*."""
    (folder / REFERENCE).write_text(reference(), encoding="utf-8")
    (folder / SCHEMA).write_text(schema_text(), encoding="utf-8")


def schema_text() -> str:
    """Return the JSON Schema as it stands in its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _table(row: Row, name: str, mark: str = "") -> Iterator[str]:
    """
    Write a table and the tables in it.

    One that may be left out and stands for something particular (a certificate, how one origin is verified) is an
    example as a whole: all of it is *mark*-ed as a comment.
    """
    kind = row.kind
    if not isinstance(kind, Table):
        return
    inner = rows(kind.cls)
    if isinstance(kind, Named):
        name = f"{name}.{_SOME_NAME}"
        mark = mark if row.name == _NEEDED else "#"
    if isinstance(kind, Tables) and not any(each.required or each.default == "" for each in inner):
        mark = "#"
    yield from ("", "", *_prose(row.says), f"{mark}[[{name}]]" if isinstance(kind, Tables) else f"{mark}[{name}]")
    for each in inner:
        if not isinstance(each.kind, Table):
            yield ""
            yield from _setting(each, mark)
    for each in inner:
        yield from _table(each, f"{name}.{each.name}", "#" if row.name == _NEEDED else mark)


def _setting(row: Row, mark: str = "") -> Iterator[str]:
    yield from _prose(row.says)
    is_needed_list = row.default == () and isinstance(row.kind, ListOf) and not row.kind.may_be_empty
    if row.required or row.default == "" or is_needed_list:  # it must be there, or else another that says as much
        shown = row.example or ""
    elif row.default is None or (row.default == () and row.example):
        shown, mark = row.example or _first_choice(row.kind), "#"
    else:
        shown = row.kind.show(row.default)
    facts = "; ".join(filter(None, (_what(row), _NEEDS[row.needs])))
    line = f"{mark}{row.name} = {shown}"
    if "\n" in line:
        yield from _prose(facts)
        yield from line.replace("\n", f"\n{mark}").splitlines()
    elif facts and len(f"{line:<32}  # {facts}") > 120:
        yield from _prose(facts)
        yield line
    else:
        yield f"{line:<32}  # {facts}" if facts else line


def _what(row: Row) -> str:
    """Say what may stand here, if what does stand here does not say it."""
    if (
        isinstance(row.kind, (Boolean, ListenAddress, TargetUrl, HostPattern, PathPrefix, StatusTimes))
        or type(row.kind) is Text
    ):
        return ""
    if isinstance(row.kind, ListOf):
        return f"each {row.kind.item.words}" if isinstance(row.kind.item, Choice) else ""
    if not isinstance(row.kind, (Size, Time, Integer)):
        return "" if row.kind.words == FilePath().words else row.kind.words
    words = '"auto" or a number' if isinstance(row.kind, Workers) else ""
    if row.least is not None and row.most is not None:
        return f"{words}{', ' if words else ''}{_amount(row.kind, row.least)} to {_amount(row.kind, row.most)}"
    if row.most is not None:
        return f"at most {_amount(row.kind, row.most)}"
    return words


def _amount(kind: Kind, value: float) -> str:
    if isinstance(kind, Size):
        return size_words(int(value))
    return time_words(value) if isinstance(kind, Time) else str(value)


def _first_choice(kind: Kind) -> str:
    """Show something that may stand where nothing stands by default: the first choice."""
    described = kind.json_schema()
    return json.dumps(described["enum"][0])


def _prose(text: str) -> list[str]:
    return textwrap.wrap(text, 116, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _object(cls: type) -> dict[str, Any]:
    properties = {row.name: _property(row) for row in rows(cls)}
    described: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [row.name for row in rows(cls) if row.required]
    return described | {"required": required} if required else described


def _property(row: Row) -> dict[str, Any]:
    described: dict[str, Any] = {"description": row.says} | _kind(row.kind)
    if isinstance(row.kind, Integer) and "type" in described:
        bounds = {"minimum": row.least, "maximum": row.most}
        described |= {name: bound for name, bound in bounds.items() if bound is not None}
    if not isinstance(row.kind, Table) and not row.required and row.default is not None:
        described["default"] = tomllib.loads(f"default = {row.kind.show(row.default)}")["default"]
    return described


def _kind(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, ListOf):
        listed: dict[str, Any] = {"type": "array", "items": _kind(kind.item)}
        return listed if kind.may_be_empty else listed | {"minItems": 1}
    if isinstance(kind, Named):
        return {"type": "object", "additionalProperties": _object(kind.cls)}
    if isinstance(kind, Tables):
        return {"type": "array", "items": _object(kind.cls)}
    if isinstance(kind, Table):
        return {"anyOf": [{"type": "string"}, _object(kind.cls)]} if kind.short else _object(kind.cls)
    return kind.json_schema()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
