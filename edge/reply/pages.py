"""
An operator's own pages for what goes wrong: which of them is shown for a status.

The most particular wins: the status, then its class (``4xx``, ``5xx``). Pages were read with the configuration, so that no request
ever names a file, and they are sent as they are: nothing of a request gets into them.

A page is for people. Who asks for JSON before everything else that we have gets our own words for programs (RFC 9457), unless
the page is JSON itself.

Does not know when something goes wrong, or why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TYPES: Final[Mapping[str, bytes]] = {
    ".html": b"text/html; charset=utf-8",
    ".htm": b"text/html; charset=utf-8",
    ".txt": b"text/plain; charset=utf-8",
    ".json": b"application/json",
    ".svg": b"image/svg+xml",
    ".xml": b"application/xml",
}
"""By how a file's name ends; any other is HTML."""


@dataclass(frozen=True, slots=True)
class Page:
    """
    What is shown.

    Attributes:
        body: the file's.
        content_type: whole, as the field will say it.
    """

    body: bytes
    content_type: bytes

    @property
    def is_json(self) -> bool:
        """It is for programs."""
        return self.content_type.startswith(b"application/") and b"json" in self.content_type


class Pages:
    """
    The pages of one place.

    Args:
        pages: by status (``404``) or class (``5xx``).
        otherwise: where to look for a status that has none here.
        of_origins: a reply of an origin with a status that has a page is replaced, too.
    """

    __slots__ = ("_by_status", "of_origins")

    def __init__(
        self, pages: Iterable[tuple[str, Page]], otherwise: Pages | None = None, *, of_origins: bool = False
    ) -> None:
        own = dict(pages)
        self._by_status: dict[int, Page] = {} if otherwise is None else dict(otherwise._by_status)
        for status in range(400, 600):
            page = own.get(str(status)) or own.get(f"{status // 100}xx")
            if page is not None:
                self._by_status[status] = page
        self.of_origins = of_origins

    def __bool__(self) -> bool:
        return bool(self._by_status)

    def get(self, status: int) -> Page | None:
        """Return the page for *status*, or None."""
        return self._by_status.get(status)


def content_type(name: str) -> bytes:
    """Return the type of a file by its name's ending."""
    dot = name.rfind(".")
    return TYPES.get(name[dot:].lower() if dot >= 0 else "", TYPES[".html"])
