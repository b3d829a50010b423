"""
Which of an origin's servers is asked next.

Decides among the servers it is given as able; who is able (well, and with room) is said by others. Does not know
addresses, connections or time: servers are indexes, *busy* counts the exchanges each is carrying.

Invariant: :meth:`Balancer.pick` returns one of *able*. A balancer with a key gives the same server for the same key
in every worker and after a restart, as long as that server is able; when it is not, only its own keys move.

Cost: one server never gets here; two or three take about 1 µs by turns, 2-3 µs by hash (``bench/micro/test_origin.py``).
Source: nginx ``ngx_http_upstream_round_robin.c`` (smooth turns); Thaler & Ravishankar 1998 (rendezvous);
Karger 1997 and libketama (ring); Mitzenmacher 2001 (two choices).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import Enum
from hashlib import blake2b
from ipaddress import AddressValueError, IPv6Address
from random import Random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POINTS = 160
"""Points on the ring per unit of weight, as in libketama: shares within about ten per cent of the weights."""

MOST_POINTS = 1600
"""Points of the heaviest server: weights above ten are scaled down to this, so that a ring stays a few thousand long."""


class KeyedBy(Enum):
    """What makes two requests go to the same server."""

    NOTHING = "nothing"
    CLIENT = "client"  # where it comes from: sessions kept in a server's memory
    TARGET = "target"  # what it asks for: each server's own cache holds its share


class Balancer(Protocol):
    """One way of choosing."""

    keyed_by: KeyedBy

    def pick(self, able: Sequence[int], busy: Sequence[int], key: bytes) -> int:
        """
        Return one of *able*.

        Args:
            able: indexes of servers, ascending, at least one.
            busy: exchanges under way, for every server (not only the able).
            key: what ``keyed_by`` names; ignored by the others.
        """
        ...


class RoundRobin:
    """By turns, in proportion to weight, spread out smoothly: 5,1,1 gives a a b a c a a, never five in a row."""

    __slots__ = ("_debt", "_weights")

    keyed_by = KeyedBy.NOTHING

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._debt = [0] * len(self._weights)

    def pick(self, able: Sequence[int], busy: Sequence[int], key: bytes) -> int:  # noqa: ARG002 - one signature for all
        """Give everyone able its weight; whoever is owed most is chosen and pays what was given."""
        debt, weights = self._debt, self._weights
        given = 0
        chosen, most = -1, -math.inf
        for server in able:
            given += weights[server]
            owed = debt[server] = debt[server] + weights[server]
            if owed > most:
                chosen, most = server, owed
        debt[chosen] -= given
        return chosen


class LeastConnections:
    """Whoever carries least for its weight; equals take turns."""

    __slots__ = ("_turns", "_weights")

    keyed_by = KeyedBy.NOTHING

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._turns = RoundRobin(weights)

    def pick(self, able: Sequence[int], busy: Sequence[int], key: bytes) -> int:
        """Compare load by cross-multiplied integers: a float would make equals differ."""
        weights = self._weights
        best = [able[0]]
        for server in able[1:]:
            difference = busy[server] * weights[best[0]] - busy[best[0]] * weights[server]
            if difference < 0:
                best = [server]
            elif difference == 0:
                best.append(server)
        return best[0] if len(best) == 1 else self._turns.pick(best, busy, key)


class RandomTwo:
    """Two drawn by weight, the less loaded of them: nearly as even as the least loaded, without a herd running to it."""

    __slots__ = ("_random", "_weights")

    keyed_by = KeyedBy.NOTHING

    def __init__(self, weights: Sequence[int], random: Random) -> None:
        self._weights = list(weights)
        self._random = random

    def pick(self, able: Sequence[int], busy: Sequence[int], key: bytes) -> int:  # noqa: ARG002
        """Draw two different servers and compare them."""
        first = self._draw(able)
        if len(able) == 1:
            return first
        second = self._draw([server for server in able if server != first])
        weights = self._weights
        return first if busy[first] * weights[second] <= busy[second] * weights[first] else second

    def _draw(self, among: Sequence[int]) -> int:
        weights = self._weights
        left = self._random.randrange(sum([weights[server] for server in among]))
        for server in among[:-1]:
            left -= weights[server]
            if left < 0:
                return server
        return among[-1]


class IpHash:
    """
    By client, weighted rendezvous: every server bids for the client, the highest bid wins.

    No table to build, and when a server goes only its own clients move. An IPv6 client is its /64: hosts change the lower
    half of their address by themselves (RFC 8981).
    """

    __slots__ = ("_names", "_weights")

    keyed_by = KeyedBy.CLIENT

    def __init__(self, weights: Sequence[int], names: Sequence[bytes]) -> None:
        self._weights = list(weights)
        self._names = list(names)

    def pick(self, able: Sequence[int], busy: Sequence[int], key: bytes) -> int:  # noqa: ARG002
        """Return the highest bidder for the client *key* (its address as text)."""
        client = site(key)
        chosen, highest = able[0], -math.inf
        for server in able:
            bid = -self._weights[server] / math.log((_point(client + b"\0" + self._names[server]) + 1) / (2**64 + 1))
            if bid > highest:
                chosen, highest = server, bid
        return chosen


class ConsistentHash:
    """By target, on a ring: the next point of an able server clockwise from the key's."""

    __slots__ = ("_owners", "_points")

    keyed_by = KeyedBy.TARGET

    def __init__(self, weights: Sequence[int], names: Sequence[bytes]) -> None:
        scale = min(1.0, MOST_POINTS / (POINTS * max(weights)))
        ring = [
            (_point(b"%b\0%d" % (name, turn)), server)
            for server, name in enumerate(names)
            for turn in range(max(1, round(POINTS * weights[server] * scale)))
        ]
        ring.sort()
        self._points = [point for point, _ in ring]
        self._owners = [server for _, server in ring]

    def pick(self, able: Sequence[int], busy: Sequence[int], key: bytes) -> int:  # noqa: ARG002
        """Return the owner of the first point at or after the key's whose owner is able."""
        owners = self._owners
        at = bisect_left(self._points, _point(key))
        for step in range(len(owners)):
            owner = owners[(at + step) % len(owners)]
            if owner in able:
                return owner
        raise AssertionError("nobody able was given")


def make_balancer(
    balance: str, weights: Sequence[int], names: Sequence[bytes], *, random: Random | None = None
) -> Balancer:
    """
    Build the balancer that the configuration calls *balance*.

    Args:
        balance: a key of :data:`BALANCERS`.
        weights: of every server, at least 1.
        names: of every server, such as ``b"10.0.0.5:8001"``: what a hash knows it by, so that reordering moves nobody.
        random: for random_two.
    """
    return BALANCERS[balance](weights, names, random or Random())


BALANCERS: dict[str, Callable[[Sequence[int], Sequence[bytes], Random], Balancer]] = {
    "round_robin": lambda weights, _names, _random: RoundRobin(weights),
    "least_connections": lambda weights, _names, _random: LeastConnections(weights),
    "ip_hash": lambda weights, names, _random: IpHash(weights, names),
    "consistent_hash": lambda weights, names, _random: ConsistentHash(weights, names),
    "random_two": lambda weights, _names, random: RandomTwo(weights, random),
}


def site(address: bytes) -> bytes:
    """Return what stays the same about a client: an IPv4 address itself, of an IPv6 address the first 64 bits."""
    if b":" not in address:
        return address
    try:
        return IPv6Address(address.partition(b"%")[0].decode("ascii", "replace")).packed[:8]
    except AddressValueError:
        return address


def _point(key: bytes) -> int:
    """Return 64 well-mixed bits, the same in every process (``hash`` is salted per process)."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
