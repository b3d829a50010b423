"""
Keys whose replies were lately found not storable: nobody should wait for another's fetch of them.

Without this, a hundred clients that ask for one uncacheable page at once would queue behind one fetch, learn that
its reply is not for them, and queue again. One word per key hash holds the second until which the key is shunned and
32 more bits of the hash, so that a neighbour is not shunned by mistake (but for one chance in 2³²); of two keys that
share a word the later one is remembered.

Source: Varnish's hit-for-pass; Pingora's ``predictor``.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import Page

SIZE: Final = 65536
_SECONDS: Final = 0xFFFF_FFFF


class Shunned:
    """*size* words, a power of two. Seconds are whole and below 2³²; which clock they are of is the caller's choice."""

    __slots__ = ("_mask", "_shift", "_words", "page")

    def __init__(self, size: int = SIZE, page: Page | None = None) -> None:
        assert size & (size - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(size * 8, "shunned")
        self._words = self.page.words
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
