"""What operators are told of what is stored."""

from __future__ import annotations

import pytest

from edge.cache.fill import Fill
from edge.cache.purge import Purge, What
from edge.exchange.inventory import LOOKED_AT, MOST, Inventory, state_of
from edge.exchange.purging import Misread
from tests.cache import kit
from tests.exchange.kit import FRESH, NOW, TEXTUAL


@pytest.fixture
def inventory(desk):
    return Inventory(desk.store, desk.recency)


def urls(page):
    return sorted(copy["url"] for copy in page["copies"])


def keep(desk, target, fields=FRESH, **more):
    return desk.keep(fields, asked=kit.ask(target), **more)


# -- state ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "after_s", "state"),
    [
        ("max-age=60", 0, "fresh"),
        ("max-age=60, stale-while-revalidate=30", 70, "stale, served while it is refreshed"),
        ("max-age=60, stale-if-error=30", 70, "stale, served if the origin fails"),
        ("max-age=60", 70, "stale, served if the origin cannot be reached"),
        ("max-age=60, must-revalidate", 70, "stale"),
        ("max-age=60, no-cache", 0, "asked about each time"),
    ],
)
def test_a_copys_state_is_what_a_client_without_wishes_would_get(fields, after_s, state):
    copy = kit.stored({"cache-control": fields, "etag": '"1"'})

    assert state == state_of(copy, NOW + after_s)


def test_what_an_unsafe_method_has_changed_is_invalidated(desk):
    copy = desk.keep()
    desk.store.mark_stale(copy.key, NOW)

    assert "invalidated" == state_of(desk.store.copies(copy.key)[0], NOW)


# -- numbers -------------------------------------------------------------------------------------------------


def test_numbers_say_how_much_there_is(desk, inventory):
    keep(desk, "/1")
    keep(desk, "/2", FRESH | {"vary": "x-a"})
    desk.keep(FRESH | {"vary": "x-a"}, asked=kit.ask("/2", fields={"x-a": "1"}))
    assert isinstance(desk.store.begin_fill(kit.stored(FRESH, asked=kit.ask("/3"))), Fill)
    desk.store.purge(Purge(What.TAG, b"none", NOW))
    told = inventory.numbers()

    assert (2, 3, 1, 1, False) == (
        told["addresses"],
        told["copies"],
        told["landing"],
        told["standing_purges"],
        told["is_damaged"],
    )
    assert 0 < told["used_bytes"] < told["size_bytes"]


# -- pages ---------------------------------------------------------------------------------------------------


def test_a_copy_is_told_in_a_lines_worth(desk, inventory):
    copy = keep(desk, "/1", FRESH | {"cache-tag": "b, a", "vary": "x-a"})
    desk.store.add_variant(copy, b"br", b"xy")
    desk.recency.touch(copy.copy_id, int(NOW) + 3)
    desk.recency.count(copy.copy_id, 4)
    (told,) = inventory.page([], NOW + 10.5)["copies"]

    assert {
        "url": "https://shop.example/1",
        "status": 200,
        "state": "fresh",
        "age_s": 10,
        "ttl_s": 49,
        "bytes": 5,
        "stored_bytes": 7,
        "parts": None,
        "codings": {"identity": 5, "br": 2},
        "vary": {"x-a": None},
        "tags": ["a", "b"],
        "stored_wall": NOW,
        "used_wall": NOW + 3,
        "uses": 4,
    } == told


def test_of_a_copy_in_part_it_is_told_which_parts(desk, inventory):
    parts = desk.rooms.parts
    begun = parts.begin(kit.stored(FRESH, length=20_000))
    parts.land(begun, 4080, bytes(4080), NOW)
    (told,) = inventory.page([], NOW)["copies"]

    assert (20_000, 4080, 1) == (told["bytes"], told["stored_bytes"], told["parts"])
    [told] = inventory.address(b"https://shop.example/x", desk.rooms.steering.keys_for, NOW)["copies"]
    assert [[4080, 8160]] == told["spans"]


def test_pages_tell_all_of_it_and_nothing_twice(desk, inventory):
    for number in range(25):
        keep(desk, f"/{number}")
    found, query, pages = [], [("limit", "10")], 0
    while True:
        page = inventory.page(query, NOW)
        found += urls(page)
        pages += 1
        if page["next"] is None:
            break
        query = [("limit", "10"), ("after", page["next"])]

    assert sorted(f"https://shop.example/{number}" for number in range(25)) == sorted(found)
    assert 3 == pages


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ([("host", "SHOP.example")], ["/a/1", "/a/2", "/b"]),
        ([("host", "other.example")], []),
        ([("prefix", "https://shop.example/a/")], ["/a/1", "/a/2"]),
        ([("tag", "t")], ["/a/2", "/b"]),
        ([("tag", "t"), ("prefix", "shop.example/a/")], ["/a/2"]),
    ],
)
def test_a_page_tells_of_what_is_wanted_only(desk, inventory, query, targets):
    keep(desk, "/a/1")
    keep(desk, "/a/2", FRESH | {"cache-tag": "t"})
    keep(desk, "/b", FRESH | {"surrogate-key": "s t"})

    assert [f"https://shop.example{target}" for target in targets] == urls(inventory.page(query, NOW))


def test_a_page_looks_at_a_bounded_number_of_keys(desk, inventory, monkeypatch):
    """A filter that hits nothing in a large store must not hold up the clients of this worker."""
    monkeypatch.setattr("edge.exchange.inventory.LOOKED_AT", 7)
    for number in range(10):
        keep(desk, f"/{number}")
    page = inventory.page([("tag", "none")], NOW)

    assert [] == page["copies"]
    assert page["next"] is not None
    assert inventory.page([("tag", "none"), ("after", page["next"])], NOW)["next"] is None
    assert LOOKED_AT <= MOST


def test_what_is_purged_is_not_told_of(desk, inventory):
    keep(desk, "/1", FRESH | {"cache-tag": "t"})
    keep(desk, "/2")
    desk.store.purge(Purge(What.TAG, b"t", NOW + 1))

    assert ["https://shop.example/2"] == urls(inventory.page([], NOW))


@pytest.mark.parametrize(
    "query", [("limit", "many"), ("limit", "-1"), ("after", "xyz"), ("urls", "x"), ("host", ""), ("tag", " ")]
)
def test_what_is_not_understood_is_said(inventory, query):
    with pytest.raises(Misread):
        inventory.page([query], NOW)


def test_looking_is_no_use(desk, inventory):
    """What is looked at must not be kept for longer because of it."""
    copy = keep(desk, "/1")
    before = desk.recency.read(copy.copy_id)
    inventory.page([], NOW + 50)
    inventory.address(b"https://shop.example/1", desk.rooms.steering.keys_for, NOW + 50)

    assert before == desk.recency.read(copy.copy_id)
    assert 0 == desk.rooms.memory.used


# -- one address ---------------------------------------------------------------------------------------------


def test_an_address_is_told_in_full(desk, inventory):
    keep(desk, "/1", TEXTUAL | {"cache-control": "max-age=60, stale-if-error=9"})
    told = inventory.address(b"HTTPS://Shop.example:443/1", desk.rooms.steering.keys_for, NOW + 1)
    (copy,) = told["copies"]

    assert ("https://shop.example/1", kit.ask("/1").key.hex(), None, None) == (
        told["url"],
        told["key"],
        told["landing"],
        told["purged_wall"],
    )
    assert (60, "by the origin", 9, '"1"', None) == (
        copy["lifetime_s"],
        copy["lifetime"],
        copy["stale_if_error_s"],
        copy["etag"],
        copy["last_modified"],
    )
    assert ["content-type", "text/html"] in copy["fields"]


def test_what_is_landing_and_what_was_purged_is_told_too(desk, inventory):
    desk.store.delete(kit.ask("/1").key, NOW)
    fill = desk.store.begin_fill(kit.stored(FRESH, at=NOW + 1, asked=kit.ask("/1"), length=1000))
    fill.append(b"x" * 10)
    told = inventory.address(b"https://shop.example/1", desk.rooms.steering.keys_for, NOW + 1)

    assert ([], {"bytes": 10, "of_bytes": 1000}, NOW) == (told["copies"], told["landing"], told["purged_wall"])
    fill.abandon()
    assert inventory.address(b"https://shop.example/1", desk.rooms.steering.keys_for, NOW)["landing"] is None


def test_a_lifetime_that_was_guessed_is_called_so(desk, inventory):
    keep(desk, "/1", {"last-modified": -100_000, "date": 0})
    keep(desk, "/2", {"etag": '"1"'})
    lifetimes = [
        inventory.address(b"https://shop.example" + target, desk.rooms.steering.keys_for, NOW)["copies"][0]["lifetime"]
        for target in (b"/1", b"/2")
    ]

    assert ["guessed", "none given"] == lifetimes
