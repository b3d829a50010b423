"""How much of a message is read before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """
    What a client may send. Reaching one is a :class:`~edge.errors.ClientFault` with the status named here.

    Attributes:
        line_bytes: of the request line (414). 8 KiB is what RFC 9112 §3 asks for at least, and nginx's default.
        header_bytes: of all field lines together, as sent (431); of the trailers too.
        header_count: field lines (431); trailers too.
        body_bytes: of a request's body (413); None: any.
    """

    line_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    header_count: int = 100
    body_bytes: int | None = None
