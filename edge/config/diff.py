"""
What differs between two trees, and therefore what a reload must do.

Every row says what changing it needs; the reload needs the greatest of them. What is *in* the files a configuration
names (a certificate renewed in place) is not seen here: whoever reloads reads those again anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.config.kinds import Named, Table, Tables
from edge.config.schema import Change, Row, rows
from edge.config.tree import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One setting that is not what it was.

    Attributes:
        name: as it would be said: ``server.drain``, ``listener[0].address``, ``origin.shop`` (added or removed).
        needs: what the change needs.
    """

    name: str
    needs: Change


def diff(old: Config, new: Config) -> Change:
    """Say what going from *old* to *new* needs. Raises nothing."""
    return max((difference.needs for difference in differences(old, new)), default=Change.NOTHING)


def differences(old: Config, new: Config) -> list[Difference]:
    """Name every setting that differs, in the order of the schema."""
    return list(_table(Config, old, new, ""))


def _table(cls: type, old: Any, new: Any, prefix: str) -> Iterator[Difference]:
    for row in rows(cls):
        before, after = getattr(old, row.field), getattr(new, row.field)
        if before != after:
            yield from _setting(row, before, after, prefix + row.name)


def _setting(row: Row, before: Any, after: Any, name: str) -> Iterator[Difference]:
    kind = row.kind
    if isinstance(kind, Named):
        yield from _named(kind, row, before, after, name)
    elif isinstance(kind, Tables):
        yield from _tables(kind, row, before, after, name)
    elif isinstance(kind, Table):
        yield from _table(kind.cls, before, after, f"{name}.")
    else:
        yield Difference(name, row.needs)


def _named(
    kind: Named, row: Row, before: Mapping[str, Any], after: Mapping[str, Any], name: str
) -> Iterator[Difference]:
    for key in dict.fromkeys([*before, *after]):
        if key not in before or key not in after:
            yield Difference(f"{name}.{key}", row.needs)
        else:
            yield from _table(kind.cls, before[key], after[key], f"{name}.{key}.")


def _tables(kind: Tables, row: Row, before: tuple[Any, ...], after: tuple[Any, ...], name: str) -> Iterator[Difference]:
    if len(before) != len(after):
        yield Difference(name, row.needs)
    for at, (left, right) in enumerate(zip(before, after, strict=False)):
        yield from _table(kind.cls, left, right, f"{name}[{at}].")
