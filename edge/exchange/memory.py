"""
The hottest copies, ready to send, and what the store said about their keys: one worker's memory.

Two LRUs. *Ready* holds prepared copies by (copy, coding) and is bounded by their bytes; *known* holds decoded copies by
key, bounded by number, so that a request head never seen before finds its copy without the store. Both are believed only
while the key's stamp stands: :mod:`edge.share.stamps`. A prepared copy that is let go is marked, because heads
remember it too (:attr:`edge.exchange.recognise.Known.serve`) and must not keep its bytes in use.

Cost: a lookup is 0.1 µs. An ``OrderedDict`` is what ``cachetools`` builds on; its own layers cost 8 µs where one copy makes room
for another, of the 21 that reading one from the store takes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.exchange.decision import Serve
    from edge.share.recency import Recency

LARGEST: Final = 4
"""One copy may take this fraction (1/4) of the memory, so that one download does not empty it."""

KNOWN_KEYS: Final = 16384
"""Keys whose copies are kept decoded: about 2 KiB each."""

GONE: Final = -1


CHANCES: Final = 8
"""Most copies in use that are passed over to let one go: what makes room is bounded in time."""


class _Ready:
    """
    Prepared copies, bounded by their bytes; lets go of one by marking it, and counts its uses.

    A hit goes by what its head remembers and touches nothing here but ``uses``. So the order is put right by those: of all once a
    second, and of the one that would be let go when its turn comes. Without that the hottest would leave like any other, and be
    read from the store again.
    """

    __slots__ = ("_serves", "_size", "recency", "used")

    def __init__(self, size: int, recency: Recency | None) -> None:
        self._serves: OrderedDict[tuple[int, bytes], Serve] = OrderedDict()
        self._size = size
        self.used = 0
        self.recency = recency

    def get(self, key: tuple[int, bytes]) -> Serve | None:
        serve = self._serves.get(key)
        if serve is not None:
            self._serves.move_to_end(key)
        return serve

    def keep(self, key: tuple[int, bytes], serve: Serve) -> None:
        old = self._serves.pop(key, None)
        if old is not None:
            self._let_go(old)
        self.used += serve.prepared.size
        while self.used > self._size:
            self._make_room()
        self._serves[key] = serve

    def _make_room(self) -> None:
        for _ in range(CHANCES):
            key, serve = self._serves.popitem(last=False)
            if not serve.uses:
                break
            self._count(serve)
            self._serves[key] = serve
        else:
            _, serve = self._serves.popitem(last=False)
        self._let_go(serve)

    def _let_go(self, serve: Serve) -> None:
        serve.stamp = GONE
        self.used -= serve.prepared.size
        self._count(serve)

    def _count(self, serve: Serve) -> None:
        if serve.uses and self.recency is not None:
            self.recency.count(serve.prepared.copy_id, serve.uses)
        serve.uses = 0

    def count(self) -> None:
        for key, serve in [pair for pair in self._serves.items() if pair[1].uses]:
            self._count(serve)
            self._serves.move_to_end(key)


class Memory:
    """
    What one worker keeps at hand.

    Args:
        size: bytes of prepared copies.
        recency: where their uses are counted.
    """

    __slots__ = ("_known", "_ready", "largest")

    def __init__(self, size: int, recency: Recency | None = None) -> None:
        self._ready = _Ready(size, recency)
        self._known: OrderedDict[bytes, tuple[int, list[Copy]]] = OrderedDict()
        self.largest = size // LARGEST

    def ready(self, copy: Copy, coding: bytes, stamp: int | None) -> Serve | None:
        """
        Return the prepared copy if it was made of just this one.

        Args:
            copy: what is stored for the key.
            coding: of the body.
            stamp: the key's before *copy* was read from the store: other heads may believe what is returned from now on,
                without its being made again. After a change to the key that left this copy alone, or a purge of other
                things, this is the common case. None: when *copy* was read is not known.
        """
        serve = self._ready.get((copy.copy_id, coding))
        if serve is None or (serve.copy is not copy and serve.copy != copy):
            return None
        if stamp is not None:
            serve.copy, serve.stamp = copy, stamp
        return serve

    def keep(self, coding: bytes, serve: Serve) -> bool:
        """Remember a prepared copy; False if it is too large to be worth it."""
        if serve.prepared.size > self.largest:
            return False
        self._ready.keep((serve.copy.copy_id, coding), serve)
        return True

    def known(self, key: bytes, stamp: int) -> list[Copy] | None:
        """Return the key's copies if they were read while it had this stamp."""
        found = self._known.get(key)
        if found is None or found[0] != stamp:
            return None
        self._known.move_to_end(key)
        return found[1]

    def learn(self, key: bytes, stamp: int, copies: list[Copy]) -> None:
        """Remember what the store said, read after *stamp* was. That nothing is stored is not worth remembering."""
        if copies:
            self._known[key] = (stamp, copies)
            self._known.move_to_end(key)
            if len(self._known) > KNOWN_KEYS:
                self._known.popitem(last=False)

    def count(self) -> None:
        """Bring the uses of what is at hand to where all workers' are added up. Cost: 0.1 µs for each; once a second."""
        self._ready.count()

    @property
    def used(self) -> int:
        """Bytes of prepared copies."""
        return self._ready.used
