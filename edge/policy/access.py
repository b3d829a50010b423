"""
Who may do what not everybody may: a list of networks.

Decides by address alone, of whoever the caller believes the client to be. Knows nothing of proxies, sockets or what it is
that is allowed.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


class AccessList:
    """Whoever is in one of *networks*; nobody if there are none. ``"unix"`` is whoever has no address."""

    __slots__ = ("_networks", "_unix")

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network | Literal["unix"]]) -> None:
        listed = tuple(networks)
        self._networks = tuple(network for network in listed if network != "unix")
        self._unix = len(self._networks) < len(listed)

    def __bool__(self) -> bool:
        return bool(self._networks) or self._unix

    def admits(self, address: str) -> bool:
        """
        Whether *address* is in the list; the peer of a Unix socket, whose address is empty, only by name.

        An IPv4 address that came through an IPv6 socket is IPv4; a zone counts for nothing. Never raises.
        """
        if not address:
            return self._unix
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, IPv6Address):
            found = found.ipv4_mapped or found
        return any(found in network for network in self._networks)
