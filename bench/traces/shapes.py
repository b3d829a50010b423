"""
What is asked for: traces of the shapes that published ones have, made from a seed.

A trace is a list of objects asked for one after another, at an even pace, and how large each object is. The same seed gives the
same trace under every Python. Objects are numbers; nothing here knows what a cache is.

Shapes, and where they are known from:

- *Zipf with scans*: few objects take most requests, and now and then a crawler walks through what nobody else wants.
- *Zipf with single uses*: a quarter of all requests are for what is never asked for again, as in the traces of content networks.
- *loop in Zipf*: part of the requests goes round and round through more than fits, the worst there is for least recently used.
- *loop*: nothing but that.
- *shifts*: what is popular changes all at once every so often, and single objects have a burst of their own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import accumulate

PAGE = 4096
CHUNK = PAGE - 16
HEAD = 512
"""As the store lays bodies out: what each policy is charged for an object is what it takes there."""


def footprint(length: int) -> int:
    """Return the bytes that a body of *length* takes in the store."""
    whole, rest = divmod(length, CHUNK)
    return whole * PAGE + (PAGE if rest > CHUNK // 2 else rest) + HEAD


@dataclass(slots=True)
class Trace:
    """
    Attributes:
        asked: an object per request.
        lengths: bytes of a body, by object.
        per_s: requests per second.
    """

    name: str
    asked: list[int]
    lengths: list[int]
    per_s: float = 500.0
    sizes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = [footprint(length) for length in self.lengths]


MEDIAN = 8 * 1024
SPREAD = 1.2
LARGEST = 1 << 20


def lengths(chance: random.Random, count: int) -> list[int]:
    """Lengths as those of web objects: half below 8 KiB, a mean twice that, and some hundred times as long."""
    return [min(LARGEST, max(200, int(MEDIAN * chance.lognormvariate(0, SPREAD)))) for _ in range(count)]


class Zipf:
    """Draws one of *count* objects, the n-th most popular in proportion to n to the power of minus *slope*."""

    def __init__(self, chance: random.Random, count: int, slope: float) -> None:
        self._chance = chance
        self._weights = list(accumulate((rank + 1) ** -slope for rank in range(count)))
        self.order = list(range(count))
        chance.shuffle(self.order)

    def draw(self, count: int) -> list[int]:
        """Return *count* objects."""
        return self._chance.choices(self.order, cum_weights=self._weights, k=count)


def zipf_with_scans(requests: int, objects: int, seed: int) -> Trace:
    """Every tenth of the trace, a scan makes up half of the requests for a while, through objects of its own."""
    chance = random.Random(seed)
    zipf = Zipf(chance, objects, 0.9)
    asked: list[int] = []
    part = requests // 10
    scanned = objects
    for _ in range(10):
        length = part // 5
        asked += zipf.draw(part - 2 * length)
        for each in zipf.draw(length):
            asked += (each, scanned)
            scanned += 1
    return Trace("Zipf 0.9 with scans", asked, lengths(chance, scanned))


def zipf_with_single_uses(requests: int, objects: int, seed: int) -> Trace:
    """One request in four is for an object that nobody asks for again."""
    chance = random.Random(seed)
    asked = Zipf(chance, objects, 1.0).draw(requests)
    fresh = objects
    for at in range(requests):
        if chance.random() < 0.25:
            asked[at] = fresh
            fresh += 1
    return Trace("Zipf 1.0 with single uses", asked, lengths(chance, fresh))


def loop_in_zipf(requests: int, objects: int, seed: int, looped: int) -> Trace:
    """One request in three goes on with a loop through *looped* objects."""
    chance = random.Random(seed)
    asked = Zipf(chance, objects, 0.9).draw(requests)
    step = 0
    for at in range(0, requests, 3):
        asked[at] = objects + step % looped
        step += 1
    return Trace("Zipf 0.9 with a loop", asked, lengths(chance, objects + looped))


def loop(requests: int, looped: int, seed: int) -> Trace:
    """Through *looped* objects, again and again."""
    chance = random.Random(seed)
    return Trace("a loop", [at % looped for at in range(requests)], lengths(chance, looped))


def shifts(requests: int, objects: int, seed: int) -> Trace:
    """Every eighth of the trace half of the ranks are dealt anew; one request in ten goes to the object of the moment."""
    chance = random.Random(seed)
    zipf = Zipf(chance, objects, 0.9)
    asked: list[int] = []
    part = requests // 8
    for _ in range(8):
        asked += zipf.draw(part)
        places = chance.sample(range(objects), objects // 2)
        dealt = [zipf.order[place] for place in places]
        chance.shuffle(dealt)
        for place, each in zip(places, dealt, strict=True):
            zipf.order[place] = each
    star = 0
    for at in range(len(asked)):
        if at % 2000 == 0:
            star = chance.randrange(objects)
        if chance.random() < 0.1:
            asked[at] = star
    return Trace("shifts and bursts", asked, lengths(chance, objects))
