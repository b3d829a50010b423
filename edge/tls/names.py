"""
From a server name to what answers for it.

Decides which of several entries a name means: the exact name first, then a wildcard for exactly one label, then the
default. Of two entries with the same name the earlier one wins. Does not know what the entries are.

Invariant: a wildcard never matches its own parent, nor two labels (RFC 9525 §6.3): ``*.shop.example`` is for
``eu.shop.example``, not for ``shop.example`` and not for ``a.b.shop.example``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


class NameTable(Generic[T]):
    """
    Exact names and wildcards, each with what it stands for.

    Args:
        entries: names as certificates have them (lower case, ASCII), and what they stand for; the first entry is the
            default, whatever its names.

    Raises:
        ValueError: there is no entry, hence no default.
    """

    __slots__ = ("_exact", "_wild", "default")

    def __init__(self, entries: Iterable[tuple[Iterable[str], T]]) -> None:
        self._exact: dict[bytes, T] = {}
        self._wild: dict[bytes, T] = {}
        listed = list(entries)
        if not listed:
            raise ValueError("no certificate: nothing to answer a handshake with")
        self.default = listed[0][1]
        for names, entry in listed:
            for name in names:
                wire = name.encode("ascii", "replace").removesuffix(b".").lower()
                if wire.startswith(b"*."):
                    self._wild.setdefault(wire[2:], entry)
                else:
                    self._exact.setdefault(wire, entry)

    def find(self, name: bytes) -> T | None:
        """
        Return what *name* (lower case, no trailing dot) means, or None if nothing was made for it.

        Cost: one or two dict lookups.
        """
        found = self._exact.get(name)
        if found is None:
            found = self._wild.get(name.partition(b".")[2])
        return found

    def lookup(self, name: bytes | None) -> T:
        """Return what *name* means; the default for None and for a name nothing was made for."""
        if name is None:
            return self.default
        found = self.find(name)
        return self.default if found is None else found
