"""An OPTIONS says how far it may go; nothing else does."""

from __future__ import annotations

import pytest

from edge.message.forwards import forwards_left
from edge.message.head import RequestHead


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (b"0", 0),
        (b"000", 0),
        (b"7", 7),
        (b"007", 7),
        (b"999999999", 999999999),
        (b"1" + b"0" * 9, 999999999),
        (b"9" * 5000, 999999999),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1, 2", None),
        (b"1.0", None),
        ("\u0661".encode(), None),
    ],
)
def test_it_is_a_number_or_nothing(said: bytes, left: int | None) -> None:
    fields = [(b"max-forwards", said)]

    assert left == forwards_left(RequestHead(b"OPTIONS", b"http", b"a", b"*", fields))
    assert forwards_left(RequestHead(b"GET", b"http", b"a", b"/", fields)) is None


def test_who_says_nothing_may_go_anywhere() -> None:
    assert forwards_left(RequestHead(b"OPTIONS", b"http", b"a", b"*", [])) is None
