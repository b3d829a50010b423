"""
Hiding how long a coded body is.

A reply that is compressed tells by its length how much of what it repeats it has said before. Where one visitor's secret and
somebody else's words stand in the same reply, whoever can have it asked for again and again, with other words each time, and
sees the lengths pass by, guesses the secret letter by letter (BREACH). So the length is blurred: blocks that hold nothing are put
into the coded stream, a random number of them each time something of it leaves. They are what the format itself calls an empty
block, so that every decoder passes over them, and the length may come out anywhere within a range.

Decides what is padded, and with what. Does not know which replies are kept for everybody: those hold nobody's secret.

Two dice are thrown for it, so that the ends of the range are rare: with one, the shortest of a few hundred replies would show the
true length.

What it does not do: random lengths can be averaged out by asking often enough, some ten thousand times for each guess instead of once
(with the default of 256 bytes, to tell one byte's difference from chance). It makes the attack loud and slow, not impossible. See
``cross_site`` in the configuration for what does more and costs more, and keep ``SameSite`` on session cookies and limits on requests.

Invariant: with :class:`Padded` around it an encoder's output decodes to the same bytes, also up to each flush.
Cost: 1 µs, and half of the range in bytes, per reply; nothing for one that is not padded.
Source: Gluck, Harris, Prado, "BREACH: reviving the CRIME attack", 2013, §3.1 (length hiding); Palacios et al., "HTB: a very
effective method to protect web servers against BREACH", 2022; RFC 1951 §3.2.4, §3.2.6; RFC 7932 §9.2; RFC 8878 §3.1.1.2.
"""

from __future__ import annotations

from secrets import randbelow
from typing import TYPE_CHECKING, Final

from edge.compress.encoder import BR, GZIP, ZSTD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.compress.encoder import Encoder
    from edge.message.head import ReplyHead, RequestHead

LEAST: Final = 24
"""From here on every number of bytes can be made of each format's blocks."""

_SECRETS: Final = frozenset({b"cookie", b"authorization"})


def blank(encoding: bytes, size: int) -> bytes:
    """
    Return *size* bytes of blocks that hold nothing, to stand at a border between blocks that is one between bytes.

    Args:
        encoding: whose blocks.
        size: at least LEAST, or 0.
    """
    if encoding == BR:
        return b"\x06" * size  # a metadata block of no bytes
    if encoding == ZSTD:
        longer = size % 3
        return b"\x02\x00\x00\x00" * longer + b"\x00\x00\x00" * (
            (size - 4 * longer) // 3
        )  # a run of nothing; raw, empty
    assert encoding == GZIP
    longer = size % 5
    return b"\x02\x00\x00\x00\xff\xff" * longer + b"\x00\x00\x00\xff\xff" * (
        (size - 6 * longer) // 5
    )  # and one of fixed codes


class Padded:
    """
    An encoder whose output's length says less.

    Args:
        inner: makes the coding.
        encoding: its name.
        most: by how many bytes each part that leaves may differ.
        number: returns a number below its argument; a test gives another.
    """

    __slots__ = ("_encoding", "_inner", "_most", "_number")

    def __init__(self, inner: Encoder, encoding: bytes, most: int, number: Callable[[int], int] = randbelow) -> None:
        self._inner = inner
        self._encoding = encoding
        self._most = most
        self._number = number

    def feed(self, data: bytes | memoryview) -> bytes:
        """Take more of the body; return what is ready, often nothing."""
        return self._inner.feed(data)

    def flush(self) -> bytes:
        """Return what makes everything fed so far decodable, padded; empty if that is already so."""
        ready = self._inner.flush()
        if not ready:
            return ready
        half = self._most // 2
        return ready + blank(self._encoding, LEAST + self._number(half + 1) + self._number(self._most - half + 1))

    def finish(self) -> bytes:
        """Return the end, padded if there is anything before it that has not left."""
        return self.flush() + self._inner.finish()


def may_mix(request: RequestHead, reply: ReplyHead) -> bool:
    """
    Whether a reply may hold one visitor's secret: it was asked for with a cookie or credentials, or sets a cookie.

    What it reflects cannot be known from outside (a query, a path, a stored comment), so it is taken for granted.
    """
    index: Mapping[bytes, bytes] = request.index
    return b"set-cookie" in reply.index or not _SECRETS.isdisjoint(index)


def is_from_elsewhere(request: RequestHead) -> bool:
    """Whether a page of another site had the browser ask. Source: Fetch Metadata, Sec-Fetch-Site."""
    return request.get(b"sec-fetch-site") == b"cross-site"
