"""
The PROXY protocol: the words before a connection's first by which a balancer says whose connection it passes on.

Decides what a header says and how one is written, versions 1 (a line of text) and 2 (binary). Does not know who may be
believed: whoever reads a header from a stranger has been lied to. Read to the letter: a header that two readers could take
for two different clients is refused as a whole.

Shape: :func:`read_header` takes all bytes there are from the connection's first on, every time, and keeps nothing.

Invariant: more is never asked for at ``HEADER_BYTES``, and the answer does not depend on how the bytes were cut.

Source: "The PROXY protocol", Willy Tarreau, 2020-03-05, §2.1 (version 1), §2.2 (version 2, CRC32c in §2.2.4).
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from edge.errors import ClientFault

HEADER_BYTES: Final = 4096
"""The longest header that is read. The addresses take 52 bytes; the rest are a balancer's own notes, which are skipped."""

_LINE_BYTES: Final = 107
_TEXT: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {0x00: 0, _TCP4: 12, _TCP6: 36, 0x31: 216}
"""Of each family and transport that a connection may have: unspecified, IPv4, IPv6, Unix; not the datagram kinds."""
_CRC32C: Final = 0x03


class Ends(NamedTuple):
    """
    Both ends of a connection.

    Attributes:
        source: who opened it: an address without brackets or zone; empty if it has none, or nobody says.
        destination: where it was opened to; likewise.
    """

    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0


NOWHERE: Final = Ends()


class Header(NamedTuple):
    """
    A header that has been read.

    Attributes:
        ends: of the connection that is passed on; NOWHERE if the sender speaks for itself (a health check).
        size: bytes it takes; the connection's own begin behind it.
    """

    ends: Ends
    size: int


def read_header(data: bytes) -> Header | None:
    """
    Read the header that *data* begins with.

    Returns:
        None: so far it is one, but not all of it.

    Raises:
        ClientFault: there is none, or one that says nothing certain. Nothing can be answered: ``reply`` is None.
    """
    if data[:1] == _SIGNATURE[:1]:
        return _read_binary(data)
    return _read_text(data)


def write_header(ends: Ends, version: int) -> bytes:
    """
    Write a header that passes on the connection between *ends*.

    Two ends of different families are both written as IPv6 (RFC 4291 §2.5.5.2). Without a source we speak for ourselves.

    Args:
        ends: of the client's connection.
        version: 1 or 2.
    """
    if not ends.source:
        return _TEXT + b"UNKNOWN\r\n" if version == 1 else _SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    source = _address(ends.source)
    destination = _address(ends.destination) if ends.destination else type(source)(0)
    if type(source) is not type(destination):
        source, destination = _as_ipv6(source), _as_ipv6(destination)
    is_ipv4 = isinstance(source, IPv4Address)
    if version == 1:
        words = (
            "TCP4" if is_ipv4 else "TCP6",
            _written(source),
            _written(destination),
            ends.source_port,
            ends.destination_port,
        )
        return _TEXT + " ".join(map(str, words)).encode() + b"\r\n"
    body = (
        source.packed
        + destination.packed
        + ends.source_port.to_bytes(2, "big")
        + ends.destination_port.to_bytes(2, "big")
    )
    return _SIGNATURE + bytes((_PROXY, _TCP4 if is_ipv4 else _TCP6, 0, len(body))) + body


# -- version 1 ----------------------------------------------------------------------------------------------


def _read_text(data: bytes) -> Header | None:
    if data[: len(_TEXT)] != _TEXT[: len(data)]:
        raise _malformed("no PROXY header")
    end = data.find(b"\r\n", 0, _LINE_BYTES)
    if end < 0:
        if len(data) >= _LINE_BYTES:
            raise _malformed("a line that does not end")
        return None
    family, _, rest = data[len(_TEXT) : end].partition(b" ")
    if family == b"UNKNOWN":
        return Header(NOWHERE, end + 2)
    words = rest.split(b" ")
    if family not in {b"TCP4", b"TCP6"} or len(words) != 4:
        raise _malformed("neither TCP4, TCP6 nor UNKNOWN, or not two addresses and two ports")
    try:
        reads = IPv4Address if family == b"TCP4" else IPv6Address
        source, destination = (_text(reads(word.decode("ascii"))) for word in words[:2])
    except (AddressValueError, UnicodeDecodeError) as cause:
        raise _malformed("an address that is none of its family") from cause
    if b"%" in words[0] + words[1]:
        raise _malformed("an address with a zone, which is another machine's")
    return Header(Ends(source, _port(words[2]), destination, _port(words[3])), end + 2)


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0") or int(word) > 65535:
        raise _malformed("a port that is none")
    return int(word)


# -- version 2 ----------------------------------------------------------------------------------------------


def _read_binary(data: bytes) -> Header | None:
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        raise _malformed("no PROXY header")
    start = len(_SIGNATURE) + 4
    if len(data) < start:
        return None
    command, family = data[12], data[13]
    end = start + int.from_bytes(data[14:16], "big")
    if command not in {_LOCAL, _PROXY}:
        raise _malformed(f"version and command {command:#04x}")
    if end > HEADER_BYTES:
        raise _malformed(f"a header of {end} bytes")
    if command == _PROXY and family not in _ADDRESS_BYTES:
        raise _malformed(f"family and transport {family:#04x}")
    addresses = 0 if command == _LOCAL else _ADDRESS_BYTES[family]
    if end - start < addresses:
        raise _malformed("shorter than its addresses")
    if len(data) < end:
        return None
    if command == _LOCAL:  # whatever else it says is to be skipped
        return Header(NOWHERE, end)
    _check_notes(data[:end], start + addresses)
    at = data[start : start + addresses]
    if family == _TCP4:
        ends = Ends(_text(IPv4Address(at[:4])), _int(at[8:10]), _text(IPv4Address(at[4:8])), _int(at[10:12]))
    elif family == _TCP6:
        ends = Ends(_text(IPv6Address(at[:16])), _int(at[32:34]), _text(IPv6Address(at[16:32])), _int(at[34:36]))
    else:
        ends = NOWHERE
    return Header(ends, end)


def _check_notes(header: bytes, at: int) -> None:
    """Walk over the balancer's notes: they must fill the header, and its checksum, if one is among them, be right."""
    while at < len(header):
        value = at + 3
        end = value + _int(header[at + 1 : value])
        if value > len(header) or end > len(header):
            raise _malformed("a note that reaches beyond the header")
        if header[at] == _CRC32C and not _is_right(header, value, end):
            raise _malformed("a checksum that is wrong")
        at = end


def _is_right(header: bytes, value: int, end: int) -> bool:
    """Whether the checksum at *value* is that of the header with zeros in its place."""
    return end - value == 4 and _crc32c(header[:value] + bytes(4) + header[end:]) == _int(header[value:end])


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _crc32c(data: bytes) -> int:
    """Return Castagnoli's checksum (RFC 3720 §B.4), bit by bit: a header is short, and has one seldom."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# -- both ---------------------------------------------------------------------------------------------------


def _address(text: str) -> IPv4Address | IPv6Address:
    text = text.partition("%")[0]
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _text(address: IPv4Address | IPv6Address) -> str:
    """Write an address as everything that compares addresses expects it: IPv4 in IPv6's clothes is IPv4."""
    return str(address if isinstance(address, IPv4Address) else address.ipv4_mapped or address)


def _written(address: IPv4Address | IPv6Address) -> str:
    """Write an address of version 1: what is IPv4 inside is to be seen to be (Python 3.13 does so by itself)."""
    mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def _malformed(detail: str) -> ClientFault:
    return ClientFault(detail, reply=None)
