"""What a POST answers, when it is the target's own representation: for whoever asks for it next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.origin import Origin, reply

FIELDS = {"cache_control": "max-age=60", "content_location": "/form"}


async def post(client, path: str = "/form", body: bytes = b"a=1", **fields: str):
    await client.ask(path, method="POST", Content_Length=str(len(body)), **fields)
    await client.send(body)
    return await client.reply("POST")


async def test_the_answer_to_a_post_answers_a_get(edge_at, tmp_path: Path) -> None:
    """RFC 9110 §9.3.3; whatever was stored before, it has made invalid."""
    origin = Origin({b"/form": reply(body=b"old", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.get("/form")
        origin.pages[b"/form"] = reply(body=b"new", **FIELDS)
        posted = await post(client)
        got = await client.get("/form")
        again = await post(client, body=b"a=2")

    assert (200, b"new") == (posted.status, posted.body)
    assert b"fwd=method" in posted.get(b"cache-status")
    assert b"; stored" in posted.get(b"cache-status")
    assert b"new" == got.body
    assert got.get(b"cache-status").startswith(b"edge; hit")
    assert b"fwd=method" in again.get(b"cache-status")
    assert [b"a=1", b"a=2"] == [asked.body for asked in origin.asked if asked.method == b"POST"]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"cache_control": "max-age=60"}, {}),
        ({"cache_control": "max-age=60", "content_location": "/other"}, {}),
        ({"content_location": "/form", "etag": '"1"'}, {}),
        ({**FIELDS, "cache_control": "private, max-age=60"}, {}),
        (FIELDS, {"Authorization": "Basic eDp5"}),
        (FIELDS, {"Cache_Control": "no-store"}),
        (FIELDS, {"If_Match": '"1"'}),
    ],
)
async def test_any_other_answer_to_a_post_is_for_its_client_alone(edge_at, tmp_path: Path, fields, asked) -> None:
    origin = Origin({b"/form": reply(body=b"mine", **fields)})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        posted = await post(client, **asked)
        got = await client.get("/form")

    assert b"mine" == posted.body
    assert b"fwd=uri-miss" in got.get(b"cache-status")


async def test_a_long_answer_to_a_post_is_passed_on_as_it_comes(edge_at, tmp_path: Path) -> None:
    body = bytes(300_000)
    origin = Origin({b"/form": reply(body=body, **FIELDS)})
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        posted = await post(client)
        stored = edge.worker.rooms.store.browse(b"", 10)[0]

    assert body == posted.body
    assert [] == stored


async def test_an_unsafe_method_takes_a_group_of_copies_back(edge_at, tmp_path: Path) -> None:
    """RFC 9875: what another origin calls by the same name is not hit."""
    grouped = {"cache_control": "max-age=60", "cache_groups": '"shelf"'}
    origin = Origin(
        {
            b"/a": reply(body=b"a", **grouped),
            b"/b": reply(body=b"b", **grouped),
            b"/c": reply(body=b"c", cache_control="max-age=60"),
            b"/form": reply(204, cache_group_invalidation='"shelf"'),
        }
    )
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        paths = [("/a", "shop.example"), ("/b", "shop.example"), ("/c", "shop.example"), ("/a", "other.example")]
        for path, host in paths:
            await client.get(path, host)
        await post(client)
        told = [(await client.get(path, host)).get(b"cache-status") for path, host in paths]

    assert [False, False, True, True] == [b"hit" in status for status in told]
