"""
The first words of a TLS client, read before OpenSSL does: which name it asks for.

Decides whether bytes are a ClientHello, the beginning of one, or something else, and takes the server name, the
protocols and the versions out of it. Does not know certificates or contexts. It reads strictly: what OpenSSL
would refuse is refused here first, so that the name by which a context is chosen is the name in the handshake.

Shapes: :func:`read_hello` is sans-IO; it takes all bytes there are from the beginning, every time, and keeps nothing.
:func:`peek_hello` is the shell around it.

Waiting: a hello that is here in part *stays readable*, because it is peeked at and not taken. After NEED_DATA
an edge-triggered watcher simply waits for its next edge: every arriving segment makes one. A level-triggered one (trio's
``wait_readable``) would spin; it waits with ``SO_RCVLOWAT`` above what is there, or a little later, or not at all. The
peer's end does not show in a peek behind a part of a hello: it shows as EPOLLRDHUP, or as a deadline.

A server name that cannot be decoded (not exactly one host name, or sent twice) makes the whole no hello: what two
parsers could read in two ways must not choose a context. One that decodes but is no DNS name (an IPv6 address, a stray
byte) is None, as if none had been sent: it cannot be in any certificate's table, so the default answers, and the client
judges that.

Invariant: NEED_DATA is only said when there are bytes that would make a hello of it, and never at ``HELLO_BYTES``. Work is
linear in the bytes and bounded per call (``FRAGMENTS``), for a client that sends them one by one has us read anew for each.

Cost: 6 µs for a browser's hello (517 bytes, 16 extensions), once per connection, beside 150 µs of handshake;
``bench/micro/test_stream.py``.

Source: RFC 8446 §4.1.2, §4.2, §5.1; RFC 6066 §3; RFC 7301 §3.1.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from edge.errors import ClientGone

HELLO_BYTES: Final = 32768
"""Records with a hello in them, at most. The largest of today (post-quantum shares, a ticket, a padding) are below 4 KiB."""

FRAGMENTS: Final = 64
"""Records a hello may be cut into: 512 bytes, the smallest any stack is told to cut at (RFC 6066 §4), make 32 KiB."""

_RECORD_BYTES: Final = 16384
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43
_KIND_AND_LENGTH: Final = struct.Struct(">HH").unpack_from

NO_COMMON_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"
"""
The fatal alert ``no_application_protocol`` (RFC 7301 §3.2), for a client whose ALPN names nothing of ours.

OpenSSL through Python's ``ssl`` goes on without a protocol instead, which is what cross-protocol attacks live on (RFC
9325 §3.8). Sent in the clear, before a handshake has begun.
"""

_HOST = re.compile(
    rb"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\Z"
)
_HTTP = re.compile(rb"[A-Z]{3,16} [ -~]")
_HTTP_BEGUN = re.compile(rb"[A-Z]{1,16}\Z|[A-Z]{3,16} \Z")


class _Wait(Enum):
    NEED_DATA = "need data"  # a hello so far, but not all of it

    def __repr__(self) -> str:
        return self.name


NEED_DATA: Final = _Wait.NEED_DATA


@dataclass(slots=True)
class Hello:
    """
    What a client wants.

    Attributes:
        server_name: lower case, without a trailing dot; None if none was sent, or one that is no DNS name.
        alpn: in the client's order, as sent; empty if none were.
        versions: numbers as on the wire (0x0304 is TLS 1.3), the client's order; unknown ones (GREASE) included.
    """

    server_name: bytes | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]

    def speaks(self, protocol: bytes) -> bool:
        """Whether *protocol* may be spoken: the client named it, or named none at all."""
        return not self.alpn or protocol in self.alpn


@dataclass(slots=True)
class NotTls:
    """
    Not a ClientHello.

    Attributes:
        kind: ``http``, to be told so in plain text; ``garbage``.
        detail: for the log.
    """

    kind: Literal["http", "garbage"]
    detail: str = ""


class _Malformed(Exception):  # noqa: N818 - it does not leave this file
    """The bytes cannot become a hello."""


def peek_hello(sock: socket.socket) -> Hello | Literal[_Wait.NEED_DATA] | NotTls:
    """
    Look at what a client sent first, leaving it where it is.

    Args:
        sock: accepted, non-blocking, nothing read from it yet.

    Returns:
        NEED_DATA: wait for more than there is (see the module's header how).

    Raises:
        ClientGone: it closed without a word, or the connection broke.

    Cost: one system call.
    """
    try:
        data = sock.recv(HELLO_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return NEED_DATA
    except OSError as cause:
        raise ClientGone(f"{type(cause).__name__}: {cause}") from cause
    if not data:
        raise ClientGone("closed before a hello")
    return read_hello(data)


def read_hello(data: bytes) -> Hello | Literal[_Wait.NEED_DATA] | NotTls:
    """
    Read the ClientHello at the beginning of *data*; what follows it is not looked at.

    Args:
        data: everything received so far.

    Raises:
        Nothing.
    """
    if not data:
        return NEED_DATA
    if data[0] != _HANDSHAKE:
        if _HTTP.match(data):
            return NotTls("http")
        if _HTTP_BEGUN.match(data):
            return NEED_DATA
        return NotTls("garbage", f"begins with {data[:8].hex()}")
    try:
        message = _join_records(data)
        if message is None:
            return NEED_DATA if len(data) < HELLO_BYTES else NotTls("garbage", f"a hello over {HELLO_BYTES} bytes")
        return _read_message(message)
    except _Malformed as what:
        return NotTls("garbage", str(what))


def _join_records(data: bytes) -> bytes | None:
    """
    Take the hello, without its four bytes of handshake header, out of its records; None if some are missing.

    A handshake message may be cut over any number of records, and a record may hold more than one message.
    """
    message = b""
    wanted = -1
    at = 0
    size = len(data)
    for _ in range(FRAGMENTS):
        if at + 5 > size:
            if data[at : at + 2] not in (b"", b"\x16", b"\x16\x03"):
                raise _Malformed("another record within the hello")
            return None
        if data[at] != _HANDSHAKE or data[at + 1] != 3:
            raise _Malformed("not a handshake record")
        length = data[at + 3] << 8 | data[at + 4]
        if not 0 < length <= _RECORD_BYTES:
            raise _Malformed(f"a record of {length} bytes")
        fragment = data[at + 5 : at + 5 + length]
        message = message + fragment if message else fragment
        if wanted < 0 and message:
            if message[0] != _CLIENT_HELLO:
                raise _Malformed("a handshake that does not begin with a hello")
            if len(message) >= 4:
                wanted = 4 + (message[1] << 16 | message[2] << 8 | message[3])
                if wanted > HELLO_BYTES:
                    raise _Malformed(f"a hello of {wanted} bytes")
        if 0 <= wanted <= len(message):
            return message[4:wanted]
        at += 5 + length
    raise _Malformed(f"a hello in over {FRAGMENTS} records")


def _read_message(message: bytes) -> Hello:
    """Read a whole ClientHello's body."""
    if len(message) < 38 or message[0] != 3:
        raise _Malformed("no hello of SSL 3 or later")
    at = 35 + message[34]  # version 2, random 32, session id with its length
    if message[34] > 32:
        raise _Malformed("a session id of more than 32 bytes")
    suites, at = _vector(message, at, 2)
    if not suites or len(suites) % 2:
        raise _Malformed("cipher suites of odd length")
    compressions, at = _vector(message, at, 1)
    if not compressions:
        raise _Malformed("no compression method, not even null")
    versions: tuple[int, ...] = (message[0] << 8 | message[1],)
    server_name: bytes | None = None
    alpn: tuple[bytes, ...] = ()
    if at == len(message):  # allowed before TLS 1.3
        return Hello(None, alpn, versions)
    extensions, at = _vector(message, at, 2)
    if at != len(message):
        raise _Malformed("bytes behind the extensions")
    seen = set()
    at = 0
    size = len(extensions)
    while at < size:  # a browser sends sixteen: in line, and only those of interest are cut out
        start = at + 4
        if start > size:
            raise _Malformed("a length that points outside")
        kind, length = _KIND_AND_LENGTH(extensions, at)
        at = start + length
        if at > size:
            raise _Malformed("a length that points outside")
        if kind in seen:
            raise _Malformed(f"extension {kind} twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            server_name = _read_server_name(extensions[start:at])
        elif kind == _ALPN:
            alpn = _read_protocols(extensions[start:at])
        elif kind == _SUPPORTED_VERSIONS:
            listed = _whole(extensions[start:at], 1)
            if not listed or len(listed) % 2:
                raise _Malformed("versions of odd length")
            versions = tuple(listed[i] << 8 | listed[i + 1] for i in range(0, len(listed), 2))
    return Hello(server_name, alpn, versions)


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Read a vector with *width* bytes of length before it; return it and where it ends."""
    start = at + width
    end = start + int.from_bytes(data[at:start], "big")
    if start > len(data) or end > len(data):
        raise _Malformed("a length that points outside")
    return data[start:end], end


def _whole(data: bytes, width: int) -> bytes:
    """Read a vector that must be all of *data*."""
    inner, end = _vector(data, 0, width)
    if end != len(data):
        raise _Malformed("bytes behind an extension's list")
    return inner


def _read_server_name(body: bytes) -> bytes | None:
    """Read the one name there may be: no other type was ever defined, and OpenSSL refuses a second."""
    entry = _whole(body, 2)
    if not entry or entry[0]:
        raise _Malformed("a server name that is no host name")
    name = _whole(entry[1:], 2).removesuffix(b".")
    return name.lower() if _HOST.match(name) else None


def _read_protocols(body: bytes) -> tuple[bytes, ...]:
    names = _whole(body, 2)
    found = []
    at = 0
    while at < len(names):
        name, at = _vector(names, at, 1)
        if not name:
            raise _Malformed("an empty protocol name")
        found.append(name)
    if not found:
        raise _Malformed("no protocol name")
    return tuple(found)
