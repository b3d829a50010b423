"""A body is wrapped as its head promised, or our bug is said."""

from __future__ import annotations

import pytest

from edge.http.h1.writer import SMALL_CHUNK, BodyWriter
from edge.http.out import Out
from edge.message.head import Framing
from tests.http.h1.test_chunked import decode


def wire_of(framing: Framing, *data: bytes, length: int = 0, trailers=()) -> bytes:
    out = Out()
    writer = BodyWriter(out)
    writer.begin(framing, length)
    for piece in data:
        writer.write(piece)
    writer.end(trailers)
    return b"".join(bytes(piece) for piece in out._pieces)


def test_a_length_is_written_as_it_is() -> None:
    assert wire_of(Framing.LENGTH, b"abc", b"", memoryview(b"de"), length=5, trailers=[(b"x", b"y")]) == b"abcde"


def test_chunks_are_read_back() -> None:
    body = [b"abc", b"", b"x" * (SMALL_CHUNK + 1), memoryview(b"de")]
    found, decoder = decode(wire_of(Framing.CHUNKED, *body, trailers=[(b"x-sum", b"1")]))

    assert found == b"".join(body)
    assert decoder.trailers == [(b"x-sum", b"1")]
    assert decoder.rest == b""


def test_an_empty_piece_does_not_end_a_chunked_body() -> None:
    assert wire_of(Framing.CHUNKED, b"", b"a") == b"1\r\na\r\n0\r\n\r\n"


def test_until_the_close_everything_is_body() -> None:
    assert wire_of(Framing.CLOSE, b"a", b"b") == b"ab"


def test_what_nobody_asked_for_is_dropped() -> None:
    assert wire_of(Framing.NONE, b"a") == b""


@pytest.mark.parametrize("data", [(b"abcdef",), (b"abcd",), ()])
def test_another_length_than_promised_is_our_bug(data: tuple) -> None:
    with pytest.raises(AssertionError, match="body than Content-Length says"):
        wire_of(Framing.LENGTH, *data, length=5)


def test_a_trailer_that_would_break_its_line_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="break its line"):
        wire_of(Framing.CHUNKED, trailers=[(b"x", b"a\r\nb: c")])


def test_bodies_need_their_heads_one_after_the_other() -> None:
    writer = BodyWriter(Out())
    with pytest.raises(AssertionError):
        writer.write(b"x")
    with pytest.raises(AssertionError):
        writer.end()
    writer.begin(Framing.LENGTH, 5)
    with pytest.raises(AssertionError):
        writer.begin(Framing.NONE)

    assert repr(writer) == "<BodyWriter length, 5 bytes owed>"
    assert repr(BodyWriter(Out())) == "<BodyWriter between bodies>"
