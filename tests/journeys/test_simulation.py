"""
Schedules: clients that leave, dawdle and lie, an origin that fails, and a node that is reloaded, loses workers and has its clock set.

The players are those of the storm (``test_storm.py``); the stage is ``tests/kit/simulation.py``: several workers that share one
store, and no real time, so hundreds of schedules run in seconds. A failing seed is printed with the command that replays it:
``EDGE_SCHEDULE=7 pytest tests/journeys/test_simulation.py``. ``EDGE_SCHEDULES=5000`` tries that many; ``long`` does.

Invariants, whatever happens
    - a complete reply has the right bytes, and what is meant for one client reaches no other;
    - each request gets one reply or a cut, and nothing comes behind it;
    - what was purged is not served to anybody who asks after the purge was answered;
    - who joins another's fetch comes to an end, also when its worker has;
    - what must not be repeated reaches the origin at most once;
    - each request that was taken has one entry, and the counters add up to them;
    - in the end nothing is carried, open, lent, claimed or waited for, and no error was our own.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import trio

from edge.observe import names
from tests.journeys.test_storm import Storm, Wild, content
from tests.kit.client import Client, Gone, Reply
from tests.kit.counts import tried
from tests.kit.simulation import Simulation, simulate

COUNT = int(os.environ.get("EDGE_SCHEDULES", "150"))
CLIENTS = 4
CONNECTIONS = 3


class Players(Storm):
    """The storm's clients, before a simulated node."""

    sizes = (0, 1, 700, 20_000, 70_000, 140_000)
    hot = (b"/fixed/hot/20000", b"/text/hot/140000", b"/stale/hot/70000", b"/vary/hot/140000")

    def __init__(self, seed: int, node: Simulation, wild: Wild) -> None:
        self.seed = seed
        self.node = node
        self.tokens = 0
        self.seen = Counter()
        self.wild = wild
        self.floors: Counter[bytes] = Counter()  # by target: how often the origin had been asked before the last purge
        self.kept: list[object] = []  # so that no two requests' fields are ever at one place
        self.floor_of: dict[int, int] = {}  # what held when a request was made, by its fields
        self.herd = dice_for_all(seed)

    async def client(self, number: int) -> None:
        dice = Random(f"{self.seed} client {number}")
        for connection in range(CONNECTIONS):
            client = await self.node.connect()
            try:
                if connection == 0 and self.herd is not None:
                    self.check(await client.get(self.herd.decode()), (self.herd, b"GET", {}))
                if dice.random() < 0.15:
                    await self.purge(dice, client)
                for _ in range(dice.randint(1, 5)):
                    if not await self.exchange(dice, client):
                        break
                    if dice.random() < 0.5:
                        await trio.sleep(dice.expovariate(2.0))
                else:
                    await self.nothing_behind(client)
            except (Gone, trio.BrokenResourceError):
                self.seen["cut"] += 1
                self.node.note(number, "cut")
            finally:
                with trio.CancelScope(shield=True):
                    await client.aclose()

    async def purge(self, dice: Random, client: Client) -> None:
        """
        Purge one address; remember that whoever asks from then on must get what was fetched since.

        Whoever has purged asks again, on connections that may lead to other workers: to these it was news.
        """
        target = dice.choice((*self.hot, self.herd or self.hot[0]))
        others = [await self.node.connect() for _ in range(2)]
        try:
            for other in dice.choice((others, [])):
                self.check(await other.get(target.decode()), (target, b"GET", {}))
            before = self.wild.times[target]
            got = await client.get(target.decode(), method="PURGE")
            assert got.status in {200, 503}, got.status  # 503: no room to write it down, and said so
            if got.status == 200:
                self.node.faults["purges"] += 1
                self.floors[target] = max(before, self.floors[target])
            for other in others:
                fields: dict[bytes, bytes] = {}
                self.floor_of[id(fields)] = self.floors[target]
                self.kept.append(fields)
                self.check(await other.get(target.decode()), (target, b"GET", fields))
        finally:
            with trio.CancelScope(shield=True):
                for other in others:
                    await other.aclose()

    def ask(self, dice: Random) -> tuple[bytes, bytes, dict[bytes, bytes]]:
        ask = super().ask(dice)
        self.floor_of[id(ask[2])] = self.floors[ask[0]]
        self.kept.append(ask)
        return ask

    async def nothing_behind(self, client: Client) -> None:
        """What was answered is answered: silence, or the edge's farewell."""
        behind = bytes(client._rest)
        with trio.move_on_after(0.1):
            behind += await client.stream.receive_some(100)
        assert b"" == behind, "more replies than requests"

    def check(self, got: Reply, ask: tuple[bytes, bytes, dict[bytes, bytes]]) -> None:
        self.node.note(ask[0], ask[1], got.status, len(got.body), got.get(b"cache-status"))
        version = got.get(b"x-version")
        if version is not None and got.status in {200, 206}:
            assert int(version) > self.floor_of.get(id(ask[2]), 0), f"purged, and served: {ask}: {got.headers}"
        whole = got.get(b"content-length") is not None or got.get(b"transfer-encoding") is not None
        if got.status == 200 and ask[1] == b"GET" and not whole and content(ask[0]).startswith(got.body):
            return  # to HTTP/1.0, and cut: the reset that tells it does not exist on these wires
        super().check(got, ask)


def dice_for_all(seed: int) -> bytes | None:
    """What all clients ask for at the same moment, if they do."""
    dice = Random(f"{seed} herd")
    return dice.choice((None, b"/fixed/herd/140000", b"/text/herd/70000", b"/private/herd/700", b"/stale/herd/20000"))


def schedule(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """Run one to its end, check it, and count it."""
    dice = Random(f"{seed} schedule")
    wild = Wild(seed)
    playing: list[Players] = []

    async def play(node: Simulation) -> None:
        players = Players(seed, node, wild)
        playing.append(players)
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(players.client, number)

    try:
        node = simulate(
            seed,
            folder / str(seed),
            wild,
            monkeypatch,
            play,
            workers=dice.choice((1, 2, 2, 3)),
            deeds=dice.randrange(4),
        )
    except BaseException:
        print(f"replay it with: EDGE_SCHEDULE={seed} pytest tests/journeys/test_simulation.py")
        raise
    assert not [token for token, times in wild.once.items() if times > 1], "repeated what must not be"
    everyone = [*node.staff, *node.retired]
    tried(
        "simulated schedules",
        seeds=1,
        exchanges=sum(len(one.entries) for one in everyone),
        hits=node.pages.counters.total(names.REQUESTS["hit"]),
        joined=node.pages.counters.total(names.FLIGHTS_JOINED),
        asked_of_the_origin=sum(wild.times.values()),
        origin_faults=wild.moods.total() - wild.moods["well"],
        **{name.replace(" ", "_"): number for name, number in node.faults.items()},
        cut_and_seen_to_be=playing[0].seen["cut"],
        lost=0,
    )
    return node


SEEDS = [int(os.environ["EDGE_SCHEDULE"])] if "EDGE_SCHEDULE" in os.environ else list(range(COUNT))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_schedule_loses_mixes_up_or_leaves_anything_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """See above for what holds."""
    for seed in SEEDS:
        schedule(seed, tmp_path, monkeypatch)
        caplog.clear()


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_no_schedule_of_thousands_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others, and more of them."""
    for seed in range(COUNT, COUNT + 5000):
        schedule(seed, tmp_path, monkeypatch)
        caplog.clear()


def test_a_seed_is_a_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a failing one could not be replayed: the same things happen at the same times."""
    first, second = (schedule(7, tmp_path / name, monkeypatch).trace for name in ("first", "second"))

    assert len(first) >= 5
    assert first == second
