"""The crossing, in values: what a request says and what was found → how the origin is asked."""

from __future__ import annotations

import pytest

from edge.cache.lookup import Fwd, Miss, Stale, Why
from edge.cache.policy import RoutePolicy
from edge.exchange.decide import fetch_for, unmet, without_cache
from edge.exchange.decision import Fetch, Tunnel
from edge.exchange.recognise import Known
from edge.message.head import Framing
from edge.origin.request import Aim
from tests.cache import kit
from tests.exchange.kit import FRESH, NOW, door


def known(target="/x", method="GET", fields={}, **more):
    head = kit.head(target, method, fields, **more)
    return Known(head, door(), kit.ask(target, method, fields, **more))


def stale(fields=FRESH, fwd=Fwd.STALE):
    return Stale(kit.stored(fields), 61.0, -1.0, fwd, Why.EXPIRED, False, True, True)


@pytest.mark.parametrize(("method", "fwd"), [("POST", Fwd.METHOD), ("OPTIONS", Fwd.METHOD), ("BREW", Fwd.METHOD)])
def test_what_is_not_a_get_or_head_is_passed_by_its_method(method, fwd):
    assert Fetch(Aim.PASS, fwd) == without_cache(known(method=method))


def test_a_get_with_a_body_is_passed():
    assert Fetch(Aim.PASS, Fwd.BYPASS) == without_cache(known(framing=Framing.LENGTH, length=3))


def test_a_get_that_asks_for_another_protocol_is_a_tunnel():
    assert Tunnel() == without_cache(known(upgrade=b"websocket"))


@pytest.mark.parametrize(
    ("method", "more"), [("POST", {}), ("GET", {"framing": Framing.CHUNKED}), ("HEAD", {"framing": Framing.NONE})]
)
def test_another_protocol_is_asked_for_by_a_plain_get_only(method, more):
    assert isinstance(without_cache(known(method=method, upgrade=b"websocket", **more)), Fetch)


@pytest.mark.parametrize("fields", [{"if-match": '"1"'}, {"if-match": "*"}, {"if-unmodified-since": 0}])
def test_conditions_on_the_origins_state_are_the_origins_to_weigh(fields):
    assert Fetch(Aim.PASS, Fwd.REQUEST) == without_cache(known(fields=fields))


@pytest.mark.parametrize("fields", [{}, {"if-none-match": '"1"'}, {"if-modified-since": 0}, {"range": "bytes=0-1"}])
def test_everything_else_looks_into_the_cache(fields):
    assert without_cache(known(fields=fields)) is None


def test_a_miss_asks_for_the_whole_and_may_be_shared():
    assert Fetch(Aim.WHOLE, Fwd.URI_MISS, shared=True) == fetch_for(known(), Miss(Fwd.URI_MISS, []))


def test_a_part_is_cut_here_so_the_whole_is_asked_for():
    assert fetch_for(known(fields={"range": "bytes=0-1"}), Miss(Fwd.URI_MISS, [])).aim is Aim.WHOLE


def test_a_stale_copy_is_asked_about():
    found = stale()

    assert Fetch(Aim.REFRESH, Fwd.STALE, stale=found, shared=True) == fetch_for(known(), found)


def test_a_stale_copy_without_validator_is_asked_for_anew():
    found = stale({"cache-control": "max-age=60"})

    assert Fetch(Aim.WHOLE, Fwd.STALE, stale=found, shared=True) == fetch_for(known(), found)


def test_a_copy_is_asked_about_by_its_date_alone():
    found = stale({"cache-control": "max-age=60", "last-modified": -100})

    assert fetch_for(known(), found).aim is Aim.REFRESH


def test_copies_for_other_fields_may_save_the_body_by_their_tags():
    tagged = kit.stored({**FRESH, "vary": "x-kind"})
    untagged = kit.stored({"cache-control": "max-age=60", "vary": "x-kind"})

    plan = fetch_for(known(), Miss(Fwd.VARY_MISS, [tagged, untagged]))

    assert Fetch(Aim.REFRESH, Fwd.VARY_MISS, others=(tagged,), shared=True) == plan


def test_copies_for_other_fields_without_tags_are_no_help():
    untagged = kit.stored({"cache-control": "max-age=60", "vary": "x-kind", "last-modified": -100})

    assert Fetch(Aim.WHOLE, Fwd.VARY_MISS, shared=True) == fetch_for(known(), Miss(Fwd.VARY_MISS, [untagged]))


def test_a_head_is_passed_as_it_is_but_a_stale_copy_may_answer_it_if_the_origin_fails():
    found = stale()

    assert Fetch(Aim.PASS, Fwd.STALE, stale=found) == fetch_for(known(method="HEAD"), found)
    assert Fetch(Aim.PASS, Fwd.URI_MISS) == fetch_for(known(method="HEAD"), Miss(Fwd.URI_MISS, []))


def test_who_forbids_storing_is_asked_for_alone():
    assert Fetch(Aim.PASS, Fwd.STALE) == fetch_for(known(fields={"cache-control": "no-store"}), stale())


def test_who_wanted_a_copy_or_nothing_gets_504_and_is_told_why():
    answer = unmet(known(fields={"cache-control": "only-if-cached"}), NOW)

    assert (504, "request") == (answer.head.status, answer.outcome)
    assert b"edge; fwd=request; detail=only-if-cached" == answer.head.get(b"cache-status")
    assert answer.body


def test_a_504_to_head_has_no_body():
    answer = unmet(known(method="HEAD", fields={"cache-control": "only-if-cached"}), NOW)

    assert (b"", Framing.NONE) == (answer.body, answer.head.framing)


def test_copies_that_an_operator_tells_apart_do_not_vouch_for_each_other():
    """The origin may give all of them one tag: it does not know that they differ."""
    other = kit.stored(FRESH)
    plain, ruled = known(), known()
    ruled.ask.policy = RoutePolicy(key_headers=[b"x-country"])

    assert Aim.REFRESH is fetch_for(plain, Miss(Fwd.VARY_MISS, [other])).aim
    fetch = fetch_for(ruled, Miss(Fwd.VARY_MISS, [other]))
    assert (Aim.WHOLE, (), True) == (fetch.aim, fetch.others, fetch.shared)
