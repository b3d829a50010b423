"""
Which of an origin's servers is asked next.

Decides among the servers it is given as able; who is able (well, and with room) is said by others. Does not know addresses,
connections or time: servers are places in a list, *load* is what each carries, *weights* are what each has of its weight now.

Shares are right over all workers of the node, not only within each: whose turn it is lies in the origin's row of the fleet page
(:class:`Turns`), load is counted over all workers by whoever calls, and a hash is the same everywhere.

Invariant: :meth:`Balancer.pick` returns one of *able*. A balancer with a key gives the same server for the same key in every
worker and after a restart, as long as that server is able (and within its bound); when it is not, only its own keys move.

Cost: one server never gets here; two or three take about 1 µs by turns, 2-3 µs by hash (``bench/micro/test_origin.py``).
Source: nginx ``ngx_http_upstream_round_robin.c`` (smooth turns); Thaler & Ravishankar 1998 (rendezvous); Karger 1997 and
libketama (ring); Mirrokni, Thorup & Zadimoghaddam 2016 (bounded loads); Mitzenmacher 2001 (two choices); Finagle's peak EWMA
(least time).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import Enum
from hashlib import blake2b
from ipaddress import AddressValueError, IPv6Address
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence, Sequence

    from edge.share.fleet import Fleet

POINTS: Final = 160
"""Points on the ring per unit of weight, as in libketama: shares within about ten per cent of the weights."""

MOST_POINTS: Final = 1600
"""Points of the heaviest server: if it weighs more than ten everyone's are scaled down, so that a ring stays a few thousand
long. One that joins and is the first so heavy moves some keys of the others, too."""

TURN: Final = 8
"""A column of an origin's common half: whose turn it is."""

TIME, TIME_MONO = 9, 10
"""Columns of a server's common half: its reply time in seconds, and when that was worked out."""

MOST_TURNS: Final = 1024
MOST_STEPS: Final = 8192
"""Turns there are in an order at most; and what working out one may take where weights are no whole numbers, as they are
while a server comes back: a millisecond, ten times a second."""

_TURNS: Final = (1 << 63) - 1

OPEN, ASKED = 0, 1
"""Own columns of a server: exchanges under way, and how many there have been."""

FADE_S: Final = 10.0
"""A reply time that nothing has confirmed for so long counts a third: a server that was slow is found to be quick again."""

UNMEASURED_S: Final = 1.0
"""What a server that has never answered and is asked already counts: others first, until its first reply has come."""


class KeyedBy(Enum):
    """What makes two requests go to the same server."""

    NOTHING = "nothing"
    CLIENT = "client"  # where it comes from: sessions kept in a server's memory
    KEY = "key"  # what the configuration says: each server's own cache holds its share


class Load(Enum):
    """What a balancer is told of each server."""

    NOTHING = "nothing"  # anything
    BUSY = "busy"  # exchanges under way, in all workers
    TIME = "time"  # see :func:`cost`


class Balancer(Protocol):
    """One way of choosing."""

    keyed_by: KeyedBy
    load: Load

    def prepare(self, able: Sequence[int], weights: Sequence[float]) -> None:
        """From now on these are able, and have these weights; picks may be among fewer of them. Called before the first pick."""
        ...

    def pick(self, able: Sequence[int], weights: Sequence[float], load: Sequence[float], key: bytes) -> int:
        """
        Return one of *able*.

        Args:
            able: places of servers, ascending, at least one.
            weights: of every server (not only the able), above 0.
            load: of every server, what :attr:`load` names.
            key: what ``keyed_by`` names; ignored by the others.
        """
        ...


class Turns:
    """
    Whose turn it is: a number that counts on with every pick.

    Processes that count at the same moment may take the same turn, and one that is stopped in the midst of counting sets the
    number back. Neither favours anybody: any stretch of turns holds everyone's share, and a stretch that is gone through
    twice holds it twice.

    Attributes:
        words: where the number is: the fleet page, or a list of our own.
        at: which of them.
    """

    __slots__ = ("at", "words")

    def __init__(self, words: MutableSequence[int] | memoryview[int], at: int) -> None:
        self.words = words
        self.at = at

    @classmethod
    def alone(cls) -> Turns:
        """Return a number that nobody shares."""
        return cls([0], 0)

    @classmethod
    def of(cls, fleet: Fleet, row: int) -> Turns:
        """Return the node's number for the origin with this *row*."""
        return cls(fleet.words, fleet.common(row) + TURN)


class RoundRobin:
    """By turns, in proportion to weight, spread out smoothly: 5,1,1 gives a a b a c a a, never five in a row."""

    __slots__ = ("_order", "_turns")

    keyed_by = KeyedBy.NOTHING
    load = Load.NOTHING

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._order: list[int] = []

    def prepare(self, able: Sequence[int], weights: Sequence[float]) -> None:
        """Work out the order of turns."""
        self._order = order_of_turns(able, weights)

    def pick(self, able: Sequence[int], weights: Sequence[float], load: Sequence[float], key: bytes) -> int:  # noqa: ARG002
        """Take the next turn; one of who is not able now goes to the next after it, or before it, in turns too."""
        words, at, order = self._turns.words, self._turns.at, self._order
        turn = words[at]
        words[at] = turn + 1 & _TURNS
        place = turn % len(order)
        if order[place] in able:
            return order[place]
        step = 1 if turn // len(order) % 2 else -1
        for _ in order:
            place += step
            server = order[place % len(order)]
            if server in able:
                return server
        return able[turn % len(able)]


def order_of_turns(able: Sequence[int], weights: Sequence[float]) -> list[int]:
    """
    Return who has which turn, until the order begins anew.

    In each turn everyone is given his weight; whoever is owed most has the turn and pays what was given. With whole weights
    the order is as long as they need to come out even, at most MOST_TURNS; else as long as makes the shares right to a per
    cent or better.
    """
    given = [weights[server] for server in able]
    if all(weight == int(weight) for weight in given):
        divisor = math.gcd(*(int(weight) for weight in given))
        given = [int(weight) // divisor for weight in given]
        length = min(int(sum(given)), MOST_TURNS)
    else:
        length = max(4 * len(able), min(MOST_TURNS, MOST_STEPS // len(able)))
    whole = sum(given)
    debts = [0.0] * len(given)
    places = range(len(given))
    order = []
    for _ in range(length):
        chosen, most = 0, -math.inf
        for place in places:
            owed = debts[place] = debts[place] + given[place]
            if owed > most:
                chosen, most = place, owed
        debts[chosen] -= whole
        order.append(able[chosen])
    return order


class LeastLoaded:
    """Whoever carries least for its weight; equals take turns. By exchanges under way, or by :func:`cost`."""

    __slots__ = ("_turns", "load")

    keyed_by = KeyedBy.NOTHING

    def __init__(self, turns: Turns, load: Load = Load.BUSY) -> None:
        self._turns = RoundRobin(turns)
        self.load = load

    def prepare(self, able: Sequence[int], weights: Sequence[float]) -> None:
        """Equals take turns."""
        self._turns.prepare(able, weights)

    def pick(self, able: Sequence[int], weights: Sequence[float], load: Sequence[float], key: bytes) -> int:
        """Compare by cross-multiplication: a quotient would make equals differ."""
        best = [able[0]]
        for server in able[1:]:
            difference = load[server] * weights[best[0]] - load[best[0]] * weights[server]
            if difference < 0:
                best = [server]
            elif difference == 0:
                best.append(server)
        return best[0] if len(best) == 1 else self._turns.pick(best, weights, load, key)


class RandomTwo:
    """Two drawn by weight, the less loaded of them: nearly as even as the least loaded, without a herd running to it."""

    __slots__ = ("_random",)

    keyed_by = KeyedBy.NOTHING
    load = Load.BUSY

    def __init__(self, random: Random) -> None:
        self._random = random

    def prepare(self, able: Sequence[int], weights: Sequence[float]) -> None:
        """Nothing is prepared."""

    def pick(self, able: Sequence[int], weights: Sequence[float], load: Sequence[float], key: bytes) -> int:  # noqa: ARG002
        """Draw two different servers and compare them."""
        first = self._draw(able, weights)
        if len(able) == 1:
            return first
        second = self._draw([server for server in able if server != first], weights)
        return first if load[first] * weights[second] <= load[second] * weights[first] else second

    def _draw(self, among: Sequence[int], weights: Sequence[float]) -> int:
        left = self._random.random() * sum([weights[server] for server in among])
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
    load = Load.NOTHING

    def __init__(self, weights: Sequence[int], names: Sequence[bytes]) -> None:
        self._weights = list(weights)
        self._names = list(names)

    def prepare(self, able: Sequence[int], weights: Sequence[float]) -> None:
        """Nothing is prepared."""

    def pick(self, able: Sequence[int], weights: Sequence[float], load: Sequence[float], key: bytes) -> int:  # noqa: ARG002
        """Return the highest bidder for the client *key* (its address as text)."""
        client = site(key)
        chosen, highest = able[0], -math.inf
        for server in able:
            bid = -self._weights[server] / math.log((_point(client + b"\0" + self._names[server]) + 1) / (2**64 + 1))
            if bid > highest:
                chosen, highest = server, bid
        return chosen


class ConsistentHash:
    """
    On a ring: the next point of an able server clockwise from the key's.

    With *bound* no server is picked that would then carry more than so many times its share of everything under way: its keys
    go on to the next on the ring, and a key that everybody wants is spread over as many servers as it takes.
    """

    __slots__ = ("_bound", "_owners", "_points", "_weights", "load")

    keyed_by = KeyedBy.KEY

    def __init__(self, weights: Sequence[int], names: Sequence[bytes], bound: float | None = None) -> None:
        scale = min(1.0, MOST_POINTS / (POINTS * max(weights)))
        ring = [
            (_point(b"%b\0%d" % (name, turn)), server)
            for server, name in enumerate(names)
            for turn in range(max(1, round(POINTS * weights[server] * scale)))
        ]
        ring.sort()
        self._points = [point for point, _ in ring]
        self._owners = [server for _, server in ring]
        self._weights = list(weights)
        self._bound = bound
        self.load = Load.NOTHING if bound is None else Load.BUSY

    def prepare(self, able: Sequence[int], weights: Sequence[float]) -> None:
        """Nothing is prepared."""

    def pick(self, able: Sequence[int], weights: Sequence[float], load: Sequence[float], key: bytes) -> int:  # noqa: ARG002
        """Return the owner of the first point at or after the key's that is able and within its bound."""
        owners = self._owners
        at = bisect_left(self._points, _point(key))
        if self._bound is not None:
            able = self._within_bound(able, load, self._bound)
        for step in range(len(owners)):
            owner = owners[(at + step) % len(owners)]
            if owner in able:
                return owner
        raise AssertionError("nobody able was given")

    def _within_bound(self, able: Sequence[int], load: Sequence[float], bound: float) -> list[int]:
        """Return those who may carry one more; there is always one, as the bounds add up to more than there is."""
        weights = self._weights
        whole = sum([weights[server] for server in able])
        each = bound * (sum([load[server] for server in able]) + 1) / whole
        return [server for server in able if load[server] + 1 <= math.ceil(each * weights[server])]


def make_balancer(
    balance: str,
    weights: Sequence[int],
    names: Sequence[bytes],
    *,
    turns: Turns | None = None,
    bound: float | None = None,
    random: Random | None = None,
) -> Balancer:
    """
    Build the balancer that the configuration calls *balance*.

    Args:
        balance: a key of :data:`BALANCERS`.
        weights: of every server, at least 1.
        names: of every server, such as ``b"10.0.0.5:8001"``: what a hash knows it by, so that reordering moves nobody.
        turns: whose turn it is; None: nobody shares it.
        bound: see :class:`ConsistentHash`.
        random: for random_two.
    """
    return BALANCERS[balance](weights, names, turns or Turns.alone(), bound, random or Random())


BALANCERS: Final[dict[str, Callable[[Sequence[int], Sequence[bytes], Turns, float | None, Random], Balancer]]] = {
    "round_robin": lambda _weights, _names, turns, _bound, _random: RoundRobin(turns),
    "least_connections": lambda _weights, _names, turns, _bound, _random: LeastLoaded(turns),
    "least_time": lambda _weights, _names, turns, _bound, _random: LeastLoaded(turns, Load.TIME),
    "ip_hash": lambda weights, names, _turns, _bound, _random: IpHash(weights, names),
    "consistent_hash": lambda weights, names, _turns, bound, _random: ConsistentHash(weights, names, bound),
    "random_two": lambda _weights, _names, _turns, _bound, random: RandomTwo(random),
}


# -- least time ----------------------------------------------------------------------------------------------


def measured(before_s: float, before_mono: float, took_s: float, now_mono: float) -> float:
    """
    Return a server's reply time after one more reply.

    A reply that took longer is believed at once, one that was quicker only as time goes by: the older what we know is, the
    more the new one counts.
    """
    if took_s >= before_s:
        return took_s
    fresh = math.exp(-max(0.0, now_mono - before_mono) / FADE_S)
    return before_s * fresh + took_s * (1.0 - fresh)


def cost(time_s: float, time_mono: float, busy: float, now_mono: float) -> float:
    """
    Return what asking a server would cost: how long its replies take, times all who would then wait for one.

    Args:
        time_s: from :func:`measured`; 0.0: it has never answered.
        time_mono: when that was.
        busy: exchanges under way.
        now_mono: the time.
    """
    if not time_s:
        return UNMEASURED_S * (busy + 1) if busy else 0.0
    return time_s * math.exp(-max(0.0, now_mono - time_mono) / FADE_S) * (busy + 1)


# -- keys ----------------------------------------------------------------------------------------------------


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
