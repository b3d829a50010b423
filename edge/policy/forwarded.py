"""
Who the client is, when the peer is a proxy of ours.

A peer in a trusted network is believed about who came to it, and so on along the chain, from the nearest hop outward;
the first address that is not trusted is the client. What an untrusted peer says is not looked at. Anything that
does not parse ends the chain where it stands: we fall back to the nearest hop we know, never to what a stranger
could have written.

``X-Forwarded-For`` is read where present, ``Forwarded`` otherwise, never both: a proxy maintains one of them and may
pass the other on as the client wrote it, and the former is what proxies maintain.

Does not know: sockets, configuration, what the address is used for.

Source: RFC 7239 §4, §5.2, §6, §7.4; nginx ngx_http_realip_module (``real_ip_recursive on``) for the walk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.message.head import RequestHead

HOPS = 32
"""No longer chain is walked: each hop costs an address to parse, and real ones have two or three."""

_KNOWN_PEERS = 4096
"""Peers whose answer is remembered; then all are forgotten. Bounded because strangers choose their addresses."""

_Hop = tuple[IPv4Address | IPv6Address | None, bytes | None]
"""Who it was, None if that cannot be believed or read; and the scheme it used, if it was said."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = rb"(?:" + _TOKEN + rb")=(?:" + _TOKEN + rb'|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\xff])*")'
_FORWARDED_PAIR = re.compile(rb"[ \t]*(" + _PAIR + rb")?[ \t]*([;,]|\Z)")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Client:
    """
    The client of an exchange, as far as we can believe anyone.

    Attributes:
        address: text of an IP address without port or brackets, or the peer as it was given.
        scheme: ``b"http"`` or ``b"https"`` if a trusted proxy said how the client reached it, else None.
        trusted: the peer is a proxy of ours, and its ``X-Forwarded-*`` may be passed on.
    """

    address: str
    scheme: bytes | None = None
    trusted: bool = False


class TrustedProxies:
    """The networks our proxies are in."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        """Whether there are any: without, everybody is who he seems to be."""
        return bool(self._networks)

    def trusts(self, peer: str) -> bool:
        """
        Whether *peer*, an address as the socket names it, is one of ours.

        Never raises; what is not an IP address (a unix socket's peer) is not trusted.
        Cost: a dictionary lookup for a peer seen before.
        """
        if not self._networks:
            return False
        known = self._known.get(peer)
        if known is None:
            address = _address(peer)
            known = address is not None and self._covers(address)
            if len(self._known) >= _KNOWN_PEERS:
                self._known.clear()
            self._known[peer] = known
        return known

    def client(self, peer: str, head: RequestHead) -> Client:
        """
        Say who sent this request.

        Args:
            peer: the address at the other end of the connection.
            head: the request as received.

        Raises:
            Nothing.
        """
        if not self.trusts(peer):
            return Client(peer)
        scheme = _scheme(head.get(b"x-forwarded-proto"))
        said = head.get(b"x-forwarded-for")
        if said is not None:
            listed = [hop.strip(b" \t") for hop in said.rsplit(b",", HOPS)[-HOPS:]]
            hops: list[_Hop] = [(_node(hop), None) for hop in listed if hop]
            address, _ = self._walk(peer, hops)
            return Client(address, scheme, trusted=True)
        forwarded = head.get(b"forwarded")
        if forwarded is None:
            return Client(peer, scheme, trusted=True)
        address, proto = self._walk(peer, _forwarded_hops(forwarded))
        return Client(address, scheme or proto, trusted=True)

    def _walk(self, peer: str, hops: list[_Hop]) -> tuple[str, bytes | None]:
        nearest, scheme = peer, None
        for address, proto in reversed(hops):
            if address is None:
                break
            nearest, scheme = str(address), proto
            if not self._covers(address):
                break
        return nearest, scheme

    def _covers(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address; an IPv4 one that came through an IPv6 socket is IPv4 again, and a zone is dropped."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _node(hop: bytes) -> IPv4Address | IPv6Address | None:
    """Parse one hop: an address, with brackets or not, with a port or not; else None (``unknown``, ``_hidden``)."""
    try:
        text = hop.decode("ascii")
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        literal, bracket, port = text[1:].partition("]")
        return _address(literal) if bracket and (not port or port.startswith(":")) else None
    if text.count(":") == 1:
        text = text.partition(":")[0]
    return _address(text)


def _scheme(value: bytes | None) -> bytes | None:
    """Read ``X-Forwarded-Proto``; of several the last, which the nearest proxy wrote."""
    if value is None:
        return None
    last = value.rpartition(b",")[2].strip(b" \t").lower()
    return last if last in {b"http", b"https"} else None


def _forwarded_hops(value: bytes) -> list[_Hop]:
    """
    Read ``Forwarded``: address and ``proto`` of each hop, the nearest last.

    A value that breaks the grammar anywhere is no list at all: where one hop ends and the next begins is then anyone's
    guess.

    Source: RFC 7239 §4.
    """
    hops: list[_Hop] = []
    pairs: dict[bytes, bytes] = {}
    at = 0
    while True:
        match = _FORWARDED_PAIR.match(value, at)
        if match is None:
            return []
        if match[1] is not None:
            name, _, text = match[1].partition(b"=")
            name = name.lower()
            if name in pairs:
                return []
            if text.startswith(b'"'):
                text = _QUOTED_PAIR.sub(rb"\1", text[1:-1])
            pairs[name] = text
        if match[2] != b";" and pairs:
            hops.append((_node(pairs.get(b"for", b"")), _scheme(pairs.get(b"proto"))))
            pairs = {}
        at = match.end()
        if not match[2]:
            return hops[-HOPS:]
