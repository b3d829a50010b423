"""
What moving bytes costs (``edge/tls/stream.py``), and why it is done through memory BIOs.

Run ``pytest bench/micro/test_stream.py``. A *turn* is what a small hit pays: pull a request of 300 bytes, push a reply of
1,200, find that there is nothing more. The ``SSLSocket`` rows are the form that was not taken.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress

import pytest

from edge.errors import Side
from edge.tls.contexts import ContextStore
from edge.tls.hello import Hello, read_hello
from edge.tls.stream import PlainStream, TlsStream
from tests.tls.kit import House, Listener, Settings, hello_bytes, meet, tcp_pair

REQUEST = b"x" * 300
REPLY = b"y" * 1200
BODY = memoryview(bytes(16 << 20))
OFFER = 1 << 18


class Bare:
    """The form not taken: OpenSSL on the socket itself, by its innermost methods."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self._read, self._write = sock._sslobj.read, sock._sslobj.write
        self.drained = False
        self.wants_write = False

    def pull(self, limit=16384):
        try:
            return self._read(limit)
        except ssl.SSLWantReadError:
            return None

    def push(self, data):
        done = 0
        with suppress(ssl.SSLWantWriteError):
            while done < len(data):
                done += self._write(memoryview(data)[done:])
        self.wants_write = done < len(data)
        return done


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def bare_pair(context, client_context):
    ours, theirs = tcp_pair()
    client = TlsStream(ours, Side.ORIGIN, client_context, server_hostname="shop.example")
    theirs.setblocking(False)
    server = context.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
    for _ in range(10):
        client.handshake()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
    client.pull()
    return client, Bare(server)


@pytest.fixture(params=["plain", "tls", "sslsocket"])
def ends(request, house):
    """(client, the server's side that is measured)."""
    context = ContextStore.build(Settings((house.certificate("shop.example"),))).choose(None, Listener())
    if request.param == "plain":
        ours, theirs = tcp_pair()
        made = PlainStream(ours, Side.ORIGIN), PlainStream(theirs, Side.CLIENT)
    elif request.param == "tls":
        made = meet(context, house.client(), connect=tcp_pair)
    else:
        made = bare_pair(context, house.client())
    yield made
    for end in made:
        end.sock.close()


@pytest.mark.parametrize("stops", ["drained", "asking again"])
def test_a_turn(benchmark, ends, stops):
    client, server = ends
    if stops == "drained" and isinstance(server, Bare):
        pytest.skip("an SSLSocket cannot tell")

    def setup():
        while client.pull():
            pass
        client.push(REQUEST)

    def turn():
        assert server.pull()
        server.push(REPLY)
        if stops == "asking again" or not server.drained:
            assert server.pull() is None

    benchmark.pedantic(turn, setup=setup, rounds=20_000, warmup_rounds=1000)


def test_a_body_of_16_mib(benchmark, ends):
    """To a reader in another process that only throws away; GB/s are 16.8 divided by the milliseconds."""
    client, server = ends
    child = os.fork()
    if child == 0:
        client.sock.setblocking(True)
        rubbish = bytearray(1 << 18)
        raw = socket.socket(fileno=os.dup(client.sock.fileno()))
        with suppress(OSError):
            while raw.recv_into(rubbish):
                pass
        os._exit(0)
    server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)

    def send():
        at = 0
        while at < len(BODY):
            at += server.push(BODY[at : at + OFFER] if not server.wants_write else BODY[at:])

    benchmark.pedantic(send, rounds=10, warmup_rounds=1)
    server.sock.shutdown(socket.SHUT_RDWR)
    os.waitpid(child, 0)


def test_reading_a_hello(benchmark):
    data = hello_bytes("shop.example", alpn=("h2", "http/1.1"))

    assert isinstance(benchmark(lambda: read_hello(data)), Hello)


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_handshake_of_both_ends(benchmark, house, version, resumed):
    context = ContextStore.build(Settings((house.certificate("shop.example"),))).choose(None, Listener())
    client_context = house.client(version=ssl.TLSVersion[version])
    first = meet(context, client_context)
    session = first[0].session if resumed else None

    def greet():
        for end in meet(context, client_context, session=session):
            end.close()

    benchmark(greet)
    for end in first:
        end.close()
