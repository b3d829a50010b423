"""Servers are asked whether they are well by one worker, over connections of their own, each check within its time."""

import socket
import ssl
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from edge.config.origin_rules import HealthCheck
from edge.config.tree import Origin, OriginServer
from edge.origin.health import Checked
from edge.origin.members import Member, Members
from edge.share.fleet import Fleet
from edge.tls.credentials import Credentials
from edge.worker.checking import Checker
from edge.worker.dial import Dialler, Resolver
from edge.worker.origins import Origins

from .scripted import MADE, ScriptedOrigin, TrioClock

pytestmark = pytest.mark.trio


def origins_of(*urls, fleet=None, slot=0, credentials=None, **check):
    settings = {"path": "/healthz", "interval_s": 1.0, "timeout_s": 0.5} | check
    shop = Origin("shop", tuple(OriginServer(url) for url in urls), health=HealthCheck(**settings))
    clock = TrioClock()
    origins = Origins(
        {"shop": shop},
        clock,
        dialler=Dialler(clock, Resolver(clock)),
        fleet=fleet or Fleet(2),
        slot=slot,
        credentials={} if credentials is None else {"shop": credentials},
    )
    MADE.append(origins)
    return origins


@asynccontextmanager
async def checking(origins):
    checker = Checker(origins.groups.values())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checker.run)
        try:
            yield checker
        finally:
            checker.leave()


def stands(origins):
    return [server.health.checked for server in origins.groups["shop"].servers]


class Clinic:
    """A server whose answers to checks a test sets; remembers what it was asked."""

    def __init__(self):
        self.reply = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready"
        self.heads = []

    async def __call__(self, peer):
        head = await peer.head()
        self.heads.append(head)
        if self.reply is None:
            await peer.closed_by_edge()
        else:
            await peer.send(self.reply)


async def test_a_server_goes_down_and_comes_up_by_its_answers(autojump_clock):
    clinic = Clinic()
    async with ScriptedOrigin(clinic).open() as server:
        origins = origins_of(server.url, rise=2, fall=3, host="shop.example")
        async with checking(origins):
            await trio.sleep(0.6)
            assert [Checked.UP] == stands(origins)
            clinic.reply = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
            await trio.sleep(2.0)
            assert [Checked.UP] == stands(origins), "two failures are not three"
            await trio.sleep(1.0)
            assert [Checked.DOWN] == stands(origins)
            clinic.reply = b"HTTP/1.1 204 No Content\r\n\r\n"
            await trio.sleep(1.0)
            assert [Checked.DOWN] == stands(origins)
            await trio.sleep(1.0)
            assert [Checked.UP] == stands(origins)
            assert 204 == origins.groups["shop"].servers[0].health.last_check[0]
        first = clinic.heads[0].lower()

    assert first.startswith(b"get /healthz http/1.1\r\n")
    assert b"\r\nhost: shop.example" in first
    assert b"connection: close" in first


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready", Checked.UP),
        (b"HTTP/1.1 200 OK\r\n\r\nnearly rea" + b"dy", Checked.UP),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready", Checked.UP),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nstarting", Checked.DOWN),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 70005\r\n\r\n" + bytes(70000) + b"ready", Checked.DOWN),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nready", Checked.DOWN),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Checked.DOWN),
        (b"nonsense\r\n\r\n", Checked.DOWN),
        (b"", Checked.DOWN),
        (None, Checked.DOWN),
    ],
)
async def test_the_body_must_say_so_in_time(reply, expected, autojump_clock):
    clinic = Clinic()
    clinic.reply = reply
    async with ScriptedOrigin(clinic).open() as server:
        origins = origins_of(server.url, fall=1, body="ready")
        async with checking(origins):
            await trio.sleep(0.95)
            assert [expected] == stands(origins)


async def test_a_server_that_cannot_be_reached_is_down_and_one_that_floods_does_no_harm(autojump_clock):
    async def flood(peer):
        await peer.head()
        while True:
            await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10000)

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        async with ScriptedOrigin(flood).open() as server:
            origins = origins_of(f"http://127.0.0.1:{holder.getsockname()[1]}", server.url, fall=1, body="ready")
            async with checking(origins):
                await trio.sleep(0.95)
                assert [Checked.DOWN, Checked.DOWN] == stands(origins)


async def test_checks_speak_tls_as_requests_do(autojump_clock, tmp_path):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with ScriptedOrigin(Clinic(), tls=context).open() as server:
        believed = origins_of(server.url, fall=1, credentials=Credentials(ca=authority.cert_pem.bytes()))
        doubted = origins_of(server.url, fall=1)
        async with checking(believed), checking(doubted):
            await trio.sleep(0.95)
            assert ([Checked.UP], [Checked.DOWN]) == (stands(believed), stands(doubted))


async def test_one_worker_checks_and_another_goes_on_when_it_leaves(autojump_clock):
    clinic = Clinic()
    async with ScriptedOrigin(clinic).open() as server:
        fleet = Fleet(2)
        workers = [origins_of(server.url, fleet=fleet, slot=slot) for slot in range(2)]
        async with checking(workers[0]) as one, checking(workers[1]) as another:
            await trio.sleep(4.6)
            first, second = (one, another) if one.is_elected else (another, one)  # whoever trio let run first
            assert (True, False) == (first.is_elected, second.is_elected)
            assert 5 == len(clinic.heads), "once per node, not once per worker"
            assert [[Checked.UP]] * 2 == list(map(stands, workers)), "and all know"
            first.leave()
            await trio.sleep(0.95)
            assert (False, True) == (first.is_elected, second.is_elected)
            asked = len(clinic.heads)
            await trio.sleep(2.0)
            assert asked + 2 == len(clinic.heads)


async def test_servers_that_join_are_checked_and_those_that_leave_are_not(autojump_clock):
    old, new = Clinic(), Clinic()
    async with ScriptedOrigin(old).open() as a, ScriptedOrigin(new).open() as b:
        origins = origins_of(a.url)
        async with checking(origins):
            await trio.sleep(0.9)
            origins.groups["shop"].become(Members.of([Member(b.url, "http", "127.0.0.1", b.port)]))
            await trio.sleep(0.95)
            asked = len(old.heads)
            await trio.sleep(3.0)
            assert asked == len(old.heads)
            assert [Checked.UP] == stands(origins)


async def test_without_a_path_nobody_is_elected():
    origins = origins_of("http://127.0.0.1:1", path=None)
    checker = Checker(origins.groups.values())
    await checker.run()

    assert not checker.is_elected
    assert origins.node.fleet.take_post(1)
    origins.leave()
