"""What would happen to a request: the rules' own answers in words, each with its source, and nothing changed by asking."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from edge.cache.ask import Bypassed
from edge.cache.lookup import Why
from edge.cache.purge import Purge, What
from edge.cache.storing import NUMBER, Unstored
from edge.config.route_rules import (
    RouteLimits,
    RouteMaintenance,
    RouteMirror,
    RouteRedirect,
    RouteRequestHeaders,
    RouteRespond,
    RouteResponseHeaders,
    RouteRewrite,
    RouteTimeouts,
)
from edge.config.tree import CacheConfig, Limits, Listener, Route, RouteCache, Share
from edge.exchange.decision import Answer, Fetch, Serve
from edge.exchange.explain import BYPASSED_BY, STORED_BY, WEIGHED_BY, explain, read_question
from edge.exchange.purging import Misread
from tests.cache import kit
from tests.exchange.kit import FRESH, MIB, TEXT, TEXTUAL, Desk

URL = "https://shop.example/x"


def told(desk, url=URL, **more):
    """Steps as (step, says, source), and the outcome; *more* is of the query, lists where a name is repeated."""
    query = [("url", url)]
    for name, values in more.items():
        query += [(name, value) for value in ([values] if isinstance(values, str) else values)]
    answer = explain(desk.rooms, read_question(query), desk.rooms.now_wall)
    return [(step["step"], step["says"], step["source"]) for step in answer["steps"]], answer["outcome"]


def said(steps, word):
    """The source of the one step that says *word*."""
    found = [source for _, says, source in steps if word in says]
    assert len(found) == 1, steps
    return found[0]


# -- the tables ----------------------------------------------------------------------------------------------


def test_every_reason_has_a_source():
    assert set(Unstored) == STORED_BY.keys()
    assert set(Why) == WEIGHED_BY.keys()
    assert set(Bypassed) == BYPASSED_BY.keys()
    assert all([*STORED_BY.values(), *WEIGHED_BY.values(), *BYPASSED_BY.values()])


# -- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        [],
        [("url", "/x")],
        [("url", URL), ("field", "no colon")],
        [("url", URL), ("field", "X: a\r\nContent-Length: 5")],
        [("url", URL), ("method", "GET /y")],
        [("url", URL), ("field", "not a name: x")],
        [("url", URL), ("reply", ": x")],
        [("url", URL), ("status", "2OO")],
        [("url", URL), ("status", "99")],
        [("url", URL), ("verb", "GET")],
        [("url", URL), ("client", "me")],
    ],
)
def test_what_is_not_understood_is_said(query):
    with pytest.raises(Misread):
        read_question(query)


def test_a_request_the_parser_refuses_is_refused(desk):
    steps, outcome = told(desk, field="Transfer-Encoding: gzip")

    assert outcome.startswith("refused with ")
    assert [("receive", "RFC 9112 §2.2, §3, §5")] == [(step, source) for step, _, source in steps]


def test_a_request_whose_body_is_to_come_is_explained_from_its_head(desk):
    assert "fwd=method: passed on to the origin" == told(desk, method="POST", field="Content-Length: 5")[1]


# -- the doors -----------------------------------------------------------------------------------------------


def test_a_scheme_nobody_listens_to_gets_no_answer(desk):
    assert "no answer" == told(desk, "http://shop.example/x")[1]


def test_a_listener_that_redirects_says_so(folder):
    desk = Desk(None, listeners=(Listener("127.0.0.1:80", redirect="https"),))
    steps, outcome = told(desk, "http://shop.example/x")

    assert "the edge itself answers 308" == outcome
    assert "[[listener]] redirect, RFC 9110 §15.4.9" == said(steps, "sends everybody to https")


@pytest.mark.parametrize(
    ("url", "by", "is_assumed"),
    [
        ("http://shop.example:28080/x", "127.0.0.1:28080", False),
        ("http://shop.example:28081/x", "127.0.0.1:28081", False),
        ("http://shop.example/x", "[::]:80", False),
        ("http://shop.example:8080/x", "systemd:inner", True),
        ("https://shop.example:28443/x", "127.0.0.1:28443", False),
        ("https://shop.example/x", "127.0.0.1:28443", False),  # the only one
        ("https://shop.example:28081/x", "127.0.0.1:28443", True),
    ],
)
def test_the_listener_is_the_one_whose_port_is_named(url, by, is_assumed):
    """Where that cannot be known, it is said which is assumed."""
    plain = ("127.0.0.1:28080", "systemd:inner", "127.0.0.1:28081", "[::]:80")
    listeners = [Listener(each) for each in plain] + [Listener("127.0.0.1:28443", tls=True)]
    steps, _ = told(Desk(None, listeners=tuple(listeners), routes=(Route(None, "/", "shop"),)), url)
    taken = [says for step, says, _ in steps if step == "admit"]

    assert f"taken by {by}" == taken[-1]
    assert is_assumed is any(says.endswith(f": {by} is assumed") for says in taken)


def test_a_listener_that_redirects_does_not_speak_for_its_neighbour():
    listeners = (Listener("127.0.0.1:28080", redirect="https"), Listener("127.0.0.1:28081"))
    desk = Desk(None, listeners=listeners, routes=(Route(None, "/", "shop"),))

    assert "the edge itself answers 308" == told(desk, "http://shop.example:28080/x")[1]
    assert "fwd=uri-miss: fetched, not stored" == told(desk, "http://shop.example:28081/x")[1]


def test_a_host_without_a_route_is_404(desk):
    steps, outcome = told(desk, "https://unknown.example/")

    assert "the edge itself answers 404" == outcome
    assert "[[route]], RFC 9110 §15.5.5" == said(steps, "no route takes it")


def test_a_loop_is_508(desk):
    assert "the edge itself answers 508" == told(desk, field="Via: " + ", ".join(["1.1 edge"] * 9))[1]


def test_an_options_that_goes_no_further_is_204(desk):
    steps, outcome = told(desk, method="OPTIONS", field="Max-Forwards: 0")

    assert "the edge itself answers 204" == outcome
    assert "RFC 9110 §7.6.2" == said(steps, "may go no further")


def test_a_purge_is_explained_and_not_carried_out(folder):
    desk = Desk(folder, cache=CacheConfig(folder, 32 * MIB, MIB, purge_from=(ip_network("0.0.0.0/0"),)))
    desk.keep()

    assert "purge, or 403" == told(desk, method="PURGE")[1]
    assert "purge" == told(desk, method="PURGE", client="127.0.0.1")[1]
    assert isinstance(desk.decide(), Serve)
    desk.close()


@pytest.mark.parametrize(
    ("client", "fields", "outcome"),
    [
        ("192.0.2.1", [], "purge"),
        ("198.51.100.1", [], "the edge itself answers 403"),
        ("198.51.100.1", ["X-Forwarded-For: 192.0.2.1"], "the edge itself answers 403"),
        ("10.0.0.1", ["X-Forwarded-For: 192.0.2.1"], "purge"),
        ("10.0.0.1", [], "the edge itself answers 403"),
    ],
)
def test_a_purge_is_weighed_for_the_client_that_is_named(client, fields, outcome):
    desk = Desk(None, cache=CacheConfig(None, 32 * MIB, MIB, purge_from=(ip_network("192.0.2.0/24"),)))

    assert outcome == told(desk, method="PURGE", client=client, field=fields)[1]


# -- the cache -----------------------------------------------------------------------------------------------


def test_a_hit(desk):
    desk.keep()
    desk.turn(9.5)
    steps, outcome = told(desk)

    assert "hit; ttl=50" == outcome
    assert ["receive", "admit", "route", "key", "select", "weigh", "weigh", "encode"] == [step for step, _, _ in steps]
    assert "RFC 9111 §4.1" == said(steps, "made for a request like this one")
    assert "RFC 9111 §4.2.1, §4.2.2; RFC 9213 §2.2" == said(steps, "the origin gave it a lifetime of 60 s")


def test_a_coding_that_is_still_to_be_made(desk):
    desk.keep(TEXTUAL, TEXT)
    steps, outcome = told(desk, field="Accept-Encoding: br")

    assert "hit; ttl=60, as br" == outcome
    assert "RFC 9110 §12.5.3" == said(steps, "prefers br, which will be made")


@pytest.mark.parametrize(
    ("field", "word", "source"),
    [
        ('If-None-Match: "1"', "304", "RFC 9110 §13.2.2"),
        ("Range: bytes=0-1", "the range is cut", "RFC 9110 §14.2"),
    ],
)
def test_what_the_client_has_or_wants_of_it(desk, field, word, source):
    desk.keep()

    assert source == said(told(desk, field=field)[0], word)


def test_a_miss(desk):
    steps, outcome = told(desk)

    assert "fwd=uri-miss" == outcome
    assert "RFC 9111 §4" == said(steps, "nothing is stored under this key")
    assert "one fetch per key" == said(steps, "others who ask meanwhile share it")


def test_a_copy_for_another_request_says_what_differs(desk):
    desk.keep(FRESH | {"vary": "x-a"})
    steps, outcome = told(desk, field="X-A: 1")

    assert "fwd=vary-miss" == outcome
    assert "RFC 9111 §4.1" == said(steps, "x-a was not sent and is '1'")
    assert "RFC 9111 §4.3.1" == said(steps, 'if-none-match: "1"')


def test_of_several_copies_the_newest_is_chosen(desk):
    desk.keep(FRESH | {"vary": "x-a"})
    desk.turn(2)
    desk.keep(FRESH | {"vary": "x-b"})
    steps, _ = told(desk)

    assert said(steps, "and the most recent of them")
    assert said(steps, "there is a more recent one")


@pytest.mark.parametrize(
    ("control", "after_s", "field", "why"),
    [
        ("max-age=60", 61, [], Why.EXPIRED),
        ("max-age=60, no-cache", 0, [], Why.NO_CACHE),
        ("max-age=60", 0, ["Cache-Control: no-cache"], Why.REQUEST_NO_CACHE),
        ("max-age=60", 9, ["Cache-Control: max-age=5"], Why.REQUEST_MAX_AGE),
        ("max-age=60", 9, ["Cache-Control: min-fresh=55"], Why.REQUEST_MIN_FRESH),
    ],
)
def test_why_a_copy_may_not_simply_be_used(desk, control, after_s, field, why):
    desk.keep(FRESH | {"cache-control": control})
    desk.turn(after_s)
    steps, outcome = told(desk, field=field)

    assert WEIGHED_BY[why] == said(steps, f"may not simply be used: {why.value}")
    assert outcome in {"fwd=stale", "fwd=request"}


def test_a_copy_that_was_invalidated(desk):
    copy = desk.keep()
    desk.store.mark_stale(copy.key, desk.clock.wall())
    steps, _ = told(desk)

    assert WEIGHED_BY[Why.INVALIDATED] == said([step for step in steps if step[0] == "weigh"], "invalidated")
    assert said([step for step in steps if step[0] == "store"], "it was purged or invalidated")


def test_stale_use_is_explained(desk):
    desk.keep(FRESH | {"cache-control": "max-age=60, stale-while-revalidate=30, stale-if-error=90"})
    desk.turn(70)
    steps, outcome = told(desk)

    assert "hit, stale; refreshed behind" == outcome
    assert "RFC 5861 §3" == said(steps, "may be used while it is refreshed")
    assert "RFC 5861 §4" == said(steps, "500, 502, 503 or 504")
    assert "RFC 9111 §4.2.4" == said(steps, "cannot be reached")


def test_a_stale_copy_that_the_client_allows(desk):
    desk.keep()
    desk.turn(70)
    steps, outcome = told(desk, field="Cache-Control: max-stale=60")

    assert "hit; ttl=-10" == outcome
    assert "RFC 9111 §5.2.1.2" == said(steps, "which the client allows")


def test_only_if_cached(desk):
    assert "the edge itself answers 504" == told(desk, field="Cache-Control: only-if-cached")[1]


@pytest.mark.parametrize(
    ("more", "source"),
    [
        ({"method": "DELETE"}, BYPASSED_BY[Bypassed.METHOD]),
        ({"field": "Content-Length: 4"}, BYPASSED_BY[Bypassed.REQUEST_BODY]),
        ({"field": ["Connection: upgrade", "Upgrade: foo"], "method": "HEAD"}, BYPASSED_BY[Bypassed.UPGRADE]),
    ],
)
def test_what_is_none_of_the_caches_business(desk, more, source):
    assert source == said(told(desk, **more)[0], "the cache is not asked")


def test_a_tunnel(desk):
    assert "a tunnel to the origin, if it agrees" == told(desk, field=["Connection: upgrade", "Upgrade: websocket"])[1]


def test_a_condition_on_the_origins_state_is_the_origins(desk):
    desk.keep()
    steps, outcome = told(desk, field='If-Match: "1"')

    assert "fwd=request: passed on to the origin" == outcome
    assert "RFC 9111 §4.3.2" == said(steps, "the origin's to weigh")


def test_without_a_cache_everything_is_fetched(bare):
    assert "fwd=uri-miss: fetched, not stored" == told(bare)[1]


def test_a_request_that_must_not_be_stored_is_passed_on(desk):
    steps, _ = told(desk, field="Cache-Control: no-store")

    assert said(steps, "for this client alone")


def test_a_routes_own_rules_are_named(folder):
    routes = (Route("shop.example", "/", "shop", RouteCache(query="none", key_headers=("x-shop",))),)
    desk = Desk(folder, routes=routes)
    steps, _ = told(desk, URL + "?utm=1")

    assert "[route.cache]" == said(steps, "rules of its own")
    assert "[route.cache] query" == said(steps, "the origin is asked for /x instead")
    assert "[route.cache] key_headers, key_cookies" == said(steps, "told apart by x-shop")
    desk.close()


# -- routes -----------------------------------------------------------------------------------------------------

NEAR, FAR = ip_network("192.0.2.0/24"), ip_network("198.51.100.0/24")


def test_the_routes_that_are_not_taken_are_told_with_why_not(folder):
    routes = (
        Route("shop.example", "/", "shop", methods=("POST",), name="writers"),
        Route("shop.example", "/", "shop", headers=(("x-beta", "1"),)),
        Route("shop.example", "/", "shop", networks=(FAR,)),
        Route("shop.example", "/", "shop", networks=(NEAR,), order=1),
        Route("shop.example", "/", "shop"),
    )
    desk = Desk(folder, routes=routes)
    steps, _ = told(desk, client="192.0.2.1")

    assert "[[route]] methods" == said(steps, "not by writers (host shop.example, path /, methods POST): methods")
    assert "[[route]] headers" == said(steps, "header x-beta: 1: headers: x-beta")
    assert "[[route]] networks" == said(steps, "192.0.2.1 is not there")
    assert said(steps, "networks 192.0.2.0/24: to origin shop").startswith("[[route]]: the most specific")
    assert [] == [says for _, says, _ in told(desk, client="203.0.113.1")[0] if "192.0.2.0/24: to origin" in says]
    desk.close()


def test_which_way_a_client_is_split_to_is_told(folder):
    desk = Desk(folder, routes=(Route("shop.example", "/", split=(Share("shop"),), split_by="header:x-user"),))

    assert "[[route]] split" == said(
        told(desk, field="X-User: 1")[0], "(shop 1), by header:x-user: this one goes to shop"
    )
    desk.close()


def test_a_path_with_two_readings_is_told(folder):
    desk = Desk(folder, routes=(Route("shop.example", "/", "shop"), Route("shop.example", "/a", "shop")))
    steps, outcome = told(desk, URL + "/../a")

    assert said(steps, "read as /x/../a and as /a, which are on different routes: 400")
    assert "the edge itself answers 400" == outcome
    desk.close()


def test_a_path_with_a_nul_is_told(desk):
    steps, outcome = told(desk, URL + "%00")

    assert said(steps, "has a NUL (%00)")
    assert "the edge itself answers 400" == outcome


RULES = [
    ({"maintenance": RouteMaintenance(enabled=True)}, "closed, but for nobody: 503", "[route.maintenance]", "503"),
    ({"redirect": RouteRedirect("/y")}, "to /y: 307", "[route.redirect]", "307"),
    ({"respond": RouteRespond(200, "hello")}, "same answer to all: 200, 5 bytes", "[route.respond]", "200"),
    ({"limits": RouteLimits(header_bytes=64)}, "longer than 64 bytes: 431", "[route.limits] headers", "431"),
    ({"rewrite": RouteRewrite(prefix="/v2")}, "is asked for /v2/x; copies", "[route.rewrite]", ""),
    ({"rewrite": RouteRewrite(pattern="/y", to="/z")}, "stays as it is; copies", "[route.rewrite]", ""),
    ({"request_headers": RouteRequestHeaders((("a", "b"),))}, "is sent a: b", "[route.request_headers]", ""),
    ({"response_headers": RouteResponseHeaders(remove=("a",))}, "leaves with no a", "[route.response_headers]", ""),
    ({"timeouts": RouteTimeouts(total_s=2.5)}, "has 2.5 s for all", "[route.timeouts]", ""),
    ({"limits": RouteLimits(body_bytes=9)}, "may have 9 bytes", "[route.limits] body, [limits] body", ""),
    ({"mirror": RouteMirror("shop", 5.0)}, "shop hears 5 %", "[route.mirror]", ""),
]


@pytest.mark.parametrize(("rules", "says", "source", "answers"), RULES)
def test_what_is_ruled_for_a_route_is_told(folder, rules, says, source, answers):
    desk = Desk(folder, routes=(Route("shop.example", "/", "shop", **rules),))
    steps, outcome = told(desk, field=f"X-Long: {'y' * 80}" if answers == "431" else "Accept: */*")

    assert source == said(steps, says)
    assert (f"the edge itself answers {answers}" == outcome) == bool(answers)
    desk.close()


def test_a_path_that_would_climb_and_a_body_that_is_too_long_are_told(folder):
    routes = (Route("shop.example", "/", "shop", rewrite=RouteRewrite(prefix="/v2"), limits=RouteLimits(body_bytes=4)),)
    desk = Desk(folder, routes=routes, limits=Limits(body_bytes=64))

    assert "[route.rewrite]" == said(told(desk, URL + "/../y")[0], "dot segments")
    assert said(told(desk, method="POST", field="Content-Length: 5")[0], "longer than 4 bytes: 413")
    desk.close()


# -- what was, and what is under way -------------------------------------------------------------------------


def test_why_the_latest_reply_was_not_stored(desk):
    desk.shunned.note(kit.ask().hash, NUMBER[Unstored.PRIVATE], desk.rooms.now_s)
    desk.shunned.shun(kit.ask().hash, desk.rooms.now_s + 120)
    steps, _ = told(desk)

    assert "RFC 9111 §5.2.2.7" == said(steps, "GMT, was not: private")
    assert "hit-for-miss" == said(steps, "nobody waits for another's")


def test_a_purge_not_long_ago(desk):
    desk.store.delete(kit.ask().key, desk.clock.wall())

    assert said(told(desk)[0], "it was purged or invalidated at")


def test_a_fetch_under_way_is_joined(desk):
    fill = desk.store.begin_fill(kit.stored(FRESH))
    fill.append(b"1234")

    assert "one fetch per key" == said(told(desk)[0], "4 bytes have landed: we join")


# -- a reply -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        (["Cache-Control: no-store"], "200", Unstored.NO_STORE),
        (["Cache-Control: private, max-age=5"], "200", Unstored.PRIVATE),
        (["Vary: *", "Cache-Control: max-age=5"], "200", Unstored.VARY_STAR),
        (["ETag: x"], "200", Unstored.NO_FRESHNESS),
        (["X: y"], "500", Unstored.STATUS),
        (["Cache-Control: max-age=5"], "206", Unstored.PARTIAL),
        (["Cache-Control: max-age=5", "Content-Length: 999999999"], "200", Unstored.TOO_LARGE),
    ],
)
def test_why_a_reply_would_not_be_stored(desk, reply, status, reason):
    steps, _ = told(desk, reply=reply, status=status)

    assert STORED_BY[reason] == said(steps, f"such a reply is not stored: {reason.value}")


def test_a_reply_that_would_be_stored(desk):
    steps, _ = told(desk, reply=["Cache-Control: max-age=60", "Age: 20", "Vary: X-A"])

    assert "RFC 9111 §3" == said(steps, "is stored, fresh for 40 s")
    assert "RFC 9111 §4.1" == said(steps, "with the same x-a")


def test_a_reply_whose_lifetime_is_guessed(desk):
    steps, _ = told(desk, reply=["Last-Modified: Tue, 01 Sep 2026 10:00:00 GMT"])

    assert "RFC 9111 §4.2.2" == said(steps, "guessed")


def test_a_targeted_field_speaks_to_us(desk):
    steps, _ = told(desk, reply=["CDN-Cache-Control: max-age=7", "Cache-Control: no-store", "Vary: Accept-Encoding"])

    assert "RFC 9213 §2.2" == said(steps, "CDN-Cache-Control speaks to us")
    assert said(steps, "fresh for 7 s")


def test_without_a_cache_no_reply_is_stored(bare):
    assert STORED_BY[Unstored.OFF] == said(told(bare, reply="Cache-Control: max-age=9")[0], "not stored: off")


# -- the proof of it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"cache-control": "no-cache"}, {"cache-control": "only-if-cached"}])
@pytest.mark.parametrize("after_s", [0, 61, 200])
@pytest.mark.parametrize("control", ["max-age=60", "max-age=60, stale-while-revalidate=30", "no-cache"])
def test_what_is_explained_is_what_is_decided(desk, fields, after_s, control):
    desk.keep(FRESH | {"cache-control": control})
    desk.turn(after_s)
    _, outcome = told(desk, field=[f"{name}: {value}" for name, value in fields.items()])
    decision = desk.decide(fields=fields)

    match decision:
        case Answer():
            assert f"the edge itself answers {decision.head.status}" == outcome
        case Fetch():
            assert f"fwd={decision.fwd.value}" == outcome
        case Serve():
            assert outcome.startswith("hit; ")
        case _:
            assert "hit, stale; refreshed behind" == outcome


def test_nothing_is_changed_by_asking(desk):
    copy = desk.keep(FRESH | {"cache-tag": "t"})
    desk.store.purge(Purge(What.TAG, b"other", desk.clock.wall() - 5))
    before = (desk.recency.read(copy.copy_id), bytes(desk.stamps.words), bytes(desk.shunned.page.words), desk.cells[:])
    desk.turn(30)
    for method in ("GET", "HEAD", "POST", "DELETE", "PURGE"):
        told(desk, method=method, reply="Cache-Control: max-age=5")
        told(desk, "https://shop.example/never", method=method)

    assert before == (
        desk.recency.read(copy.copy_id),
        bytes(desk.stamps.words),
        bytes(desk.shunned.page.words),
        desk.cells[:],
    )
    assert [copy] == desk.store.copies(copy.key)
    assert 0 == desk.rooms.memory.used


# -- parts ---------------------------------------------------------------------------------------------------


def test_a_range_of_what_is_not_stored_is_asked_for_in_slices(desk):
    steps, outcome = told(desk, field="Range: bytes=2000000-2000009")

    assert "RFC 9110 §14.2, [route.cache] parts" == said(steps, "only the bytes 1048560-2097119")
    assert "fwd=uri-miss" == outcome


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"field": "Range: bytes=0-9"}, "hit, from the parts that are stored"),
        ({"field": "Range: bytes=0-9, 4080-4090"}, "fwd=partial"),
        ({}, "fwd=partial"),
        ({"method": "HEAD"}, "hit, from the parts that are stored"),
        ({"field": "Range: bytes=20000-"}, "hit; there are no such bytes: 416"),
    ],
)
def test_what_is_stored_in_part_answers_what_is_there(desk, more, outcome):
    parts = desk.rooms.parts
    parts.land(parts.begin(kit.stored(FRESH, length=20_000)), 0, bytes(4080), kit.NOW)
    steps, ended = told(desk, **more)

    assert "RFC 9111 §3.3" == said(steps, "4080 of its 20000 bytes are stored")
    assert outcome == ended
