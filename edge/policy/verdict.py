"""
What a policy function of an operator's sees of a request, and what it may say about it.

This is the whole of what such a function needs, and all of it may be made and compared in its tests::

    from edge.policy.verdict import Pass, Request, Respond, Verdict

    def beta(request: Request) -> Verdict:
        if request.header("x-beta") == "1":
            return Pass(origin="beta", set_headers={"x-audience": "beta"})
        return Pass()

Values, compared by what they say. Text is Latin-1, as header fields are: every byte is one character.

Decides what a verdict may contain, not what becomes of it (:mod:`edge.exchange.admission`).
Source: RFC 9110 §5.5, §5.6.2 (fields), §15 (statuses), §7.6.1 (what ends with a connection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edge.message.claims import CLAIMS, METHOD_OVERRIDES
from edge.message.headers import HOP_BY_HOP, is_field_value, is_token

if TYPE_CHECKING:
    from edge.message.head import Field

BODY_BYTES: Final = 256 * 1024
"""The longest body that a verdict may answer with: a page, not a download."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

_OURS: Final = HOP_BY_HOP | {
    b"host", b"content-length", b"expect", b"via", b"forwarded", b"x-request-id", b"x-real-ip", b"traceparent",
}  # fmt: skip
_DROPPED: Final = _OURS | CLAIMS | METHOD_OVERRIDES
"""What would be taken for the client's own word, and dropped. A route's ``[route.request_headers]`` can say it."""

_OF_A_REPLY: Final = HOP_BY_HOP | {b"content-length", b"date", b"via", b"age", b"cache-status", b"proxy-status"}
_BODILESS: Final = frozenset({204, 205})


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request's head, and who sent it.

    Attributes:
        method: as sent.
        scheme: ``https`` or ``http``.
        host: lower case, without port.
        path: as sent: nothing is decoded.
        query: what follows the first ``?``; None: there is none.
        fields: names in lower case, in the order they came.
        client: its address, as far as a proxy of ours is believed; empty on a Unix socket.
        user: who it is, as a rule before this one has found; empty: nobody asked.
        route: the route's name, or its host and path.
    """

    method: str
    scheme: str
    host: str
    path: str
    query: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    client: str = ""
    user: str = ""
    route: str = ""

    def header(self, name: str) -> str | None:
        """Return the value of a field, given in lower case; several lines of it are joined with a comma. None: not sent."""
        values = [value for other, value in self.fields if other == name]
        return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True)
class Pass:
    """
    It may pass.

    Attributes:
        set_headers: fields the origin is told, in place of what the client said under these names.
        remove_headers: fields the origin is not told.
        origin: who is asked instead of the route's; None: the route's. What another is asked passes the cache by.
    """

    set_headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    remove_headers: tuple[str, ...] = ()
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """
    It is answered here, and nobody is asked. Never stored.

    Attributes:
        status: 200 to 599.
        body: text is sent as UTF-8.
        headers: beside the length and the date.
    """

    status: int
    body: str | bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)


Verdict = Pass | Respond


class Unusable(ValueError):  # noqa: N818 - it reads as what it is
    """What a function returned cannot be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """
    A verdict, checked and in the words of the wire.

    Attributes:
        told: fields the origin is told; their names, and *removed*, are taken off the client's.
        removed: names.
        origin: who is asked instead, or None.
        reply: status, fields and body, if that is all.
    """

    told: tuple[Field, ...] = ()
    removed: frozenset[bytes] = frozenset()
    origin: str | None = None
    reply: tuple[int, tuple[Field, ...], bytes] | None = None


def ruling(said: object) -> Ruling:
    """
    Check what a function returned.

    Raises:
        Unusable: it is no verdict, or contains what may not be said.
    """
    if isinstance(said, Pass):
        told = _fields(said.set_headers, _DROPPED)
        removed = frozenset(_name(name, _OURS) for name in said.remove_headers)
        if said.origin is not None and not isinstance(said.origin, str):
            raise Unusable(f"origin is {said.origin!r}, not a name")
        removed |= {name for name, _ in told}
        # An origin that cannot tell ``_`` from ``-`` is told neither spelling by the client.
        return Ruling(told, removed | {name.replace(b"_", b"-") for name in removed}, said.origin)
    if isinstance(said, Respond):
        status: Any = said.status  # whatever an operator's function has put there
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599 or status == 304:
            raise Unusable(f"status {status!r}; expected 200 to 599, but not 304")
        body: Any = said.body.encode() if isinstance(said.body, str) else said.body
        if not isinstance(body, bytes) or len(body) > BODY_BYTES:
            raise Unusable(f"a body of {sized(body)}; expected text or bytes, of at most {BODY_BYTES >> 10} KiB")
        if body and status in _BODILESS:
            raise Unusable(f"a body with status {status}, which has none")
        return Ruling(reply=(status, _fields(said.headers, _OF_A_REPLY), body))
    raise Unusable(f"it returned {type(said).__name__}; expected Pass or Respond")


def sized(body: object) -> str:
    """Say what a body is."""
    return f"{len(body)} bytes" if isinstance(body, bytes) else type(body).__name__


def _fields(said: object, forbidden: frozenset[bytes]) -> tuple[Field, ...]:
    if not isinstance(said, Mapping):
        raise Unusable(f"headers are {type(said).__name__}; expected a mapping of names to values")
    found = []
    for name, text in said.items():
        if not isinstance(text, str):
            raise Unusable(f"the value of {name!r} is {type(text).__name__}; expected text")
        try:
            value = text.encode("latin-1")
        except UnicodeEncodeError:
            raise Unusable(f"the value of {name!r} has characters beyond Latin-1") from None
        if not is_field_value(value):
            raise Unusable(f"the value of {name!r} cannot stand in a field: {text!r}")
        found.append((_name(name, forbidden), value))
    return tuple(found)


def _name(said: object, forbidden: frozenset[bytes]) -> bytes:
    if not isinstance(said, str):
        raise Unusable(f"{said!r} is no field name")
    name = said.lower().encode("ascii", "replace")
    if not is_token(name):
        raise Unusable(f"{said!r} is no field name")
    folded = name.replace(b"_", b"-")
    if folded in forbidden or folded.startswith(b"x-forwarded-"):
        raise Unusable(f"{said!r} is not for a policy function to say")
    return name
