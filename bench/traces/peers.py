"""
What eviction is compared with, each written as its textbook has it and charged the same bytes per object.

- :func:`lru`: exact, per request, full to the last byte.
- :func:`s3_fifo`: Yang, Zhang, Qiu, Yue and Vinayak, "FIFO queues are all you need for cache eviction" (SOSP 2023), algorithm 1.
- :func:`w_tinylfu`: Einziger, Friedman and Manes, "TinyLFU: a highly efficient cache admission policy" (ACM ToS 2017): a
  window of a hundredth, a segmented main part, and a census of exact counts, halved now and then, between them.
- :func:`belady`: who is needed again last goes first, or is not let in at all. With sizes that differ it is not the best
  possible, but near.
- :func:`bound`: what nobody can pass, whatever it knows (Berger, Beckmann and Harchol-Balter, "Practical bounds on optimal caching
  with variable object sizes", SIGMETRICS 2018: PFOO-L).

Each takes a trace and a room in bytes and returns how many requests were hits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapes import Trace


def lru(trace: Trace, room: int) -> int:
    """Least recently used."""
    sizes = trace.sizes
    held: OrderedDict[int, None] = OrderedDict()
    used = hits = 0
    for each in trace.asked:
        if each in held:
            held.move_to_end(each)
            hits += 1
            continue
        size = sizes[each]
        if size > room:
            continue
        while used + size > room:
            used -= sizes[held.popitem(last=False)[0]]
        held[each] = None
        used += size
    return hits


class S3Fifo:
    """A small queue for what is new, a main one for what was used again, and a list of whom the small one let go."""

    SMALL = 0.1
    MOST_COUNTED = 3

    def __init__(self, sizes: list[int], room: int) -> None:
        self._sizes = sizes
        self._room = room
        self._small: deque[int] = deque()
        self._main: deque[int] = deque()
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._small_used = self._main_used = self._ghosts_used = 0
        self._uses: dict[int, int] = {}

    def ask(self, each: int) -> bool:
        """Whether it is held; if it is not, it is now."""
        uses = self._uses.get(each)
        if uses is not None:
            self._uses[each] = min(uses + 1, self.MOST_COUNTED)
            return True
        size = self._sizes[each]
        if size > self._room:
            return False
        while self._small_used + self._main_used + size > self._room:
            if self._small_used >= self.SMALL * self._room or not self._main:
                self._leave_small()
            else:
                self._leave_main()
        self._uses[each] = 0
        if each in self._ghosts:
            del self._ghosts[each]
            self._ghosts_used -= size
            self._to_main(each)
        else:
            self._small.appendleft(each)
            self._small_used += size
        return False

    def _to_main(self, each: int) -> None:
        self._main.appendleft(each)
        self._main_used += self._sizes[each]

    def _leave_small(self) -> None:
        while self._small:
            each = self._small.pop()
            size = self._sizes[each]
            self._small_used -= size
            if self._uses[each] <= 1:
                del self._uses[each]
                self._ghosts[each] = None
                self._ghosts_used += size
                while self._ghosts_used > (1 - self.SMALL) * self._room:
                    self._ghosts_used -= self._sizes[self._ghosts.popitem(last=False)[0]]
                return
            self._to_main(each)
            while self._main_used > (1 - self.SMALL) * self._room:
                self._leave_main()

    def _leave_main(self) -> None:
        while self._main:
            each = self._main.pop()
            if self._uses[each] == 0:
                self._main_used -= self._sizes[each]
                del self._uses[each]
                return
            self._uses[each] -= 1
            self._main.appendleft(each)


def s3_fifo(trace: Trace, room: int) -> int:
    """Three static queues."""
    cache = S3Fifo(trace.sizes, room)
    return sum(map(cache.ask, trace.asked))


class WTinyLfu:
    """A window in which everybody begins; who leaves it stays only if it was asked for more often than whom it would displace."""

    WINDOW = 0.01
    PROTECTED = 0.8
    SAMPLE = 10
    """The counts are halved after so many requests per object held."""

    def __init__(self, sizes: list[int], room: int) -> None:
        self._sizes = sizes
        self._main_room = int(room * (1 - self.WINDOW))
        self._window_room = room - self._main_room
        self._window: OrderedDict[int, None] = OrderedDict()
        self._probation: OrderedDict[int, None] = OrderedDict()
        self._protected: OrderedDict[int, None] = OrderedDict()
        self._window_used = self._main_used = self._protected_used = 0
        self._census: Counter[int] = Counter()
        self._counted = 0

    def ask(self, each: int) -> bool:
        """Whether it is held; if it is not, it is let in, or not."""
        self._count(each)
        size = self._sizes[each]
        if each in self._protected:
            self._protected.move_to_end(each)
            return True
        if each in self._probation:
            del self._probation[each]
            self._protected[each] = None
            self._protected_used += size
            while self._protected_used > self.PROTECTED * self._main_room:
                demoted = self._protected.popitem(last=False)[0]
                self._protected_used -= self._sizes[demoted]
                self._probation[demoted] = None
            return True
        if each in self._window:
            self._window.move_to_end(each)
            return True
        self._window[each] = None
        self._window_used += size
        while self._window_used > self._window_room:
            leaver = self._window.popitem(last=False)[0]
            self._window_used -= self._sizes[leaver]
            self._admit(leaver)
        return False

    def _admit(self, candidate: int) -> None:
        size = self._sizes[candidate]
        need = self._main_used + size - self._main_room
        victims: list[int] = []
        for segment in (self._probation, self._protected):
            for each in segment:
                if need <= 0:
                    break
                if self._census[each] >= self._census[candidate]:
                    return
                victims.append(each)
                need -= self._sizes[each]
        if need > 0:
            return
        for each in victims:
            self._main_used -= self._sizes[each]
            if each in self._probation:
                del self._probation[each]
            else:
                del self._protected[each]
                self._protected_used -= self._sizes[each]
        self._probation[candidate] = None
        self._main_used += size

    def _count(self, each: int) -> None:
        self._census[each] += 1
        self._counted += 1
        if self._counted > self.SAMPLE * max(1000, len(self._probation) + len(self._protected)):
            self._counted //= 2
            self._census = Counter({key: uses // 2 for key, uses in self._census.items() if uses > 1})


def w_tinylfu(trace: Trace, room: int) -> int:
    """Least recently used behind an admission filter."""
    cache = WTinyLfu(trace.sizes, room)
    return sum(map(cache.ask, trace.asked))


def next_uses(trace: Trace) -> list[int]:
    """Return for each request when its object is asked for next; the trace's length if never."""
    never = len(trace.asked)
    last: dict[int, int] = {}
    found = [never] * never
    for at in range(never - 1, -1, -1):
        each = trace.asked[at]
        found[at] = last.get(each, never)
        last[each] = at
    return found


def belady(trace: Trace, room: int) -> int:
    """Needed again last, gone first."""
    never = len(trace.asked)
    sizes = trace.sizes
    held: dict[int, int] = {}  # object → when it is needed next
    heap: list[tuple[int, int]] = []
    used = hits = 0
    for each, after in zip(trace.asked, next_uses(trace), strict=True):
        if each in held:
            hits += 1
        elif after == never or sizes[each] > room:
            continue
        else:
            used += sizes[each]
        held[each] = after
        heappush(heap, (-after, each))
        while used > room:
            needed, victim = heappop(heap)
            if held.get(victim) == -needed:  # else it was used since
                del held[victim]
                used -= sizes[victim]
    return hits


def bound(trace: Trace, room: int) -> int:
    """Every hit costs its object's bytes for as long as it waits; the cheapest hits that the room allows over all the time."""
    sizes = trace.sizes
    costs = sorted(
        (after - at) * sizes[each]
        for at, (each, after) in enumerate(zip(trace.asked, next_uses(trace), strict=True))
        if after < len(trace.asked)
    )
    left = room * len(trace.asked)
    hits = 0
    for cost in costs:
        left -= cost
        if left < 0:
            break
        hits += 1
    return hits
