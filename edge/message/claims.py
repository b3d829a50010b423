"""
What a request's fields claim about who asks, by what way, and for what really: in nobody's key, and believed by many origins.

Decides which names are such claims. Does not know whose are believed: that is the business of whoever passes a request on. The
names are those that common servers, frameworks and gateways act on. ``x-forwarded-`` anything is one by its beginning; names with a
meaning that standards give them are not here, nor ``x-remote-user`` and its like, by which operators tell an origin who was let in.

Source: the documentation of servers (IIS, nginx's ingress, Symfony, Rails, WebLogic, Zend) and what is published on poisoning caches
by unkeyed input.
"""

from __future__ import annotations

from typing import Final

FORWARDED: Final = b"x-forwarded-"
"""How many more of these names begin."""

_WHO: Final = frozenset(
    {
        b"cf-connecting-ip", b"client-ip", b"fastly-client-ip", b"forwarded-for", b"proxy-client-ip", b"true-client-ip",
        b"wl-proxy-client-ip", b"x-azure-clientip", b"x-client-ip", b"x-cluster-client-ip", b"x-envoy-external-address", b"x-forward-for",
        b"x-forwarded", b"x-forwarder-for", b"x-original-forwarded-for", b"x-original-remote-addr", b"x-originating-ip",
        b"x-proxyuser-ip", b"x-real-ip", b"x-remote-addr", b"x-remote-ip",
    }
)  # fmt: skip
_WHERE: Final = frozenset(
    {
        b"base-url", b"front-end-https", b"x-arr-ssl", b"x-backend-host", b"x-envoy-original-host", b"x-envoy-original-path", b"x-host",
        b"x-http-destinationurl", b"x-http-host-override", b"x-original-host", b"x-original-method", b"x-original-path",
        b"x-original-port", b"x-original-prefix", b"x-original-proto", b"x-original-scheme", b"x-original-uri", b"x-original-url",
        b"x-proxy-url", b"x-rewrite-uri", b"x-rewrite-url", b"x-scheme", b"x-url-scheme", b"wl-proxy-ssl",
    }
)  # fmt: skip

CLAIMS: Final = _WHO | _WHERE
"""What only a proxy has to say. From anybody else it would have an origin answer another question than the one in the key."""

METHOD_OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
"""
What a client says that its request means another method. Honest ones say it with POST, whose meaning is wide enough for any;
with a safe method it lets pass what was asked for as harmless, and its reply is kept as GET's.
"""
