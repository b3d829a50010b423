"""The first to ask brings a reply in; everyone after is served from the cache."""

from __future__ import annotations

from pathlib import Path

from tests.kit.house import house
from tests.kit.origin import Origin, reply


async def test_a_miss_is_stored_and_the_next_request_is_a_hit(tmp_path: Path) -> None:
    """The product's whole point."""
    origin = Origin({b"/a": reply(body=b"hello", cache_control="max-age=60", etag='"1"')})
    async with house(tmp_path, origin=origin) as edge:
        client = await edge.client()
        first = await client.get("/a")
        second = await client.get("/a")

    assert (first.status, first.body) == (200, b"hello")
    assert (second.status, second.body) == (200, b"hello")
    assert b"fwd=uri-miss" in (first.get(b"cache-status") or b"")
    assert b"stored" in (first.get(b"cache-status") or b"")
    assert b"edge; hit; ttl=60" == second.get(b"cache-status")
    assert origin.paths() == [b"/a"]
