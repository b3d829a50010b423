"""Two readings of a path, and whether they differ."""

from __future__ import annotations

import time
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.path import climbs, folded, plain


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b", b"/a/b"),
        (b"/%61%7E%2d", b"/a~-"),
        (b"/caf%c3%a9", b"/caf%C3%A9"),
        (b"/a%2fb%2Fc", b"/a%2Fb%2Fc"),
        (b"/%2e%2e/x", b"/../x"),
        (b"/100%/%zz", b"/100%/%zz"),
        (b"/a//b/../c", b"/a//b/../c"),
    ],
)
def test_the_one_spelling(path, expected):
    assert plain(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a%2Fb", b"/a/b"),
        (b"/a%5cb", b"/a/b"),
        (b"/a\\b", b"/a/b"),
        (b"//a///b/", b"/a/b/"),
        (b"/a/../b", b"/b"),
        (b"/a/..", b"/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/a/b/..", b"/a/"),
        (b"/../../x", b"/x"),
        (b"/a/%2e%2e%2fb", b"/b"),
        (b"/a/..;x=1/b", b"/b"),
        (b"/a;x=1/b", b"/a/b"),
        (b"/%40me/%3Bx", b"/@me/"),
        (b"//", b"/"),
    ],
)
def test_what_the_most_obliging_reader_makes_of_it(path, expected):
    assert folded(path) == expected


@pytest.mark.parametrize(
    "path", [b"/", b"/a/b/", b"/a.b/.c", b"/caf%C3%A9", b"/a%20b", b"*", b"/.well-known/x", b"/100%25"]
)
def test_most_paths_have_one_reading(path):
    assert folded(path) is path


@pytest.mark.parametrize(
    ("path", "does"),
    [
        (b"/a/../b", True),
        (b"/a/.", True),
        (b"/a/%2E./b", True),
        (b"/a%2f..%2fb", True),
        (b"/a/..;/b", True),
        (b"/a\\..\\b", True),
        (b"/a..b/...", False),
        (b"/.hidden//x;y", False),
        (b"/plain", False),
    ],
)
def test_a_dot_segment_is_found_however_it_is_written(path, does):
    assert climbs(path) is does


def test_no_path_costs_much():
    """A request line may have eight thousand bytes, and each is of use to somebody who wants them to be expensive."""
    begun = time.process_time()
    for path in (b"/" * 8000, b"/." * 4000, b"%41" * 2600, b"/;" * 4000, b"/%2e%2e" * 1100, b"%" * 8000, b"\\" * 8000):
        for _ in range(10):
            folded(plain(b"/" + path))
            climbs(b"/" + path)

    assert time.process_time() - begun < 0.7, "70 times three looks: 10 ms each would be much"


_SIGNS = st.lists(
    st.sampled_from([b"/", b".", b"..", b"%2e", b"%2F", b"%5c", b"%25", b"%C3", b";", b"a", b"%61", b"%20", b"\\"]),
    max_size=12,
)


@given(_SIGNS.map(b"".join))
def test_only_escapes_are_changed_and_each_means_what_it_did(path):
    """By the letter, with the standard library's own decoder."""
    once = plain(b"/" + path)

    assert unquote_to_bytes(once) == unquote_to_bytes(b"/" + path)
    assert plain(once) == once


@given(_SIGNS.map(b"".join))
def test_a_reading_has_one_reading(path):
    once = folded(plain(b"/" + path))

    assert once.startswith(b"/")
    assert folded(once) == once
    assert not climbs(once)


@pytest.mark.parametrize("path", [b"/%%32e%%32e/x", b"/%2%65", b"/%", b"/%4", b"/%zz%61"])
def test_decoding_makes_no_new_escape(path):
    assert plain(path) == path


@given(st.binary(max_size=24))
def test_no_bytes_are_too_odd(path):
    assert isinstance(plain(path), bytes)
    assert isinstance(folded(path), bytes)
    assert isinstance(climbs(path), bool)
