"""
Codings as the lanes use them: at the configured levels, and off the loop when they would hold it up.

Decides which thread does the work. What a coding is and how heavy lies in :mod:`edge.compress`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from edge.cache.copy import IDENTITY
from edge.compress.encoder import compress_whole, encoder, is_heavy
from edge.compress.padding import Padded
from edge.worker.session import HIGH, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.compress.encoder import Encoder
    from edge.worker.session import Exchange


TOGETHER: Final = 64 * 1024
"""Parts are gathered up to here and leave together: a reply that is here whole needs one write, not three."""


class Coders:
    """
    Who makes codings.

    Args:
        levels: how hard each is tried.
        padding: by how many bytes the length of what may hold a secret is blurred; 0: by none.
    """

    __slots__ = ("_levels", "_padding")

    def __init__(self, levels: Mapping[bytes, int], padding: int = 0) -> None:
        self._levels = levels
        self._padding = padding

    def begin(self, coding: bytes, length: int | None, *, hides: bool = False) -> Encoder | None:
        """Begin to code a body of this length, None if it is not known; nobody is needed for identity. *hides*: its length."""
        if coding == IDENTITY:
            return None
        made = encoder(coding, self._levels[coding], length)
        return Padded(made, coding, self._padding) if hides and self._padding else made

    async def whole(self, coding: bytes, body: bytes) -> bytes:
        """Code a whole body."""
        level = self._levels[coding]
        if is_heavy(coding, level, len(body)):
            return await trio.to_thread.run_sync(compress_whole, coding, body, level)
        return compress_whole(coding, body, level)

    async def send(self, x: Exchange, data: bytes, coder: Encoder | None) -> None:
        """
        Send a part of a body in ``x.encoding``, and wait for room.

        What is sent leaves with the next part, with the end, or with ``x.push()``: do that before waiting for more.
        """
        if coder is not None:
            coding = x.encoding.encode()
            if is_heavy(coding, self._levels[coding], len(data)):
                data = await trio.to_thread.run_sync(coder.feed, data)
            else:
                data = coder.feed(data)
        if data:
            x.send_later(data)
        if x.session.phase is not Phase.OPEN or x.session.conn.out.pending >= TOGETHER:
            x.push()
            if x.session.phase is not Phase.OPEN or x.session.conn.out.pending > HIGH:
                await x.room()
