"""
Which fields a reply carries when it leaves the house.

Decides the fields and nothing else: not whether the reply may be used, not how its body travels. There is one list,
:func:`lasting_fields`, for a copy and for a reply on its way from the origin; a copy adds :func:`passing_fields`, the
two that change with every second. :mod:`edge.reply.prepared` renders exactly these two lists ahead of time.

Invariant: what is returned has end-to-end fields only, no framing, at most one ``date``, ``age``, ``vary`` and
``etag`` of ours, and never a validator or digest that belongs to other bytes than the ones sent.

Source: RFC 9110 §6.6.1 (Date), §7.6 (forwarding), §8.8.3.3 (a coded representation has its own ETag), §12.5.5 (Vary);
RFC 9111 §5.1 (Age), §4.3.4; RFC 9530 (digests).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.message.dates import format_date
from edge.message.head import Field, Framing, ReplyHead, index
from edge.message.headers import end_to_end, tokens
from edge.message.validators import is_etag, variant_etag
from edge.reply import cache_status as status_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Changes = Callable[[list[Field]], list[Field]]
    """What an operator has a route do to the lasting fields, when everything else is done to them."""

IDENTITY = b"identity"
VIA = b"1.1 edge"

_OF_OTHER_BYTES = frozenset(
    {b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges", b"content-encoding"}
)
"""
True of the origin's bytes, not of the ones we made from them (RFC 9530 §2, §3; ranges would cut other bytes; an origin
whose body we code can have said no coding but ``identity``).
"""

_NOT_ON_304 = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"content-range",
        b"content-md5",
        b"digest",
        b"content-digest",
        b"repr-digest",
        b"accept-ranges",
        b"content-disposition",
        b"trailer",
    }
)
"""Metadata of a representation that is not sent (RFC 9110 §15.4.5)."""

BODILESS = frozenset({204, 304})
"""Statuses that end with their head, whatever was asked (and every 1xx)."""


def lasting_fields(
    fields: list[Field],
    *,
    encoding: bytes,
    eligible: bool,
    date_wall: float,
    via: bytes,
    ranges: bool,
) -> list[Field]:
    """
    List every field of a reply that does not change while it is sent again and again.

    Args:
        fields: as the origin sent or the store kept them; hop-by-hop ones may still be there.
        encoding: the content coding *we* put on the body; ``identity`` for the origin's own bytes, coded or not.
        eligible: we would code this reply for a client that asks, so every variant must say ``Vary``.
        date_wall: when it reached us; becomes ``Date`` only if the origin sent none.
        via: our entry.
        ranges: we can cut this body, and say so unless it is coded by us.
    """
    coded = encoding != IDENTITY
    sent: list[Field] = []
    dated = varied = False
    for name, value in end_to_end(fields, index(fields)):
        if name == b"date":
            if dated:
                continue
            dated = True
        elif name == b"vary" and eligible:
            if varied:
                continue
            varied = True
            sent.append((name, _with_accept_encoding(other for key, other in fields if key == b"vary")))
            continue
        elif coded:
            if name in _OF_OTHER_BYTES:
                continue
            if name == b"etag":
                if is_etag(value):  # what is no tag cannot name our variant; no tag is better than a wrong one
                    sent.append((name, variant_etag(value, encoding)))
                continue
        elif ranges and name == b"accept-ranges":
            continue
        sent.append((name, value))
    if not dated:
        sent.append((b"date", format_date(date_wall)))
    if eligible and not varied:
        sent.append((b"vary", b"Accept-Encoding"))
    if coded:
        sent.append((b"content-encoding", encoding))
    elif ranges:
        sent.append((b"accept-ranges", b"bytes"))
    sent.append((b"via", via))
    return sent


def passing_fields(age_s: int, cache_status: bytes) -> list[Field]:
    """List the fields of a copy that are true for one second only. They come last."""
    return [(b"age", b"%d" % age_s), (b"cache-status", cache_status)]


def age_at(now_s: int, age_base_wall: float) -> int:
    """
    Return whole seconds since the copy's age was zero; never negative, though a wall clock may jump back.

    *now_s* is a second already begun, so the rest of it is rounded up: a copy never looks younger than it is by a second.
    """
    return max(0, int(-((age_base_wall - now_s) // 1)))


def ttl_at(now_s: int, fresh_until_wall: float) -> int:
    """Return whole seconds of freshness left, rounded down; negative once stale."""
    return int((fresh_until_wall - now_s) // 1)


def compose_hit(
    status: int,
    fields: list[Field],
    *,
    now_s: int,
    age_base_wall: float,
    fresh_until_wall: float,
    date_wall: float,
    length: int | None,
    encoding: bytes = IDENTITY,
    eligible: bool = False,
    ranges: bool = True,
    to_head: bool = False,
    reason: bytes = b"",
    via: bytes = VIA,
    cache_status: bytes | None = None,
    changes: Changes | None = None,
) -> ReplyHead:
    """
    Make the head that sends a copy: the general path beside :mod:`edge.reply.prepared`, with the same fields.

    Args:
        status: as stored.
        fields: as stored, without framing and without our ``Content-Encoding``.
        now_s: this wall second.
        age_base_wall: the wall second at which the copy's age was zero (may be in the past of its arrival).
        fresh_until_wall: when it becomes stale.
        date_wall: when the reply reached us; becomes ``Date`` if the origin sent none.
        length: of the body that *encoding* names; None while it is still landing and nobody knows.
        encoding: what we coded that body with; ``identity`` for the origin's own bytes.
        eligible: it would be coded for a client that asks, so ``Vary`` must name ``Accept-Encoding``.
        ranges: the body can be cut. Only ever said of a 200.
        to_head: the request was HEAD: ``length`` is said, no body follows.
        reason: as stored; empty for the usual phrase.
        via: our entry.
        cache_status: our member when it is not a plain hit: revalidated just now, collapsed, served for an error.
        changes: what the route does to the header.
    """
    sent = stored_fields(status, fields, encoding, date_wall, via, eligible=eligible, ranges=ranges, changes=changes)
    word = cache_status if cache_status is not None else status_words.hit(ttl_at(now_s, fresh_until_wall))
    sent += passing_fields(age_at(now_s, age_base_wall), word)
    return _framed(status, sent, length, to_head=to_head, reason=reason)


def compose_forwarded(
    reply: ReplyHead,
    *,
    now_wall: float,
    cache_status: bytes,
    encoding: bytes = IDENTITY,
    eligible: bool = False,
    length: int | None = None,
    to_head: bool = False,
    via: bytes = VIA,
    changes: Changes | None = None,
) -> ReplyHead:
    """
    Make the head for a reply that passes from the origin to the client as it arrives.

    Its ``Age``, if a cache stands behind us, stays: nothing here made it younger. Framing follows the origin's,
    except that a body we code has no known length, unless it was coded whole.

    Args:
        reply: from the origin, with its hop-by-hop fields.
        now_wall: becomes ``Date`` if the origin sent none.
        cache_status: our member, whole.
        encoding: what we code its body with; ``identity`` leaves the origin's bytes, coded or not.
        eligible: we would have coded it for another client.
        length: of the coded body, if it was coded whole.
        to_head: the request was HEAD, so the reply's body is absent whatever its head says.
        via: our entry; names the version the origin spoke.
        changes: what the route does to the header.
    """
    sent = lasting_fields(reply.fields, encoding=encoding, eligible=eligible, date_wall=now_wall, via=via, ranges=False)
    if changes is not None:
        sent = changes(sent)
    if reply.status == 304:
        sent = not_modified_fields(sent)  # the variant's ETag, not the coding of a body that is not there
    sent.append((b"cache-status", cache_status))
    if encoding == IDENTITY:
        length = reply.length
    return _framed(reply.status, sent, length, to_head=to_head, reason=reply.reason)


def compose_not_modified(
    fields: list[Field],
    *,
    now_s: int,
    age_base_wall: float,
    fresh_until_wall: float,
    date_wall: float,
    encoding: bytes = IDENTITY,
    eligible: bool = False,
    via: bytes = VIA,
    cache_status: bytes | None = None,
    changes: Changes | None = None,
) -> ReplyHead:
    """Make the 304 that tells a client its own copy still stands. Arguments as for :func:`compose_hit`."""
    sent = not_modified_fields(
        stored_fields(200, fields, encoding, date_wall, via, eligible=eligible, ranges=False, changes=changes)
    )
    word = cache_status if cache_status is not None else status_words.hit(ttl_at(now_s, fresh_until_wall))
    sent += passing_fields(age_at(now_s, age_base_wall), word)
    return ReplyHead(304, sent, framing=Framing.NONE)


def not_modified_fields(sent: list[Field]) -> list[Field]:
    """
    Leave of a full reply's fields what a 304 may carry.

    Everything stays but the metadata of the body that is not sent. ``Last-Modified`` goes too when there is an
    ``ETag`` to name the representation (RFC 9110 §15.4.5). Fields that speak to the browser (CORS, security
    policies) stay, because a cache updates its copy from them.
    """
    tagged = any(name == b"etag" for name, _ in sent)
    return [pair for pair in sent if pair[0] not in _NOT_ON_304 and not (tagged and pair[0] == b"last-modified")]


def stored_fields(
    status: int,
    fields: list[Field],
    encoding: bytes,
    date_wall: float,
    via: bytes,
    *,
    eligible: bool,
    ranges: bool,
    changes: Changes | None = None,
) -> list[Field]:
    """List the lasting fields of a copy: the stored ``Age`` is part of ``age_base_wall`` and must not be said twice."""
    sent = lasting_fields(
        [pair for pair in fields if pair[0] != b"age"],
        encoding=encoding,
        eligible=eligible,
        date_wall=date_wall,
        via=via,
        ranges=ranges and status == 200,
    )
    return sent if changes is None else changes(sent)


def _framed(status: int, sent: list[Field], length: int | None, *, to_head: bool, reason: bytes) -> ReplyHead:
    """Choose the framing: no body for HEAD and bodiless statuses, else the length if known, else chunks."""
    if status in BODILESS or status < 200:
        return ReplyHead(status, sent, reason, framing=Framing.NONE)
    if to_head:
        return ReplyHead(status, sent, reason, framing=Framing.NONE, length=length)
    if length is None:
        return ReplyHead(status, sent, reason, framing=Framing.CHUNKED)
    return ReplyHead(status, sent, reason, framing=Framing.LENGTH, length=length)


def _with_accept_encoding(values: Iterable[bytes]) -> bytes:
    """Join every ``Vary`` line into one that also names ``Accept-Encoding``; ``*`` already covers it."""
    joined = b", ".join(values)
    names = tokens(joined)
    if b"*" in names or b"accept-encoding" in names:
        return joined
    return joined + b", Accept-Encoding" if names else b"Accept-Encoding"
