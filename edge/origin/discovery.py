"""
Which servers an origin has, where a name server or a file says so: what an answer means, and when to ask again.

Decides from answers alone. Does not know who asks, or how; what went wrong in asking is no answer, and changes nothing.

A notice is what one process tells the others: the servers, and nothing else.

Source: RFC 1035 §3.2.1 (TTL), RFC 6761 §6.3 (localhost), RFC 2782 (SRV: the lowest priority first, shares by weight, ``.`` means there is no such service).
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from edge.origin.members import MOST_WEIGHT, Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_SERVERS: Final = 256
"""Servers that one name or file may stand for. More are a mistake, or somebody else's answer."""

_FIRST_RETRY_S: Final = 2.0
_LAST_RETRY_S: Final = 30.0


class Service(NamedTuple):
    """One SRV record."""

    priority: int
    weight: int
    port: int
    target: str


class TooMany(ValueError):  # noqa: N818 - an answer that is of no use
    """An answer names more servers than an origin can have."""


def loopback(name: str) -> list[str] | None:
    """Return the addresses of a name that is this machine's by definition, whatever a name server would say; None for any other."""
    labels = name.rstrip(".").lower()
    return ["127.0.0.1", "::1"] if labels == "localhost" or labels.endswith(".localhost") else None


def by_address(template: Member, addresses: Iterable[str]) -> tuple[Member, ...]:
    """
    Return a server for each address of a name.

    Args:
        template: what was written of them: name, scheme, port, weight.
        addresses: in any order; each counts once.

    Raises:
        TooMany: there are more than MOST_SERVERS.
    """
    found = sorted({ip_address(address) for address in addresses}, key=lambda each: (each.version, each))
    return _bounded([_member(template, str(address), template.port, template.host) for address in found])


def by_service(
    template: Member, services: Sequence[Service], addresses: Mapping[str, Sequence[str]]
) -> tuple[Member, ...]:
    """
    Return a server for each address of each target of a service.

    Those of the lowest priority carry the requests by their weights, the others are backups. The weight of a target is shared
    by its addresses; one of 0 is chosen hardly ever (RFC 2782), unless all have 0.

    Args:
        template: what was written of them: name and scheme.
        services: the records.
        addresses: of each target; a target without any is left out.

    Raises:
        TooMany: there are more than MOST_SERVERS.
    """
    reachable = [each for each in services if each.target.strip(".") and addresses.get(each.target)]
    if not reachable:
        return ()
    first = min(each.priority for each in reachable)
    shares = [each.weight / len(addresses[each.target]) for each in reachable]
    most = max(shares)
    whole = most <= MOST_WEIGHT and all(share.is_integer() for share in shares)
    factor = 1.0 if whole or not most else MOST_WEIGHT / most
    found: dict[str, Member] = {}
    for service, share in sorted(zip(reachable, shares, strict=True), key=lambda each: each[0]):
        weight = max(1, round(share * factor))
        for address in sorted(addresses[service.target]):
            member = _member(template, address, service.port, service.target.rstrip("."))
            is_backup = template.is_backup or service.priority > first
            found.setdefault(member.url, replace(member, weight=weight, is_backup=is_backup))
    return _bounded(list(found.values()))


def _member(template: Member, address: str, port: int, name: str) -> Member:
    host = f"[{address}]" if ":" in address else address
    return replace(template, url=f"{template.scheme}://{host}:{port}", host=address, port=port, name=name)


def _bounded(found: list[Member]) -> tuple[Member, ...]:
    if len(found) > MOST_SERVERS:
        raise TooMany(f"{len(found)} servers; an origin can have {MOST_SERVERS} from one name")
    return tuple(found)


def next_ask_s(ttl_s: float, least_s: float, most_s: float) -> float:
    """Return in how long a good answer is asked for again: when it has run out, but neither too often nor too seldom."""
    return max(least_s, min(ttl_s, most_s))


def retry_s(failures: int, least_s: float) -> float:
    """Return in how long it is asked again after so many failures in a row: longer each time, to half a minute."""
    return max(least_s, min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(failures - 1, 10)))


# -- notices ------------------------------------------------------------------------------------------------

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(tuple[Member, ...])


def to_notice(members: Sequence[Member]) -> bytes:
    """Write servers down for other processes."""
    return _ENCODER.encode(tuple(members))


def from_notice(text: bytes) -> tuple[Member, ...] | None:
    """Read what :func:`to_notice` wrote; None if another program has written it, in another form."""
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError:
        return None
