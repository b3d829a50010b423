"""
The head of an HTTP/1 message, from bytes to :class:`RequestHead` or :class:`ReplyHead`.

Decides whether a complete head is well formed and what it says about its connection and its body. Does not find the
head's end, and does not read the body.

Each head passes two readers, and either may refuse it: first one regular expression that takes only the grammar
itself, then llhttp, which cuts it into fields. Reading everything once with our own expressions was as fast
(2.9 µs against 2.5 µs for a browser's head), but a second opinion is worth having on what decides who sees what.
Any method passes, but CONNECT and TRACE (RFC 9110 §9.1: one that is not known is its origin's business). llhttp knows some by name
and no others, so it reads the less common as POST, which it treats as all of them: how a request is framed does not depend on it.
Hot on a miss: 7 µs for a bare head, 20 for a browser's. Bench: bench/micro/test_http.py. Source: RFC 9112 §2–§5.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from httptools import (  # type: ignore[attr-defined,unused-ignore]
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from edge.errors import ClientFault, OriginFault
from edge.http.h1.fields import first_fault, is_well_formed, split
from edge.http.h1.framing import reply_framing, request_framing
from edge.http.h1.target import resolve
from edge.message.head import Framing, ReplyHead, RequestHead, index
from edge.message.headers import tokens

if TYPE_CHECKING:
    from edge.http.limits import HeadLimits
    from edge.message.head import Field

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE = re.compile(rb"(" + _TCHAR + rb"{1,64}) ([\x21\x22\x24-\x7e]++) HTTP/1\.([01])\r\n")
_LONG_METHOD = re.compile(_TCHAR + rb"{65}")
_OTHER_VERSION = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/(?!1\.[01]\r)[0-9.]{1,8}\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n")

_BY_NAME = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"})
"""Methods that llhttp is told."""

_NOT_SERVED = frozenset({b"CONNECT", b"TRACE", b"PRI"})
"""Orders to a server itself; PRI is how HTTP/2 begins, and nothing else."""

_IN_CAPITALS = _BY_NAME | _NOT_SERVED | {b"PURGE"}
"""
Methods that have a meaning for us. Spelt otherwise each is another method, which an origin that does not look at case would take for
this one: past the rules for it, and, as HEAD, with a reply that ends elsewhere for us.
"""

# The parser has turned these into authority, framing, length and expect_continue.
_TAKEN_FROM_REQUEST = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
_TAKEN_FROM_REPLY = frozenset({b"content-length", b"transfer-encoding"})

# Fields for everyone on the way, which RFC 9110 §7.6.1 forbids to name in Connection. A proxy that drops what is named
# could be made to drop these, so that we and the origin answer different questions.
_NOT_AN_OPTION = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"range",
        b"transfer-encoding",
        b"via",
    }
)

_NO_OPTIONS: frozenset[bytes] = frozenset()


class _Collector:
    """What llhttp calls back for each field; it leaves white space behind a value for us to strip."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: list[Field] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.rstrip(b" \t")))


def check_request_line(raw: bytes) -> tuple[bytes, bytes, int, int]:
    """
    Read the request line that *raw* begins with.

    Returns:
        Method, target as sent, version (10 or 11), and where the line behind it begins.

    Raises:
        ClientFault: 400; 505 for another version; 501 for CONNECT, TRACE and PRI, for a method that is longer than 64 bytes, and
            for one that we know in capitals but that is not written so.
    """
    line = _REQUEST_LINE.match(raw)
    if line is None:
        shown = raw[: raw.find(b"\r\n")][:80]
        status = 505 if _OTHER_VERSION.match(raw) else 501 if _LONG_METHOD.match(raw) else 400
        raise ClientFault(f"request line {shown!r}", reply=status)
    method, target, minor = line.groups()
    if method not in _BY_NAME:
        known = method.upper()
        if known in _NOT_SERVED or (known != method and known in _IN_CAPITALS):
            raise ClientFault(f"method {method.decode('ascii')}", reply=501)
    return method, target, 10 if minor == b"0" else 11, line.end()


def parse_request_head(
    raw: bytes,
    scheme: bytes,
    limits: HeadLimits,
    default_authority: bytes | None = None,
) -> RequestHead:
    """
    Read a complete request head.

    Args:
        raw: from the request line to the empty line, both included.
        scheme: how it reached us.
        limits: for the count of fields and the length of the body; *raw* is not measured.
        default_authority: for HTTP/1.0 without Host; without one the authority is empty then.

    Raises:
        ClientFault: not well formed, ambiguous, or more than we take.
    """
    method, target, version, start = check_request_line(raw)
    if not is_well_formed(raw, start, len(raw) - 2):
        raise ClientFault(first_fault(raw, start, len(raw) - 2))
    collector = _Collector()
    try:
        HttpRequestParser(collector).feed_data(raw if method in _BY_NAME else b"POST" + raw[len(method) :])
    except HttpParserUpgrade:
        pass  # said once the head is complete; whether we change protocols is the exchange's decision
    except HttpParserError as error:
        raise _in_other_words(raw, start, version, limits) or ClientFault(f"llhttp: {error}") from error
    fields = collector.fields
    if len(fields) > limits.header_count:
        raise ClientFault(f"{len(fields)} field lines", reply=431)
    said = index(fields)
    if b"_" in b"".join(said):
        _refuse_disguises(said)
    framing, length = request_framing(said, version, limits.body_bytes)
    host = said.get(b"host")
    if host is None and version > 10:
        raise ClientFault("no Host")
    authority, target = resolve(method, target, host, scheme)
    expect_continue = _expects_continue(said, version, framing)
    upgrade = None
    connection = said.get(b"connection")
    options = _NO_OPTIONS if connection is None else _options(connection)
    if options:
        if not _NOT_AN_OPTION.isdisjoint(options):
            raise ClientFault(f"Connection names {sorted(options & _NOT_AN_OPTION)!r}")
        if b"upgrade" in options and version > 10 and framing is Framing.NONE:
            upgrade = next((name for name in tokens(said.get(b"upgrade")) if name != b"h2c"), None)
    for name in _TAKEN_FROM_REQUEST:
        said.pop(name, None)
    return RequestHead(
        method,
        scheme,
        authority if authority is not None else default_authority or b"",
        target,
        [entry for entry in fields if entry[0] not in _TAKEN_FROM_REQUEST],
        version,
        framing,
        length,
        b"close" not in options and (version > 10 or b"keep-alive" in options),
        expect_continue,
        upgrade,
        said,
    )


@lru_cache(maxsize=256)  # clients and origins say one of a handful of things
def _options(connection: bytes) -> frozenset[bytes]:
    return frozenset(tokens(connection))


def _refuse_disguises(said: dict[bytes, bytes]) -> None:
    """CGI and its descendants read ``_`` as ``-``: framing under such a name is framing for them."""
    for name in said:
        if b"_" in name and name.replace(b"_", b"-") in _TAKEN_FROM_REQUEST:
            raise ClientFault(f"framing field disguised as {name!r}")


def _expects_continue(said: dict[bytes, bytes], version: int, framing: Framing) -> bool:
    """RFC 9110 §10.1.1: an expectation of HTTP/1.0 or without a body is ignored, one we do not know refused."""
    expectation = said.get(b"expect")
    if expectation is None:
        return False
    if expectation.lower() != b"100-continue":
        raise ClientFault(f"Expect {expectation[:80]!r}", reply=417)
    return version > 10 and framing is not Framing.NONE


def _in_other_words(raw: bytes, start: int, version: int, limits: HeadLimits) -> ClientFault | None:
    """Find our own reason for what llhttp refused, so that the log and the status say it in our words."""
    try:
        request_framing(index(split(raw[start:-2])), version, limits.body_bytes)
    except ClientFault as fault:
        return fault
    return None


def parse_reply_head(raw: bytes, method: bytes, header_count: int = 1000) -> ReplyHead:
    """
    Read a complete reply head.

    Args:
        raw: from the status line to the empty line, both included.
        method: of the request it answers: HEAD has no body.
        header_count: most field lines taken.

    Raises:
        OriginFault: ``http_protocol_error`` not well formed, ``http_response_transfer_coding``,
            ``http_response_header_section_size`` too many.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        shown = raw[: raw.find(b"\r\n")][:80]
        raise OriginFault(f"status line {shown!r}", word="http_protocol_error")
    minor, code, reason = line.groups()
    start = line.end()
    if not is_well_formed(raw, start, len(raw) - 2):
        raise OriginFault(first_fault(raw, start, len(raw) - 2), word="http_protocol_error")
    if code == b"101":
        fields = split(raw[start:-2])  # llhttp pauses at these, and calls it an error if a field it expects is missing
    else:
        collector = _Collector()
        try:
            HttpResponseParser(collector).feed_data(raw)
        except HttpParserError as error:
            raise OriginFault(f"llhttp: {error}", word="http_protocol_error") from error
        fields = collector.fields
    if len(fields) > header_count:
        raise OriginFault(f"{len(fields)} field lines", word="http_response_header_section_size")
    said = index(fields)
    version, status = (10 if minor == b"0" else 11), int(code)
    framing, length = reply_framing(said, version, status, method)
    connection = said.get(b"connection")
    options = _NO_OPTIONS if connection is None else _options(connection)
    for name in _TAKEN_FROM_REPLY:
        said.pop(name, None)
    return ReplyHead(
        status,
        [entry for entry in fields if entry[0] not in _TAKEN_FROM_REPLY],
        reason or b"",
        version,
        framing,
        length,
        b"close" not in options and (version > 10 or b"keep-alive" in options),
        said,
    )
