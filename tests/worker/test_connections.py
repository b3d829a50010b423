"""Connections to origins: from where, for whom, how old they become, and those that are there in advance."""

import ssl

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from edge.config.tree import OriginTls
from edge.errors import EdgeFault, OriginFault
from edge.message.proxy_protocol import NOWHERE, Ends, read_header, write_header

from .scripted import ScriptedOrigin, origins_of
from .test_origins import fetch, get, gone, tls_context

pytestmark = pytest.mark.trio

ANNA = write_header(Ends("192.0.2.7", 1, "203.0.113.9", 443), 2)
BERT = write_header(Ends("192.0.2.8", 1, "203.0.113.9", 443), 2)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


# -- by age and use -----------------------------------------------------------------------------------------


async def test_a_connection_carries_so_many_exchanges_and_no_more():
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url, max_uses=2)
        bodies = [(await fetch(origins))[1] for _ in range(5)]

        assert [b"/ on 1", b"/ on 1", b"/ on 2", b"/ on 2", b"/ on 3"] == bodies


async def test_a_connection_that_has_become_old_carries_no_further_exchange(autojump_clock):
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url, max_age_s=10.0, idle_s=60.0)
        bodies = []
        for wait_s in (0.0, 9.0, 2.0):
            await trio.sleep(wait_s)
            bodies.append((await fetch(origins))[1])
        await trio.sleep(10.1)
        origins.sweep()

        assert [b"/ on 1", b"/ on 1", b"/ on 2"] == bodies
        assert gone(origins)


# -- in advance ---------------------------------------------------------------------------------------------


async def idle(origins, count):
    """Wait until each server has so many idle connections, none of them too old."""
    with trio.fail_after(60):
        while origins.sweep() or any(count != server.idle for server in origins.standing()):
            await trio.sleep(0.1)


@pytest.mark.parametrize("secure", [False, True])
async def test_connections_are_there_before_they_are_asked_for(authority, ca_file, secure, autojump_clock):
    """And again when they have been used up, or have become too old; none is opened for an exchange."""
    async with ScriptedOrigin(tls=tls_context(authority) if secure else None).open() as server:
        origins = origins_of(server.url, min_idle=3, max_uses=2, tls=OriginTls(ca=ca_file))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(origins.tend)
            await idle(origins, 3)
            assert 3 == server.connections
            _, body, exchange = await fetch(origins)
            assert (b"/ on 3", True) == (body, exchange.reused)
            await idle(origins, 3)
            await trio.sleep(30)
            await idle(origins, 3)
            made = server.connections
            assert made > 6
            origins.leave()  # and so the task ends
        assert gone(origins)


async def test_a_server_that_cannot_be_reached_is_not_pressed(autojump_clock):
    """It is tried as often as its health allows, and serves again as soon as it can."""
    asked = []

    async def nobody(host, port):
        asked.append(trio.current_time())
        raise OSError("no such name")

    origins = origins_of("http://app:80", min_idle=5, resolver=nobody)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(origins.tend)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    assert 2 <= len(asked) <= 30
    assert gone(origins)


async def test_where_nothing_is_to_be_ready_there_is_no_task():
    async with ScriptedOrigin().open() as server:
        with trio.fail_after(1):
            await origins_of(server.url).tend()


# -- for whom -----------------------------------------------------------------------------------------------


class Introduced:
    """An origin that reads a PROXY header first and says in each reply for whom the connection is."""

    def __init__(self):
        self.headers = []

    async def __call__(self, peer):
        while (header := read_header(peer.buffer)) is None:
            data = await peer.stream.receive_some(1)
            if not data:
                return
            peer.buffer += data
        peer.buffer = peer.buffer[header.size :]
        self.headers.append(header)
        while await peer.head():
            await peer.answer(b"%s on %d" % (header.ends.source.encode() or b"-", peer.number))


async def test_a_connection_says_whose_it_is_and_is_used_for_him_alone():
    async with ScriptedOrigin(Introduced()).open() as server:
        origins = origins_of(server.url, proxy_protocol="v2")
        bodies = [(await fetch(origins, get(preface=who)))[1] for who in (ANNA, BERT, ANNA, BERT)]

        assert [b"192.0.2.7 on 1", b"192.0.2.8 on 2", b"192.0.2.7 on 1", b"192.0.2.8 on 2"] == bodies


async def test_where_no_more_may_be_opened_anothers_makes_room():
    async with ScriptedOrigin(Introduced()).open() as server:
        origins = origins_of(server.url, proxy_protocol="v1", max_connections=1)
        bodies = [(await fetch(origins, get(preface=who)))[1] for who in (ANNA, BERT, ANNA)]

        assert [b"192.0.2.7 on 1", b"192.0.2.8 on 2", b"192.0.2.7 on 3"] == bodies
        assert 1 == origins.standing()[0].idle


async def test_who_passes_nobody_on_speaks_for_himself():
    """Whoever opens a connection with no exchange in hand: a health check."""
    hears = Introduced()
    async with ScriptedOrigin(hears).open() as server:
        origins = origins_of(server.url, proxy_protocol="v2")
        group = origins.groups["shop"]
        link = await group.open(group.servers[0], 0.0)
        await wait_all_tasks_blocked()
        group.servers[0].discard(link)

    assert [NOWHERE] == [header.ends for header in hears.headers]


async def test_the_header_comes_before_the_handshake(authority, ca_file):
    """Inside TLS it would come from whoever holds the session, not from the connection."""
    seen = []

    async def terminate(peer):
        seen.append(b"".join([await peer.stream.receive_some(1) for _ in ANNA]))
        secured = trio.SSLStream(peer.stream, tls_context(authority), server_side=True, https_compatible=True)
        peer.stream = secured
        await peer.head()
        await peer.answer(b"safe")

    async with ScriptedOrigin(terminate).open() as server:
        url = server.url.replace("http:", "https:")
        origins = origins_of(url, proxy_protocol="v2", tls=OriginTls(ca=ca_file))
        _, body, _ = await fetch(origins, get(preface=ANNA))

    assert ([ANNA], b"safe") == (seen, body)


async def test_an_origin_that_hangs_up_on_the_header_fails_the_exchange():
    async def shut(peer):
        await peer.exactly(1)

    async with ScriptedOrigin(shut).open() as server:
        with pytest.raises(OriginFault):
            await fetch(origins_of(server.url, proxy_protocol="v1", retries=0), get(preface=ANNA))


# -- from where ---------------------------------------------------------------------------------------------


async def test_connections_come_from_where_they_are_told_to():
    seen = []

    async def script(peer):
        seen.append(peer.stream.socket.getpeername()[0])
        await peer.head()
        await peer.answer()

    async with ScriptedOrigin(script).open() as server:
        await fetch(origins_of(server.url, source=("127.0.0.42", "::1")))

    assert ["127.0.0.42"] == seen


async def test_an_address_that_is_not_ours_is_our_fault():
    """The server was not asked, and is not held to be ill for it."""
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url, source=("192.0.2.1",))
        with pytest.raises(EdgeFault, match=r"cannot come from 192\.0\.2\.1"):
            await fetch(origins)

        assert origins.standing()[0].is_well


async def test_a_server_of_another_family_cannot_be_reached():
    async with ScriptedOrigin().open() as server:
        with pytest.raises(OriginFault, match="no source address of its family") as raised:
            await fetch(origins_of(server.url, source=("::1",), retries=0))

    assert "destination_ip_unroutable" == raised.value.word


# -- shown --------------------------------------------------------------------------------------------------


async def test_an_origin_that_asks_is_shown_our_certificate(authority, ca_file, tmp_path):
    clients = trustme.CA()
    ours = clients.issue_cert("edge.example")
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    context = tls_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    clients.configure_trust(context)

    async with ScriptedOrigin(tls=context).open() as server:
        shown = OriginTls(ca=ca_file, chain=tmp_path / "chain.pem", key=tmp_path / "key.pem")
        status, _, _ = await fetch(origins_of(server.url, tls=shown))
        with pytest.raises(OriginFault):
            await fetch(origins_of(server.url, tls=OriginTls(ca=ca_file), retries=0))

    assert 200 == status
