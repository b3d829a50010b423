"""
What a miss costs us from the client's socket to the origin's and back (``edge/worker/slow.py`` and what it calls).

Run ``python -m pytest bench/micro/test_miss.py``. One worker, timed by this process's CPU time, system calls included:
the client and the origin run in processes of their own and are not part of the figure. ``extra_info`` has microseconds
per exchange. Every request is for a new path, so *stored* writes each reply into the store, and *passed* asks once more
for what was found not storable.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest
import trio

from bench.micro.test_origin import serve
from edge.clock import SYSTEM
from tests.kit.house import house
from tests.kit.origin import Origin

EXCHANGES = 1500
BESIDE = 8

BODY = bytes(range(64, 128)) * 16
REPLIES = {
    "stored": b"max-age=60",
    "passed": b"private",
}


def reply_of(said):
    return (
        b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-type: image/png\r\n"
        b'cache-control: %b\r\netag: "abc"\r\nserver: bench\r\ncontent-length: %d\r\n\r\n' % (said, len(BODY))
    ) + BODY


def ask(socks, orders):
    """Ask for as many new paths as ordered, on every connection in turn; say when the last reply is here."""
    number = 0
    while order := orders.recv(4):
        for _ in range(int.from_bytes(order) // len(socks)):
            for sock in socks:
                number += 1
                sock.sendall(
                    b"GET /catalog/%d HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n"
                    % number
                )
            for sock in socks:
                got = b""
                while not got.endswith(BODY):
                    got += sock.recv(65536)
                assert got.startswith(b"HTTP/1.1 200"), got
        orders.send(b"!")


@pytest.mark.parametrize("what", REPLIES)
@pytest.mark.benchmark(timer=time.process_time)
def test_one_kib_nobody_has_asked_for_yet(benchmark, tmp_path, what):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    ours, theirs = zip(*(socket.socketpair() for _ in range(BESIDE)), strict=True)
    orders, heard = socket.socketpair()
    origin_pid = os.fork()
    if not origin_pid:
        with suppress(BaseException):
            serve(listener, reply_of(REPLIES[what]))
        os._exit(0)
    client_pid = os.fork()
    if not client_pid:
        with suppress(BaseException):
            ask(theirs, heard)
        os._exit(0)
    port = listener.getsockname()[1]
    listener.close()
    heard.close()
    for sock in theirs:
        sock.close()
    token = None
    started, over = threading.Event(), trio.Event()

    async def main():
        nonlocal token
        async with house(tmp_path, origin=Origin(port=port), clock=SYSTEM) as made:
            worker = made.worker
            worker.rooms.record = worker.ledger.record  # the kit's own notes are not part of the figure
            worker.origins.sweep()
            for sock in ours:
                worker.fast.admit(sock, "192.0.2.7", worker.doors.plain(made.listener))
            token = trio.lowlevel.current_trio_token()
            started.set()
            await over.wait()

    async def many():
        orders.send(EXCHANGES.to_bytes(4))
        await trio.lowlevel.wait_readable(orders)
        assert orders.recv(1) == b"!"

    thread = threading.Thread(target=trio.run, args=(main,))
    try:
        thread.start()
        assert started.wait(10)
        gc.collect()
        gc.freeze()  # as a worker does
        benchmark.pedantic(lambda: trio.from_thread.run(many, trio_token=token), rounds=9, warmup_rounds=2)
        gc.unfreeze()
        trio.from_thread.run_sync(over.set, trio_token=token)
    finally:
        thread.join(10)
        for pid in (origin_pid, client_pid):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        orders.close()
    benchmark.extra_info["us_each"] = round(benchmark.stats.stats.min / (EXCHANGES // BESIDE * BESIDE) * 1e6, 1)
