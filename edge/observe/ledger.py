"""
Where every exchange ends: one entry, from which it is both counted and logged.

``record`` is on the hot path and only remembers; ``flush`` counts a whole batch with the interpreter's own loops
and hands it to the access log. So the counters lag by one flush, and a hit pays one list append for all of them.
Knows nothing of sockets or text. Invariant: what the log says and what the counters say comes from the same tuple.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, MutableSequence
from operator import itemgetter
from typing import Final

from edge.observe import names
from edge.observe.access_log import DURATION_S, FAULT, OUTCOME, SENT_BYTES, STATUS, AccessLog, Entry

Cells = MutableSequence[int] | memoryview
"""One slot's counters, indexed by the constants of :mod:`edge.observe.names`."""


BATCH: Final = 512
"""Entries per flush: about a millisecond of a turn, so that the log never holds up the sessions behind it."""


class Ledger:
    """
    The end of all exchanges of one worker.

    Args:
        cells: this slot's counters.
        log: where lines go, or None when the access log is off.
    """

    __slots__ = ("_cells", "_entries", "_log", "_log_dropped", "record")

    record: Callable[[Entry], None]
    """Remember one ended exchange. HOT: this is the list's own append."""

    def __init__(self, cells: Cells, log: AccessLog | None) -> None:
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
        log = self._log
        if log is not None:
            log.write(batch)
            if log.dropped != self._log_dropped:
                self._cells[names.LOG_DROPPED] += log.dropped - self._log_dropped
                self._log_dropped = log.dropped
        return len(entries)

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
