"""
Which of many networks an address is in, and what that means: allowed, denied, or not listed.

Of all networks that cover an address the most specific decides; of two that are the same, the one that denies. A list may
come from a file: one network a line, ``#`` begins a comment.

Knows nothing of proxies or of what is guarded. Networks are cut into spans that do not overlap, so that an address costs one
binary search however many there are, and however they lie in each other.

Cost: 0.1 µs for an address seen before, 1 µs for another, with 100,000 networks as with one; making a table of so many 0.2 s
(``bench/micro/test_access.py``).

Source: RFC 4632 §5.1 (the longest match); RFC 4291 §2.5.5.2 (an IPv4 address in an IPv6 one is that IPv4 address).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from enum import IntEnum
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

Prefix = tuple[int, int, int]
"""A network: the bits of its family (32 or 128), its first address as a number, and how many leading bits count."""

_REMEMBERED: Final = 4096
"""Addresses whose answer is remembered; then all are forgotten. Bounded because strangers choose them."""

_MAPPED: Final = 0xFFFF << 32
_MAPPED_LAST: Final = _MAPPED | 0xFFFF_FFFF


class Listed(IntEnum):
    """What the lists say of an address."""

    NOWHERE = 0  # no network covers it
    ALLOWED = 1
    DENIED = 2


class Unreadable(ValueError):  # noqa: N818 - it is a line that cannot be read, not our error
    """
    A line of a file is not what it should be.

    Attributes:
        line: its number, from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


def number_of(address: str) -> tuple[int, int] | None:
    """
    Return the bits of an address's family, and the address as a number; None if it is none (the peer of a Unix socket).

    An IPv4 address that came through an IPv6 socket is IPv4; a zone counts for nothing.
    """
    try:
        if ":" not in address:
            return 32, int.from_bytes(inet_pton(AF_INET, address))
        number = int.from_bytes(inet_pton(AF_INET6, address.partition("%")[0]))
    except (OSError, ValueError):  # ValueError: a NUL within
        return None
    if _MAPPED <= number <= _MAPPED_LAST:
        return 32, number & 0xFFFF_FFFF
    return 128, number


def prefix_of(text: str) -> Prefix:
    """
    Read an address or a network in CIDR notation.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    address, slash, length_text = text.partition("/")
    try:
        raw = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is not an address or network; expected one such as '10.0.0.0/8'") from None
    bits = len(raw) * 8
    first = int.from_bytes(raw)
    if not slash:
        return bits, first, bits
    if not (length_text.isascii() and length_text.isdigit()) or int(length_text) > bits:
        raise ValueError(f"{text!r}: expected a prefix length from 0 to {bits} behind the slash")
    length = int(length_text)
    if first & ((1 << bits - length) - 1):
        raise ValueError(f"{text!r} has bits set behind its prefix")
    return bits, first, length


def prefixes_of(networks: Iterable[IPv4Network | IPv6Network]) -> list[Prefix]:
    """Return networks as they are compared here."""
    return [(net.max_prefixlen, int(net.network_address), net.prefixlen) for net in networks]


def read_networks(data: bytes) -> list[Prefix]:
    """
    Read a file of networks.

    Raises:
        Unreadable: a line is none.
    """
    found: list[Prefix] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.partition(b"#")[0].strip()
        if text:
            try:
                found.append(prefix_of(text.decode("ascii", "backslashreplace")))
            except ValueError as wrong:
                raise Unreadable(number, str(wrong)) from None
    return found


class NetworkTable:
    """
    What networks say of an address.

    Args:
        allow: networks that are allowed. If there are any, whoever is listed nowhere is not.
        deny: networks that are denied.
    """

    __slots__ = ("_known", "_v4", "_v6", "has_allowed")

    def __init__(self, allow: Iterable[Prefix], deny: Iterable[Prefix]) -> None:
        verdicts = dict.fromkeys(allow, Listed.ALLOWED)
        self.has_allowed = bool(verdicts)
        verdicts.update(dict.fromkeys(deny, Listed.DENIED))
        self._v4 = _spans(verdicts, 32)
        self._v6 = _spans(verdicts, 128)
        self._known: dict[str, Listed] = {}

    def listed(self, address: str) -> Listed:
        """Return what the lists say of *address*, a text; of what is no IP address nothing. Never raises."""
        known = self._known.get(address)
        if known is None:
            number = number_of(address)
            known = Listed.NOWHERE
            if number is not None:
                starts, verdicts = self._v4 if number[0] == 32 else self._v6
                known = Listed(verdicts[bisect_right(starts, number[1]) - 1])
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[address] = known
        return known

    def admits(self, address: str) -> bool:
        """Whether *address* may pass: it is allowed, or nobody is allowed by name and it is not denied."""
        listed = self.listed(address)
        return listed is Listed.ALLOWED or (listed is Listed.NOWHERE and not self.has_allowed)


def _spans(verdicts: dict[Prefix, Listed], bits: int) -> tuple[array[int] | list[int], bytes]:
    """Cut the networks of one family into spans: where each begins, and what is so from there to the next one's beginning."""
    starts: list[int] = [0]
    said = bytearray([Listed.NOWHERE])

    def begin(at: int, verdict: int) -> None:
        if at == starts[-1]:
            said[-1] = verdict
        elif said[-1] != verdict:
            starts.append(at)
            said.append(verdict)

    beyond = 1 << bits
    # What lies in each other: the first address behind it, and its verdict.
    ends, inside = [beyond], [int(Listed.NOWHERE)]
    entries = [(first, length, int(verdict)) for (family, first, length), verdict in verdicts.items() if family == bits]
    entries.sort()
    for first, length, verdict in entries:
        while ends[-1] <= first:
            end = ends.pop()
            inside.pop()
            begin(end, inside[-1])
        begin(first, verdict)
        ends.append(first + (1 << bits - length))
        inside.append(verdict)
    while len(ends) > 1:
        end = ends.pop()
        inside.pop()
        if end < beyond:
            begin(end, inside[-1])
    return (array("Q", starts) if bits == 32 else starts), bytes(said)
