"""The chunked coding is undone to the letter, however it is cut."""

from __future__ import annotations

from time import process_time

import pytest

from edge.errors import ClientFault, Fault
from edge.http.h1.chunked import EXTENSION_BYTES, LINE_BYTES, TRAILER_BYTES, TRAILER_COUNT, ChunkedDecoder
from tests.http.talk import each_byte, pieces


def decode(wire: bytes, cuts=(), *, most: int | None = None) -> tuple[bytes, ChunkedDecoder]:
    decoder = ChunkedDecoder(ClientFault, most)
    todo = pieces(wire, cuts)
    body = b""
    while todo and not decoder.done:
        body += decoder.decode(todo.pop(0))
    decoder.rest += b"".join(todo)
    return body, decoder


GOOD = [
    (b"0\r\n\r\n", b"", [], b""),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc", [], b""),
    (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nrest", b"abcde", [], b"rest"),
    (b"0A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", [], b""),
    (b'3;a=b;c="d"\r\nabc\r\n0;z\r\n\r\n', b"abc", [], b""),
    (b"3\r\n\r\n0\r\n0\r\n\r\n", b"\r\n0", [], b""),
    (b"1\r\nx\r\n0\r\nX-Sum: 1 \r\nx-b:\r\n\r\n\r\n", b"x", [(b"x-sum", b"1"), (b"x-b", b"")], b"\r\n"),
]


@pytest.mark.parametrize(("wire", "body", "trailers", "rest"), GOOD)
def test_a_body_is_read_to_its_end(wire: bytes, body: bytes, trailers: list, rest: bytes) -> None:
    for cuts in ((), each_byte(wire), *((at,) for at in range(1, len(wire)))):
        found, decoder = decode(wire, cuts)

        assert (body, trailers, rest) == (found, decoder.trailers, decoder.rest)
        assert decoder.done
        assert decoder.total == len(body)


@pytest.mark.parametrize(("wire", "body", "trailers", "rest"), GOOD)
def test_a_body_is_not_over_before_its_end(wire: bytes, body: bytes, trailers: list, rest: bytes) -> None:
    for end in range(1, len(wire) - len(rest)):
        assert not decode(wire[:end])[1].done


def test_part_of_a_chunk_is_given_at_once() -> None:
    decoder = ChunkedDecoder(ClientFault)

    assert decoder.decode(b"ffff\r\nab") == b"ab"
    assert decoder.decode(b"cd") == b"cd"
    assert repr(decoder) == "<ChunkedDecoder data, 4 bytes so far>"


BAD = [
    b"\r\n",
    b"g\r\n",
    b"-1\r\n",
    b"+1\r\n",
    b"0x1\r\n",
    b" 1\r\n",
    b"1 \r\nx\r\n",
    b"1 ;a\r\nx\r\n",
    b"1\t\r\n",
    b"1,2\r\n",
    b"1_0\r\n",
    b"1\nx\n",
    b"1\r\nx\n",
    b"1\r\nxy\r\n",
    b"1\r\nx0\r\n\r\n",
    b"1\r\nx\r0\r\n",
    b"1;a\nb\r\n",
    b"1;a\rb\r\n",
    b"1;\0\r\n",
    b"1\r\r\nx",
    b"00000000000000001\r\nx",
    b"\xb2\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nspace : x\r\n\r\n",
    b"0\r\na: b\r\n folded\r\n\r\n",
    b"0\r\na: b\nc: d\r\n\r\n",
    b"0\r\n: x\r\n\r\n",
    b"0\r\na: \0\r\n\r\n",
    b"0\r\n" + b"a: b\r\n" * (TRAILER_COUNT + 1) + b"\r\n",
    b"0\r\na: " + b"x" * TRAILER_BYTES + b"\r\n\r\n",
    b"1" * 300,
    b"1;" + b"x" * LINE_BYTES + b"\r\n",
    b"1;" + b"x" * LINE_BYTES,
]


@pytest.mark.parametrize("wire", BAD)
def test_anything_else_is_refused(wire: bytes) -> None:
    for cuts in ((), each_byte(wire), (1,), (2,), (len(wire) - 1,)):
        with pytest.raises(ClientFault):
            decode(wire, cuts)


@pytest.mark.parametrize("wire", [b"\n", b"3\n", b"0\r\nX: y\n", b"0\r\nX: y\r\n\n", b"0\r\n\n"])
def test_a_bare_lf_is_refused_as_soon_as_it_shows(wire: bytes) -> None:
    for cuts in ((), each_byte(wire)):
        with pytest.raises(ClientFault):
            decode(wire, cuts)


def test_the_longest_size_line_is_read() -> None:
    wire = b"1;" + b"x" * (LINE_BYTES - 2) + b"\r\nx\r\n0\r\n\r\n"

    assert decode(wire)[0] == decode(wire, each_byte(wire))[0] == b"x"


def test_extensions_are_bounded_for_the_body() -> None:
    """Bytes that carry nothing must not be free (CVE-2023-39326)."""
    line = b"1;" + b"x" * 200 + b"\r\nx\r\n"

    with pytest.raises(ClientFault, match="extensions"):
        decode(line * (EXTENSION_BYTES // 200 + 1))


def test_a_body_longer_than_allowed_is_refused_when_it_says_so() -> None:
    with pytest.raises(ClientFault) as caught:
        decode(b"5\r\nabcde\r\n5\r\n", most=9)

    assert caught.value.reply == 413
    assert decode(b"5\r\nabcde\r\n4\r\n", most=9)[0] == b"abcde"


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"HOST", b"authorization", b"set-cookie"])
def test_a_trailer_that_would_change_the_message_is_dropped(name: bytes) -> None:
    """RFC 9110 §6.5.1."""
    assert [(b"x", b"1")] == decode(b"0\r\n" + name + b": 1\r\nX: 1\r\n\r\n")[1].trailers


def test_the_fault_is_of_whoever_sent_it() -> None:
    class OtherFault(Fault):
        pass

    with pytest.raises(OtherFault):
        ChunkedDecoder(OtherFault).decode(b"z\r\n")


@pytest.mark.parametrize("wire", [b"1\r\nx\r\n" * 20_000, b"1;x\r\nx\r\n" * 5_000])
def test_small_chunks_cost_no_more_than_their_number(wire: bytes) -> None:
    start = process_time()
    decode(wire)

    assert process_time() - start < 0.5
