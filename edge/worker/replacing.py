"""
An operator's page in the place of what an origin said about its own failure.

The reply's header stays (what it says to caches, to sign in with, to try again after), but for what spoke of its body. The page
is read like the origin's body would be, so that whoever keeps or passes on a reply needs to know nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.errors import OriginFault
from edge.message.head import Framing, ReplyHead
from edge.worker.origin_exchange import OriginExchange

if TYPE_CHECKING:
    from edge.message.head import Field
    from edge.reply.pages import Page
    from edge.worker.means import Errand

_OF_THE_BODY: Final = frozenset(
    {
        b"accept-ranges", b"content-digest", b"content-disposition", b"content-encoding", b"content-language",
        b"content-location", b"content-md5", b"content-range", b"content-type", b"digest", b"etag", b"last-modified",
        b"repr-digest", b"trailer",
    }
)  # fmt: skip


class Replaced(OriginExchange):
    """
    An exchange, answered, whose reply's body is a page: the same in everything else.

    Args:
        ox: whose place it takes.
        page: empty where there is to be no body.
    """

    def __init__(self, ox: OriginExchange, page: bytes) -> None:
        self.__dict__.update(ox.__dict__)
        self._page = page

    @property
    def trailers(self) -> list[Field]:
        """There are none."""
        return []

    def body_nowait(self) -> bytes | None:
        """Return the page, and then its end."""
        page, self._page = self._page, b""
        if not page:
            self.release()
        return page

    async def body(self) -> bytes:
        """Return the page, and then its end."""
        return self.body_nowait() or b""

    def release(self) -> None:
        """Keep the connection if the origin's body is here to its end; nobody waits for the rest."""
        attempt = self.attempt
        try:
            while attempt.has_link and not attempt.is_ended and attempt.body():
                pass
        except OriginFault:  # what is thrown away may be cut short
            attempt.kill()
        attempt.release()


def replace_by(errand: Errand, page: Page) -> None:
    """Put *page* in the place of the reply's body."""
    reply = errand.reply
    fields = [entry for entry in reply.fields if entry[0] not in _OF_THE_BODY]
    fields.append((b"content-type", page.content_type))
    is_bodiless = reply.framing is Framing.NONE
    errand.reply = ReplyHead(
        reply.status,
        fields,
        reply.reason,
        reply.version,
        Framing.NONE if is_bodiless else Framing.LENGTH,
        len(page.body),
        reply.keep_alive,
    )
    errand.ox = Replaced(errand.ox, b"" if is_bodiless else page.body)
