"""
Heads to bytes.

Decides spelling and order alone: the start line, the fields as they are given, then what the connection adds. Names stay in
lower case, as every version but this one demands. Does not know framing.

Invariant: a head has exactly the lines it should have. A field that carries a line end of its own (which no parser
of ours lets in) is a bug and raises ``AssertionError`` rather than being sent.
Source: RFC 9112 §3, §4, §5.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.message.head import Field

REASONS: dict[int, bytes] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def reply_head(status: int, reason: bytes, fields: Iterable[Field], added: bytes = b"") -> bytes:
    """
    Return a reply's head with its empty line.

    Args:
        status: three digits.
        reason: as the origin sent it; empty: the registered phrase.
        fields: in this order.
        added: complete lines that go last.
    """
    lines = b"".join([b"%b: %b\r\n" % entry for entry in fields])
    return _whole(b"HTTP/1.1 %d %b\r\n" % (status, reason or REASONS.get(status, b"")), lines, added, fields)


def request_head(method: bytes, target: bytes, authority: bytes, fields: Iterable[Field], added: bytes = b"") -> bytes:
    """Return a request's head with its empty line; Host comes first (RFC 9110 §7.2)."""
    lines = b"".join([b"%b: %b\r\n" % entry for entry in fields])
    return _whole(b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, authority), lines, added, fields)


def _whole(start: bytes, lines: bytes, added: bytes, fields: Iterable[Field]) -> bytes:
    count = len(fields) if isinstance(fields, (list, tuple)) else sum(1 for _ in fields)
    if lines.count(b"\n") != count or lines.count(b"\r") != count or b"\0" in lines:
        raise AssertionError(f"a field would break its line: {list(fields)!r}")
    if start.count(b"\n") != start.count(b"\r\n") or start.count(b"\r") > 2:
        raise AssertionError(f"a start line would break: {start!r}")
    return b"%b%b%b\r\n" % (start, lines, added)
