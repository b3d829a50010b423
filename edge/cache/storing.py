"""
May this reply be kept?

Decides that, and makes the :class:`~edge.cache.copy.Copy` of what may; not keeping always has a reason. Does not know
where copies are kept, nor whether there is room. What an operator has ruled for a route (:mod:`~edge.cache.policy`) is read from the request.

Choices where the standards leave one:

- ``Set-Cookie``: kept when the origin gave a lifetime of its own accord, by any field. RFC 9111 §7.3 says the field by
  itself does not inhibit caching, and the cache-tests suite requires it (``headers-store-Set-Cookie``). On a lifetime that
  we would have to guess it is not kept: an origin that forgot both must not hand one visitor's session to the next.
  A lifetime that only a route's rules gave, or lengthened, counts as a guess here.
- Without lifetime *and* validator there is nothing to gain; without lifetime but with a validator the copy is kept and asked
  about each time.
- ``POST``: kept for GET only when RFC 9110 §9.3.3 allows it, with an explicit lifetime and a ``Content-Location`` that is
  the target itself. Not on a route with rules of its own: what these leave out of the key, a POST has said to the origin.
- ``s-maxage`` forbids to serve stale as ``proxy-revalidate`` does, but a ``stale-while-revalidate`` or ``stale-if-error`` that
  stands beside it is an extension that overrides this (RFC 9111 §4), and every CDN reads the pair so. Beside ``must-revalidate``
  or ``proxy-revalidate`` by name it is void: the more restrictive directive counts (§4.2.1).
- Replies that depend on a part of the request that is in no key (its ranges, conditions, body or sheer size) are never kept:
  one client could otherwise make the answer for all.

Invariant: never raises.
Source: RFC 9111 §3, §4.2.2, §7.1; RFC 9110 §9.3.3, §15.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge.cache.ask import Bypassed, Method
from edge.cache.copy import Copy
from edge.cache.freshness import HEURISTIC_STATUSES, Basis, control_of, gmt_date, initial_age, lifetime
from edge.cache.key import resolve
from edge.cache.likeness import is_alike
from edge.cache.vary import STAR, vary_names
from edge.message.claims import METHOD_OVERRIDES
from edge.message.dates import parse_date
from edge.message.head import Framing
from edge.message.headers import end_to_end
from edge.message.validators import is_etag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.cache.ask import Ask
    from edge.message.cache_control import CacheControl
    from edge.message.head import Field, ReplyHead


class Unstored(Enum):
    """Why a reply is not kept. The value is the word in the log, the metric and Cache-Status; the comment its source."""

    __hash__ = (
        object.__hash__
    )  # members are compared by identity, too; Enum hashes the name, in Python, for each lookup

    METHOD = "method"  # RFC 9111 §3: only replies to GET, and the rare POST, are kept
    REQUEST_BODY = "request-body"  # a GET with content: what it said is not in the key
    ROUTE = "route"  # the route's own rules have the request pass the cache by
    MIN_USES = "min-uses"  # it has not been fetched often enough for its route
    REQUEST_NO_STORE = "request-no-store"  # §5.2.1.5
    INTERIM = "interim"  # §3: the status is not final
    PARTIAL = "partial"  # §3.3: 206, and 416, belong to one request's ranges
    NOT_MODIFIED = "not-modified"  # §3: a 304 is not a representation; refresh deals with ours
    REQUEST_SPECIFIC = "request-specific"  # the status speaks of this request's conditions, body or size
    MUST_UNDERSTAND = "must-understand"  # §5.2.2.3: and we don't know the status
    NO_STORE = "no-store"  # §5.2.2.5
    PRIVATE = "private"  # §5.2.2.7
    AUTHORIZATION = "authorization"  # §3.5: and nothing allows a shared cache to keep it
    UNLIKE = "unlike"  # its type is not what the end of its address promises, and its route asks for that
    VARY_STAR = "vary-star"  # §4.1: it would never match again
    STATUS = "status"  # §3, §4.2.2: no lifetime given, and none may be guessed for this status
    SET_COOKIE = "set-cookie"  # no lifetime given, and it sets a cookie: see above
    NO_FRESHNESS = "no-freshness"  # §3: neither lifetime nor validator: nothing to gain
    ALREADY_STALE = "already-stale"  # its lifetime is over, and it has no validator to ask with
    TOO_LARGE = "too-large"  # longer than max_object, as announced or as it came
    TRUNCATED = "truncated"  # §3.3: it ended before its length, or its origin died
    CLIENT_LEFT = "client-left"  # the fetch was given up because nobody waited for it any more
    PURGED = "purged"  # it was fetched before a purge or invalidation that came while it was under way
    SUPERSEDED = "superseded"  # what was asked for later was stored already
    STORE_FULL = "store-full"  # no room until the keeper has made some
    STORE_BUSY = "store-busy"  # another fill of the same key is under way, by a living process
    STORE_BROKEN = "store-broken"  # the database is damaged; it is set aside at the next start
    OFF = "off"  # no [cache] path
    IDENTITY = "identity"  # the route admits by who asks, and the origin does not say that the reply is for all of them


FOR_EVERYBODY: Final = frozenset(
    {
        Unstored.MUST_UNDERSTAND,
        Unstored.NO_STORE,
        Unstored.PRIVATE,
        Unstored.IDENTITY,
        Unstored.UNLIKE,
        Unstored.VARY_STAR,
        Unstored.STATUS,
        Unstored.SET_COOKIE,
        Unstored.NO_FRESHNESS,
        Unstored.ALREADY_STALE,
        Unstored.TOO_LARGE,
    }
)
"""
Reasons that lie in the reply alone: the next client's will most likely be the same. The others lie in one request (its method,
its directives, its credentials) or in the moment, and must not keep a key from being shared: else any client could.
"""


NUMBER: Final = {reason: number for number, reason in enumerate(Unstored, 1)}
"""A number for each reason, where there is no room for a word."""


@dataclass(slots=True, frozen=True)
class NotStored:
    """A reply that is not kept. Compare ``reason``."""

    reason: Unstored


_NOT: Final = {reason: NotStored(reason) for reason in Unstored}


def not_stored(reason: Unstored) -> NotStored:
    """Return the one value for *reason*."""
    return _NOT[reason]


_PASSED: Final = {
    Bypassed.METHOD: Unstored.METHOD,
    Bypassed.UPGRADE: Unstored.METHOD,
    Bypassed.REQUEST_BODY: Unstored.REQUEST_BODY,
}

UNDERSTOOD: Final = frozenset(
    {200, 201, 202, 203, 204, 205, 207, 208, 226}
    | {300, 301, 302, 303, 305, 307, 308}
    | {400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424}
    | {425, 426, 428, 429, 431, 451}
    | {500, 501, 502, 503, 504, 505, 506, 507, 508, 511},
)
"""Registered statuses whose caching needs nothing special; not 206 and 304, which do."""

_AFTER_S: Final = 1e-6
"""What a POST answered is newer than the invalidation that its success brought about."""

_REQUEST_SPECIFIC: Final = frozenset({412, 413, 417, 421, 425, 426, 428, 431})
"""Preconditions, content, expectations, connections and size of one request: none of them is in a key."""


def may_store(
    ask: Ask,
    reply: ReplyHead,
    *,
    request_wall: float,
    response_wall: float,
    max_object: int | None = None,
) -> Copy | NotStored:
    """
    Decide whether *reply* may be kept as the answer to *ask*.

    Args:
        ask: what was asked. Conditions and ranges of the client must not have been sent to the origin, or the reply is
            kept for what it is: a 206 and a 304 never.
        reply: the final head.
        request_wall: when the request left.
        response_wall: when this head arrived.
        max_object: bytes; None = any size.

    Returns:
        A copy with neither ids nor bodies, for the store to complete; or the reason why not.

    Raises:
        Nothing.
    """
    index = reply.index
    cc, _ = control_of(index)
    reason = _refusal(ask, reply, cc)
    if reason is not None:
        return _NOT[reason]
    if max_object is not None and reply.framing is Framing.LENGTH and (reply.length or 0) > max_object:
        return _NOT[Unstored.TOO_LARGE]
    names = vary_names(index.get(b"vary"))
    if names is STAR:
        return _NOT[Unstored.VARY_STAR]
    copy = draft(
        ask,
        status=reply.status,
        reason=reply.reason,
        fields=reply.fields,
        index=index,
        names=names,
        request_wall=request_wall,
        response_wall=response_wall,
    )
    if isinstance(copy, Unstored):
        return _NOT[copy]
    if ask.method is not Method.GET and not (copy.is_explicit and _is_its_own_location(ask, reply)):
        return _NOT[Unstored.METHOD]
    if ask.method is not Method.GET:
        copy.request_wall = response_wall + _AFTER_S
    copy.length = reply.length or 0
    return copy


def _refusal(ask: Ask, reply: ReplyHead, cc: CacheControl) -> Unstored | None:
    """Go through RFC 9111 §3 as far as it does not depend on lifetimes."""
    status = reply.status
    if ask.method is not Method.GET and not (ask.name == b"POST" and b"content-location" in reply.index):
        return Unstored.METHOD
    if ask.method is not Method.GET and (ask.policy is not None or ask.bypass is not Bypassed.METHOD):
        return Unstored.METHOD
    if ask.method is not Method.GET and not METHOD_OVERRIDES.isdisjoint(ask.index):
        return Unstored.METHOD  # to whatever method its origin took it for
    if ask.method is Method.GET and ask.bypass is not None:
        return _PASSED.get(ask.bypass, Unstored.ROUTE)
    if ask.cc.no_store:
        return Unstored.REQUEST_NO_STORE
    if status < 200:
        return Unstored.INTERIM
    if status in {206, 416}:
        return Unstored.PARTIAL
    if status == 304:
        return Unstored.NOT_MODIFIED
    if status in _REQUEST_SPECIFIC:
        return Unstored.REQUEST_SPECIFIC
    if cc.must_understand:
        if status not in UNDERSTOOD:
            return Unstored.MUST_UNDERSTAND
    elif cc.no_store:
        return Unstored.NO_STORE
    if cc.private:
        return Unstored.PRIVATE
    if ask.is_authorized and not (cc.public or cc.must_revalidate or cc.s_maxage is not None):
        return Unstored.AUTHORIZATION
    if ask.is_identified and not is_for_all(cc):
        return Unstored.IDENTITY
    return Unstored.UNLIKE if _is_unlike(ask, reply) else None


def _is_unlike(ask: Ask, reply: ReplyHead) -> bool:
    """Whether the route asks that a page is what its address promises, and it is not. An error's page promises nothing."""
    if ask.policy is None or not ask.policy.must_be_alike or not 200 <= reply.status < 300:
        return False
    return not is_alike(ask.target, reply.index.get(b"content-type"))


def is_for_all(cc: CacheControl) -> bool:
    """
    Whether a reply on a route that admits by identity may be kept for all who are admitted.

    Stricter than RFC 9111 §3.5, which also takes ``must-revalidate`` for leave: frameworks add that to every page. An origin that
    was told who asks in a cookie, or by us, does not have Authorization to think of.
    """
    return cc.public or cc.s_maxage is not None


def _is_its_own_location(ask: Ask, reply: ReplyHead) -> bool:
    """RFC 9110 §9.3.3: is what a POST answered the representation of the target itself?"""
    if not 200 <= reply.status < 300:
        return False
    where = resolve(ask.scheme, ask.authority, ask.target, reply.index[b"content-location"])
    return where == (ask.scheme, ask.authority, ask.target)


def draft(
    ask: Ask,
    *,
    status: int,
    reason: bytes,
    fields: list[Field],
    index: Mapping[bytes, bytes],
    names: tuple[bytes, ...],
    request_wall: float,
    response_wall: float,
) -> Copy | Unstored:
    """
    Work out what is kept of a reply that nothing forbids to keep: its lifetime, its age, its validators.

    Also for a head that a 304 has brought up to date. The copy has neither ids nor length nor bodies.

    Returns:
        The reason if there is nothing to gain by keeping it.
    """
    cc, is_targeted = control_of(index)
    given_s, basis = lifetime(index, cc, status, response_wall, is_targeted=is_targeted)
    policy = ask.policy
    lifetime_s, is_ruled = (given_s, False) if policy is None else policy.lifetime(status, given_s, basis)
    strips = policy is not None and policy.strip_cookies
    age = initial_age(index, request_wall, response_wall)
    etag = index.get(b"etag")
    if etag is not None and not is_etag(etag):
        etag = None
    last_modified = index.get(b"last-modified")
    if last_modified is not None and parse_date(last_modified) is None:
        last_modified = None
    if not (basis is Basis.EXPLICIT or is_ruled or status in HEURISTIC_STATUSES or cc.public):
        return Unstored.STATUS
    if b"set-cookie" in index and not strips and (basis is not Basis.EXPLICIT or lifetime_s > given_s):
        return Unstored.SET_COOKIE
    is_strict = cc.must_revalidate or cc.proxy_revalidate or cc.no_cache
    swr_s = None if is_strict else cc.stale_while_revalidate
    sie_s = None if is_strict else cc.stale_if_error
    if policy is not None and not (is_strict or cc.s_maxage is not None):
        swr_s = policy.swr_s if swr_s is None else swr_s
        sie_s = policy.sie_s if sie_s is None else sie_s
    if etag is None and last_modified is None:
        if cc.no_cache or (basis is Basis.NONE and not is_ruled):
            return Unstored.NO_FRESHNESS
        if lifetime_s + max(swr_s or 0, sie_s or 0) <= age:
            return Unstored.ALREADY_STALE
    date = gmt_date(index.get(b"date"))
    return Copy(
        copy_id=0,
        key=ask.key,
        url=ask.url,
        status=status,
        reason=reason,
        fields=kept_fields(
            fields, index, cc.no_cache_fields + cc.private_fields + ((b"set-cookie",) if strips else ())
        ),
        vary=ask.select(names if policy is None else tuple(sorted({*names, *policy.selects}))),
        request_wall=request_wall,
        response_wall=response_wall,
        date_wall=response_wall if date is None else date,
        initial_age=age,
        lifetime_s=lifetime_s,
        is_explicit=basis is Basis.EXPLICIT,
        swr_s=swr_s or 0,
        sie_s=sie_s,
        must_revalidate=is_strict or cc.s_maxage is not None,
        no_cache=cc.no_cache,
        is_invalid=False,
        no_transform=_is_untouchable(index, cc),
        etag=etag,
        last_modified=last_modified,
        length=0,
        bodies={},
        stored_wall=response_wall,
    )


def _is_untouchable(index: Mapping[bytes, bytes], cc: CacheControl) -> bool:
    """``no-transform`` binds every intermediary, so it counts in ``Cache-Control`` even where a targeted field speaks."""
    return cc.no_transform or b"no-transform" in index.get(b"cache-control", b"").lower()


def kept_fields(fields: list[Field], index: Mapping[bytes, bytes], named: Iterable[bytes]) -> list[Field]:
    """
    Return the fields that are stored: end-to-end ones, without ``age`` and without what a directive named.

    Source: RFC 9111 §3.1, §5.2.2.4, §5.2.2.7.
    """
    dropped = {b"age", *named}
    return [entry for entry in end_to_end(fields, dict(index)) if entry[0] not in dropped]
