"""What an hour of mixed load showed: each test failed before its fix."""

from __future__ import annotations

import ssl
from pathlib import Path

import trio

from edge.config.tree import Certificate, Config, Listener, Timeouts
from edge.tls.contexts import ContextStore
from edge.tls.selfsigned import Authority
from tests.kit.house import house
from tests.kit.origin import Asked, Origin, Wire, reply

ASK = b"GET /slow HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"


async def slowly(_: Asked, wire: Wire) -> None:
    await trio.sleep(2.5)
    await wire.send(reply(body=b"at last", cache_control="no-store"))


async def test_a_request_that_comes_with_the_end_of_its_handshake_may_take_longer_than_that(tmp_path: Path) -> None:
    """
    The deadline of the handshake went on, because nothing was waited for before or after, and cut the first exchange.

    A client of TLS 1.3 sends its first request in the same flight as its Finished; so most did.
    """
    authority = Authority()
    chain, key = authority.issue(["shop.example"]).write(tmp_path / "certs")
    listener = Listener("127.0.0.1:1", tls=True)
    store = ContextStore.build(Config(listeners=(listener,), certificates=(Certificate(chain, key),)))
    context = ssl.create_default_context(cadata=authority.pem.decode())
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(theirs, ours, server_hostname="shop.example")
    async with house(
        tmp_path / "cache",
        origin=Origin({b"/slow": slowly}),
        tls=store,
        listeners=(listener,),
        timeouts=Timeouts(handshake_s=0.5),
    ) as edge:
        wire = (await edge.client()).stream
        with trio.fail_after(20):
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await wire.send_all(ours.read())
                    theirs.write(await wire.receive_some(65536))
            tls.write(ASK)
            await wire.send_all(ours.read())  # Finished and the request
            got = b""
            while b"at last" not in got:
                data = await wire.receive_some(65536)
                assert data, f"cut after {got!r}"
                theirs.write(data)
                try:
                    while piece := tls.read(65536):
                        got += piece
                except ssl.SSLWantReadError:
                    pass

    assert got.startswith(b"HTTP/1.1 200 ")
