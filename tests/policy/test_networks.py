"""Which networks an address is in, beside Python's own arithmetic."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.networks import Listed, NetworkTable, Unreadable, number_of, prefix_of, prefixes_of, read_networks

NOWHERE, ALLOWED, DENIED = Listed


def networks(version: int):
    bits = 32 if version == 4 else 128
    # few bits, so that networks lie in each other
    first = st.integers(0, 255).map(lambda n: n << bits - 8) | st.integers(0, 255)
    lengths = st.sampled_from([0, 1, 2, 7, 8, 9, bits - 8, bits - 1, bits])

    def network(pair: tuple[int, int]):
        start = pair[0] >> bits - pair[1] << bits - pair[1]
        return IPv4Network((start, pair[1])) if version == 4 else IPv6Network((start, pair[1]))

    return st.tuples(first, lengths).map(network)


def plainly(allow, deny, address) -> Listed:
    """The rule as it is written: the longest prefix decides; of equal ones the one that denies."""
    found = [(net.prefixlen, DENIED) for net in deny if net.version == address.version and address in net]
    found += [(net.prefixlen, ALLOWED) for net in allow if net.version == address.version and address in net]
    return max(found)[1] if found else NOWHERE


@given(st.data())
@pytest.mark.parametrize("version", [4, 6])
def test_the_longest_prefix_decides(version: int, data) -> None:
    allow = data.draw(st.lists(networks(version), max_size=8))
    deny = data.draw(st.lists(networks(version), max_size=8))
    bits = 32 if version == 4 else 128
    table = NetworkTable(prefixes_of(allow), prefixes_of(deny))
    borders = [int(net.network_address) for net in [*allow, *deny]] + [
        int(net.broadcast_address) + 1 for net in [*allow, *deny]
    ]
    picked = data.draw(st.integers(0, 2**bits - 1) | st.sampled_from([*borders, 0]))
    for number in (picked, picked - 1):
        if 0 <= number < 2**bits:
            address = IPv4Address(number) if version == 4 else IPv6Address(number)
            if version == 6 and address.ipv4_mapped:
                continue  # is IPv4

            assert plainly(allow, deny, address) is table.listed(str(address))


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("192.0.2.1", (32, 0xC0000201)),
        ("::ffff:192.0.2.1", (32, 0xC0000201)),
        ("fe80::1%eth0", (128, (0xFE80 << 112) + 1)),
        ("", None),
        ("unix:", None),
        ("1.2.3", None),
        ("1.2.3.4\0", None),
        (":\0", None),
    ],
)
def test_an_address_is_read_as_sockets_write_it(address: str, number) -> None:
    assert number == number_of(address)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "x", "1.2.3.4/٣"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|behind"):
        prefix_of(text)


def test_a_file_has_one_a_line_and_comments() -> None:
    data = b"# ours\n10.0.0.0/8\n\n  2001:db8::/32  # v6\r\n192.0.2.1"

    assert [(32, 10 << 24, 8), (128, 0x20010DB8 << 96, 32), (32, 0xC0000201, 32)] == read_networks(data)


def test_a_line_that_is_none_is_named() -> None:
    with pytest.raises(Unreadable, match=r"^line 2: '10\.0\.0\.1/8' has bits set"):
        read_networks(b"10.0.0.0/8\n10.0.0.1/8\n")


def test_whoever_is_listed_nowhere_may_pass_unless_somebody_is_allowed_by_name() -> None:
    assert NetworkTable([], prefixes_of([ip_network("10.0.0.0/8")])).admits("192.0.2.1")
    assert not NetworkTable(prefixes_of([ip_network("10.0.0.0/8")]), []).admits("192.0.2.1")
    assert not NetworkTable(prefixes_of([ip_network("0.0.0.0/0")]), []).admits("")


def test_addresses_that_strangers_choose_are_not_remembered_for_ever() -> None:
    table = NetworkTable([], prefixes_of([ip_network("10.0.0.0/8")]))
    for number in range(5000):
        table.admits(str(ip_address(number << 8)))

    assert len(table._known) <= 4096
