"""
The server side of any HTTP version, as the lanes see it.

A connection turns received bytes into events and replies into bytes to write. It has no socket and no clock, and it
never waits: lack of bytes is :data:`~edge.http.events.NEED_DATA`. Each exchange is named by its *stream*.

Calling a method in a state where it has no meaning (a body before its head, a second reply) is a bug of ours and
raises ``AssertionError``. What a client does wrong is raised by :meth:`Connection.next_event` alone, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.http.events import Body, End, Request, Wait
    from edge.http.out import Out
    from edge.message.head import Field, ReplyHead


class Connection(Protocol):
    """
    One client's connection.

    Attributes:
        width: exchanges that may be open at once; 1 for HTTP/1.1.
        out: bytes waiting to be written.
        closing: nothing more will be read; close once *out* is empty.
        lingers: (when closing) the client may still be sending: half-close and discard for a moment, so that
            a reset does not destroy our last words on their way (RFC 9112 §9.6).
        torn: (when closing) a reply was cut short and the close itself must say so: no close_notify, reset if need be.
        plain: the open exchange may be answered with :meth:`send_whole`.
    """

    width: int
    out: Out
    closing: bool
    lingers: bool
    torn: bool
    plain: bool

    def receive(self, data: bytes) -> None:
        """Take bytes as read; never none. They are only looked at by :meth:`next_event`."""
        ...

    def receive_eof(self) -> None:
        """Note that the client will send nothing more."""
        ...

    def next_event(self) -> Request | Body | End | Wait:
        """
        Return what happened next.

        Raises:
            ClientFault: the client broke the protocol; said once, and nothing more is read. If no exchange is open the
                connection is closing, and takes one :meth:`refuse` if the fault has a ``reply``. If the fault lies in
                the body of the open exchange, that exchange is still to be refused, ended or aborted.
        """
        ...

    def limit_body(self, stream: int, most: int) -> None:
        """Take no more than *most* bytes of the open request's body, if that is less than what is taken of any: else 413."""
        ...

    def send_interim(self, stream: int, head: ReplyHead) -> None:
        """Send a 1xx reply other than 101; dropped if the client cannot know it (HTTP/1.0)."""
        ...

    def send_head(self, stream: int, head: ReplyHead) -> None:
        """
        Send the head of the final reply, and decide how its body is framed.

        Args:
            stream: of the exchange.
            head: end-to-end fields only. Framing LENGTH needs ``length``; CHUNKED and CLOSE both mean "not known
                yet". A reply that by its status or the request's method has no body has none on the wire, whatever
                :meth:`send_body` is given.
        """
        ...

    def send_body(self, stream: int, data: bytes | memoryview) -> None:
        """Send some of the body; none is allowed and does nothing."""
        ...

    def send_end(self, stream: int, trailers: Sequence[Field] = ()) -> None:
        """End the reply and with it the exchange. Trailers are dropped where the framing cannot carry them."""
        ...

    def send_whole(self, stream: int, wire: bytes, body: bytes | memoryview | None) -> None:
        """
        Send a complete reply whose HTTP/1.1 head was rendered before, and end the exchange. Only while *plain*.

        Args:
            stream: of the exchange.
            wire: the head, or the head and a small body.
            body: what follows *wire*.
        """
        ...

    def first_line(self) -> bytes:
        """
        Return how the head begins that has been refused, or that is coming in: of its first line what there is, and no more of
        it than tells people what was wanted. Nothing is known to be right about it. b"": there is none.
        """
        ...

    def refuse(self, stream: int | None, head: ReplyHead, body: bytes) -> int:
        """
        Send an error reply and close. *stream* is None when no exchange was opened by what is refused.

        Returns:
            How many bytes of *body* are sent: none to HEAD.
        """
        ...

    def abort(self) -> None:
        """Give up a reply that cannot be completed: nothing more is sent, and the close must not look like an end."""
        ...

    def tunnel(self, stream: int, head: ReplyHead) -> None:
        """
        Send 101; from now on bytes are carried verbatim both ways, as Body and by :meth:`send_body`.

        The client's end of file is an End; :meth:`send_end` ends the other direction and closes.
        """
        ...

    @property
    def at_rest(self) -> bool:
        """No exchange is open and nothing waits in either direction: safe to close."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes received and not yet looked at: stop reading when they are many."""
        ...

    @property
    def reads_body(self) -> bool:
        """The client's next bytes belong to the body of a request."""
        ...

    @property
    def is_held(self) -> bool:
        """The client holds its request's body back until it hears 100, and has not heard it: its silence is our doing."""
        ...

    @property
    def tunnels(self) -> bool:
        """Bytes are carried verbatim; the client may have ended its side, which is not the end of ours."""
        ...

    def leave(self, *, at_once: bool = True) -> None:
        """
        Drain: the next reply is the last and says so.

        Args:
            at_once: close a connection at rest now. False lets it ask once more: its next request may be on its way.
        """
        ...
