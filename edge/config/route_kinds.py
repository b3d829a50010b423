"""
The sorts of values that only routes hold: header fields and their values, pages by status, shares.

Which header fields are not an operator's to change is decided here: those that frame a message or end with a connection, those
that say what was done to it or who asks, and those that the cache and ranges live by.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from edge.config import contents
from edge.config.kinds import FieldName, Integer, Text, sort_of
from edge.config.schema import Kind, Unfit, toml
from edge.message.headers import HOP_BY_HOP, is_field_value
from edge.message.template import Template

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_STATUS: Final = re.compile(r"[45](?:[0-9][0-9]|xx)\Z")
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%\Z")

MOST_PAGE: Final = 1 << 20
"""Bytes of a page: it is held in memory by every worker, and sent in one go."""

OF_REQUESTS: Final = HOP_BY_HOP | {
    "host", "content-length", "expect", "via", "forwarded", "x-request-id", "accept-encoding", "http2-settings", "range",
    "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
}  # fmt: skip
OF_REPLIES: Final = HOP_BY_HOP | {
    "content-length", "content-encoding", "content-range", "accept-ranges", "etag", "last-modified", "date", "age", "via",
    "cache-status", "proxy-status",
}  # fmt: skip


class Fields:
    """
    Which fields may be changed, and which variables may stand in their values.

    Args:
        fixed: names that may not be changed.
        beginnings: of more such names.
        only_added: names that may be added and nothing else.
        variables: what may stand in values.
    """

    def __init__(
        self,
        fixed: Collection[str | bytes],
        variables: Collection[str],
        *,
        beginnings: tuple[str, ...] = (),
        only_added: Collection[str] = (),
    ) -> None:
        self.fixed = frozenset(name if isinstance(name, str) else name.decode() for name in fixed)
        self.beginnings = beginnings
        self.only_added = frozenset(only_added)
        self.variables = tuple(variables)

    def check(self, name: str, *, adds: bool = False) -> None:
        """
        See whether *name* (with ``*`` at its end: any that begins so) may be changed.

        Raises:
            Unfit: it may not.
        """
        fixed = self.fixed if adds else self.fixed | self.only_added
        folded = name.replace("_", "-")  # CGI and WSGI cannot tell them apart
        if folded.endswith("*"):
            beginning = folded[:-1]
            hit = next((each for each in sorted(fixed) if each.startswith(beginning)), None)
            hit = hit or next((each + "*" for each in self.beginnings if each.startswith(beginning)), None)
        else:
            hit = folded if folded in fixed else None
        if hit is None and folded.startswith(self.beginnings or ("\0",)):
            hit = folded
        if hit is not None:
            what = f"{hit!r}, which {name!r} stands for too," if hit != folded else repr(name)
            raise Unfit(f"{what} is the edge's own business; expected another header field")


REQUEST_FIELDS: Final = Fields(
    OF_REQUESTS,
    ("client", "scheme", "host", "authority", "path", "query", "target", "request_id"),
    beginnings=("x-forwarded-",),
)
REPLY_FIELDS: Final = Fields(OF_REPLIES, ("scheme", "host", "authority", "path"), only_added={"vary"})


class FieldValues(Kind):
    """Values by the name of a header field; in the tree pairs, sorted."""

    words = 'a table by header name such as { x-channel = "web" }'

    def __init__(self, fields: Fields, *, adds: bool = False) -> None:
        self.fields = fields
        self.adds = adds
        self._name = FieldName()

    def _read(self, value: object, base: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        found: dict[str, str] = {}
        for given, text in value.items():
            name = self._name.read(given, base)
            self.fields.check(name, adds=self.adds)
            if name in found:
                raise Unfit(f"{name!r} is there twice; expected each header once")
            if not isinstance(text, str):
                raise Unfit(f"{name}: this is {sort_of(text)}; expected text")
            try:
                Template(text, self.fields.variables)
            except ValueError as problem:
                raise Unfit(f"{name}: {problem}") from None
            if not is_field_value(text.encode()):
                raise Unfit(f"{name}: {text!r} is no header's value: no line breaks, no white space at its ends")
            found[name] = text
        return tuple(sorted(found.items()))

    def _show(self, value: Any) -> str:
        return "{ " + ", ".join(f"{toml(name)} = {toml(text)}" for name, text in value) + " }" if value else "{}"

    def _schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": "string"}}


class FieldPattern(FieldName):
    """The name of a header field, or with ``*`` its beginning; in the tree it is lower case."""

    words = 'a header name such as "server", or its beginning as in "x-debug-*"'

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def _accept(self, value: str, base: Path) -> str:
        if "*" in value[:-1] or value == "*":
            raise Unfit(f"{value!r} is not a header name; expected {self.words}")
        name = super()._accept(value, base)
        self.fields.check(name)
        return name


class FieldValue(Text):
    """A header field's value."""

    words = "a header's value"

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not is_field_value(value.encode()):
            raise Unfit(f"{value!r} is no header's value: no line breaks, no white space at its ends")
        return value


class OneOf(Integer):
    """One of a few numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.words = " | ".join(map(str, numbers))

    def _read(self, value: object, base: Path) -> int:
        number = super()._read(value, base)
        if number not in self.numbers:
            raise Unfit(f"{number} is not known here; expected {self.words}")
        return number

    def _schema(self) -> dict[str, Any]:
        return {"enum": list(self.numbers)}


class Percent(Kind):
    """A share: ``"2.5%"``, or a number of percent."""

    words = 'a share such as "10%"'

    def _read(self, value: object, base: Path) -> float:  # noqa: ARG002
        match = _PERCENT.match(value.strip()) if isinstance(value, str) else None
        if match is not None:
            value = float(match[1])
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            raise Unfit(f"{value!r} is not a share; expected '0%' to '100%'")
        return float(value)

    def _show(self, value: Any) -> str:
        return toml(f"{value:g}%")

    def _schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": r"^\s*\d{1,3}(\.\d+)?\s*%\s*$"},
            ]
        }


def _page(path: Path) -> contents.Contents:
    """Read a page; what is wrong with it is in the answer, for whoever looks at files."""
    page = contents.read(path)
    if len(page.data) > MOST_PAGE:
        return contents.Contents(path, error=f"has more than {MOST_PAGE >> 20} MiB")
    return page


class StatusFiles(Kind):
    """Files by status or class of statuses; in the tree pairs with their contents, sorted."""

    words = 'a table of files by status such as { 404 = "404.html", 5xx = "sorry.html" }'

    def _read(self, value: object, base: Path) -> tuple[tuple[str, contents.Contents], ...]:
        if not isinstance(value, dict):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        found = {}
        for status, path in value.items():
            if not _STATUS.match(status):
                raise Unfit(f"{status!r} is no error's status; expected 400 to 599, 4xx or 5xx")
            if not isinstance(path, str) or not path or "\0" in path:
                raise Unfit(f"{status}: expected a path")
            found[status] = _page(base / path)
        return tuple(sorted(found.items()))

    def _show(self, value: Any) -> str:
        shown = [f"{status} = {toml(str(page.path))}" for status, page in value]
        return "{ " + ", ".join(shown) + " }" if shown else "{}"

    def _schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": "^[45]([0-9][0-9]|xx)$"},
            "additionalProperties": {"type": "string", "minLength": 1},
        }


class PageFile(Kind):
    """A file that is read with the configuration and sent as it is; in the tree its contents."""

    words = "a path"

    def _read(self, value: object, base: Path) -> contents.Contents:
        if not isinstance(value, str) or not value or "\0" in value:
            raise Unfit(
                f"{value!r} is not a path; expected one" if isinstance(value, str) else f"this is {sort_of(value)}"
            )
        return _page(base / value)

    def _show(self, value: Any) -> str:
        return toml(str(value.path))

    def _schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}
