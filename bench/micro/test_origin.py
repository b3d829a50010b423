"""
What asking an origin costs us (``edge/origin``, ``edge/worker/origin_exchange.py``).

Run ``pytest bench/micro/test_origin.py``. The exchanges are timed by this process's CPU time, system calls included: the
origin runs in a process of its own and is not part of the figure. ``extra_info`` has microseconds per exchange.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import time
from contextlib import suppress
from random import Random

import pytest
import trio

from edge.clock import SYSTEM
from edge.config.tree import Origin, OriginServer
from edge.message.head import RequestHead
from edge.origin.balance import BALANCERS, Turns, make_balancer
from edge.origin.request import origin_request
from edge.share.fleet import Fleet
from edge.worker.origins import Origins

REPLY = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-type: text/html; charset=utf-8\r\n"
    b'cache-control: max-age=60\r\netag: "abc"\r\nserver: bench\r\ncontent-length: 1024\r\n\r\n' + bytes(1024)
)
HEAD = RequestHead(
    b"GET",
    b"https",
    b"shop.example",
    b"/catalog/42?page=2",
    [
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (b"accept-language", b"en-US,en;q=0.5"),
        (b"accept-encoding", b"gzip, deflate, br, zstd"),
        (b"connection", b"keep-alive"),
        (b"cookie", b"session=0123456789abcdef"),
        (b"sec-fetch-dest", b"document"),
        (b"sec-fetch-mode", b"navigate"),
    ],
)
EXCHANGES = 2000


def ask():
    return origin_request(HEAD, peer=b"192.0.2.1", trusted=False, request_id=b"0123456789abcdef", identity=True)


def serve(listener, reply=REPLY):
    """Answer every request at once, in one write."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                sock, _ = listener.accept()
                selector.register(sock, selectors.EVENT_READ)
                continue
            data = key.fileobj.recv(65536)
            if data:
                key.fileobj.sendall(reply)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


@pytest.fixture(scope="module")
def url():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            serve(listener)
        os._exit(0)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    listener.close()


def test_composing_a_request(benchmark):
    benchmark(ask)


@pytest.mark.parametrize("balance", sorted(BALANCERS))
def test_picking_one_of_three(benchmark, balance):
    names = [b"10.0.0.1:80", b"10.0.0.2:80", b"10.0.0.3:80"]
    fleet = Fleet(2)
    balancer = make_balancer(balance, [1, 1, 2], names, turns=Turns.of(fleet, fleet.row(b"shop")), random=Random(1))
    balancer.prepare([0, 1, 2], [1, 1, 2])
    benchmark(balancer.pick, [0, 1, 2], [1, 1, 2], [3, 1, 2], b"192.0.2.1")


@pytest.mark.parametrize("balance", sorted(BALANCERS))
def test_choosing_one_of_three(benchmark, balance):
    """With the survey, the load in another worker, and a look whether there is room."""
    servers = tuple(OriginServer(f"http://10.0.0.{number}:80") for number in (1, 2, 3))
    origins = Origins({"shop": Origin("shop", servers, balance=balance)}, SYSTEM, fleet=Fleet(2), alive=lambda: [0, 1])
    group = origins.groups["shop"]
    exchange = origins.exchange("shop", ask(), b"192.0.2.1")
    benchmark(group.choose, exchange, frozenset(), SYSTEM.mono())


@pytest.mark.parametrize("beside", [1, 32])
@pytest.mark.parametrize("via", ["origins", "a scope per wait", "bare sockets"])
@pytest.mark.benchmark(timer=time.process_time)
def test_one_kib_on_a_kept_connection(benchmark, url, beside, via):
    """
    *bare sockets* is what trio and the kernel take of it: send, wait, receive, and nothing understood. *a scope per wait* is
    what every exchange would cost if its deadlines were exact.
    """

    async def through_origins(origins):
        for _ in range(EXCHANGES // beside):
            async with origins.exchange("shop", request) as exchange:
                head = await exchange.reply()
                got = 0
                while data := exchange.body_nowait() or await exchange.body():
                    got += len(data)
            assert (200, 1024) == (head.status, got)

    async def bare(address):
        with socket.create_connection(address) as sock:
            sock.setblocking(False)
            for _ in range(EXCHANGES // beside):
                sock.send(wire)
                await trio.lowlevel.wait_readable(sock)
                assert len(sock.recv(65536)) == len(REPLY)

    async def main():
        async with trio.open_nursery() as nursery:
            if via != "bare sockets":
                origins = Origins({"shop": Origin("shop", (OriginServer(url),))}, SYSTEM)
                if via == "origins":
                    origins.sweep()  # as the worker does every second: long waits then need no timer of their own
                for _ in range(beside):
                    nursery.start_soon(through_origins, origins)
            else:
                for _ in range(beside):
                    nursery.start_soon(bare, ("127.0.0.1", int(url.rpartition(":")[2])))
        if via != "bare sockets":
            origins.leave()

    request = ask()
    wire = b"GET / HTTP/1.1\r\nhost: shop.example\r\n" + bytes(400) + b"\r\n\r\n"
    gc.collect()
    gc.freeze()  # as a worker does: the collector shall not walk pytest's heap
    benchmark.pedantic(lambda: trio.run(main), rounds=9, warmup_rounds=2)
    gc.unfreeze()
    benchmark.extra_info["us_each"] = round(benchmark.stats.stats.min / EXCHANGES * 1e6, 1)
