"""
The exchange with an origin, as an awaiting shell: connections kept, dialled, lent, and given back.

Shell around the rooms in :mod:`edge.origin` and the sans-IO :class:`~edge.http.h1.client.ClientConnection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from edge.clock import Clock
    from edge.config.tree import Origin
    from edge.message.head import Field, ReplyHead
    from edge.origin.request import OriginRequest
    from edge.worker.dial import Dialler


class Origins:
    """Every origin of the configuration, with its servers, connections and their health. One per worker."""

    def __init__(self, origins: Mapping[str, Origin], clock: Clock, *, dialler: Dialler | None = None) -> None:
        raise NotImplementedError

    def exchange(
        self,
        name: str,
        request: OriginRequest,
        client: bytes = b"",
        on_interim: Callable[[ReplyHead], None] | None = None,
    ) -> OriginExchange:
        """
        Begin an exchange: ``async with origins.exchange(...) as exchange``. Entering gets a connection.

        Args:
            name: of the origin in the configuration.
            request: from :func:`edge.origin.request.origin_request`.
            client: the client's address, for balancing by client.
            on_interim: called with every 1xx but 101; must not wait.

        Raises (entering):
            OriginFault: no server could be reached, or no connection came free in time.
        """
        raise NotImplementedError

    def sweep(self) -> None:
        """Close kept connections that are too old or that the origin has closed. Call about once a second."""
        raise NotImplementedError

    def leave(self) -> None:
        """Keep nothing any more: close what is idle, and close the rest as it comes back (draining)."""
        raise NotImplementedError


class OriginExchange:
    """One request to one origin. Leaving the ``async with`` block returns or closes the connection."""

    server: str  # "127.0.0.1:8001" or the socket's path: for the log
    reused: bool
    attempts: int
    request_bytes: int
    reply_bytes: int
    trailers: list[Field]
    upgraded: bool  # a 101 came: pull() and push() carry the tunnel

    async def __aenter__(self) -> OriginExchange: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send_head(self) -> None:
        """Send the request's head. Optional: the first of send_body, send_end, sending and reply does it."""

    async def send_body(self, data: bytes | memoryview) -> bool:
        """
        Send a part of the body; waits while the origin takes no more.

        Returns:
            False when the origin has begun to answer and is not taking the rest: stop sending and call reply().
        """

    async def send_end(self, trailers: list[Field] | None = None) -> None:
        """End the request's body (not needed when there is none)."""

    def sending(self, source: Callable[[], Awaitable[bytes | memoryview | None]]) -> AbstractAsyncContextManager[None]:
        """
        Send the body in a task beside, while the block awaits the reply: for every body that is not already here.

            async with exchange.sending(session_body):
                head = await exchange.reply()
                while data := await exchange.body(): ...

        *source* gives the next part, None at the end. A Fault it raises (the client left) leaves the block and is raised from it.
        An origin that takes no more ends the sending, not the block: its reply decides. Leaving the block
        stops the sending; a request that was not sent whole costs the connection its next use.
        """

    async def reply(self) -> ReplyHead:
        """Wait for the final reply's head (or 101). A reused connection that died unanswered is replaced once, if that is safe."""

    def body_nowait(self) -> bytes | None:
        """Return what has come without waiting; None: nothing yet; b"": the end (the connection is given back at once)."""

    async def body(self) -> bytes:
        """Wait for the next part of the reply's body; b"" at its end. Raises OriginFault when it is cut short or stalls."""

    def release(self) -> None:
        """Done: the connection goes back if it may serve again (the end of the body does this by itself)."""

    def kill(self) -> None:
        """Done: the connection is closed."""

    async def pull(self) -> bytes:
        """Tunnel: wait for bytes from the origin; b"" at the end."""

    async def push(self, data: bytes | memoryview) -> None:
        """Tunnel: send bytes, waiting for room."""

    def push_eof(self) -> None:
        """Tunnel: nothing more will be sent."""
