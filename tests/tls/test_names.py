"""From a server name to what answers for it."""

from __future__ import annotations

import pytest

from edge.tls.names import NameTable

TABLE = NameTable(
    [
        (["shop.example", "www.shop.example"], "shop"),
        (["*.shop.example"], "any shop"),
        (["eu.shop.example", "WWW.shop.example"], "eu"),
        (["deep.a.shop.example."], "deep"),
        (["f*.odd.example", "*", "*.*.odd.example"], "odd"),
    ]
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"shop.example", "shop"),
        (b"www.shop.example", "shop"),  # the earlier of two
        (b"eu.shop.example", "eu"),  # the exact one, though it comes later
        (b"x.shop.example", "any shop"),
        (b"deep.a.shop.example", "deep"),
        (b"x.a.shop.example", None),  # two labels
        (b"a.shop.example", "any shop"),
        (b".shop.example", "any shop"),  # never comes from a hello
        (b"shop", None),
        (b"example", None),
        (b"", None),
        (b"foo.odd.example", None),  # a wildcard is a whole label
        (b"x.y.odd.example", None),
        (b"localhost", None),
    ],
)
def test_a_name_finds_the_most_exact_entry(name: bytes, found: str | None) -> None:
    assert found == TABLE.find(name)


@pytest.mark.parametrize("name", [None, b"", b"elsewhere.example", b"x.a.shop.example"])
def test_no_name_and_an_unknown_name_find_the_default(name: bytes | None) -> None:
    assert "shop" == TABLE.lookup(name)


def test_a_known_name_finds_its_entry() -> None:
    assert "eu" == TABLE.lookup(b"eu.shop.example")


def test_a_wildcard_is_not_for_its_parent() -> None:
    assert None is NameTable([(["*.shop.example"], 1)]).find(b"shop.example")


def test_a_table_without_entries_is_refused() -> None:
    """There would be no default."""
    with pytest.raises(ValueError, match="no certificate"):
        NameTable[int]([])
