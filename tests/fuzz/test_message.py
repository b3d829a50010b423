"""Every reader of a field is total: any bytes give a value, and what is written is read back."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.message.cache_control import FOREVER, parse_cache_control
from edge.message.dates import format_date, parse_date
from edge.message.encodings import negotiate
from edge.message.headers import members, tokens
from edge.message.ranges import UNSATISFIABLE, parse_range
from edge.message.validators import ANY, is_etag, origin_etag, parse_etags, variant_etag, weak_match

FAST = settings(max_examples=200, deadline=None)

SCRAPS = st.sampled_from(
    [
        b",", b"=", b'"', b"\\", b" ", b"\t", b";", b"*", b"W/", b'"a"', b"max-age", b"no-cache", b"private", b"60", b"-", b"bytes=", b"0-1",
        b"gzip", b"br", b"identity", b"q=0", b";q=0.5", b"Sun, 06 Nov 1994 08:49:37 GMT", b"max-stale", b"s-maxage=1", b"\xff", b"\0",
    ]
)  # fmt: skip
VALUES = st.binary(max_size=60) | st.lists(SCRAPS, max_size=12).map(b"".join)
LENGTHS = st.integers(0, 50)


@FAST
@given(VALUES)
def test_any_bytes_are_a_list(value: bytes) -> None:
    assert all(members(value)) or members(value) == []
    assert [member.lower() for member in members(value)] == tokens(value)


@FAST
@given(VALUES)
def test_any_bytes_are_cache_control(value: bytes) -> None:
    said = parse_cache_control(value)
    for number in (
        said.max_age,
        said.s_maxage,
        said.min_fresh,
        said.max_stale,
        said.stale_while_revalidate,
        said.stale_if_error,
    ):
        assert number is None or 0 <= number <= FOREVER


@FAST
@given(st.lists(st.sampled_from([b"x", b'y="a, b"', b"z=1", b"public", b"max-age=60"]), max_size=6), st.integers(0, 6))
def test_no_neighbour_hides_no_store(others: list[bytes], at: int) -> None:
    others.insert(at, b"no-store")

    assert parse_cache_control(b", ".join(others)).no_store


@FAST
@given(VALUES)
def test_any_bytes_are_a_date_or_none(value: bytes) -> None:
    assert parse_date(value) is None or isinstance(parse_date(value), float)


@FAST
@given(st.integers(0, 253402300799))
def test_every_second_is_written_and_read_back(second: int) -> None:
    assert second == parse_date(format_date(second))


@FAST
@given(VALUES)
def test_any_bytes_are_tags(value: bytes) -> None:
    found = parse_etags(value)

    assert found is ANY or all(is_etag(etag) for etag in found)


@FAST
@given(st.from_regex(rb'\A(W/)?"[!#-~\x80-\xff]{0,10}"\Z'), st.sampled_from([b"br", b"gzip", b"zstd"]))
def test_every_variant_leads_back_to_its_origin(etag: bytes, encoding: bytes) -> None:
    assert weak_match(etag, origin_etag(variant_etag(etag, encoding), [encoding]))


@FAST
@given(
    VALUES
    | st.lists(st.from_regex(rb"\A[0-9]{0,2}-[0-9]{0,2}\Z"), max_size=8).map(
        lambda specs: b"bytes=" + b",".join(specs)
    ),
    LENGTHS,
)
def test_spans_lie_inside_and_never_touch(value: bytes, length: int) -> None:
    spans = parse_range(value, length)
    if spans is None or spans is UNSATISFIABLE:
        return
    assert spans
    assert all(0 <= start < end <= length for start, end in spans)
    in_order = sorted(spans)
    assert all(end < start for (_, end), (start, _) in pairwise(in_order))


@FAST
@given(VALUES)
def test_what_is_negotiated_is_ours_each_once_and_identity_last(value: bytes) -> None:
    chosen = negotiate(value, (b"zstd", b"br", b"gzip"))

    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {b"zstd", b"br", b"gzip", b"identity"}
    assert b"identity" not in chosen[:-1]
