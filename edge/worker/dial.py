"""
Getting connected to an origin's server: names to addresses, addresses to a socket, a socket to a stream.

Does the waiting and turns what the system says into an :class:`~edge.errors.OriginFault`. Every fault from here has
``retry`` YES: no byte of a request has been sent. Does not decide which server, how often, or what for.

Invariant: a socket that is not returned is closed, whichever way the dialling ends.

Source: RFC 8305 (happy eyeballs: families interleaved, a new attempt every 250 ms or when one fails); RFC 9209 §2.3 for
the words.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import trio

from edge.errors import EdgeFault, Fault, OriginFault, Retry, Side
from edge.tls.stream import PlainStream, Ready, Stream, TlsStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from edge.clock import Clock

Address = tuple[socket.AddressFamily, Any]
"""A family and what ``connect`` takes for it."""

STAGGER_S = 0.25
"""RFC 8305 §5: the recommended delay before the next address is tried beside the one that has not answered."""

ANSWER_S = 5.0
"""How long an answer about a name is used again. ``getaddrinfo`` hides the record's TTL; this is what a change costs at most."""

STALE_S = 300.0
"""How long an old answer stands in for a resolver that does not answer."""

PATIENCE_S = 1.0
"""How long a resolver is waited for when there is an old answer."""

_BIND_ADDRESS_NO_PORT = 24
"""ip(7); the socket module has no name for it before Python 3.14."""

BUSY_PAUSE_S = 0.01
"""A Unix listener with a full queue says EAGAIN and cannot be waited for: ask again this often, until the deadline."""


@dataclass(slots=True)
class Door:
    """
    Where a server is and how it is spoken to.

    Attributes:
        label: for logs and for hashing: ``10.0.0.5:8001`` or the socket's path.
        host: name or address, IPv6 without brackets.
        unix_path: instead of host and port.
        tls: how to verify and speak; None for a plain connection.
        server_name: the name asked for and verified.
        session: what the last TLS connection left to resume.
        sources: the address to come from, by family.
        preface: the PROXY header to begin with where nobody is passed on: we speak for ourselves.
    """

    label: str
    host: str
    port: int
    unix_path: str | None = None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    session: ssl.SSLSession | None = None
    sources: Mapping[socket.AddressFamily, str] = field(default_factory=dict)
    preface: bytes = b""


@dataclass(slots=True)
class _Answer:
    """What the resolver said about a name, when, and when it was last asked (it may have refused since)."""

    addresses: list[Address]
    answered_mono: float
    asked_mono: float


class Resolver:
    """
    Names to addresses, remembered for a moment.

    One question per name at a time: a burst of new connections costs one look-up, in trio's thread pool. A resolver
    that fails does not take origins down with it: what it said in the last minutes stands in.

    Args:
        clock: for the age of an answer.
        ask: instead of the system's resolver; raises OSError when there is no answer.
    """

    def __init__(self, clock: Clock, ask: Callable[[str, int], Awaitable[list[Address]]] | None = None) -> None:
        self._clock = clock
        self._ask = ask or _ask_system
        self._answers: dict[tuple[str, int], _Answer] = {}
        self._asking: dict[tuple[str, int], trio.Event] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """
        Return where *host* is, in the order to try; never empty.

        Raises:
            OriginFault: ``dns_error``, if the resolver refuses and no answer of the last minutes is left.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        key = (host, port)
        while key in self._asking:
            await self._asking[key].wait()
        known = self._answers.get(key)
        now_mono = self._clock.mono()
        if known is not None and now_mono - known.asked_mono < ANSWER_S:
            return known.addresses
        if known is not None and now_mono - known.answered_mono > STALE_S:
            known = None
        self._asking[key] = told = trio.Event()
        try:
            with trio.move_on_after(math.inf if known is None else PATIENCE_S):
                found = interleave(await self._ask(host, port))
                if found:
                    now_mono = self._clock.mono()
                    self._answers[key] = _Answer(found, now_mono, now_mono)
                    return found
        except OSError as cause:
            if known is None:
                raise OriginFault(f"{host}: {cause}", word="dns_error", retry=Retry.YES) from cause
        finally:
            del self._asking[key]
            told.set()
        if known is None:
            raise OriginFault(f"{host}: no address", word="dns_error", retry=Retry.YES)
        known.asked_mono = self._clock.mono()
        return known.addresses


class Dialler:
    """Makes connections. One per worker."""

    def __init__(self, clock: Clock, resolver: Resolver | None = None) -> None:
        self._resolver = resolver or Resolver(clock)

    async def dial(self, door: Door, connect_s: float, preface: bytes = b"") -> Stream:
        """
        Connect, TLS included, and return a stream ready for the first byte.

        Args:
            door: where; its ``session`` is resumed if the server still knows it.
            connect_s: for everything together, the look-up of the name included.
            preface: the PROXY header to begin with, instead of the door's own.

        Raises:
            OriginFault: with ``retry`` YES.
            EdgeFault: we are out of descriptors or ports.
        """
        stage = "dns_timeout" if door.unix_path is None else "connection_timeout"
        with trio.CancelScope(relative_deadline=connect_s):
            if door.unix_path is not None:
                sock = await _connect_unix(door.unix_path)
            else:
                addresses = await self._resolver.resolve(door.host, door.port)
                stage = "connection_timeout"
                sock = await _connect_any(addresses, door)
            if preface or door.preface:
                _introduce(sock, preface or door.preface, door.label)
            if door.tls is None:
                return PlainStream(sock, Side.ORIGIN)
            return await _secure(sock, door, door.tls)
        raise OriginFault(f"{door.label}: nothing within {connect_s:g}s", word=stage, reply=504, retry=Retry.YES)


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """
    Order addresses so that families alternate, beginning with the resolver's first choice.

    Within a family the resolver's order (RFC 6724) stands. Source: RFC 8305 §4.
    """
    if not addresses:
        return []
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    woven: list[Address] = []
    for turn in range(max(len(first), len(others))):
        woven += first[turn : turn + 1] + others[turn : turn + 1]
    return woven


def _literal(host: str, port: int) -> Address | None:
    """Return the address if *host* is one already: no look-up, no thread."""
    if not (host[-1:].isdigit() or ":" in host):
        return None
    try:
        family = socket.AF_INET6 if ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET
    except ValueError:
        return None
    return family, (host, port)


async def _ask_system(host: str, port: int) -> list[Address]:
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _kind, _proto, _name, address in found]


# -- sockets ------------------------------------------------------------------------------------------------


def _introduce(sock: socket.socket, preface: bytes, label: str) -> None:
    """Send the PROXY header: before anything else, in one piece, which an empty socket takes."""
    try:
        taken = sock.send(preface)
        if taken < len(preface):
            raise OSError(errno.EPIPE, "the PROXY header did not fit")
    except OSError as cause:
        sock.close()
        raise _refused(cause, label) from cause


async def _connect_any(addresses: Sequence[Address], door: Door) -> socket.socket:
    """
    Connect to whichever of *addresses* answers first.

    A single address, the common case, is waited for in this task; only a second one is worth a nursery.
    """
    if len(addresses) == 1:
        return await _connect_one(addresses[0], door)
    won: list[socket.socket] = []
    faults: list[Fault] = []

    async def attempt(at: int, failed: trio.Event) -> None:
        try:
            sock = await _connect_one(addresses[at], door)
        except Fault as fault:
            faults.append(fault)
            failed.set()
            return
        if won:
            sock.close()  # a photo finish: both connected before the cancel reached this one
        else:
            won.append(sock)
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for at in range(len(addresses)):
                failed = trio.Event()
                nursery.start_soon(attempt, at, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
        if won:
            return won.pop()
    finally:
        for sock in won:  # only if the whole was cancelled in the moment of success
            sock.close()
    raise faults[0]


async def _connect_one(address: Address, door: Door) -> socket.socket:
    """Connect to one address; the caller holds the deadline."""
    family, where = address
    label = door.label
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as cause:
        raise _refused(cause, label) from cause
    try:
        # a request leaves in one write; what is written later (a streamed body) must not wait for an acknowledgement
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if door.sources:
            _come_from(sock, family, door.sources)
        said = sock.connect_ex(where)
        if said == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        _check(said)
    except BaseException as cause:
        sock.close()
        if isinstance(cause, OSError):
            raise _refused(cause, label) from cause
        raise
    return sock


def _come_from(sock: socket.socket, family: socket.AddressFamily, sources: Mapping[socket.AddressFamily, str]) -> None:
    """
    Bind *sock* to the address to come from. The port is chosen when it connects, so that all of them serve each server.

    Raises:
        OSError: there is none of this family, or it is not ours (now).
    """
    source = sources.get(family)
    if source is None:
        raise OSError(errno.ENETUNREACH, "no source address of its family is configured")
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
    except OSError as cause:
        raise OSError(cause.errno, f"cannot come from {source}: {cause.strerror}") from cause


async def _connect_unix(path: str) -> socket.socket:
    """Connect to a Unix socket; while its queue is full, ask again until the caller's deadline."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as cause:
        raise _refused(cause, path) from cause
    try:
        while (said := sock.connect_ex(path)) == errno.EAGAIN:  # noqa: ASYNC110 - no event tells when it has room
            await trio.sleep(BUSY_PAUSE_S)
        _check(said)
    except BaseException as cause:
        sock.close()
        if isinstance(cause, OSError):
            raise _refused(cause, path) from cause
        raise
    return sock


def _check(said: int) -> None:
    """Raise the OSError that an error number stands for, if it stands for one."""
    if said:
        raise OSError(said, os.strerror(said))


async def _secure(sock: socket.socket, door: Door, context: ssl.SSLContext) -> TlsStream:
    """Do the TLS handshake on a connected socket."""
    try:
        stream = TlsStream(sock, Side.ORIGIN, context, server_hostname=door.server_name, session=door.session)
    except BaseException:
        sock.close()
        raise
    try:
        while (ready := stream.handshake()) is not Ready.DONE:
            if ready is Ready.WANT_READ:
                await trio.lowlevel.wait_readable(sock)
            else:
                await trio.lowlevel.wait_writable(sock)
    except BaseException as cause:
        stream.close()
        if isinstance(cause, Fault):
            cause.retry = Retry.YES
            door.session = None
        raise
    return stream


_WORDS: dict[int, tuple[str, int]] = {
    errno.ECONNREFUSED: ("connection_refused", 502),
    errno.ECONNRESET: ("connection_terminated", 502),
    errno.ETIMEDOUT: ("connection_timeout", 504),
    errno.ENETUNREACH: ("destination_ip_unroutable", 502),
    errno.EHOSTUNREACH: ("destination_ip_unroutable", 502),
    errno.EAFNOSUPPORT: ("destination_ip_unroutable", 502),
    errno.ENOENT: ("destination_unavailable", 503),
    errno.EACCES: ("destination_unavailable", 503),
}
"""RFC 9209 §2.3, with the status recommended there."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


def _refused(cause: OSError, label: str) -> Fault:
    """Say in our words why there is no connection."""
    number = cause.errno or 0
    detail = f"{label}: {cause.strerror or cause}"
    if number in _OURS:
        return EdgeFault(detail, word="connection_limit_reached", reply=503)
    word, reply = _WORDS.get(number, ("destination_unavailable", 503))
    return OriginFault(detail, word=word, reply=reply, retry=Retry.YES)
