"""
A question to an origin: what it is told, how long it has, and how often it is asked.

One place for all who ask: for a miss, for a tunnel, for what is missing of a copy in part.
"""

from __future__ import annotations

import random
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from edge.cache.refresh import conditions
from edge.errors import OriginFault
from edge.http.h1.render import field_lines
from edge.message.trace import continued, go_on
from edge.origin.request import Aim, OriginRequest, Said, may_be_said_again, origin_request, sent_request_id
from edge.worker.introducing import address_of, introduction, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge.cache.copy import Copy
    from edge.exchange.decision import Fetch
    from edge.message.head import RequestHead
    from edge.message.trace import Context
    from edge.worker.means import Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange


def put(means: Means, x: Exchange, request: OriginRequest) -> OriginExchange:
    """Put *request* to the origin of *x*, within its route's deadlines and rules for retries. Nothing is sent yet."""
    origin, route, way = x.known.origin, x.known.route, x.known.way
    assert origin is not None
    assert route is not None
    ox = means.origins.exchange(origin.name, request, address_of(means, x), x.interim, route.retry)
    ox.heard = x.known.head.fields
    if way is not None and way.timeouts is not None:
        ox.limit(way.timeouts.first_byte_s, way.timeouts.between_bytes_s)
    return ox


@contextmanager
def within(total_s: float) -> Iterator[None]:
    """
    Give the block so long.

    Raises:
        OriginFault: it took longer.
    """
    with trio.move_on_after(total_s) as scope:
        yield
    if scope.cancelled_caught:
        raise OriginFault(f"not done within {total_s:g}s", word="http_response_timeout", reply=504)


def compose(means: Means, x: Exchange, plan: Fetch) -> OriginRequest:
    """Say to the origin what it is to know."""
    head = x.known.asked
    peer = x.session.peer if x.is_attended else ""
    trusted = means.rooms.trusted.trusts(peer)
    context = None
    if means.rooms.config.trace.enabled:
        context = _place(means, head)
    x.request_id = _request_id(means, head, context, trusted=trusted)
    way = x.known.way
    changes = None if way is None else way.request_changes
    may_repeat = (
        x.is_attended and changes is None and context is None and may_be_said_again(head, plan.aim, trusted=trusted)
    )
    request = None
    if may_repeat and x.session.said is not None:
        request = x.session.said.again(head, plan.aim, x.request_id)
    if request is None:
        request = _compose(means, x, plan, peer.encode(), trusted=trusted)
        if context is not None:
            request.fields = continued(request.fields, context)
        if changes is not None:
            request.fields = changes.apply(request.fields, told(means, x))
        if may_repeat:
            lines = field_lines([entry for entry in request.fields if entry[0] != b"x-request-id"])
            x.session.said = Said(head, plan.aim, lines)
    origin = x.known.origin
    if origin is not None and origin.proxy_protocol is not None:
        request.preface = introduction(means, x, int(origin.proxy_protocol[1]))
    if plan.part is not None:
        request.fields.append((b"range", b"bytes=%d-%d" % (plan.part[0], plan.part[1] - 1)))
    if request.expect_continue:
        request.fields.append((b"expect", b"100-continue"))  # the origin decides, as RFC 9110 §10.1.1 wants it
    return request


def namer(means: Means) -> Callable[[RequestHead, str], bytes] | None:
    """
    Return what gives an id to a request that no origin was told of: by its head, as its client sent it, and the peer's address.

    None without tracing: who follows no traces has such requests logged without one.
    """
    if not means.rooms.config.trace.enabled:
        return None

    def name(head: RequestHead, peer: str) -> bytes:
        return _request_id(means, head, _place(means, head), trusted=means.rooms.trusted.trusts(peer))

    return name


def _request_id(means: Means, head: RequestHead, context: Context | None, *, trusted: bool) -> bytes:
    """Return the id that a trusted proxy gave a request, else its place in its trace, else a number of this worker's."""
    return sent_request_id(head, trusted=trusted) or (means.next_id() if context is None else b"%b-%b" % context[:2])


def _place(means: Means, head: RequestHead) -> Context:
    """Say where we are in the trace that a request is part of, or in one that it begins."""
    sample = means.rooms.config.trace.sample
    sampled = sample > 0 and random.random() < sample
    return go_on(head.get(b"traceparent"), secrets.token_bytes(24), sampled=sampled)


def _compose(means: Means, x: Exchange, plan: Fetch, peer: bytes, *, trusted: bool) -> OriginRequest:
    etag = modified = None
    if plan.aim is Aim.REFRESH:
        for name, value in conditions(candidates(plan)):
            if name == b"if-none-match":
                etag = value
            else:
                modified = value
    return origin_request(
        x.known.asked,
        peer=peer,
        trusted=trusted,
        request_id=x.request_id,
        aim=plan.aim,
        identity=bool(means.codings),
        encodings=means.codings,
        etag=etag,
        last_modified=modified,
    )


def candidates(plan: Fetch) -> Sequence[Copy]:
    """The copies that a REFRESH asks about."""
    return plan.others if plan.stale is None else [plan.stale.copy]
