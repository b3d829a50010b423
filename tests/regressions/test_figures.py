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
            while edge.count(names.ORIGIN_IDLE) != 1:
                await trio.sleep(0.01)
