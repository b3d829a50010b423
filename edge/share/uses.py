"""
How often a key's reply has been fetched lately, by any process: for routes that keep a reply only from its second or third
fetch on.

One word per key hash holds the count and 32 more bits of the hash. Of two keys that share a word the later one is
remembered and counts from one, so what is asked for seldom is forgotten as soon as enough else is asked for; nothing else forgets.

Words are counted up by several processes without a lock, which the rules of this room forbid where a reader relies on it.
Here none does: of two fetches that count at the same moment one may be lost, and a reply is then kept one fetch later.

Source: nginx ``proxy_cache_min_uses``.
"""

from __future__ import annotations

from typing import Final

from edge.share.page import Page

SIZE: Final = 65536
_COUNT: Final = 0xFFFF_FFFF


class Uses:
    """*size* words, a power of two."""

    __slots__ = ("_mask", "_shift", "_words", "page")

    def __init__(self, size: int = SIZE, page: Page | None = None) -> None:
        assert size & (size - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(size * 8, "uses")
        self._words = self.page.words
        self._mask = size - 1
        self._shift = size.bit_length() - 1

    def count(self, key_hash: int) -> int:
        """Count one more use of the key; return how many there have been with it."""
        tag = (key_hash >> self._shift & _COUNT) << 32
        at = key_hash & self._mask
        word = self._words[at]
        count = (word & _COUNT) + 1 if word >> 32 << 32 == tag else 1
        self._words[at] = tag | min(count, _COUNT)
        return count
