"""
Where each key and value of a TOML text stands.

``tomllib`` decides what is TOML and what it means; it does not say where anything was. This scanner says only that. It
relies on the text having been accepted by ``tomllib``, so it recognises borders and checks nothing.

A path is a tuple of keys and list indexes: ``("listener", 1, "address")``. Lines and columns are counted from 1, in
characters.

Source: TOML 1.0.0, https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}#\n]*")  # numbers, dates, true, false
_QUOTED = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


class Positions:
    r"""
    The index of one text.

    Args:
        text: accepted by ``tomllib``, or empty; lines end in ``\n`` or ``\r\n``.
    """

    def __init__(self, text: str) -> None:
        self._text = text = text.replace("\r\n", "\n")
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.keys: dict[Path, int] = {}
        self.values: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of each array of tables: how many so far
        self._scan()

    def key(self, path: Path) -> tuple[int, int]:
        """Line and column of the key *path* ends in, or of the nearest thing around it that the file has."""
        return self._find(path, self.keys, self.values)

    def value(self, path: Path) -> tuple[int, int]:
        """Line and column of the value at *path* (a table's is its header), or of the nearest thing around it."""
        return self._find(path, self.values, self.keys)

    def _find(self, path: Path, first: dict[Path, int], then: dict[Path, int]) -> tuple[int, int]:
        while path:
            at = first.get(path, then.get(path))
            if at is not None:
                line = bisect_right(self._lines, at)
                return line, at - self._lines[line - 1] + 1
            path = path[:-1]
            first, then = self.values, self.keys
        return 1, 1

    def _scan(self) -> None:
        text, at = self._text, 0
        table: Path = ()
        while True:
            at = _skip(_BLANK, text, at)
            if at >= len(text):
                return
            if text[at] == "[":
                table, at = self._header(at)
            else:
                at = self._pair(at, table)

    def _header(self, at: int) -> tuple[Path, int]:
        text, start = self._text, at
        is_array = text.startswith("[[", at)
        parts, at = self._dotted(at + (2 if is_array else 1))
        path: Path = ()
        for name, where in parts[:-1]:
            path = self._inside((*path, name), where)
        name, where = parts[-1]
        path = (*path, name)
        self.keys.setdefault(path, where)
        self.values.setdefault(path, start)
        if is_array:
            index = self._counts.get(path, 0)
            self._counts[path] = index + 1
            path = (*path, index)
            self.keys[path] = where
            self.values[path] = start
        return path, at + (2 if is_array else 1)

    def _inside(self, path: Path, where: int) -> Path:
        """Note a table that is passed through; of an array of tables the last one is meant."""
        self.keys.setdefault(path, where)
        count = self._counts.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, at: int, table: Path) -> int:
        parts, at = self._dotted(at)
        path = table
        for name, where in parts:
            path = (*path, name)
            self.keys.setdefault(path, where)
        at = _skip(_SPACE, self._text, at + 1)  # over the equals sign
        return self._value(at, path)

    def _dotted(self, at: int) -> tuple[list[tuple[str, int]], int]:
        """Read ``a."b".c``: each name and where it stands; then where the reading stopped, white space skipped."""
        text = self._text
        parts: list[tuple[str, int]] = []
        while True:
            at = _skip(_SPACE, text, at)
            if text[at] in "\"'":
                end = _skip(_QUOTED, text, at)
                name = tomllib.loads(f"key = {text[at:end]}")["key"]
            else:
                end = _skip(_BARE_KEY, text, at)
                name = text[at:end]
            parts.append((name, at))
            at = _skip(_SPACE, text, end)
            if text[at] != ".":
                return parts, at
            at += 1

    def _value(self, at: int, path: Path) -> int:
        text = self._text
        self.values[path] = at
        sign = text[at]
        if sign == "[":
            return self._list(at, path)
        if sign == "{":
            return self._inline_table(at, path)
        return _skip(_QUOTED if sign in "\"'" else _PLAIN, text, at)

    def _list(self, at: int, path: Path) -> int:
        text, index = self._text, 0
        at = _skip(_BLANK, text, at + 1)
        while text[at] != "]":
            at = _skip(_BLANK, text, self._value(at, (*path, index)))
            index += 1
            if text[at] == ",":
                at = _skip(_BLANK, text, at + 1)
        return at + 1

    def _inline_table(self, at: int, path: Path) -> int:
        text = self._text
        at = _skip(_BLANK, text, at + 1)
        while text[at] != "}":
            at = _skip(_BLANK, text, self._pair(at, path))
            if text[at] == ",":
                at = _skip(_BLANK, text, at + 1)
        return at + 1


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what *pattern* matches at *at* ends."""
    match = pattern.match(text, at)
    return at if match is None else match.end()
