"""An origin that does exactly what a test says, on a real loopback socket, in a trio task."""

import ssl
import time
from contextlib import asynccontextmanager

import trio

from edge.config.tree import Origin, OriginServer, OriginTls
from edge.tls.credentials import credentials_of
from edge.worker.dial import Dialler, Resolver
from edge.worker.origins import Origins

MADE = []
"""Every ``Origins`` a test has built: left when its origin closes, so that no socket outlives the test."""


class TrioClock:
    """The test's clock, virtual or not, for everything."""

    def mono(self):
        return trio.current_time()

    wall = mono


class Peer:
    """The origin's end of one connection."""

    def __init__(self, stream, number):
        self.stream = stream
        self.number = number
        self.buffer = b""

    async def head(self):
        """Read one request head; b"" at the end of the connection."""
        while b"\r\n\r\n" not in self.buffer:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return b""
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    async def exactly(self, count):
        got = bytearray(self.buffer)
        while len(got) < count:
            data = await self.stream.receive_some(1 << 20)
            assert data, "the edge left inside a body"
            got += data
        self.buffer = bytes(got[count:])
        return bytes(got[:count])

    async def send(self, data):
        await self.stream.send_all(data)

    async def answer(self, body=b"hello", extra=b""):
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), extra, body))

    async def closed_by_edge(self):
        """Wait until the edge closes; returns whether anything came before that."""
        rest = self.buffer
        try:
            while data := await self.stream.receive_some(65536):
                rest += data
        except trio.BrokenResourceError:
            pass
        return rest


async def polite(peer):
    """Answer everything with the path and the connection's number."""
    while head := await peer.head():
        await peer.answer(head.split(b" ")[1] + b" on %d" % peer.number)


class ScriptedOrigin:
    """Each connection gets the next script; the last one serves all that follow."""

    def __init__(self, *scripts, tls=None, unix=None):
        self.scripts = list(scripts) or [polite]
        self.tls = tls
        self.unix = unix
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def open(self):
        if self.unix:
            sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            await sock.bind(self.unix)
            sock.listen(16)
            listener = trio.SocketListener(sock)
        else:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.port = listener.socket.getsockname()[1]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, listener, nursery)
                try:
                    yield self
                finally:
                    while MADE:
                        MADE.pop().leave()
                    nursery.cancel_scope.cancel()
        finally:
            # not awaited: a checkpoint in a cancelled nursery would replace the test's own failure
            listener.socket.close()

    async def _accept(self, listener, nursery):
        while True:
            stream = await listener.accept()
            self.connections += 1
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            nursery.start_soon(self._serve, stream, self.connections, script)

    async def _serve(self, stream, number, script):
        if self.tls:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        try:
            await script(Peer(stream, number))
        except (trio.BrokenResourceError, ssl.SSLError):
            pass  # the edge left: what the test then sees at the edge is what counts
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    @property
    def url(self):
        if self.unix:
            return f"unix:{self.unix}"
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"


def origins_of(*urls, weights=(), resolver=None, tls=None, **settings):
    """Build an ``Origins`` with one origin, ``shop``."""
    servers = tuple(
        OriginServer(url=url, weight=weight) for url, weight in zip(urls, weights or [1] * len(urls), strict=True)
    )
    origin = Origin(name="shop", servers=servers, tls=tls or OriginTls(), **settings)
    clock = TrioClock()
    credentials, errors = credentials_of({"shop": origin.tls}, now_wall=time.time())
    assert not errors
    origins = Origins(
        {"shop": origin}, clock, dialler=Dialler(clock, Resolver(clock, resolver)), credentials=credentials
    )
    MADE.append(origins)
    return origins
