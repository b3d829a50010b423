"""
What a request looks like on its way to the origin.

Decides which of the client's fields travel on, what we add, and, when the reply is meant for the store, which
questions of this one client (conditions, ranges) are left out. Does not know which server is asked, nor how its bytes are
framed: :attr:`OriginRequest.framing` only repeats what the client's head said.

Invariant: what an origin reads about the client and its way here (``x-forwarded-*``, ``forwarded``, ``via``, and all of
:data:`~edge.message.claims.CLAIMS`) was either written here or by a proxy that the configuration trusts; and nobody has it take another
method for the one that is in the request line but with POST. Names that a CGI-style origin would fold into one of those
(``x_forwarded_for``) count as the same name.

Hot: once per miss. Cost in ``bench/micro/test_origin.py``.
Source: RFC 9110 §7.6 (forwarding; §7.6.2: Max-Forwards), §10.1.1 (Expect), §12.5.3 (Accept-Encoding); RFC 9111 §4.3.1 (validation); RFC 7239.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edge.message.claims import CLAIMS, FORWARDED, METHOD_OVERRIDES
from edge.message.forwards import NAME as MAX_FORWARDS
from edge.message.forwards import forwards_left
from edge.message.head import Field, Framing
from edge.message.headers import HOP_BY_HOP, tokens
from edge.message.validators import ANY, origin_etag, parse_etags

if TYPE_CHECKING:
    from edge.message.head import RequestHead

PSEUDONYM = b"edge"
"""The name we sign ``Via`` with (RFC 9110 §7.6.3)."""

UNKNOWN = b"unknown"
"""Who asks when the peer has no address (a Unix socket): RFC 7239 §6.2's word."""

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
"""RFC 9110 §9.2.2: asking twice means the same as asking once. A method we do not know is not among them."""


class Aim(Enum):
    """What the reply is for."""

    PASS = "pass"  # noqa: S105 - the client alone: its conditions and ranges travel on
    WHOLE = "whole"  # the store: a full reply is asked for, whatever part of it the client wanted
    REFRESH = "refresh"  # a copy that we have: only "is it still the same?" is asked, with the copy's validators


@dataclass(slots=True)
class OriginRequest:
    """
    A request as an origin will get it, but for its framing fields. Read only, once made.

    Attributes:
        authority: what ``host`` will say, unless the origin is configured to get the server's own name.
        fields: names in lower case, end-to-end; and, when ``te`` must be said to this origin, the ``connection`` field
            that goes with it. Without ``host``, ``content-length``, ``transfer-encoding`` and ``upgrade``.
        framing: NONE, LENGTH or CHUNKED; ``length`` is meant with LENGTH only.
        expect_continue: the client holds its body back until it hears 100. The ``expect`` field is not among *fields*:
            whoever carries the body says it to the origin, and passes its 100 on, or answers 100 itself.
        lines: fields that are written out already; they go before *fields*, which are the rest then.
        upgrade: the protocol asked for; 101 makes the connection a tunnel.
        preface: the PROXY header that the connection must have begun with; none: any connection will do.
    """

    method: bytes
    target: bytes
    authority: bytes
    fields: list[Field]
    framing: Framing = Framing.NONE
    length: int = 0
    expect_continue: bool = False
    upgrade: bytes | None = None
    preface: bytes = b""
    lines: bytes = b""


_CONDITIONS = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
_OURS = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-request-id",
        b"via",
        b"forwarded",
        b"expect",
        b"proxy",  # a CGI origin reads it as HTTP_PROXY and sends its own requests there (CVE-2016-5385)
        b"http2-settings",
        # framing never travels as a field, whatever a parser may have left in
        b"host",
        b"content-length",
    }
)
_DROPPED_FROM_POST = HOP_BY_HOP | _OURS
_DROPPED = _DROPPED_FROM_POST | METHOD_OVERRIDES
_DROPPED_FOR_STORE = _DROPPED | _CONDITIONS
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"upgrade", b"Upgrade", b"keep-alive, Upgrade"})
_ANCIENT = 10

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_IPV6_TAIL = b":"


def origin_request(
    head: RequestHead,
    *,
    peer: bytes,
    trusted: bool,
    request_id: bytes,
    aim: Aim = Aim.PASS,
    identity: bool = False,
    encodings: tuple[bytes, ...] = (),
    etag: bytes | None = None,
    last_modified: bytes | None = None,
    method: bytes | None = None,
) -> OriginRequest:
    """
    Build what the origin gets from what the client sent.

    Args:
        head: the client's.
        peer: the address at the other end of the client's connection, without port or brackets; empty if it has none.
        trusted: *peer* is a proxy whose word about its own client we pass on.
        request_id: see :func:`sent_request_id`.
        aim: what the reply is for. With WHOLE and REFRESH there is no body, no condition and no range of the client's.
        identity: we compress ourselves: the origin is asked for identity. It is said, not left out: a request without
            Accept-Encoding takes anything (RFC 9110 §12.5.3).
        encodings: the codings whose variant tags we make; such tags in conditions are turned back into the origin's.
        etag: of the copy to refresh (REFRESH only), as the origin gave it.
        last_modified: of the copy to refresh (REFRESH only), as the origin gave it.
        method: asked instead of the client's: GET where a HEAD shall fill the store.

    Raises:
        Nothing.
    """
    passing = aim is Aim.PASS
    dropped = _DROPPED_FOR_STORE
    if passing:
        dropped = _DROPPED if head.method != b"POST" else _DROPPED_FROM_POST
    found = head.index
    connection = found.get(b"connection")
    if connection is not None and connection not in _PLAIN_CONNECTION:
        dropped = dropped.union(tokens(connection))
    if identity and b"accept-encoding" in found:
        dropped = dropped | {b"accept-encoding"}

    fields: list[Field] = []
    for entry in head.fields:
        name = entry[0]
        if name in dropped:
            continue
        if b"_" in name:
            if is_claim(name):  # not even from a trusted proxy: which of the two spellings would the origin believe?
                continue
        elif not trusted and (name.startswith(FORWARDED) or name in CLAIMS):
            continue
        fields.append(entry)

    if passing:
        if encodings and (b"if-none-match" in found or b"if-match" in found or b"if-range" in found):
            fields = _with_origin_tags(fields, encodings)
    elif aim is Aim.REFRESH:
        if etag is not None:
            fields.append((b"if-none-match", etag))
        if last_modified is not None:
            fields.append((b"if-modified-since", last_modified))

    if MAX_FORWARDS in found and (left := forwards_left(head)) is not None:
        fields = [entry for entry in fields if entry[0] != MAX_FORWARDS]
        fields.append((MAX_FORWARDS, b"%d" % max(0, left - 1)))

    if identity:
        fields.append((b"accept-encoding", b"identity"))
    _add_provenance(fields, head, peer or UNKNOWN, trusted=trusted)
    fields.append((b"x-request-id", request_id))

    if b"te" in found and b"trailers" in tokens(found[b"te"]):
        # we pass trailers on, so we may say so for the client; te ends with each connection (RFC 9110 §10.1.4)
        fields.append((b"te", b"trailers"))
        fields.append((b"connection", b"te"))

    framing = head.framing if passing else Framing.NONE
    return OriginRequest(
        method or head.method,
        head.target,
        head.authority,
        fields,
        framing,
        head.length if framing is Framing.LENGTH else 0,
        head.expect_continue and framing is not Framing.NONE,
        head.upgrade if passing else None,
    )


class Said:
    """
    What one client connection had said to an origin last, but for the target and the request's id.

    Most clients send the same fields with every request; then all of them are known, written out, from the last time. It
    holds for one connection: the peer, whom it trusts and by which scheme it came are the same for all its requests.
    """

    __slots__ = ("_aim", "_authority", "_fields", "_lines")

    def __init__(self, head: RequestHead, aim: Aim, lines: bytes) -> None:
        """
        Remember it.

        Args:
            head: what the client sent.
            aim: what the reply was for.
            lines: what the origin was sent, without the line of ``x-request-id``.
        """
        self._fields = head.fields
        self._authority = head.authority
        self._aim = aim
        self._lines = lines

    def again(self, head: RequestHead, aim: Aim, request_id: bytes) -> OriginRequest | None:
        """Build what :func:`origin_request` would; None: something else is said this time. Cost: 0.6 µs."""
        if head.fields is not self._fields or aim is not self._aim or head.authority != self._authority:
            return None
        return OriginRequest(
            head.method, head.target, head.authority, [], lines=b"%bx-request-id: %b\r\n" % (self._lines, request_id)
        )


def may_be_said_again(head: RequestHead, aim: Aim, *, trusted: bool) -> bool:
    """Return whether what an origin is told for *head* depends on its fields and the connection alone."""
    return (
        not trusted
        and aim is not Aim.REFRESH
        and head.framing is Framing.NONE
        and head.upgrade is None
        and b"te" not in head.index
        and head.version == 11
    )


def is_claim(name: bytes) -> bool:
    """
    Return whether an origin would read *name* as a proxy's word about the client, as another method, or as framing.

    Args:
        name: in lower case. ``_`` counts as ``-``: CGI and WSGI cannot tell them apart.
    """
    name = name.replace(b"_", b"-")
    return name.startswith(FORWARDED) or name in CLAIMS or name in _DROPPED


def sent_request_id(head: RequestHead, *, trusted: bool) -> bytes | None:
    """Return the request's id if a trusted proxy gave it a printable one of at most 128 bytes, else None: make one."""
    sent = head.index.get(b"x-request-id")
    if trusted and sent is not None and _REQUEST_ID.fullmatch(sent):
        return sent
    return None


_NEVER_BEHIND = _CONDITIONS | {
    # authentication, modifiers, response control and content format (RFC 9110 §6.5.1)
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expires",
    b"max-forwards",
    b"pragma",
    b"set-cookie",
}


def sent_trailers(trailers: list[Field]) -> list[Field]:
    """
    Return which of a client's trailers are passed on: not those that an origin would have to know before the body.

    One that folds trailers into the head would otherwise believe there what was taken off the head, or never in it.
    """
    return [entry for entry in trailers if not is_claim(entry[0]) and entry[0].replace(b"_", b"-") not in _NEVER_BEHIND]


def own_hops(head: RequestHead) -> int:
    """
    Count how often the request has already passed an edge.

    More than a few mean that a route leads back to us (RFC 9110 §7.6.3); one or two are an edge before an edge.
    """
    via = head.index.get(b"via")
    if via is None or PSEUDONYM not in via:
        return 0
    return sum(1 for hop in via.split(b",") if hop.split()[1:2] == [PSEUDONYM])


def _add_provenance(fields: list[Field], head: RequestHead, peer: bytes, *, trusted: bool) -> None:
    """Append who asks, how and for which host; a trusted proxy's word stands and is continued."""
    found = head.index
    chain, proto, host = peer, head.scheme, head.authority
    if trusted:
        before = found.get(b"x-forwarded-for")
        if before:
            chain = before + b", " + peer
        said = found.get(b"x-forwarded-proto", b"").lower()
        if said in {b"http", b"https"}:
            proto = said
        host = found.get(b"x-forwarded-host") or host
        forwarded = found.get(b"forwarded")
        if forwarded:
            fields.append((b"forwarded", b"%b, for=%b" % (forwarded, _node(peer))))
    fields.append((b"x-forwarded-for", chain))
    fields.append((b"x-forwarded-proto", proto))
    if host:
        fields.append((b"x-forwarded-host", host))
    via = found.get(b"via")
    ours = b"1.0 edge" if head.version == _ANCIENT else b"2.0 edge" if head.version == 20 else b"1.1 edge"
    fields.append((b"via", via + b", " + ours if via else ours))


def _node(peer: bytes) -> bytes:
    """Write an address as RFC 7239 §6 wants it: IPv6 in brackets and quotes."""
    return b'"[%b]"' % peer if _IPV6_TAIL in peer else peer


def _with_origin_tags(fields: list[Field], encodings: tuple[bytes, ...]) -> list[Field]:
    """
    Turn the tags of our own variants back into the origin's.

    If-Range is different: it promises that the client's part is of the very bytes the origin would send, and a variant's
    are not. So the range goes, and the client gets the whole (RFC 9110 §13.1.5).
    """
    turned: list[Field] = []
    ranged = True
    for name, value in fields:
        if name in {b"if-none-match", b"if-match"}:
            tags = parse_etags(value)
            if tags is not ANY and tags:
                value = b", ".join([origin_etag(tag, encodings) for tag in tags])
        elif name == b"if-range" and origin_etag(value, encodings) != value:
            ranged = False
        turned.append((name, value))
    if not ranged:
        turned = [entry for entry in turned if entry[0] not in {b"range", b"if-range"}]
    return turned
