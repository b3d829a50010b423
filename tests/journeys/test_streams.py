"""Bodies and tunnels that take their time: both ways at once, as they come, and with an end for those that never do."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import brotli
import pytest
import trio
import zstandard
from trio.testing import wait_all_tasks_blocked

from edge.config.tree import Origin as OriginConfig
from edge.config.tree import OriginServer, Timeouts
from edge.observe import names
from tests.kit.client import Client, Gone
from tests.kit.gates import echo_tunnel
from tests.kit.origin import Asked, Origin, Wire, reply

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
EXPECTING = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
async def origin(nursery) -> Origin:
    """One that leaves bodies to its scripts."""
    made = Origin(read_body=False)
    await nursery.start(made.serve)
    return made


def shop(origin: Origin, **settings) -> dict[str, OriginConfig]:
    return {"shop": OriginConfig("shop", (OriginServer(f"http://127.0.0.1:{origin.port}"),), **settings)}


async def exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = await stream.receive_some(count - len(got))
        assert more, f"ended after {got!r}"
        got += more
    return got


# -- tunnels ------------------------------------------------------------------------------------------------


async def tunnel(client: Client) -> None:
    await client.send(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.stream.receive_some(1)
    assert head.startswith(b"HTTP/1.1 101 ")


async def test_a_silent_tunnel_ends(edge_at, tmp_path: Path, origin, autojump_clock) -> None:
    """Counted, said in the log, and told to both sides."""
    ended = trio.Event()

    async def listen(asked: Asked, wire: Wire) -> None:
        await echo_tunnel(asked, wire)
        ended.set()

    origin.pages = {b"/ws": listen}
    async with edge_at(tmp_path, origin=origin, timeouts=Timeouts(tunnel_s=100, idle_s=10, body_s=10)) as edge:
        client = await edge.client()
        await tunnel(client)
        began = trio.current_time()
        assert b"" == await client.at_end()
        with trio.fail_after(5):
            await ended.wait()
        waited = trio.current_time() - began
        [entry] = await edge.settled(1)
        counts = (edge.count(names.TIMEOUTS["tunnel"]), edge.count(names.TUNNELS_OPEN))

    assert 100 <= waited <= 103
    assert (101, "connection_read_timeout", "nothing came through the tunnel") == (entry[4], entry[12], entry[13])
    assert (1, 0) == counts


@pytest.mark.parametrize("talker", ["client", "origin"])
async def test_a_tunnel_lasts_while_either_side_talks(edge_at, tmp_path: Path, origin, talker, autojump_clock) -> None:
    async def talk(asked: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        if talker == "client":
            while await wire.stream.receive_some(1):
                pass
            return
        for _ in range(10):
            await trio.sleep(90)
            await wire.send(b"!")

    origin.pages = {b"/ws": talk}
    async with edge_at(tmp_path, origin=origin, timeouts=Timeouts(tunnel_s=100)) as edge:
        client = await edge.client()
        await tunnel(client)
        began = trio.current_time()
        if talker == "client":
            for _ in range(10):
                await trio.sleep(90)
                await client.send(b"!")
        heard = await client.at_end()
        lasted = trio.current_time() - began

    assert 10 * (talker == "origin") == len(heard)
    assert lasted >= 900


# -- Expect: 100-continue -----------------------------------------------------------------------------------


async def test_who_waits_to_be_told_to_go_on_is_not_late(edge_at, tmp_path: Path, origin, autojump_clock) -> None:
    """An origin may think about a head for as long as about anything."""

    async def thoughtful(_: Asked, wire: Wire) -> None:
        await trio.sleep(50)
        await wire.send(CONTINUE)
        body = await wire.exactly(5)
        await wire.send(reply(body=body.upper()))

    origin.pages = {b"/up": thoughtful}
    async with edge_at(tmp_path, origin=origin, timeouts=Timeouts(body_s=5), origins=shop(origin)) as edge:
        client = await edge.client()
        await client.send(EXPECTING)
        assert CONTINUE.split(b" ")[1] == (await exactly(client.stream, 25))[9:12]
        await trio.sleep(4)
        await client.send(b"hello")
        got = await client.reply()

    assert (200, b"HELLO") == (got.status, got.body)


async def test_once_told_to_go_on_a_client_can_be_late(edge_at, tmp_path: Path, origin, autojump_clock) -> None:
    async def hasty(_: Asked, wire: Wire) -> None:
        await wire.send(CONTINUE)
        await trio.sleep_forever()

    origin.pages = {b"/up": hasty}
    async with edge_at(tmp_path, origin=origin, timeouts=Timeouts(body_s=5)) as edge:
        client = await edge.client()
        await client.send(EXPECTING)
        got = await client.reply()

    assert ([100], 408) == (got.interim, got.status)


@pytest.mark.parametrize("impatient", [False, True])
async def test_an_origin_that_never_says_go_on(edge_at, tmp_path: Path, origin, impatient, autojump_clock) -> None:
    """It is late as with any reply; but a client that sends its body all the same is served."""

    async def deaf(_: Asked, wire: Wire) -> None:
        body = b""
        while len(body) < 5:
            more = await wire.receive()
            if not more:
                return
            body += more
        await trio.sleep(15)
        await wire.send(reply(body=body))

    origin.pages = {b"/up": deaf}
    settings = shop(origin, first_byte_s=20)
    async with edge_at(tmp_path, origin=origin, timeouts=Timeouts(body_s=5), origins=settings) as edge:
        client = await edge.client()
        await client.send(EXPECTING)
        began = trio.current_time()
        if impatient:
            await trio.sleep(10)
            await client.send(b"he")
            await trio.sleep(4)
            await client.send(b"llo")
        got = await client.reply()
        waited = trio.current_time() - began

    assert (200, b"hello") == (got.status, got.body) if impatient else 504 == got.status
    assert 20 <= waited <= 31


async def test_an_origin_that_does_not_want_the_body_says_so_at_once(edge_at, tmp_path: Path, origin) -> None:
    """Not a byte of it is asked for."""

    async def refuse(_: Asked, wire: Wire) -> None:
        await wire.send(reply(417, body=b"no"))

    origin.pages = {b"/up": refuse}
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.send(EXPECTING)
        with trio.fail_after(5):
            got = await client.reply()

    assert ([], 417, b"close") == (got.interim, got.status, got.get(b"connection"))


# -- both ways at once --------------------------------------------------------------------------------------


async def test_a_reply_begins_before_the_request_has_ended(edge_at, tmp_path: Path, origin) -> None:
    """Word by word: none is sent before the answer to the one before it has come."""
    words = [b"one", b"two", b"six"]

    async def echo(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n")
        while (chunk := await wire.exactly(5))[:1] != b"0":
            chunk += await wire.exactly(3)
            await wire.send(chunk.upper())
        await wire.send(b"0\r\n\r\n")

    origin.pages = {b"/talk": echo}
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        heard = b""
        with trio.fail_after(5):
            await client.send(b"POST /talk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for word in words:
                await client.send(b"3\r\n%b\r\n" % word)
                while word.upper() not in heard:
                    heard += await client.stream.receive_some(65536)
            await client.send(b"0\r\n\r\n")
            client._rest = heard
            got = await client.reply()

    assert (200, b"ONETWOSIX") == (got.status, got.body)


async def test_long_bodies_pass_each_other(edge_at, tmp_path: Path, origin) -> None:
    """More than all buffers hold, each way, at the same time; nobody waits for the other to finish."""
    piece, count = bytes(range(256)) * 64, 300  # 4.7 MiB

    async def echo(_: Asked, wire: Wire) -> None:
        left = len(piece) * count
        await wire.send(b"HTTP/1.1 200 X\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % left)
        while left:
            data = await wire.receive()
            left -= len(data)
            await wire.send(data)

    origin.pages = {b"/talk": echo}
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()

        async def send() -> None:
            await client.send(b"POST /talk HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count))
            for _ in range(count):
                await client.send(piece)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                got = await client.reply()

    assert piece * count == got.body


async def test_trailers_follow_the_body_to_the_origin(edge_at, tmp_path: Path, origin) -> None:
    """But none that would have had to be known before it."""
    heard = []

    async def listen(_: Asked, wire: Wire) -> None:
        body = b""
        while not body.endswith(b"\r\n\r\n"):
            body += await wire.exactly(1)
        heard.append(body)
        await wire.send(reply())

    origin.pages = {b"/up": listen}
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        with trio.fail_after(5):
            await client.send(
                b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"2\r\nhi\r\n0\r\nDigest: abc\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n"
                b"Authorization: Basic x\r\nCookie: a=b\r\nX-Checksum: 7\r\n\r\n"
            )
            assert 200 == (await client.reply()).status

    assert [b"2\r\nhi\r\n0\r\ndigest: abc\r\nx-checksum: 7\r\n\r\n"] == heard


# -- as they come -------------------------------------------------------------------------------------------


class Unzstd:
    """Frames are flushed, not ended, after each event."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompressobj().decompress


class Unbr:
    def __init__(self) -> None:
        self.decompress = brotli.Decompressor().process


DECODERS = {"identity": None, "gzip": lambda: zlib.decompressobj(31), "br": Unbr, "zstd": Unzstd}


@pytest.mark.parametrize("coding", DECODERS)
async def test_each_event_arrives_before_the_next_is_made(edge_at, tmp_path: Path, origin, coding: str) -> None:
    """Server-sent events, in every coding; and what the client has not seen yet is not made either."""
    seen_by_client = trio.Semaphore(1)

    async def events(_: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n")
        for number in range(5):
            await seen_by_client.acquire()
            await wire.send(b"data: %d\n\n" % number)
        await wire.stream.send_eof()

    origin.pages = {b"/events": events}
    async with edge_at(tmp_path, origin=origin) as edge:
        client = await edge.client()
        await client.ask("/events", Accept_Encoding=coding)
        with trio.fail_after(5):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await exactly(client.stream, 1)
            make = DECODERS[coding]
            decode = (lambda data: data) if make is None else make().decompress
            seen = b""
            while size := int((await _line(client)).strip(), 16):
                seen += decode((await exactly(client.stream, size + 2))[:-2])
                if seen.endswith(b"\n\n") and seen.count(b"\n\n") < 5:
                    seen_by_client.release()

    assert b"".join(b"data: %d\n\n" % number for number in range(5)) == seen


async def _line(client: Client) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += await exactly(client.stream, 1)
    return line


# -- for ever -----------------------------------------------------------------------------------------------


def dribble(head: bytes, *, every_s: float, times: float = math.inf):
    """An origin that is never late, and never done: a byte at a time."""

    async def script(_: Asked, wire: Wire) -> None:
        await wire.send(head)
        sent = 0
        while sent < times:
            await trio.sleep(every_s)
            await wire.send(b".")
            sent += 1
        await wire.stream.send_eof()

    return script


LENGTH = b"HTTP/1.1 200 X\r\ncontent-type: image/png\r\ncontent-length: 1000\r\ncache-control: %b\r\n\r\n"
OPEN_END = b"HTTP/1.1 200 X\r\ncontent-type: image/png\r\ncache-control: %b\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [LENGTH % b"no-store", LENGTH % b"max-age=60", OPEN_END % b"max-age=60"],
    ids=["passed", "kept", "kept open"],
)
async def test_a_reply_that_comes_in_crumbs_is_given_up(edge_at, tmp_path: Path, origin, head, autojump_clock) -> None:
    """A byte within each pause that is allowed holds an exchange, a connection and those who joined it for a day."""
    origin.pages = {b"/slow": dribble(head, every_s=50)}
    async with edge_at(tmp_path, origin=origin, origins=shop(origin)) as edge:
        client = await edge.client()
        began = trio.current_time()
        with pytest.raises(Gone):
            await client.get("/slow")
        waited = trio.current_time() - began
        [entry] = await edge.settled(1)

    assert 60 <= waited <= 180
    assert "connection_read_timeout" == entry[12]


async def test_a_stream_without_end_may_say_little(edge_at, tmp_path: Path, origin, autojump_clock) -> None:
    """A reply that has not said how long it is, and is nobody else's: events, a long poll."""
    origin.pages = {b"/slow": dribble(OPEN_END % b"no-store", every_s=50, times=20)}
    async with edge_at(tmp_path, origin=origin, origins=shop(origin)) as edge:
        client = await edge.client()
        got = await client.get("/slow")

    assert b"." * 20 == got.body


async def test_a_slow_reader_does_not_make_the_origin_slow(edge_at, tmp_path: Path, origin, autojump_clock) -> None:
    """Only the time in which the origin is waited for counts."""
    body = bytes(1 << 20)

    async def quick(_: Asked, wire: Wire) -> None:
        await wire.send(reply(body=body, cache_control="no-store", content_type="image/png")[:-1])
        await trio.sleep(55)
        await wire.send(body[:1])

    origin.pages = {b"/big": quick}
    settings = shop(origin, least_rate=1 << 30)
    async with edge_at(tmp_path, origin=origin, origins=settings, timeouts=Timeouts(write_s=3600)) as edge:
        client = await edge.client(buffer=4096)
        await client.ask("/big")
        await trio.sleep(300)
        await wait_all_tasks_blocked()
        got = await client.reply()

    assert body == got.body


async def test_any_rate_will_do_where_none_is_asked_for(edge_at, tmp_path: Path, origin, autojump_clock) -> None:
    origin.pages = {b"/slow": dribble(LENGTH.replace(b"1000", b"20") % b"no-store", every_s=50, times=20)}
    async with edge_at(tmp_path, origin=origin, origins=shop(origin, least_rate=0)) as edge:
        client = await edge.client()
        got = await client.get("/slow")

    assert b"." * 20 == got.body
