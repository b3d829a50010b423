"""
What pages of other sites may do here: the protocol by which a browser asks, and is told.

A preflight is answered here. What a reply tells a browser depends on the request's ``Origin``, so it is added as a reply
leaves and is in no copy: one copy serves all sites, and ``Vary: Origin`` tells the caches behind us. What an origin server says
about this itself is taken off: two answers are none to a browser.

Who may *see* a reply is not decided here; a client that is no browser ignores all of it.

Source: WHATWG Fetch §3.3 (CORS protocol); RFC 6454 §6.2 (an origin's text).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.message.headers import is_token, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.message.head import Field, RequestHead

ANY: Final = "*"
PREFIX: Final = b"access-control-"

_PREFLIGHT_VARY: Final = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
_LONGEST: Final = 300


class Cors:
    """
    What one route says to other sites' pages.

    Args:
        origins: ``https://shop.example``, ``https://*.shop.example`` for every name below it, ``null``, or ``*`` for all.
        methods: that they may use.
        headers: that they may send; ``*``: any.
        expose: header fields of replies that they may read, beside the ones that everybody may.
        credentials: whether their requests may carry cookies and logins.
        max_age_s: how long a browser may remember a preflight's answer.
    """

    __slots__ = (
        "_any",
        "_exact",
        "_expose",
        "_headers",
        "_max_age",
        "_methods",
        "_named",
        "_plain",
        "_suffixes",
        "credentials",
    )

    def __init__(
        self,
        origins: Iterable[str],
        *,
        methods: Iterable[str] = ("GET", "HEAD", "POST"),
        headers: Iterable[str] = (),
        expose: Iterable[str] = (),
        credentials: bool = False,
        max_age_s: float = 600.0,
    ) -> None:
        origins = tuple(origins)
        self._any = ANY in origins
        self._exact = frozenset(origin.encode() for origin in origins if "*" not in origin)
        # scheme and what must stand at the end, port included
        self._suffixes = tuple(
            (scheme.encode() + b"://", rest.removeprefix("*").encode())
            for scheme, _, rest in (origin.partition("://") for origin in origins if "://*." in origin)
        )
        self._methods = frozenset(method.encode() for method in methods)
        self._named = b", ".join(sorted(self._methods))
        self._headers = frozenset(name.encode() for name in headers)
        self._expose = b", ".join(name.encode() for name in expose)
        self._max_age = b"%d" % int(max_age_s)
        self.credentials = credentials
        self._plain: tuple[Field, ...] = () if self._any else ((b"vary", b"Origin"),)

    def allows(self, origin: bytes) -> bool:
        """Whether pages of *origin* may."""
        if self._any or origin in self._exact:
            return True
        return len(origin) <= _LONGEST and any(
            origin.startswith(scheme) and origin.endswith(suffix) and _is_below(origin[len(scheme) : -len(suffix)])
            for scheme, suffix in self._suffixes
        )

    @staticmethod
    def is_preflight(head: RequestHead) -> bool:
        """Whether a browser asks for leave, rather than for anything."""
        index = head.index
        return head.method == b"OPTIONS" and b"origin" in index and b"access-control-request-method" in index

    def preflight(self, head: RequestHead) -> list[Field] | None:
        """Return the fields that answer a preflight; None: the page may not do what it asks for."""
        index = head.index
        origin = index[b"origin"]
        wanted = set(tokens(index.get(b"access-control-request-headers")))
        if not self.allows(origin) or index[b"access-control-request-method"] not in self._methods:
            return None
        if not (all(map(is_token, wanted)) if b"*" in self._headers else wanted <= self._headers):
            return None
        fields = [*self._leave(origin), (b"access-control-allow-methods", self._named)]
        if wanted:
            fields.append((b"access-control-allow-headers", b", ".join(sorted(wanted))))
        fields += [(b"access-control-max-age", self._max_age), (b"vary", _PREFLIGHT_VARY)]
        return fields

    def fields(self, head: RequestHead) -> list[Field]:
        """Return the fields that any reply to *head* carries."""
        origin = head.index.get(b"origin")
        if self._any:
            fields = self._leave(b"*")
        elif origin is None or not self.allows(origin):
            return list(self._plain)
        else:
            fields = [*self._leave(origin), *self._plain]
        if self._expose:
            fields.append((b"access-control-expose-headers", self._expose))
        return fields

    def _leave(self, origin: bytes) -> list[Field]:
        fields = [(b"access-control-allow-origin", b"*" if self._any else origin)]
        if self.credentials:
            fields.append((b"access-control-allow-credentials", b"true"))
        return fields


def _is_below(label: bytes) -> bool:
    """Whether what stands for a ``*`` is one or more labels and nothing else: no port, no user, no path."""
    return bool(label) and label.replace(b"-", b"").replace(b".", b"").isalnum() and not label.startswith(b".")
