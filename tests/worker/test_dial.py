"""Getting connected: which address, how soon, and what is said when there is none."""

import errno
import socket

import pytest
import trio

from edge.errors import EdgeFault, OriginFault, Retry
from edge.tls.contexts import client_context
from edge.worker import dial
from edge.worker.dial import (
    ANSWER_S,
    PATIENCE_S,
    STAGGER_S,
    STALE_S,
    Dialler,
    Door,
    Resolver,
    interleave,
)

from .scripted import TrioClock

pytestmark = pytest.mark.trio

FOUR, SIX = socket.AF_INET, socket.AF_INET6


class Names:
    """A resolver that says what the test says, and counts."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host, port):
        self.asked += 1
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await trio.sleep_forever()
        return answer


NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
HERE = [(FOUR, ("127.0.0.1", 80))]
THERE = [(FOUR, ("127.0.0.2", 80))]


class Ports:
    """Listening, refusing and deaf loopback addresses."""

    def __init__(self):
        self.socks = []

    def bound(self):
        sock = socket.socket()
        self.socks.append(sock)
        sock.bind(("127.0.0.1", 0))
        return sock

    def refusing(self):
        return FOUR, self.bound().getsockname()

    def listening(self):
        sock = self.bound()
        sock.listen()
        return FOUR, sock.getsockname()

    def deaf(self):
        """A full accept queue: a connection is never made, nor refused."""
        sock = self.bound()
        sock.listen(0)
        for _ in range(3):
            filler = socket.socket()
            self.socks.append(filler)
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        return FOUR, sock.getsockname()


@pytest.fixture
def ports():
    made = Ports()
    yield made
    for sock in made.socks:
        sock.close()


def dialler(*addresses):
    clock = TrioClock()
    return Dialler(clock, Resolver(clock, Names(list(addresses))))


DOOR = Door("app.internal:80", "app.internal", 80)


async def connected_to(maker, connect_s=5.0):
    stream = await maker.dial(DOOR, connect_s)
    try:
        return stream.sock.getpeername()
    finally:
        stream.close()


async def test_families_alternate_beginning_with_the_resolvers_choice():
    six = [(SIX, at) for at in "abc"]
    four = [(FOUR, at) for at in "xy"]

    assert [six[0], four[0], six[1], four[1], six[2]] == interleave([*six, *four])
    assert [] == interleave([])


async def test_an_address_needs_no_resolver():
    names = Names(NO_NAME)
    resolver = Resolver(TrioClock(), names)

    assert [(FOUR, ("127.0.0.1", 80))] == await resolver.resolve("127.0.0.1", 80)
    assert [(SIX, ("::1", 80))] == await resolver.resolve("::1", 80)
    assert 0 == names.asked


@pytest.mark.parametrize("host", ["app1", "10.0.0.1.2"])
async def test_a_name_that_ends_in_a_digit_is_still_a_name(host):
    assert HERE == await Resolver(TrioClock(), Names(HERE)).resolve(host, 80)


async def test_an_answer_is_used_again_for_a_moment(autojump_clock):
    names = Names(HERE, THERE)
    resolver = Resolver(TrioClock(), names)

    assert HERE == await resolver.resolve("app", 80) == await resolver.resolve("app", 80)
    await trio.sleep(ANSWER_S)
    assert THERE == await resolver.resolve("app", 80)
    assert 2 == names.asked


async def test_many_who_ask_at_once_cost_one_question():
    names = Names(HERE)
    resolver = Resolver(TrioClock(), names)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(resolver.resolve, "app", 80)

    assert 1 == names.asked


async def test_who_gives_up_asking_leaves_it_to_the_next(autojump_clock):
    names = Names(None, HERE)
    resolver = Resolver(TrioClock(), names)
    with trio.move_on_after(1):
        await resolver.resolve("app", 80)

    assert HERE == await resolver.resolve("app", 80)


@pytest.mark.parametrize("trouble", [NO_NAME, None, []])
async def test_an_old_answer_stands_in_for_a_resolver_in_trouble(autojump_clock, trouble):
    """Its failure must not take down origins that are well."""
    names = Names(HERE, trouble)
    resolver = Resolver(TrioClock(), names)
    await resolver.resolve("app", 80)
    await trio.sleep(ANSWER_S)
    before = trio.current_time()

    assert HERE == await resolver.resolve("app", 80) == await resolver.resolve("app", 80)
    assert trio.current_time() - before <= PATIENCE_S
    assert 2 == names.asked


async def test_an_answer_does_not_stand_in_for_ever(autojump_clock):
    resolver = Resolver(TrioClock(), Names(HERE, NO_NAME))
    await resolver.resolve("app", 80)
    await trio.sleep(STALE_S + 1)
    with pytest.raises(OriginFault):
        await resolver.resolve("app", 80)


@pytest.mark.parametrize("answer", [NO_NAME, []])
async def test_no_answer_is_a_fault_that_may_be_tried_again(answer):
    with pytest.raises(OriginFault) as caught:
        await Resolver(TrioClock(), Names(answer)).resolve("app", 80)

    assert ("dns_error", 502, Retry.YES) == (caught.value.word, caught.value.reply, caught.value.retry)


class SystemsResolver(trio.abc.HostnameResolver):
    """What trio asks instead of the C library: a fresh machine may not even know localhost."""

    async def getaddrinfo(self, host, port, _family, kind, proto, _flags):
        assert (host, kind) == (b"app.internal", socket.SOCK_STREAM)
        return [(socket.AF_INET, kind, proto, "", ("10.0.0.7", port))]

    async def getnameinfo(self, sockaddr, flags):
        raise AssertionError("nobody asks for names")


async def test_the_systems_resolver_is_asked_by_default():
    trio.socket.set_custom_hostname_resolver(SystemsResolver())

    assert [(socket.AF_INET, ("10.0.0.7", 80))] == await Resolver(TrioClock()).resolve("app.internal", 80)


async def test_an_address_that_refuses_does_not_delay_the_next(ports, autojump_clock):
    good = ports.listening()
    before = trio.current_time()

    assert good[1] == await connected_to(dialler(ports.refusing(), good))
    assert before == trio.current_time()


async def test_an_address_that_does_not_answer_delays_the_next_a_little(ports, autojump_clock):
    good = ports.listening()
    before = trio.current_time()

    assert good[1] == await connected_to(dialler(ports.deaf(), good))
    assert STAGGER_S == pytest.approx(trio.current_time() - before, abs=0.01)


async def test_when_every_address_refuses_the_first_reason_is_told(ports):
    with pytest.raises(OriginFault) as caught:
        await connected_to(dialler(ports.refusing(), ports.refusing()))

    assert ("connection_refused", Retry.YES) == (caught.value.word, caught.value.retry)


async def test_the_deadline_is_for_all_addresses_together(ports, autojump_clock):
    before = trio.current_time()
    with pytest.raises(OriginFault) as caught:
        await connected_to(dialler(ports.deaf(), ports.deaf()), 2.0)

    assert ("connection_timeout", 504) == (caught.value.word, caught.value.reply)
    assert 2.0 == pytest.approx(trio.current_time() - before, abs=0.01)


async def test_a_full_unix_listener_is_asked_again(tmp_path, autojump_clock):
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        maker = dialler()

        async def make_room():
            await trio.sleep(1)
            listener.accept()[0].close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make_room)
            stream = await maker.dial(Door(path, "localhost", 0, unix_path=path), 5.0)
            stream.close()


@pytest.mark.parametrize(
    ("number", "kind", "word", "reply"),
    [
        (errno.ECONNREFUSED, OriginFault, "connection_refused", 502),
        (errno.ECONNRESET, OriginFault, "connection_terminated", 502),
        (errno.ETIMEDOUT, OriginFault, "connection_timeout", 504),
        (errno.ENETUNREACH, OriginFault, "destination_ip_unroutable", 502),
        (errno.EHOSTUNREACH, OriginFault, "destination_ip_unroutable", 502),
        (errno.EPERM, OriginFault, "destination_unavailable", 503),
        (errno.EMFILE, EdgeFault, "connection_limit_reached", 503),
        (errno.EADDRNOTAVAIL, EdgeFault, "connection_limit_reached", 503),
    ],
)
@pytest.mark.parametrize("unix", [True, False])
async def test_every_refusal_has_its_word(monkeypatch, number, kind, word, reply, unix):
    """And our own shortage is not the origin's fault: it must not be taken for ill."""

    def refuse(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(dial.socket, "socket", refuse)
    with pytest.raises(kind) as caught:
        await dialler(HERE[0]).dial(Door("x", "app", 80, unix_path="/x" if unix else None), 1.0)

    assert (word, reply) == (caught.value.word, caught.value.reply)


async def test_a_peer_that_speaks_no_tls_is_a_fault_that_may_be_tried_elsewhere():
    async def plain(stream):
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    door = Door("x", "127.0.0.1", port, tls=client_context(verify=True, ca=None), server_name="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, plain, [listener])
        with pytest.raises(OriginFault) as caught:
            await dialler().dial(door, 5.0)
        nursery.cancel_scope.cancel()

    assert ("tls_protocol_error", Retry.YES) == (caught.value.word, caught.value.retry)


async def test_a_name_that_cannot_be_asked_for_does_not_leak_the_socket(ports):
    """An empty server name is our own mistake; the socket is closed all the same (warnings are errors here)."""
    door = Door("x", *ports.listening()[1], tls=client_context(verify=True, ca=None), server_name="")
    with pytest.raises(ValueError, match="server_hostname"):
        await dialler().dial(door, 5.0)
