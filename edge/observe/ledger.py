"""
Where every exchange ends: one entry, from which it is both counted and logged.

``record`` is on the hot path and only remembers; ``flush`` counts a whole batch with the interpreter's own loops
and hands it to the access log. So the counters lag by one flush, and a hit pays one list append for all of them.
Knows nothing of sockets or text. Invariant: what the log says and what the counters say comes from the same tuple.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, MutableSequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from edge.observe import names
from edge.observe.access_log import DURATION_S, FAULT, HEAD, OUTCOME, SENT_BYTES, STATUS, AccessLog, Entry, JsonFormat

if TYPE_CHECKING:
    from edge.message.head import RequestHead

log = logging.getLogger("edge")

Cells = MutableSequence[int] | memoryview
"""One slot's counters, indexed by the constants of :mod:`edge.observe.names`."""


SLOW_LINES: Final = 10
"""Slow exchanges of one batch that are told one by one."""

BATCH: Final = 512
"""Entries per flush: about a millisecond of a turn, so that the log never holds up the sessions behind it."""


class Ledger:
    """
    The end of all exchanges of one worker.

    Args:
        cells: this slot's counters.
        log: where lines go, or None when the access log is off.
        route_of: where the counters of a request's route are; None: routes are not counted.
        slow_s: what took longer is told in the errors, too; None: nothing is.
    """

    __slots__ = ("_cells", "_entries", "_log", "_log_dropped", "_route_of", "_slow", "_slow_s", "record")

    record: Callable[[Entry], None]
    """Remember one ended exchange. HOT: this is the list's own append."""

    def __init__(
        self,
        cells: Cells,
        log: AccessLog | None,
        *,
        route_of: Callable[[RequestHead], names.RouteCells | None] | None = None,
        slow_s: float | None = None,
    ) -> None:
        self._route_of = route_of
        self._slow_s = slow_s
        self._slow = JsonFormat()
        self._cells = cells
        self._log = log
        self._log_dropped = 0
        self._entries: list[Entry] = []
        self.record = self._entries.append

    def __repr__(self) -> str:
        return f"<Ledger waiting={len(self._entries)} log={self._log!r}>"

    @property
    def waiting(self) -> int:
        """Entries recorded and not yet flushed."""
        return len(self._entries)

    def flush(self, most: int = BATCH) -> int:
        """
        Count and log the oldest entries, without ever waiting. Call it also with nothing recorded: a log that
        could not take its lines is tried again.

        Returns:
            How many entries are left.
        """
        entries = self._entries
        batch = entries[:most]
        del entries[:most]
        if batch:
            count(batch, self._cells)
            if self._route_of is not None:
                count_routes(batch, self._route_of, self._cells)
            if self._slow_s is not None:
                self._tell_slow(batch, self._slow_s)
        lines = self._log
        if lines is not None:
            lines.write(batch)
            if lines.dropped != self._log_dropped:
                self._cells[names.LOG_DROPPED] += lines.dropped - self._log_dropped
                self._log_dropped = lines.dropped
        return len(entries)

    def _tell_slow(self, batch: list[Entry], slow_s: float) -> None:
        """Tell what took longer than *slow_s*; of many at once the slowest."""
        slow = [entry for entry in batch if entry[DURATION_S] > slow_s]
        if not slow:
            return
        self._cells[names.SLOW] += len(slow)
        slow.sort(key=_duration, reverse=True)
        for line in self._slow.lines(slow[:SLOW_LINES]):
            log.warning("slow: %s", line.rstrip("\n"))
        if len(slow) > SLOW_LINES:
            log.warning("slow: and %d more", len(slow) - SLOW_LINES)

    def reopen(self) -> None:
        """
        Flush, and open the log's path anew.

        Raises:
            OSError: the path cannot be opened; the old file stays in use.
        """
        self._flush_all()
        if self._log is not None:
            self._log.reopen()

    def replace_log(self, fd: int) -> None:
        """Flush, and log to *fd* from now on."""
        self._flush_all()
        if self._log is not None:
            self._log.replace(fd)

    def close(self) -> None:
        """Flush and close the log; the last thing a worker does."""
        self._flush_all()
        if self._log is not None:
            self._log.close()

    def _flush_all(self) -> None:
        while self.flush():
            pass


def count(batch: list[Entry], cells: Cells) -> None:
    """Add what *batch* says to *cells*. Cost: 0.3 µs per entry at 512 a batch."""
    for outcome, number in Counter(map(_outcome, batch)).items():
        cells[_REQUESTS.get(outcome, _OTHER)] += number
    for status, number in Counter(map(_status, batch)).items():
        cells[_REPLIES[status // 100 if status < 600 else 0]] += number
    cells[names.SENT_BYTES] += sum(map(_sent_bytes, batch))
    hits = [entry[DURATION_S] for entry in batch if entry[OUTCOME] == "hit"]
    if hits:
        add_durations(hits, names.DURATION_HIT, cells)
    if len(hits) < len(batch):
        add_durations([entry[DURATION_S] for entry in batch if entry[OUTCOME] != "hit"], names.DURATION_FWD, cells)
    for word, number in Counter(map(_fault, batch)).items():
        if word:
            cells[names.FAULTS.get(word, _OTHER_FAULT)] += number


def count_routes(batch: list[Entry], route_of: Callable[[RequestHead], names.RouteCells | None], cells: Cells) -> None:
    """Add what *batch* says of routes to *cells*. Cost: 0.4 µs per entry at 512 a batch."""
    by_route: dict[names.RouteCells, list[Entry]] = {}
    known: dict[int, names.RouteCells | None] = {}
    for entry in batch:
        head = entry[HEAD]
        if head is None or isinstance(head, bytes):
            continue
        at = id(head)
        if at not in known:
            known[at] = route_of(head)
        route = known[at]
        if route is not None:
            by_route.setdefault(route, []).append(entry)
    for route, entries in by_route.items():
        for status, number in Counter(map(_status, entries)).items():
            if status:
                cells[route.replies + min(status // 100, 5) - 1] += number
        hits = sum(entry[OUTCOME] == "hit" for entry in entries)
        if hits:
            cells[route.hits] += hits
        add_durations([entry[DURATION_S] for entry in entries], route.duration, cells)


def add_durations(durations_s: list[float], histogram: names.Histogram, cells: Cells) -> None:
    """Add *durations_s* to *histogram*; negative ones (a clock was set) count as zero."""
    durations_s.sort()
    below = 0
    for offset, border in enumerate(names.BUCKETS_S):
        upto = bisect_right(durations_s, border)
        if upto > below:
            cells[histogram.first + offset] += upto - below
            below = upto
    if below < len(durations_s):
        cells[histogram.first + len(names.BUCKETS_S)] += len(durations_s) - below
    cells[histogram.sum] += max(int(sum(durations_s) * 1e6), 0)


def add_duration(duration_s: float, histogram: names.Histogram, cells: Cells) -> None:
    """Add one duration; a negative one (a clock was set) counts as zero. Cost: 0.4 µs."""
    cells[histogram.first + bisect_left(names.BUCKETS_S, duration_s)] += 1
    cells[histogram.sum] += max(int(duration_s * 1e6), 0)


_duration = itemgetter(DURATION_S)
_outcome = itemgetter(OUTCOME)
_status = itemgetter(STATUS)
_sent_bytes = itemgetter(SENT_BYTES)
_fault = itemgetter(FAULT)
_REQUESTS: Final = names.REQUESTS
_OTHER: Final = names.REQUESTS[names.OTHER]
_OTHER_FAULT: Final = names.FAULTS[names.OTHER]
_REPLIES: Final = {
    0: names.REPLIES["none"],
    1: names.REPLIES["1xx"],
    2: names.REPLIES["2xx"],
    3: names.REPLIES["3xx"],
    4: names.REPLIES["4xx"],
    5: names.REPLIES["5xx"],
}
