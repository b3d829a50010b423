"""
The head of a request and of a reply: what both lanes, every protocol and the store agree on.

Heads are made once by a parser or by us and then only read: the same object may serve many exchanges
(identical request heads are recognised, not parsed again), so nothing may write to one after it is made.
Body framing is not in the fields a later room reads: the parser has turned it into :class:`Framing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Field = tuple[bytes, bytes]
"""Name in lower case, value stripped of outer white space."""


class Framing(Enum):
    """How the end of a body is known (RFC 9112 §6.3)."""

    NONE = "none"  # there is no body
    LENGTH = "length"  # Content-Length says
    CHUNKED = "chunked"  # the body says
    CLOSE = "close"  # a reply only: the connection's end says


def index(fields: list[Field]) -> dict[bytes, bytes]:
    """
    One value per name; lines of the same name are joined with ``, `` (RFC 9110 §5.3).

    ``set-cookie`` cannot be joined and must be read with :meth:`ReplyHead.all`.
    """
    found = dict(fields)
    if len(found) == len(fields):
        return found
    found.clear()
    for name, value in fields:
        found[name] = found[name] + b", " + value if name in found else value
    return found


@dataclass(slots=True)
class RequestHead:
    """
    A request as understood, whatever protocol carried it. Never written to once made.

    Attributes:
        method: as sent; methods are case-sensitive.
        scheme: ``b"https"`` or ``b"http"``: how it reached us.
        authority: host and, if not the scheme's default, port; host in lower case. Never empty on HTTP/1.1.
        target: origin-form (``/path?query``), or ``*`` for OPTIONS. Raw: no decoding, no dot removal.
        fields: end-to-end *and* hop-by-hop as received, without ``host``, ``content-length``, ``transfer-encoding``
            and ``expect``, which the parser has turned into attributes.
        version: 10, 11 or 20.
        length: the body's bytes when framing is LENGTH, else 0.
        keep_alive: the client allows another request after this one.
        upgrade: the protocol asked for (lower case), if ``Connection: upgrade`` named it.
        known: what the exchange worked out from this head, remembered on it; no other room looks.
    """

    method: bytes
    scheme: bytes
    authority: bytes
    target: bytes
    fields: list[Field]
    version: int = 11
    framing: Framing = Framing.NONE
    length: int = 0
    keep_alive: bool = True
    expect_continue: bool = False
    upgrade: bytes | None = None
    index: dict[bytes, bytes] = field(default_factory=dict)
    known: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.index and self.fields:
            self.index = index(self.fields)

    def get(self, name: bytes) -> bytes | None:
        """Return the (joined) value of *name*, given in lower case."""
        return self.index.get(name)

    @property
    def path(self) -> bytes:
        """The target up to its query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes | None:
        """What follows the first ``?``, or None if there is none."""
        _, mark, query = self.target.partition(b"?")
        return query if mark else None

    @property
    def host(self) -> bytes:
        """The authority without its port; IPv6 keeps its brackets."""
        authority = self.authority
        if authority.startswith(b"["):
            return authority[: authority.find(b"]") + 1]
        return authority.partition(b":")[0]


@dataclass(slots=True)
class ReplyHead:
    """
    A reply's head, final or interim. Never written to once made.

    Attributes:
        status: 100-999.
        fields: without ``content-length`` and ``transfer-encoding``, which ``framing`` and ``length`` say.
        length: the body's bytes when framing is LENGTH. For a reply to HEAD (framing NONE) it may hold the
            length a GET would have had; None if unknown.
        keep_alive: (from an origin) its connection may be used again after this reply.
        memo: (from an origin) what was worked out from it before, by whoever remembers it under a key of their own.
    """

    status: int
    fields: list[Field]
    reason: bytes = b""
    version: int = 11
    framing: Framing = Framing.NONE
    length: int | None = None
    keep_alive: bool = True
    index: dict[bytes, bytes] = field(default_factory=dict)
    memo: dict[Any, Any] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.index and self.fields:
            self.index = index(self.fields)

    def get(self, name: bytes) -> bytes | None:
        """Return the (joined) value of *name*, given in lower case."""
        return self.index.get(name)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of *name*, line by line (for ``set-cookie``, which cannot be joined)."""
        return [value for other, value in self.fields if other == name]
