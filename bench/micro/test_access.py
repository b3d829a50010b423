"""
What it costs to be let in (``edge/exchange/admission.py`` and what it asks).

Run ``pytest bench/micro/test_access.py``. Paid once per request on a route with rules; on others nothing of it is. Networks must cost with
100,000 what they cost with one; an address seen before is remembered, so both are shown.
"""

from __future__ import annotations

import random

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.config.tree import Config, Listener, Origin, OriginServer, Rate, Route, RouteAccess, RouteCors
from edge.exchange.recognise import Door
from edge.exchange.rooms import Rooms
from edge.message.head import RequestHead
from edge.observe.ledger import Ledger
from edge.observe.names import NAMES
from edge.policy.networks import NetworkTable
from edge.policy.rate import Quota
from edge.policy.tokens import KeySet, Terms, public_key, secret_key, verify
from edge.share.crowd import Crowd
from edge.share.rates import Rates
from edge.share.recency import Recency
from edge.share.shunned import Shunned
from edge.share.stamps import Stamps

NOW = 1_800_000_000.0


def prefixes(count: int) -> list[tuple[int, int, int]]:
    rng = random.Random(1)
    found = set()
    while len(found) < count:
        length = rng.choice([16, 20, 22, 24, 24, 24, 32])
        found.add((32, rng.getrandbits(32) >> 32 - length << 32 - length, length))
    return sorted(found)


MANY = prefixes(100_000)
STRANGERS = [
    f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in random.Random(2).sample(range(1 << 32), 100_000)
]


def test_making_a_table_of_100_000_networks(benchmark):
    benchmark.pedantic(lambda: NetworkTable([], MANY), rounds=5)


@pytest.mark.parametrize("count", [1, 100_000])
def test_an_address_seen_before(benchmark, count):
    table = NetworkTable([], MANY[:count])
    benchmark.pedantic(table.admits, args=("192.0.2.7",), rounds=100, iterations=5000, warmup_rounds=5)


@pytest.mark.parametrize("count", [1, 100_000])
def test_an_address_never_seen(benchmark, count):
    table = NetworkTable([], MANY[:count])
    strangers = iter(STRANGERS)
    benchmark.pedantic(lambda: table.admits(next(strangers)), rounds=20, iterations=4000)


def test_counting_a_request(benchmark):
    """Look and write, as an admitted request does."""
    rates, quota = Rates(), Quota("q", 1_000_000, 1.0, 1_000_000)
    now = iter(range(1 << 40))

    def once():
        at = next(now)
        key_hash = rates.hash(b"login\0@32/c0000207")
        spot = rates.look(key_hash, at)
        rates.write(spot, key_hash, quota.owed(spot.debt_us), at)

    benchmark.pedantic(once, rounds=50, iterations=2000, warmup_rounds=5)


KEYS = {
    "HS256": b"a shared secret that is long enough for all",
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_verifying_a_token(benchmark, algorithm):
    """Once per token: what was verified is remembered."""
    private = KEYS[algorithm]
    token = pyjwt.encode({"exp": NOW, "sub": "ada", "iss": "me", "aud": "shop"}, private, algorithm).encode()
    if isinstance(private, bytes):
        key = secret_key(private, [algorithm])
    else:
        key = public_key(
            private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), [algorithm]
        )
    keys, terms = KeySet([key]), Terms("me", ("shop",))
    benchmark.pedantic(verify, args=(token, keys, terms), rounds=50, iterations=50, warmup_rounds=2)


def rooms(route: Route, **more) -> Rooms:
    cells = [0] * len(NAMES)

    class Clock:
        def mono(self):
            return 0.0

        def wall(self):
            return NOW

    config = Config(
        listeners=(Listener("127.0.0.1:1"),),
        origins={"shop": Origin("shop", (OriginServer("http://127.0.0.1:8001"),))},
        routes=(route,),
        **more,
    )
    return Rooms(
        config, store=None, stamps=Stamps(16), recency=Recency(16), shunned=Shunned(16), ledger=Ledger(cells, None), cells=cells,
        clock=Clock(), rates=Rates(), under_way=Crowd(64, name="under_way"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("access", "cors"),
    [
        pytest.param(RouteAccess(concurrency=1), RouteCors(), id="nothing-yet"),
        pytest.param(RouteAccess(rates=("each",)), RouteCors(), id="rate"),
        pytest.param(RouteAccess(concurrency=1), RouteCors(origins=("https://a.example",)), id="cors"),
    ],
)
def test_admitting_a_request(benchmark, access, cors):
    """A whole visit, from the head to what its reply wears."""
    made = rooms(Route(None, "/", "shop", access=access, cors=cors), rates={"each": Rate("each", 1_000_000, 1.0)})
    head = RequestHead(b"GET", b"http", b"shop.example", b"/x", [(b"origin", b"https://a.example")])
    known = made.recognise(head, Door(made.config.listeners[0], b"http"))
    admission = made.admission
    now = iter(range(1 << 40))

    def once():
        visit = admission.visit(known, "192.0.2.7", "192.0.2.7", None)
        assert visit.advance(next(now) * 1e-5, NOW) is None

    benchmark.pedantic(once, rounds=50, iterations=1000, warmup_rounds=5)
