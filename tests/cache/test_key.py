"""The primary key, and what a reference resolves to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.key import key_hash, key_of, primary_key, resolve
from tests.cache.kit import head

HERE = (b"https", b"shop.example", b"/a/b?q=1")


def test_the_key_is_the_same_for_get_and_head():
    assert primary_key(head("/x")) == primary_key(head("/x", "HEAD"))


@pytest.mark.parametrize(
    "other",
    [
        (b"http", b"shop.example", b"/a"),
        (b"https", b"shop.example:8443", b"/a"),
        (b"https", b"other.example", b"/a"),
        (b"https", b"shop.example", b"/a?"),
        (b"https", b"shop.example", b"/A"),
        (b"https", b"shop.example", b"/%61"),
    ],
)
def test_scheme_authority_and_target_each_make_another_key(other):
    assert key_of(b"https", b"shop.example", b"/a") != key_of(*other)


def test_parts_cannot_run_into_each_other():
    assert key_of(b"http", b"sx", b"/") != key_of(b"https", b"x", b"/")


def test_the_hash_has_63_bits():
    assert key_hash(b"\xff" * 16) == 2**63 - 1


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (b"", (b"https", b"shop.example", b"/a/b?q=1")),
        (b"#top", (b"https", b"shop.example", b"/a/b?q=1")),
        (b"?r=2", (b"https", b"shop.example", b"/a/b?r=2")),
        (b"c", (b"https", b"shop.example", b"/a/c")),
        (b"../c", (b"https", b"shop.example", b"/c")),
        (b"../../../c", (b"https", b"shop.example", b"/c")),
        (b"./", (b"https", b"shop.example", b"/a/")),
        (b"..", (b"https", b"shop.example", b"/")),
        (b"/c/../d?x#y", (b"https", b"shop.example", b"/d?x")),
        (b"/.hidden", (b"https", b"shop.example", b"/.hidden")),
        (b"//other.example", (b"https", b"other.example", b"/")),
        (b"//OTHER.example:443/z", (b"https", b"other.example", b"/z")),
        (b"http://shop.example:80/z", (b"http", b"shop.example", b"/z")),
        (b"HTTPS://shop.example:80?q", (b"https", b"shop.example:80", b"/?q")),
        (b"https://user@shop.example/z", None),
        (b"https:/z", None),
        (b"mailto:x@y", None),
        (b"https://", None),
        (b"/" + b"x" * 9000, None),
    ],
)
def test_a_reference_resolves_as_rfc_3986_says(reference, expected):
    assert resolve(*HERE, reference) == expected


@given(st.binary(), st.binary())
def test_any_reference_resolves_or_does_not_and_never_raises(target, reference):
    where = resolve(b"https", b"shop.example", b"/" + target, reference)

    assert where is None or where[2].startswith(b"/")
