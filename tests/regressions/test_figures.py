"""What the figures once told wrongly."""

from __future__ import annotations

from pathlib import Path

import trio

from edge.observe import names
from tests.kit.house import house
from tests.kit.origin import Origin, reply


async def test_connections_at_rest_are_counted(tmp_path: Path) -> None:
    """The gauge was there and nobody set it."""
    async with house(tmp_path, origin=Origin({b"/": reply(body=b"x")})) as edge:
        client = await edge.client()
        await client.get("/")
        with trio.fail_after(10):
            while edge.count(names.OriginCells.of(0).idle) != 1:
                await trio.sleep(0.01)


async def test_what_comes_from_an_origin_is_counted_under_its_name(tmp_path: Path) -> None:
    """Connections made and bytes received stood at 0, and what was counted did not say of whom."""
    long, short = reply(body=b"x" * 200_000), reply(body=b"y")
    async with house(tmp_path, origin=Origin({b"/long": long, b"/short": short})) as edge:
        client = await edge.client()
        at = names.OriginCells.of(edge.worker.heritage.origin_blocks["shop"])
        await client.get("/long")
        assert [1, 0, len(long)] == [edge.count(cell) for cell in (at.connects, at.reused, at.received_bytes)]

        await client.get("/short")
        await edge.settled(2)
        assert [1, 1, len(long + short)] == [edge.count(cell) for cell in (at.connects, at.reused, at.received_bytes)]
