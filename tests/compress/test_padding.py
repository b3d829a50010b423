"""Lengths say less, and no decoder notices."""

from __future__ import annotations

import io
import shutil
import subprocess

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.compress.encoder import BR, ENCODINGS, GZIP, LEVELS, ZSTD, encoder
from edge.compress.padding import LEAST, Padded, blank, is_from_elsewhere, may_mix
from edge.message.head import ReplyHead, RequestHead
from tests.compress.test_encoder import TEXT, Decoder

MOST = 256


def padded(encoding: bytes, data: bytes, number=None) -> bytes:
    coding = Padded(encoder(encoding, LEVELS[encoding], len(data)), encoding, MOST, *([number] if number else []))
    return coding.feed(data) + coding.finish()


def said(field: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(b"GET", b"https", b"shop.example", b"/?q=reflected", [field])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_size_can_be_made(encoding):
    assert [len(blank(encoding, size)) for size in (0, *range(LEAST, 700))] == [0, *range(LEAST, 700)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None)
@given(parts=st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=8), dice=st.integers(0, MOST // 2))
def test_any_parts_with_any_flushes_and_any_padding_decode_to_the_same_body(encoding, parts, dice):
    """Up to each flush, too: a slow origin's lines are not held back for it."""
    coding = Padded(encoder(encoding, LEVELS[encoding]), encoding, MOST, lambda below: dice % below)
    client, fed = Decoder(encoding), b""
    for data, flushed in parts:
        client.receive(coding.feed(data))
        fed += data
        if flushed:
            client.receive(coding.flush())
            assert fed == client.seen
    client.receive(coding.finish())

    assert fed == client.seen


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lengths_take_every_value_of_the_range(encoding):
    """Were some left out, what is left of the true length's remainder would shine through."""
    lengths = {
        len(padded(encoding, TEXT, lambda below, first=first: min(first, below - 1))) for first in range(MOST // 2 + 1)
    }

    assert {min(lengths) + 2 * step for step in range(MOST // 2 + 1)} == lengths
    drawn = [len(padded(encoding, TEXT[:2000])) for _ in range(300)]
    assert len(set(drawn)) > 60
    assert {length % 2 for length in drawn} == {0, 1}
    assert max(drawn) - min(drawn) <= MOST


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_left_already_is_not_padded_twice(encoding):
    coding = Padded(encoder(encoding, LEVELS[encoding]), encoding, MOST, lambda below: below - 1)
    coding.feed(b"x" * 100)
    assert len(coding.flush()) > MOST

    assert b"" == coding.flush()
    assert len(coding.finish()) < 20


@pytest.mark.parametrize(
    "command", [["gzip", "-dc"], ["zstd", "-dc"], ["brotli", "-dc"]], ids=lambda command: command[0]
)
def test_the_formats_own_programs_read_it(command):
    """gzip is everywhere; the others where they are installed."""
    if command[0] != "gzip" and shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    coded = padded({"gzip": GZIP, "zstd": ZSTD, "brotli": BR}[command[0]], TEXT)
    done = subprocess.run(command, input=coded, capture_output=True)

    assert (0, TEXT, b"") == (done.returncode, done.stdout, done.stderr)


def test_decoders_that_want_all_at_once_read_it_too():
    assert TEXT == zstandard.ZstdDecompressor().decompress(padded(ZSTD, TEXT), max_output_size=len(TEXT))
    assert TEXT == zstandard.ZstdDecompressor().stream_reader(io.BytesIO(padded(ZSTD, TEXT))).read()
    assert TEXT == brotli.decompress(padded(BR, TEXT))


@pytest.mark.parametrize(
    ("asked", "replied", "mixes"),
    [
        ((b"cookie", b"session=1"), [], True),
        ((b"authorization", b"Bearer x"), [], True),
        ((b"accept", b"*/*"), [(b"set-cookie", b"session=1")], True),
        ((b"accept", b"text/html"), [(b"etag", b'"1"')], False),
    ],
)
def test_what_is_for_one_visitor_may_hold_his_secret(asked, replied, mixes):
    request = said(asked)

    assert mixes == may_mix(request, ReplyHead(200, replied))


@pytest.mark.parametrize(
    ("site", "elsewhere"), [("cross-site", True), ("same-origin", False), ("same-site", False), ("none", False)]
)
def test_a_browser_says_that_another_site_asked(site, elsewhere):
    assert elsewhere == is_from_elsewhere(said((b"sec-fetch-site", site.encode())))
