"""What a reply says about our cache."""

from __future__ import annotations

import pytest

from edge.reply.cache_status import FWD, forwarded, hit, item


def test_a_hit_says_how_long_it_stays_fresh():
    assert hit(30) == b"edge; hit; ttl=30"


def test_a_stale_hit_has_a_negative_ttl():
    assert hit(-5) == b"edge; hit; ttl=-5"


def test_a_hit_may_have_a_detail():
    assert hit(-5, detail="stale-if-error") == b"edge; hit; ttl=-5; detail=stale-if-error"


@pytest.mark.parametrize("fwd", sorted(FWD))
def test_every_reason_for_going_forward_is_said_as_registered(fwd):
    assert forwarded(fwd) == b"edge; fwd=" + fwd.encode()


def test_a_reason_nobody_registered_is_our_own_mistake():
    with pytest.raises(AssertionError):
        forwarded("because")


def test_everything_that_came_of_asking_is_said_in_the_order_of_the_rfc():
    said = forwarded("stale", fwd_status=304, ttl=60, stored=True, collapsed=True, detail="x")

    assert said == b"edge; fwd=stale; fwd-status=304; ttl=60; stored; collapsed; detail=x"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("no-store", b"no-store"),
        ("two words", b'"two words"'),
        ("", b'""'),
        ("4xx", b'"4xx"'),
        ('a"b\\c', b'"a\\"b\\\\c"'),
        ("a\r\nset-cookie: x", b'"a??set-cookie: x"'),
        ("größe", b'"gr??e"'),
    ],
)
def test_a_detail_is_a_token_or_a_string_and_never_anything_else(text, spelled):
    assert spelled == item(text)
