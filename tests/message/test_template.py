"""Texts with variables."""

from __future__ import annotations

import pytest

from edge.message.template import Template


def test_variables_are_filled_in_and_braces_doubled_are_braces():
    template = Template("{{{a}-{1}}} {a}", ("a", "1"))

    assert template.names == {"a", "1"}
    assert template.fill({"a": b"x", "1": b"", "more": b"y"}) == b"{x-} x"
    assert repr(template) == "<Template '{{{a}-{1}}} {a}'>"


def test_a_text_without_variables_needs_none():
    assert Template("é", ()).fill({}) == "é".encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{b}", r"there is no \{b\} here; expected \{a\}"),
        ("x{", "'{' stands alone"),
        ("}x", "'}' stands alone"),
        ("{}", "stands alone"),
        ("{A}", "stands alone"),
        ("{12}", "stands alone"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        Template(text, ("a",))


def test_where_there_are_no_variables_it_says_so():
    with pytest.raises(ValueError, match="expected none"):
        Template("{a}", ())
