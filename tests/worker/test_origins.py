"""An exchange with an origin over real sockets: what is sent, kept, given up, tried again, and said when it fails."""

import socket
import ssl
from dataclasses import replace

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from edge.config.tree import OriginTls
from edge.errors import ClientGone, EdgeFault, OriginFault, Retry, Side
from edge.message.head import Framing
from edge.origin.members import Member, Members
from edge.origin.request import OriginRequest
from edge.worker.attempt import TURN_BYTES

from .scripted import ScriptedOrigin, origins_of, polite

pytestmark = pytest.mark.trio

OK = b"HTTP/1.1 200 OK\r\n"


def get(path=b"/", method=b"GET", **more):
    return OriginRequest(method, path, b"shop.example", [(b"accept", b"*/*")], **more)


def post(length=None, **more):
    framing = Framing.CHUNKED if length is None else Framing.LENGTH
    return OriginRequest(b"POST", b"/up", b"shop.example", [], framing, length or 0, **more)


async def whole(exchange):
    body = b""
    while data := await exchange.body():
        body += data
    return body


async def fetch(origins, request=None, **more):
    """One whole exchange: (status, body, exchange)."""
    async with origins.exchange("shop", request or get(), **more) as exchange:
        head = await exchange.reply()
        return head.status, await whole(exchange), exchange


def gone(origins):
    """Whether no connection is left anywhere."""
    return all((0, 0) == (server.lent, server.idle) for server in origins.standing())


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def tls_context(authority, name="127.0.0.1"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


# -- one exchange -------------------------------------------------------------------------------------------


async def test_a_request_goes_out_as_told_and_its_reply_comes_back():
    seen = []

    async def script(peer):
        seen.append(await peer.head())
        await peer.answer(b"hello", b"x-a: 1\r\n")

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", get(b"/a?b=c")) as exchange:
            head = await exchange.reply()
            body = await whole(exchange)

    first, *lines = seen[0].split(b"\r\n")
    assert b"GET /a?b=c HTTP/1.1" == first
    assert {b"host: shop.example", b"accept: */*"} == {line.lower() for line in lines}
    assert (200, b"1", b"hello") == (head.status, head.get(b"x-a"), body)
    assert (False, 1, f"127.0.0.1:{server.port}") == (exchange.reused, exchange.attempts, exchange.server)
    assert len(seen[0]) + 4 == exchange.request_bytes
    assert "<Attempt ended b'GET' 127.0.0.1:" in repr(exchange)


async def test_head_and_body_that_come_together_need_one_wait():
    """A small reply must not cost a second turn of the loop."""
    async with ScriptedOrigin().open() as server:
        async with origins_of(server.url).exchange("shop", get(b"/p")) as exchange:
            await exchange.reply()

            assert b"/p on 1" == exchange.body_nowait()
            assert b"" == exchange.body_nowait()
            assert b"" == await exchange.body()


async def test_a_reply_without_body_ends_with_its_head():
    async def script(peer):
        while await peer.head():
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        for _ in range(2):
            status, body, exchange = await fetch(origins)

    assert (204, b"", True, 1) == (status, body, exchange.reused, server.connections)


async def test_the_host_may_be_the_servers_own():
    seen = []

    async def script(peer):
        seen.append(await peer.head())
        await peer.answer()

    async with ScriptedOrigin(script).open() as server:
        await fetch(origins_of(server.url, host_header="server"))

    assert f"host: 127.0.0.1:{server.port}".encode() in seen[0].lower()


async def test_trailers_come_after_the_body():
    async def script(peer):
        await peer.head()
        await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n")

    async with ScriptedOrigin(script).open() as server:
        _, body, exchange = await fetch(origins_of(server.url))

    assert (b"abc", [(b"x-sum", b"7")]) == (body, exchange.trailers)


async def test_interim_replies_are_passed_on_before_the_final_one():
    told = []

    async def script(peer):
        await peer.head()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        await wait_all_tasks_blocked()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.answer()

    async with ScriptedOrigin(script).open() as server:
        status, _, _ = await fetch(origins_of(server.url), on_interim=told.append)

    assert ([103, 100], 200) == ([head.status for head in told], status)
    assert b"</a>" == told[0].get(b"link")


async def test_a_unix_socket_is_an_origin_too(tmp_path):
    path = str(tmp_path / "app.sock")
    async with ScriptedOrigin(unix=path).open() as server:
        status, body, exchange = await fetch(origins_of(server.url), get(b"/u"))

    assert (200, b"/u on 1", path) == (status, body, exchange.server)


# -- connections kept and given up --------------------------------------------------------------------------


async def test_a_connection_serves_again():
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url)
        bodies = [(await fetch(origins, get(b"/%d" % at)))[1] for at in range(3)]

    assert [b"/0 on 1", b"/1 on 1", b"/2 on 1"] == bodies


async def test_the_end_of_the_reply_gives_the_connection_back_at_once():
    """A slow client that still takes the reply must not hold the origin's connection."""
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", get()) as exchange:
            await exchange.reply()
            await whole(exchange)

            assert [(0, 1)] == [(one.lent, one.idle) for one in origins.standing()]
            assert (200, True) == ((inner := await fetch(origins))[0], inner[2].reused)


async def test_a_connection_the_origin_closed_meanwhile_is_not_used():
    async def once(peer):
        await peer.head()
        await peer.answer(b"one")

    async with ScriptedOrigin(once, polite).open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        await wait_all_tasks_blocked()
        _, body, exchange = await fetch(origins, get(b"/2", b"POST"))

    assert (b"/2 on 2", False, 1) == (body, exchange.reused, exchange.attempts)


@pytest.mark.parametrize("together", [True, False])
async def test_leftover_bytes_never_reach_the_next_exchange(together):
    """A second answer nobody asked for would be another client's reply."""
    stray = OK + b"content-length: 6\r\n\r\npoison"
    answered, spoken = trio.Event(), trio.Event()

    async def script(peer):
        await peer.head()
        if together:
            await peer.send(OK + b"content-length: 4\r\n\r\ngood" + stray)
        else:
            await peer.answer(b"good")
            await answered.wait()
            await peer.send(stray)
        spoken.set()
        await peer.closed_by_edge()

    async with ScriptedOrigin(script, polite).open() as server:
        origins = origins_of(server.url)
        _, first, _ = await fetch(origins)
        answered.set()
        await spoken.wait()
        _, second, exchange = await fetch(origins, get(b"/mine"))

    assert (b"good", b"/mine on 2", False) == (first, second, exchange.reused)


async def test_a_reply_that_ends_with_its_connection_is_whole_but_not_kept():
    async def script(peer):
        await peer.head()
        await peer.send(OK + b"\r\nall of it")

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        _, body, _ = await fetch(origins)

        assert b"all of it" == body
        assert gone(origins)


async def test_a_reply_left_unread_costs_the_connection():
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", get()) as exchange:
            await exchange.reply()
            exchange.release()
            exchange.kill()

        assert gone(origins)


async def test_a_cancelled_exchange_leaves_nothing_behind():
    async def silent(peer):
        await peer.closed_by_edge()

    async with ScriptedOrigin(silent).open() as server:
        origins = origins_of(server.url)
        with trio.move_on_after(0.01):
            await fetch(origins)

        assert gone(origins)


async def test_the_sweep_closes_what_is_too_old(autojump_clock):
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url, idle_s=4.0)
        await fetch(origins)
        await trio.sleep(3.9)
        origins.sweep()
        assert 1 == origins.standing()[0].idle
        await trio.sleep(0.2)
        origins.sweep()

        assert gone(origins)


async def test_the_sweep_closes_what_the_origin_has_closed():
    """Otherwise it would lie in CLOSE_WAIT until it is old."""

    async def once(peer):
        await peer.head()
        await peer.answer()

    async with ScriptedOrigin(once).open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        await wait_all_tasks_blocked()
        origins.sweep()

        assert gone(origins)


async def test_a_connection_older_than_the_origin_keeps_it_is_not_used(autojump_clock):
    """Keep-Alive: timeout=3 means two seconds to us, whatever we are configured to."""

    async def script(peer):
        while await peer.head():
            await peer.answer(b"%d" % peer.number, b"keep-alive: timeout=3\r\n")

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url, idle_s=60.0)
        await fetch(origins)
        await trio.sleep(1.9)
        assert b"1" == (await fetch(origins))[1]
        await trio.sleep(2.1)

        assert b"2" == (await fetch(origins))[1]


async def test_a_leaving_worker_keeps_nothing():
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        async with origins.exchange("shop", get(b"/late")) as exchange:
            await exchange.reply()
            origins.leave()
            assert b"/late on 1" == await whole(exchange)

        assert gone(origins)


async def test_without_keeping_the_origin_is_told_to_close():
    seen = []

    async def script(peer):
        seen.append(await peer.head())
        await peer.answer()

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url, max_idle=0)
        await fetch(origins)

        assert b"connection: close" in seen[0].lower()
        assert gone(origins)


# -- tried again, or not ------------------------------------------------------------------------------------


async def answer_then_die(peer):
    """Keep the connection, and drop it when the next request has come: the race every pool loses now and then."""
    await peer.head()
    await peer.answer()
    await peer.head()


async def test_a_reused_connection_that_died_unanswered_is_replaced():
    async with ScriptedOrigin(answer_then_die, polite).open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        status, body, exchange = await fetch(origins, get(b"/again"))

    assert (200, b"/again on 2", 2, False) == (status, body, exchange.attempts, exchange.reused)


async def test_a_post_is_not_sent_twice():
    """The origin may have acted on it."""
    async with ScriptedOrigin(answer_then_die, polite).open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        with pytest.raises(OriginFault) as caught:
            await fetch(origins, get(b"/pay", b"POST"))

    assert ("connection_terminated", 502, 1) == (caught.value.word, caught.value.reply, server.connections)


async def test_a_put_whose_body_has_gone_is_not_sent_twice():
    async with ScriptedOrigin(answer_then_die, polite).open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        request = OriginRequest(b"PUT", b"/", b"shop.example", [], Framing.LENGTH, 3)
        async with origins.exchange("shop", request) as exchange:
            await exchange.send_body(b"abc")
            await exchange.send_end()
            with pytest.raises(OriginFault):
                await exchange.reply()

    assert 1 == exchange.attempts


class Dead:
    """A stream that breaks at the first byte of the next request, which no script can bring about on purpose."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def push(self, data):
        raise OriginFault("EPIPE", word="connection_terminated", retry=Retry.IF_REUSED)


async def test_a_post_of_which_no_byte_was_taken_is_sent_elsewhere():
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        [link] = origins.groups["shop"].servers[0].pool.kept()
        link.stream = Dead(link.stream)
        async with origins.exchange("shop", post(0)) as exchange:
            await exchange.send_end()
            head = await exchange.reply()
            await whole(exchange)

    assert (200, 2, 2) == (head.status, exchange.attempts, server.connections)


async def test_retries_can_be_forbidden():
    async with ScriptedOrigin(answer_then_die, polite).open() as server:
        origins = origins_of(server.url, retries=0)
        await fetch(origins)
        with pytest.raises(OriginFault):
            await fetch(origins)


async def test_a_fresh_connection_that_dies_is_not_tried_again():
    """It would happen again: the origin dislikes the request."""

    async def dies(peer):
        await peer.head()

    async with ScriptedOrigin(dies).open() as server:
        with pytest.raises(OriginFault) as caught:
            await fetch(origins_of(server.url))

    assert ("connection_terminated", 1) == (caught.value.word, server.connections)


async def test_nothing_is_tried_again_once_a_reply_has_begun():
    async def script(peer):
        await peer.head()
        await peer.answer()
        await peer.head()
        await peer.send(b"HTTP/1.1 200")

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        await fetch(origins)
        with pytest.raises(OriginFault) as caught:
            await fetch(origins)

    assert ("http_response_incomplete", 1) == (caught.value.word, server.connections)


async def test_a_body_cut_short_is_a_fault_not_an_end():
    async def script(peer):
        await peer.head()
        await peer.send(OK + b"content-length: 10\r\n\r\nhalf")

    async with ScriptedOrigin(script).open() as server:
        async with origins_of(server.url).exchange("shop", get()) as exchange:
            await exchange.reply()
            assert b"half" == await exchange.body()
            with pytest.raises(OriginFault) as caught:
                await exchange.body()

    assert "http_response_incomplete" == caught.value.word


async def test_nonsense_is_a_protocol_error():
    async def script(peer):
        await peer.head()
        await peer.send(b"SSH-2.0-nope\r\n\r\n")
        await peer.closed_by_edge()

    async with ScriptedOrigin(script).open() as server:
        with pytest.raises(OriginFault) as caught:
            await fetch(origins_of(server.url))

    assert ("http_protocol_error", 502) == (caught.value.word, caught.value.reply)


# -- many servers -------------------------------------------------------------------------------------------


def closed_port():
    """A port that refuses: bound, never listening."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


async def test_a_server_that_refuses_is_passed_over_for_any_method(autojump_clock):
    """Nothing has been sent, so even a POST may go elsewhere; and it is left alone for a while."""
    holder, port = closed_port()
    with holder:
        async with ScriptedOrigin().open() as server:
            origins = origins_of(f"http://127.0.0.1:{port}", server.url)
            for at in range(4):
                async with origins.exchange("shop", post(2)) as exchange:
                    await exchange.send_body(b"%02d" % at)
                    await exchange.send_end()
                    assert 200 == (await exchange.reply()).status
            standing = origins.standing()
            assert [False, True] == [one.is_well for one in standing]
            await trio.sleep(1.5)

            assert [True, True] == [one.is_well for one in origins.standing()]


async def test_when_all_refuse_the_last_reason_is_told():
    one, first = closed_port()
    two, second = closed_port()
    with one, two:
        origins = origins_of(f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}")
        for _ in range(2):  # the second time both are ill, and are asked all the same
            with pytest.raises(OriginFault) as caught:
                await fetch(origins)

            assert ("connection_refused", 502, Retry.YES) == (
                caught.value.word,
                caught.value.reply,
                caught.value.retry,
            )
        assert gone(origins)


async def test_turns_are_taken_by_weight():
    async def name(peer, what):
        while await peer.head():
            await peer.answer(what)

    async with (
        ScriptedOrigin(lambda peer: name(peer, b"a")).open() as a,
        ScriptedOrigin(lambda peer: name(peer, b"b")).open() as b,
    ):
        origins = origins_of(a.url, b.url, weights=[1, 2])
        bodies = [(await fetch(origins))[1] for _ in range(6)]

    assert [b"b", b"a", b"b", b"b", b"a", b"b"] == bodies


@pytest.mark.parametrize("balance", ["ip_hash", "consistent_hash"])
async def test_a_key_keeps_its_server(balance):
    async with ScriptedOrigin().open() as a, ScriptedOrigin().open() as b:
        origins = origins_of(a.url, b.url, balance=balance)
        asked = {(await fetch(origins, get(b"/same"), client=b"192.0.2.7"))[2].server for _ in range(4)}
        others = {(await fetch(origins, get(b"/%d" % at), client=b"192.0.2.%d" % at))[2].server for at in range(40)}

    assert (1, 2) == (len(asked), len(others))


# -- limits -------------------------------------------------------------------------------------------------


async def test_who_finds_every_connection_in_use_waits_in_order(autojump_clock):
    order = []

    async def slow(peer):
        while head := await peer.head():
            await trio.sleep(1)
            await peer.answer(head.split(b" ")[1])

    async with ScriptedOrigin(slow).open() as server:
        origins = origins_of(server.url, max_connections=1)

        async def one(at):
            order.append((await fetch(origins, get(b"/%d" % at)))[1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 0)
            await wait_all_tasks_blocked()
            nursery.start_soon(one, 1)

    assert ([b"/0", b"/1"], 1) == (order, server.connections)


async def test_waiting_for_a_connection_has_an_end(autojump_clock):
    async def silent(peer):
        await peer.closed_by_edge()

    async with ScriptedOrigin(silent).open() as server:
        origins = origins_of(server.url, max_connections=1, queue_s=2.0)
        async with origins.exchange("shop", get()):
            before = trio.current_time()
            with pytest.raises(EdgeFault) as caught:
                await fetch(origins)

    assert ("connection_limit_reached", 503, 2) == (caught.value.word, caught.value.reply, caught.value.retry_after_s)
    assert 2.0 == pytest.approx(trio.current_time() - before)


async def test_the_queue_itself_is_bounded(autojump_clock):
    async def silent(peer):
        await peer.closed_by_edge()

    async with ScriptedOrigin(silent).open() as server:
        origins = origins_of(server.url, max_connections=1)
        async with origins.exchange("shop", get()), trio.open_nursery() as nursery:
            nursery.start_soon(fetch, origins)
            await wait_all_tasks_blocked()
            assert 1 == origins.standing()[0].waiting
            before = trio.current_time()
            with pytest.raises(EdgeFault):
                await fetch(origins)
            assert before == trio.current_time()
            nursery.cancel_scope.cancel()
        assert gone(origins)


async def test_a_connection_that_comes_free_is_not_taken_past_the_queue(autojump_clock):
    """Who came later and found it idle by luck must not overtake who waits."""
    order = []
    async with ScriptedOrigin().open() as server:
        origins = origins_of(server.url, max_connections=1)

        async def one(at):
            await fetch(origins)
            order.append(at)

        async with trio.open_nursery() as nursery:
            async with origins.exchange("shop", get()) as exchange:
                nursery.start_soon(one, "waiting")
                await wait_all_tasks_blocked()
                await exchange.reply()
                await whole(exchange)  # gives it back; the one who waits is woken but has not run
                nursery.start_soon(one, "late")

    assert ["waiting", "late"] == order


async def test_a_queue_moves_on_when_connections_die():
    """A closed connection makes room as well as one that came back."""

    async def dies(peer):
        await peer.head()

    async with ScriptedOrigin(dies, dies, polite).open() as server:
        origins = origins_of(server.url, max_connections=2)
        statuses = []

        async def one():
            try:
                statuses.append((await fetch(origins))[0])
            except OriginFault as fault:
                statuses.append(fault.word)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)

    assert [200, 200, "connection_terminated", "connection_terminated"] == sorted(statuses, key=str)


# -- deadlines ----------------------------------------------------------------------------------------------


async def check_deadline(origins, word, seconds, request=None):
    before = trio.current_time()
    with pytest.raises(OriginFault) as caught:
        await fetch(origins, request)

    assert (word, 504) == (caught.value.word, caught.value.reply)
    assert seconds == pytest.approx(trio.current_time() - before, abs=0.01)
    assert gone(origins)


async def test_an_origin_that_does_not_begin_to_reply_is_given_up(autojump_clock):
    async def silent(peer):
        await peer.closed_by_edge()

    async with ScriptedOrigin(silent).open() as server:
        await check_deadline(origins_of(server.url, first_byte_s=7.0), "http_response_timeout", 7.0)


async def test_an_origin_that_pauses_in_its_body_is_given_up(autojump_clock):
    async def script(peer):
        await peer.head()
        await peer.send(OK + b"content-length: 10\r\n\r\nhalf")
        await peer.closed_by_edge()

    async with ScriptedOrigin(script).open() as server:
        await check_deadline(origins_of(server.url, between_bytes_s=3.0), "connection_read_timeout", 3.0)


async def send_for_ever(exchange):
    while True:
        await exchange.send_body(bytes(1 << 20))


async def test_an_origin_that_takes_no_body_is_given_up(autojump_clock):
    async def script(peer):
        await peer.head()
        await trio.sleep_forever()

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url, between_bytes_s=3.0)
        async with origins.exchange("shop", post()) as exchange:
            with pytest.raises(OriginFault) as caught:
                await send_for_ever(exchange)
        assert ("connection_write_timeout", 504) == (caught.value.word, caught.value.reply)


async def test_connecting_has_an_end(autojump_clock):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:  # a full accept queue drops SYNs: the connection stays half-made
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        await check_deadline(
            origins_of(f"http://127.0.0.1:{full.getsockname()[1]}", connect_s=2.0), "connection_timeout", 2.0
        )
        for filler in fillers:
            filler.close()


async def test_a_name_that_is_not_answered_has_an_end(autojump_clock):
    async def resolver(host, port):
        await trio.sleep_forever()

    await check_deadline(origins_of("http://app.internal", resolver=resolver, connect_s=2.0), "dns_timeout", 2.0)


async def test_a_name_that_does_not_exist_is_said_so():
    async def resolver(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(OriginFault) as caught:
        await fetch(origins_of("http://app.internal", resolver=resolver))

    assert ("dns_error", 502) == (caught.value.word, caught.value.reply)


async def test_a_socket_path_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(OriginFault) as caught:
        await fetch(origins_of(f"unix:{tmp_path}/none.sock"))

    assert ("destination_unavailable", 503) == (caught.value.word, caught.value.reply)


async def swept(origins):
    """What the worker does once a second."""
    while True:
        origins.sweep()
        await trio.sleep(1)


async def test_a_long_wait_is_ended_by_the_sweep_within_a_second(autojump_clock):
    """Such a wait has no timer of its own; only the one that is overdue is ended."""

    async def slow(peer):
        while head := await peer.head():
            if head.startswith(b"GET /never"):
                await trio.sleep_forever()
            await trio.sleep(90)
            await peer.answer()

    async with ScriptedOrigin(slow).open() as server, trio.open_nursery() as nursery:
        patient, origins = origins_of(server.url, first_byte_s=100.0), origins_of(server.url, first_byte_s=60.0)
        nursery.start_soon(swept, origins)
        nursery.start_soon(swept, patient)
        answered = []

        async def wait_long():
            answered.append((await fetch(patient))[0])

        async with trio.open_nursery() as waiting:
            waiting.start_soon(wait_long)
            await wait_all_tasks_blocked()
            before = trio.current_time()
            with pytest.raises(OriginFault) as caught:
                await fetch(origins, get(b"/never"))
            assert ("http_response_timeout", 504) == (caught.value.word, caught.value.reply)
            assert 60.0 <= trio.current_time() - before <= 61.0
            assert gone(origins)
        nursery.cancel_scope.cancel()

    assert [200] == answered


async def test_a_tunnel_may_be_silent_for_as_long_as_it_likes(autojump_clock):
    async def script(peer):
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        await trio.sleep(500)
        await peer.send(b"at last")

    async with ScriptedOrigin(script).open() as server, trio.open_nursery() as nursery:
        origins = origins_of(server.url)
        nursery.start_soon(swept, origins)
        async with origins.exchange("shop", upgrade()) as tunnel:
            await tunnel.reply()
            assert b"at last" == await tunnel.pull()
        nursery.cancel_scope.cancel()


# -- bodies on their way to the origin ----------------------------------------------------------------------


def feed(*parts):
    """A source of a body's parts; the end is None."""
    left = list(parts)

    async def source():
        await trio.lowlevel.checkpoint()
        return left.pop(0) if left else None

    return source


async def test_a_body_that_is_here_is_sent_and_answered():
    async def script(peer):
        while head := await peer.head():
            await peer.answer(
                b"got " + await peer.exactly(11), b"x-cl: %d\r\n" % (b"content-length: 11" in head.lower())
            )

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        for _ in range(2):
            async with origins.exchange("shop", post(11)) as exchange:
                assert await exchange.send_body(b"hello ")
                assert await exchange.send_body(memoryview(b"world"))
                await exchange.send_end()
                head = await exchange.reply()
                body = await whole(exchange)

    assert (b"1", b"got hello world", True) == (head.get(b"x-cl"), body, exchange.reused)


async def test_a_body_that_is_coming_is_sent_beside():
    async def script(peer):
        await peer.head()
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += await peer.exactly(1)
        await peer.answer(data)

    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", post()) as exchange:
            async with exchange.sending(feed(b"ab", b"cde")):
                await exchange.reply()
                body = await whole(exchange)

        assert b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n" == body
        assert 1 == origins.standing()[0].idle


@pytest.mark.parametrize("secure", [False, True])
async def test_both_ways_at_once_and_more_than_any_buffer_holds(authority, ca_file, secure):
    """The origin sends back what it gets while it gets it; nobody may wait for the other to finish."""
    part = bytes(65536)
    count = 160

    async def echo(peer):
        await peer.head()
        await peer.send(OK + b"content-length: %d\r\n\r\n" % (len(part) * count))
        left = len(part) * count
        while left:
            data = peer.buffer or await peer.stream.receive_some(65536)
            peer.buffer = b""
            left -= len(data)
            await peer.send(data)

    async with ScriptedOrigin(echo, tls=tls_context(authority) if secure else None).open() as server:
        origins = origins_of(server.url, tls=OriginTls(ca=ca_file))
        async with origins.exchange("shop", post(len(part) * count)) as exchange:
            got = 0
            async with exchange.sending(feed(*[part] * count)):
                await exchange.reply()
                while data := await exchange.body():
                    got += len(data)

    assert len(part) * count == got


async def too_large(peer):
    """Refuse by the head alone, and read nothing more."""
    await peer.head()
    await peer.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")
    await trio.sleep_forever()


async def test_an_answer_before_the_body_is_sent_ends_the_sending():
    """413 while megabytes are still to come: the reply counts, the connection cannot be kept."""
    async with ScriptedOrigin(too_large).open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", post()) as exchange:
            async with exchange.sending(feed(*[bytes(1 << 20)] * 64)):
                head = await exchange.reply()
                body = await whole(exchange)

        assert (413, b"no") == (head.status, body)
        assert gone(origins)


async def test_an_answer_is_found_while_the_client_gives_nothing():
    async def never():
        await trio.sleep_forever()

    async with ScriptedOrigin(too_large).open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", post()) as exchange:
            async with exchange.sending(never):
                head = await exchange.reply()

        assert 413 == head.status
        assert gone(origins)


async def test_an_answer_unblocks_who_sends_without_a_task_beside():
    async with ScriptedOrigin(too_large).open() as server:
        async with origins_of(server.url).exchange("shop", post()) as exchange:
            sent = 0
            while await exchange.send_body(bytes(1 << 20)):
                sent += 1
                assert sent < 100
            assert 413 == (await exchange.reply()).status
            assert not await exchange.send_body(b"more")
            await exchange.send_end()
            assert b"no" == await whole(exchange)


@pytest.mark.parametrize("beside", [True, False])
async def test_an_answer_before_a_hang_up_is_still_heard(beside):
    """The origin refuses and closes with our bytes unread: the kernel says reset, and the reply lies before it."""

    async def refuses(peer):
        await peer.head()
        await peer.stream.receive_some(1)
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")

    part = bytes(1 << 20)
    async with ScriptedOrigin(refuses).open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", post()) as exchange:
            if beside:
                async with exchange.sending(feed(*[part] * 64)):
                    head = await exchange.reply()
                    body = await whole(exchange)
            else:
                while await exchange.send_body(part):
                    pass
                head = await exchange.reply()
                body = await whole(exchange)

        assert (413, b"no") == (head.status, body)
        assert gone(origins)


async def test_an_interim_reply_does_not_end_the_sending():
    told = []

    async def script(peer):
        await peer.head()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await wait_all_tasks_blocked()
        await peer.exactly(32 << 20)
        await peer.answer(b"all")

    async with ScriptedOrigin(script).open() as server:
        async with origins_of(server.url).exchange("shop", post(32 << 20), on_interim=told.append) as exchange:
            for _ in range(32):
                assert await exchange.send_body(bytes(1 << 20))
            await exchange.send_end()
            assert 200 == (await exchange.reply()).status
            assert b"all" == await whole(exchange)

    assert [103] == [head.status for head in told]


async def test_a_body_waits_for_100_continue_when_the_client_does():
    may_send = trio.Event()
    order = []

    def interim(head):
        order.append(head.status)
        may_send.set()

    async def body():
        await may_send.wait()
        if len(order) > 1:
            return None
        order.append("body")
        return b"abc"

    async def script(peer):
        await peer.head()
        assert b"" == peer.buffer
        await wait_all_tasks_blocked()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.answer(await peer.exactly(3))

    async with ScriptedOrigin(script).open() as server:
        async with origins_of(server.url).exchange("shop", post(3), on_interim=interim) as exchange:
            async with exchange.sending(body):
                await exchange.reply()
                assert b"abc" == await whole(exchange)

    assert [100, "body"] == order


async def test_a_client_that_leaves_ends_the_exchange():
    async def leaves():
        raise ClientGone("left in the middle of its body")

    async def silent(peer):
        await peer.closed_by_edge()

    async with ScriptedOrigin(silent).open() as server:
        origins = origins_of(server.url)

        async def carry():
            async with origins.exchange("shop", post()) as exchange, exchange.sending(leaves):
                await exchange.reply()

        with pytest.raises(ClientGone):
            await carry()

        assert gone(origins)


async def test_a_fault_of_the_origin_leaves_the_block_bare_not_in_a_group():
    async def dies(peer):
        await peer.head()

    async def never():
        await trio.sleep_forever()

    async with ScriptedOrigin(dies).open() as server:
        async with origins_of(server.url).exchange("shop", post()) as exchange:
            with pytest.raises(OriginFault) as caught:
                async with exchange.sending(never):
                    await exchange.reply()

    assert Side.ORIGIN is caught.value.side


async def test_an_origin_is_not_late_while_the_client_is_still_sending(autojump_clock):
    """The reply's deadline begins when the request has been sent."""

    async def slowly():
        await trio.sleep(20)
        return b"abc" if trio.current_time() - began < 30 else None

    async def script(peer):
        await peer.head()
        await peer.exactly(3 + 5 + 5)
        await trio.sleep_forever()

    began = trio.current_time()
    async with ScriptedOrigin(script).open() as server:
        async with origins_of(server.url, first_byte_s=5.0).exchange("shop", post()) as exchange:
            with pytest.raises(OriginFault) as caught:
                async with exchange.sending(slowly):
                    await exchange.reply()

    assert "http_response_timeout" == caught.value.word
    assert 45.0 == pytest.approx(trio.current_time() - began, abs=0.01)


# -- tunnels ------------------------------------------------------------------------------------------------


def upgrade():
    return OriginRequest(b"GET", b"/ws", b"shop.example", [], upgrade=b"websocket")


async def test_a_tunnel_carries_bytes_both_ways_and_ends_each_way_alone():
    async def script(peer):
        head = await peer.head()
        assert b"upgrade: websocket" in head.lower()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst")
        await peer.send(b"echo " + await peer.exactly(4))
        await peer.stream.send_eof()
        assert b"still there" == await peer.closed_by_edge()
        closed.set()

    closed = trio.Event()
    async with ScriptedOrigin(script).open() as server:
        origins = origins_of(server.url)
        async with origins.exchange("shop", upgrade()) as tunnel:
            head = await tunnel.reply()
            got = await tunnel.pull()
            await tunnel.push(b"ping")
            while data := await tunnel.pull():
                got += data
            await tunnel.push(b"still there")
            tunnel.push_eof()
            await closed.wait()

        assert (101, True, b"firstecho ping") == (head.status, tunnel.upgraded, got)
        assert gone(origins)


async def test_a_refused_upgrade_is_an_ordinary_reply():
    async with ScriptedOrigin().open() as server:
        status, body, exchange = await fetch(origins_of(server.url), upgrade())

    assert (200, b"/ws on 1", False) == (status, body, exchange.upgraded)


async def test_a_101_nobody_asked_for_is_a_fault():
    async def script(peer):
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        await peer.closed_by_edge()

    async with ScriptedOrigin(script).open() as server:
        with pytest.raises(OriginFault):
            await fetch(origins_of(server.url))


async def test_a_tunnel_waits_for_room():
    """Nothing is buffered without bound: what the origin does not take, we do not read from the client."""
    pushed = 0
    go_on = trio.Event()

    async def script(peer):
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        await go_on.wait()
        await peer.exactly(64 << 20)
        await peer.send(b"done")

    async with ScriptedOrigin(script).open() as server:
        async with origins_of(server.url).exchange("shop", upgrade()) as tunnel:
            await tunnel.reply()

            async def push():
                nonlocal pushed
                for _ in range(64):
                    await tunnel.push(bytes(1 << 20))
                    pushed += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(push)
                await wait_all_tasks_blocked()
                assert 0 < pushed < 64
                go_on.set()
                assert b"done" == await tunnel.pull()


# -- TLS ----------------------------------------------------------------------------------------------------


async def test_an_https_origin_is_verified_spoken_to_and_kept(authority, ca_file):
    async with ScriptedOrigin(tls=tls_context(authority)).open() as server:
        origins = origins_of(server.url, tls=OriginTls(ca=ca_file))
        bodies = [(await fetch(origins, get(b"/%d" % at)))[1] for at in range(2)]
        origins.leave()

    assert [b"/0 on 1", b"/1 on 1"] == bodies


async def test_a_tls_session_is_taken_up_again(authority, ca_file):
    resumed = []

    async def script(peer):
        await peer.head()
        resumed.append(peer.stream.session_reused)
        await peer.answer()
        await peer.closed_by_edge()

    async with ScriptedOrigin(script, tls=tls_context(authority)).open() as server:
        origins = origins_of(server.url, tls=OriginTls(ca=ca_file))
        await fetch(origins)
        for link in origins.groups["shop"].servers[0].pool.aged(float("inf")):
            link.server.discard(link)
        await fetch(origins)

    assert [False, True] == resumed


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_a_certificate_that_does_not_fit_is_refused(authority, ca_file, wrong):
    """Before a byte of the request has been sent."""
    context = tls_context(authority, "other.example") if wrong == "name" else tls_context(trustme.CA())
    asked = []

    async def script(peer):
        asked.append(await peer.head())

    async with ScriptedOrigin(script, tls=context).open() as server:
        origins = origins_of(server.url, tls=OriginTls(ca=ca_file))
        with pytest.raises(OriginFault) as caught:
            await fetch(origins)

    assert ("tls_certificate_error", 502, Retry.YES) == (caught.value.word, caught.value.reply, caught.value.retry)
    assert [] == asked


async def test_another_name_may_be_expected(authority, ca_file):
    async with ScriptedOrigin(tls=tls_context(authority, "api.internal")).open() as server:
        status, _, _ = await fetch(origins_of(server.url, tls=OriginTls(ca=ca_file, server_name="api.internal")))

    assert 200 == status


async def test_verification_can_be_switched_off(authority):
    async with ScriptedOrigin(tls=tls_context(trustme.CA(), "whoever")).open() as server:
        status, _, _ = await fetch(origins_of(server.url, tls=OriginTls(verify=False)))

    assert 200 == status


# -- fairness -----------------------------------------------------------------------------------------------


async def test_a_fast_origin_does_not_keep_the_others_waiting():
    """Bytes that are always here would let one exchange run for ever."""
    size = 64 * TURN_BYTES
    turns = 0

    async def script(peer):
        await peer.head()
        await peer.send(OK + b"content-length: %d\r\n\r\n" % size)
        await peer.send(bytes(size))

    async def other():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with ScriptedOrigin(script).open() as server, trio.open_nursery() as nursery:
        async with origins_of(server.url).exchange("shop", get()) as exchange:
            await exchange.reply()
            nursery.start_soon(other)
            got = 0
            while data := await exchange.body():
                got += len(data)
        nursery.cancel_scope.cancel()

    assert size == got
    assert turns >= 32


# -- servers that come and go -------------------------------------------------------------------------------


async def test_servers_come_and_go_while_requests_are_under_way():
    """Who leaves ends what it carries; who stays keeps its connections; who joins is asked."""
    go_on = trio.Event()

    async def slow(peer):
        while await peer.head():
            await go_on.wait()
            await peer.answer(b"slow")

    async with ScriptedOrigin(slow).open() as a, ScriptedOrigin().open() as b, ScriptedOrigin().open() as c:
        origins = origins_of(a.url, b.url)
        group = origins.groups["shop"]
        bodies = []

        async def one():
            bodies.append((await fetch(origins))[1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
            while not bodies:
                await trio.sleep(0.001)
            stays, leaves = group.servers[1], group.servers[0]
            group.become(Members.of([replace(stays.settings, weight=2), Member(c.url, "http", "127.0.0.1", c.port)]))
            go_on.set()
        for _ in range(6):
            await one()

        assert {b"slow", b"/ on 1"} == set(bodies)
        assert stays is group.servers[0]
        assert (0, 0) == (leaves.pool.lent, leaves.pool.idle), "nothing is kept of who has left"
        assert (1, 1, 1) == (a.connections, b.connections, c.connections)
