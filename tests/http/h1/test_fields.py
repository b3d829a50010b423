"""A field block is the grammar to the letter."""

from __future__ import annotations

import pytest

from edge.http.h1.fields import first_fault, is_well_formed, split

GOOD = [
    b"",
    b"a:b\r\n",
    b"a: b\r\nC-d:\te \r\n",
    b"a:\r\n",
    b"a: \xe9\xff\r\n",
    b"!#$%&'*+-.^_`|~: x\r\n",
    b"a: b:c\r\n",
]
BAD = [
    b"\r\n",
    b"a: b",
    b"a: b\n",
    b"a: b\r",
    b"a\r\n",
    b"a : b\r\n",
    b"a\t: b\r\n",
    b" a: b\r\n",
    b": b\r\n",
    b"a: b\r\n c\r\n",
    b"a: b\r\n\tc\r\n",
    b"a: b\nc: d\r\n",
    b"a: b\rc: d\r\n",
    b"a: \0\r\n",
    b"a: \x0b\r\n",
    b"a: \x7f\r\n",
    b"\xe9: b\r\n",
    b"a b: c\r\n",
    b"a(b): c\r\n",
    b"a: b\r\r\n",
    b"a: b\r\n\r\nc: d\r\n",
]


@pytest.mark.parametrize("block", GOOD)
def test_a_block_of_lines_is_well_formed(block: bytes) -> None:
    assert is_well_formed(b"xx" + block + b"yy", 2, 2 + len(block))


@pytest.mark.parametrize("block", BAD)
def test_anything_else_is_not(block: bytes) -> None:
    assert not is_well_formed(block, 0, len(block))


def test_the_first_bad_line_is_what_is_logged() -> None:
    block = b"a: b\r\nc d: e\r\nf: g\r\n"

    assert first_fault(block, 0, len(block)) == "field line b'c d: e'"
    assert first_fault(b"a: b", 0, 4) == "field line b'a: b'"


def test_lines_become_fields() -> None:
    assert [(b"a", b"b c"), (b"d", b""), (b"e", b"f:g")] == split(b"A: \tb c \r\nd:\r\nE:f:g\r\n")
