"""
Whom and what a request line and its Host ask for.

Decides which of RFC 9112 §3.2's target forms are taken and what the authority is, in one spelling: lower case, no
default port, no root dot, IPv6 compressed. Does not know which hosts we serve.
Source: RFC 9112 §3.2, §3.3; RFC 3986 §3.2.2, of which only LDH names (and ``_``), IPv4 and IPv6 are taken: nothing else names
an HTTP host in practice, and every other spelling is a way to be seen differently by two readers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from edge.errors import ClientFault

_AUTHORITY = re.compile(
    rb"(?:((?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63})\.?|\[([0-9a-f:.]{2,45})\])(?::([0-9]{0,5}))?",
)
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)(/[^?]*)?(\?.*)?")
_DEFAULT_PORT = {b"http": 80, b"https": 443}
_LONGEST_NAME = 253


@lru_cache(maxsize=1024)  # a node serves few names; junk only turns the memory over
def canonical_authority(value: bytes, scheme: bytes) -> bytes | None:
    """Return *value* (of Host, or of an absolute target) in its one spelling, or None if it is not a host and port."""
    match = _AUTHORITY.fullmatch(value.lower())
    if match is None:
        return None
    name, literal, port = match.groups()
    if literal is not None:
        try:
            host = b"[%b]" % IPv6Address(literal.decode("ascii")).compressed.encode("ascii")
        except AddressValueError:
            return None
    elif len(name) > _LONGEST_NAME:
        return None
    else:
        host = name
    if not port:
        return host
    number = int(port)
    if not 0 < number < 65536:
        return None
    return host if number == _DEFAULT_PORT.get(scheme) else b"%b:%d" % (host, number)


def resolve(method: bytes, target: bytes, host: bytes | None, scheme: bytes) -> tuple[bytes | None, bytes]:
    """
    Return the authority (None if nothing names one) and the target in origin-form (or ``*``).

    Args:
        method: OPTIONS alone may ask for ``*``.
        target: visible ASCII without ``#``.
        host: the Host field's value, None without one.
        scheme: how the request reached us; an absolute target may say either, what it reached us by counts.

    Raises:
        ClientFault: no target form we take, no valid authority, or two that differ.
    """
    authority = None
    if host is not None:
        authority = canonical_authority(host, scheme)
        if authority is None:
            raise ClientFault(f"Host {host[:80]!r}")
    if target.startswith(b"/"):
        return authority, target
    if target == b"*":
        if method != b"OPTIONS":
            raise ClientFault("target * with a method other than OPTIONS")
        return authority, target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ClientFault(f"target {target[:80]!r}")
    named, path, query = absolute.groups()
    said = canonical_authority(named, scheme)
    if said is None:
        raise ClientFault(f"authority in target {target[:80]!r}")
    if host is not None and said != authority:
        raise ClientFault(f"target names {said!r}, Host {authority!r}")
    if path is None and query is None and method == b"OPTIONS":
        return said, b"*"  # RFC 9112 §3.2.4
    return said, (path or b"/") + (query or b"")
