"""
What the rooms decide together: every kind of decision, and when what was remembered may be used again.

The store, the pages and the clock are real; nothing waits and nothing is sent.
"""

from __future__ import annotations

import logging
import re
from typing import get_args

import pytest

from edge.cache.copy import IDENTITY
from edge.cache.lookup import Fwd
from edge.cache.purge import Purge, What
from edge.config.tree import Basic, Compression, Route, RouteAccess
from edge.exchange.decision import Admit, Answer, Combine, Decision, Fetch, Serve, ServeStale, Stored, Tunnel
from edge.exchange.memory import GONE
from edge.exchange.rooms import INLINE
from edge.message.head import Framing
from edge.observe import names
from edge.origin.request import Aim
from tests.cache import kit
from tests.exchange.kit import FRESH, TEXT, TEXTUAL, Desk

SWR = FRESH | {"cache-control": "max-age=60, stale-while-revalidate=30"}


# -- one test for every kind of decision ---------------------------------------------------------------------


def test_answer_is_what_the_edge_says_itself(desk):
    decision = desk.rooms.decide(desk.known("/x"))
    assert isinstance(decision, Fetch)

    head = kit.head()
    head.authority = b"unknown.example"
    answer = desk.rooms.decide(desk.rooms.recognise(head, desk.known().door))

    assert isinstance(answer, Answer)
    assert (404, "destination_not_found") == (answer.head.status, answer.word)


def test_serve_is_a_copy_that_is_ready(desk):
    copy = desk.keep()
    decision = desk.decide()

    assert isinstance(decision, Serve)
    assert (copy.copy_id, b"hello", "") == (decision.copy.copy_id, decision.prepared.content(), decision.coding)


def test_stored_is_a_copy_whose_body_must_first_be_got(desk):
    copy = desk.keep(body=bytes(INLINE + 1))

    assert Stored(copy, IDENTITY, eligible=False) == desk.decide()


def test_stored_is_a_copy_whose_coding_must_first_be_made(desk):
    copy = desk.keep(TEXTUAL, TEXT)

    assert Stored(copy, b"br", eligible=True) == desk.decide(fields={"accept-encoding": "br"})


def test_serve_stale_is_a_copy_that_may_be_used_while_it_is_refreshed(desk):
    desk.keep(SWR)
    desk.turn(70)
    decision = desk.decide()

    assert isinstance(decision, ServeStale)
    assert isinstance(decision.stored, Serve)
    assert (Aim.REFRESH, Fwd.STALE, True) == (decision.refresh.aim, decision.refresh.fwd, decision.refresh.shared)


def test_fetch_asks_the_origin(desk):
    stamp = desk.stamps.read(desk.known().ask.hash)

    assert Fetch(Aim.WHOLE, Fwd.URI_MISS, shared=True, stamp=stamp) == desk.decide()


def test_tunnel_asks_for_another_protocol(desk):
    assert Tunnel() == desk.decide(upgrade=b"websocket")


def test_admit_is_what_somebody_must_be_asked_about_first():
    """On its route a password is verified slowly; whatever the cache has, that comes first."""
    users = ("alice:$2b$04$5mMYJHqXkAtWzSRpGxZ/o.VtSEUY/BRj7kLH2wTtWxGv5Io3LvCUe",)
    routes = (Route("shop.example", "/", "shop", access=RouteAccess(basic="staff")),)
    desk = Desk(None, routes=routes, basic={"staff": Basic("staff", users=users)})
    known = desk.known(fields={"authorization": "Basic YWxpY2U6c2VjcmV0"})
    assert desk.rooms.admission is not None
    visit = desk.rooms.admission.visit(known, "192.0.2.7", "192.0.2.7", None)

    assert Admit(visit) == visit.advance(0.0, desk.rooms.now_wall)


def test_combine_is_for_a_copy_of_which_parts_are_stored(desk):
    begun = desk.rooms.parts.begin(kit.stored(FRESH, length=9000, at=desk.clock.wall()))

    assert Combine(begun) == desk.decide()


def test_every_kind_of_decision_has_its_test():
    kinds = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower() for kind in get_args(Decision)}
    named = {name for name in globals() if name.startswith("test_")}

    assert {"admit", "answer", "serve", "stored", "combine", "serve_stale", "fetch", "tunnel"} == kinds
    assert all(any(name.startswith((f"test_{kind}_is_", f"test_{kind}_asks_")) for name in named) for kind in kinds)


# -- what was remembered -------------------------------------------------------------------------------------


def test_a_head_that_was_answered_is_answered_with_the_same_bytes(desk):
    desk.keep()
    known = desk.known()

    assert desk.rooms.decide(known) is desk.rooms.decide(known) is known.serve()


def test_another_head_for_the_same_copy_needs_no_preparing(desk):
    desk.keep()
    first = desk.decide()

    assert first is desk.decide(fields={"cookie": "a=b"})
    assert 1 == desk.cells[names.CACHE_PREPARED]


def test_a_hit_notes_its_use(desk):
    copy = desk.keep()
    known = desk.known()
    for _ in range(3):
        desk.turn(1)
        desk.rooms.decide(known)
        assert desk.rooms.now_s == desk.recency.read(copy.copy_id)


def test_what_any_process_changes_is_seen_at_once(desk):
    copy = desk.keep()
    known = desk.known()
    desk.rooms.decide(known)
    desk.store.delete(copy.key, desk.clock.wall())

    assert isinstance(desk.rooms.decide(known), Fetch)


def test_a_copy_is_used_to_the_end_of_its_life_and_no_longer(desk):
    desk.keep()
    known = desk.known()
    desk.turn(59)
    assert isinstance(desk.rooms.decide(known), Serve)

    desk.turn(1)
    assert isinstance(desk.rooms.decide(known), Fetch)


@pytest.mark.parametrize("said", ["no-cache, max-age=60", "no-cache", "max-age=0"])
def test_what_must_be_asked_about_each_time_is_asked_about_after_it_was_confirmed_too(desk, said):
    """The head must not remember such a copy: it would be fresh by its lifetime."""
    copy = desk.keep(FRESH | {"cache-control": said})
    known = desk.known()
    serve = desk.rooms.with_copy(known, copy, desk.stamps.read(known.ask.hash))  # as after a 304

    assert isinstance(serve, Serve)
    assert isinstance(desk.rooms.decide(known), Fetch)
    assert isinstance(desk.decide(), Fetch)


def test_what_an_unsafe_method_has_changed_is_asked_about_though_it_is_fresh(desk):
    copy = desk.keep()
    known = desk.known()
    desk.rooms.decide(known)
    desk.store.mark_stale(copy.key, desk.clock.wall())
    [marked] = desk.store.copies(copy.key)
    desk.rooms.with_copy(known, marked, desk.stamps.read(known.ask.hash))

    assert isinstance(desk.rooms.decide(known), Fetch)


@pytest.mark.parametrize("fields", [{"cache-control": "max-age=10"}, {"cache-control": "no-cache"}])
def test_who_has_wishes_is_not_answered_from_memory_of_the_head(desk, fields):
    desk.keep()
    known = desk.known(fields=fields)
    desk.rooms.decide(known)
    desk.turn(20)

    assert known.serve() is None
    assert isinstance(desk.rooms.decide(known), Fetch)


def test_what_memory_has_let_go_of_is_read_again(folder):
    """The head remembers it too, and must let go with the memory."""
    desk = Desk(folder, memory=64_000)
    desk.keep(body=bytes(12_000))
    known = desk.known()
    first = desk.rooms.decide(known)
    for number in range(8):
        asked = kit.ask(f"/{number}")
        desk.store.put(kit.stored(FRESH, asked=asked, length=12_000), bytes(12_000))
        desk.decide(f"/{number}")
    again = desk.rooms.decide(known)

    assert (GONE, True) == (first.stamp, first is not again)
    assert isinstance(again, Serve)
    desk.close()


def test_what_is_too_large_to_be_kept_at_hand_is_served_all_the_same(folder):
    desk = Desk(folder, memory=10_000)
    desk.keep(body=bytes(20_000))
    known = desk.known()

    assert [20_000, 20_000] == [desk.rooms.decide(known).prepared.length for _ in range(2)]
    assert 0 == desk.rooms.memory.used
    desk.close()


def test_a_copy_whose_body_is_gone_is_a_miss(desk):
    copy = desk.keep()
    gone = kit.stored(FRESH)
    gone.copy_id, gone.bodies = copy.copy_id, {IDENTITY: type(copy.bodies[IDENTITY])(12345, 5)}
    known = desk.known()
    desk.rooms.memory.learn(known.ask.key, desk.stamps.read(known.ask.hash), [gone])

    assert Fetch(Aim.WHOLE, Fwd.MISS, shared=True) == desk.rooms.decide(known)


# -- sharing -------------------------------------------------------------------------------------------------


def test_without_a_store_everyone_asks_for_himself(bare):
    decision = bare.decide()

    assert (Aim.WHOLE, Fwd.URI_MISS, False) == (decision.aim, decision.fwd, decision.shared)


@pytest.mark.parametrize("fields", [{"range": "bytes=0-1"}, {"if-none-match": '"1"'}])
def test_what_will_not_be_kept_is_asked_for_as_the_client_did(bare, fields):
    assert Fetch(Aim.PASS, Fwd.URI_MISS) == bare.decide(fields=fields)


def test_a_shunned_key_is_fetched_by_everyone_for_himself_until_the_time_is_over(desk):
    known = desk.known()
    desk.shunned.shun(known.ask.hash, desk.rooms.now_s + 10)
    assert not desk.rooms.decide(known).shared

    desk.turn(10)
    assert desk.rooms.decide(known).shared


def test_a_shunned_copy_is_not_served_stale_behind_a_fetch_nobody_makes(desk):
    desk.keep(SWR)
    desk.turn(70)
    desk.shunned.shun(desk.known().ask.hash, desk.rooms.now_s + 10)

    assert isinstance(desk.decide(), Fetch)


def test_only_if_cached_never_asks(desk):
    decision = desk.decide(fields={"cache-control": "only-if-cached"})

    assert (504, "request") == (decision.head.status, decision.outcome)


def test_an_unsafe_method_looks_nothing_up(desk):
    desk.keep()

    assert Fetch(Aim.PASS, Fwd.METHOD) == desk.decide(method="POST", framing=Framing.LENGTH, length=1)


def test_a_fetch_stands_until_something_happens_to_its_key(desk):
    known = desk.known()
    fetch = desk.rooms.decide(known)
    assert desk.rooms.stands(known, fetch)

    desk.shunned.shun(known.ask.hash, desk.rooms.now_s + 10)
    assert not desk.rooms.stands(known, fetch)

    desk.shunned.forgive(known.ask.hash)
    desk.keep()
    assert not desk.rooms.stands(known, fetch)


# -- codings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        ({}, b"identity"),
        ({"accept-encoding": "gzip"}, b"gzip"),
        ({"accept-encoding": "gzip, br"}, b"br"),
        ({"accept-encoding": "br", "range": "bytes=0-1"}, b"identity"),
        ({"accept-encoding": "identity;q=0, br", "range": "bytes=0-1"}, b"br"),
        ({"accept-encoding": "identity;q=0, unheard-of"}, b"identity"),
    ],
)
def test_the_coding_is_the_clients_best_that_we_make(desk, fields, coding):
    assert coding == desk.rooms.coding_for(desk.known(fields=fields), eligible=True)


def test_what_is_not_worth_coding_is_sent_as_it_is(desk):
    assert IDENTITY == desk.rooms.coding_for(desk.known(fields={"accept-encoding": "br"}), eligible=False)


@pytest.mark.parametrize(
    ("fields", "length", "coded"),
    [
        (TEXTUAL, 5000, True),
        (TEXTUAL, 10, False),
        (FRESH, 5000, False),
        (TEXTUAL | {"cache-control": "max-age=60, no-transform"}, 5000, False),
    ],
)
def test_what_is_coded_is_text_of_some_length_that_may_be_transformed(desk, fields, length, coded):
    assert coded == desk.rooms.is_coded(kit.stored(fields, length=length))
    assert coded == desk.rooms.is_coded_head(kit.reply(200, fields, length))


def test_who_makes_no_codings_codes_nothing(folder):
    desk = Desk(folder, compression=Compression(encodings=()))

    assert not desk.rooms.is_coded(kit.stored(TEXTUAL, length=5000))
    assert not desk.rooms.is_coded_head(kit.reply(200, TEXTUAL, 5000))
    desk.close()


def test_a_coding_in_the_store_is_served_at_once(desk):
    copy = desk.keep(TEXTUAL, TEXT)
    desk.store.add_variant(copy, b"br", b"coded")
    decision = desk.decide(fields={"accept-encoding": "br"})

    assert ("br", b"coded") == (decision.coding, decision.prepared.content())


# -- the rest ------------------------------------------------------------------------------------------------


def test_who_asks_is_the_peer_or_whom_a_proxy_of_ours_names(desk):
    head = kit.head(fields={"x-forwarded-for": "198.51.100.9"})

    assert "192.0.2.7" == desk.rooms.client("192.0.2.7", head).address
    assert "198.51.100.9" == desk.rooms.client("10.1.2.3", head).address


def test_a_full_store_is_told_of_once_a_minute(desk, caplog):
    caplog.set_level(logging.WARNING, "edge")
    for _ in range(5):
        desk.rooms.say_full()
    desk.turn(61)
    desk.rooms.say_full()

    assert 2 == len(caplog.messages)
    assert "(4 more since the last time)" in caplog.messages[1]


def test_a_copy_read_nobody_knows_when_is_for_this_once(desk):
    """A purge may have come between: what was confirmed just now must not make another head believe that it stands."""
    copy = desk.keep()
    known = desk.known()
    serve = desk.rooms.with_copy(known, copy, None)

    assert GONE == serve.stamp
    assert serve is desk.rooms.decide(known)
    assert desk.stamps.read(known.ask.hash) == serve.stamp


def test_a_purge_of_other_things_costs_a_look_and_no_new_preparation(desk):
    desk.keep()
    serve = desk.decide()
    desk.store.purge(Purge(What.TAG, b"other", desk.clock.wall()))

    assert desk.stamps.read(desk.known().ask.hash) != serve.stamp
    assert serve is desk.decide()
    assert desk.stamps.read(desk.known().ask.hash) == serve.stamp


def test_a_purge_takes_away_what_a_head_remembers(desk):
    desk.keep()
    known = desk.known()
    assert isinstance(desk.rooms.decide(known), Serve)
    desk.store.purge(Purge(What.HOST, b"shop.example", desk.clock.wall()))

    assert isinstance(desk.rooms.decide(known), Fetch)


def test_a_soft_purge_asks_again_and_serves_meanwhile(desk):
    desk.keep(SWR)
    known = desk.known()
    assert isinstance(desk.rooms.decide(known), Serve)
    desk.turn(5)
    desk.store.purge(Purge(What.ALL, b"", desk.clock.wall(), is_soft=True))
    desk.turn(1)

    assert isinstance(desk.rooms.decide(known), ServeStale)


def test_uses_are_counted_from_memory_and_from_the_store(desk):
    """In a word of the copy's own once a second, so that a hit costs an addition."""
    copy = desk.keep()
    known = desk.known()
    for _ in range(5):
        desk.rooms.decide(known)

    assert 1 == desk.recency.uses(copy.copy_id)
    desk.rooms.memory.count()
    assert 5 == desk.recency.uses(copy.copy_id)
    desk.rooms.memory.count()
    assert 5 == desk.recency.uses(copy.copy_id)
