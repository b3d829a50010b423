"""What an operator's rules make of requests and lifetimes, in values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.ask import Bypassed, ask_of
from edge.cache.copy import Copy
from edge.cache.freshness import Basis
from edge.cache.key import key_of
from edge.cache.policy import RULED_STATUSES, RoutePolicy, Stopping
from edge.cache.refresh import Refreshed, refresh
from edge.cache.storing import NotStored, may_store
from tests.cache import kit
from tests.cache.kit import NOW, head, reply

EXPLICIT, HEURISTIC, NONE = Basis


def asked(policy, target="/x", method="GET", fields={}):
    sent = head(target, method, fields)
    return ask_of(policy.asked(sent), kit.PREFERENCE, policy, policy.bypass(sent))


def drafted(policy, said, status=200, **more):
    """What a reply with this Cache-Control becomes; its word if it is not kept."""
    fields = {"cache-control": said, **more} if said else more
    made = may_store(asked(policy), reply(status, fields), request_wall=NOW, response_wall=NOW)
    return made.reason.value if isinstance(made, NotStored) else made


# -- targets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "target", "expected"),
    [
        ({}, b"/a?b&a", b"/a?b&a"),
        ({}, b"/a?", b"/a?"),
        ({"has_query": False}, b"/a", b"/a"),
        ({"has_query": False}, b"/a?b?c", b"/a"),
        ({"query_keep": [b"a"]}, b"/?a=1&b=2&a=3&aa", b"/?a=1&a=3"),
        ({"query_keep": [b"a*"]}, b"/?aa&b&a", b"/?aa&a"),
        ({"query_keep": [b"a"]}, b"/?b", b"/"),
        ({"query_drop": [b"utm_*"]}, b"/?utm_a=1&x&utm_", b"/?x"),
        ({"query_drop": [b"utm_*"]}, b"/?x&autm_a", b"/?x&autm_a"),
        ({"query_drop": [b"A"]}, b"/?a", b"/?a"),  # case counts
        ({"query_drop": [b"a.c"]}, b"/?abc", b"/?abc"),  # and nothing but a closing star is a pattern
        ({"query_keep": [b"a*"], "query_drop": [b"ab"]}, b"/?a&ab&c", b"/?a"),
        ({"query_sort": True}, b"/?b=1&a=2&b=0", b"/?a=2&b=1&b=0"),
        ({"query_sort": True}, b"/?", b"/"),
        ({"query_sort": True}, b"/?&b&&a&", b"/?a&b"),
        ({"query_drop": [b"a b"]}, b"/?a+b&a%20b=1&a%2Bb", b"/?a%2Bb"),
        ({"query_keep": [b"id"]}, b"/?%69d=%6a", b"/?%69d=%6a"),  # what stays, stays as it was sent
        ({"query_drop": [b"*"]}, b"/?a&b", b"/"),
        ({"has_query": False}, b"*", b"*"),
    ],
)
def test_a_target_keeps_what_counts(rules, target, expected):
    assert expected == RoutePolicy(**rules).target(target)


RULES = st.fixed_dictionaries(
    {
        "has_query": st.booleans(),
        "query_keep": st.lists(st.sampled_from([b"a", b"a*", b"b"]), max_size=2),
        "query_drop": st.lists(st.sampled_from([b"ab", b"b*", b"%"]), max_size=2),
        "query_sort": st.booleans(),
    }
)


@given(RULES, st.lists(st.sampled_from(["a", "b", "c", "=", "&", "%", "6", "1", ";", "?", "+"])))
def test_a_target_is_brought_to_its_form_at_once(rules, signs):
    """Asked again with what the origin was asked, the key is the same."""
    policy = RoutePolicy(**rules)
    once = policy.target(b"/?" + "".join(signs).encode())

    assert once == policy.target(once)


# -- requests ---------------------------------------------------------------------------------------------------


def test_a_request_with_nothing_to_leave_out_stays_the_same_object():
    sent = head("/a?b", fields={"cookie": "a=b"})

    assert sent is RoutePolicy(query_sort=True).asked(sent)


def test_what_is_asked_is_like_what_was_sent_but_for_what_does_not_count():
    sent = head("/a?utm_x", fields=[("accept", "*/*"), ("cookie", "a=b"), ("x-a", "1")])
    policy = RoutePolicy(query_drop=[b"utm_*"], strip_cookies=True)

    got = policy.asked(sent)

    assert (b"/a", [(b"accept", b"*/*"), (b"x-a", b"1")]) == (got.target, got.fields)
    assert {b"accept": b"*/*", b"x-a": b"1"} == got.index
    assert (sent.method, sent.authority, None) == (got.method, got.authority, got.known)


@pytest.mark.parametrize(
    ("lines", "strips", "expected"),
    [
        (["a=1; lang=de; lang=en;b"], True, b"lang=de; lang=en"),
        (["a=1", "lang=de"], True, b"lang=de"),
        (["a=1", "lang=de"], False, b"a=1; lang=de"),
        (["Lang=de"], True, None),
        (["lang =de"], True, b"lang =de"),
        (["lang=de,a=1"], True, b"lang=de,a=1"),  # whoever cuts at commas finds in it what is keyed
        (["lang"], True, b"lang"),
        (["; ;"], True, None),
    ],
)
def test_keyed_cookies_stay_on_one_line(lines, strips, expected):
    policy = RoutePolicy(key_cookies=[b"lang"], strip_cookies=strips)

    assert expected == policy.asked(head(fields=[("cookie", line) for line in lines])).get(b"cookie")


def test_copies_are_told_apart_by_what_the_operator_names_beside_vary():
    policy = RoutePolicy(key_headers=[b"x-a"], key_cookies=[b"lang"])
    here = asked(policy, fields={"cookie": "lang=de", "x-b": "1"})
    copy = may_store(here, reply(fields={"cache-control": "max-age=9", "vary": "x-b"}), request_wall=0, response_wall=0)

    assert isinstance(copy, Copy)
    assert ((b"cookie:lang", b"lang=de"), (b"x-a", None), (b"x-b", b"1")) == copy.vary


def test_a_long_cookie_is_told_apart_by_its_digest():
    policy = RoutePolicy(key_cookies=[b"lang"])
    long = asked(policy, fields={"cookie": "lang=" + "x" * 500}).selecting(b"cookie:lang")
    other = asked(policy, fields={"cookie": "lang=" + "x" * 501}).selecting(b"cookie:lang")

    assert long is not None
    assert len(long) < 100
    assert long != other


def test_the_key_is_the_plain_one_unless_copies_are_told_apart_otherwise():
    """So that a changed rule for what is told apart never finds copies that were not."""
    address = (b"https", b"h", b"/a")

    assert key_of(*address) == RoutePolicy(ttl_s=1.0).key(*address)
    keys = {RoutePolicy(key_headers=names).key(*address) for names in ([], [b"a"], [b"a", b"b"], [b"ab"])}
    assert 4 == len(keys)
    assert RoutePolicy(key_headers=[b"b", b"a"]).key(*address) in keys


def test_every_method_has_the_key_of_the_address_without_what_does_not_count():
    policy = RoutePolicy(query_drop=[b"utm_*"])

    keys = {asked(policy, target, method).key for target in ("/x?utm_a", "/x") for method in ("GET", "HEAD", "POST")}

    assert 1 == len(keys)


@pytest.mark.parametrize(
    ("rules", "fields", "reason"),
    [
        ({"is_on": False}, {}, Bypassed.ROUTE_OFF),
        ({"bypass_headers": [b"x-a"]}, {"x-a": ""}, Bypassed.ROUTE_HEADER),
        ({"bypass_headers": [b"x-a"]}, {"x-b": "1"}, None),
        ({"bypass_cookies": [b"s", b"wp_*"]}, {"cookie": "a=b; s=1"}, Bypassed.ROUTE_COOKIE),
        ({"bypass_cookies": [b"s", b"wp_*"]}, {"cookie": "wp_x=1"}, Bypassed.ROUTE_COOKIE),
        ({"bypass_cookies": [b"s"]}, {"cookie": "ss=1; S=1; a=s"}, None),
        ({"bypass_cookies": [b"s"]}, {}, None),
        ({"bypass_cookies": [b"s"]}, {"cookie": "a=b, s=1"}, Bypassed.ROUTE_COOKIE),  # as an old origin reads it
        ({"bypass_cookies": [b"s"], "strip_cookies": True}, {"cookie": "s"}, Bypassed.ROUTE_COOKIE),
    ],
)
def test_a_request_passes_the_cache_by(rules, fields, reason):
    got = asked(RoutePolicy(**rules), fields=fields)

    assert (reason, reason is None) == (got.bypass, got.simple)


def test_a_second_line_of_cookies_is_read_too():
    policy = RoutePolicy(bypass_cookies=[b"s"])

    assert Bypassed.ROUTE_COOKIE is policy.bypass(head(fields=[("cookie", "a=b"), ("cookie", "s=1")]))


def test_an_unsafe_method_passes_for_its_own_reason():
    assert Bypassed.METHOD is asked(RoutePolicy(is_on=False), method="POST").bypass


# -- replies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "status", "given", "expected"),
    [
        ({}, 200, (5.0, EXPLICIT), (5.0, False)),
        ({"ttl_s": 60.0}, 200, (5.0, EXPLICIT), (60.0, True)),
        ({"ttl_s": 60.0}, 200, (0.0, NONE), (60.0, True)),
        ({"ttl_s": 60.0}, 404, (5.0, EXPLICIT), (5.0, False)),
        ({"ttl_s": 60.0}, 302, (0.0, NONE), (0.0, False)),
        ({"ttl_s": 60.0, "max_ttl_s": 9.0}, 200, (5.0, EXPLICIT), (9.0, True)),
        ({"default_ttl_s": 60.0}, 200, (5.0, EXPLICIT), (5.0, False)),
        ({"default_ttl_s": 60.0}, 200, (0.0, EXPLICIT), (0.0, False)),
        ({"default_ttl_s": 60.0}, 200, (5.0, HEURISTIC), (60.0, True)),
        ({"default_ttl_s": 60.0}, 200, (0.0, NONE), (60.0, True)),
        ({"default_ttl_s": 60.0}, 500, (0.0, NONE), (0.0, False)),
        ({"min_ttl_s": 60.0}, 200, (5.0, EXPLICIT), (60.0, False)),
        ({"min_ttl_s": 60.0}, 200, (5.0, HEURISTIC), (60.0, False)),
        ({"min_ttl_s": 60.0}, 200, (0.0, NONE), (0.0, False)),
        ({"min_ttl_s": 60.0}, 500, (5.0, EXPLICIT), (5.0, False)),
        ({"max_ttl_s": 60.0}, 500, (90.0, EXPLICIT), (60.0, False)),
        ({"status_ttl": {404: 1.0}, "ttl_s": 9.0, "max_ttl_s": 0.5}, 404, (90.0, EXPLICIT), (1.0, True)),
        ({"status_ttl": {200: 1.0}, "ttl_s": 9.0}, 200, (90.0, EXPLICIT), (1.0, True)),
    ],
)
def test_a_lifetime_is_ruled(rules, status, given, expected):
    assert expected == RoutePolicy(**rules).lifetime(status, *given)


def test_no_error_is_kept_longer_unless_its_status_is_named():
    assert all(status < 400 for status in RULED_STATUSES)


@pytest.mark.parametrize(
    ("rules", "said", "more", "reason"),
    [
        ({"ttl_s": 60.0}, "no-store", {}, "no-store"),
        ({"ttl_s": 60.0}, "private", {}, "private"),
        ({"ttl_s": 60.0}, "", {"vary": "*"}, "vary-star"),
        ({"ttl_s": 60.0}, "no-cache", {}, "no-freshness"),
        ({"ttl_s": 60.0}, "", {"set-cookie": "a=b"}, "set-cookie"),
        ({"ttl_s": 60.0}, "max-age=5", {"set-cookie": "a=b"}, "set-cookie"),
        ({"min_ttl_s": 60.0}, "max-age=5", {"set-cookie": "a=b"}, "set-cookie"),
        ({"default_ttl_s": 60.0}, "", {"set-cookie": "a=b"}, "set-cookie"),
        ({"ttl_s": 0.0}, "max-age=5", {}, "already-stale"),
    ],
)
def test_a_ruled_lifetime_lifts_no_ban(rules, said, more, reason):
    assert reason == drafted(RoutePolicy(**rules), said, **more)


def test_a_ruled_lifetime_does_not_keep_what_was_answered_to_credentials():
    policy = RoutePolicy(ttl_s=60.0)
    here = asked(policy, fields={"authorization": "x"})
    verdict = may_store(here, reply(fields={"cache-control": "max-age=5"}), request_wall=NOW, response_wall=NOW)

    assert isinstance(verdict, NotStored)
    assert "authorization" == verdict.reason.value


def test_a_cookie_may_be_kept_for_no_longer_than_its_origin_said():
    assert 5 == drafted(RoutePolicy(max_ttl_s=5.0), "max-age=60", **{"set-cookie": "a=b"}).lifetime_s


def test_stripped_cookies_are_no_reason_and_not_kept():
    copy = drafted(RoutePolicy(default_ttl_s=60.0, strip_cookies=True), "", **{"set-cookie": "a=b", "x-a": "1"})

    assert (60.0, [(b"x-a", b"1")]) == (copy.lifetime_s, copy.fields)


def test_a_status_that_could_not_be_kept_is_by_its_own_rule():
    assert "status" == drafted(RoutePolicy(ttl_s=60.0), "", 503)
    assert 3.0 == drafted(RoutePolicy(status_ttl={503: 3.0}), "", 503).lifetime_s


@pytest.mark.parametrize(
    ("said", "windows"),
    [
        ("max-age=5", (7, 8)),
        ("max-age=5, stale-while-revalidate=1, stale-if-error=2", (1, 2)),
        ("max-age=5, stale-while-revalidate=0", (0, 8)),
        ("max-age=5, must-revalidate", (0, None)),
        ("max-age=5, proxy-revalidate", (0, None)),
        ("s-maxage=5", (0, None)),
        ("s-maxage=5, stale-if-error=2", (0, 2)),
    ],
)
def test_windows_for_stale_copies_are_the_operators_where_the_origin_says_nothing(said, windows):
    copy = drafted(RoutePolicy(swr_s=7, sie_s=8), said)

    assert windows == (copy.swr_s, copy.sie_s)


def test_a_304_is_held_to_the_same_rules():
    policy = RoutePolicy(ttl_s=60.0, swr_s=7, strip_cookies=True, key_headers=[b"x-a"])
    copy = drafted(policy, "max-age=5", etag='"1"')
    told = refresh(
        asked(policy),
        copy,
        reply(304, {"etag": '"1"', "cache-control": "max-age=1", "set-cookie": "a=b"}),
        request_wall=NOW,
        response_wall=NOW,
    )

    assert isinstance(told, Refreshed)
    assert (None, 60.0, 7, copy.vary) == (told.reason, told.copy.lifetime_s, told.copy.swr_s, told.copy.vary)
    assert None is told.copy.get(b"set-cookie")


def test_a_post_is_not_kept_where_a_route_has_rules():
    """What these leave out of the key, a POST has said to the origin."""
    fields = {"cache-control": "max-age=60", "content-location": "/x"}
    plain = may_store(kit.ask(method="POST"), reply(200, fields), request_wall=NOW, response_wall=NOW)
    ruled = may_store(
        asked(RoutePolicy(strip_cookies=True), method="POST"), reply(200, fields), request_wall=NOW, response_wall=NOW
    )

    assert isinstance(plain, Copy)
    assert isinstance(ruled, NotStored)


def test_route():
    """The reason ``route``: its rules have the request pass, whatever the reply says."""
    verdict = may_store(
        asked(RoutePolicy(is_on=False)),
        reply(200, {"cache-control": "max-age=60"}),
        request_wall=NOW,
        response_wall=NOW,
    )

    assert isinstance(verdict, NotStored)
    assert "route" == verdict.reason.value


# -- stopping ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stopping", "landed", "length", "stops"),
    [
        (Stopping(), 1, 10_000, False),
        (Stopping(True, 100, 95), 1, 10_000, True),
        (Stopping(True, 100, 95), 9_900, 10_000, False),
        (Stopping(True, 0, 95), 9_499, 10_000, True),
        (Stopping(True, 0, 95), 9_500, 10_000, False),
        (Stopping(True, 0, 100), 9_999, 10_000, True),
        (Stopping(True, 100, 1), 9_999, 0, True),
    ],
)
def test_what_is_nearly_there_is_finished(stopping, landed, length, stops):
    """Of a body whose length is not known nobody can say that."""
    assert stops is stopping.stops(landed, length)
