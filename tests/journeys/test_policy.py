"""Operators' policy functions, told as journeys: what they see, what becomes of what they say, and of what they fail on."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import trio

from edge.config.tree import Origin as OriginConfig
from edge.config.tree import OriginServer, Route
from edge.message.dates import parse_date
from edge.observe import names
from edge.observe.error_log import SELDOM_CAUSES
from tests.kit.origin import Origin, reply

PAGE = reply(body=b"page", cache_control="public, max-age=60")


class Rules:
    """A module of an operator's, in memory: its functions may be changed while it is used."""

    def __init__(self) -> None:
        self.seen = []
        self.go_on = threading.Event()

    def install(self, monkeypatch, function) -> str:
        from types import ModuleType

        module = ModuleType("rules_of_a_test")

        def rule(request):
            self.seen.append(request)
            return function(request)

        module.rule = rule
        monkeypatch.setitem(sys.modules, "rules_of_a_test", module)
        return "rules_of_a_test:rule"


@pytest.fixture
def rules():
    made = Rules()
    yield made
    made.go_on.set()


def routes(policy: str, **more) -> tuple[Route, ...]:
    return (Route(None, "/free", "shop"), Route(None, "/", "shop", policy=policy, name="ruled", **more))


async def test_a_function_sees_the_head_and_lets_it_pass(edge_at, tmp_path: Path, monkeypatch, rules) -> None:
    """Also where the cache has the reply; and not where another route is taken."""
    from edge.policy.verdict import Pass

    name = rules.install(monkeypatch, lambda _: Pass())
    origin = Origin({b"/a?b=1": PAGE, b"/free": PAGE})
    async with edge_at(tmp_path, origin=origin, routes=routes(name)) as edge:
        client = await edge.client()
        first = await client.get("/a?b=1", X_One="1")
        second = await client.get("/a?b=1", X_One="1")
        await client.get("/free")

        assert (2, 0) == (edge.count(names.POLICIES["passed"]), edge.count(names.POLICIES["failed"]))
    assert [b"page", b"page"] == [first.body, second.body]
    assert second.get(b"cache-status").startswith(b"edge; hit")
    assert 2 == len(rules.seen)
    seen = rules.seen[0]
    assert ("GET", "http", "shop.example", "/a", "b=1") == (
        seen.method, seen.scheme, seen.host, seen.path, seen.query
    )  # fmt: skip
    assert ("192.0.2.7", "ruled", "1") == (seen.client, seen.route, seen.header("x-one"))


async def test_a_function_may_answer(edge_at, tmp_path: Path, monkeypatch, rules) -> None:
    """To HEAD without the body; and nobody keeps it."""
    from edge.policy.verdict import Respond

    name = rules.install(monkeypatch, lambda _: Respond(403, "closed", {"X-Why": "late"}))
    origin = Origin({b"/": PAGE})
    async with edge_at(tmp_path, origin=origin, routes=routes(name)) as edge:
        client = await edge.client()
        got = await client.get("/")
        head = await client.get("/", method="HEAD")

        assert 2 == edge.count(names.POLICIES["answered"])
    assert (403, b"closed", b"late", b"no-store") == (
        got.status, got.body, got.get(b"x-why"), got.get(b"cache-control")
    )  # fmt: skip
    assert (403, b"", b"6") == (head.status, head.body, head.get(b"content-length"))
    assert parse_date(got.get(b"date")) is not None  # RFC 9110 §6.6.1
    assert [] == origin.asked


async def test_a_function_changes_what_the_origin_is_told_and_the_cache_knows(
    edge_at, tmp_path: Path, monkeypatch, rules
) -> None:
    """A copy for one audience is not another's, where the origin says that it varies by it; the client's own word is taken off."""
    from edge.policy.verdict import Pass

    name = rules.install(
        monkeypatch,
        lambda request: Pass(set_headers={"X-Audience": request.header("x-beta") or "all"}, remove_headers=("Cookie",)),
    )
    page = reply(body=b"page", cache_control="public, max-age=60", vary="X-Audience")
    origin = Origin({b"/": page})
    async with edge_at(tmp_path, origin=origin, routes=routes(name)) as edge:
        client = await edge.client()
        for beta in ("1", "2", "1"):
            await client.get("/", X_Beta=beta, X_Audience="forged", Cookie="a=1")

    assert [b"1", b"2"] == [asked.get(b"x-audience") for asked in origin.asked]
    assert [None, None] == [asked.get(b"cookie") for asked in origin.asked]


async def test_a_reply_is_kept_only_where_its_origin_says_that_it_is_for_all(
    edge_at, tmp_path: Path, monkeypatch, rules
) -> None:
    """The function may go by whatever it likes, of which the cache knows nothing."""
    from edge.policy.verdict import Pass

    name = rules.install(monkeypatch, lambda request: Pass(set_headers={"X-Tier": request.header("x-tier") or ""}))
    origin = Origin({b"/": reply(body=b"page", cache_control="max-age=60")})
    async with edge_at(tmp_path, origin=origin, routes=routes(name)) as edge:
        client = await edge.client()
        for tier in ("1", "2"):
            await client.get("/", X_Tier=tier)

    assert [b"1", b"2"] == [asked.get(b"x-tier") for asked in origin.asked]


async def test_another_origin_is_asked_past_the_cache(edge_at, tmp_path: Path, monkeypatch, rules) -> None:
    """What it says is never given to those who were not sent there, nor the other way round."""
    from edge.policy.verdict import Pass

    name = rules.install(monkeypatch, lambda request: Pass(origin="beta" if request.header("x-beta") else None))
    origin, other = Origin({b"/": PAGE}), Origin({b"/": reply(body=b"beta", cache_control="public, max-age=60")})
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.serve)
        await nursery.start(other.serve)
        origins = {
            name: OriginConfig(name, (OriginServer(f"http://127.0.0.1:{one.port}"),))
            for name, one in (("shop", origin), ("beta", other))
        }
        async with edge_at(tmp_path, origin=origin, origins=origins, routes=routes(name)) as edge:
            client = await edge.client()
            said = [(await client.get("/", **fields)).body for fields in ({"X_Beta": "1"}, {}, {"X_Beta": "1"}, {})]
        nursery.cancel_scope.cancel()

    assert [b"beta", b"page", b"beta", b"page"] == said
    assert (1, 2) == (len(origin.asked), len(other.asked))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero in"),
        (lambda _: None, "it returned NoneType"),
        (
            lambda _: __import__("edge.policy.verdict").policy.verdict.Pass(origin="nowhere"),
            "there is no origin 'nowhere'",
        ),
        (lambda _: sys.exit(1), f"it raised SystemExit in {__file__}:"),
    ],
    ids=["raises", "says-nothing", "unknown-origin", "exits"],
)
async def test_a_function_that_fails_is_a_500_and_told(
    edge_at, tmp_path: Path, monkeypatch, rules, caplog, function, why
) -> None:
    """It costs its own request, and is said once a minute."""
    name = rules.install(monkeypatch, function)
    async with edge_at(tmp_path, origin=Origin({b"/free": PAGE}), routes=routes(name)) as edge:
        client = await edge.client()
        got = [(await client.get("/")).status for _ in range(2)]
        free = await client.get("/free")
        entries = await edge.settled(3)

        assert 2 == edge.count(names.POLICIES["failed"])
        assert 0 == edge.count(names.BUGS)
    assert ([500, 500], 200) == (got, free.status)
    told = [
        record.getMessage() for record in caplog.records if "policy rules_of_a_test:rule failed" in record.getMessage()
    ]
    assert 1 == len(told)
    assert why in told[0]
    assert why in entries[0][13]


async def test_a_function_that_fails_in_several_ways_is_told_of_each(
    edge_at, tmp_path: Path, monkeypatch, rules, caplog
) -> None:
    """Once a minute each; and a client that makes the cause another every time fills no log."""
    ways = {"/key": lambda: {}["x"], "/zero": lambda: 1 / 0, "/name": lambda: int("x")}

    def fails(request):
        if request.path in ways:
            ways[request.path]()
        raise ValueError(request.path)

    name = rules.install(monkeypatch, fails)
    async with edge_at(tmp_path, origin=Origin({}), routes=routes(name)) as edge:
        client = await edge.client()
        for path in (*ways, *ways):
            await client.get(path)
        each = [line for line in caplog.messages if "policy rules_of_a_test:rule failed" in line]
        for number in range(50):
            await client.get(f"/{number}")
    told = [line for line in caplog.messages if "policy rules_of_a_test:rule failed" in line]

    assert ["KeyError", "ZeroDivisionError", "ValueError"] == [line.split("failed: ")[1].split(":")[0] for line in each]
    assert SELDOM_CAUSES == len(told)


async def test_functions_that_hang_hold_threads_and_nothing_else(edge_at, tmp_path: Path, monkeypatch, rules) -> None:
    """Refused when their time is over; hits and other routes go on; once they end, all is as before."""
    from edge.policy.verdict import Pass
    from edge.worker.admitting import PROGRAMS

    def hangs(request):
        if request.path == "/hang":
            rules.go_on.wait(20)
        return Pass()

    name = rules.install(monkeypatch, hangs)
    origin = Origin({b"/free": PAGE, b"/": PAGE})
    async with edge_at(tmp_path, origin=origin, routes=routes(name, policy_timeout_s=0.2)) as edge:
        clients = [await edge.client() for _ in range(PROGRAMS)]
        for client in clients:
            await client.ask("/hang")
        with trio.fail_after(10):
            late = [await client.reply() for client in clients]
            client = await edge.client()
            refused = await client.get("/")
            free = await client.get("/free")
            rules.go_on.set()
            while (again := await client.get("/")).status != 200:
                await trio.sleep(0.01)

        assert PROGRAMS <= edge.count(names.POLICIES["late"])
    assert {503} == {one.status for one in late}
    assert b"1" == late[0].get(b"retry-after")
    assert (503, 200, b"page") == (refused.status, free.status, again.body)


async def settled(edge) -> None:
    """Wait until no call goes on beyond its time."""
    with trio.fail_after(10):
        while edge.count(names.POLICY_OVERRUNS):
            await trio.sleep(0.01)


@pytest.mark.parametrize("swallows", [None, "an Exception", "whatever, once"])
async def test_a_function_that_computes_for_ever_is_ended(
    edge_at, tmp_path: Path, monkeypatch, rules, swallows: str | None
) -> None:
    """Its request is refused in time, others are answered meanwhile, and its thread serves others then."""
    from edge.policy.verdict import Pass

    struck = []

    def spins(request):
        while request.path == "/spin":
            try:
                while True:
                    pass
            except BaseException as error:
                struck.append(error)
                may_swallow = isinstance(error, Exception) if swallows != "whatever, once" else len(struck) < 2
                if swallows is None or not may_swallow:
                    raise
        return Pass()

    name = rules.install(monkeypatch, spins)
    origin = Origin({b"/free": PAGE, b"/": PAGE})
    async with edge_at(tmp_path, origin=origin, routes=routes(name, policy_timeout_s=0.3)) as edge:
        spinning, other = await edge.client(), await edge.client()
        await spinning.ask("/spin")
        with trio.fail_after(10):
            while not rules.seen:
                await trio.sleep(0)
            free = await other.get("/free")
            refused = await spinning.reply()
        while not struck:
            await trio.sleep(0.01)
        await settled(edge)
        calls = len(rules.seen)
        after = {(await other.get("/")).status for _ in range(40)}

        assert 1 == edge.count(names.POLICIES["late"])
        assert 0 == edge.count(names.BUGS)
        assert 40 == len(rules.seen) - calls
    assert (503, 200, {200}) == (refused.status, free.status, after)
    assert ["OutOfTime"] * (2 if swallows == "whatever, once" else 1) == [type(error).__name__ for error in struck]


async def test_what_computes_gives_others_their_turn_soon(edge_at, tmp_path: Path, monkeypatch, rules) -> None:
    """Where there are functions, and only there: sixteen that compute would have a hit wait for many turns of theirs."""
    from edge.policy.verdict import Pass
    from edge.worker.overrun import TURN_S

    turns_s = []

    def looks(_):
        turns_s.append(sys.getswitchinterval())
        return Pass()

    name = rules.install(monkeypatch, looks)
    before_s = sys.getswitchinterval()
    async with edge_at(tmp_path / "with", origin=Origin({b"/": PAGE}), routes=routes(name)) as edge:
        await (await edge.client()).get("/")
    async with edge_at(tmp_path / "without", origin=Origin({b"/": PAGE}), routes=(Route(None, "/", "shop"),)) as edge:
        await (await edge.client()).get("/")
        turns_s.append(sys.getswitchinterval())

    assert [pytest.approx(TURN_S), before_s] == turns_s


async def test_a_function_that_keeps_too_many_threads_is_refused_at_once(
    edge_at, tmp_path: Path, monkeypatch, rules
) -> None:
    """Without waiting for its time to be over; other functions have the rest of the threads."""
    from edge.policy.verdict import Pass
    from edge.worker.overrun import MOST

    def waits(request):
        rules.go_on.wait(20)  # in C: no exception reaches it
        return Pass()

    name = rules.install(monkeypatch, waits)
    sys.modules["rules_of_a_test"].other = lambda _: Pass()
    both = (
        Route(None, "/well", "shop", policy="rules_of_a_test:other"),
        Route(None, "/", "shop", policy=name, policy_timeout_s=0.2),
    )
    origin = Origin({b"/well": PAGE, b"/": PAGE})
    async with edge_at(tmp_path, origin=origin, routes=both) as edge:
        clients = [await edge.client() for _ in range(MOST)]
        for client in clients:
            await client.ask("/")
        with trio.fail_after(10):
            late = {(await client.reply()).status for client in clients}
            while edge.count(names.POLICY_OVERRUNS) < MOST:
                await trio.sleep(0.01)
            calls = len(rules.seen)
            refused = await clients[0].get("/")
            well = await clients[0].get("/well")

            assert 1 == edge.count(names.POLICIES["busy"])
            assert 0 == len(rules.seen) - calls
            rules.go_on.set()
            await settled(edge)
            again = await clients[0].get("/")
    assert ({503}, 503, b"1", 200, 200) == (
        late, refused.status, refused.get(b"retry-after"), well.status, again.status
    )  # fmt: skip


async def test_what_another_origin_answers_to_a_post_is_in_nobodys_cache(
    edge_at, tmp_path: Path, monkeypatch, rules
) -> None:
    """Not even where it says that it is the page itself: the page is another origin's."""
    from edge.policy.verdict import Pass

    name = rules.install(monkeypatch, lambda request: Pass(origin="beta" if request.method == "POST" else None))
    said = reply(body=b"of beta", cache_control="public, max-age=60", content_location="/page")
    beta, shop = Origin({b"/page": said}), Origin({b"/page": PAGE})
    async with trio.open_nursery() as nursery:
        for origin in (beta, shop):
            await nursery.start(origin.serve)
        origins = {
            which: OriginConfig(which, (OriginServer(f"http://127.0.0.1:{origin.port}"),))
            for which, origin in (("shop", shop), ("beta", beta))
        }
        async with edge_at(tmp_path, origin=shop, origins=origins, routes=routes(name)) as edge:
            client = await edge.client()
            posted = await client.get("/page", method="POST", Content_Length="0")
            got = await client.get("/page")
        nursery.cancel_scope.cancel()
    assert (b"of beta", b"page") == (posted.body, got.body)
