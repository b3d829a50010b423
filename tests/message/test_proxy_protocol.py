"""The PROXY protocol is read to the letter, however it was cut, and what is written is read back."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ClientFault
from edge.message.proxy_protocol import HEADER_BYTES, NOWHERE, Ends, Header, read_header, write_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = Ends("192.0.2.7", 51234, "203.0.113.9", 443)
V6 = Ends("2001:db8::7", 51234, "2001:db8::9", 443)


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body)) + body


V4_BODY = bytes([192, 0, 2, 7, 203, 0, 113, 9]) + struct.pack(">HH", 51234, 443)
V6_BODY = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::9").packed + struct.pack(">HH", 51234, 443)


@pytest.mark.parametrize(
    ("header", "ends"),
    [
        (b"PROXY TCP4 192.0.2.7 203.0.113.9 51234 443\r\n", V4),
        (b"PROXY TCP6 2001:db8::7 2001:db8::9 51234 443\r\n", V6),
        (b"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:db8::9 51234 443\r\n", V6),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.9 51234 443\r\n", V4),
        (b"PROXY UNKNOWN\r\n", NOWHERE),
        (b"PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n", NOWHERE),
        (binary(0x21, 0x11, V4_BODY), V4),
        (binary(0x21, 0x21, V6_BODY), V6),
        (binary(0x21, 0x11, V4_BODY + b"\x04\x00\x02hi"), V4),  # PP2_TYPE_NOOP
        (binary(0x21, 0x00, b""), NOWHERE),
        (binary(0x21, 0x31, bytes(216)), NOWHERE),
        (binary(0x20, 0x00, b""), NOWHERE),
        (binary(0x20, 0x11, V4_BODY), NOWHERE),  # LOCAL: what it says of addresses is to be ignored
        (binary(0x20, 0xFF, b"skipped"), NOWHERE),
    ],
)
def test_a_header_says_whose_connection_it_is(header: bytes, ends: Ends) -> None:
    for rest in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
        assert read_header(header + rest) == Header(ends, len(header))
    for cut in range(len(header)):
        assert read_header(header[:cut]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXY  TCP4 192.0.2.7 203.0.113.9 1 2\r\n",
        b"PROXY TCP4 192.0.2.7  203.0.113.9 1 2\r\n",
        b"proxy TCP4 192.0.2.7 203.0.113.9 1 2\r\n",
        b"PROXY TCP5 192.0.2.7 203.0.113.9 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 1\r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 1 65536\r\n",
        b"PROXY TCP4 192.0.2.07 203.0.113.9 1 2\r\n",
        b"PROXY TCP4 192.0.2 203.0.113.9 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::9 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 203.0.113.9 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.\xb9 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 1 2\n" + b" " * 107,
        b"PROXY UNKNOWN " + b"x" * 107,
        b"\r\n\r\n\x00\r\nQUIT ",
        binary(0x11, 0x11, V4_BODY),  # version 1 in binary
        binary(0x22, 0x11, V4_BODY),  # a command nobody knows
        binary(0x21, 0x12, V4_BODY),  # datagrams on a connection
        binary(0x21, 0x41, V4_BODY),
        binary(0x21, 0x11, V4_BODY[:11]),
        binary(0x21, 0x21, V4_BODY),
        binary(0x21, 0x11, V4_BODY + b"\x04\x00"),
        binary(0x21, 0x11, V4_BODY + b"\x04\x00\x03hi"),
        binary(0x21, 0x11, V4_BODY + bytes(HEADER_BYTES)),
    ],
)
def test_what_says_nothing_certain_is_refused(data: bytes) -> None:
    with pytest.raises(ClientFault) as raised:
        read_header(data)
    assert raised.value.reply is None


def with_checksum(value: bytes) -> bytes:
    return binary(0x21, 0x11, V4_BODY + b"\x03\x00\x04" + value)


def crc32c(data: bytes) -> int:
    """By table, which is not how the reader does it."""
    table = []
    for number in range(256):
        crc = number
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
        table.append(crc)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def test_a_checksum_must_be_right() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 §B.4
    right = struct.pack(">I", crc32c(with_checksum(bytes(4))))

    assert read_header(with_checksum(right)) == Header(V4, len(with_checksum(right)))
    with pytest.raises(ClientFault, match="checksum"):
        read_header(with_checksum(bytes(4)))
    with pytest.raises(ClientFault, match="checksum"):
        read_header(binary(0x21, 0x11, V4_BODY + b"\x03\x00\x03abc"))


PORTS = st.integers(0, 65535)
SOURCES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(
    lambda address: str(getattr(address, "ipv4_mapped", None) or address)
)


@given(st.builds(Ends, SOURCES, PORTS, SOURCES, PORTS), st.sampled_from([1, 2]), st.binary(max_size=40))
def test_what_is_written_is_read_back(ends: Ends, version: int, rest: bytes) -> None:
    header = write_header(ends, version)

    assert read_header(header + rest) == Header(ends, len(header))


@pytest.mark.parametrize("version", [1, 2])
def test_who_has_no_address_speaks_for_itself(version: int) -> None:
    header = write_header(NOWHERE, version)

    assert read_header(header) == Header(NOWHERE, len(header))


def test_ends_of_two_families_are_both_ipv6() -> None:
    assert write_header(Ends("192.0.2.7", 1, "2001:db8::9", 2), 1) == b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::9 1 2\r\n"
    assert write_header(Ends("192.0.2.7", 1, "", 0), 1) == b"PROXY TCP4 192.0.2.7 0.0.0.0 1 0\r\n"
    assert write_header(Ends("fe80::1%eth0", 1, "fe80::2%eth0", 2), 1) == b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda tail: b"PROXY TCP4 " + tail),
        st.binary(max_size=300).map(lambda tail: SIGNATURE + b"\x21\x11" + tail),
        st.binary(max_size=60).map(lambda tail: binary(0x21, 0x11, V4_BODY + tail)),
    ),
    st.integers(0, 300),
)
def test_any_bytes_give_a_value_that_does_not_depend_on_the_cut(data: bytes, cut: int) -> None:
    """What was decided about the beginning stands when more has come."""

    def said(data: bytes) -> object:
        try:
            return read_header(data)
        except ClientFault:
            return "refused"

    early, late = said(data[:cut]), said(data)
    if early is not None:
        assert early == late
    if isinstance(late, Header):
        assert late.size <= min(len(data), HEADER_BYTES)
        for address in (late.ends.source, late.ends.destination):
            assert not address or IPv6Address(address) if ":" in address else not address or IPv4Address(address)
    assert late is not None or len(data) < HEADER_BYTES
