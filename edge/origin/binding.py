"""
What binds a request to a server: the key it is hashed by, and the cookie that a client got with its first reply.

A cookie's value is a keyed digest of the origin's name and the server's: only who has the secret can make one, and whoever has
one can do no more with it than come back to the server that he was sent to. It says nothing about the server to those who
read it. A value that nobody here has made is like none.

Source: RFC 6265 §4.1 (Set-Cookie), §5.4; draft-ietf-httpbis-rfc6265bis (SameSite).
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from edge.origin.balance import site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge.message.head import Field

TOKEN_BYTES: Final = 18
"""Of the digest: 144 bits, 24 characters."""


@dataclass(frozen=True, slots=True)
class Asking:
    """
    Who asks, and what for, as far as a key may be made of it.

    Attributes:
        authority, target: of the request.
        fields: its fields, names lower-case.
        client: the client's address as text; empty if nobody waits.
    """

    authority: bytes
    target: bytes
    fields: Sequence[Field]
    client: bytes


def key_maker(hash_key: str) -> Callable[[Asking], bytes]:
    """
    Return what makes the key that the configuration calls *hash_key*.

    A request without the header, cookie or parameter goes by its target: one server would get all of those otherwise.
    """
    sort, _, name = hash_key.partition(":")
    wanted = name.encode()
    match sort:
        case "path":
            return lambda asking: asking.authority + asking.target.partition(b"?")[0]
        case "client":
            return lambda asking: site(asking.client) or _target(asking)
        case "header":
            return lambda asking: _field(asking.fields, wanted) or _target(asking)
        case "cookie":
            return lambda asking: cookie(asking.fields, wanted) or _target(asking)
        case "query":
            return lambda asking: _parameter(asking.target, wanted) or _target(asking)
        case _:
            return _target


def _target(asking: Asking) -> bytes:
    return asking.authority + asking.target


def _field(fields: Iterable[Field], name: bytes) -> bytes:
    return b",".join([value for other, value in fields if other == name])


def _parameter(target: bytes, name: bytes) -> bytes:
    for pair in target.partition(b"?")[2].split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name or unquote_to_bytes(key) == name:
            return value
    return b""


def cookie(fields: Iterable[Field], name: bytes) -> bytes:
    """Return the value of the first cookie called *name*; empty if there is none."""
    for other, value in fields:
        if other == b"cookie":
            for pair in value.split(b";"):
                key, _, found = pair.strip().partition(b"=")
                if key == name:
                    return found
    return b""


class Bonds:
    """
    The cookies of one origin's servers.

    Args:
        origin: its name.
        labels: of the servers, in their order.
        secret: what digests are keyed with.
        name: the cookie's.
        attributes: what stands behind its value, from :func:`attributes`.
    """

    __slots__ = ("_attributes", "_places", "_tokens", "name")

    def __init__(self, origin: str, labels: Sequence[str], secret: bytes, name: str, attributes: bytes) -> None:
        self.name = name.encode()
        self._attributes = attributes
        self._tokens = [token(secret, origin, label) for label in labels]
        self._places = {value: place for place, value in enumerate(self._tokens)}

    def place(self, fields: Iterable[Field]) -> int | None:
        """Return the place of the server that the request is bound to; None if it is bound to none that is here."""
        return self._places.get(cookie(fields, self.name))

    def set_cookie(self, place: int) -> bytes:
        """Return the Set-Cookie value that binds a client to the server at *place*."""
        return self.name + b"=" + self._tokens[place] + self._attributes


def token(secret: bytes, origin: str, label: str) -> bytes:
    """Return what stands for a server in a cookie."""
    digest = hmac.digest(secret, b"edge sticky\0" + origin.encode() + b"\0" + label.encode(), "sha256")
    return urlsafe_b64encode(digest[:TOKEN_BYTES])


def attributes(*, path: str, max_age_s: float | None, same_site: str, secure: bool, http_only: bool) -> bytes:
    """Return a cookie's attributes as they follow its value."""
    parts = [f"; Path={path}"]
    if max_age_s is not None:
        parts.append(f"; Max-Age={int(max_age_s)}")
    parts.append(f"; SameSite={same_site.capitalize()}")
    if secure:
        parts.append("; Secure")
    if http_only:
        parts.append("; HttpOnly")
    return "".join(parts).encode()
