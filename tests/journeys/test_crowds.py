"""Too many come at once: who is let in, who makes room, and that those who are served stay served."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from edge.config.tree import Limits, Listener, Timeouts
from edge.observe import names
from edge.worker import fast
from tests.kit.client import Client, Gone
from tests.kit.house import House, Pages, house
from tests.kit.origin import Asked, Origin, Wire, reply


def shop() -> Origin:
    return Origin({b"*": reply(body=b"hello", cache_control="max-age=60")})


def arrive(edge: House, peer: str = "192.0.2.9", listener: Listener | None = None) -> Client:
    """Knock at the gate, as an accepted connection does."""
    ours, theirs = socket.socketpair()
    door = edge.worker.doors.plain(listener or edge.listener)
    edge.worker.gate.let_in(theirs, peer, door)
    near = trio.socket.from_stdlib_socket(ours)
    edge.sockets.append(near)
    return Client(trio.SocketStream(near))


def is_closed(client: Client) -> bool:
    """Whether the edge has closed; it does so before anybody looks, or not at all."""
    with socket.fromfd(client.stream.socket.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
        try:
            return b"" == end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True


async def test_when_full_who_has_rested_longest_makes_room(tmp_path: Path, autojump_clock) -> None:
    async with house(tmp_path, origin=shop(), limits=Limits(connections=3)) as edge:
        clients = []
        for _ in range(3):
            clients.append(arrive(edge))
            await clients[-1].get("/")
            await trio.sleep(1)
        await clients[0].get("/")
        newcomer = arrive(edge)
        got = await newcomer.get("/")

        assert 200 == got.status
        assert [False, True, False] == [is_closed(client) for client in clients]
        assert (1, 0) == (edge.count(names.SHED["idle"]), edge.count(names.SESSIONS_REFUSED))


async def test_when_all_are_served_newcomers_are_closed_until_somebody_can_be_spared(
    tmp_path: Path, autojump_clock
) -> None:
    gate = trio.Event()

    async def later(_: Asked, wire: Wire) -> None:
        await gate.wait()
        await wire.send(reply(body=b"late", cache_control="no-store"))

    origin = Origin({b"/1": later, b"/2": later, b"*": reply(body=b"hello")})
    async with house(tmp_path, origin=origin, limits=Limits(connections=2)) as edge:
        busy = [arrive(edge) for _ in range(2)]
        for number, client in enumerate(busy, 1):
            await client.ask(f"/{number}")
        while len(origin.asked) < 2:
            await trio.sleep(0.01)

        assert all(is_closed(arrive(edge)) for _ in range(5))
        assert 5 == edge.count(names.SESSIONS_REFUSED)
        gate.set()
        assert [b"late", b"late"] == [(await client.reply()).body for client in busy]
        await trio.sleep(0.2)
        assert 200 == (await arrive(edge).get("/")).status


async def test_a_head_that_does_not_come_makes_room_before_who_rests(tmp_path: Path, autojump_clock) -> None:
    """Slowloris: 2 s are enough for a head when others wait."""
    async with house(tmp_path, origin=shop(), limits=Limits(connections=2)) as edge:
        rests, dawdles = arrive(edge), arrive(edge)
        await rests.get("/")
        await dawdles.send(b"GET / HTTP/1.1\r\nHo")
        await trio.sleep(3)
        got = await arrive(edge).get("/")

        assert 200 == got.status
        assert [False, True] == [is_closed(client) for client in (rests, dawdles)]
        assert 1 == edge.count(names.SHED["head"])


async def test_one_client_has_no_more_connections_than_it_may_in_all_workers(tmp_path: Path) -> None:
    """And what it gives back is free again; who comes from elsewhere does not notice."""
    pages, limits = Pages(), Limits(connections_per_client=3)
    async with house(tmp_path / "a", pages=pages, slot=0, limits=limits, origin=shop()) as one:
        async with house(tmp_path / "b", pages=pages, slot=1, limits=limits, origin=shop()) as other:
            held = [arrive(one), arrive(one), arrive(other)]
            assert [200] * 3 == [(await client.get("/")).status for client in held]
            assert is_closed(arrive(one))
            assert is_closed(arrive(other))
            assert 200 == (await arrive(one, "192.0.2.10").get("/")).status
            assert 2 == one.count(names.SESSIONS_CROWDED)

            await held[2].aclose()
            with trio.fail_after(5):
                while other.worker.fast.sessions:
                    await trio.sleep(0.001)
            assert 200 == (await arrive(one).get("/")).status


async def test_an_ipv6_network_is_one_client(tmp_path: Path) -> None:
    limits = Limits(connections_per_client=2)
    async with house(tmp_path, origin=shop(), limits=limits) as edge:
        kept = [arrive(edge, f"2001:db8::{number}") for number in range(3)]

        assert [False, False, True] == [is_closed(client) for client in kept]
        assert 200 == (await arrive(edge, "2001:db8:0:1::1").get("/")).status


async def test_proxies_of_ours_and_operators_are_not_counted(tmp_path: Path) -> None:
    from ipaddress import ip_network

    limits = Limits(connections_per_client=1, connections=4)
    async with house(tmp_path, origin=shop(), limits=limits, trusted_proxies=(ip_network("192.0.2.0/24"),)) as edge:
        for _ in range(4):
            assert 200 == (await arrive(edge).get("/")).status
        door = edge.worker.doors.plain(Listener("127.0.0.1:1"), is_admin=True)
        ours, theirs = socket.socketpair()
        edge.worker.gate.let_in(theirs, "127.0.0.1", door)
        near = trio.socket.from_stdlib_socket(ours)
        edge.sockets.append(near)

        assert 200 == (await Client(trio.SocketStream(near)).get("/healthz", host="localhost")).status
        assert 0 == edge.count(names.SHED["idle"])


async def test_whom_a_balancer_names_is_counted_and_not_the_balancer(tmp_path: Path) -> None:
    from ipaddress import ip_network

    listener = Listener("127.0.0.1:0", proxy_protocol_from=(ip_network("192.0.2.0/24"),))
    limits = Limits(connections_per_client=2)
    async with house(tmp_path, origin=shop(), limits=limits, listeners=(listener,)) as edge:
        named = []
        for client in ("198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2"):
            named.append(arrive(edge))
            await named[-1].send(f"PROXY TCP4 {client} 198.51.100.200 50000 443\r\n".encode())
            with suppress(Gone, trio.BrokenResourceError):
                await named[-1].get("/")

        assert [False, False, True, False] == [is_closed(client) for client in named]
        await named[0].aclose()
        with trio.fail_after(5):
            while len(edge.worker.fast.sessions) > 2:
                await trio.sleep(0.001)
        named[0] = arrive(edge)
        await named[0].send(b"PROXY TCP4 198.51.100.1 198.51.100.200 50000 443\r\n")
        assert 200 == (await named[0].get("/")).status


async def test_out_of_descriptors_who_rests_makes_room_and_the_queue_is_served(tmp_path: Path, caplog) -> None:
    """accept(2) says EMFILE: said once a minute, and nobody has to set anything right."""

    class Queue:
        """A listening socket without descriptors left, until some are given back."""

        def __init__(self) -> None:
            pairs = [socket.socketpair() for _ in range(2)]
            self.ends, self.pending = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]

        def accept(self):
            if not self.pending:
                raise BlockingIOError
            if len(edge.worker.fast.sessions) >= 2:
                raise OSError(errno.EMFILE, "Too many open files")
            return self.pending.pop(), ""

    async with house(tmp_path, origin=shop(), limits=Limits(connections=16)) as edge:
        resting = [await edge.client() for _ in range(2)]
        for client in resting:
            await client.get("/")
        queue = Queue()
        assert 2 <= edge.worker._accept(edge.listener, queue, edge.worker.doors.plain(edge.listener))

        assert [True, True] == [is_closed(client) for client in resting]
        assert 2 == edge.count(names.SHED["idle"])
        assert not queue.pending
        assert 1 == sum("Too many open files" in record.message for record in caplog.records)
        for end in queue.ends:
            end.close()


async def test_handshakes_do_not_hold_up_who_is_in_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn takes a few handshakes further, however many are due; the others' turn is the next, before anybody sleeps."""
    from edge.tls.contexts import ContextStore
    from edge.tls.selfsigned import Authority

    authority = Authority()
    authority.issue(("shop.example",)).write(tmp_path / "certs")
    from edge.config.tree import Certificate, Config

    listener = Listener("127.0.0.1:0", tls=True)
    certificate = Certificate(tmp_path / "certs/fullchain.pem", tmp_path / "certs/privkey.pem")
    tls = ContextStore.build(Config(listeners=(listener,), certificates=(certificate,)))
    import ssl

    trust = ssl.create_default_context(cadata=authority.pem.decode())
    monkeypatch.setattr(fast, "GREETINGS", 2)
    most = 0
    async with house(tmp_path / "c", origin=shop(), tls=tls, listeners=(listener,)) as edge:
        lane = edge.worker.fast
        greeted, greet = [0], lane._greet

        def counting(session):
            before = lane.greetings
            done = greet(session)
            greeted[-1] += before - lane.greetings
            return done

        lane._greet = counting
        turn = lane.tick_clock

        def new_turn():
            greeted.append(0)
            turn()

        lane.tick_clock = new_turn
        answered = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                client = await edge.client(tls=trust)
                answered.append((await client.get("/")).status)

            for _ in range(12):
                nursery.start_soon(ask)
        most = max(greeted[1:])

    assert [200] * 12 == answered
    assert most == 2


async def test_an_idle_flood_ends_with_the_idle_deadline_and_leaves_nothing(tmp_path: Path, autojump_clock) -> None:
    pages = Pages()
    limits = Limits(connections_per_client=1000)
    async with house(tmp_path, origin=shop(), pages=pages, limits=limits, timeouts=Timeouts(idle_s=20)) as edge:
        flood = [arrive(edge, f"192.0.2.{number % 5}") for number in range(100)]
        assert 100 == len(edge.worker.fast.sessions)
        await trio.sleep(25)

        assert all(is_closed(client) for client in flood)
        assert not edge.worker.fast.sessions
        assert 0 == len(edge.worker.fast.deadlines)
        assert 100 == edge.count(names.TIMEOUTS["idle"])
        assert [0] * 5 == [pages.crowd.count(pages.crowd.seat(bytes([192, 0, 2, number]))) for number in range(5)]


async def test_a_client_that_is_shed_can_tell_and_asks_anew(tmp_path: Path, autojump_clock) -> None:
    """A plain close at rest: what every client knows from keep-alive."""
    async with house(tmp_path, origin=shop(), limits=Limits(connections=1)) as edge:
        first = arrive(edge)
        await first.get("/")
        await arrive(edge).get("/")
        with pytest.raises((Gone, trio.BrokenResourceError)):
            await first.get("/")
        assert 200 == (await arrive(edge).get("/")).status
