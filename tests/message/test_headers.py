"""Lists are cut where RFC 9110 cuts them, and nothing hop-by-hop is passed on."""

from __future__ import annotations

from time import process_time

import pytest

from edge.message.head import index
from edge.message.headers import HOP_BY_HOP, end_to_end, is_field_value, is_token, members, tokens


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        (b"", []),
        (b" , ,", []),
        (b"a", [b"a"]),
        (b"a, b\t,c ", [b"a", b"b", b"c"]),
        (b'a="x, y", b', [b'a="x, y"', b"b"]),
        (rb'"a\", b", c', [rb'"a\", b"', b"c"]),
        (b'a, "b, c', [b"a", b'"b', b"c"]),  # never closed: hides nothing
        (rb'"a\\", "b', [rb'"a\\"', b'"b']),
    ],
)
def test_a_list_is_cut_at_its_commas(value: bytes | None, expected: list[bytes]) -> None:
    assert expected == members(value)


def test_tokens_are_in_lower_case() -> None:
    assert [b"close", b"x-a"] == tokens(b"Close, X-A")
    assert [] == tokens(None)


@pytest.mark.parametrize("value", [b"a", b"X-Forwarded-For", b"!#$%&'*+-.^_`|~09"])
def test_tchars_are_a_token(value: bytes) -> None:
    assert is_token(value)


@pytest.mark.parametrize("value", [b"", b"a b", b"a:", b'"a"', b"a\n", b"\xe9", b"a/b"])
def test_anything_else_is_no_token(value: bytes) -> None:
    assert not is_token(value)


@pytest.mark.parametrize("value", [b"", b"a b", b"a\tb", b"\xff"])
def test_printable_bytes_are_a_value(value: bytes) -> None:
    assert is_field_value(value)


@pytest.mark.parametrize("value", [b" a", b"a ", b"a\r\nb", b"a\0", b"a\x7f", b"\x0b"])
def test_control_bytes_and_outer_space_are_no_value(value: bytes) -> None:
    assert not is_field_value(value)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_a_hop_by_hop_field_ends_here(name: bytes) -> None:
    fields = [(name, b"x"), (b"accept", b"y")]

    assert [(b"accept", b"y")] == end_to_end(fields, index(fields))


def test_what_connection_names_ends_here() -> None:
    """RFC 9110 §7.6.1: a sender may declare fields of its own to be for this connection only."""
    fields = [(b"connection", b"X-Trace, close"), (b"x-trace", b"1"), (b"x-other", b"2")]

    assert [(b"x-other", b"2")] == end_to_end(fields, index(fields))


@pytest.mark.parametrize("value", [b'\\"' * 16_000, b'"\\"' * 10_000, b'"' + b'\\"' * 16_000, b'"a' * 15_001])
def test_quotes_cost_no_more_than_their_length(value: bytes) -> None:
    """A search that starts again at every quote takes seconds for 32 KiB of them."""
    start = process_time()
    members(value)

    assert process_time() - start < 0.1
