"""How many connections each client has open, in all processes together."""

import os

from edge.share.crowd import PLACES, Crowd


def test_what_all_slots_hold_is_counted_together():
    crowd = Crowd(4)
    seat = crowd.seat(b"192.0.2.1")
    for slot in (0, 1, 3, 3):
        crowd.take(slot, seat)

    assert 4 == crowd.count(seat)
    crowd.leave(3, seat)
    assert 3 == crowd.count(seat)


def test_somebody_else_is_not_counted_along():
    crowd = Crowd(2)
    crowd.take(0, crowd.seat(b"a"))

    assert sum(crowd.count(crowd.seat(b"%d" % number)) for number in range(100)) <= 1


def test_never_too_few_and_seldom_too_many():
    """A thousand clients share what places there are; nobody gets more room for it, and few get less."""
    crowd = Crowd(3)
    held = {b"client %d" % number: number % 5 for number in range(1000)}
    for client, count in held.items():
        for turn in range(count):
            crowd.take(turn % 3, crowd.seat(client))
    counted = {client: crowd.count(crowd.seat(client)) for client in held}

    assert all(counted[client] >= held[client] for client in held)
    assert 150 > sum(counted[client] != held[client] for client in held)


def test_the_dead_hold_nothing():
    crowd = Crowd(3)
    seat = crowd.seat(b"a")
    for slot in range(3):
        crowd.take(slot, seat)
    crowd.forget(1)

    assert 2 == crowd.count(seat)


def test_places_cannot_be_foreseen():
    """Who could tell which addresses share a place could lock somebody out from elsewhere."""
    clients = [b"%d" % number for number in range(64)]

    assert [Crowd(1).seat(client) for client in clients] != [Crowd(1).seat(client) for client in clients]


def test_the_next_program_counts_on_in_the_same_places():
    crowd = Crowd(2)
    seat = crowd.seat(b"a")
    crowd.take(1, seat)
    from edge.share.page import Page

    other = Crowd(2, Page(crowd.page.size, "crowd", os.dup(crowd.page.fd)))

    assert seat == other.seat(b"a")
    assert 1 == other.count(seat)


def test_both_places_lie_in_their_own_halves():
    for number in range(200):
        first, second = Crowd(1).seat(b"%d" % number)

        assert 0 <= first < PLACES <= second < 2 * PLACES
