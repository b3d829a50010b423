r"""
Where a redirect may lead, and which variables tell of the request that it answers.

A place names its host itself, or leads to the one that was asked; nothing that a request says may get to where a host would
stand. Knows nothing of routes.

Source: RFC 3986 §3.2, §4.2; URL Standard (``\\`` after a special scheme is a slash).
"""

from __future__ import annotations

import re
from typing import Final

GROUPS: Final = tuple("123456789")
"""What an expression's groups caught."""

PATH_VARIABLES: Final = ("path", "rest")
"""Of a path: all of it, and what is behind the part that is a route's own."""

PLACE_VARIABLES: Final = ("scheme", "host", "authority", "path", "query", "target", "rest")
"""Of an address; ``query`` with its question mark, ``target`` is path and query."""

_HOST: Final = r"(?:[A-Za-z0-9._-]|\{host\}|\{authority\})+|\[[0-9A-Fa-f:.]+\]"
_PLACE: Final = re.compile(
    r"(?:https?|\{scheme\})://(?:" + _HOST + r")(?::[0-9]{1,5})?(?=[/?#]|\{(?:path|target|rest|query)\}|\Z)"
    r"|(?=/(?![/\\])|\{(?:path|target)\})"
)


def is_place(text: str) -> bool:
    """Return whether a template leads to a host that the request cannot choose."""
    return _PLACE.match(text) is not None
