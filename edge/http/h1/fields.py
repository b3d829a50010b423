"""
The field block: the lines between a start line and the empty line, and after a chunked body.

Decides whether every line is ``token ":" value CRLF`` to the letter. Does not know what fields mean.
Invariant: a block that ``is_well_formed`` has no control byte but TAB inside values and CRLF behind them: no bare CR
or LF, no NUL, no folding, no white space before a colon, no line without a name.
Source: RFC 9112 §5, RFC 9110 §5.5, §5.6.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.message.head import Field

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_LINE = _TCHAR + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n"
_BLOCK = re.compile(rb"(?>(?:" + _LINE + rb")*)")
_ONE_LINE = re.compile(_LINE)

find_bare_lf = re.compile(rb"(?<!\r)\n").search
"""``find_bare_lf(data, start, end)``: a match if there is a LF in data[start:end] without CR before it, else None."""

is_well_formed = _BLOCK.fullmatch
"""``is_well_formed(data, start, end)``: a match if data[start:end] is a field block, each line with its CRLF, else None."""


def first_fault(data: bytes, start: int, end: int) -> str:
    """Return what to log of a block that is not well formed: its first bad line, shortened."""
    at = start
    while at < end and (line := _ONE_LINE.match(data, at, end)):
        at = line.end()
    stop = data.find(b"\r\n", at, end)
    return f"field line {data[at : end if stop < 0 else stop][:80]!r}"


def split(block: bytes) -> list[Field]:
    """Cut a well-formed block into fields: names in lower case, values without outer white space."""
    found: list[Field] = []
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        found.append((name.lower(), value.strip(b" \t")))
    return found
