"""A client gets the coding it likes best, of those it likes equally the one we like best."""

from __future__ import annotations

import pytest

from edge.message.encodings import negotiate, parse_accept_encoding

OURS = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, [b"identity"]),
        (b"", [b"identity"]),
        (b"deflate", [b"identity"]),
        (b"gzip, deflate, br, zstd", [b"zstd", b"br", b"gzip", b"identity"]),
        (b"GZIP", [b"gzip", b"identity"]),
        (b"x-gzip", [b"gzip", b"identity"]),
        (b"gzip;q=1.0, br;q=0.5, zstd;q=0.001", [b"gzip", b"br", b"zstd", b"identity"]),
        (b"gzip;q=0.5, br;q=0.500", [b"br", b"gzip", b"identity"]),
        (b"br;q=0, gzip", [b"gzip", b"identity"]),
        (b"br ; q=0.3 , gzip;Q=0.4", [b"gzip", b"br", b"identity"]),
        (b"*", [b"zstd", b"br", b"gzip", b"identity"]),
        (b"*, br;q=0", [b"zstd", b"gzip", b"identity"]),
        (b"*;q=0", []),
        (b"*;q=0, gzip", [b"gzip"]),
        (b"*;q=0, identity", [b"identity"]),
        (b"identity;q=0", []),
        (b"identity;q=0, br", [b"br"]),
        (b"identity, br;q=0.5", [b"identity"]),  # what is wanted less than what is always at hand is never tried
        (b"identity;q=0.5, br;q=0.5, gzip;q=0.4", [b"br", b"identity"]),
        (b"br, br;q=0", [b"br", b"identity"]),
    ],
)
def test_codings_come_best_first(accept: bytes | None, expected: list[bytes]) -> None:
    assert tuple(expected) == negotiate(accept, OURS)


@pytest.mark.parametrize(
    "weight", [b"q=1.1", b"q=0.1234", b"q=-1", b"q=", b"q", b"q=1;x", b"level=1", b"", b"q= 1", b"q=.5"]
)
def test_a_coding_whose_weight_cannot_be_read_is_not_accepted(weight: bytes) -> None:
    assert (b"gzip", b"identity") == negotiate(b"gzip, br;" + weight, OURS)


@pytest.mark.parametrize("junk", [b"b r", b'"br"', b"br\xff", b";q=1", b"=", b'"'])
def test_what_is_no_coding_is_skipped(junk: bytes) -> None:
    assert (b"gzip", b"identity") == negotiate(junk + b", gzip", OURS)


def test_a_long_value_is_read_like_a_short_one() -> None:
    assert (b"br", b"identity") == negotiate(b"br, " + b", ".join(b"x%d" % n for n in range(100)), OURS)


def test_qualities_are_thousandths() -> None:
    said = parse_accept_encoding(b"a;q=0.5, b;q=0.05, c;q=0., d;q=1.000, *;q=0.25")

    assert [500, 50, 0, 1000, 250] == [said.quality(coding) for coding in (b"a", b"b", b"c", b"d", b"e")]
