"""What the kernel takes for a client that reads nothing."""

from __future__ import annotations

import fcntl
import socket
import struct
from contextlib import closing
from pathlib import Path

import trio

from edge.worker.life import UNSENT
from tests.kit.house import house
from tests.kit.origin import Origin, reply

SIOCOUTQNSD = 0x894B
"""ioctl(2): bytes that are in the send queue and not on their way yet (linux/sockios.h)."""


def unsent(sock: socket.socket) -> int:
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), SIOCOUTQNSD, struct.pack("i", 0)))[0]


async def test_a_reader_that_takes_nothing_is_not_given_the_kernels_memory(tmp_path: Path) -> None:
    """Four megabytes for each of a thousand such readers are all that TCP may have, and nobody else is sent anything then."""
    body = b"x" * 3_000_000
    origin = Origin({b"*": reply(body=body, cache_control="max-age=60")})
    async with house(tmp_path, origin=origin) as edge:
        await (await edge.client()).get("/big")
        with closing(socket.create_server(("127.0.0.1", 0))) as queue:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(queue.getsockname())
            with closing(client):
                connection, address = queue.accept()
                edge.worker._welcome(connection, address, edge.worker.doors.plain(edge.listener))
                client.sendall(b"GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                await trio.sleep(0.5)
                held = unsent(connection)
                taken = 0
                client.setblocking(False)
                with trio.fail_after(20):
                    while taken < len(body):
                        try:
                            taken += len(client.recv(1 << 20))
                        except BlockingIOError:
                            await trio.sleep(0.001)

    assert 0 < held <= UNSENT + 128 * 1024
