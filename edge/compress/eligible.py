"""
Whether a reply gains by being coded.

Decides from the reply alone, never from the request: the answer is the same for every client, and so is the
``Vary`` that follows from it. Does not know which coding is made.

Invariant: what the origin coded, cut (206) or forbade to transform is left as it is.

Source: RFC 9110 §7.7 (no-transform), §8.4, §15.3.7.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge.message.cache_control import parse_cache_control

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.message.head import ReplyHead

_NEVER = re.compile(
    rb"(?:audio|video)/.*"
    rb"|image/(?!svg\+xml$|bmp$|x-ms-bmp$|x-icon$|vnd\.microsoft\.icon$|x-portable-).*"
    rb"|font/woff2?"
    rb"|application/(?:font-woff2?|gzip|x-gzip|zip|zstd|x-7z-compressed|x-bzip2?|x-xz|x-rar-compressed|vnd\.rar"
    rb"|x-brotli|java-archive|x-apple-diskimage|epub\+zip|ogg|pdf|vnd\.openxmlformats-.*|vnd\.oasis\.opendocument\..*)"
    rb"|multipart/byteranges"
)
"""Compressed in themselves: coding them again costs time and gains nothing, even if the operator wrote ``*/*``."""

_PLAIN_CODINGS = frozenset({b"", b"identity"})
_MEMORABLE = 512


class Rules:
    """
    What the operator wants coded.

    Args:
        types: media types such as ``text/html``; ``*`` stands for any run of characters (``text/*``,
            ``application/*+json``).
        min_length: bytes; below, the coding's own head and the client's work outweigh the gain.
    """

    __slots__ = ("_known", "_wanted", "min_length")

    def __init__(self, types: Iterable[str], min_length: int) -> None:
        patterns = [re.escape(kind.strip().lower().encode()).replace(rb"\*", b".*") for kind in types]
        self._wanted = re.compile(b"|".join(patterns) or b"(?!)")
        self._known: dict[bytes, bool] = {}
        self.min_length = min_length

    def wants(self, content_type: bytes) -> bool:
        """
        Return whether bodies of this type are coded; parameters such as ``charset`` don't matter.

        Cost: a dict lookup; a site has few types, and a hostile origin's many only empty the memory.
        """
        known = self._known.get(content_type)
        if known is None:
            essence = content_type.partition(b";")[0].strip().lower()
            known = _NEVER.fullmatch(essence) is None and self._wanted.fullmatch(essence) is not None
            if len(self._known) >= _MEMORABLE:
                self._known.clear()
            self._known[content_type] = known
        return known


def is_eligible(reply: ReplyHead, rules: Rules) -> bool:
    """
    Return whether this reply's body is coded for clients that accept it.

    True of a reply to HEAD exactly when it is true of the reply to GET, as far as its head tells.

    Cost: two lookups for a type that is not coded, five for one that is (``bench/micro/test_encoder.py``).
    """
    status = reply.status
    if status < 200 or status in {204, 205, 206, 304}:
        return False
    said = reply.index
    content_type = said.get(b"content-type")
    if content_type is None or not rules.wants(content_type):
        return False
    if said.get(b"content-encoding", b"").lower() not in _PLAIN_CODINGS or b"content-range" in said:
        return False
    if reply.length is not None and reply.length < rules.min_length:
        return False
    return not parse_cache_control(said.get(b"cache-control")).no_transform
