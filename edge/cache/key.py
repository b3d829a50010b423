"""
Which requests ask for the same thing: the primary key, and the address that a reply's fields point to.

The key is a digest of scheme, authority and target. It holds no method: GET and HEAD share copies, and an unsafe method
must find what it invalidates. Nothing in it is decoded, sorted or lower-cased beyond what the parser did to the host:
two targets that differ in a byte are two things.

Source: RFC 9111 §2, §4, §4.4; RFC 3986 §5.2.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.message.head import RequestHead

KEY_BYTES: Final = 16
"""128 bits: nobody finds two addresses with one key, and a key is still a short LMDB key."""

_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*):(.*)", re.DOTALL)
_AUTHORITY = re.compile(rb"//([^/?]*)(.*)", re.DOTALL)
_LONGEST: Final = 8192
_DEFAULT_PORT = {b"http": b":80", b"https": b":443"}


def key_of(scheme: bytes, authority: bytes, target: bytes) -> bytes:
    """Return the 16-byte key of an address. None of the parts can hold the NUL that separates them."""
    return blake2b(b"%b\0%b\0%b" % (scheme, authority, target), digest_size=KEY_BYTES).digest()


def primary_key(head: RequestHead) -> bytes:
    """Return the key of what *head* asks for. Cost: about 1 µs."""
    return key_of(head.scheme, head.authority, head.target)


def key_hash(key: bytes) -> int:
    """Return 63 bits of *key*: what stamps, claims and bells go by."""
    return int.from_bytes(key[:8]) >> 1


def resolve(scheme: bytes, authority: bytes, target: bytes, reference: bytes) -> tuple[bytes, bytes, bytes] | None:
    """
    Resolve a ``Location`` or ``Content-Location`` against the address it was sent for.

    Returns:
        Scheme and authority in lower case without a default port, and the target in origin form; None if *reference* is
        not an http(s) address or longer than we care for.

    Raises:
        Nothing.
    """
    reference = reference.partition(b"#")[0]
    if len(reference) > _LONGEST:
        return None
    absolute = _SCHEME.fullmatch(reference)
    if absolute is not None:
        scheme, reference = absolute[1].lower(), absolute[2]
        if scheme not in _DEFAULT_PORT or not reference.startswith(b"//"):
            return None
    network = _AUTHORITY.fullmatch(reference)
    if network is not None:
        authority = network[1].lower().removesuffix(_DEFAULT_PORT.get(scheme, b""))
        reference = network[2]
        if not authority or b"@" in authority:
            return None
        target = b"/"
    path, mark, query = reference.partition(b"?")
    base, base_mark, base_query = target.partition(b"?")
    if not path:
        if network is not None:
            path = b"/"
        else:
            path = base
            if not mark:
                mark, query = base_mark, base_query
    elif not path.startswith(b"/"):
        path = base.rpartition(b"/")[0] + b"/" + path
    return scheme, authority, _without_dots(path) + mark + query


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 §5.2.4 on a path that starts with a slash."""
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in {b".", b".."}:
        kept.append(b"")
    return b"/" + b"/".join(kept)
