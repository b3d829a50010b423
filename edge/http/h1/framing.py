"""
Where a body ends: RFC 9112 §6.3, both directions, each step in the order given there.

Decides from the fields' joined values, so a field sent twice shows as a list and is refused as one. Pure.
Stricter than the RFC where it lets a recipient repair: Content-Length beside Transfer-Encoding and a repeated
Content-Length are refused from either side, because the next reader might repair the other way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import ClientFault, OriginFault
from edge.message.head import Framing

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_LENGTH = 18  # digits: below 2**63 for whoever reads it next


def content_length(value: bytes) -> int | None:
    """Return the number, or None if *value* is anything but 1 to 18 digits."""
    return int(value) if value.isdigit() and len(value) <= _LONGEST_LENGTH else None


def request_framing(index: Mapping[bytes, bytes], version: int, body_bytes: int | None) -> tuple[Framing, int]:
    """
    Return how a request's body ends, and its length when that is known.

    Raises:
        ClientFault: 400 ambiguous or unreadable, 501 a coding we do not undo, 413 longer than *body_bytes*.
    """
    coding = index.get(b"transfer-encoding")
    length = index.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise ClientFault("Content-Length and Transfer-Encoding")
        if version < 11:
            raise ClientFault("Transfer-Encoding in HTTP/1.0")
        if coding.lower() == b"chunked":
            return Framing.CHUNKED, 0
        last = coding.lower().rpartition(b",")[2].strip(b" \t")
        raise ClientFault(f"Transfer-Encoding {coding[:80]!r}", reply=501 if last == b"chunked" else 400)
    if length is None:
        return Framing.NONE, 0
    number = content_length(length)
    if number is None:
        raise ClientFault(f"Content-Length {length[:80]!r}")
    if body_bytes is not None and number > body_bytes:
        raise ClientFault(f"Content-Length {number}", reply=413, word="http_request_error")
    return Framing.LENGTH, number


def reply_framing(index: Mapping[bytes, bytes], version: int, status: int, method: bytes) -> tuple[Framing, int | None]:
    """
    Return how a reply's body ends, and its length when that is known.

    Args:
        index: the reply's fields.
        version: of the reply, 10 or 11.
        status: of the reply.
        method: of the request it answers.

    Raises:
        OriginFault: ambiguous or unreadable.
    """
    coding = index.get(b"transfer-encoding")
    length = index.get(b"content-length")
    number = None
    if length is not None:
        number = content_length(length)
        if number is None:
            raise OriginFault(f"Content-Length {length[:80]!r}", word="http_protocol_error")
        if coding is not None:
            raise OriginFault("Content-Length and Transfer-Encoding", word="http_protocol_error")
    if has_no_body(status, method):
        return Framing.NONE, number
    if coding is not None:
        if version < 11 or coding.lower() != b"chunked":
            raise OriginFault(f"Transfer-Encoding {coding[:80]!r}", word="http_response_transfer_coding")
        return Framing.CHUNKED, None
    return (Framing.CLOSE, None) if number is None else (Framing.LENGTH, number)


def has_no_body(status: int, method: bytes) -> bool:
    """Return whether a reply ends with its head whatever its fields say: RFC 9112 §6.3 step 1."""
    return method == b"HEAD" or status in {204, 304} or status < 200
