"""What a head means here, worked out once: for whom, by which door, and whether it may pass."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from edge.config.tree import Listener, Route, RouteCache
from edge.exchange.recognise import MOST_HOPS, Door, recognise
from edge.exchange.steering import Steering
from edge.message.head import Framing
from tests.cache import kit
from tests.exchange.kit import NOW, SHOP, door

ROUTE = Route(None, "/", "shop")


def know(head=None, by=None, *, route=ROUTE, origins=None, https_port=443):
    steering = Steering([] if route is None else [route], {"shop": SHOP} if origins is None else origins)
    return recognise(head or kit.head(), by or door(), steering, kit.PREFERENCE, https_port)


def test_a_head_is_for_the_origin_of_its_route_and_remembers_it():
    head = kit.head()
    known = know(head)

    assert (ROUTE, SHOP, None) == (known.route, known.origin, known.answer)
    assert head.known is known


def test_the_route_is_looked_for_by_host_and_path_without_port_and_query():
    head = kit.head("/a/b?c=d")
    head.authority = b"shop.example:8443"

    assert Route("shop.example", "/a/b", "shop") == know(head, route=Route("shop.example", "/a/b", "shop")).route


@pytest.mark.parametrize("route", [None, Route(None, "/", "elsewhere")])
def test_without_a_route_to_a_known_origin_it_is_404(route):
    known = know(route=route)
    answer = known.answer(NOW, "")

    assert (404, "destination_not_found", "none") == (answer.head.status, answer.word, answer.outcome)
    assert known.origin is None


def test_a_redirecting_listener_sends_everyone_to_https():
    plain = Door(Listener("127.0.0.1:80", redirect="https"), b"http")
    answer = know(kit.head("/a?b"), plain, route=None).answer(NOW, "")

    assert (308, b"https://shop.example/a?b") == (answer.head.status, answer.head.get(b"location"))


def test_a_redirect_names_the_port_where_https_is_spoken():
    plain = Door(Listener("127.0.0.1:80", redirect="https"), b"http")

    assert b"https://shop.example:8443/x" == know(None, plain, https_port=8443).answer(NOW, "").head.get(b"location")


def test_a_host_that_this_door_may_not_serve_is_misdirected():
    """A certificate that demands client certificates is not got round by naming another host in the handshake."""
    guarded = door(may_serve=lambda host: host == b"other.example")
    answer = know(None, guarded).answer(NOW, "")

    assert (421, "http_request_denied") == (answer.head.status, answer.word)


def test_a_host_that_this_door_may_serve_passes():
    assert know(None, door(may_serve=lambda host: host == b"shop.example")).answer is None


@pytest.mark.parametrize(("hops", "refused"), [(0, False), (MOST_HOPS, False), (MOST_HOPS + 1, True)])
def test_a_request_that_comes_round_again_and_again_is_a_loop(hops, refused):
    via = {"via": ", ".join(["1.1 edge"] * hops)} if hops else {}
    known = know(kit.head(fields=via))

    assert refused == (known.answer is not None)
    if refused:
        answer = known.answer(NOW, "")
        assert (508, "proxy_loop_detected") == (answer.head.status, answer.word)
        assert b"proxy_loop_detected" in answer.head.get(b"proxy-status")


def test_a_refusal_to_head_has_no_body():
    answer = know(kit.head(method="HEAD"), route=None).answer(NOW, "")

    assert (b"", Framing.NONE) == (answer.body, answer.head.framing)


@pytest.mark.parametrize(
    ("fields", "direct"),
    [
        ({}, True),
        ({"cookie": "a=b", "accept-encoding": "br"}, True),
        ({"if-none-match": '"1"'}, True),
        ({"if-modified-since": 0}, True),
        ({"cache-control": "max-age=0"}, False),
        ({"range": "bytes=0-1"}, False),
        ({"if-match": '"1"'}, False),
        ({"if-unmodified-since": 0}, False),
    ],
)
def test_a_prepared_copy_answers_directly_only_what_needs_no_second_look(fields, direct):
    assert direct == know(kit.head(fields=fields)).direct


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_what_passes_the_cache_by_is_never_answered_directly(method):
    assert not know(kit.head(method=method)).direct


def test_what_depends_on_who_asks_is_picked_for_each_and_remembered_for_all():
    near, rest = Route(None, "/", "shop", networks=(ip_network("192.0.2.0/24"),)), Route(None, "/", "shop")
    steering = Steering([near, rest], {"shop": SHOP})
    head = kit.head()
    known = recognise(head, door(), steering, kit.PREFERENCE, 443)

    assert [near, rest, rest] == [known.pick(address).route for address in ("192.0.2.1", "198.51.100.1", "")]
    assert known.pick("192.0.2.1") is known.pick("192.0.2.9")
    assert head.known is known
    assert rest is known.route


def test_a_head_that_means_the_same_to_all_has_nothing_to_pick():
    assert know().pick is None


RULED = RouteCache(query_drop=("utm_*",), strip_cookies=True, bypass_headers=("x-preview",))


def ruled(head):
    return know(head, route=Route(None, "/", "shop", RULED))


def test_the_origin_is_asked_for_what_the_copy_is_kept_under():
    known = ruled(kit.head("/a?utm_x&b", fields={"cookie": "a=b"}))

    assert (b"/a?b", None) == (known.asked.target, known.asked.get(b"cookie"))
    assert (b"/a?b", known.way.policy) == (known.ask.target, known.ask.policy)
    assert b"/a?utm_x&b" == known.head.target


@pytest.mark.parametrize(("method", "fields"), [("POST", {}), ("GET", {"x-preview": "1"})])
def test_what_passes_the_cache_by_reaches_the_origin_as_it_came(method, fields):
    head = kit.head("/a?utm_x&b", method, {"cookie": "a=b", **fields})

    assert head is ruled(head).asked


def test_without_rules_the_origin_is_asked_what_was_sent():
    head = kit.head("/a?utm_x")

    assert head is know(head).asked
