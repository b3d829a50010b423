"""The rooms with everything around them real but nothing running: a store in memory, pages of one's own, a clock set by hand."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from edge.cache.copy import Copy
from edge.cache.store import Store
from edge.cache.storing import NotStored
from edge.config.tree import CacheConfig, Config, Listener, Origin, OriginServer, Route
from edge.exchange.recognise import Door, Known
from edge.exchange.rooms import Rooms
from edge.observe.ledger import Ledger
from edge.observe.names import NAMES
from edge.share.crowd import Crowd
from edge.share.rates import Rates
from edge.share.recency import Recency
from edge.share.shunned import Shunned
from edge.share.stamps import Stamps
from tests.cache import kit

NOW = kit.NOW
MIB = 1 << 20
SHOP = Origin("shop", (OriginServer("http://127.0.0.1:8001"),))
TEXT = b"<p>Some text that is worth compressing, again and again.</p>\n" * 20
FRESH = {"cache-control": "max-age=60", "etag": '"1"', "content-type": "image/png"}
TEXTUAL = FRESH | {"content-type": "text/html"}


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def mono(self) -> float:
        return self.at

    def wall(self) -> float:
        return NOW + self.at


def door(**more: Any) -> Door:
    return Door(Listener("127.0.0.1:8443", tls=True), b"https", **more)


class Desk:
    """
    One worker's rooms, and what a test does to them.

    Args:
        folder: for a store; None: there is none.
    """

    def __init__(self, folder: Path | None, *, memory: int = MIB, **changes: Any) -> None:
        self.clock = Clock()
        self.stamps = Stamps(1 << 10)
        self.recency = Recency(1 << 10)
        self.shunned = Shunned(1 << 10)
        self.store = Store.open(folder, 32 * MIB, stamps=self.stamps, recency=self.recency) if folder else None
        self.cells = [0] * len(NAMES)
        settings: dict[str, Any] = {
            "listeners": (Listener("127.0.0.1:8443", tls=True),),
            "origins": {"shop": SHOP},
            "routes": (Route("shop.example", "/", "shop"),),
            "cache": CacheConfig(folder, 32 * MIB, memory),
            "trusted_proxies": (ip_network("10.0.0.0/8"),),
        }
        self.rooms = Rooms(
            Config(**settings | changes),
            store=self.store,
            stamps=self.stamps,
            recency=self.recency,
            shunned=self.shunned,
            ledger=Ledger(self.cells, None),
            cells=self.cells,
            clock=self.clock,
            admin=None,
            rates=Rates(1 << 10),
            under_way=Crowd(4, name="under_way"),
        )
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and a turn begin."""
        self.clock.at += seconds
        self.rooms.now_wall = self.clock.wall()
        self.rooms.now_s = int(self.rooms.now_wall)

    def known(self, target: str = "/x", method: str = "GET", fields: kit.Fields = {}, **more: Any) -> Known:
        """What a head means, by the one door."""
        return self.rooms.recognise(kit.head(target, method, fields, **more), door())

    def decide(self, target: str = "/x", method: str = "GET", fields: kit.Fields = {}, **more: Any) -> Any:
        return self.rooms.decide(self.known(target, method, fields, **more))

    def keep(self, fields: kit.Fields = FRESH, body: bytes = b"hello", **more: Any) -> Copy:
        """Store what such a reply to ``GET /x`` becomes."""
        assert self.store is not None
        kept = self.store.put(kit.stored(fields, length=len(body), at=self.clock.wall(), **more), body)
        assert not isinstance(kept, NotStored), kept
        return kept

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
