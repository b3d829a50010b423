"""The doors sessions come in by: one per listener and context, each with a memory of its own."""

from __future__ import annotations

import pytest

from edge.config.tree import Listener
from edge.worker.doors import Doors

PLAIN = Listener("127.0.0.1:8080")
TLS = Listener("127.0.0.1:8443", tls=True)


class Contexts:
    """Two names of one context, one of another; each serves its own hosts."""

    contexts = {b"a.example": "first", b"b.example": "first", b"guarded.example": "guarded"}

    def choose(self, server_name, listener):
        return self.contexts.get(server_name, "first")

    def may_serve(self, context, listener, host):
        return self.contexts.get(host, "first") == context


@pytest.fixture
def doors():
    return Doors(Contexts())


def test_a_listener_has_one_door(doors):
    door = doors.plain(PLAIN)

    assert door is doors.plain(PLAIN)
    assert (PLAIN, b"http", None, False, None) == (
        door.listener,
        door.scheme,
        door.context,
        door.is_admin,
        door.may_serve,
    )


def test_two_listeners_have_two_doors_though_they_are_alike(doors):
    assert doors.plain(Listener("127.0.0.1:8080")) is not doors.plain(Listener("127.0.0.1:8080"))


def test_the_operators_door_says_so(doors):
    assert doors.plain(PLAIN, is_admin=True).is_admin


def test_names_of_one_context_share_a_door(doors):
    door = doors.named(TLS, b"a.example")

    assert door is doors.named(TLS, b"b.example") is doors.named(TLS, None)
    assert (b"https", "first") == (door.scheme, door.context)


def test_another_context_is_another_door_with_another_memory(doors):
    first, guarded = doors.named(TLS, b"a.example"), doors.named(TLS, b"guarded.example")

    assert first is not guarded
    assert first.memo is not guarded.memo


def test_a_guarded_host_is_served_by_its_own_door_only(doors):
    first, guarded = doors.named(TLS, b"a.example"), doors.named(TLS, b"guarded.example")

    assert [True, False] == [first.may_serve(host) for host in (b"b.example", b"guarded.example")]
    assert [False, True] == [guarded.may_serve(host) for host in (b"b.example", b"guarded.example")]


def test_renewed_certificates_make_every_door_forget_its_heads(doors):
    """What a head means was worked out for the hosts that could come through then."""
    plain, named = doors.plain(PLAIN), doors.named(TLS, b"a.example")
    plain.memo.heads[b"x"] = named.memo.heads[b"y"] = object()
    doors.renewed()

    assert ({}, {}) == (plain.memo.heads, named.memo.heads)
    assert plain is doors.plain(PLAIN)
