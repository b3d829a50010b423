"""Header fields set, added, taken off."""

from __future__ import annotations

import pytest

from edge.policy.fields import Changes

FIELDS = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"x-debug-id", b"4")]


def test_what_is_set_takes_the_place_of_every_line():
    assert Changes(set_=[("a", "9")]).apply(FIELDS, {}) == [(b"b", b"2"), (b"x-debug-id", b"4"), (b"a", b"9")]


def test_what_is_added_stands_beside():
    assert Changes(add=[("a", "9")]).apply(FIELDS, {}) == [*FIELDS, (b"a", b"9")]


def test_what_is_removed_goes_by_its_name_or_its_beginning():
    assert Changes(remove=["a", "x-debug-*"]).apply(FIELDS, {}) == [(b"b", b"2")]


def test_a_field_may_be_removed_and_added_anew():
    assert Changes(remove=["a"], add=[("a", "9")]).apply(FIELDS, {})[-1] == (b"a", b"9")


def test_variables_are_filled_in_for_each_message():
    changes = Changes(set_=[("c", "{host}/{path}")], add=[("d", "x")], known=("host", "path"))

    assert changes.names == {"host", "path"}
    assert changes.touched == {b"c", b"d"}
    assert changes.apply([], {"host": b"h", "path": b"p"}) == [(b"c", b"h/p"), (b"d", b"x")]


def test_the_fields_given_stay_as_they_are():
    before = list(FIELDS)
    made = Changes(set_=[("a", "9")]).apply(FIELDS, {})
    made.append((b"z", b""))

    assert before == FIELDS
    assert Changes().apply(FIELDS, {}) == FIELDS


def test_a_variable_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"no \{client\} here"):
        Changes(set_=[("a", "{client}")], known=("host",))
