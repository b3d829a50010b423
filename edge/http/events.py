"""
What can happen on a connection, as values; the same for every protocol version and both ends.

One rule for both directions: a head whose framing is NONE is a whole message, neither :class:`Body` nor
:class:`End` follows it. Any other head is followed by any number of Body and exactly one End.
Lack of bytes and back-pressure are values too (:class:`Wait`), not exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.message.head import Field, ReplyHead, RequestHead


@dataclass(slots=True)
class Request:
    """A client asks. *stream* names the exchange on its connection from now on."""

    stream: int
    head: RequestHead


@dataclass(slots=True)
class Reply:
    """An origin answers, for the time being (status below 200) or finally."""

    stream: int
    head: ReplyHead


@dataclass(slots=True)
class Body:
    """Some bytes of a body, never none, cut wherever they happened to be cut."""

    stream: int
    data: bytes


@dataclass(slots=True)
class End:
    """A body is complete."""

    stream: int
    trailers: list[Field] = field(default_factory=list)


class Wait(Enum):
    """Why there is no event."""

    NEED_DATA = "need data"  # the peer's turn: read, then ask again
    PAUSED = "paused"  # our turn: nothing can come before the open exchange is answered (or the connection is closed)


NEED_DATA: Final = Wait.NEED_DATA
PAUSED: Final = Wait.PAUSED
