"""
What senders owe, for limits on requests: one table for all workers of a node, of fixed size.

One 64-bit word per sender: 22 bits that tell it from others, and 42 bits that say until when it owes, in microseconds of the
monotonic clock. A sender's word lies in one of eight neighbouring words, one line of the processor's cache, chosen by a hash
whose key is made with the page: who does not know it cannot aim at another's word.

The memory is bounded, so something is forgotten under a flood of addresses: where all eight words owe, the least debt is
forgiven for the newcomer. A word that owes nothing any more is free by itself; nothing is ever swept.

There is no lock: a worker that is stopped must not stop the others. A word is looked at again right before it is written, and
the step is repeated if it has changed. So a debt can be lost only where two workers write one word within the same tenth of a
microsecond or so: each such loss lets one request more pass, and as many as there are workers at the very most at a time
(``tests/share/test_rates.py`` counts them). Two senders are taken for one, once in 2²² pairs that share a line: about one in
500,000 among eight.

The clock's 42 bits come round every 50 days. A debt above MOST_US is no debt but a word from long ago.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Final, NamedTuple

from edge.share.page import CACHE_LINE, Page

WORDS: Final = 1 << 19
"""Senders that owe at the same time: 4 MiB, of which only what is used is ever there."""

LINE: Final = CACHE_LINE // 8
HEADER: Final = LINE
"""Words before the table: the hash's key."""

SECRET_BYTES: Final = 32
CLOCK_BITS: Final = 42
_CLOCK: Final = (1 << CLOCK_BITS) - 1
_TAG: Final = (1 << 64 - CLOCK_BITS) - 1
MOST_US: Final = 2 * 86400 * 1_000_000
"""No debt is greater: two days."""


class Spot(NamedTuple):
    """Where a sender's debt is, and how great."""

    at: int
    word: int
    debt_us: int


class Rates:
    """*words* words, a power of two. The key of the hash is made with a new page, and inherited with an old one."""

    __slots__ = ("_lines", "_secret", "_words", "page")

    def __init__(self, words: int = WORDS, page: Page | None = None) -> None:
        assert words & (words - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(self.size(words), "rates")
        self._words = self.page.words
        self._lines = words // LINE - 1
        if page is None:
            for at in range(SECRET_BYTES // 8):
                self._words[at] = secrets.randbits(64)
        self._secret = b"".join(self._words[at].to_bytes(8) for at in range(SECRET_BYTES // 8))

    @staticmethod
    def size(words: int) -> int:
        """Bytes that a table of *words* words needs."""
        return (HEADER + words) * 8

    def hash(self, key: bytes) -> int:
        """Return 64 bits of *key* that nobody outside can foresee. Cost: 0.6 µs."""
        return int.from_bytes(blake2b(key, digest_size=8, key=self._secret).digest())

    def look(self, key_hash: int, now_us: int) -> Spot:
        """Return what a sender owes at *now_us*, and where that is, or would be, written. Cost: 0.8 µs."""
        words = self._words
        tag = key_hash >> CLOCK_BITS or 1
        first = HEADER + (key_hash & self._lines) * LINE
        line = words[first : first + LINE].tolist()
        home = (key_hash >> 32) % LINE  # newcomers begin at different words
        best, least = first + home, -1
        for step in range(LINE):
            at = (home + step) % LINE
            word = line[at]
            debt_us = word - now_us & _CLOCK
            if debt_us > MOST_US:
                debt_us = 0
            if word >> CLOCK_BITS == tag:
                return Spot(first + at, word, debt_us)
            if least < 0 or debt_us < least:
                best, least = first + at, debt_us
        return Spot(best, words[best], 0)

    def write(self, spot: Spot, key_hash: int, debt_us: int, now_us: int) -> bool:
        """Note what a sender owes now. False: another worker has written there since *spot* was looked at; look again."""
        assert 0 <= debt_us <= MOST_US, "no debt is so great"
        tag = key_hash >> CLOCK_BITS or 1
        words = self._words
        if words[spot.at] != spot.word:
            return False
        words[spot.at] = tag << CLOCK_BITS | (now_us + debt_us & _CLOCK)
        return True
