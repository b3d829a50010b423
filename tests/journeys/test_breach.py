"""BREACH: what a reply's length tells of the secret in it, and of what somebody else had put beside it."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path
from statistics import mean

import brotli
import pytest
import trio
import zstandard

from edge.config.tree import Compression
from tests.kit.origin import Asked, Origin, Wire

SECRET = b"csrf=8c1f0e2d77ab4c39"
DECODE = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def page(target: bytes) -> bytes:
    """An account's page that says back what was searched for."""
    rows = b"".join(b"<li>order %d of %d apples</li>\n" % (n, n * 7 % 11) for n in range(60))
    return b"<form><input name=" + SECRET + b"></form>\n<p>You searched for " + target + b"</p>\n" + rows


async def account(asked: Asked, wire: Wire) -> None:
    body = page(asked.target)
    kind = b"content-type: text/html\r\n"
    if asked.target.startswith(b"/kept"):
        kind += b"cache-control: max-age=60\r\n"
    await wire.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (kind, len(body), body))


async def lengths(edge, path: str, times: int, encoding: str = "gzip", **fields: str) -> list[int]:
    client, found = await edge.client(), []
    for _ in range(times):
        got = await client.get(path, Accept_Encoding=encoding, **fields)
        assert encoding == (got.get(b"content-encoding") or b"").decode()
        assert page(path.encode()) == DECODE[encoding](got.body)
        found.append(len(got.body))
    return found


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_lengths_of_what_is_for_one_visitor_vary_and_the_body_is_whole(edge_at, tmp_path: Path, encoding) -> None:
    async with edge_at(tmp_path, origin=Origin({b"*": account})) as edge:
        with_cookie = await lengths(edge, "/?q=x", 24, encoding, Cookie="session=1")
        credentials = await lengths(edge, "/?q=x", 24, encoding, Authorization="Basic eDp5")

    assert len(set(with_cookie)) > 12
    assert len(set(credentials)) > 12
    assert max(with_cookie) - min(with_cookie) <= 256


async def test_a_right_guess_is_no_longer_seen_in_one_length(edge_at, tmp_path: Path) -> None:
    """Unpadded, the right guess is the shortest every time; padded, the ranges overlap."""
    right, wrong = f"/?q={SECRET.decode()}", "/?q=csrf=f1c8d2e0ba7793c4"

    async with edge_at(tmp_path / "a", origin=Origin({b"*": account}), compression=Compression(padding=0)) as edge:
        bare = [await lengths(edge, path, 3, Cookie="session=1") for path in (right, wrong)]
    async with edge_at(tmp_path / "b", origin=Origin({b"*": account})) as edge:
        hidden = [await lengths(edge, path, 40, Cookie="session=1") for path in (right, wrong)]

    assert len(set(bare[0])) == len(set(bare[1])) == 1
    assert bare[0][0] < bare[1][0]
    assert min(hidden[1]) < max(hidden[0])
    assert mean(hidden[0]) < mean(bare[0]) + 24 + 256


async def test_what_is_for_everybody_is_not_padded(edge_at, tmp_path: Path) -> None:
    """Neither what is kept, nor what was asked for without a cookie: there is no secret in it, and hits cost what they did."""
    async with edge_at(tmp_path, origin=Origin({b"*": account})) as edge:
        kept = await lengths(edge, "/kept", 6, Cookie="session=1")
        anyone = await lengths(edge, "/passed", 6)

    assert 1 == len(set(kept))
    assert 1 == len(set(anyone))


@pytest.mark.parametrize(("site", "coding"), [("cross-site", None), ("same-origin", b"gzip")])
async def test_what_another_site_had_asked_for_may_be_left_uncoded(edge_at, tmp_path: Path, site, coding) -> None:
    """With [compression] cross_site = false its length says how long it is, and nothing else; Vary is the same for all."""
    fields = {"Accept_Encoding": "gzip", "Cookie": "session=1", "Sec_Fetch_Site": site}
    async with edge_at(tmp_path, origin=Origin({b"*": account}), compression=Compression(cross_site=False)) as edge:
        got = await (await edge.client()).get("/?q=x", **fields)

    assert coding == got.get(b"content-encoding")
    assert b"Accept-Encoding" == got.get(b"vary")


async def test_curl_reads_what_is_padded(edge_at, tmp_path: Path) -> None:
    """Its decoders are those of many programs: zlib's, Google's and Facebook's own."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    features = subprocess.run([curl, "--version"], capture_output=True, text=True).stdout
    async with edge_at(tmp_path, origin=Origin({b"*": account})) as edge, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]

        async def hand_over(stream: trio.SocketStream) -> None:
            import os
            import socket

            sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
            await stream.aclose()
            edge.worker.fast.admit(sock, "127.0.0.1", edge.worker.doors.plain(edge.listener))

        nursery.start_soon(trio.serve_listeners, hand_over, listeners)
        for encoding, feature in (("gzip", "libz"), ("br", "brotli"), ("zstd", "zstd")):
            if feature not in features:
                continue
            for number in range(4):
                path = f"/?q={encoding}{number}"
                done = await trio.run_process(
                    [curl, "-sS", "--fail", "--compressed", "-H", f"Accept-Encoding: {encoding}", "-b", "session=1",
                     f"http://127.0.0.1:{port}{path}"],
                    capture_stdout=True,
                )  # fmt: skip
                assert page(path.encode()) == done.stdout
        nursery.cancel_scope.cancel()
