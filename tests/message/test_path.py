"""Two readings of a path, and whether they differ."""

from __future__ import annotations

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


_SIGNS = st.lists(
    st.sampled_from([b"/", b".", b"..", b"%2e", b"%2F", b"%5c", b";", b"a", b"%61", b"%", b"\\"]), max_size=12
)


@given(_SIGNS.map(lambda parts: b"/" + b"".join(parts)))
def test_readings_are_settled_after_one_reading(path):
    once = folded(plain(path))

    assert folded(once) == once or b"%" in path  # an escape of an escape is another's business
    assert plain(plain(path)) == plain(path) or b"%" in plain(path)
    assert once.startswith(b"/")
    assert not climbs(once) or b"%" in path
