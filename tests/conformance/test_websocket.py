"""
WebSocket through the edge says, byte for byte, what the same server says without it.

The server is that of the ``websockets`` package, sans-IO and fed a byte at a time, so that what it says does not depend on
how its input was cut. The cases are of the families of the Autobahn fuzzing client, which itself is run by
``test_autobahn.py`` where it can be had.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
import trio
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from edge.config.tree import Origin as OriginConfig
from edge.config.tree import OriginServer
from tests.kit.house import house
from tests.kit.origin import Origin

MOST = 1 << 17
"""The longest message the server takes."""

MASK = bytes((0x37, 0xFA, 0x21, 0x3D))
HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
SAID = (b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol", b"upgrade")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10


def frame(
    opcode: int, payload: bytes = b"", *, bits: int = FIN, mask: bool = True, length: bytes | None = None
) -> bytes:
    """A client's frame, right or wrong."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if length is None:
        if size < 126:
            length = bytes((bit | size,))
        elif size < 65536:
            length = bytes((bit | 126,)) + struct.pack(">H", size)
        else:
            length = bytes((bit | 127,)) + struct.pack(">Q", size)
    if mask:
        payload = MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes((bits | opcode,)) + length + payload


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def deflated(data: bytes, *, bits: int = 15) -> bytes:
    packer = zlib.compressobj(wbits=-bits)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


BYE = close(1000)
LETTERS = bytes(range(97, 123))
WORDS = "Hello-µ@ßöäüàá-UTF-8!! \U0001f600".encode()
BAD_UTF8 = (b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce\xba\xff", b"\x80", b"\xe2\x82")


def cases() -> Iterable[tuple[str, bytes, bool]]:
    """Give each case: its name, what the client says, and whether compression is asked for."""
    for size in (0, 1, 125, 126, 127, 128, 1000, 65535, 65536, 65537):
        for kind in (TEXT, BINARY):
            yield f"framing {size} {kind}", frame(kind, (LETTERS * (size // 26 + 1))[:size]) + BYE, False
    for size in (0, 5, 125):
        yield f"ping {size}", frame(PING, bytes(size)) * 10 + BYE, False
    yield "ping too long", frame(PING, bytes(126)), False
    yield "ping in parts", frame(PING, b"x", bits=0) + frame(CONTINUATION, b"y"), False
    yield "pong unasked", frame(PONG, b"unasked") + frame(TEXT, b"still here") + BYE, False
    for bits in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3):
        yield f"reserved bits {bits:#x}", frame(TEXT, b"before") + frame(TEXT, b"x", bits=FIN | bits) + BYE, False
    for opcode in (3, 7, 11, 15):
        yield f"reserved opcode {opcode}", frame(TEXT, b"before") + frame(opcode, b"x") + BYE, False
    yield "not masked", frame(TEXT, b"x", mask=False), False
    yield "length not in its shortest form", frame(TEXT, b"x", length=b"\xfe\x00\x01") + BYE, False
    yield "length of 63 bits and more", b"\x82\xff" + b"\xff" * 8 + MASK, False
    parts = frame(TEXT, b"fragment1", bits=0) + frame(PING, b"between") + frame(CONTINUATION, b"fragment2")
    yield "fragments with a ping between", parts + BYE, False
    yield "many fragments", frame(TEXT, b"", bits=0) + frame(CONTINUATION, b"ab", bits=0) * 200 + frame(0) + BYE, False
    yield "continuation of nothing", frame(CONTINUATION, b"x") + frame(TEXT, b"y") + BYE, False
    yield "a message within a message", frame(TEXT, b"x", bits=0) + frame(TEXT, b"y") + BYE, False
    yield "close within a message", frame(TEXT, b"x", bits=0) + BYE, False
    yield "utf-8", frame(TEXT, WORDS) + BYE, False
    yield "utf-8 in parts", frame(TEXT, WORDS[:6], bits=0) + frame(CONTINUATION, WORDS[6:]) + BYE, False
    for bad in BAD_UTF8:
        yield f"no utf-8 {bad.hex()}", frame(TEXT, b"x" + bad) + BYE, False
        yield f"no utf-8 in parts {bad.hex()}", frame(TEXT, bad[:1], bits=0) + frame(CONTINUATION, bad[1:]) + BYE, False
    yield "bytes need not be utf-8", frame(BINARY, b"".join(BAD_UTF8)) + BYE, False
    yield "close without a code", close() + frame(TEXT, b"too late"), False
    yield "close with half a code", frame(CLOSE, b"\x03"), False
    yield "close with a reason", close(1000, b"\xe2\x82\xac" * 41), False
    yield "close with too long a reason", frame(CLOSE, struct.pack(">H", 1000) + bytes(124)), False
    yield "close with a reason that is no utf-8", close(1000, b"\xff"), False
    yield "close twice", BYE + BYE, False
    yield "ping behind close", BYE + frame(PING, b"x"), False
    for code in (0, 999, 1001, 1004, 1005, 1006, 1007, 1011, 1016, 1100, 2999, 3000, 4999, 5000, 65535):
        yield f"close {code}", close(code), False
    yield "just as long as allowed", frame(BINARY, bytes(MOST)) + BYE, False
    yield "longer than allowed", frame(BINARY, bytes(MOST + 1)) + BYE, False
    yield "longer than allowed in parts", frame(BINARY, bytes(MOST), bits=0) + frame(CONTINUATION, b"x") + BYE, False
    yield "an end within a frame", frame(TEXT, LETTERS)[:10], False
    yield "compression that was not asked for", frame(TEXT, deflated(LETTERS), bits=FIN | RSV1), False
    yield "compressed", frame(TEXT, deflated(LETTERS * 500), bits=FIN | RSV1) * 3 + BYE, True
    yield "not compressed, though it might be", frame(TEXT, LETTERS * 50) + BYE, True
    packed = deflated(WORDS * 300)
    halves = frame(TEXT, packed[:40], bits=RSV1) + frame(PING) + frame(CONTINUATION, packed[40:])
    yield "compressed in parts", halves + BYE, True
    yield (
        "a part marked as compressed",
        frame(TEXT, packed[:9], bits=RSV1) + frame(0, packed[9:], bits=FIN | RSV1),
        True,
    )
    yield "compressed control", frame(PING, deflated(b"x"), bits=FIN | RSV1), True
    yield "not what deflate makes", frame(TEXT, b"\xff" * 20, bits=FIN | RSV1), True
    yield "a bomb", frame(BINARY, deflated(bytes(MOST * 8)), bits=FIN | RSV1), True


class EchoServer:
    """Says back what it hears. Each connection is one server of the package's own."""

    async def __call__(self, stream: trio.SocketStream) -> None:
        protocol = ServerProtocol(max_size=MOST, extensions=[ServerPerMessageDeflateFactory(server_max_window_bits=12)])
        message: list[bytes] = []
        kind = Opcode.TEXT
        async with stream:
            while True:
                try:
                    data = await stream.receive_some(65536)
                except trio.BrokenResourceError:
                    return
                for at in range(len(data)):
                    protocol.receive_data(data[at : at + 1])
                    for event in protocol.events_received():
                        if not isinstance(event, Frame):
                            protocol.send_response(protocol.accept(event))
                            continue
                        if event.opcode in {Opcode.TEXT, Opcode.BINARY}:
                            message, kind = [], event.opcode
                        if event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                            message.append(bytes(event.data))
                            if event.fin and protocol.state is State.OPEN:
                                self.echo(protocol, kind, b"".join(message))
                    if await self.say(stream, protocol):
                        return
                if not data:
                    protocol.receive_eof()
                    await self.say(stream, protocol)
                    return

    @staticmethod
    def echo(protocol: ServerProtocol, kind: Opcode, data: bytes) -> None:
        if kind is Opcode.BINARY:
            protocol.send_binary(data)
            return
        try:
            data.decode()
        except UnicodeDecodeError:
            protocol.fail(1007, "that is no UTF-8")
        else:
            protocol.send_text(data)

    @staticmethod
    async def say(stream: trio.SocketStream, protocol: ServerProtocol) -> bool:
        """Send what is to be sent; True: that was all."""
        try:
            for data in protocol.data_to_send():
                if data:
                    await stream.send_all(data)
                else:
                    await stream.send_eof()
                    return True
        except trio.BrokenResourceError:
            return True
        return False


async def talk(connect: Callable, said: bytes, *, compressed: bool, cut: int) -> tuple[list[bytes], bytes]:
    """Shake hands, say everything in pieces of *cut* bytes, and listen to the end."""
    stream = await connect()
    heard = b""
    async with stream, trio.open_nursery() as nursery:
        await stream.send_all(HANDSHAKE + (DEFLATE if compressed else b"") + b"\r\n")
        while b"\r\n\r\n" not in heard:
            heard += await stream.receive_some(65536)

        async def say() -> None:
            try:
                for at in range(0, len(said), cut):
                    await stream.send_all(said[at : at + cut])
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(say)
        try:
            while data := await stream.receive_some(65536):
                heard += data
        except trio.BrokenResourceError:
            pass
        nursery.cancel_scope.cancel()
    head, _, rest = heard.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    fields = {name.lower(): value.strip() for name, _, value in lines}
    return [head.split(b" ")[1], *(fields.get(name, b"") for name in SAID)], rest


@pytest.mark.parametrize("cut", [1 << 20, 7], ids=["whole", "in crumbs"])
async def test_the_same_is_said_with_and_without_the_edge(tmp_path: Path, cut: int, say) -> None:
    """Framing, fragments, UTF-8, closing, limits and compression."""
    count = 0
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, EchoServer(), 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        settings = {"shop": OriginConfig("shop", (OriginServer(f"http://127.0.0.1:{port}"),))}
        async with house(tmp_path, origin=Origin(port=1), origins=settings) as edge:

            async def through() -> trio.abc.Stream:
                return (await edge.client()).stream

            async def directly() -> trio.abc.Stream:
                return await trio.open_tcp_stream("127.0.0.1", port)

            for name, said, compressed in cases():
                if len(said) > 5000 and cut < 100:
                    continue
                with trio.fail_after(20):
                    expected = await talk(directly, said, compressed=compressed, cut=cut)
                    found = await talk(through, said, compressed=compressed, cut=cut)

                assert expected == found, name
                assert expected[0][0] == b"101", name
                count += 1
        nursery.cancel_scope.cancel()
    assert count > 70
    say(f"WebSocket: {count} conversations are the same with and without the edge")
