"""304, HEAD and unsafe methods."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.copy import IDENTITY, BodyRef, Copy
from edge.cache.key import key_of
from edge.cache.refresh import Refreshed, after_head, conditions, confirmed, invalidated, refresh
from edge.cache.storing import Unstored
from edge.message.head import ReplyHead
from tests.cache.kit import NOW, ask, fields_of, reply, stored

LATER = NOW + 100


def kept(fields, **more) -> Copy:
    return msgspec.structs.replace(stored(fields, **more), copy_id=5, bodies={IDENTITY: BodyRef(80, 5)})


def refreshed(copy, fields, asked=None) -> Refreshed:
    told = ReplyHead(304, fields_of(fields))
    return refresh(asked or ask(), copy, told, request_wall=LATER, response_wall=LATER)


def test_a_copy_is_asked_about_by_both_its_validators():
    copy = stored({"cache-control": "max-age=1", "etag": '"a"', "last-modified": -100})

    assert conditions([copy]) == fields_of([("if-none-match", '"a"'), ("if-modified-since", -100)])


def test_several_are_asked_about_by_their_tags():
    copies = [stored({"etag": tag, "last-modified": -100}) for tag in ('"a"', 'W/"b"', '"a"')]

    assert conditions(copies) == [(b"if-none-match", b'"a", W/"b"')]


def test_what_cannot_be_compared_cannot_be_asked_about():
    assert conditions([stored({"cache-control": "max-age=1", "etag": "unquoted"})]) == []
    assert conditions([]) == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"etag": '"a"'}, 0),
        ({"etag": '"b"'}, 1),
        ({"etag": 'W/"b"'}, 1),
        ({"etag": '"c"'}, None),
        ({"etag": 'W/"c"'}, None),
        ({"etag": '"d"'}, None),
        ({"last-modified": -50}, 1),
        ({"last-modified": -5}, None),
        ({}, None),
    ],
)
def test_a_304_speaks_of_the_copy_whose_validator_it_carries(told, expected):
    copies = [
        stored({"etag": '"a"', "last-modified": -50, "date": -20}),
        stored({"etag": '"b"', "last-modified": -50, "date": -10}),
        stored({"etag": 'W/"d"', "date": -5}),
    ]

    assert confirmed(copies, ReplyHead(304, fields_of(told))) is (None if expected is None else copies[expected])


@pytest.mark.parametrize("told", [{}, {"etag": "junk"}, {"etag": 'W/"a"'}, {"last-modified": -50}, {"etag": '"a"'}])
def test_a_304_for_one_copy_speaks_of_it_unless_it_names_another(told):
    copy = stored({"etag": 'W/"a"', "last-modified": -50})

    assert confirmed([copy], ReplyHead(304, fields_of(told))) is copy


@pytest.mark.parametrize("told", [{"etag": '"b"'}, {"etag": 'W/"b"'}, {"last-modified": -5}])
def test_a_304_that_names_another_speaks_of_none(told):
    copy = stored({"etag": '"a"', "last-modified": -50})

    assert confirmed([copy], ReplyHead(304, fields_of(told))) is None


def test_a_304_brings_fields_age_and_lifetime_up_to_date_and_keeps_the_rest():
    copy = kept([("cache-control", "max-age=2"), ("etag", '"a"'), ("x", "1"), ("x", "2"), ("y", "1"), ("date", 0)])

    done = refreshed(copy, [("cache-control", "max-age=7"), ("etag", '"a"'), ("x", "3"), ("date", 100)])

    assert done.reason is None
    fresh = done.copy
    assert (fresh.lifetime_s, fresh.initial_age, fresh.response_wall, fresh.date_wall) == (7, 0, LATER, LATER)
    assert (fresh.copy_id, fresh.bodies, fresh.length, fresh.stored_wall) == (5, copy.bodies, 5, NOW)
    assert sorted(fresh.fields) == sorted(
        fields_of([("cache-control", "max-age=7"), ("etag", '"a"'), ("x", "3"), ("y", "1"), ("date", 100)])
    )
    assert copy.get(b"x") == b"1, 2"


def test_a_304_without_a_lifetime_leaves_the_stored_one():
    assert refreshed(kept({"cache-control": "max-age=2", "etag": '"a"'}), {"etag": '"a"'}).copy.lifetime_s == 2


def test_a_304_without_date_is_dated_by_its_arrival():
    fresh = refreshed(kept({"cache-control": "max-age=2", "etag": '"a"', "date": 0}), {}).copy

    assert fresh.get(b"date") == fields_of({"date": 100})[0][1]
    assert fresh.initial_age == 0


def test_a_304_from_another_cache_is_as_old_as_it_says():
    assert refreshed(kept({"cache-control": "max-age=60", "etag": '"a"'}), {"age": "9"}).copy.initial_age == 9
    assert refreshed(kept({"cache-control": "max-age=60", "etag": '"a"'}), {"age": "9"}).copy.get(b"age") is None


@pytest.mark.parametrize(
    "name", ["content-encoding", "content-length", "content-range", "connection", "keep-alive", "x"]
)
def test_a_304_cannot_change_what_belongs_to_the_bytes_or_to_its_connection(name):
    copy = kept({"cache-control": "max-age=2", "etag": '"a"', "content-encoding": "gzip"})

    fresh = refreshed(copy, {name: "new", "connection": "x"}).copy

    assert (name.encode(), b"new") not in fresh.fields


@pytest.mark.parametrize(
    "name", ["content-type", "content-location", "set-cookie", "x-frame-options", "etag", "expires"]
)
def test_a_304_changes_everything_else(name):
    copy = kept({"cache-control": "max-age=2", "last-modified": -5, name: "old"})

    assert refreshed(copy, {name: "new"}).copy.get(name.encode()) == b"new"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"cache-control": "no-store"}, Unstored.NO_STORE),
        ({"cache-control": "private"}, Unstored.PRIVATE),
        ({"vary": "*"}, Unstored.VARY_STAR),
    ],
)
def test_a_304_that_takes_the_leave_back_is_used_once_and_the_copy_forgotten(told, reason):
    done = refreshed(kept({"cache-control": "max-age=2", "etag": '"a"'}), told)

    assert (done.reason, done.forget) == (reason, True)
    assert done.copy.copy_id == 5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"authorization": "x"}, Unstored.AUTHORIZATION), ({"cache-control": "no-store"}, Unstored.REQUEST_NO_STORE)],
)
def test_a_304_that_one_client_s_request_keeps_from_the_store_leaves_the_copy_as_it_is(fields, reason):
    done = refreshed(kept({"cache-control": "max-age=2", "etag": '"a"'}), {}, ask(fields=fields))

    assert (done.reason, done.forget) == (reason, False)


def test_a_confirmed_copy_is_no_longer_invalid():
    copy = msgspec.structs.replace(kept({"cache-control": "max-age=2", "etag": '"a"'}), is_invalid=True)

    assert not refreshed(copy, {}).copy.is_invalid


def test_a_304_may_change_what_selects():
    fresh = refreshed(
        kept({"cache-control": "max-age=2", "etag": '"a"'}), {"vary": "foo"}, ask(fields={"foo": "1"})
    ).copy

    assert fresh.vary == ((b"foo", b"1"),)


def head_says(copy, fields, length=None, status=200):
    told = ReplyHead(status, fields_of(fields), length=length)
    return after_head(ask(method="HEAD"), [copy], told, request_wall=LATER, response_wall=LATER)


def test_a_head_that_agrees_refreshes():
    done = head_says(kept({"cache-control": "max-age=2", "x": "1"}), {"cache-control": "max-age=9", "x": "2"}, length=5)

    assert isinstance(done, Refreshed)
    assert (done.copy.lifetime_s, done.copy.get(b"x")) == (9, b"2")


@pytest.mark.parametrize(("told", "length"), [({"etag": '"b"'}, None), ({"last-modified": -1}, None), ({}, 6)])
def test_a_head_that_differs_makes_the_copy_invalid(told, length):
    done = head_says(kept({"cache-control": "max-age=2", "etag": '"a"'}), told, length)

    assert isinstance(done, Copy)
    assert done.is_invalid


def test_a_head_that_is_no_200_concerns_no_copy():
    assert head_says(kept({"cache-control": "max-age=2"}), {}, status=410) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_the_success_of_an_unsafe_method_invalidates_its_target(method, status):
    asked = ask(method=method)

    assert invalidated(asked, reply(status)) == [asked.key]


@pytest.mark.parametrize(
    ("method", "status"), [("POST", 400), ("POST", 500), ("POST", 199), ("GET", 200), ("OPTIONS", 200)]
)
def test_an_error_or_a_safe_method_invalidates_nothing(method, status):
    assert invalidated(ask(method=method), reply(status)) == []


def test_location_and_content_location_are_invalidated_on_the_same_origin_only():
    asked = ask("/a/b", method="POST")
    told = reply(201, {"location": "c", "content-location": "https://shop.example/d"})
    far = reply(201, {"location": "//other.example/c", "content-location": "http://shop.example/d"})

    assert invalidated(asked, told) == [
        asked.key,
        key_of(b"https", b"shop.example", b"/a/c"),
        key_of(b"https", b"shop.example", b"/d"),
    ]
    assert invalidated(asked, far) == [asked.key]


NAMES = st.sampled_from(
    [b"cache-control", b"etag", b"date", b"age", b"vary", b"last-modified", b"location", b"connection"]
)


@given(st.integers(200, 599), st.lists(st.tuples(NAMES, st.binary(max_size=20))))
def test_any_reply_can_be_told_to_a_copy(status, fields):
    copy = kept({"cache-control": "max-age=2", "etag": '"a"'})
    told = ReplyHead(status, fields)

    confirmed([copy], told)
    invalidated(ask(method="POST"), told)
    done = refresh(ask(), copy, told, request_wall=LATER, response_wall=LATER)

    assert done.copy.bodies == copy.bodies
