"""Bodies of known length, and those that last as long as their connection."""

from __future__ import annotations

from edge.http.h1.body import CloseDecoder, LengthDecoder


def test_a_length_is_kept_to() -> None:
    body = LengthDecoder(5)

    assert body.decode(b"abc") == b"abc"
    assert not body.done
    assert body.most_left() == 2
    assert repr(body) == "<LengthDecoder 2 bytes left>"
    assert body.decode(b"defg") == b"de"
    assert body.done
    assert body.rest == b"fg"
    assert body.most_left() == 0
    assert body.trailers == []


def test_an_exact_piece_leaves_no_rest() -> None:
    body = LengthDecoder(3)

    assert body.decode(b"abc") == b"abc"
    assert body.done
    assert body.rest == b""


def test_no_bytes_are_done_at_once() -> None:
    assert LengthDecoder(0).done


def test_a_body_without_end_is_everything() -> None:
    body = CloseDecoder()

    assert body.decode(b"abc") == b"abc"
    assert not body.done
    assert body.most_left() is None
    assert repr(body) == "<CloseDecoder>"
