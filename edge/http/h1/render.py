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
    from collections.abc import Sequence

    from edge.message.head import Field

REASONS: dict[int, bytes] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def reply_head(status: int, reason: bytes, fields: Sequence[Field], added: bytes = b"") -> bytes:
    """
    Return a reply's head with its empty line.

    Args:
        status: three digits.
        reason: as the origin sent it; empty: the registered phrase.
        fields: in this order.
        added: complete lines that go last.
    """
    return _whole(b"HTTP/1.1 %d %b\r\n" % (status, reason or REASONS.get(status, b"")), 1, fields, added)


def field_lines(fields: Sequence[Field]) -> bytes:
    """Return *fields* as lines."""
    return _whole(b"", 0, fields, b"")[:-2]


def request_head(
    method: bytes, target: bytes, authority: bytes, fields: Sequence[Field], added: bytes = b"", lines: bytes = b""
) -> bytes:
    """Return a request's head with its empty line; Host comes first (RFC 9110 §7.2), then *lines* of :func:`field_lines`."""
    start = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, authority)
    if start.count(b" ") != 3:
        raise AssertionError(f"a request line of too many words: {start!r}")
    if lines:
        tail = _whole(b"", 0, fields, added) if fields or added else b"\r\n"
        if start.count(b"\n") != 2 or start.count(b"\r") != 2 or b"\0" in start:
            raise AssertionError(f"a line would break: {start!r}")
        return b"%b%b%b" % (start, lines, tail)
    return _whole(start, 2, fields, added)


def _whole(start: bytes, lines: int, fields: Sequence[Field], added: bytes) -> bytes:
    head = start + b"".join([b"%b: %b\r\n" % entry for entry in fields])
    lines += len(fields)
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise AssertionError(f"a line would break: {head!r}")
    return b"%b%b\r\n" % (head, added)
