"""
How far an OPTIONS may still go: ``Max-Forwards``.

Decides what the field says. With other methods it says nothing (TRACE is answered by nobody here), nor does what is no number.

Source: RFC 9110 §7.6.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.message.head import RequestHead

NAME: Final = b"max-forwards"

_NUMBER: Final = re.compile(rb"[0-9]+")
_MOST_DIGITS: Final = 9
_MOST: Final = 10**_MOST_DIGITS - 1


def forwards_left(head: RequestHead) -> int | None:
    """Return how often *head* may still be passed on, 999,999,999 times at most; None: it does not say."""
    said = head.index.get(NAME)
    if said is None or head.method != b"OPTIONS" or _NUMBER.fullmatch(said) is None:
        return None
    digits = said.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _MOST_DIGITS else _MOST
