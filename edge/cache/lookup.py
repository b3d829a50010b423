"""
May a copy answer this request, and if not, what must be asked?

One question, one answer of five kinds: :class:`Hit`, :class:`Stale` (a copy is there but the origin must be asked, or may
be asked meanwhile), :class:`Miss`, :class:`Bypass`, :class:`Unmet` (the client wanted a copy or nothing). Each carries the
word that RFC 9211 has for it. Ranges and conditions of the client are not weighed here: a copy that may be used may be cut
and compared afterwards.

Pure: request, copies, now. Never raises, and changes nothing.
Source: RFC 9111 §4, §5.2.1; RFC 5861; RFC 9211 §2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge.cache.ask import Bypassed

if TYPE_CHECKING:
    from edge.cache.ask import Ask
    from edge.cache.copy import Copy


class Fwd(Enum):
    """Why a request goes to the origin: RFC 9211 §2.2's tokens."""

    __hash__ = object.__hash__  # as Unstored's

    BYPASS = "bypass"  # it is none of the cache's business
    METHOD = "method"  # its method's semantics require it
    URI_MISS = "uri-miss"  # nothing is stored for this address
    VARY_MISS = "vary-miss"  # something is, but for other selecting fields
    MISS = "miss"  # there was something, and it was gone before it could be read
    REQUEST = "request"  # a fresh copy is there, and the request does not want it
    STALE = "stale"  # a copy is there, and is not fresh
    PARTIAL = "partial"  # a copy is there, but not the part that was asked for


class Why(Enum):
    """Why a copy that matches may not simply be used."""

    EXPIRED = "expired"  # its lifetime is over
    NO_CACHE = "no-cache"  # the origin wants to be asked each time
    AHEAD = "ahead"  # it is from the future: the clock has been set back, and nobody knows how old it is
    INVALIDATED = "invalidated"  # an unsafe method changed what it stands for
    REQUEST_NO_CACHE = "request-no-cache"  # the client wants the origin to be asked
    REQUEST_MAX_AGE = "request-max-age"  # older than the client likes
    REQUEST_MIN_FRESH = "request-min-fresh"  # not fresh for as long as the client likes


AHEAD_S: Final = 10.0
"""By so much a copy may be ahead of the clock, which is slewed and read by several processes, before its age is nobody's guess."""

ERROR_STATUSES: Final = frozenset({500, 502, 503, 504})
"""What counts as the origin's failure for stale-if-error (RFC 5861 §4)."""


@dataclass(slots=True)
class Hit:
    """
    *copy* answers.

    Attributes:
        copy: to be sent.
        age: seconds, now.
        ttl: seconds of freshness left; negative if the client allowed a stale one (RFC 9211 §2.4).
    """

    copy: Copy
    age: float
    ttl: float


@dataclass(slots=True)
class Stale:
    """
    *copy* matches, and the origin has a word in it.

    Attributes:
        copy: to be validated.
        age, ttl: as in :class:`Hit`.
        fwd: STALE or REQUEST.
        why: the reason behind it.
        while_revalidate: it may be sent at once, if a refresh is under way or started (RFC 5861 §3).
        on_error: it may be sent if the origin answers with one of ERROR_STATUSES (RFC 5861 §4).
        on_disconnect: it may be sent if the origin cannot be reached, or breaks off before its head (RFC 9111 §4.2.4).
    """

    copy: Copy
    age: float
    ttl: float
    fwd: Fwd
    why: Why
    while_revalidate: bool
    on_error: bool
    on_disconnect: bool


@dataclass(slots=True)
class Miss:
    """
    No copy matches.

    Attributes:
        fwd: URI_MISS or VARY_MISS (the exchange may use MISS for a body that was gone).
        others: with VARY_MISS, the copies for other selecting fields: their tags may save the body (RFC 9111 §4.1).
    """

    fwd: Fwd
    others: list[Copy]


@dataclass(slots=True, frozen=True)
class Bypass:
    """The cache is not asked, and nothing will be stored."""

    reason: Bypassed

    @property
    def fwd(self) -> Fwd:
        """RFC 9211's word for it."""
        return Fwd.METHOD if self.reason is Bypassed.METHOD else Fwd.BYPASS


@dataclass(slots=True)
class Unmet:
    """The request said only-if-cached, and nothing may be used: 504 (RFC 9111 §5.2.1.7). *instead* says what it is otherwise."""

    instead: Stale | Miss


Found = Hit | Stale | Miss | Bypass | Unmet

_URI_MISS: Final = Miss(Fwd.URI_MISS, [])
_BYPASS: Final = {reason: Bypass(reason) for reason in Bypassed}


def lookup(ask: Ask, copies: list[Copy], now_wall: float) -> Found:
    """
    Find what answers *ask*.

    Args:
        ask: the request.
        copies: all that is stored for its key, in any order.
        now_wall: seconds.

    Raises:
        Nothing.

    Cost: about 1 µs for one copy that is fresh.
    """
    if ask.bypass is not None:
        return _BYPASS[ask.bypass]
    if not copies:
        missed = _URI_MISS
    else:
        copy = select(ask, copies)
        if copy is not None:
            found = weigh(ask, copy, now_wall)
            if type(found) is Stale and ask.cc.only_if_cached:
                return Unmet(found)
            return found
        missed = Miss(Fwd.VARY_MISS, copies)
    return Unmet(missed) if ask.cc.only_if_cached else missed


def select(ask: Ask, copies: list[Copy]) -> Copy | None:
    """
    Return the most recent copy that was made for a request like this one.

    A copy without ``Vary`` is passed over when a more recent one has it: the origin forgot to say it for its default
    (RFC 9111 §4.1).
    """
    if len(copies) == 1:
        copy = copies[0]
        return copy if not copy.vary or _matches(ask, copy) else None
    chosen: Copy | None = None
    varied = float("-inf")
    for copy in copies:
        if copy.vary:
            varied = max(varied, copy.date_wall)
            if not _matches(ask, copy):
                continue
        if chosen is None or (copy.date_wall, copy.response_wall) > (chosen.date_wall, chosen.response_wall):
            chosen = copy
    if chosen is None or chosen.vary or chosen.date_wall >= varied:
        return chosen
    # The chosen one has no Vary and something newer has: only a copy with Vary may be taken.
    return select(ask, named) if (named := [copy for copy in copies if copy.vary]) else None


def _matches(ask: Ask, copy: Copy) -> bool:
    selecting = ask.selecting
    for name, value in copy.vary:  # noqa: SIM110 - a generator costs more than the loop, bench/micro/test_lookup.py
        if selecting(name) != value:
            return False
    return True


def weigh(ask: Ask, copy: Copy, now_wall: float) -> Hit | Stale:
    """Decide whether a copy that matches may be used now (RFC 9111 §4, §5.2.1, §5.2.2)."""
    age = now_wall - copy.response_wall
    if age < -AHEAD_S:
        may = not copy.must_revalidate
        return Stale(copy, copy.initial_age, 0.0, Fwd.STALE, Why.AHEAD, False, may, may)
    age = copy.initial_age + age if age > 0.0 else copy.initial_age  # a clock that went back makes nothing younger
    ttl = copy.lifetime_s - age
    cc = ask.cc
    if copy.is_invalid:
        return Stale(copy, age, ttl, Fwd.STALE, Why.INVALIDATED, False, False, False)
    if copy.no_cache:
        return Stale(copy, age, ttl, Fwd.STALE, Why.NO_CACHE, False, False, False)
    if ttl > 0.0:
        if ask.simple:
            return Hit(copy, age, ttl)
        if cc.no_cache:
            return Stale(copy, age, ttl, Fwd.REQUEST, Why.REQUEST_NO_CACHE, False, False, False)
        if cc.min_fresh is not None and ttl < cc.min_fresh:
            return Stale(copy, age, ttl, Fwd.REQUEST, Why.REQUEST_MIN_FRESH, False, True, True)
        if cc.max_age is not None and age > cc.max_age and cc.max_stale is None:
            return Stale(copy, age, ttl, Fwd.REQUEST, Why.REQUEST_MAX_AGE, False, True, True)
        return Hit(copy, age, ttl)
    late = -ttl
    if cc.no_cache:
        return Stale(copy, age, ttl, Fwd.STALE, Why.REQUEST_NO_CACHE, False, False, False)
    is_lenient = not copy.must_revalidate
    # A copy that was never fresh is served late to nobody but by the origin's own leave: by silence or by max-age=0 it meant
    # to be asked each time.
    if (
        is_lenient
        and copy.lifetime_s > 0.0
        and cc.max_stale is not None
        and late <= cc.max_stale
        and cc.min_fresh is None
    ):
        return Hit(copy, age, ttl)
    too_old = cc.max_age is not None and age > cc.max_age and cc.max_stale is None
    on_error = (copy.sie_s is not None and late <= copy.sie_s) or (
        is_lenient and copy.lifetime_s > 0.0 and cc.stale_if_error is not None and late <= cc.stale_if_error
    )
    # Disconnected, however late it is, unless the origin set a limit for failures.
    on_disconnect = on_error or (is_lenient and copy.sie_s is None and copy.lifetime_s > 0.0)
    return Stale(
        copy,
        age,
        ttl,
        Fwd.STALE,
        Why.EXPIRED,
        late <= copy.swr_s and copy.swr_s > 0 and not too_old and cc.min_fresh is None,
        on_error,
        on_disconnect,
    )
