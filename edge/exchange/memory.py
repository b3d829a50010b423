"""
The hottest copies, ready to send, and what the store said about their keys: one worker's memory.

Two LRUs. *Ready* holds prepared copies by (copy, coding) and is bounded by their bytes; *known* holds decoded copies by
key, bounded by number, so that a request head never seen before finds its copy without the store. Both are believed only
while the key's stamp stands: :mod:`edge.share.stamps`. A prepared copy that is let go is marked, because heads
remember it too (:attr:`edge.exchange.recognise.Known.serve`) and must not keep its bytes in use.

Cost: a lookup is 0.1 µs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.exchange.decision import Serve
    from edge.share.recency import Recency

LARGEST: Final = 4
"""One copy may take this fraction (1/4) of the memory, so that one download does not empty it."""

KNOWN_KEYS: Final = 16384
"""Keys whose copies are kept decoded: about 2 KiB each."""

GONE: Final = -1


class _Ready(LRUCache[tuple[int, bytes], "Serve"]):
    """Lets go of a copy by marking it, and counting its uses."""

    def __init__(self, size: int, recency: Recency | None) -> None:
        super().__init__(size, getsizeof=lambda serve: serve.prepared.size)
        self.recency = recency

    def popitem(self) -> tuple[tuple[int, bytes], Serve]:
        key, serve = super().popitem()
        self.let_go(serve)
        return key, serve

    def let_go(self, serve: Serve) -> None:
        serve.stamp = GONE
        self.count(serve)

    def count(self, serve: Serve) -> None:
        if serve.uses and self.recency is not None:
            self.recency.count(serve.prepared.copy_id, serve.uses)
        serve.uses = 0


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
        self._known: LRUCache[bytes, tuple[int, list[Copy]]] = LRUCache(KNOWN_KEYS)
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
        key = (serve.copy.copy_id, coding)
        old = self._ready.pop(key, None)
        if old is not None:
            self._ready.let_go(old)
        self._ready[key] = serve
        return True

    def known(self, key: bytes, stamp: int) -> list[Copy] | None:
        """Return the key's copies if they were read while it had this stamp."""
        found = self._known.get(key)
        return found[1] if found is not None and found[0] == stamp else None

    def learn(self, key: bytes, stamp: int, copies: list[Copy]) -> None:
        """Remember what the store said, read after *stamp* was. That nothing is stored is not worth remembering."""
        if copies:
            self._known[key] = (stamp, copies)

    def count(self) -> None:
        """Bring the uses of what is at hand to where all workers' are added up. Cost: 0.1 µs for each; once a second."""
        for serve in list(self._ready.values()):
            if serve.uses:
                self._ready.count(serve)

    @property
    def used(self) -> int:
        """Bytes of prepared copies."""
        return int(self._ready.currsize)
