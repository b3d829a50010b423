"""
What the loop listens to: the inbox and every channel.

It only waits. A channel is taken out before it is closed, since its descriptor's number will soon be another's.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.master.signals import Inbox
    from edge.share.channel import Channel


class Watch:
    """Everything that can wake the loop."""

    def __init__(self, inbox: Inbox) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(inbox, selectors.EVENT_READ)
        self._events: dict[Channel, int] = {}

    def add(self, channel: Channel) -> None:
        """Listen to *channel*."""
        self._events[channel] = selectors.EVENT_READ
        self._selector.register(channel, selectors.EVENT_READ)

    def remove(self, channel: Channel) -> None:
        """Listen to *channel* no more; twice is harmless."""
        if self._events.pop(channel, None) is not None:
            self._selector.unregister(channel)

    def wait(self, seconds: float) -> list[object]:
        """Sleep until something can be heard, at most *seconds*; return what it is. Words that wait for room are sent."""
        for channel, before in self._events.items():
            channel.flush()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.wants_write else 0)
            if events != before:
                self._selector.modify(channel, events)
                self._events[channel] = events
        return [key.fileobj for key, _ in self._selector.select(seconds)]

    def close(self) -> None:
        """Listen to nothing any more."""
        self._selector.close()
