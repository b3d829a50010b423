"""Expressions that fit the whole, in linear time, or are refused with a reason."""

from __future__ import annotations

import time

import pytest

from edge.message.pattern import Pattern


def test_an_expression_fits_the_whole_or_nothing():
    pattern = Pattern("/items/([0-9]+)(/x)?")

    assert pattern.match(b"/items/12").groups() == (b"12", None)
    assert pattern.match(b"/items/12/y") is None
    assert pattern.match(b"x/items/12") is None
    assert pattern.groups == 2
    assert repr(pattern) == "<Pattern '/items/([0-9]+)(/x)?'>"


def test_any_byte_is_a_sign():
    assert Pattern(".é.").match(b"\x00\xe9\xff") is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(a", "missing )"),
        ("(?=a)", "invalid perl operator"),
        (r"(a)\1", "invalid escape"),
        ("((a{100}){100}){100}", "invalid repetition"),
        ("(((((a{9}){9}){9}){9}){9}){9}", "invalid repetition"),
        ("\u20ac", "no request can have"),
    ],
)
def test_what_is_none_is_refused(text, why):
    with pytest.raises(ValueError, match=why.replace(")", r"\)")):
        Pattern(text)


def test_no_input_takes_long():
    """What a backtracking engine would not finish before the sun goes out."""
    pattern = Pattern("(a+)+(a*)*b")
    begun = time.process_time()

    assert pattern.match(b"a" * 100_000) is None
    assert time.process_time() - begun < 1.0
