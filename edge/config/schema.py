"""
What a setting is: one row, written beside the field that will hold its value.

A :class:`Row` is everything the file reader, ``edge check``, the reference in ``conf/``, the JSON schema and the
reload plan know about a setting. Rows live in the metadata of the dataclass fields in ``tree.py``, so a setting,
its default and its sentence cannot drift apart. Reading a value is the :class:`Kind`'s business: it takes what TOML
gave and returns what the tree holds, or raises :class:`Unfit` with what was expected.

Does not know: which settings there are (``tree.py``), files and positions (``load.py``).
"""

from __future__ import annotations

import dataclasses
import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class Change(IntEnum):
    """What a reload must do for a changed setting; a greater one includes the smaller ones' effect."""

    NOTHING = 0  # the master alone uses it
    CERTIFICATES = 1  # certificates are read again; no worker restarts
    WORKERS = 2  # a new generation of workers
    LISTENERS = 3  # sockets are opened or closed, then a new generation


class Unfit(ValueError):  # noqa: N818 - it is the value that does not fit, not our error
    """A value is not what its row wants. The message says what it is and what was expected."""


def toml(value: object) -> str:
    """Write a plain value as TOML. Strings are basic strings, whose escapes JSON shares."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


class Kind:
    """How one sort of value is read, shown and described. Stateless once made."""

    words: str = ""  # for the reference: what may stand here

    def read(self, value: object, base: Path) -> Any:
        """
        Turn what TOML gave into what the tree holds.

        Args:
            value: as ``tomllib`` returns it.
            base: the directory of the configuration file; relative paths start there.

        Raises:
            Unfit: it cannot stand here.
        """
        return self._read(value, base)

    def show(self, value: Any) -> str:
        """Write a value of the tree as TOML."""
        return self._show(value)

    def json_schema(self) -> dict[str, Any]:
        """Describe what may stand in the file, as JSON Schema."""
        return self._schema()

    def _read(self, value: object, base: Path) -> Any:
        raise NotImplementedError

    def _show(self, value: Any) -> str:
        return toml(value)

    def _schema(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """
    One setting.

    Attributes:
        name: as in the file; the tree's field may carry a unit behind it (``drain`` is ``drain_s``).
        field: its name in the tree.
        kind: how its value is read.
        default: the tree's value if nobody gives one; REQUIRED if there is none.
        least, most: bounds of a number, in the tree's unit, both allowed; None is unbounded.
        needs: what changing it needs on reload.
        says: one sentence for whoever writes the file.
        example: TOML shown in the reference where there is no default to show.
        required: the file must have it, even where the tree has a default.
    """

    name: str
    field: str
    kind: Kind
    default: Any
    least: float | None
    most: float | None
    needs: Change
    says: str
    example: str | None
    required: bool


class _Required:
    """The default of what has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


def setting(
    kind: Kind,
    says: str,
    *,
    default: Any = REQUIRED,
    name: str | None = None,
    least: float | None = None,
    most: float | None = None,
    needs: Change = Change.WORKERS,
    example: str | None = None,
    required: bool = False,
) -> Any:
    """
    Declare a setting in a class decorated with :func:`table`.

    Args:
        kind: how its value is read.
        says: one sentence.
        default: immutable.
        name: in the file, if the field is called otherwise.
        least: lower bound in the tree's unit.
        most: upper bound in the tree's unit.
        needs: what changing it needs.
        example: TOML for the reference.
        required: the file must have it; it must where there is no default.
    """
    row = Row(name or "", "", kind, default, least, most, needs, says, example, required or default is REQUIRED)
    if default is REQUIRED:
        return dataclasses.field(metadata={"row": row})
    if type(default).__hash__ is None:  # a read-only mapping, before Python 3.12
        return dataclasses.field(default_factory=lambda: default, metadata={"row": row})
    return dataclasses.field(default=default, metadata={"row": row})


@dataclass_transform(frozen_default=True, field_specifiers=(setting, dataclasses.field))
def table(cls: type[T]) -> type[T]:
    """Make *cls* a frozen value whose fields, where made by :func:`setting`, are rows."""
    return dataclasses.dataclass(frozen=True, slots=True)(cls)


def rows(cls: type) -> tuple[Row, ...]:
    """The settings of a class made by :func:`table`, in the order they are written there."""
    return tuple(
        dataclasses.replace(row, name=row.name or field.name, field=field.name)
        for field in dataclasses.fields(cls)
        if (row := field.metadata.get("row")) is not None
    )
