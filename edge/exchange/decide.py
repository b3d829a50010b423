"""
What to do with a request, given what the cache has: the journey's one crossing.

Pure: what a request says and what was found → a decision. It does not look anything up, and does not carry anything out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.ask import Method
from edge.cache.lookup import Fwd, Miss, Stale
from edge.cache.spans import first_ask
from edge.exchange.decision import Answer, Decision, Fetch, Tunnel
from edge.exchange.recognise import Known, is_tunnel
from edge.exchange.wording import refuse
from edge.message.ranges import first_span
from edge.origin.request import Aim
from edge.reply.cache_status import forwarded

if TYPE_CHECKING:
    from edge.cache.spans import Span


def without_cache(known: Known) -> Decision | None:
    """
    Decide what needs no look into the cache, or return None.

    Conditions on the origin's state (If-Match, If-Unmodified-Since) are the origin's to weigh: RFC 9111 §4.3.2.
    """
    ask = known.ask
    if ask.bypass is not None:
        if is_tunnel(known.head):
            return Tunnel()
        return Fetch(Aim.PASS, Fwd.METHOD if ask.method not in {Method.GET, Method.HEAD} else Fwd.BYPASS)
    if ask.if_match is not None or ask.if_unmodified_since is not None:
        return Fetch(Aim.PASS, Fwd.REQUEST)
    return None


def fetch_for(known: Known, found: Stale | Miss, slice_bytes: int = 0) -> Fetch:
    """
    Say how the origin is asked when no copy can answer.

    A GET is asked for whole, so that the reply can be kept. Where a range is wanted, whole slices around it are asked for: a body that
    is no longer than that comes whole all the same, and one that is longer need not come before what is wanted of it. A
    HEAD is passed on as it is, since its reply can only confirm a copy.

    Args:
        known: the request.
        found: what the cache has.
        slice_bytes: of a body of unknown length; 0: nothing is kept in parts.
    """
    ask = known.ask
    if ask.method is Method.HEAD:
        return Fetch(Aim.PASS, found.fwd, stale=found if type(found) is Stale else None)
    if ask.cc.no_store:
        return Fetch(Aim.PASS, found.fwd)
    if isinstance(found, Stale):
        copy = found.copy
        has_validator = copy.etag is not None or copy.last_modified is not None
        aim = Aim.REFRESH if has_validator else Aim.WHOLE
        return Fetch(aim, found.fwd, stale=found, shared=True, part=_part(known, slice_bytes))
    if not found.others:
        return Fetch(
            Aim.WHOLE, found.fwd, shared=True, part=_part(known, slice_bytes) if ask.range is not None else None
        )
    others = tuple(copy for copy in found.others if copy.etag is not None)
    if ask.policy is not None and ask.policy.selects:
        # It is the operator who tells them apart: an origin that does not may give all of them one tag.
        others = ()
    aim = Aim.REFRESH if others else Aim.WHOLE
    return Fetch(aim, found.fwd, others=others, shared=True, part=_part(known, slice_bytes))


def _part(known: Known, slice_bytes: int) -> Span | None:
    """Return which bytes to ask for, where a range is wanted and its route keeps parts."""
    ask = known.ask
    if ask.range is None or not slice_bytes or (ask.policy is not None and not ask.policy.keeps_parts):
        return None
    span = first_span(ask.range)
    return None if span is None else first_ask(*span, slice_bytes)


def unmet(known: Known, now_wall: float) -> Answer:
    """Tell a client that wanted a copy or nothing that there is none (RFC 9111 §5.2.1.7)."""
    status = forwarded("request", detail="only-if-cached")
    answer = refuse(known, 504, now_wall, extra=((b"cache-status", status),))
    answer.outcome = "request"
    return answer
