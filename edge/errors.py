"""
The one tree of faults: what a peer or the world did wrong.

Expected outcomes (no more data, a miss, not storable) are values, never exceptions; bugs are ``AssertionError`` and
whatever else escapes. A :class:`Fault` lies between: it is raised where the cause is known and carries what
its catcher needs, so that no catcher asks what kind it is.
"""

from __future__ import annotations

from enum import Enum


class Side(Enum):
    """Who is to blame."""

    CLIENT = "client"
    ORIGIN = "origin"
    EDGE = "edge"


class Retry(Enum):
    """May the same request be sent again?"""

    NEVER = "never"
    IF_REUSED = "if_reused"  # only if the connection had served another exchange before: it may have died of age
    YES = "yes"  # no byte of the request can have been acted on (the connection was never made)


class Fault(Exception):  # noqa: N818 - a fault is not our error
    """
    Something a peer or the world did.

    Attributes:
        side: who did it.
        reply: the status to answer with, or None when nothing can be said any more (the peer is gone).
        retry: whether another attempt is allowed.
        word: one token for log, metric and header: RFC 9209's where it has one.
        detail: for the log, never for the client.
        retry_after_s: when the client may ask again, in whole seconds; None: nobody knows.
    """

    side: Side = Side.EDGE
    reply: int | None = 500
    retry: Retry = Retry.NEVER
    word: str = "proxy_internal_error"
    retry_after_s: int | None = None

    def __init__(
        self,
        detail: str = "",
        *,
        reply: int | None = -1,
        retry: Retry | None = None,
        word: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if reply != -1:
            self.reply = reply
        if retry is not None:
            self.retry = retry
        if word is not None:
            self.word = word
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.side.value} {self.word} reply={self.reply}: {self.detail}>"


class ClientFault(Fault):
    """The client sent something we must refuse. ``reply`` says how; the connection closes after it."""

    side = Side.CLIENT
    reply: int | None = 400
    word = "http_request_error"


class ClientGone(ClientFault):
    """The client left, or stopped taking what it asked for: nothing can be said any more."""

    reply = None
    word = "connection_terminated"


class OriginFault(Fault):
    """The origin failed this exchange. ``word`` is an RFC 9209 error type."""

    side = Side.ORIGIN
    reply = 502
    word = "destination_unavailable"


class EdgeFault(Fault):
    """We could not do it: a limit of ours was reached, or the machine refused."""
