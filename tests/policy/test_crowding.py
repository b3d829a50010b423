"""Whom a client's connections are counted under."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.policy.crowding import counted_as


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "0.0.0.1", False),
    ],
)
def test_an_ipv4_address_is_one_client_and_an_ipv6_network_is(one, other, same):
    assert same == (counted_as(one, 64) == counted_as(other, 64))


@pytest.mark.parametrize("address", ["", "unix", "192.0.2", "@", "x" * 1000])
def test_what_has_no_address_is_nobody(address):
    assert None is counted_as(address, 64)


@settings(deadline=None)  # the first example pays for what is imported
@given(address=st.ip_addresses(v=6), bits=st.integers(1, 128))
def test_as_many_bits_as_were_asked_for_count(address, bits):
    if address.ipv4_mapped is None:
        flipped = type(address)(int(address) ^ (1 << (128 - bits)))
        if flipped.ipv4_mapped is None:
            assert counted_as(str(address), bits) != counted_as(str(flipped), bits)
        if bits < 128:
            near = type(address)(int(address) ^ (1 << (127 - bits)))
            if near.ipv4_mapped is None:
                assert counted_as(str(address), bits) == counted_as(str(near), bits)
