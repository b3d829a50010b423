"""
Keys whose replies were lately found not storable: nobody should wait for another's fetch of them.

Without this, a hundred clients that ask for one uncacheable page at once would queue behind one fetch, learn that
its reply is not for them, and queue again. One word per key hash holds the second until which the key is shunned and
32 more bits of the hash, so that a neighbour is not shunned by mistake (but for one chance in 2³²); of two keys that
share a word the later one is remembered.

A second word of the same form says why the latest reply to a key that was not stored was not, and when, to the minute: for whoever asks
later, when the reply is gone. It decides nothing.

Source: Varnish's hit-for-pass; Pingora's ``predictor``.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import Page

SIZE: Final = 65536
WORD_BYTES: Final = 16
"""Per key: one word that decides, and one that explains."""
_SECONDS: Final = 0xFFFF_FFFF
_MINUTES: Final = 0xFF_FFFF
_FROM_MINUTE: Final = 26_297_280
"""2020-01-01: from there 24 bits of minutes last for 31 years."""


class Shunned:
    """*size* words, a power of two. Seconds are whole and below 2³²; which clock they are of is the caller's choice."""

    __slots__ = ("_mask", "_shift", "_size", "_words", "page")

    def __init__(self, size: int = SIZE, page: Page | None = None) -> None:
        assert size & (size - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(size * WORD_BYTES, "shunned")
        self._words = self.page.words
        self._size = size
        self._mask = size - 1
        self._shift = size.bit_length() - 1

    def _tag(self, key_hash: int) -> int:
        return (key_hash >> self._shift & _SECONDS) << 32

    def shun(self, key_hash: int, until_s: int) -> None:
        """Let nobody wait for another's fetch of this key before *until_s*."""
        self._words[key_hash & self._mask] = self._tag(key_hash) | until_s & _SECONDS

    def forgive(self, key_hash: int) -> None:
        """Forget that the key was shunned: a reply to it was stored after all."""
        if self._words[key_hash & self._mask] >> 32 << 32 == self._tag(key_hash):
            self._words[key_hash & self._mask] = 0

    def is_shunned(self, key_hash: int, now_s: int) -> bool:
        """Whether the key is shunned at *now_s*."""
        word = self._words[key_hash & self._mask]
        return word & _SECONDS > now_s and word >> 32 << 32 == self._tag(key_hash)

    def note(self, key_hash: int, reason: int, now_s: int) -> None:
        """Note that a reply to this key was not stored at *now_s*, for a *reason* below 256, whose meaning is the caller's."""
        when = now_s // 60 - _FROM_MINUTE & _MINUTES
        self._words[self._size + (key_hash & self._mask)] = self._tag(key_hash) | reason << 24 | when

    def noted(self, key_hash: int) -> tuple[int, int] | None:
        """Return the reason that was noted last for this key, and the second its minute began; None if there is none."""
        word = self._words[self._size + (key_hash & self._mask)]
        if not word & _SECONDS or word >> 32 << 32 != self._tag(key_hash):
            return None
        return word >> 24 & 0xFF, ((word & _MINUTES) + _FROM_MINUTE) * 60
