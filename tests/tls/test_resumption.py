"""
A client that comes again is known, whichever worker it meets, and certificates change under it.

With real forks, as the master makes them: what a worker has is what it inherited, and what it was sent since.
"""

from __future__ import annotations

import os
import socket
import ssl
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge.tls.contexts import ContextStore, Parcel
from edge.tls.memory import seal
from tests.tls.kit import Listener, Settings, meet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tls.kit import House

LISTENER = Listener()


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return ssl.TLSVersion[request.param]


class Worker:
    """A forked process with the store as it is now, which does what it is told, once."""

    def __init__(self, store: ContextStore, work: Callable[[ContextStore, socket.socket], object]) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid:
            theirs.close()
            return
        try:
            theirs.send(repr(work(store, theirs)).encode())
        except BaseException:  # noqa: BLE001 - the parent's assertion shows it
            theirs.send(traceback.format_exc().encode()[-8192:])
        finally:
            os._exit(0)

    def send(self, parcel: Parcel | None) -> None:
        assert parcel is not None
        socket.send_fds(self.sock, [parcel.payload], parcel.fds)
        parcel.close()

    def said(self) -> str:
        """What the work returned, as its repr, or a traceback."""
        with self.sock:
            self.sock.settimeout(20)
            said = self.sock.recv(8192).decode()
        os.waitpid(self._pid, 0)
        return said


def accept(store: ContextStore, sock: socket.socket) -> None:
    payload, fds, _, _ = socket.recv_fds(sock, 65536, 8)
    store.accept(payload, fds)
    for fd in fds:
        os.close(fd)


@pytest.fixture
def settings(house: House) -> Settings:
    return Settings((house.certificate("shop.example"),))


@pytest.fixture
def store(settings: Settings) -> Iterator[ContextStore]:
    yield ContextStore.build(settings)


def visit(
    store: ContextStore, client: ssl.SSLContext, session: ssl.SSLSession | None = None, name: str = "shop.example"
) -> tuple[bool, ssl.SSLSession]:
    """(resumed, what to resume next)."""
    ours, theirs = meet(store.choose(name.encode(), LISTENER), client, name, session=session)
    with closing(ours), closing(theirs):
        assert ours.session is not None
        return theirs.resumed, ours.session


def shown(store: ContextStore, house: House, name: str = "shop.example") -> bytes | None:
    """Which certificate a new client gets to see."""
    ours, theirs = meet(store.choose(name.encode(), LISTENER), house.client(), name)
    with closing(ours), closing(theirs):
        return ours.peer_certificate


def test_a_session_made_before_the_fork_goes_on_in_a_worker(
    house: House, store: ContextStore, version: ssl.TLSVersion
) -> None:
    client = house.client(version=version)
    _, session = visit(store, client)
    worker = Worker(store, lambda store, _: visit(store, client, session)[0])

    assert "True" == worker.said()


def test_a_session_made_by_one_worker_goes_on_in_another(
    house: House, store: ContextStore, version: ssl.TLSVersion
) -> None:
    """What stands for the other worker is this process: it learns the session from the client alone."""
    client = house.client(version=version)
    hello = tickets_of_a_worker(store, client)

    assert hello


def tickets_of_a_worker(store: ContextStore, client: ssl.SSLContext) -> bool:
    """A worker serves one connection that this process makes; then this process serves the next one."""
    from edge.errors import Side
    from edge.tls.stream import Ready, TlsStream
    from tests.tls.kit import settled, tcp_pair

    ours, theirs = tcp_pair()

    def serve(store: ContextStore, _: socket.socket) -> bool:
        theirs.setblocking(False)
        server = TlsStream(theirs, Side.CLIENT, store.choose(b"shop.example", LISTENER))
        while server.handshake() is not Ready.DONE:
            pass
        server.push(b"pong")
        settled(server, turns=10_000_000)
        return server.resumed

    worker = Worker(store, serve)
    theirs.close()
    with closing(TlsStream(ours, Side.ORIGIN, client, server_hostname="shop.example")) as stream:
        while stream.handshake() is not Ready.DONE:
            pass
        assert b"pong" == settled(stream, turns=10_000_000)
        session = stream.session
        stream.push(b"bye")
        assert "False" == worker.said()
    return visit(store, client, session)[0]


def test_a_session_goes_on_after_a_renewal_here_and_in_a_worker(
    house: House, settings: Settings, store: ContextStore, version: ssl.TLSVersion
) -> None:
    client = house.client(version=version)
    _, session = visit(store, client)
    before = shown(store, house)

    def work(store: ContextStore, sock: socket.socket) -> tuple[bool, bool]:
        accept(store, sock)
        return visit(store, client, session)[0], shown(store, house) == before

    worker = Worker(store, work)
    house.certificate("shop.example", days=60)
    worker.send(store.renew(settings))

    assert "(True, False)" == worker.said()
    assert visit(store, client, session)[0]
    assert before != shown(store, house)


def test_a_worker_shows_what_the_master_shows(house: House, settings: Settings, store: ContextStore) -> None:
    def work(store: ContextStore, sock: socket.socket) -> bytes | None:
        accept(store, sock)
        return shown(store, house)

    worker = Worker(store, work)
    house.certificate("shop.example", days=60)
    worker.send(store.renew(settings))

    assert repr(shown(store, house)) == worker.said()


def test_a_name_that_came_later_resumes_in_every_worker_while_spares_last(
    house: House, settings: Settings, store: ContextStore, version: ssl.TLSVersion
) -> None:
    """A context made in each worker for itself would have keys of its own."""
    client = house.client(version=version)
    to_worker = Worker(store, lambda store, sock: visited_after(store, sock, client, sessions_path))
    sessions_path = house.folder / "never"  # the worker hears of the session through its own inherited memory only

    larger = Settings((*settings.certificates, house.certificate("late.example")))
    to_worker.send(store.renew(larger))

    assert "True" == to_worker.said()
    assert visit(store, client, visit(store, client, None, "late.example")[1], "late.example")[0]


def visited_after(store: ContextStore, sock: socket.socket, client: ssl.SSLContext, _: object) -> bool:
    accept(store, sock)
    _, session = visit(store, client, None, "late.example")
    return visit(store, client, session, "late.example")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming nobody takes root")
def test_a_worker_that_may_read_no_key_file_takes_new_keys(
    house: House, settings: Settings, store: ContextStore
) -> None:
    def work(store: ContextStore, sock: socket.socket) -> tuple[bool, bool]:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            key.read_bytes()
        except PermissionError:
            barred = True
        else:
            barred = False
        accept(store, sock)
        ours, theirs = meet(store.choose(None, LISTENER), trusting)
        with closing(ours), closing(theirs):
            return barred, ours.peer_certificate == before

    before = shown(store, house)
    trusting = house.client()
    key = house.certificate("shop.example", days=60).key
    assert key is not None
    worker = Worker(store, work)
    worker.send(store.renew(settings))

    assert "(True, False)" == worker.said()


def test_an_open_connection_does_not_notice_a_renewal(house: House, settings: Settings, store: ContextStore) -> None:
    from tests.tls.kit import settled

    ours, theirs = meet(store.choose(None, LISTENER), house.client())
    with closing(ours), closing(theirs):
        house.certificate("shop.example", days=60)
        parcel = store.renew(settings)
        assert parcel is not None
        parcel.close()
        assert 5 == ours.push(b"still")

        assert b"still" == settled(theirs)


def test_what_a_worker_cannot_use_changes_nothing_there(house: House, store: ContextStore) -> None:
    before = shown(store, house)
    open_fd = os.memfd_create("not sealed")
    sealed = seal(b"no certificates")
    try:
        for payload, fds in ((b"2", [sealed]), (b"1", []), (b"1", [sealed]), (b"1", [open_fd])):
            with pytest.raises(ValueError):
                store.accept(payload, fds)
    finally:
        os.close(open_fd)
        os.close(sealed)

    assert before == shown(store, house)
