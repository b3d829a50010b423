"""The machine's clock is set while the edge serves: nothing is served for fresh whose age nobody knows, and nobody is cut off."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.kit.house import TrioClock
from tests.kit.origin import Asked, Origin, Wire, reply

DAY_S = 86400.0


class Settable(TrioClock):
    """A clock that somebody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.set_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.set_s


class Counting(Origin):
    """Each reply is the number of times that was asked, and stays fresh for a minute."""

    def __init__(self) -> None:
        super().__init__({b"*": self._answer})

    async def _answer(self, _: Asked, wire: Wire) -> None:
        await wire.send(reply(body=b"%d" % len(self.asked), cache_control="max-age=60"))


async def test_a_clock_that_is_set_back_keeps_no_copy_fresh_for_longer(
    edge_at, tmp_path: Path, autojump_clock, caplog
) -> None:
    """A day back, and a copy with a minute to live would have lived a day longer."""
    clock = Settable()
    async with edge_at(tmp_path, origin=Counting(), clock=clock) as edge:
        client = await edge.client()
        first = [(await client.get("/")).body for _ in range(3)]
        clock.set_s = -DAY_S
        await trio.sleep(2)
        again = [await client.get("/") for _ in range(3)]
        await trio.sleep(70)
        later = await client.get("/")

    assert [b"1"] * 3 == first
    assert [b"2"] * 3 == [got.body for got in again]
    assert b"edge; hit" in again[2].get(b"cache-status")
    assert b"3" == later.body
    assert 1 == sum("the clock was set back by 86400 s" in record.message for record in caplog.records)


async def test_a_clock_that_is_set_forward_makes_copies_old_and_cuts_nobody_off(
    edge_at, tmp_path: Path, autojump_clock
) -> None:
    """Deadlines go by the other clock: a client in the midst of its request has as long as before."""
    clock = Settable()
    async with edge_at(tmp_path, origin=Counting(), clock=clock) as edge:
        slow, quick = await edge.client(), await edge.client()
        await quick.get("/")
        await slow.send(b"GET / HTTP/1.1\r\nHost: shop")
        await trio.sleep(2)
        clock.set_s = DAY_S
        await trio.sleep(2)
        fresh = await quick.get("/")
        await slow.send(b".example\r\n\r\n")
        got = await slow.reply()

    assert (b"2", b"2") == (fresh.body, got.body)
    assert 200 == got.status
    assert int(got.get(b"age")) < 60


async def test_a_clock_that_is_slewed_is_no_matter(edge_at, tmp_path: Path, autojump_clock, caplog) -> None:
    clock = Settable()
    async with edge_at(tmp_path, origin=Counting(), clock=clock) as edge:
        client = await edge.client()
        await client.get("/")
        for _ in range(4):
            clock.set_s -= 1
            await trio.sleep(1)
        got = await client.get("/")

    assert b"1" == got.body
    assert not [record for record in caplog.records if "the clock was set" in record.message]
