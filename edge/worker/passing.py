"""
Sending an origin's reply as it arrives, to one client, when nothing of it is kept.

It is coded on the way where that is allowed. What has come leaves before anybody waits for more, so that a slow origin's
lines are not held back; and nothing more is read from the origin while the client owes us room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.cache.ask import Method
from edge.cache.copy import IDENTITY
from edge.compress.padding import is_from_elsewhere, may_mix
from edge.errors import ClientGone
from edge.exchange.send import not_modified
from edge.http.h1.render import reply_head
from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.origin.request import Aim
from edge.reply.cache_status import forwarded
from edge.reply.compose import compose_forwarded
from edge.worker.coding import TOGETHER
from edge.worker.session import Phase

if TYPE_CHECKING:
    from edge.cache.ask import Ask
    from edge.cache.storing import Unstored
    from edge.compress.encoder import Encoder
    from edge.worker.coding import Coders
    from edge.worker.means import Errand, Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange

MOST_WRITTEN: Final = 16
"""Forms in which a reply's head is remembered, one for each route and each reason not to keep it."""


async def pass_on(means: Means, errand: Errand, reason: Unstored) -> None:
    """
    Send the origin's reply as it arrives.

    Args:
        means: of the lane.
        errand: whose reply.
        reason: why it is not kept, for Cache-Status.

    Raises:
        Fault: the client is gone, or the reply was cut.
    """
    x, ox, coders = errand.x, errand.ox, means.coders
    if x.is_given_up:
        raise ClientGone("the client has left")
    eligible, coding, hides = coding_of(means, errand)
    if not open_reply(means, errand, reason, coding, eligible=eligible):
        return
    coder = coders.begin(coding, errand.reply.length, hides=hides)
    if coder is None and not errand.pieces:
        # Most replies are here whole: no scope to enter, one write.
        while data := ox.body_nowait():
            x.send_later(data)
            if x.session.conn.out.pending >= TOGETHER:
                break
        if data == b"":
            x.end(ox.trailers)
            return
    with errand.bound():
        for piece in errand.pieces:
            await coders.send(x, piece, coder)
        await _stream(x, ox, coders, coder)


def pass_whole(means: Means, errand: Errand, reason: Unstored, *, eligible: bool) -> None:
    """Send the origin's reply, whose body is in ``errand.pieces`` to its end and is not coded by us. Never waits."""
    x, reply, ask = errand.x, errand.reply, errand.x.known.ask
    conn = x.session.conn
    if (
        reply.framing is Framing.LENGTH
        and not ask.is_conditional
        and x.dress is None
        and x.known.changes is None
        and not x.collapsed
        and b"date" in reply.index
        and x.session.phase is Phase.OPEN
        and conn.plain
        and (not errand.ox.binds or errand.ox.set_cookie() is None)
    ):
        # A head that was passed on before is passed on as it was: its bytes depend on nothing else.
        key = (id(x.known.way), errand.plan.fwd, reason, eligible, ask.bypass is None)
        memo = reply.memo
        if memo is None:
            memo = reply.memo = {}
        wire = memo.get(key)
        if wire is None:
            head = passed_head(means, errand, reason, IDENTITY, eligible=eligible)
            length = b"content-length: %d\r\n" % (head.length or 0)
            wire = reply_head(head.status, head.reason, head.fields, length)
            if len(memo) < MOST_WRITTEN:
                memo[key] = wire
        body = errand.pieces[0] if len(errand.pieces) == 1 else b"".join(errand.pieces)
        x.status, x.sent_bytes = reply.status, len(body)
        conn.send_whole(x.stream, wire, body)
        x.sent()
        return
    if open_reply(means, errand, reason, IDENTITY, eligible=eligible):
        for piece in errand.pieces:
            x.send_later(piece)
        x.end(errand.ox.trailers)


def coding_of(means: Means, errand: Errand) -> tuple[bool, bytes, bool]:
    """
    Return whether such a reply is coded for clients that ask, how it is for this one, and whether its length is blurred.

    One that may mix a secret with what somebody else put into the request is not coded at all for who comes from elsewhere.
    """
    x, reply, rooms = errand.x, errand.reply, means.rooms
    eligible = rooms.is_coded_head(reply)
    if not eligible or x.known.ask.method is Method.HEAD or reply.framing is Framing.NONE:
        return eligible, IDENTITY, False
    coding = rooms.coding_for(x.known, eligible=True)
    hides = coding != IDENTITY and may_mix(x.known.asked, reply)
    if hides and not rooms.config.compression.cross_site and is_from_elsewhere(x.head):
        return eligible, IDENTITY, False
    return eligible, coding, hides


def passed_head(means: Means, errand: Errand, reason: Unstored, coding: bytes, *, eligible: bool) -> ReplyHead:
    """Make the head that the origin's reply is passed on with."""
    x, reply = errand.x, errand.reply
    ask = x.known.ask
    status = forwarded(
        errand.plan.fwd.value,
        fwd_status=reply.status,
        collapsed=x.collapsed,
        detail=None if ask.bypass is not None else reason.value,
    )
    return compose_forwarded(
        reply,
        now_wall=means.rooms.now_wall,
        cache_status=status,
        encoding=coding,
        eligible=eligible,
        to_head=ask.method is Method.HEAD,
        changes=x.known.changes,
    )


def open_reply(means: Means, errand: Errand, reason: Unstored, coding: bytes, *, eligible: bool) -> bool:
    """Send the reply's head; False if that is all of it."""
    x, ox, reply = errand.x, errand.ox, errand.reply
    ask = x.known.ask
    x.encoding = "" if coding == IDENTITY else coding.decode()
    head = passed_head(means, errand, reason, coding, eligible=eligible)
    if ox.binds and (cookie := ox.set_cookie()) is not None:
        head.fields.append((b"set-cookie", cookie))  # a reply that is kept is everybody's, and has none
    if errand.plan.aim is not Aim.PASS and reply.status == 200 and _is_unchanged(ask, head):
        if reply.framing is Framing.NONE:
            ox.release()
        else:
            ox.kill()
        fields = [pair for pair in head.fields if pair[0] not in {b"content-type", b"content-encoding"}]
        x.reply(ReplyHead(304, fields))
        x.end()
        return False
    x.reply(head)
    if head.framing is Framing.NONE:
        ox.release()
        x.end()
        return False
    return True


async def _stream(x: Exchange, ox: OriginExchange, coders: Coders, coder: Encoder | None) -> None:
    """Send what is still to come of a body as it comes."""
    while True:
        more = ox.body_nowait()
        if more is None:
            if coder is not None:
                x.send(coder.flush())
            x.push()
            more = await ox.body()
        if not more:
            break
        await coders.send(x, more, coder)
    if coder is not None:
        x.send(coder.finish())
    x.end(ox.trailers)


def _is_unchanged(ask: Ask, head: ReplyHead) -> bool:
    """Whether the client's own conditions, which the origin was not told, are met by the reply it gave."""
    if ask.if_none_match is None and ask.if_modified_since is None:
        return False
    return not_modified(ask, head.get(b"etag"), parse_date(head.get(b"last-modified")), None)
