"""May a copy answer? A test for every word it can say."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.ask import Bypassed
from edge.cache.lookup import Bypass, Fwd, Hit, Miss, Stale, Unmet, Why, lookup, select
from edge.message.head import Framing
from tests.cache.kit import NOW, ask, stored


def find(said: str, *, late: float = 0, client: str | None = None, **fields):
    """What is found *late* seconds after a reply with this Cache-Control arrived."""
    copy = stored({"cache-control": said, "etag": '"a"', **fields})
    asked = ask(fields={} if client is None else {"cache-control": client})
    return lookup(asked, [copy], NOW + late)


def word(found) -> str:
    match found:
        case Hit():
            return "hit"
        case Stale(fwd=fwd, why=why):
            return f"{fwd.value} {why.value}"
        case Miss(fwd=fwd):
            return fwd.value
        case Bypass(reason=reason):
            return f"bypass {reason.value}"
        case Unmet(instead=instead):
            return f"unmet {word(instead)}"


def leave(found) -> str:
    assert isinstance(found, Stale)
    return "".join(
        letter
        for letter, is_given in zip("wed", (found.while_revalidate, found.on_error, found.on_disconnect), strict=True)
        if is_given
    )


def test_a_fresh_copy_is_a_hit_with_its_age_and_what_is_left():
    found = find("max-age=60", late=12.5)

    assert isinstance(found, Hit)
    assert (found.age, found.ttl) == (12.5, 47.5)


@pytest.mark.parametrize(
    ("said", "late", "client", "expected"),
    [
        ("max-age=60", 59.9, None, "hit"),
        ("max-age=60", 60, None, "stale expired"),
        ("max-age=0", 0, None, "stale expired"),
        ("no-cache, max-age=60", 0, None, "stale no-cache"),
        ("no-cache, max-age=60", 0, "max-stale", "stale no-cache"),
        # what the client wants of a fresh copy
        ("max-age=60", 0, "no-cache", "request request-no-cache"),
        ("max-age=60", 1, "max-age=0", "request request-max-age"),
        ("max-age=60", 5, "max-age=10", "hit"),
        ("max-age=60", 11, "max-age=10", "request request-max-age"),
        ("max-age=60", 11, "max-age=10, max-stale", "hit"),
        ("max-age=60", 0, "min-fresh=61", "request request-min-fresh"),
        ("max-age=60", 0, "min-fresh=60", "hit"),
        ("max-age=60", 0, "no-store", "hit"),
        ("max-age=60", 0, "only-if-cached", "hit"),
        # and of a stale one
        ("max-age=60", 90, "max-stale=30", "hit"),
        ("max-age=60", 91, "max-stale=30", "stale expired"),
        ("max-age=60", 10**6, "max-stale", "hit"),
        ("max-age=60", 90, "max-stale=30, min-fresh=1", "stale expired"),
        ("max-age=60", 90, "no-cache, max-stale", "stale request-no-cache"),
        ("max-age=60, must-revalidate", 90, "max-stale", "stale expired"),
        ("max-age=60, proxy-revalidate", 90, "max-stale", "stale expired"),
        ("s-maxage=60", 90, "max-stale", "stale expired"),
        ("max-age=0", 5, "max-stale", "stale expired"),
        ("max-age=60", 90, "only-if-cached", "unmet stale expired"),
        ("no-cache", 0, "only-if-cached", "unmet stale no-cache"),
    ],
)
def test_freshness_and_the_client_s_wishes_decide(said, late, client, expected):
    assert word(find(said, late=late, client=client)) == expected


@pytest.mark.parametrize(
    ("said", "late", "client", "expected"),
    [
        ("max-age=60", 90, None, "d"),
        ("max-age=60", 10**7, None, "d"),
        ("max-age=0", 5, None, ""),
        ("max-age=0, stale-while-revalidate=10", 5, None, "w"),
        ("max-age=0, stale-if-error=10", 5, None, "ed"),
        ("max-age=60, stale-while-revalidate=30", 90, None, "wd"),
        ("max-age=60, stale-while-revalidate=30", 91, None, "d"),
        ("max-age=60, stale-if-error=30", 90, None, "ed"),
        ("max-age=60, stale-if-error=30", 91, None, ""),
        ("max-age=60, stale-if-error=0", 61, None, ""),
        ("max-age=60, must-revalidate", 90, None, ""),
        ("max-age=60, proxy-revalidate", 90, None, ""),
        ("s-maxage=60", 90, None, ""),
        ("s-maxage=60, stale-while-revalidate=60, stale-if-error=60", 90, None, "wed"),
        ("max-age=60, must-revalidate, stale-while-revalidate=60, stale-if-error=60", 90, None, ""),
        ("max-age=60, stale-while-revalidate=60", 90, "no-cache", ""),
        ("max-age=60, stale-while-revalidate=60", 90, "max-age=0", "d"),
        ("max-age=60, stale-while-revalidate=60", 90, "min-fresh=5", "d"),
        ("max-age=60", 90, "stale-if-error=60", "ed"),
        ("max-age=60", 10, "max-age=5", "ed"),
        ("max-age=60", 10, "no-cache", ""),
        ("no-cache, stale-if-error=60, stale-while-revalidate=60", 10, None, ""),
    ],
)
def test_leave_to_serve_stale_is_the_origin_s_or_the_client_s_or_the_disconnect_s(said, late, client, expected):
    """w: while it is revalidated; e: when the origin answers with an error; d: when it cannot be reached."""
    assert leave(find(said, late=late, client=client)) == expected


def test_nothing_stored_is_a_uri_miss():
    assert lookup(ask(), [], NOW) == Miss(Fwd.URI_MISS, [])


def test_nothing_stored_and_only_if_cached_is_unmet():
    assert word(lookup(ask(fields={"cache-control": "only-if-cached"}), [], NOW)) == "unmet uri-miss"


def test_copies_for_other_selecting_fields_are_a_vary_miss_that_names_them():
    copy = stored({"cache-control": "max-age=60", "vary": "foo"}, asked=ask(fields={"foo": "1"}))

    assert lookup(ask(fields={"foo": "2"}), [copy], NOW) == Miss(Fwd.VARY_MISS, [copy])
    assert lookup(ask(), [copy], NOW) == Miss(Fwd.VARY_MISS, [copy])
    assert word(lookup(ask(fields={"foo": "1", "bar": "x"}), [copy], NOW)) == "hit"


def test_an_absent_selecting_field_matches_only_an_absent_one():
    copy = stored({"cache-control": "max-age=60", "vary": "foo"})

    assert word(lookup(ask(), [copy], NOW)) == "hit"
    assert word(lookup(ask(fields={"foo": ""}), [copy], NOW)) == "vary-miss"


def test_an_invalidated_copy_is_asked_about_whatever_is_allowed():
    copy = stored({"cache-control": "max-age=60, stale-while-revalidate=60, stale-if-error=60"})
    copy = msgspec.structs.replace(copy, is_invalid=True)

    found = lookup(ask(fields={"cache-control": "max-stale"}), [copy], NOW)

    assert word(found) == "stale invalidated"
    assert leave(found) == ""


@pytest.mark.parametrize(
    ("asked", "reason", "fwd"),
    [
        (ask(method="POST"), Bypassed.METHOD, Fwd.METHOD),
        (ask(framing=Framing.LENGTH, length=1), Bypassed.REQUEST_BODY, Fwd.BYPASS),
        (ask(upgrade=b"websocket"), Bypassed.UPGRADE, Fwd.BYPASS),
    ],
)
def test_what_is_none_of_the_cache_s_business_bypasses_it(asked, reason, fwd):
    found = lookup(asked, [stored({"cache-control": "max-age=60"})], NOW)

    assert found == Bypass(reason)
    assert found.fwd is fwd


def test_head_is_answered_from_the_copy_of_a_get():
    assert word(lookup(ask(method="HEAD"), [stored({"cache-control": "max-age=60"})], NOW)) == "hit"


def test_a_copy_kept_without_authorization_answers_a_request_with_it():
    assert word(lookup(ask(fields={"authorization": "x"}), [stored({"cache-control": "max-age=60"})], NOW)) == "hit"


def test_of_several_that_match_the_most_recent_is_taken():
    old, new = (
        stored({"cache-control": "max-age=600", "date": date, "vary": vary})
        for date, vary in ((-20, "foo"), (-10, "bar"))
    )

    assert select(ask(), [old, new]) is new
    assert select(ask(), [new, old]) is new


def test_a_copy_without_vary_gives_way_to_a_newer_one_that_has_it():
    bare = stored({"cache-control": "max-age=600", "date": -20})
    varied = stored({"cache-control": "max-age=600", "date": -10, "vary": "foo"}, asked=ask(fields={"foo": "1"}))

    assert select(ask(fields={"foo": "1"}), [bare, varied]) is varied
    assert select(ask(fields={"foo": "2"}), [bare, varied]) is None
    assert select(ask(fields={"foo": "2"}), [msgspec.structs.replace(bare, date_wall=NOW), varied]) is not None


def test_a_clock_that_went_back_makes_nothing_younger():
    found = lookup(ask(), [stored({"cache-control": "max-age=60", "age": "10"})], NOW - 9)

    assert isinstance(found, Hit)
    assert found.age == 10


@pytest.mark.parametrize(("said", "may"), [("max-age=60", True), ("max-age=60, must-revalidate", False)])
def test_a_copy_from_the_future_is_asked_about(said, may):
    """The clock was set back by a thousand seconds: the copy's lifetime would be as much longer."""
    found = lookup(ask(), [stored({"cache-control": said, "etag": '"a"'})], NOW - 1000)

    assert isinstance(found, Stale)
    assert (found.fwd, found.why) == (Fwd.STALE, Why.AHEAD)
    assert (found.while_revalidate, found.on_error, found.on_disconnect) == (False, may, may)


def test_every_word_is_rfc_9211_s():
    registered = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}

    assert {fwd.value for fwd in Fwd} == registered


def test_every_why_can_be_said():
    said = {
        find("max-age=0").why,
        find("no-cache").why,
        lookup(ask(), [stored({"cache-control": "max-age=9"})], NOW - 60).why,
        find("max-age=9", client="no-cache").why,
        find("max-age=9", late=5, client="max-age=1").why,
        find("max-age=9", client="min-fresh=10").why,
        lookup(ask(), [msgspec.structs.replace(stored({"cache-control": "max-age=9"}), is_invalid=True)], NOW).why,
    }

    assert said == set(Why)


DIRECTIVES = st.lists(
    st.sampled_from(
        [
            "max-age=5",
            "max-age=0",
            "s-maxage=5",
            "no-cache",
            "must-revalidate",
            "stale-while-revalidate=9",
            "max-stale",
            "stale-if-error=9",
            "max-stale=3",
            "min-fresh=2",
            "only-if-cached",
            "no-store",
            "public",
        ]
    ),
    max_size=4,
).map(", ".join)


@given(DIRECTIVES, DIRECTIVES, st.integers(-5, 30))
def test_no_wish_of_a_client_makes_a_copy_usable_that_the_origin_forbids(said, client, late):
    fields = {"cache-control": said.replace("no-store", ""), "etag": '"a"'}
    copy = stored(fields)
    plain = lookup(ask(), [copy], NOW + late)
    asked = lookup(ask(fields={"cache-control": client}), [copy], NOW + late)

    if isinstance(asked, Hit) and not isinstance(plain, Hit):
        assert "max-stale" in client
        assert not copy.must_revalidate
        assert not copy.no_cache
