"""What any client's decoder must be able to read of what we make."""

from __future__ import annotations

import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edge.compress.encoder import (
    BEST_LEVELS,
    ENCODINGS,
    GZIP,
    HEAVY_BYTES,
    LEVELS,
    ZSTD,
    compress_whole,
    encoder,
    is_heavy,
)

TEXT = b"".join(b"<li class='item-%d'>%d apples, %x pears</li>\n" % (n % 7, n, n * 7919) for n in range(2000))


class Decoder:
    """The client's side: what can be read of the bytes sent so far."""

    def __init__(self, encoding):
        if encoding == b"gzip":
            self._decode = zlib.decompressobj(31).decompress
        elif encoding == b"br":
            self._decode = brotli.Decompressor().process
        else:
            self._decode = zstandard.ZstdDecompressor().decompressobj().decompress
        self.seen = b""

    def receive(self, data):
        if data:
            self.seen += self._decode(data)
        return self.seen


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(parts=st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=12), known=st.booleans())
def test_any_parts_with_any_flushes_decode_to_the_same_body(encoding, parts, known):
    whole = b"".join(data for data, _ in parts)
    coding = encoder(encoding, LEVELS[encoding], len(whole) if known else None)
    client = Decoder(encoding)

    for data, flushed in parts:
        client.receive(coding.feed(data))
        if flushed:
            client.receive(coding.flush())
    client.receive(coding.finish())

    assert whole == client.seen


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(events=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8))
def test_after_a_flush_the_client_has_everything_that_was_fed(encoding, events):
    """A server-sent event that stays in the encoder's window is an event that did not happen."""
    coding = encoder(encoding, LEVELS[encoding])
    client = Decoder(encoding)

    fed = b""
    for event in events:
        fed += event
        client.receive(coding.feed(event) + coding.flush())

        assert fed == client.seen


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_flush_with_nothing_new_is_free(encoding):
    coding = encoder(encoding, LEVELS[encoding])

    assert coding.flush() == b""
    coding.feed(b"one event\n\n")
    assert coding.flush() != b""
    assert coding.flush() == b""
    coding.feed(b"")
    assert coding.flush() == b""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("body", [b"", b"x", TEXT])
def test_a_whole_body_decodes_to_itself(encoding, body):
    client = Decoder(encoding)

    assert body == client.receive(compress_whole(encoding, body, LEVELS[encoding]))
    assert body == Decoder(encoding).receive(compress_whole(encoding, memoryview(body), LEVELS[encoding]))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_same_body_gives_the_same_bytes(encoding):
    """Two workers that code one copy at once must not disagree about its ETag's bytes."""
    first = compress_whole(encoding, TEXT, LEVELS[encoding])

    assert first == compress_whole(encoding, TEXT, LEVELS[encoding])


def test_a_gzip_head_names_no_time_and_no_file():
    head = compress_whole(GZIP, TEXT, 6)[:10]

    assert (b"\x1f\x8b\x08\x00", b"\0\0\0\0") == (head[:4], head[4:8])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_becomes_several_times_smaller(encoding):
    assert len(TEXT) > 3 * len(compress_whole(encoding, TEXT, LEVELS[encoding]))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_best_level_is_smaller_than_the_usual(encoding):
    usual = compress_whole(encoding, TEXT, LEVELS[encoding])

    assert len(compress_whole(encoding, TEXT, BEST_LEVELS[encoding])) <= len(usual)


@pytest.mark.parametrize("level", [1, 6, 19, 22])
@pytest.mark.parametrize("length", [None, 1, 100_000, 1 << 30])
def test_no_zstd_window_is_larger_than_a_browser_must_accept(level, length):
    """RFC 9659: a client may refuse a frame whose window is above 8 MiB, and browsers do."""
    coding = encoder(ZSTD, level, length)
    head = coding.feed(b"x") + coding.flush()

    assert zstandard.get_frame_parameters(head).window_size <= 8 * 1024 * 1024


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_wrong_length_costs_size_and_not_correctness(encoding):
    coding = encoder(encoding, LEVELS[encoding], 10)
    client = Decoder(encoding)
    client.receive(coding.feed(TEXT) + coding.finish())

    assert client.seen == TEXT


def test_another_coding_is_our_own_mistake():
    with pytest.raises(AssertionError, match="deflate"):
        encoder(b"deflate", 6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_work_is_heavy_from_its_bound_on_and_sooner_at_the_best_level(encoding):
    usual, bound = LEVELS[encoding], HEAVY_BYTES[encoding]

    assert not is_heavy(encoding, usual, bound)
    assert is_heavy(encoding, usual, bound + bound // 10)
    assert is_heavy(encoding, BEST_LEVELS[encoding], bound)
    assert not is_heavy(encoding, BEST_LEVELS[encoding], 256)
    assert is_heavy(encoding, 99, bound)
