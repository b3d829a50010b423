"""
The world around a soaked node: the origin behind it and the clients before it, in one process of its own.

Whoever answers and whoever asks agree on what lies under every address, so that each reply is compared byte by byte.
What befalls a request is told apart strictly:

- *right*: a complete reply with the right bytes; *flaky*: an origin's failure that it was told to play, answered as such;
- *late*: refused because this process, on a busy machine, was too slow in saying it;
- *retried*: closed without a byte on a kept connection that was at rest: any client asks again;
- *refused*: no connection; *cut*: broken off or never answered, *cut slowly* if its client took it in sips;
- *wrong*: answered with something else.

Once a second the counts so far are written to a file, whole or not at all, for :mod:`run` to read.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import random
import ssl
import time
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

HOST = "shop.example"
REPLY_S = 25.0
"""A request that takes longer has failed; a worker that hangs is replaced well before."""

LATE_S = 6.0
"""A request that we ourselves took so long to say may rightly be refused: the machine was busy with something else."""

SIZES = (200, 3_000, 16_000, 60_000, 250_000)
POLICY = {
    "kept": b"max-age=3600",
    "short": b"max-age=2, stale-while-revalidate=5, stale-if-error=60",
    "text": b"max-age=600",
    "new": b"max-age=600",
    "own": b"private, no-store",
    "flaky": b"no-store",
    "big": b"max-age=120",
}


def body_of(target: str) -> bytes:
    """What lies under ``/kind/number/size``: no two the same; text and big ones compress, the others hardly do."""
    size = int(target.rsplit("/", 1)[1])
    seed = hashlib.sha256(target.encode()).digest()
    if target.startswith(("/text", "/big")):
        block = b"".join(b"%b line %d\n" % (target.encode(), number) for number in range(60))
    else:
        block = random.Random(seed).randbytes(4096)
    return (block * (size // len(block) + 1))[:size]


class World:
    """Counts, and the parts to play."""

    def __init__(self, port: int, ca: str, scale: float) -> None:
        self.port = port
        self.scale = scale
        self.tls = ssl.create_default_context(cafile=ca)
        self.counts: Counter[str] = Counter()
        self.began = time.monotonic()
        self.notes: list[str] = []
        self.number = 0
        self.bodies: dict[str, bytes] = {}

    def body(self, target: str) -> bytes:
        """Return what lies there, remembered where it is asked for again and again."""
        if target.startswith("/new"):
            return body_of(target)
        found = self.bodies.get(target)
        if found is None:
            found = self.bodies[target] = body_of(target)
        return found

    # -- the origin -----------------------------------------------------------------------------------------

    async def origin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the node's."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        method, target, _ = head[0].decode().split(" ")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:-2])}
        posted = b""
        if b"content-length" in said:
            posted = await reader.readexactly(int(said[b"content-length"]))
        elif said.get(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readline(), 16):
                posted += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        self.counts["asked of the origin"] += 1
        kind = target.split("/")[1]
        etag = b'"%08x"' % zlib.crc32(target.encode())
        if said.get(b"if-none-match") == etag:
            writer.write(b"HTTP/1.1 304 X\r\netag: %b\r\ncache-control: %b\r\n\r\n" % (etag, POLICY[kind]))
            return True
        body = posted if method == "POST" else self.body(target)
        fields = b"cache-control: %b\r\netag: %b\r\ncontent-type: %b\r\n" % (
            b"no-store" if method == "POST" else POLICY[kind],
            etag,
            b"text/plain" if kind in {"text", "big"} else b"application/octet-stream",
        )
        mood = random.random() if kind == "flaky" else 1.0
        if mood < 0.2:  # not a byte
            writer.transport.abort()
            return False
        if mood < 0.3:
            writer.write(b"HTTP/1.1 what\r\n\r\n")
            return False
        if random.random() < 0.3:
            writer.write(b"HTTP/1.1 200 X\r\n%btransfer-encoding: chunked\r\n\r\n" % fields)
            for at in range(0, len(body), 30_000):
                piece = body[at : at + 30_000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 X\r\n%bcontent-length: %d\r\n\r\n" % (fields, len(body)))
            writer.write(body[: len(body) // 2] if mood < 0.5 else body)
        if mood < 0.5:
            await writer.drain()
            writer.transport.abort()
            return False
        await writer.drain()
        return True

    # -- clients --------------------------------------------------------------------------------------------

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Connect and shake hands; None, counted, if we are not let in."""
        try:
            return await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, server_hostname=HOST, limit=65536),
                REPLY_S,
            )
        except (OSError, TimeoutError) as error:
            self.befell("refused", repr(error))
            return None

    def befell(self, what: str, why: str = "") -> None:
        """Count; and keep the first reasons."""
        self.counts[what] += 1
        if why and len(self.notes) < 40:
            self.notes.append(f"{time.monotonic() - self.began:.1f}s {what}: {why}")

    def target(self, dice: random.Random) -> str:
        """Choose what to ask for: mostly hits, some misses, some that may not be kept, some that fail."""
        kind = dice.choices(("kept", "short", "text", "new", "own", "flaky", "big"), (38, 15, 20, 12, 8, 4, 3))[0]
        if kind == "new":
            self.number += 1
            return f"/new/{self.number}/{dice.choice(SIZES)}"
        if kind == "big":
            return f"/big/{dice.randrange(4)}/3000000"
        return f"/{kind}/{int(40 * dice.random() ** 2)}/{SIZES[dice.randrange(40) % len(SIZES)]}"

    async def ask(
        self,
        dice: random.Random,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_fresh: bool,
        sip_s: float = 0.0,
        drip_s: float = 0.0,
        target: str | None = None,
    ) -> bool:
        """Ask once and look at every byte of the reply; True if the connection may be used again."""
        target = target or self.target(dice)
        posted: bytes | None = None
        wire = b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (target.encode(), HOST.encode())
        if dice.random() < 0.5:
            wire += b"Accept-Encoding: gzip\r\n"
        if not (sip_s or drip_s) and dice.random() < 0.05:
            target = "/own/post/1"
            posted = dice.randbytes(dice.choice((0, 10, 50_000)))
            wire = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n" % (
                target.encode(), HOST.encode(), len(posted),
            )  # fmt: skip
        wire += b"\r\n" + (posted or b"")
        self.counts["asked"] += 1
        got = b""
        began = time.monotonic()
        said_s = 0.0
        try:
            if drip_s:
                for at in range(len(wire)):
                    writer.write(wire[at : at + 1])
                    await writer.drain()
                    await asyncio.sleep(drip_s)
                    said_s = time.monotonic() - began
            else:
                writer.write(wire)
            async with asyncio.timeout(REPLY_S + 600 * bool(sip_s)):
                while not got or got.startswith(b"HTTP/1.1 1"):
                    got = b""  # whatever was interim
                    got = await reader.readuntil(b"\r\n\r\n")
                status, said = int(got[9:12]), _fields(got)
                body = await _body(reader, said, sip_s)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            if target.startswith("/flaky") and not isinstance(error, TimeoutError):
                self.befell("flaky")  # its origin has cut it short, and so it was seen
            elif said_s > LATE_S:
                self.befell("late")
            elif not got and not is_fresh and posted is None and not drip_s and _is_empty(error):
                self.befell("retried")
                return await self._again(dice, target)
            else:
                self.befell("cut slowly" if sip_s else "cut", f"{target} {error!r}")
            return False
        if status in {502, 504} and target.startswith("/flaky") and b"proxy-status" in said:
            self.befell("flaky")
        elif status == 408 and said_s > LATE_S:
            self.befell("late")
        elif status != 200:
            self.befell("wrong", f"{target}: {status} {said.get(b'proxy-status')!r}")
        else:
            if said.get(b"content-encoding") == b"gzip":
                body = zlib.decompress(body, 31)
            if body == (self.body(target) if posted is None else posted):
                self.befell("right")
                self.counts["hit" if b"; hit" in said.get(b"cache-status", b"") else "not a hit"] += 1
            else:
                self.befell("wrong", f"{target}: other bytes, {said!r}")
        return said.get(b"connection") != b"close"

    async def _again(self, dice: random.Random, target: str) -> bool:
        stream = await self.connect()
        if stream is not None:
            await self.ask(dice, *stream, is_fresh=True, target=target)
            stream[1].close()
        return False

    async def keeper(self, number: int) -> None:
        """Keep a connection, and ask now and then."""
        dice = random.Random(f"keeper {number}")
        while True:
            stream = await self.connect()
            is_fresh = True
            while stream is not None and await self.ask(dice, *stream, is_fresh=is_fresh):
                is_fresh = False
                await asyncio.sleep(dice.expovariate(10.0 * self.scale))
            if stream is not None:
                stream[1].close()
            await asyncio.sleep(0.05)

    async def caller(self, number: int) -> None:
        """Make a new connection for each request; sometimes leave before the reply is whole."""
        dice = random.Random(f"caller {number}")
        while True:
            await asyncio.sleep(dice.expovariate(3.0 * self.scale))
            stream = await self.connect()
            if stream is None:
                continue
            if dice.random() < 0.3:
                stream[1].write(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (self.target(dice).encode(), HOST.encode()))
                with suppress(OSError, TimeoutError):
                    await asyncio.wait_for(stream[0].read(dice.choice((1, 100_000))), dice.random())
                stream[1].transport.abort()
                self.befell("left")
            else:
                await self.ask(dice, *stream, is_fresh=True)
                stream[1].close()

    async def slow_reader(self, number: int) -> None:
        """Take a long reply in sips: slow, but honest."""
        dice = random.Random(f"reader {number}")
        while True:
            stream = await self.connect()
            if stream is not None:
                await self.ask(dice, *stream, is_fresh=True, sip_s=0.2, target=f"/big/{number % 4}/3000000")
                stream[1].close()
            await asyncio.sleep(1)

    async def slow_writer(self, number: int) -> None:
        """Say a request byte by byte, within what is allowed."""
        dice = random.Random(f"writer {number}")
        while True:
            stream = await self.connect()
            if stream is not None:
                await self.ask(dice, *stream, is_fresh=True, drip_s=0.015, target="/kept/1/3000")
                stream[1].close()
            await asyncio.sleep(1)

    async def idler(self, number: int) -> None:
        """Hold a connection and be silent until it is closed; half of them not even shake hands."""
        dice = random.Random(f"idler {number}")
        while True:
            with suppress(OSError, TimeoutError):
                if number % 2:
                    stream = await asyncio.open_connection("127.0.0.1", self.port)
                else:
                    stream = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, server_hostname=HOST)
                await asyncio.wait_for(stream[0].read(1), 40 + 40 * dice.random())
                stream[1].close()
            await asyncio.sleep(dice.random())

    async def run(self, out: Path) -> None:
        """Play all parts until killed."""
        server = await asyncio.start_server(self.origin, "127.0.0.1", 0)
        (out.parent / "origin-port").write_text(str(server.sockets[0].getsockname()[1]))
        while not (out.parent / "go").exists():
            await asyncio.sleep(0.05)
        parts = [
            *(self.keeper(number) for number in range(8)),
            *(self.caller(number) for number in range(3)),
            *(self.slow_reader(number) for number in range(4)),
            *(self.slow_writer(number) for number in range(2)),
            *(self.idler(number) for number in range(20)),
        ]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
            while True:
                await asyncio.sleep(1)
                made = out.with_suffix(".new")
                made.write_text(json.dumps({"counts": self.counts, "notes": self.notes}))
                made.rename(out)


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:-2])
    return {name.lower(): value.strip() for name, _, value in lines}


def _is_empty(error: BaseException) -> bool:
    return isinstance(error, ConnectionError | asyncio.IncompleteReadError) and not getattr(error, "partial", b"")


async def _body(reader: asyncio.StreamReader, said: dict[bytes, bytes], sip_s: float) -> bytes:
    body = bytearray()

    async def take(count: int) -> None:
        while count:
            piece = await reader.read(min(count, 32_768))
            if not piece:
                raise asyncio.IncompleteReadError(bytes(body), count)
            body.extend(piece)
            count -= len(piece)
            if sip_s:
                await asyncio.sleep(sip_s)

    if b"content-length" in said:
        await take(int(said[b"content-length"]))
        return bytes(body)
    while size := int(await reader.readline(), 16):
        await take(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return bytes(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it remarks on each write behind a worker's death
    asyncio.run(World(given.port, given.ca, given.scale).run(given.out))
