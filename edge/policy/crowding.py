"""
Whom a client's connections are counted under.

Decides that by the address alone: an IPv4 address is one client; of IPv6 whoever has one address has all of its network, so
the network is the client. Does not know how many connections are too many, nor who is exempt.

Source: RFC 6177 §2 (a site gets a /64 at least); HAProxy ``ipmask(32,64)``.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def counted_as(address: str, ipv6_bits: int) -> bytes | None:
    """
    Return the bytes that stand for the client at *address*; None if it has none that could be counted (a Unix socket's peer).

    Args:
        address: as the socket names it; an IPv4 address that came through an IPv6 socket is IPv4, and a zone counts for nothing.
        ipv6_bits: how many leading bits of an IPv6 address make one client, 1 to 128.

    Raises:
        Nothing.
    """
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return (int(found) >> (128 - ipv6_bits)).to_bytes(16, "big")
        found = found.ipv4_mapped
    return found.packed
