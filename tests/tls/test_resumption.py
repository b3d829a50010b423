"""
A client that comes again is known, whichever worker it meets, and certificates change under it.

With real forks, as the master makes them: what a worker has is what it inherited, and what it was sent since.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import traceback
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge.errors import Side
from edge.tls.contexts import ContextStore, Parcel
from edge.tls.memory import seal
from edge.tls.stream import Ready, TlsStream
from tests.tls.kit import Listener, Settings, meet, settled, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tls.kit import House

LISTENER = Listener()
NOBODY = 65534


@dataclass
class Visit:
    """What a client has seen of one connection."""

    resumed: bool
    session: ssl.SSLSession | None
    certificate: bytes | None


class Worker:
    """
    A forked process with the store as it is now, that takes parcels and serves connections.

    It answers every message with what it did, or with a traceback.
    """

    def __init__(self, store: ContextStore) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self.sock.close()
                self._live(store, theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.sock.settimeout(20)

    def end(self) -> None:
        """Ask it to; its socket does not close with ours, because workers forked later have it too."""
        with self.sock:
            self.sock.send(b"end")
            os.waitpid(self._pid, 0)

    def _live(self, store: ContextStore, sock: socket.socket) -> None:
        while True:
            word, fds, _, _ = socket.recv_fds(sock, 65536, 8)
            if word in {b"end", b""}:
                return
            try:
                said = self._do(store, word, fds)
            except BaseException:
                said = traceback.format_exc()[-8192:]
            for fd in fds:
                os.close(fd)
            sock.send(said.encode())

    def _do(self, store: ContextStore, word: bytes, fds: list[int]) -> str:
        if word == b"become nobody":
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        elif word.startswith(b"may read "):
            return str(os.access(word.removeprefix(b"may read "), os.R_OK))
        elif word.startswith(b"serve "):
            context = store.choose(word.removeprefix(b"serve "), LISTENER)
            with closing(TlsStream(socket.socket(fileno=fds.pop()), Side.CLIENT, context)) as stream:
                greet(stream)
                stream.push(b"pong")
                assert b"" == patiently(stream)
                return "resumed" if stream.resumed else "new"
        else:
            store.accept(word, fds)
        return "done"

    def _ask(self, word: bytes, fds: list[int]) -> None:
        socket.send_fds(self.sock, [word], fds) if fds else self.sock.send(word)

    def do(self, word: bytes) -> str:
        self._ask(word, [])
        return self.sock.recv(8192).decode()

    def take(self, parcel: Parcel | None) -> None:
        """Do as the master does with a renewal."""
        assert parcel is not None
        self._ask(parcel.payload, parcel.fds)
        parcel.close()
        assert "done" == self.sock.recv(8192).decode()

    def visited_by(
        self, client: ssl.SSLContext, name: str = "shop.example", session: ssl.SSLSession | None = None
    ) -> Visit:
        ours, theirs = tcp_pair()
        with theirs:
            self._ask(b"serve " + name.encode(), [theirs.fileno()])
        with closing(TlsStream(ours, Side.ORIGIN, client, server_hostname=name, session=session)) as stream:
            greet(stream)
            assert b"pong" == patiently(stream)
            visit = Visit(stream.resumed, stream.session, stream.peer_certificate)
        assert ("resumed" if visit.resumed else "new") == self.sock.recv(8192).decode()
        return visit


def greet(stream: TlsStream) -> None:
    while stream.handshake() is not Ready.DONE:
        assert select.select([stream], [], [], 10)[0]


def patiently(stream: TlsStream) -> bytes:
    while (data := stream.pull()) is None:
        assert select.select([stream], [], [], 10)[0]
    return data


def visit(
    store: ContextStore, client: ssl.SSLContext, name: str = "shop.example", session: ssl.SSLSession | None = None
) -> Visit:
    """Be served by this process."""
    ours, theirs = meet(store.choose(name.encode(), LISTENER), client, name, session=session)
    with closing(ours), closing(theirs):
        return Visit(theirs.resumed, ours.session, ours.peer_certificate)


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def client(request: pytest.FixtureRequest, house: House) -> ssl.SSLContext:
    return house.client(version=ssl.TLSVersion[request.param])


@pytest.fixture
def settings(house: House) -> Settings:
    return Settings((house.certificate("shop.example"),))


@pytest.fixture
def store(settings: Settings) -> ContextStore:
    return ContextStore.build(settings)


@pytest.fixture
def fork(store: ContextStore) -> Iterator[Callable[[], Worker]]:
    """Make workers that end with the test."""
    workers: list[Worker] = []

    def make() -> Worker:
        workers.append(Worker(store))
        return workers[-1]

    yield make
    for worker in workers:
        worker.end()


Fork = "Callable[[], Worker]"


def test_a_session_made_by_one_worker_goes_on_in_any(client: ssl.SSLContext, store: ContextStore, fork: Fork) -> None:
    one, other = fork(), fork()
    first = one.visited_by(client)

    assert not first.resumed
    assert other.visited_by(client, session=first.session).resumed
    assert one.visited_by(client, session=first.session).resumed
    assert visit(store, client, session=first.session).resumed


def test_a_session_goes_on_after_a_renewal(
    house: House, client: ssl.SSLContext, settings: Settings, store: ContextStore, fork: Fork
) -> None:
    one, other = fork(), fork()
    before = one.visited_by(client)
    house.certificate("shop.example", days=60)
    one.take(store.renew(settings))

    assert one.visited_by(client, session=before.session).resumed
    assert other.visited_by(client, session=before.session).resumed, "it has not been told yet"
    assert fork().visited_by(client, session=before.session).resumed, "born after the renewal"


def test_after_a_renewal_every_worker_shows_the_new_certificate(
    house: House, client: ssl.SSLContext, settings: Settings, store: ContextStore, fork: Fork
) -> None:
    old = fork()
    before = visit(store, client).certificate
    house.certificate("shop.example", days=60)
    old.take(store.renew(settings))
    shown = {
        old.visited_by(client).certificate,
        fork().visited_by(client).certificate,
        visit(store, client).certificate,
    }

    assert 1 == len(shown)
    assert before not in shown


def test_a_name_that_came_by_a_renewal_resumes_in_every_worker(
    house: House, client: ssl.SSLContext, settings: Settings, store: ContextStore, fork: Fork
) -> None:
    """A context that each worker made for itself would have keys of its own."""
    one, other = fork(), fork()
    certificates = settings.certificates
    for name in ("second.example", "third.example"):
        certificates = (house.certificate(name), *certificates)
        parcel = store.renew(Settings(certificates))
        assert parcel is not None
        other.take(Parcel(parcel.payload, [os.dup(fd) for fd in parcel.fds]))
        one.take(parcel)
    for name in ("second.example", "third.example"):
        first = one.visited_by(client, name)

        assert other.visited_by(client, name, first.session).resumed
        assert fork().visited_by(client, name, first.session).resumed


def test_a_key_of_another_kind_replaces_the_old_one_for_everybody(
    house: House, store: ContextStore, settings: Settings, client: ssl.SSLContext, fork: Fork
) -> None:
    """OpenSSL keeps one certificate per kind of key in a context, and would go on showing the old one to some."""
    worker = fork()
    house.certificate("shop.example", kind="rsa")
    worker.take(store.renew(settings))
    if client.maximum_version == ssl.TLSVersion.TLSv1_2:
        client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises(Exception, match=r"NO_SHARED_CIPHER"):
            visit(store, client)
        client.set_ciphers("ECDHE+AESGCM")

    assert visit(store, client).certificate == worker.visited_by(client).certificate


def test_a_name_that_is_gone_is_answered_with_the_default(
    house: House, settings: Settings, client: ssl.SSLContext, fork: Fork, store: ContextStore
) -> None:
    client.check_hostname = False
    two = Settings((*settings.certificates, house.certificate("second.example")))
    for parcel in [store.renew(two), store.renew(settings)]:
        assert parcel is not None
        parcel.close()

    assert visit(store, client).certificate == visit(store, client, "second.example").certificate
    assert visit(store, client).certificate == fork().visited_by(client, "second.example").certificate


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming nobody takes root")
def test_a_worker_that_may_read_no_key_file_takes_new_keys(
    house: House, client: ssl.SSLContext, settings: Settings, store: ContextStore, fork: Fork
) -> None:
    worker = fork()
    assert "done" == worker.do(b"become nobody")
    key = house.certificate("shop.example", days=60).key

    assert "False" == worker.do(b"may read " + os.fsencode(str(key)))
    worker.take(store.renew(settings))
    assert visit(store, client).certificate == worker.visited_by(client).certificate


def test_an_open_connection_does_not_notice_a_renewal(
    house: House, client: ssl.SSLContext, settings: Settings, store: ContextStore
) -> None:
    ours, theirs = meet(store.choose(None, LISTENER), client)
    with closing(ours), closing(theirs):
        house.certificate("shop.example", days=60)
        parcel = store.renew(settings)
        assert parcel is not None
        parcel.close()
        assert 5 == ours.push(b"still")

        assert b"still" == settled(theirs)


def test_what_a_worker_cannot_use_changes_nothing_there(store: ContextStore, client: ssl.SSLContext) -> None:
    before = visit(store, client)
    unsealed = os.memfd_create("not sealed")
    sealed = seal(b"no certificates")
    try:
        for payload, fds in ((b"2", [sealed]), (b"1", []), (b"1", [sealed]), (b"1", [unsealed])):
            with pytest.raises(ValueError):
                store.accept(payload, fds)
    finally:
        os.close(unsealed)
        os.close(sealed)
    after = visit(store, client, session=before.session)

    assert (True, before.certificate) == (after.resumed, visit(store, client).certificate)
