"""What an origin is told of somebody, and that nobody else can say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.headers import is_field_value
from edge.policy.identity import claim, field_value, fields_of, has, without

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_whatever_is_claimed_is_a_field_value_of_printable_ascii(value) -> None:
    made = field_value(value)

    assert made is None or (is_field_value(made) and made.isascii() and all(0x20 <= byte < 0x7F for byte in made))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("ada", b"ada"),
        ("Ada Lovelace", b"Ada Lovelace"),
        ("zoë", b"zo%C3%AB"),
        ("100%", b"100%25"),
        ("a\r\nX-Admin: 1", b"a%0D%0AX-Admin: 1"),
        (["a", "b"], b'["a","b"]'),
        (True, b"true"),
        (7, b"7"),
        (None, None),
        ("", None),
        ("x" * 4097, None),
        ("\ud800", b"?"),
    ],
)
def test_text_is_told_as_it_is_and_all_else_as_json(value, told) -> None:
    assert told == field_value(value)


def test_a_claim_is_found_by_its_name_or_by_the_way_to_it() -> None:
    claims = {"https://x.example/plan": "gold", "realm": {"roles": ["a"]}, "a.b": 1}

    assert "gold" == claim(claims, "https://x.example/plan")
    assert ["a"] == claim(claims, "realm.roles")
    assert 1 == claim(claims, "a.b")
    assert None is claim(claims, "realm.roles.0")


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("admin", True),
        ("user admin", True),
        ("administrator", False),
        (["user", "admin"], True),
        ([1, None], False),
        ({"admin": 1}, False),
        (None, False),
    ],
)
def test_a_claim_holds_what_is_wanted_or_does_not(value, fits: bool) -> None:
    assert fits is has({"role": value}, "role", ("admin", "root"))


def test_truth_and_numbers_are_compared_as_json_writes_them() -> None:
    assert has({"verified": True}, "verified", ("true",))
    assert has({"level": 3}, "level", ("3",))
    assert not has({"level": 3.0}, "level", ("3",))


def test_what_is_not_claimed_is_not_told() -> None:
    assert ((b"x-user", b"ada"),) == fields_of({"sub": "ada"}, {b"x-user": "sub", b"x-plan": "plan"})


def test_fields_of_a_name_are_taken_off_however_they_are_spelled() -> None:
    fields = [(b"x-user", b"1"), (b"x_user", b"2"), (b"x-user-id", b"3"), (b"a_b", b"4")]

    assert [(b"x-user-id", b"3"), (b"a_b", b"4")] == without(fields, frozenset({b"x-user"}))
    assert fields is without(fields, frozenset({b"x-other"}))
