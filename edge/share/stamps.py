"""
Coherence: whether what a process remembers about a key is still what the store says.

One word per key hash. Whoever changes what is stored for a key writes a new stamp *after* the change is committed;
whoever remembers something reads the stamp *before* it reads the store, keeps it beside what it remembers and uses
that only while the word is the same. Two keys may share a word: that costs a needless look into the store, never
a wrong answer.

A stamp is a random number, not a count. With counts, two processes that bump at once may both write ``n + 1``, and
a reader that came between them would trust a copy that the second one has just replaced. A number never seen before
leaves no such gap: any write makes every older stamp stale (but for one chance in 2⁶⁴).

Cost: comparing is one item access; hot paths take :attr:`Stamps.words` and :attr:`Stamps.mask`.
"""

from __future__ import annotations

from random import getrandbits
from typing import Final

from edge.share.page import Page

SIZE: Final = 65536
"""Words: 512 KiB. With 10 000 hot keys, one change in seven also renews a neighbour that did not change."""


class Stamps:
    """
    *size* stamps, a power of two.

    Attributes:
        words: the stamps; ``words[key_hash & mask]`` is that key's.
        mask: ``size - 1``.
    """

    __slots__ = ("mask", "page", "words")

    def __init__(self, size: int = SIZE, page: Page | None = None) -> None:
        assert size & (size - 1) == 0, "the mask needs a power of two"
        self.page = page or Page(size * 8, "stamps")
        self.words = self.page.words
        self.mask = size - 1

    def read(self, key_hash: int) -> int:
        """Return the stamp to keep beside what is about to be read from the store."""
        return self.words[key_hash & self.mask]

    def bump(self, key_hash: int) -> None:
        """Make stale, in every process, what is remembered about the key. Call after the change is committed."""
        self.words[key_hash & self.mask] = getrandbits(64)

    def bump_all(self) -> None:
        """
        Make everything stale: after a purge of many things, or when a process died between a commit and its bump.

        All words get one number: it was in none of them. Cost: some 50 µs.
        """
        self.words[:] = memoryview(getrandbits(64).to_bytes(8) * (self.mask + 1)).cast("Q")
