"""
OpenSSL and we read the same hello: the name a context is chosen by is the name in the handshake.

OpenSSL is asked through its server-name callback, which the product does not use.
"""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import Side
from edge.tls.contexts import ContextStore
from edge.tls.hello import NEED_DATA, Hello, NotTls, peek_hello, read_hello
from edge.tls.selfsigned import Authority
from edge.tls.stream import Ready, TlsStream
from tests.tls.kit import Listener, Settings, hello_bytes, tcp_pair
from tests.tls.test_hello import made, records, server_name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tls.kit import House


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("oracle")
    chain, key = Authority().issue(["shop.example"]).write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def openssl_reads(context: ssl.SSLContext, data: bytes) -> tuple[bool, str | None]:
    """Whether OpenSSL answers *data* as a whole hello, and the name it has read."""
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(data)
    with suppress(ssl.SSLWantReadError):
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            raise
        except (ssl.SSLError, UnicodeError):
            return False, None
    return bool(outgoing.pending), named[0] if named else None


def agree(context: ssl.SSLContext, data: bytes) -> None:
    """Where OpenSSL goes on, we have read the same name, or none, or have refused already."""
    answers, name = openssl_reads(context, data)
    ours = read_hello(data)
    if not answers or isinstance(ours, NotTls):
        return
    assert isinstance(ours, Hello), "OpenSSL answers what we would still wait for"
    if ours.server_name is not None:
        assert name is not None
        assert ours.server_name == name.encode().lower().removesuffix(b".")


@pytest.mark.parametrize("name", ["shop.example", "Shop.Example", None])
@pytest.mark.parametrize("size", [16384, 200, 40])
def test_a_good_hello_is_read_by_both(oracle: ssl.SSLContext, name: str | None, size: int) -> None:
    data = records(hello_bytes(name)[5:], size)
    answers, named = openssl_reads(oracle, data)
    ours = read_hello(data)

    assert answers
    assert isinstance(ours, Hello)
    assert (name and name.lower().encode()) == ours.server_name
    assert (named and named.lower()) == (name and name.lower())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the callback's, for names not ASCII
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_changed_hello_is_not_read_in_two_ways(oracle: ssl.SSLContext, data: st.DataObject) -> None:
    hello = bytearray(hello_bytes("shop.example", alpn=("h2", "http/1.1")))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(hello) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "add"]))
        if change == "set":
            hello[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del hello[at]
        else:
            hello.insert(at, data.draw(st.integers(0, 255)))
    agree(oracle, bytes(hello))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the callback's, for names not ASCII
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3), kind=st.sampled_from([0, 0, 0, 1]))
def test_any_name_is_not_read_in_two_ways(oracle: ssl.SSLContext, names: list[bytes], kind: int) -> None:
    groups, signatures = (10, b"\x00\x02\x00\x17"), (13, b"\x00\x02\x04\x03")
    agree(oracle, records(made(server_name(*names, kind=kind), groups, signatures, suites=b"\xc0\x2b")))


def test_the_hello_made_by_hand_is_one_that_openssl_answers(oracle: ssl.SSLContext) -> None:
    """Else the test above would compare nothing."""
    groups, signatures = (10, b"\x00\x02\x00\x17"), (13, b"\x00\x02\x04\x03")
    data = records(made(server_name(b"shop.example"), groups, signatures, suites=b"\xc0\x2b"))

    assert (True, "shop.example") == openssl_reads(oracle, data)


@pytest.mark.parametrize("size", [16384, 100, 10])
def test_a_hello_that_drips_is_peeked_at_and_then_answered(house: House, size: int) -> None:
    """As the worker does it: nothing is taken until all is there, then OpenSSL takes it from the beginning."""
    store = ContextStore.build(Settings((house.certificate("a.example"), house.certificate("shop.example"))))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = house.client().wrap_bio(incoming, outgoing, server_hostname="shop.example")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    wire = records(outgoing.read()[5:], size)
    ours, theirs = tcp_pair()
    theirs.setblocking(False)
    ours.settimeout(10)
    with closing(ours):
        for at, byte in enumerate(wire, 1):
            ours.send(bytes([byte]))
            found = peek_hello(theirs)
            assert found is NEED_DATA or at == len(wire)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(wire))  # the kernel delivers when it likes
        assert select.select([theirs], [], [], 10)[0]
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        found = peek_hello(theirs)
        assert isinstance(found, Hello)
        with closing(TlsStream(theirs, Side.CLIENT, store.choose(found.server_name, Listener()))) as server:
            while (ready := server.handshake()) is not Ready.DONE:
                incoming.write(ours.recv(65536))
                client.do_handshake()
                ours.send(outgoing.read())
                select.select([theirs], [], [], 10)

            assert Ready.DONE is ready
            assert (("DNS", "shop.example"),) == (client.getpeercert() or {})["subjectAltName"]
