"""What waits to be written is written once, in order, in pieces of a good size."""

from __future__ import annotations

import pytest

from edge.http.out import CUT, JOIN, Out


def drain(out: Out, step: int) -> bytes:
    data = bytearray()
    while out:
        piece = out.first()
        count = min(step, len(piece))
        data += piece[:count]
        out.sent(count)
    return bytes(data)


@pytest.mark.parametrize("step", [1, 7, 1000, 10**9])
def test_bytes_leave_in_order_whatever_is_taken(step: int) -> None:
    out = Out()
    sizes = [0, 1, 5, JOIN, 3, 0, JOIN + 1, 2]
    whole = b"".join(bytes([65 + at]) * size for at, size in enumerate(sizes))
    for at, size in enumerate(sizes):
        out.append(bytes([65 + at]) * size)

    assert out.pending == len(out) == len(whole)
    assert whole == drain(out, step)
    assert not out
    assert out.pending == 0


def test_a_head_and_a_small_body_leave_in_one_write() -> None:
    out = Out()
    out.append(b"head")
    out.append(memoryview(b"body"))

    assert out.first() == b"headbody"


def test_a_large_body_is_not_copied() -> None:
    out, body = Out(), bytes(JOIN + 1)
    out.append(b"head")
    out.append(body)
    out.sent(4)

    assert out.first() is body


def test_a_very_large_body_is_offered_in_parts() -> None:
    """One session must not keep a turn, however much it is owed."""
    out, body = Out(), bytes(3 * CUT + 1)
    out.append(body)

    assert len(out.first()) == CUT
    assert body == drain(out, 10**9)


def test_what_was_refused_is_offered_again_not_shorter() -> None:
    """OpenSSL must see the same bytes, or more, after it has asked to try again."""
    out = Out()
    out.append(b"abc")
    refused = out.first()
    out.append(b"def")

    assert bytes(out.first()).startswith(refused)


def test_nothing_is_joined_to_what_is_partly_gone() -> None:
    out = Out()
    out.append(b"abc")
    out.sent(1)
    out.append(b"d")

    assert out.first() == b"bc"
    assert drain(out, 1) == b"bcd"


def test_forgetting_leaves_nothing() -> None:
    out = Out()
    out.append(b"abc")
    out.clear()

    assert not out
    assert repr(out) == "<Out 0 bytes in 0 pieces>"
