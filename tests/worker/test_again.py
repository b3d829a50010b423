"""What is sent again, to whom, and what stops it: rules of the route, the origin's budget, and who has been left alone."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edge.config.origin_rules import Ejection, RouteRetry, Sticky
from edge.config.tree import Origin, OriginServer
from edge.errors import EdgeFault, OriginFault
from edge.message.head import Framing
from edge.observe import names
from edge.origin.health import Condition, Order
from edge.origin.request import OriginRequest
from edge.share.bells import Bells
from edge.share.fleet import Fleet
from edge.worker.dial import Dialler, Resolver
from edge.worker.origins import Origins

from .scripted import MADE, ScriptedOrigin, TrioClock, origins_of, polite

pytestmark = pytest.mark.trio

ALL_OF_IT = RouteRetry(on=("connect", "closed", "reset", "timeout", "429", "500", "502", "503", "504"), retries=3)
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"


def request(method=b"GET", fields=(), framing=Framing.NONE, length=0):
    return OriginRequest(method, b"/", b"shop.example", list(fields), framing, length)


async def fetch(origins, asks=None, rules=ALL_OF_IT):
    """One exchange to its end: the status, the body, and the exchange."""
    async with origins.exchange("shop", asks or request(), rules=rules) as exchange:
        head = await exchange.reply()
        body = b""
        while data := await exchange.body():
            body += data
        return head.status, body, exchange


def says(word):
    async def script(peer):
        while await peer.head():
            await peer.answer(word)

    return script


async def unavailable(peer):
    while await peer.head():
        await peer.send(UNAVAILABLE)


async def hangs_up(peer):
    await peer.head()


async def silent(peer):
    await peer.closed_by_edge()


def node_of(*origins_settings):
    """Two workers' origins on one page."""
    fleet, bells = Fleet(2), Bells(2)
    clock = TrioClock()
    workers = [
        Origins(
            origins_settings[0],
            clock,
            dialler=Dialler(clock, Resolver(clock)),
            fleet=fleet,
            slot=slot,
            bells=bells,
            alive=lambda: [0, 1],
        )
        for slot in range(2)
    ]
    MADE.extend(workers)
    return workers, bells


# -- by whatever went wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "kind"), [(hangs_up, "reset"), (unavailable, "503"), (silent, "timeout")])
async def test_a_failure_that_the_route_names_is_tried_at_another_server(bad, kind, autojump_clock):
    async with ScriptedOrigin(bad).open() as a, ScriptedOrigin(says(b"b")).open() as b:
        origins = origins_of(a.url, b.url, first_byte_s=2.0)
        found = [await fetch(origins, rules=RouteRetry(on=(kind,))) for _ in range(4)]

        assert [(200, b"b")] * 4 == [one[:2] for one in found]
        assert {1, 2} == {one[2].attempts for one in found}


@pytest.mark.parametrize("bad", [hangs_up, silent])
async def test_without_a_rule_it_is_the_clients_to_hear(bad, autojump_clock):
    async with ScriptedOrigin(bad).open() as a:
        with pytest.raises(OriginFault):
            await fetch(origins_of(a.url, first_byte_s=2.0), rules=RouteRetry())


async def test_a_status_that_may_be_tried_again_is_passed_on_when_it_cannot_be():
    """With nobody else to ask, or no attempt left, the reply we have is the reply; its body, too."""
    async with ScriptedOrigin(unavailable).open() as a, ScriptedOrigin(unavailable).open() as b:
        both = await fetch(origins_of(a.url, b.url), rules=RouteRetry(on=("503",), retries=1))
        alone = await fetch(origins_of(a.url), rules=RouteRetry(on=("503",), retries=0))
        unspent = await fetch(
            origins_of(a.url, b.url, retry_budget=0.0, retry_reserve=0), rules=RouteRetry(on=("503",), retries=1)
        )

    assert [(503, b"busy", 2), (503, b"busy", 1), (503, b"busy", 1)] == [
        (*one[:2], one[2].attempts) for one in (both, alone, unspent)
    ]


@pytest.mark.parametrize("bad", [hangs_up, unavailable, silent])
async def test_a_post_is_never_sent_twice(bad, autojump_clock):
    """Whatever the rules: the origin may have acted on it."""
    async with ScriptedOrigin(bad).open() as a, ScriptedOrigin(says(b"b")).open() as b:
        origins = origins_of(a.url, b.url, first_byte_s=2.0)
        ends = []
        for _ in range(4):
            try:
                ends.append((await fetch(origins, request(b"POST")))[:2])
            except OriginFault as fault:
                ends.append(fault.word)

    assert 2 == ends.count((200, b"b"))
    assert 2 == len([end for end in ends if end != (200, b"b")])


async def test_a_put_whose_body_is_on_its_way_is_not_sent_twice():
    async with ScriptedOrigin(hangs_up).open() as a, ScriptedOrigin(says(b"b")).open() as b:
        origins = origins_of(a.url, b.url)
        put = request(b"PUT", framing=Framing.LENGTH, length=3)
        async with origins.exchange("shop", put, rules=ALL_OF_IT) as exchange:
            await exchange.send_body(b"abc")
            await exchange.send_end()
            with pytest.raises(OriginFault):
                await exchange.reply()

    assert 0 == b.connections


# -- budget ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [hangs_up, unavailable])
async def test_a_full_outage_is_not_made_worse(bad):
    """Every request fails at every server: the origin sees a fifth more than there were requests, not four times as many."""
    seen = 0

    async def counted(peer):
        nonlocal seen
        while await peer.head():
            seen += 1
            if bad is hangs_up:
                return
            await peer.send(UNAVAILABLE)

    async with ScriptedOrigin(counted).open() as a, ScriptedOrigin(counted).open() as b:
        origins = origins_of(a.url, b.url, ejection=Ejection(failures=0))
        for _ in range(300):
            try:
                await fetch(origins)
            except OriginFault:
                pass

        assert 300 < seen <= 1.2 * 300
        assert origins.node.cells[names.OriginCells.of(0).retries_refused] > 0


async def test_two_workers_have_one_budget():
    seen = 0

    async def counted(peer):
        nonlocal seen
        while await peer.head():
            seen += 1
            await peer.send(UNAVAILABLE)

    async with ScriptedOrigin(counted).open() as a, ScriptedOrigin(counted).open() as b:
        shop = Origin(
            "shop", (OriginServer(a.url), OriginServer(b.url)), retry_reserve=0, ejection=Ejection(failures=0)
        )
        workers, _ = node_of({"shop": shop})
        for turn in range(200):
            await fetch(workers[turn % 2])

    assert 200 < seen <= 240


# -- ejection -------------------------------------------------------------------------------------------------


async def test_who_fails_again_and_again_is_left_alone_by_all_workers_and_found_again(autojump_clock):
    async with ScriptedOrigin(unavailable).open() as a, ScriptedOrigin(says(b"b")).open() as b:
        ejection = Ejection(failures=3, on=("503",), pause_s=5.0, longest_s=60.0)
        shop = Origin("shop", (OriginServer(a.url), OriginServer(b.url)), ejection=ejection, idle_s=60.0)
        (one, other), _ = node_of({"shop": shop})
        statuses = [(await fetch(one, rules=RouteRetry()))[0] for _ in range(6)]
        assert 3 == statuses.count(503)
        assert Condition.OUT is other.groups["shop"].servers[0].health.condition
        assert 1 == one.node.cells[names.OriginCells.of(0).ejections]
        assert [200] * 6 == [(await fetch(other, rules=RouteRetry()))[0] for _ in range(6)]

        await trio.sleep(5.0)
        trial = [(await fetch(other, rules=RouteRetry()))[0] for _ in range(6)]
        assert 1 == trial.count(503), "one request finds out"
        a.scripts[:] = [says(b"a")]
        for link in one.groups["shop"].servers[0].pool.kept() + other.groups["shop"].servers[0].pool.kept():
            link.server.pool.condemn(link)
            link.server.discard(link)
        await trio.sleep(9.0)
        assert [200] * 4 == [(await fetch(one, rules=RouteRetry()))[0] for _ in range(4)], "its pause has doubled"
        assert Condition.OUT is one.groups["shop"].servers[0].health.condition
        await trio.sleep(1.0)
        assert {b"a", b"b"} == {(await fetch(one, rules=RouteRetry()))[1] for _ in range(4)}
        assert Condition.WELL is other.groups["shop"].servers[0].health.condition


async def test_a_floor_of_servers_stays_in():
    """When all answer badly it is not them, or there is nobody better: leaving all out would answer nobody."""
    async with ScriptedOrigin(unavailable).open() as a, ScriptedOrigin(unavailable).open() as b:
        origins = origins_of(a.url, b.url, ejection=Ejection(failures=2, on=("503",), floor=0.5))
        for _ in range(20):
            await fetch(origins, rules=RouteRetry())
        conditions = [server.health.condition for server in origins.groups["shop"].servers]

    assert [Condition.OUT, Condition.WELL] == sorted(conditions, reverse=True)


# -- hedging --------------------------------------------------------------------------------------------------


async def test_a_second_server_is_asked_when_the_first_is_slow(autojump_clock):
    async def slow(peer):
        while await peer.head():
            await trio.sleep(20)
            await peer.answer(b"slow")

    async with ScriptedOrigin(slow).open() as a, ScriptedOrigin(says(b"quick")).open() as b:
        origins = origins_of(a.url, b.url)
        hedged = RouteRetry(hedge_s=0.5)
        before = trio.current_time()
        found = [(await fetch(origins, rules=hedged))[1] for _ in range(2)]
        took = trio.current_time() - before

        assert [b"quick"] * 2 == found
        assert 0.5 == pytest.approx(took)
        assert 1 == origins.node.cells[names.OriginCells.of(0).hedges]
        assert [0, 0] == [server.pool.lent for server in origins.groups["shop"].servers]


async def test_the_first_may_still_win_and_only_safe_methods_are_hedged(autojump_clock):
    async def slow(peer):
        while await peer.head():
            await trio.sleep(2)
            await peer.answer(b"first")

    async with ScriptedOrigin(slow).open() as a, ScriptedOrigin(silent).open() as b:
        origins = origins_of(a.url, b.url, first_byte_s=5.0)
        hedged = RouteRetry(hedge_s=0.5)
        won = await fetch(origins, rules=hedged)
        assert (b"first", 1) == (won[1], origins.node.cells[names.OriginCells.of(0).hedges])
        with pytest.raises(OriginFault):
            await fetch(origins, request(b"DELETE"), rules=hedged)  # its turn is the silent one's
        assert 1 == origins.node.cells[names.OriginCells.of(0).hedges]


async def test_a_hedge_needs_budget(autojump_clock):
    async def slow(peer):
        while await peer.head():
            await trio.sleep(2)
            await peer.answer(b"slow")

    async with ScriptedOrigin(slow).open() as a, ScriptedOrigin(slow).open() as b:
        origins = origins_of(a.url, b.url, retry_budget=0.0, retry_reserve=0)
        assert b"slow" == (await fetch(origins, rules=RouteRetry(hedge_s=0.5)))[1]
        assert (1, 0) == (a.connections, b.connections)


async def test_when_both_fail_the_first_reason_is_told(autojump_clock):
    async with ScriptedOrigin(silent).open() as a, ScriptedOrigin(silent).open() as b:
        origins = origins_of(a.url, b.url, first_byte_s=3.0)
        with pytest.raises(OriginFault) as caught:
            await fetch(origins, rules=RouteRetry(hedge_s=0.5))
        assert "http_response_timeout" == caught.value.word
        assert [0, 0] == [server.pool.lent for server in origins.groups["shop"].servers]


# -- limits ---------------------------------------------------------------------------------------------------


async def test_open_requests_are_limited_for_the_whole_node_and_the_queue_moves_on(autojump_clock):
    """One request at a time, in whichever worker: the second waits, and is woken when the first ends in the other worker."""
    go_on = trio.Event()

    async def slow(peer):
        while await peer.head():
            await go_on.wait()
            await peer.answer(b"x")

    async with ScriptedOrigin(slow).open() as a:
        shop = Origin("shop", (OriginServer(a.url),), max_requests=1, queue_s=30.0)
        (one, other), bells = node_of({"shop": shop})
        ends = []

        async def ask(origins):
            ends.append((await fetch(origins))[0])

        async def hear():
            await trio.lowlevel.wait_readable(bells.fd(1))
            bells.clear(1)
            other.heard()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, one)
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, other)
            nursery.start_soon(hear)
            await wait_all_tasks_blocked()
            assert (1, 0) == (a.connections, len(ends))
            go_on.set()

    assert [200, 200] == ends


async def test_pending_requests_are_limited_for_the_whole_node(autojump_clock):
    async with ScriptedOrigin(silent).open() as a:
        shop = Origin("shop", (OriginServer(a.url),), max_requests=1, max_pending=1, queue_s=3.0)
        (one, other), _ = node_of({"shop": shop})
        async with one.exchange("shop", request()), trio.open_nursery() as nursery:
            ends = []

            async def wait(origins):
                before = trio.current_time()
                with pytest.raises(EdgeFault) as caught:
                    await fetch(origins)
                ends.append((caught.value.reply, round(trio.current_time() - before)))
                assert 3 == caught.value.retry_after_s

            nursery.start_soon(wait, one)
            await wait_all_tasks_blocked()
            await wait(other)
        assert [(503, 0), (503, 3)] == ends


async def test_when_an_operator_has_taken_everyone_out_nobody_waits():
    async with ScriptedOrigin().open() as a:
        origins = origins_of(a.url)
        origins.groups["shop"].servers[0].health.obey(Order.DISABLED, trio.current_time())
        with pytest.raises(OriginFault) as caught:
            await fetch(origins)

    assert ("destination_unavailable", 503) == (caught.value.word, caught.value.reply)


# -- bound by a cookie ----------------------------------------------------------------------------------------


def cookie_of(set_cookie):
    return [(b"cookie", b"a=b; " + set_cookie.partition(b";")[0])]


async def test_a_client_stays_with_its_server_even_while_that_drains():
    async with ScriptedOrigin(says(b"a")).open() as a, ScriptedOrigin(says(b"b")).open() as b:
        origins = origins_of(a.url, b.url, sticky=Sticky(cookie="srv"))
        first = await fetch(origins)
        bound = cookie_of(first[2].set_cookie())
        again = [await fetch(origins, request(fields=bound)) for _ in range(4)]
        assert {first[1]} == {one[1] for one in again}
        assert {None} == {one[2].set_cookie() for one in again}, "it has its cookie"

        servers = {server.label: server for server in origins.groups["shop"].servers}
        mine = servers[first[2].server]
        mine.health.obey(Order.DRAINING, trio.current_time())
        assert first[1] == (await fetch(origins, request(fields=bound)))[1]
        assert {first[1]} & {(await fetch(origins))[1] for _ in range(4)} == set(), "nobody new comes"

        mine.health.obey(Order.DISABLED, trio.current_time())
        moved = await fetch(origins, request(fields=bound))
        assert moved[1] != first[1]
        assert moved[2].set_cookie() is not None, "it is bound to another now"


async def test_a_forged_cookie_is_like_none():
    async with ScriptedOrigin(polite).open() as a, ScriptedOrigin(polite).open() as b:
        origins = origins_of(a.url, b.url, sticky=Sticky(cookie="srv"))
        found = [await fetch(origins, request(fields=[(b"cookie", b"srv=AAAA")])) for _ in range(2)]

        assert 2 == len({one[2].server for one in found})
        assert all(one[2].set_cookie() for one in found)


# -- what the configuration says of the choice ----------------------------------------------------------------


async def test_a_header_may_be_the_key_and_a_load_may_be_bounded():
    """A user stays with a server; a user whom everybody asks for is spread over both."""
    async with ScriptedOrigin(polite).open() as a, ScriptedOrigin(polite).open() as b:
        keyed = origins_of(a.url, b.url, balance="consistent_hash", hash_key="header:x-user")
        bounded = origins_of(a.url, b.url, balance="consistent_hash", hash_key="header:x-user", bounded_load=1.25)
        ann = [(b"x-user", b"ann")]
        asked = {(await fetch(keyed, request(fields=ann)))[2].server for _ in range(4)}
        others = {(await fetch(keyed, request(fields=[(b"x-user", b"%d" % at)])))[2].server for at in range(20)}
        assert (1, 2) == (len(asked), len(others))

        seen = set()
        for origins, expected in ((keyed, 1), (bounded, 2)):
            seen.clear()
            async with trio.open_nursery() as nursery:
                gate = trio.Event()

                async def hold(origins=origins, gate=gate):
                    async with origins.exchange("shop", request(fields=ann)) as exchange:
                        seen.add(exchange.server)
                        await gate.wait()

                for _ in range(8):
                    nursery.start_soon(hold)
                await wait_all_tasks_blocked()
                while sum(server.pool.lent for server in origins.groups["shop"].servers) < 8:
                    await trio.sleep(0.001)
                gate.set()
            assert expected == len(seen)


async def test_a_backup_is_asked_while_nobody_else_can_be(autojump_clock):
    async with ScriptedOrigin(says(b"a")).open() as a, ScriptedOrigin(says(b"b")).open() as b:
        shop = Origin("shop", (OriginServer(a.url), OriginServer(b.url, backup=True)))
        (one, _), _ = node_of({"shop": shop})
        first = one.groups["shop"].servers[0]
        assert {b"a"} == {(await fetch(one))[1] for _ in range(4)}
        first.health.obey(Order.DISABLED, trio.current_time())
        assert {b"b"} == {(await fetch(one))[1] for _ in range(4)}
        first.health.obey(Order.ENABLED, trio.current_time())
        assert {b"a"} == {(await fetch(one))[1] for _ in range(4)}


async def test_the_quicker_server_gets_more_and_workers_share_what_they_have_measured(autojump_clock):
    async def slow(peer):
        while await peer.head():
            await trio.sleep(1)
            await peer.answer(b"slow")

    async def quick(peer):
        while await peer.head():
            await trio.sleep(0.1)
            await peer.answer(b"quick")

    async with ScriptedOrigin(slow).open() as a, ScriptedOrigin(quick).open() as b:
        shop = Origin("shop", (OriginServer(a.url), OriginServer(b.url)), balance="least_time")
        (one, other), _ = node_of({"shop": shop})
        both = [(await fetch(one))[1] for _ in range(2)]
        told = [(await fetch(other))[1] for _ in range(6)]

    assert {b"slow", b"quick"} == set(both)
    assert [b"quick"] * 6 == told
