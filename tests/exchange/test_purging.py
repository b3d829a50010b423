"""Purges as they are written by those who may ask for them, and what becomes of them."""

from __future__ import annotations

import json
import logging
from ipaddress import ip_network

import pytest

from edge.cache.key import key_of
from edge.cache.purge import Purge, What
from edge.cache.storing import Unstored, not_stored
from edge.config.tree import CacheConfig
from edge.exchange.decision import Answer, Fetch, Serve
from edge.exchange.purging import MOST_ORDERS, Misread, Order, address_of, orders_of, read_orders, read_query
from edge.observe import names
from tests.cache import kit
from tests.exchange.kit import FRESH, MIB, Desk

LIST = (ip_network("127.0.0.1/32"),)


def told(answer: Answer):
    return json.loads(answer.body)


# -- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "order"),
    [
        (b"host=Shop.Example", Order("host", b"shop.example")),
        (b"host=shop.example:443", Order("host", b"shop.example")),
        (b"host=shop.example:8443", Order("host", b"shop.example:8443")),
        (b"prefix=https%3A%2F%2FShop.example%3A443%2Fa", Order("prefix", b"https://shop.example/a")),
        (b"prefix=shop.example/a?b", Order("prefix", b"shop.example/a?b")),
        (b"tag=a%20b%2C", Order("tag", b"a b,")),
        (b"tag=%C3%BC", Order("tag", "ü".encode())),
        (b"all", Order("all")),
        (b"all=yes", Order("all")),
    ],
)
def test_what_may_be_named(query, order):
    assert read_orders(read_query(query)) == ([order], False)


def test_an_address_is_named_as_a_request_for_it_would_be():
    ([order], _) = read_orders(read_query(b"url=HTTPS://Shop.Example.:443/A%3Fb%3D%2541"))

    assert order == Order("url", b"https://shop.example/A?b=%41", (key_of(b"https", b"shop.example", b"/A?b=%41"),))
    assert address_of(b"http://a:80") == (b"http", b"a", b"/")
    assert address_of(b"http://a:81?b#c") == (b"http", b"a:81", b"/?b")
    assert address_of(b"https://[::0:1]/x/../y") == (b"https", b"[::1]", b"/x/../y")


def test_several_things_are_named_at_once_and_softly():
    orders, is_soft = read_orders(read_query(b"tag=a&tag=b&host=c&soft=1"))

    assert [order.name for order in orders] == ["tag", "tag", "host"]
    assert is_soft
    assert not read_orders(read_query(b"all&soft=no"))[1]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (None, "nothing is named"),
        (b"soft=1", "nothing is named"),
        (b"all=0", "nothing is named"),
        (b"urls=https://a/", "'urls' is not known here"),
        (b"url=/a", "is not an address"),
        (b"url=ftp://a/", "is not an address"),
        (b"url=https://a/%20", "is not an address"),
        (b"url=https://a/%C3%BC", "is not an address"),
        (b"url=https://a_%40b/", "is not a host"),
        (b"url=https:///x", "is not a host"),
        (b"host=", "is not a host"),
        (b"host=https://a/", "is not a host"),
        (b"prefix=https", "is not the beginning of an address"),
        (b"prefix=https://shop.example", "is not the beginning of an address"),
        (b"prefix=/images/", "is not the beginning of an address"),
        (b"prefix=https://a%40b/", "is not a host"),
        (b"tag=", "a tag is not empty"),
        (b"all=perhaps", "neither yes nor no"),
        (b"tag=a&soft=perhaps", "neither yes nor no"),
        (b"&".join(b"tag=%d" % at for at in range(MOST_ORDERS + 1)), "256 at most"),
    ],
)
def test_what_is_not_understood_purges_nothing(query, why):
    """Above all nothing more than was meant."""
    with pytest.raises(Misread, match=why):
        read_orders(read_query(query))


def test_the_method_names_its_own_target_by_either_scheme():
    orders, is_soft = orders_of(kit.head("/a?b", "PURGE"))

    assert not is_soft
    assert orders == [
        Order(
            "url",
            b"shop.example/a?b",
            (key_of(b"https", b"shop.example", b"/a?b"), key_of(b"http", b"shop.example", b"/a?b")),
        )
    ]


def test_the_method_names_tags_where_it_has_any():
    orders, is_soft = orders_of(kit.head("/", "PURGE", {"surrogate-key": "a b", "cache-tag": "c", "soft-purge": "1"}))

    assert (orders, is_soft) == ([Order("tag", b"a"), Order("tag", b"b"), Order("tag", b"c")], True)


# -- carrying out --------------------------------------------------------------------------------------------


def purge(desk, query, *, head=None):
    orders, is_soft = read_orders(read_query(query))
    return desk.rooms.purger.answer(
        head or kit.head("/purge", "POST"), orders, desk.rooms.now_wall, is_soft=is_soft, by="somebody"
    )


def test_a_purged_address_is_asked_for_again(desk, caplog):
    caplog.set_level(logging.INFO, "edge")
    desk.keep()
    known = desk.known()
    assert isinstance(desk.rooms.decide(known), Serve)
    answer = purge(desk, b"url=https://shop.example/x")

    assert (200, {"purged": [{"url": "https://shop.example/x", "copies": 1}], "soft": False}) == (
        answer.head.status,
        told(answer),
    )
    assert isinstance(desk.rooms.decide(known), Fetch)
    assert desk.cells[names.CACHE_PURGES["url"]] == 1
    assert "purged, as somebody asked: url https://shop.example/x" in caplog.text


def test_a_softly_purged_address_is_asked_about_and_its_copy_kept(desk):
    desk.keep()
    desk.turn(3)
    purge(desk, b"url=https://shop.example/x&soft")
    desk.turn(1)
    decision = desk.decide()

    assert isinstance(decision, Fetch)
    assert decision.stale is not None


@pytest.mark.parametrize("query", [b"tag=a", b"host=shop.example", b"prefix=https://shop.example/", b"all"])
def test_what_names_many_holds_at_once(desk, query):
    desk.keep(FRESH | {"cache-tag": "a"})
    assert isinstance(desk.decide(), Serve)
    answer = purge(desk, query)

    assert [200] == [answer.head.status]
    assert "copies" not in told(answer)["purged"][0]
    assert isinstance(desk.decide(), Fetch)


def test_a_purge_counts_from_when_it_is_made_not_from_when_the_turn_began(desk):
    """Another worker may have asked an origin since."""
    desk.clock.at = 5.0
    desk.keep()
    purge(desk, b"all")

    assert isinstance(desk.decide(), Fetch)


def test_what_cannot_be_written_down_is_said_to_have_failed(desk, monkeypatch, caplog):
    monkeypatch.setattr("edge.cache.store.Store.purge", lambda *_: not_stored(Unstored.STORE_BUSY))
    answer = purge(desk, b"url=https://shop.example/x&tag=a")

    assert (503, b"1") == (answer.head.status, answer.head.get(b"retry-after"))
    assert "too many purges stand" in told(answer)["error"]
    assert [{"url": "https://shop.example/x", "copies": 0}] == told(answer)["purged"]
    assert "tag a was not purged, as somebody asked" in caplog.text


def test_an_address_that_cannot_be_purged_is_said_to_have_failed(desk, monkeypatch):
    monkeypatch.setattr("edge.cache.store.Store.delete", lambda *_: not_stored(Unstored.STORE_FULL))

    assert 503 == purge(desk, b"url=https://shop.example/x").head.status


def test_without_a_cache_there_is_nothing_to_purge(bare):
    assert 409 == purge(bare, b"all").head.status


# -- the method ----------------------------------------------------------------------------------------------


@pytest.fixture
def listed(folder):
    made = Desk(folder, cache=CacheConfig(folder, 32 * MIB, MIB, purge_from=LIST))
    yield made
    made.close()


def test_whoever_is_listed_may_purge(listed):
    listed.keep()
    answer = listed.rooms.decide(listed.known(method="PURGE"), "127.0.0.1")

    assert (200, 1) == (answer.head.status, told(answer)["purged"][0]["copies"])
    assert isinstance(listed.decide(), Fetch)


@pytest.mark.parametrize("peer", ["127.0.0.2", ""])
def test_whoever_is_not_is_refused(listed, peer):
    listed.keep()
    answer = listed.rooms.decide(listed.known(method="PURGE"), peer)

    assert (403, "http_request_denied") == (answer.head.status, answer.word)
    assert isinstance(listed.decide(), Serve)


def test_the_same_head_is_weighed_for_each_who_sends_it(listed):
    """Heads are remembered by their bytes; who sent them is not in these."""
    known = listed.known(method="PURGE")

    assert [200, 403, 200] == [
        listed.rooms.decide(known, peer).head.status for peer in ("127.0.0.1", "192.0.2.1", "127.0.0.1")
    ]


def test_a_trusted_proxy_says_who_asks(listed):
    forged = listed.known(method="PURGE", fields={"x-forwarded-for": "127.0.0.1"})

    assert 200 == listed.rooms.decide(forged, "10.0.0.1").head.status
    assert 403 == listed.rooms.decide(forged, "192.0.2.1").head.status


def test_without_a_list_the_method_is_the_origins(desk):
    assert isinstance(desk.decide(method="PURGE"), Fetch)


def test_a_standing_purge_is_made_of_what_was_named(desk):
    purge(desk, b"tag=a&soft")

    with desk.store._begin() as txn:
        (standing,) = desk.store._records.standing(txn).purges
    assert Purge(What.TAG, b"a", desk.clock.wall(), is_soft=True) == standing
