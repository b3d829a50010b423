"""
Sending an origin's reply as it arrives, to one client, when nothing of it is kept.

It is coded on the way where that is allowed. What has come leaves before anybody waits for more, so that a slow origin's
lines are not held back; and nothing more is read from the origin while the client owes us room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.ask import Method
from edge.cache.copy import IDENTITY
from edge.compress.padding import is_from_elsewhere, may_mix
from edge.errors import ClientGone
from edge.exchange.send import not_modified
from edge.message.dates import parse_date
from edge.message.head import Framing, ReplyHead
from edge.origin.request import Aim
from edge.reply.cache_status import forwarded
from edge.reply.compose import compose_forwarded
from edge.worker.coding import TOGETHER

if TYPE_CHECKING:
    from edge.cache.ask import Ask
    from edge.cache.storing import Unstored
    from edge.compress.encoder import Encoder
    from edge.worker.coding import Coders
    from edge.worker.means import Errand, Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange


async def pass_on(means: Means, errand: Errand, reason: Unstored, pieces: list[bytes] | None = None) -> None:
    """
    Send the origin's reply as it arrives.

    Args:
        means: of the lane.
        errand: whose reply.
        reason: why it is not kept, for Cache-Status.
        pieces: of its body that have been read already.

    Raises:
        Fault: the client is gone, or the reply was cut.
    """
    if errand.x.is_given_up:
        raise ClientGone("the client has left")
    rooms, coders = means.rooms, means.coders
    x, ox, reply = errand.x, errand.ox, errand.reply
    ask = x.known.ask
    to_head = ask.method is Method.HEAD
    eligible = rooms.is_coded_head(reply)
    coding = IDENTITY
    if eligible and not to_head and reply.framing is not Framing.NONE:
        coding = rooms.coding_for(x.known, eligible=True)
    hides = coding != IDENTITY and may_mix(x.known.asked, reply)
    if hides and not rooms.config.compression.cross_site and is_from_elsewhere(x.head):
        coding = IDENTITY
    x.encoding = "" if coding == IDENTITY else coding.decode()
    status = forwarded(
        errand.plan.fwd.value,
        fwd_status=reply.status,
        collapsed=x.collapsed,
        detail=None if ask.bypass is not None else reason.value,
    )
    head = compose_forwarded(
        reply,
        now_wall=rooms.now_wall,
        cache_status=status,
        encoding=coding,
        eligible=eligible,
        to_head=to_head,
    )
    if errand.plan.aim is not Aim.PASS and reply.status == 200 and _is_unchanged(ask, head):
        if reply.framing is Framing.NONE:
            ox.release()
        else:
            ox.kill()
        fields = [pair for pair in head.fields if pair[0] not in {b"content-type", b"content-encoding"}]
        x.reply(ReplyHead(304, fields))
        x.end()
        return
    x.reply(head)
    if head.framing is Framing.NONE:
        ox.release()
        x.end()
        return
    coder = coders.begin(coding, reply.length, hides=hides)
    if coder is None and not pieces:
        # Most replies are here whole: no scope to enter, one write.
        while data := ox.body_nowait():
            x.send_later(data)
            if x.session.conn.out.pending >= TOGETHER:
                break
        if data == b"":
            x.end(ox.trailers)
            return
    with errand.bound():
        for piece in pieces or ():
            await coders.send(x, piece, coder)
        await _stream(x, ox, coders, coder)


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
