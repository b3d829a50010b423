"""
Try-now streams: one interface for TLS and for plain sockets, towards clients and towards origins.

Decides how bytes get between a non-blocking socket and OpenSSL, and what an OSError or SSLError means. Does not know
what the bytes say, who waits for them, or how: ``None`` from :meth:`Stream.pull` means "wait until readable", less
than offered from :meth:`Stream.push` with ``wants_write`` set means "wait until writable".

Rules for the caller
    - *Offer again what was refused.* Bytes that ``push`` did not report as taken may already be encrypted; the next
      push must begin with the same bytes (it may carry more behind them). A ``False`` ``wants_write`` after a short
      push means the per-call cap was reached: nothing will wake an epoll, call again in your next turn.
    - *Read last.* Bytes may lie in OpenSSL, where no epoll sees them: pull until ``None``, or until ``drained``.
      ``drained`` means the last read emptied the kernel's buffer and OpenSSL's. An edge-triggered watcher may stop
      there if its event did not say EPOLLRDHUP; one that stops without it waits for an edge that will not come.
    - *Faults are final.* After one, only ``close`` may be called. EOF is final for pull, not for push.

Invariants
    - Everything reported as taken by ``push`` is in the kernel, or ``wants_write`` is set and the last byte offered has
      not been reported: who closes only after his last byte was taken loses nothing.
    - A stream holds at most one encrypted piece (``PIECE``) that the kernel refused.

Cost (Python 3.13 / 3.11, OpenSSL 3.0, loopback, 300 B in and 1,200 B out, one record each;
``bench/micro/test_stream.py``)
    The variants, as one turn of pull + push + the pull that would block:

    ===============================================================  ======  ======
    ``SSLSocket`` on the socket, ``_sslobj.read`` / ``.write``        9.3 µs  8.9 µs
    memory BIOs, asking the kernel again                              8.5 µs  8.2 µs
    memory BIOs, stopping at a short read (``drained``)               7.2 µs  7.0 µs
    a plain socket, stopping at a short read                          5.2 µs  5.3 µs
    ===============================================================  ======  ======

    and 400 MB of a body in 256 KiB offers: ``SSLSocket`` 1.7 GB/s; memory BIOs in pieces of 64 KiB 2.0 GB/s, of 256 KiB
    2.5 GB/s. On the socket OpenSSL makes two reads per record (header, body) and one write per record of 16 KiB; through
    memory BIOs it is one read for whatever came and one write per piece. A memory BIO keeps the largest
    buffer it ever needed, so pieces are 80 KiB: 110 KiB kept by a session that once sent a large body, not 350.
    Reading into a kept buffer, or asking for less than 64 KiB, made no difference.
    ``SSLObject``'s methods are thin Python around ``_sslobj``; calling that directly saves 0.15-0.3 µs per call.

Source: RFC 8446 §6.1 (closing), OpenSSL ``SSL_write(3)`` (a refused write is repeated), ``epoll(7)`` (short reads).
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - ssl looks for it at the first handshake: a worker may not be able to read it any more
import socket
import ssl
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol

from edge.errors import ClientFault, ClientGone, Fault, OriginFault, Retry, Side

READ = 81920
"""Most bytes asked of the kernel at once: a body of 64 KiB comes with its head."""

PIECE = 81920
"""Most plain bytes encrypted before the kernel is offered them, five full records: a body of 64 KiB leaves with its head."""

CAP = 262144
"""Most plain bytes one push takes: a large body must not starve its neighbours in the turn."""

BARREN = 65536
"""
Bytes one pull reads for no byte of data before the peer is let go: three whole records would fit.

Key updates are small and dear; OpenSSL takes any number, and a pull that went on while they come would never return.
"""

HELD = 65536
"""Answers of OpenSSL's own (key updates, alerts) the peer may leave unread before we stop reading from it."""


class Ready(Enum):
    """How far a handshake is."""

    DONE = "done"  # application data may flow
    WANT_READ = "want_read"  # call again when the socket is readable
    WANT_WRITE = "want_write"  # call again when the socket is writable


class Stream(Protocol):
    """A connected socket whose every call returns at once."""

    wants_write: bool
    drained: bool
    side: Side

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        ...

    def handshake(self) -> Ready:
        """Get as far as can be without waiting; raises :class:`~edge.errors.Fault`."""
        ...

    def pull(self, limit: int = READ) -> bytes | None:
        """Return what is here, at most *limit* bytes; ``b""`` at the end; None if waiting is needed."""
        ...

    def push(self, data: bytes | bytearray | memoryview) -> int:
        """Take as much of *data* as goes without waiting and return its length."""
        ...

    def push_last(self, data: bytes | bytearray | memoryview) -> int:
        """:meth:`push` what is the last there will be: in TLS its close_notify may leave in the same write."""
        ...

    def part(self) -> None:
        """Say that no more will come, for who closes next: the close brings the FIN. Never waits, never raises."""
        ...

    def shut(self) -> None:
        """Tell the peer that no more will come, and go on reading. Best effort: never waits, never raises."""
        ...

    def close(self) -> None:
        """Let go of the socket. Never raises; may be called twice."""
        ...

    @property
    def version(self) -> str | None:
        """The TLS version spoken (``TLSv1.3``), None on a plain stream."""
        ...

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's verified certificate in DER, None if it showed none."""
        ...


def _gone(side: Side, cause: OSError) -> Fault:
    """Say in our words that the peer's connection broke."""
    detail = f"{type(cause).__name__}: {cause}"
    if side is Side.CLIENT:
        return ClientGone(detail)
    return OriginFault(detail, word="connection_terminated", retry=Retry.IF_REUSED)


def _tls_word(cause: ssl.SSLError) -> str:
    """Return the RFC 9209 §2.3 error type for what OpenSSL said."""
    reason = cause.reason or ""
    if isinstance(cause, ssl.SSLCertVerificationError) or reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "tls_certificate_error"
    if "_ALERT_" in reason:
        return "tls_alert_received"
    return "tls_protocol_error"


def _is_cut(cause: ssl.SSLError) -> bool:
    """Whether the connection ended without close_notify; Debian 12's Python says so by the reason alone."""
    return isinstance(cause, ssl.SSLEOFError) or cause.reason == "UNEXPECTED_EOF_WHILE_READING"


class PlainStream:
    """
    A stream over a bare socket (TCP or Unix), made non-blocking here.

    Args:
        sock: connected; owned by the stream from now on.
        side: who is at the other end, hence who is to blame.
    """

    __slots__ = ("_recv", "_send", "drained", "side", "sock", "wants_write")

    version: str | None = None
    peer_certificate: bytes | None = None

    def __init__(self, sock: socket.socket, side: Side) -> None:
        if sock.gettimeout() != 0.0:
            sock.setblocking(False)
        self.sock = sock
        self.side = side
        self.wants_write = False
        self.drained = False
        self._recv = sock.recv
        self._send = sock.send

    def __repr__(self) -> str:
        return f"<PlainStream {self.side.value} fd={self.sock.fileno()}>"

    def fileno(self) -> int:
        """Return the descriptor to watch; -1 once closed."""
        return self.sock.fileno()

    def handshake(self) -> Ready:
        """There is none."""
        return Ready.DONE

    def pull(self, limit: int = READ) -> bytes | None:
        """
        Return what is here, at most *limit* bytes; ``b""`` at the end; None if waiting is needed.

        Raises:
            Fault: the connection broke.

        Cost: one system call, one allocation.
        """
        try:
            data = self._recv(limit)
        except BlockingIOError:
            self.drained = True
            return None
        except OSError as cause:
            raise _gone(self.side, cause) from cause
        self.drained = 0 < len(data) < limit
        return data

    def push(self, data: bytes | bytearray | memoryview) -> int:
        """
        Hand *data* to the kernel and return how much it took.

        Raises:
            Fault: the connection broke.

        Cost: one system call.
        """
        try:
            sent = self._send(data)
        except BlockingIOError:
            self.wants_write = True
            return 0
        except OSError as cause:
            raise _gone(self.side, cause) from cause
        self.wants_write = sent < len(data)
        return sent

    push_last = push

    def part(self) -> None:
        """There is nothing to say before the FIN."""

    def shut(self) -> None:
        """Send FIN. Never waits, never raises."""
        with suppress(OSError):  # shutdown(2): already broken or closed, the peer learns nothing more from us
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the socket. Never raises."""
        with suppress(OSError):  # close(2) reports what is lost; nobody is left to tell
            self.sock.close()


class TlsStream:
    """
    A TLS stream over a socket made non-blocking here; OpenSSL works on memory and we move the bytes.

    Args:
        sock: connected, no byte of the hello consumed (peeking is fine); owned by the stream from now on.
        side: CLIENT makes us the TLS server, ORIGIN the TLS client.
        context: a server's or a client's, to match.
        server_hostname: (to an origin) the name asked for and verified.
        session: (to an origin) what to resume, from an earlier stream's ``session`` *with the same context*.

    Raises:
        ValueError: *server_hostname* is no host name, or *session* belongs to another context: our own mistakes.
    """

    __slots__ = (
        "_drain",
        "_established",
        "_fed",
        "_feed",
        "_hears",
        "_incoming",
        "_left",
        "_outgoing",
        "_owed",
        "_parted",
        "_read",
        "_recv",
        "_send",
        "_short",
        "_step",
        "_write",
        "drained",
        "side",
        "sock",
        "tls",
        "wants_write",
    )

    def __init__(
        self,
        sock: socket.socket,
        side: Side,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        if sock.gettimeout() != 0.0:
            sock.setblocking(False)
        self.sock = sock
        self.side = side
        self.wants_write = False
        self.drained = False
        self._incoming = incoming = ssl.MemoryBIO()
        self._outgoing = outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            incoming,
            outgoing,
            server_side=side is Side.CLIENT,
            server_hostname=server_hostname,
            session=session,
        )
        inner: Any = getattr(self.tls, "_sslobj", self.tls)
        self._read = inner.read
        self._write = inner.write
        self._step = inner.do_handshake
        self._feed = incoming.write
        self._drain = outgoing.read
        self._recv = sock.recv
        self._send = sock.send
        self._hears = side is Side.CLIENT  # in the handshake it is the peer's turn
        self._parted = False  # close_notify was said
        self._established = False  # the handshake was done; OpenSSL forgets that it was when something fails
        self._fed = False  # OpenSSL may hold bytes that a read would give
        self._short = False  # the last read gave less than asked: the kernel had no more
        self._left: memoryview | None = None  # encrypted, and refused by the kernel
        self._owed = 0  # plain bytes in _left that push has not yet reported as taken

    def __repr__(self) -> str:
        return f"<TlsStream {self.side.value} fd={self.sock.fileno()} {self.tls.version() or 'handshake'}>"

    # -- facts ----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor to watch; -1 once closed."""
        return self.sock.fileno()

    @property
    def version(self) -> str | None:
        """The TLS version spoken (``TLSv1.3``); None before the handshake is done."""
        return self.tls.version()

    @property
    def alpn(self) -> str | None:
        """The protocol agreed on, if any."""
        return self.tls.selected_alpn_protocol()

    @property
    def resumed(self) -> bool:
        """The session was taken up again: no certificate was sent or verified in this handshake."""
        return bool(self.tls.session_reused)

    @property
    def session(self) -> ssl.SSLSession | None:
        """
        (To an origin) what a later stream may resume; None until there is one.

        On TLS 1.3 tickets come after the handshake: read this when the first reply has been pulled, not before.
        """
        return self.tls.session

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's verified certificate in DER; None if it showed none (or none was asked for)."""
        return self.tls.getpeercert(binary_form=True)

    # -- handshake ------------------------------------------------------------------------------------------

    def handshake(self) -> Ready:
        """
        Get as far as can be without waiting.

        Returns:
            DONE only when our last flight has left for the kernel as well; but tickets for a client whose request came along with
            its own last flight leave with the first push: one system call less, and one packet.

        Raises:
            Fault: ``tls_certificate_error``, ``tls_alert_received`` or ``tls_protocol_error``; the peer has been sent the
                alert that says why. ``connection_terminated`` if it left. Nobody can be answered (``reply`` is None
                for a client); an origin's request may be sent elsewhere.
        """
        if (self._left is not None or self._outgoing.pending) and not self._flush():
            return Ready.WANT_WRITE
        if self._established:  # only our last flight was in the way
            return Ready.DONE
        while True:
            # Where it is the peer's turn OpenSSL is not asked without new bytes: its refusal is an exception, 4 µs.
            if self._hears and not self._fill():
                return Ready.WANT_READ
            try:
                self._step()
            except ssl.SSLWantReadError:
                self._hears = True
                if not self._flush():
                    return Ready.WANT_WRITE
                if self._short:
                    return (
                        Ready.WANT_READ
                    )  # the kernel had no more, and answers to what has just left come as a new edge
            except ssl.SSLError as cause:
                raise self._refused(cause) from cause
            else:
                self._established = True
                self._fed = self._incoming.pending > 0
                self.drained = self._short and not self._fed
                if self._fed and self.side is Side.CLIENT and self.tls.version() == "TLSv1.3":
                    return Ready.DONE
                return Ready.DONE if self._flush() else Ready.WANT_WRITE

    def _fill(self) -> bool:
        """Move what the kernel has into OpenSSL; False if that is nothing yet."""
        try:
            data = self._recv(READ)
        except BlockingIOError:
            return False
        except OSError as cause:
            raise self._lost(cause) from cause
        if data:
            self._short = len(data) < READ
            self._feed(data)
        else:
            self._short = False
            self._incoming.write_eof()
        return True

    def _flush(self) -> bool:
        """
        Move OpenSSL's own words (handshake, alerts, key updates) into the kernel; False if some stay behind.

        A piece that push still owes its caller goes first, and only push may move it.
        """
        if self._owed:
            return False
        if self._outgoing.pending:
            words = self._drain()
            self._left = memoryview(words if self._left is None else bytes(self._left) + words)
        if self._left is None:
            return True
        try:
            sent = self._send(self._left)
        except BlockingIOError:
            sent = 0
        except OSError as cause:
            raise self._lost(cause) from cause
        self._left = self._left[sent:] if sent < len(self._left) else None
        self.wants_write = self._left is not None
        return not self.wants_write

    # -- data -----------------------------------------------------------------------------------------------

    def pull(self, limit: int = READ) -> bytes | None:
        """
        Return what is here, at most *limit* bytes (and one record: 16 KiB); ``b""`` at the end; None: wait.

        A client's end without close_notify is an end like any other: requests say their own length. An origin's is
        a fault, because a reply that ends with its connection could have been cut by anyone on the way.

        Raises:
            Fault: the connection broke, or what came is not TLS.

        Cost: one system call unless OpenSSL still holds records; two allocations.
        """
        got = 0
        while True:
            if not self._fed:
                try:
                    data = self._recv(READ)
                except BlockingIOError:
                    self.drained = True
                    return None
                except OSError as cause:
                    raise self._lost(cause) from cause
                if data:
                    got += len(data)
                    self._short = len(data) < READ
                    self._feed(data)
                else:
                    self._short = False
                    self._incoming.write_eof()
            try:
                plain: bytes = self._read(limit)
            except ssl.SSLWantReadError:
                self._fed = False
                if self._outgoing.pending:
                    self._answer()
                if got > BARREN:
                    raise self._idle_talk() from None
                continue
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as cause:
                if _is_cut(cause) and self.side is Side.CLIENT:
                    return b""
                raise self._refused(cause) from cause
            self._fed = fed = self._incoming.pending > 0 or len(plain) == limit
            self.drained = self._short and not fed
            return plain

    def push(self, data: bytes | bytearray | memoryview) -> int:
        """
        Encrypt and hand to the kernel as much of *data* as goes without waiting; return how much that was.

        Of a piece the kernel took in part, the same part is reported; the last byte never before all is gone. The next
        push begins with the unreported bytes (see the module's header). At most ``CAP`` bytes beyond those are taken.

        Raises:
            Fault: the connection broke.

        Cost: up to one piece: one encryption, one system call, one allocation.
        """
        left, done = self._left, 0
        if left is None:
            size = len(data)
            if 0 < size <= PIECE:
                try:
                    self._write(data)  # all of it: memory never refuses
                    wire = self._drain()
                    sent = self._send(wire)
                except BlockingIOError:
                    sent = 0
                except OSError as cause:
                    raise self._broken(cause) from cause
                return size if sent == len(wire) else self._hold(wire, sent, size)
        else:
            done = self._settle(left)
            if self.wants_write:
                return done
            if done > len(data):
                raise AssertionError("push was not offered again what it had refused")
        view = memoryview(data)
        size = min(len(view), done + CAP)
        while done < size:
            end = min(done + PIECE, size)
            try:
                self._write(view[done:end])
                wire = self._drain()
                sent = self._send(wire)
            except BlockingIOError:
                sent = 0
            except OSError as cause:
                raise self._broken(cause) from cause
            if sent < len(wire):
                return done + self._hold(wire, sent, end - done)
            done = end
        return done

    def push_last(self, data: bytes | bytearray | memoryview) -> int:
        """
        :meth:`push` what is the last there will be, with close_notify in the same write if it is short enough.

        Only ``close``, ``part`` and ``shut`` may follow, once all is taken. Saves a system call and a packet: 10 µs of the 300
        that a connection for one request takes.
        """
        if self._left is not None or not 0 < len(data) <= PIECE:
            return self.push(data)
        try:
            self._write(data)
            self._bid_farewell()
            wire = self._drain()
            sent = self._send(wire)
        except BlockingIOError:
            sent = 0
        except OSError as cause:
            raise self._broken(cause) from cause
        return len(data) if sent == len(wire) else self._hold(wire, sent, len(data))

    def _hold(self, wire: bytes, sent: int, plain: int) -> int:
        """Keep what the kernel refused of *wire*, the encryption of *plain* bytes; return how many to report."""
        told = plain * sent // len(wire)
        self._left = memoryview(wire)[sent:]
        self._owed = plain - told
        self.wants_write = True
        return told

    def _settle(self, left: memoryview) -> int:
        """Offer what the kernel refused again; return how many plain bytes may now be reported."""
        owed = self._owed
        try:
            sent = self._send(left)
        except BlockingIOError:
            return 0
        except OSError as cause:
            raise self._lost(cause) from cause
        if sent == len(left):
            self._left = None
            self._owed = 0
            self.wants_write = False
            return owed
        told = owed * sent // len(left)
        self._left = left[sent:]
        self._owed = owed - told
        return told

    def _answer(self) -> None:
        """Send what reading made OpenSSL say, unless a refused piece is in the way; bounded by ``HELD``."""
        self._flush()
        if self._outgoing.pending + (0 if self._left is None else len(self._left)) > PIECE + HELD:
            raise self._idle_talk()

    # -- the end --------------------------------------------------------------------------------------------

    def part(self) -> None:
        """Send close_notify, unless it left with the last push. Never waits, never raises; close next."""
        if self._left is None:
            self._bid_farewell()
            if self._outgoing.pending:
                with suppress(OSError):  # send(2): broken, closed or full, the peer learns nothing more from us
                    self._send(self._drain())

    def shut(self) -> None:
        """Send close_notify and FIN. Never waits, never raises; no close_notify while a refused piece is held."""
        self.part()
        with suppress(OSError):  # shutdown(2): broken or closed already
            self.sock.shutdown(socket.SHUT_WR)

    def _bid_farewell(self) -> None:
        """Let OpenSSL say close_notify, once."""
        if not self._parted:
            self._parted = True
            with suppress(OSError):  # "want read": its close_notify is not waited for; or no handshake yet
                self.tls.unwrap()

    def close(self) -> None:
        """Let go of the socket. Never raises; says no close_notify (``shut`` does)."""
        with suppress(OSError):  # close(2) reports what is lost; nobody is left to tell
            self.sock.close()

    # -- what went wrong ------------------------------------------------------------------------------------

    def _lost(self, cause: OSError) -> Fault:
        """Say what a failed system call means; before the handshake is done nothing can have been acted on."""
        fault = _gone(self.side, cause)
        if self.side is Side.ORIGIN and not self._established:
            fault.retry = Retry.YES
        return fault

    def _refused(self, cause: ssl.SSLError) -> Fault:
        """Send the alert OpenSSL prepared, if the kernel takes it, and say whose fault it was."""
        try:
            if self._left is None and self._outgoing.pending:
                self._send(self._drain())
        except OSError:
            pass  # the peer left before it could be told
        if _is_cut(cause):
            return self._lost(cause)
        word, detail = _tls_word(cause), cause.reason or str(cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = f"{detail}: {cause.verify_message}"
        if self.side is Side.CLIENT:
            return ClientFault(detail, reply=None, word=word)
        return OriginFault(detail, word=word, retry=Retry.IF_REUSED if self._established else Retry.YES)

    def _idle_talk(self) -> Fault:
        """Say that the peer keeps us busy with TLS itself."""
        detail = "more of TLS's own messages than anyone needs"
        if self.side is Side.CLIENT:
            return ClientFault(detail, reply=None, word="tls_protocol_error")
        return OriginFault(detail, word="tls_protocol_error")

    def _broken(self, cause: OSError) -> Fault:
        """Say what a failed encryption or system call means."""
        return self._refused(cause) if isinstance(cause, ssl.SSLError) else self._lost(cause)
