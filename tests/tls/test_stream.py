"""
What every try-now stream promises, plain or TLS; and what TLS adds.

The same checks run on both kinds: who holds a stream need not know which it is.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import socket
import ssl
import struct
import subprocess
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Self

import pytest

from edge.errors import ClientFault, ClientGone, Fault, OriginFault, Retry, Side
from edge.tls.contexts import ContextStore, client_context
from edge.tls.stream import CAP, HELD, PIECE, READ, PlainStream, Ready, TlsStream
from tests.tls.kit import Listener, Settings, meet, settled, shake, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tls.kit import House

    Made = tuple[TlsStream | PlainStream, TlsStream | PlainStream]
    Connect = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def server_context(house: House) -> ssl.SSLContext:
    return ContextStore.build(Settings((house.certificate("shop.example"),))).choose(None, Listener())


KINDS = ["plain", "TLSv1_2", "TLSv1_3"]


def connected(kind: str, house: House, server_context: ssl.SSLContext, connect: Connect) -> Iterator[Made]:
    ends: Made
    if kind == "plain":
        ours, theirs = connect()
        ends = PlainStream(ours, Side.ORIGIN), PlainStream(theirs, Side.CLIENT)
    else:
        ends = meet(server_context, house.client(version=ssl.TLSVersion[kind]), connect=connect)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, house: House, server_context: ssl.SSLContext) -> Iterator[Made]:
    """(towards an origin, towards a client), connected and greeted."""
    yield from connected(request.param, house, server_context, socket.socketpair)


@pytest.fixture(params=KINDS)
def far_pair(request: pytest.FixtureRequest, house: House, server_context: ssl.SSLContext) -> Iterator[Made]:
    """The same over TCP, where a connection can be reset."""
    yield from connected(request.param, house, server_context, tcp_pair)


@pytest.fixture
def met(house: House, server_context: ssl.SSLContext) -> Iterator[tuple[TlsStream, TlsStream]]:
    """(towards an origin, towards a client) over TLS 1.3."""
    ends = meet(server_context, house.client())
    yield ends
    for end in ends:
        end.close()


def shrink(stream: TlsStream | PlainStream) -> None:
    """Little room in the kernel: what does not fit shows at once."""
    stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def refuse(_: object) -> int:
    """A kernel that takes nothing."""
    raise BlockingIOError


def again(times: int, do: Callable[[], object]) -> None:
    """Do the same until it raises, *times* at most: what a peer does takes a moment to be known."""
    for _ in range(times):
        do()


# -- both kinds -------------------------------------------------------------------------------------------------


def test_nothing_to_read_is_none_and_drained(pair: Made) -> None:
    _, server = pair

    assert None is server.pull()
    assert server.drained


def test_what_is_pushed_is_pulled(pair: Made) -> None:
    client, server = pair

    assert 5 == client.push(b"hello")
    assert not client.wants_write
    assert b"hello" == settled(server)
    assert server.drained


@pytest.mark.parametrize("size", [16383, 16384, 16385, PIECE, PIECE + 1, CAP])
def test_what_is_pushed_at_a_border_arrives_whole(pair: Made, size: int) -> None:
    client, server = pair
    body, got, sent = os.urandom(size), b"", 0
    while len(got) < size:
        if sent < size:
            sent += server.push(body[sent:])
        got += client.pull() or b""

    assert body == got


def test_pushing_nothing_takes_nothing(pair: Made) -> None:
    client, server = pair

    assert 0 == client.push(b"")
    assert not client.wants_write
    assert None is server.pull()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_may_be_pushed(pair: Made, kind: type) -> None:
    client, server = pair

    assert 3 == client.push(kind(b"abc"))
    assert b"abc" == settled(server)


def test_a_limit_is_kept_and_the_rest_is_there_at_once(pair: Made) -> None:
    """Bytes inside OpenSSL wake no epoll: who asks again must get them, and must not be told it is all."""
    client, server = pair
    client.push(b"abcdef")

    first = None
    while first is None:
        first = server.pull(4)

    assert b"abcd" == first
    assert not server.drained
    assert b"ef" == server.pull(4)


def test_a_large_body_arrives_whole_whatever_the_reader_does(pair: Made) -> None:
    """The writer offers again what was not taken, as the rules say; the reader stops and goes as it likes."""
    client, server = pair
    shrink(server)
    rng = random.Random(7)
    body = rng.randbytes(800_000)
    view, sent, got = memoryview(body), 0, bytearray()
    while len(got) < len(body):
        if sent < len(body):
            least = 0 if not server.wants_write else len(body)
            sent += server.push(view[sent : sent + max(least, rng.choice([1, 700, 16384, 16385, 70_000, 1 << 20]))])
            assert sent < len(body) or not server.wants_write
        while rng.random() < 0.5 and (data := client.pull(rng.choice([100, 16384, READ]))):
            got += data

    assert body == bytes(got)


def test_the_last_byte_is_not_reported_before_all_has_left(pair: Made) -> None:
    """Who closes after his last byte was taken must lose nothing."""
    client, server = pair
    shrink(server)
    body = bytes(600_000)
    sent = 0
    while not server.wants_write:
        sent += server.push(memoryview(body)[sent:])
    assert sent < len(body)
    got = 0
    while sent < len(body):
        sent += server.push(memoryview(body)[sent:])
        while data := client.pull():
            got += len(data)
    server.close()
    while data := client.pull() if isinstance(client, PlainStream) else _until_cut(client):
        got += len(data)

    assert len(body) == got


def _until_cut(client: TlsStream) -> bytes | None:
    with suppress(OriginFault):
        return client.pull()
    return b""


def test_a_full_socket_takes_nothing_and_says_so(pair: Made) -> None:
    _, server = pair
    body = bytes(1 << 20)
    while not server.wants_write:
        server.push(body)  # the same zeros again: which of them are offered again makes no difference

    assert 0 == server.push(body)
    assert server.wants_write


def test_the_end_is_the_end_every_time(pair: Made) -> None:
    client, server = pair
    client.push(b"last")
    client.shut()

    assert b"last" == settled(server)
    assert b"" == settled(server)
    assert b"" == settled(server)
    assert not server.drained


def test_after_ones_own_end_one_may_still_read(pair: Made) -> None:
    client, server = pair
    client.shut()
    assert 6 == server.push(b"answer")
    server.shut()

    assert b"answer" == settled(client)
    assert b"" == settled(client)
    assert b"" == settled(client)


def test_after_the_peers_end_one_may_still_answer(pair: Made) -> None:
    client, server = pair
    client.shut()
    assert b"" == settled(server)

    assert 6 == server.push(b"answer")
    assert b"answer" == settled(client)


def test_a_reset_by_the_client_is_its_going(far_pair: Made) -> None:
    client, server = far_pair
    reset(client.sock)

    with pytest.raises(ClientGone) as caught:
        settled(server)
    assert None is caught.value.reply
    assert "connection_terminated" == caught.value.word
    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_a_reset_by_the_origin_may_be_tried_again_on_a_reused_connection(far_pair: Made) -> None:
    client, server = far_pair
    reset(server.sock)

    with pytest.raises(OriginFault) as caught:
        settled(client)
    assert ("connection_terminated", Retry.IF_REUSED, 502) == (
        caught.value.word,
        caught.value.retry,
        caught.value.reply,
    )


@pytest.mark.parametrize("size", [5, 100_000])
def test_pushing_to_who_is_gone_is_a_fault(far_pair: Made, size: int) -> None:
    client, server = far_pair
    reset(client.sock)

    with pytest.raises(ClientGone) as caught:
        again(3, lambda: server.push(bytes(size)))
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_an_offer_that_was_refused_fails_when_the_peer_goes(far_pair: Made) -> None:
    client, server = far_pair
    body = bytes(1 << 20)
    while not server.wants_write:
        server.push(body)
    reset(client.sock)

    with pytest.raises(ClientGone):
        again(3, lambda: server.push(body))


def test_closing_twice_and_shutting_what_is_closed_is_nothing(pair: Made) -> None:
    for end in pair:
        end.close()
        end.close()
        end.shut()

        assert -1 == end.fileno()


def test_shutting_who_is_gone_is_nothing(far_pair: Made) -> None:
    client, server = far_pair
    reset(client.sock)
    server.shut()
    server.shut()


def test_a_stream_says_what_it_is(pair: Made) -> None:
    client, server = pair
    kind = type(server).__name__

    assert repr(server).startswith(f"<{kind} client fd={server.fileno()}")
    assert repr(client).startswith(f"<{kind} origin fd={client.fileno()}")


def test_a_plain_stream_has_no_handshake_and_no_version() -> None:
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(PlainStream(ours, Side.CLIENT)) as stream:
        assert Ready.DONE is stream.handshake()
        assert None is stream.version


# -- TLS: data --------------------------------------------------------------------------------------------------


def test_one_push_takes_no_more_than_its_share(met: tuple[TlsStream, TlsStream]) -> None:
    """A large body must not starve its neighbours in the turn; and nobody would wake who stopped here."""
    _, server = met
    server._send = len  # a kernel that takes everything
    body = bytes(CAP + 100_000)

    assert [CAP, 100_000] == [server.push(body), server.push(memoryview(body)[CAP:])]
    assert not server.wants_write


@pytest.mark.parametrize("size", [10, PIECE + 1])
def test_what_a_full_kernel_refused_at_once_is_offered_again(met: tuple[TlsStream, TlsStream], size: int) -> None:
    client, server = met
    server._send = refuse
    assert 0 == server.push(bytes(size))
    assert server.wants_write
    assert 0 == server.push(bytes(size))

    server._send = server.sock.send
    assert size == server.push(bytes(size))
    got = 0
    while got < size:
        got += len(settled(client))
    assert None is client.pull()


def test_openssls_own_words_do_not_overtake_a_refused_piece(met: tuple[TlsStream, TlsStream]) -> None:
    """They were encrypted after it; sent before it, they would break the connection."""
    client, server = met
    server._send = refuse
    server.push(b"first")
    server._send = server.sock.send
    server._write(b"second")
    server._answer()
    assert None is client.pull()
    assert 5 == server.push(b"first")
    assert 5 == server.push(b"third")

    assert b"first" == settled(client)
    assert b"secondthird" == settled(client) + settled(client)


def test_a_refused_piece_is_reported_as_it_leaves(met: tuple[TlsStream, TlsStream]) -> None:
    """A write deadline looks at progress: a slow client takes much less than a piece at a time."""
    client, server = met
    shrink(server)
    body = bytes(600_000)
    sent = 0
    while not server.wants_write:
        sent += server.push(memoryview(body)[sent:])
    steps = []
    while sent < len(body):
        client.pull()
        sent += (step := server.push(memoryview(body)[sent:]))
        steps.append(step)

    assert len(body) == sent
    assert any(0 < step < 65536 for step in steps)


def test_offering_less_than_was_refused_is_our_own_mistake(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    body = bytes(1 << 20)
    while not server.wants_write:
        server.push(body)

    with pytest.raises(AssertionError, match="offered again"):
        again(1000, lambda: (client.pull(), server.push(b"x")))


def test_records_that_came_together_come_one_by_one(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    for part in (b"one", b"two", b"three"):
        client.push(part)
    got = [settled(server)]
    while not server.drained:
        got.append(settled(server))

    assert b"onetwothree" == b"".join(got)


def test_a_record_cut_in_two_waits_for_its_end(house: House, server_context: ssl.SSLContext) -> None:
    """None always means that the kernel has nothing: an edge will come."""
    client, server = meet(server_context, house.client())
    with closing(client), closing(server):
        client.tls.write(b"hello")
        wire = client._outgoing.read()
        client.sock.send(wire[:7])
        assert None is server.pull()
        client.sock.send(wire[7:])

        assert b"hello" == settled(server)


def test_a_client_that_ends_without_a_word_has_ended(met: tuple[TlsStream, TlsStream]) -> None:
    """Most do; a request says its own length."""
    client, server = met
    client.sock.shutdown(socket.SHUT_WR)

    assert b"" == settled(server)
    assert b"" == settled(server)


def test_an_origin_that_ends_without_a_word_may_have_been_cut(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    server.push(b"half a rep")
    server.sock.shutdown(socket.SHUT_WR)
    assert b"half a rep" == settled(client)

    with pytest.raises(OriginFault) as caught:
        settled(client)
    assert ("connection_terminated", Retry.IF_REUSED) == (caught.value.word, caught.value.retry)


def test_an_origin_that_ends_with_close_notify_has_ended(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    server.shut()

    assert b"" == settled(client)


def test_bytes_that_are_no_record_are_a_protocol_error_and_the_peer_is_told(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    client.sock.send(b"GET / HTTP/1.1\r\n\r\n")

    with pytest.raises(ClientFault) as caught:
        settled(server)
    assert ("tls_protocol_error", None) == (caught.value.word, caught.value.reply)
    with pytest.raises(OriginFault) as told:
        settled(client)
    assert "tls_alert_received" == told.value.word


def test_a_changed_record_is_refused(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    client.tls.write(b"hello")
    wire = bytearray(client._outgoing.read())
    wire[-1] ^= 1
    client.sock.send(wire)

    with pytest.raises(ClientFault) as caught:
        settled(server)
    assert "tls_protocol_error" == caught.value.word


@pytest.mark.parametrize("size", [1, 16384, PIECE, PIECE + 1])
def test_the_last_push_brings_the_end_with_it(pair: Made, size: int) -> None:
    client, server = pair
    body = os.urandom(size)
    left, got = body, b""
    while left:
        left = left[server.push_last(left) :]
        got += client.pull() or b""
    server.part()
    server.close()
    while len(got) < size:
        got += client.pull() or b""

    assert body == got
    assert b"" == settled(client)


def test_the_end_behind_a_last_push_is_said_once_and_with_it(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    sent: list[int] = []
    send = server._send
    server._send = lambda data: (sent.append(len(data)), send(data))[1]
    server.push_last(b"bye")
    server.part()
    server.shut()

    assert 1 == len(sent)
    assert b"bye" == settled(client)
    assert b"" == settled(client)


def test_a_last_push_that_was_refused_is_offered_again(met: tuple[TlsStream, TlsStream]) -> None:
    client, server = met
    body = bytes(1 << 22)
    left = memoryview(body)
    while not server.wants_write:
        left = left[server.push(left) :]
    got = 0
    while len(left) or got < len(body):
        if len(left):
            left = left[server.push_last(left[:PIECE]) :] if len(left) <= PIECE else left[server.push(left) :]
        got += len(client.pull() or b"")
    server.part()
    server.close()

    assert len(body) == got
    assert b"" == settled(client)


def test_shut_says_nothing_behind_a_refused_piece(met: tuple[TlsStream, TlsStream]) -> None:
    """A close_notify in the middle of a reply would make a cut reply look whole."""
    client, server = met
    body = bytes(1 << 20)
    while not server.wants_write:
        server.push(body)
    server.shut()

    with pytest.raises(OriginFault):
        again(1000, lambda: settled(client))


def test_a_session_is_taken_up_again_towards_an_origin(house: House, server_context: ssl.SSLContext) -> None:
    context = client_context(ca=house.ca)
    first = meet(server_context, context)
    session = first[0].session
    second = meet(server_context, context, session=session)
    with closing(first[0]), closing(first[1]), closing(second[0]), closing(second[1]):
        assert [False, True] == [first[0].resumed, second[0].resumed]
        assert second[1].resumed


def test_a_stream_knows_what_was_agreed_on(house: House, server_context: ssl.SSLContext) -> None:
    client, server = meet(server_context, client_context(ca=house.ca))
    with closing(client), closing(server):
        assert "TLSv1.3" == client.version == server.version
        assert "http/1.1" == client.alpn == server.alpn
        assert None is server.peer_certificate
        assert client.peer_certificate


# -- TLS: the handshake -----------------------------------------------------------------------------------------


def ends(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "shop.example") -> tuple[TlsStream, TlsStream]:
    ours, theirs = tcp_pair()
    return TlsStream(ours, Side.ORIGIN, client, server_hostname=name), TlsStream(theirs, Side.CLIENT, server)


def fault_of(stream: TlsStream) -> Fault:
    """The fault a handshake ends in."""
    with pytest.raises(Fault) as caught:
        again(1000, stream.handshake)
    return caught.value


def test_before_its_end_a_handshake_waits_for_the_peer(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(house.client(), server_context)
    with closing(client), closing(server):
        assert Ready.WANT_READ is server.handshake()
        assert Ready.WANT_READ is client.handshake()
        assert None is server.version
        assert repr(server).endswith("handshake>")
        shake(client, server)
        assert "TLSv1.3" == server.version


def test_a_handshake_cut_at_every_byte_comes_to_its_end(house: House, server_context: ssl.SSLContext) -> None:
    ours, theirs = tcp_pair()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = house.client().wrap_bio(incoming, outgoing, server_hostname="shop.example")
    with closing(ours), closing(TlsStream(theirs, Side.CLIENT, server_context)) as server:
        ours.setblocking(False)
        ready, done = Ready.WANT_READ, False
        while ready is not Ready.DONE:
            if not done:
                try:
                    client.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
            for byte in outgoing.read():
                assert Ready.WANT_READ is ready
                ours.send(bytes([byte]))
                ready = server.handshake()
            with suppress(BlockingIOError):
                incoming.write(ours.recv(READ))

        assert None is server.pull()


def test_a_request_that_comes_with_the_last_flight_is_not_lost(house: House, server_context: ssl.SSLContext) -> None:
    """Those bytes are in OpenSSL already when the handshake is done: no edge will tell of them."""
    client, server = ends(house.client(), server_context)
    with closing(client), closing(server):
        client.handshake()
        server.handshake()
        while client.handshake() is not Ready.DONE:
            server.handshake()
        client.push(b"early")
        while server.handshake() is not Ready.DONE:
            pass

        assert b"early" == server.pull()


def test_tickets_leave_with_the_reply_to_a_request_that_is_here_already(
    house: House, server_context: ssl.SSLContext
) -> None:
    """A system call and a packet less; whoever has not asked yet gets them at once."""
    for is_early in (True, False):
        client, server = ends(house.client(), server_context)
        with closing(client), closing(server):
            client.handshake()
            server.handshake()
            while client.handshake() is not Ready.DONE:
                server.handshake()
            if is_early:
                client.push(b"early")
            while server.handshake() is not Ready.DONE:
                pass
            tickets_left = bool(select.select([client.sock], [], [], 0)[0])

            assert tickets_left is not is_early
            if is_early:
                assert b"early" == server.pull()
                server.push(b"reply")
                assert b"reply" == settled(client)
                assert client.session is not None
                assert client.session.has_ticket


def test_a_full_handshake_gives_one_ticket(server_context: ssl.SSLContext) -> None:
    """The second that OpenSSL would send costs as much again, and every connection brings another."""
    assert 1 == server_context.num_tickets


def test_before_tls_1_3_the_last_flight_leaves_at_once(house: House, server_context: ssl.SSLContext) -> None:
    """There the client waits for our Finished before it believes anything."""
    client_context = house.client()
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    client, server = ends(client_context, server_context)
    with closing(client), closing(server):
        shake(client, server)

        assert "TLSv1.2" == server.version


def test_a_handshake_does_not_ask_again_for_what_is_not_here(house: House, server_context: ssl.SSLContext) -> None:
    """What the kernel gave in one short read was all: the answer to our flight will come as a new edge."""
    client, server = ends(house.client(), server_context)
    with closing(client), closing(server):
        client.handshake()
        asked = []
        receive = server._recv
        server._recv = lambda size: (asked.append(size), receive(size))[1]

        assert Ready.WANT_READ is server.handshake()
        assert 1 == len(asked)


def test_a_flight_that_does_not_fit_wants_write_before_it_is_done(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(house.client(), server_context)
    with closing(client), closing(server):
        client.handshake()
        filler = bytes(1 << 20)
        with suppress(BlockingIOError):
            while True:
                server.sock.send(filler)

        assert Ready.WANT_WRITE is server.handshake()
        assert server.wants_write
        assert Ready.WANT_WRITE is server.handshake()


def test_a_name_the_certificate_does_not_have_is_refused(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(client_context(ca=house.ca), server_context, "other.example")
    with closing(client), closing(server):
        client.handshake()
        server.handshake()
        fault = fault_of(client)

        assert ("tls_certificate_error", Retry.YES, 502) == (fault.word, fault.retry, fault.reply)
        assert "other.example" in fault.detail
        assert "tls_alert_received" == fault_of(server).word


def test_an_unknown_authority_is_refused_by_default(server_context: ssl.SSLContext) -> None:
    client, server = ends(client_context(), server_context)
    with closing(client), closing(server):
        client.handshake()
        server.handshake()

        assert "tls_certificate_error" == fault_of(client).word


def test_without_verifying_any_certificate_is_taken(server_context: ssl.SSLContext) -> None:
    client, server = ends(client_context(verify=False), server_context, "other.example")
    with closing(client), closing(server):
        shake(client, server)

        assert "TLSv1.3" == client.version


def test_plain_http_instead_of_a_hello_is_a_protocol_error(server_context: ssl.SSLContext) -> None:
    ours, theirs = tcp_pair()
    with closing(ours), closing(TlsStream(theirs, Side.CLIENT, server_context)) as server:
        ours.send(b"GET / HTTP/1.1\r\n\r\n")
        fault = fault_of(server)

        assert ("tls_protocol_error", None, "HTTP_REQUEST") == (fault.word, fault.reply, fault.detail)


def test_a_client_that_leaves_in_the_handshake_is_gone(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(house.client(), server_context)
    with closing(server):
        client.handshake()
        client.close()

        assert isinstance(fault_of(server), ClientGone)


def test_a_reset_in_the_handshake_is_the_peers_going(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(house.client(), server_context)
    with closing(client):
        reset(server.sock)
        fault = fault_of(client)

        assert ("connection_terminated", Retry.YES) == (fault.word, fault.retry)


def test_a_reset_instead_of_an_answer_is_the_peers_going(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(house.client(), server_context)
    with closing(client):
        assert Ready.WANT_READ is client.handshake()
        reset(server.sock)
        fault = fault_of(client)

        assert ("connection_terminated", Retry.YES) == (fault.word, fault.retry)


def test_shutting_before_the_handshake_is_nothing(house: House, server_context: ssl.SSLContext) -> None:
    client, server = ends(house.client(), server_context)
    with closing(client), closing(server):
        client.shut()
        server.shut()


@pytest.fixture
def openssl() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl s_client")


@pytest.mark.usefixtures("openssl")
def test_a_client_may_ask_for_new_keys(house: House, server_context: ssl.SSLContext) -> None:
    """OpenSSL has something to say then that nobody pushed."""
    with Caller(house, "-tls1_3") as caller, closing(caller.accept(server_context)) as server:
        caller.type(b"before\n")
        assert b"before\n" == waited(server)
        caller.type(b"K\n")
        wait_readable(server)
        assert None is server.pull()
        caller.type(b"after\n")
        assert b"after\n" == waited(server)
        assert 5 == server.push(b"reply")


@pytest.mark.usefixtures("openssl")
def test_renegotiation_is_refused(house: House, server_context: ssl.SSLContext) -> None:
    """It costs the server a handshake each time and the client next to nothing. OpenSSL's own client gives up."""
    with Caller(house, "-tls1_2") as caller, closing(caller.accept(server_context)) as server:
        caller.type(b"before\n")
        assert b"before\n" == waited(server)
        caller.type(b"R\n")
        with pytest.raises(ClientFault) as caught:
            waited(server)
        assert "tls_alert_received" == caught.value.word


@pytest.mark.usefixtures("openssl")
@pytest.mark.parametrize("size", [600, 40_000])
def test_a_client_may_ask_for_small_records(house: House, server_context: ssl.SSLContext, size: int) -> None:
    """Then there are many, and all of them leave at once."""
    with Caller(house, "-tls1_2", "-maxfraglen", "512") as caller, closing(caller.accept(server_context)) as server:
        assert size == server.push(b"x" * size)
        server.shut()
        assert size == len(caller.heard())


@pytest.mark.parametrize("side", ["client", "origin"])
def test_a_pull_ends_though_the_peer_never_stops(met: tuple[TlsStream, TlsStream], side: str) -> None:
    """Key updates without end, faster than they are read: the turn belongs to the others too."""
    stream = met[1] if side == "client" else met[0]

    def nothing_but_talk(_: int) -> bytes:
        raise ssl.SSLWantReadError

    stream._read = nothing_but_talk
    stream._recv = bytes
    with pytest.raises(Fault, match="than anyone needs") as caught:
        stream.pull()
    assert ("tls_protocol_error", Retry.NEVER, side) == (caught.value.word, caught.value.retry, caught.value.side.value)


def test_who_asks_and_does_not_take_the_answers_is_let_go(met: tuple[TlsStream, TlsStream]) -> None:
    """Key updates are answered; a client that never reads must not make us keep the answers."""
    _, server = met
    server._send = refuse
    server._outgoing.write(bytes(PIECE))
    server._answer()
    assert server.wants_write
    server._outgoing.write(bytes(HELD))
    server._answer()
    server._outgoing.write(b"one more")
    with pytest.raises(ClientFault, match="than anyone needs"):
        server._answer()


class Caller:
    """``openssl s_client``, which can do what Python's ssl cannot."""

    def __init__(self, house: House, *options: str) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self._process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "shop.example", "-quiet",
             "-no_ign_eof", "-CAfile", str(house.ca), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self._process.kill()
        self._process.communicate()

    def accept(self, context: ssl.SSLContext) -> TlsStream:
        self._listening.settimeout(10)
        sock, _ = self._listening.accept()
        server = TlsStream(sock, Side.CLIENT, context)
        while server.handshake() is not Ready.DONE:
            wait_readable(server)
        return server

    def type(self, line: bytes) -> None:
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), line)

    def heard(self) -> bytes:
        """All it printed until it ended."""
        assert self._process.stdout is not None
        return self._process.stdout.read()


def wait_readable(stream: TlsStream) -> None:
    assert select.select([stream], [], [], 10)[0], "the caller says nothing"


def waited(stream: TlsStream) -> bytes:
    """Pull, waiting as long as it takes."""
    while (data := stream.pull()) is None:
        wait_readable(stream)
    return data
