"""
The process that keeps the store in bounds, so that no request ever has to.

One niced child of the master. It sleeps until its channel or its bell says something or its next look is due, and then does
what is due, portion by portion, looking at the channel between any two. In order of need:

1. *orphans*: fills whose process died are failed, so that nobody waits for them;
2. *purges*: copies that a standing purge hits are removed, or marked, so that nobody needs to weigh them any more;
3. *graves*: bodies given up a while ago are removed; at once, when room is needed;
4. *eviction*: above the high mark the least recently used copies go until the low one; so they do when something was refused
   for want of room, until it would fit;
5. *expiry*: now and then, copies that nobody can use any more.

A store that turned out to be damaged is left alone; it is set aside at the next start. The keeper writes in transactions of a
fraction of a millisecond, because while it writes no worker can, and it may be descheduled in the middle: it is nice.

No trio here: one plain loop around ``poll``. It does not know what copies mean. Source: DESIGN §4.
"""

from __future__ import annotations

import logging
import os
import select
from typing import TYPE_CHECKING, Final

import lmdb

from edge.cache import evict
from edge.cache.fill import is_alive
from edge.cache.store import Store
from edge.cache.upkeep import NONE_LEFT, PORTION, Upkeep
from edge.clock import SYSTEM, Clock
from edge.share.channel import Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.share.heritage import Heritage

LOOK_S: Final = 1.0
"""Between two looks at how full the store is, when it is far from full."""
SOONEST_S: Final = 0.02
"""Between two looks when it fills fast."""
WRITE_BYTES_S: Final = 400e6
"""As fast as the store takes bytes in, with some to spare: how soon it can be full decides when to look again."""
SWEEP_S: Final = 2.0
"""Between two sweeps for orphans: a joiner of a dead flight waits no longer, even if nobody else tells it."""
EXPIRE_S: Final = 300.0
"""Between two passes over all rows in search of the long dead."""
GRACE_S: Final = 120.0
"""How long a body given up stays readable for downloads under way, if room permits."""
FORGET_S: Final = 180.0
"""How long ended fills and purges are remembered: longer than an origin may take to answer."""
ROWS: Final = 2000
"""Rows read per snapshot, some 2 ms."""
MOST_AT_ONCE: Final = 8
"""No more than this part of the store goes after one pass: it bounds what a pass must remember, and there is always another."""
EVICTED: Final = 8
"""Copies removed per transaction."""

_log = logging.getLogger("edge")


class Keeper:
    """
    What is due, and doing it a portion at a time.

    Args:
        store: open in this process.
        last_use: the second of a copy's last use, by its id.
        clock: a test sets its own.
        count: called with how many copies have just been evicted or have expired.
    """

    __slots__ = (
        "_clock",
        "_count",
        "_expire_mono",
        "_last_use",
        "_store",
        "_sweep_mono",
        "_upkeep",
        "evicted",
        "expired",
        "purged",
    )

    def __init__(
        self,
        store: Store,
        last_use: Callable[[int], int],
        clock: Clock = SYSTEM,
        count: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._store = store
        self._upkeep = Upkeep(store)
        self._last_use = last_use
        self._clock = clock
        self._count = count
        self._sweep_mono = 0.0
        self._expire_mono = clock.mono() + EXPIRE_S
        self.evicted = 0
        self.expired = 0
        self.purged = 0

    def work(self) -> Iterator[None]:
        """Do all that is due now; yields between any two portions."""
        if self._store.is_broken:
            return
        now_mono = self._clock.mono()
        if now_mono >= self._sweep_mono:
            self._sweep_mono = now_mono + SWEEP_S
            self._upkeep.reap_readers()
            while self._upkeep.sweep_orphans(is_alive, self._clock.wall(), FORGET_S) >= PORTION:
                yield
            self._upkeep.forget_purges(self._clock.wall(), FORGET_S)
            yield
        yield from self._purge()
        wished = self._upkeep.wished()
        is_tight = evict.to_free(self._store.used(), self._store.size, wished) > 0
        yield from self._clear_graves(self._clock.wall() + 1.0 if is_tight else self._clock.wall() - GRACE_S)
        wanted = evict.to_free(self._store.used(), self._store.size, wished)
        if wanted > 0:
            yield from self._evict(wanted)
            yield from self._clear_graves(self._clock.wall() + 1.0)
        if now_mono >= self._expire_mono:
            self._expire_mono = now_mono + EXPIRE_S
            yield from self._expire()

    def rest_s(self) -> float:
        """Return how long it may sleep: until its next sweep, or until the store could be nearly full."""
        if self._store.is_broken:
            return LOOK_S
        room = evict.high(self._store.size) - self._store.used()
        return max(SOONEST_S, min(LOOK_S, room / WRITE_BYTES_S))

    def _purge(self) -> Iterator[None]:
        """Deal with what the purges hit that stand now; one that comes meanwhile has its own pass."""
        purges = self._upkeep.purges()
        if not purges:
            return
        after, count, is_first = b"", 0, True
        while after or is_first:
            is_first = False
            portion = self._upkeep.purged(after, PORTION)
            if portion is None:
                return  # they stand, and the next look begins anew
            keys, after = portion
            for start in range(0, len(keys), EVICTED):
                done = self._upkeep.purge(keys[start : start + EVICTED], self._clock.wall())
                if done is None:
                    return
                count += done
                yield
            yield
        self._upkeep.swept(purges)
        self.purged += count
        _log.info("%d copies purged", count)

    def _clear_graves(self, before_wall: float) -> Iterator[None]:
        while self._upkeep.clear_grave(before_wall, PORTION) != NONE_LEFT:
            yield

    def _rows(self) -> Iterator[list[evict.Row]]:
        after = 0
        while rows := self._upkeep.rows(after, ROWS, self._last_use):
            yield rows
            after = rows[-1][0]

    def _evict(self, wanted: int) -> Iterator[None]:
        """Find the oldest in one pass, then remove those that were not used meanwhile. No snapshot outlives a portion."""
        oldest = evict.Oldest(min(wanted, self._store.size // MOST_AT_ONCE))
        for rows in self._rows():
            for row in rows:
                oldest.offer(row)
            yield
            if oldest.is_settled(rows[-1][4]):
                break
        victims = [copy_id for copy_id, used_s in oldest.victims() if self._last_use(copy_id) <= used_s]
        yield from self._remove(victims)

    def _expire(self) -> Iterator[None]:
        now_s = evict.second_of(self._clock.wall())
        before = self.evicted
        for rows in self._rows():
            yield from self._remove([copy_id for copy_id, _, _, dead_s, _ in rows if dead_s < now_s])
            yield
        self.expired += self.evicted - before
        self.evicted = before

    def _remove(self, ids: list[int]) -> Iterator[None]:
        for start in range(0, len(ids), EVICTED):
            gone = self._upkeep.evict(ids[start : start + EVICTED], self._clock.wall())
            self.evicted += gone
            self._count(gone)
            yield


def main(heritage: Heritage) -> int:
    """
    Keep the store until the master says LEAVE, or is gone.

    Returns:
        The exit code: 0, or 1 if the store cannot be opened.
    """
    cache = heritage.config.cache
    try:
        store = Store.open(
            cache.path, cache.size, stamps=heritage.stamps, recency=heritage.recency, bells=heritage.bells
        )
    except (OSError, lmdb.Error) as error:
        _log.critical("the cache in %s cannot be opened: %s", cache.path, error)
        heritage.channel.send(Word.FAILED, f"the cache in {cache.path} cannot be opened: {error}".encode())
        return 1
    if store.note is not None:
        _log.warning("%s", store.note)
    keeper = Keeper(
        store,
        heritage.recency.read,
        count=lambda gone: heritage.counters.add(heritage.slot, heritage.evicted_at, gone),
    )
    poll = select.poll()
    poll.register(heritage.channel.fileno(), select.POLLIN)
    poll.register(heritage.bells.fd(heritage.slot), select.POLLIN)
    heritage.channel.send(Word.READY)  # and its row is not: nobody can connect to a keeper
    try:
        while True:
            for _ in keeper.work():
                _renew(heritage)
                if _is_told_to_leave(heritage):
                    return 0
            _renew(heritage)
            poll.poll(keeper.rest_s() * 1000)
            heritage.bells.clear(heritage.slot)
            if _is_told_to_leave(heritage):
                return 0
    finally:
        _log.info("the keeper leaves; %d copies evicted, %d expired", keeper.evicted, keeper.expired)
        heritage.row.deadline = 0.0  # the last one out waits for the disk, however long that takes
        store.close()


def _renew(heritage: Heritage) -> None:
    heritage.row.deadline = SYSTEM.mono() + heritage.config.server.hang_s


def _is_told_to_leave(heritage: Heritage) -> bool:
    while (message := heritage.channel.receive_nowait()) is not None:
        if message.word is Word.LEAVE or message.word is Word.GONE:
            return True
        if message.word is Word.REOPEN_LOGS:
            # Under the numbers we inherited: whoever writes to them need not know.
            for name, fd in zip(message.payload.decode().split(","), message.fds, strict=True):
                os.dup2(fd, heritage.logs[name], inheritable=False)
        for fd in message.fds:
            os.close(fd)
    return False
