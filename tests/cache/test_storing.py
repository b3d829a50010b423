"""May a reply be kept? A test named after every reason (tests/cache/test_reasons.py), and the choices the module header makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.ask import ask_of
from edge.cache.copy import Copy
from edge.cache.policy import RoutePolicy
from edge.cache.storing import FOR_EVERYBODY, UNDERSTOOD, NotStored, Unstored, may_store, not_stored
from edge.message.head import Framing, ReplyHead
from tests.cache.kit import NOW, PREFERENCE, ask, head, reply, stored, why_not

FRESH = {"cache-control": "max-age=60"}
TAGGED = {"etag": '"a"'}
UNCHANGED = {"last-modified": -1000, "date": 0}


@pytest.mark.parametrize(
    "status", sorted(UNDERSTOOD - {412, 413, 416, 417, 421, 425, 426, 428, 431} | {299, 499, 599, 999})
)
def test_any_final_status_is_kept_when_its_lifetime_is_given(status):
    assert why_not(FRESH, status=status) == "stored"


def test_what_is_kept_is_worked_out():
    copy = stored(
        {
            "cache-control": "max-age=60, stale-while-revalidate=5, stale-if-error=9",
            "etag": '"a"',
            "age": "3",
            "date": -1,
        }
    )

    assert (copy.lifetime_s, copy.initial_age, copy.swr_s, copy.sie_s) == (60, 3, 5, 9)
    assert (copy.etag, copy.last_modified, copy.is_explicit, copy.date_wall) == (b'"a"', None, True, NOW - 1)
    assert copy.url == b"https://shop.example/x"
    assert copy.get(b"age") is None


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "M-SEARCH", "POST"])
def test_method(method):
    assert why_not(FRESH, asked=ask(method=method)) == "method"


def test_method_post_is_kept_for_its_own_location_with_a_lifetime():
    post = ask("/x?y", method="POST", framing=Framing.LENGTH, length=5)

    assert why_not({**FRESH, "content-location": "/x?y"}, asked=post) == "stored"
    assert why_not({**FRESH, "content-location": "https://shop.example/x?y"}, asked=post) == "stored"
    assert why_not({**FRESH, "content-location": "/x"}, asked=post) == "method"
    assert why_not({**UNCHANGED, "content-location": "/x?y"}, asked=post) == "method"
    assert why_not({**FRESH, "content-location": "/x?y"}, asked=post, status=500) == "method"
    assert why_not({**FRESH, "content-location": "/x"}, asked=ask(method="PUT")) == "method"


@pytest.mark.parametrize("name", ["x-http-method-override", "x-http-method", "x-method-override"])
def test_method_a_post_that_says_it_means_another_is_not_one(name):
    post = ask("/x?y", "POST", {name: "GET"}, framing=Framing.LENGTH, length=5)

    assert why_not({**FRESH, "content-location": "/x?y"}, asked=post) == "method"


def test_request_body():
    assert why_not(FRESH, asked=ask(framing=Framing.LENGTH, length=1)) == "request-body"


def test_request_no_store():
    assert why_not(FRESH, asked=ask(fields={"cache-control": "no-store"})) == "request-no-store"


@pytest.mark.parametrize("status", [100, 101, 103])
def test_interim(status):
    assert why_not(FRESH, status=status) == "interim"


@pytest.mark.parametrize("status", [206, 416])
def test_partial(status):
    assert why_not(FRESH, status=status) == "partial"


def test_not_modified():
    assert why_not({**FRESH, **TAGGED}, status=304) == "not-modified"


@pytest.mark.parametrize("status", [412, 413, 417, 421, 425, 426, 428, 431])
def test_request_specific(status):
    assert why_not(FRESH, status=status) == "request-specific"


def test_must_understand():
    assert why_not({"cache-control": "max-age=60, must-understand"}, status=599) == "must-understand"
    assert why_not({"cache-control": "max-age=60, no-store, must-understand"}, status=599) == "must-understand"
    assert why_not({"cache-control": "max-age=60, no-store, must-understand"}, status=200) == "stored"


@pytest.mark.parametrize("said", ["no-store", "No-StOrE", "max-age=60, no-store", "public, no-store"])
def test_no_store(said):
    assert why_not({"cache-control": said, "expires": 100}) == "no-store"


def test_no_store_of_others_is_overridden_by_what_is_said_to_us():
    assert why_not({"cache-control": "no-store", "cdn-cache-control": "max-age=60"}) == "stored"
    assert why_not({"cache-control": "max-age=60", "cdn-cache-control": "no-store"}) == "no-store"
    assert why_not({"cache-control": "no-store", "cdn-cache-control": "max-age=60, &&&"}) == "no-store"


def test_private():
    assert why_not({"cache-control": "private, max-age=60"}) == "private"
    assert why_not({"cache-control": "max-age=60", "cdn-cache-control": "private"}) == "private"


@pytest.mark.parametrize(
    ("status", "kind", "why"), [(200, "text/html", "unlike"), (200, "text/css", "stored"), (404, "text/html", "stored")]
)
def test_unlike(status, kind, why):
    asked = ask_of(head("/account/x.css"), PREFERENCE, RoutePolicy(must_be_alike=True))

    assert why_not({**FRESH, "content-type": kind}, asked=asked, status=status) == why
    assert why_not({**FRESH, "content-type": kind}, asked=ask("/account/x.css"), status=status) == "stored"


@pytest.mark.parametrize("said", ["max-age=60", "no-cache", "max-age=60, proxy-revalidate"])
def test_authorization(said):
    assert why_not({"cache-control": said, **TAGGED}, asked=ask(fields={"authorization": "x"})) == "authorization"


@pytest.mark.parametrize("said", ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"])
def test_authorization_is_no_reason_when_the_origin_allows_sharing(said):
    assert why_not({"cache-control": said}, asked=ask(fields={"authorization": "x"})) == "stored"


@pytest.mark.parametrize("said", ["max-age=60", "max-age=60, must-revalidate", "proxy-revalidate, max-age=60"])
def test_identity(said):
    """Whoever asks was let in for who they are, and the reply may be theirs."""
    asked = ask()
    asked.is_identified = True

    assert why_not({"cache-control": said, **TAGGED}, asked=asked) == "identity"


@pytest.mark.parametrize("said", ["max-age=60, public", "s-maxage=60"])
def test_identity_is_no_reason_when_the_origin_says_it_is_for_all(said):
    asked = ask()
    asked.is_identified = True

    assert why_not({"cache-control": said}, asked=asked) == "stored"


@pytest.mark.parametrize("vary", ["*", "foo, *"])
def test_vary_star(vary):
    assert why_not({**FRESH, "vary": vary}) == "vary-star"


@pytest.mark.parametrize("status", [201, 202, 302, 307, 403, 500, 502, 503, 504, 599])
def test_status(status):
    assert why_not(UNCHANGED, status=status) == "status"
    assert why_not({**UNCHANGED, "cache-control": "public"}, status=status) == "stored"


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_status_that_may_be_guessed_for(status):
    copy = stored(UNCHANGED, status=status)

    assert (copy.lifetime_s, copy.is_explicit) == (100, False)


def test_set_cookie():
    assert why_not({**UNCHANGED, "set-cookie": "a=b"}) == "set-cookie"
    assert why_not({**TAGGED, "set-cookie": "a=b", "cache-control": "no-cache"}) == "set-cookie"


@pytest.mark.parametrize("said", [FRESH, {"expires": 100}, {"cdn-cache-control": "max-age=5"}])
def test_set_cookie_is_no_reason_when_the_lifetime_is_given(said):
    copy = stored({**said, "set-cookie": "a=b"})

    assert copy.get(b"set-cookie") == b"a=b"


def test_no_freshness():
    assert why_not({}) == "no-freshness"
    assert why_not({"cache-control": "no-cache, max-age=60"}) == "no-freshness"
    assert why_not({"etag": "unquoted", "last-modified": "junk"}) == "no-freshness"


def test_no_freshness_but_a_validator_is_kept_to_be_asked_about():
    copy = stored(TAGGED)

    assert (copy.lifetime_s, copy.is_explicit) == (0, False)
    assert stored({**TAGGED, "cache-control": "no-cache"}).no_cache


def test_already_stale():
    assert why_not({"cache-control": "max-age=60", "age": "60"}) == "already-stale"
    assert why_not({"expires": -5, "date": 0}) == "already-stale"
    assert why_not({"expires": -5, "date": 0, **TAGGED}) == "stored"
    assert why_not({"cache-control": "max-age=0, stale-while-revalidate=5"}) == "stored"


def test_too_large():
    assert why_not(FRESH, length=11, max_object=10) == "too-large"
    assert why_not(FRESH, length=10, max_object=10) == "stored"


@pytest.mark.parametrize(
    ("said", "swr", "sie", "must"),
    [
        ("max-age=1, stale-while-revalidate=5, stale-if-error=6", 5, 6, False),
        ("s-maxage=1, stale-while-revalidate=5, stale-if-error=6", 5, 6, True),
        ("max-age=1, must-revalidate, stale-while-revalidate=5, stale-if-error=6", 0, None, True),
        ("max-age=1, proxy-revalidate, stale-while-revalidate=5, stale-if-error=6", 0, None, True),
        ("max-age=1", 0, None, False),
    ],
)
def test_leave_to_serve_stale_is_kept_unless_revalidation_is_demanded_by_name(said, swr, sie, must):
    copy = stored({"cache-control": said})

    assert (copy.swr_s, copy.sie_s, copy.must_revalidate) == (swr, sie, must)


def test_fields_that_must_not_be_stored_are_not():
    copy = stored(
        [
            ("cache-control", 'max-age=60, no-cache="a", private="b, c"'),
            ("connection", "close, d"),
            *((name, "1") for name in "abcd"),
            ("keep-alive", "1"),
            ("proxy-authenticate", "1"),
            ("proxy-authentication-info", "1"),
            ("proxy-authorization", "1"),
            ("proxy-connection", "1"),
            ("te", "1"),
            ("upgrade", "1"),
            ("age", "1"),
            ("set-cookie", "1"),
            ("content-range", "1"),
            ("x-unknown", "1"),
        ]
    )

    assert [name for name, _ in copy.fields] == [b"cache-control", b"set-cookie", b"content-range", b"x-unknown"]


def test_no_transform_counts_from_either_field():
    assert stored({"cache-control": "max-age=60, no-transform"}).no_transform
    assert stored({"cdn-cache-control": "max-age=60", "cache-control": "No-Transform"}).no_transform
    assert not stored(FRESH).no_transform


def test_reasons_of_the_store_have_one_value_each():
    assert not_stored(Unstored.STORE_FULL) is not_stored(Unstored.STORE_FULL)
    assert len({reason.value for reason in Unstored}) == len(Unstored)


def test_reasons_of_one_request_or_one_moment_are_not_for_everybody():
    own = {Unstored.METHOD, Unstored.REQUEST_NO_STORE, Unstored.REQUEST_BODY, Unstored.AUTHORIZATION, Unstored.PARTIAL}

    assert not own & FOR_EVERYBODY
    assert Unstored.STORE_FULL not in FOR_EVERYBODY
    assert Unstored.PRIVATE in FOR_EVERYBODY


VALUES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"max-age=5", b"no-cache", b'"a"', b"foo", b"Thu, 18 Aug 2050 02:01:18 GMT", b"public", b"/x", b"*"]
    ),
)
NAMES = st.sampled_from(
    [
        b"cache-control",
        b"cdn-cache-control",
        b"expires",
        b"date",
        b"age",
        b"vary",
        b"etag",
        b"last-modified",
        b"set-cookie",
        b"content-location",
        b"connection",
    ]
)


@given(st.sampled_from(["GET", "POST", "HEAD"]), st.integers(100, 999), st.lists(st.tuples(NAMES, VALUES)))
def test_any_reply_is_stored_or_has_a_reason(method, status, fields):
    verdict = may_store(ask(method=method), ReplyHead(status, fields), request_wall=NOW, response_wall=NOW)

    assert isinstance(verdict, Copy | NotStored)


def test_a_reply_without_a_length_may_be_kept():
    assert isinstance(
        may_store(ask(), ReplyHead(200, reply(200, FRESH).fields), request_wall=NOW, response_wall=NOW), Copy
    )
