"""
Limits on requests as routes name them: a quota, and who has a budget of their own.

A limit that several routes name is one budget, so that signing in by two addresses is counted once; one by route is each
route's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.policy.rate import Quota, network_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.config.tree import Rate
    from edge.exchange.admission import Visit

_LATE: Final = frozenset({"user", "claim"})
_PREFIXES: Final = {"network": (24, 48)}
CLIENT: Final = (32, 64)
"""How many bits of an address stand for one client: all of IPv4, and a network's worth of IPv6."""


class Limit:
    """
    One limit on one route.

    Attributes:
        quota: how many.
        is_dry: it is only counted.
        words: for whoever wants to know.
    """

    __slots__ = ("_by", "_claim", "_header", "_prefixes", "_tag", "is_dry", "quota", "words")

    def __init__(self, settings: Rate, route: bytes) -> None:
        burst = settings.limit if settings.burst is None else settings.burst
        self.quota = Quota(settings.name, settings.limit, settings.per_s, burst)
        self.is_dry = settings.dry_run
        self._by = settings.by
        self._header = (settings.header or "").encode()
        self._claim = settings.claim or ""
        ipv4, ipv6 = _PREFIXES.get(settings.by, CLIENT)
        self._prefixes = (settings.ipv4_prefix or ipv4, settings.ipv6_prefix or ipv6)
        self._tag = settings.name.encode() + (b"\0" + route if settings.by == "route" else b"")
        whose = {"header": f"each value of {settings.header}", "claim": f"each value of {settings.claim}"}
        each = whose.get(settings.by, "all together" if settings.by == "route" else f"each {settings.by}")
        self.words = f"{settings.limit} requests in {settings.per_s:g} s, {burst} at once, for {each}" + (
            "; only counted" if settings.dry_run else ""
        )

    def key(self, visit: Visit) -> bytes:
        """Return what the request is counted under. Without the value that it is counted by, that is its address."""
        value: bytes | None = None
        match self._by:
            case "route":
                return self._tag
            case "header":
                value = visit.head.index.get(self._header)
            case "user":
                value = visit.user().encode("utf-8", "replace") or None
            case "claim":
                value = visit.claimed(self._claim)
        if value is not None:
            return b"%b\0=%b" % (self._tag, value)
        return b"%b\0@%b" % (self._tag, network_of(visit.address, *self._prefixes))

    @staticmethod
    def client(address: str) -> bytes:
        """Return what a client is known by."""
        return network_of(address, *CLIENT)


def limits_of(
    rates: Mapping[str, Rate], wanted: Iterable[str], route: bytes
) -> tuple[tuple[Limit, ...], tuple[Limit, ...]]:
    """Return a route's limits: those that must know the address alone, and those that must know who asks."""
    chosen = [rates[name] for name in wanted]
    early = tuple(Limit(settings, route) for settings in chosen if settings.by not in _LATE)
    late = tuple(Limit(settings, route) for settings in chosen if settings.by in _LATE)
    return early, late
