"""Entity tags compare as RFC 9110 says, and a variant's tag leads back to the origin's."""

from __future__ import annotations

import pytest

from edge.message.validators import (
    ANY,
    Validators,
    is_etag,
    is_weak,
    origin_etag,
    parse_etags,
    strong_match,
    variant_etag,
    weak_match,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        (b"", []),
        (b"*", ANY),
        (b" * ", ANY),
        (b'"a"', [b'"a"']),
        (b'"a", W/"b" ,"c"', [b'"a"', b'W/"b"', b'"c"']),
        (b', "a",, "b",', [b'"a"', b'"b"']),
        (b'"a,b"', [b'"a,b"']),
        (b'""', [b'""']),
        (b'"\xff"', [b'"\xff"']),
    ],
)
def test_a_list_of_tags_is_read(value: bytes | None, expected: object) -> None:
    assert expected == parse_etags(value)


@pytest.mark.parametrize(
    "value", [b"a", b'"a', b'"a" "b"', b'w/"a"', b'"a", b', b'"a b"', b'*, "a"', b'"a"x', b'W/ "a"']
)
def test_a_list_malformed_anywhere_matches_nothing(value: bytes) -> None:
    assert [] == parse_etags(value)


# RFC 9110 §8.8.3.2, its own table.
@pytest.mark.parametrize(
    ("a", "b", "strong", "weak"),
    [
        (b'W/"1"', b'W/"1"', False, True),
        (b'W/"1"', b'W/"2"', False, False),
        (b'W/"1"', b'"1"', False, True),
        (b'"1"', b'"1"', True, True),
    ],
)
def test_tags_compare_as_the_table_says(a: bytes, b: bytes, strong: bool, weak: bool) -> None:
    assert strong is strong_match(a, b)
    assert weak is weak_match(a, b)
    assert strong is strong_match(b, a)
    assert weak is weak_match(b, a)


@pytest.mark.parametrize("etag", [b'"abc"', b'W/"abc"', b'""', b'"a-br"'])
@pytest.mark.parametrize("encoding", [b"br", b"gzip", b"zstd"])
def test_a_variant_is_weak_differs_and_leads_back(etag: bytes, encoding: bytes) -> None:
    made = variant_etag(etag, encoding)

    assert is_etag(made)
    assert is_weak(made)
    assert not weak_match(etag, made)
    assert weak_match(etag, origin_etag(made, (b"zstd", b"br", b"gzip")))


@pytest.mark.parametrize("etag", [b'"abc-br"', b'W/"abc"', b'W/"abc-deflate"', b'"abc"'])
def test_a_tag_not_of_our_making_is_left_alone(etag: bytes) -> None:
    """A strong one that happens to end so is Apache's, and Apache must have it back."""
    assert etag == origin_etag(etag, (b"br", b"gzip"))


def test_validators_may_be_absent() -> None:
    assert Validators() == Validators(None, None)
