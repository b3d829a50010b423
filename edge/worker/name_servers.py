"""
Asking name servers: a name's addresses, a service's servers, and for how long that may be believed.

Does the waiting, over UDP and where an answer does not fit, over TCP. Goes by ``/etc/resolv.conf`` (read anew for each question:
it may change) or by the name servers of the configuration; knows nothing of ``/etc/hosts``, and asks nobody for ``localhost``. That a name has no records of one
kind is an answer; that it has none at all, or that nobody answers, is a failure.

Imported only where the configuration asks for it: dnspython takes a tenth of a second, and what it imports as it goes is
imported here, because a worker may not be able to read it later.

Source: RFC 1035, RFC 2308 (no data is not no name), RFC 2782, RFC 3596.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rdtypes.IN.SRV
import dns.resolver
import trio

from edge.origin.discovery import Service, loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.resolver import Answer

_BACKEND: Final = dns.asyncbackend.get_backend("trio")
_NO_RECORDS: Final = 3600.0
"""What a kind of record that is not there adds to how long an answer may be believed: nothing, beside one that is."""


class NoAnswer(Exception):  # noqa: N818 - what a name server said, or did not
    """Nothing can be said of a name now; the message says why."""


class NoName(NoAnswer):
    """The name servers say that there is no such thing."""


@dataclass(slots=True)
class NameServers:
    """
    Who is asked.

    Attributes:
        addresses: address and port of each, tried in this order; none: those of ``/etc/resolv.conf``.
        timeout_s: for one question, all servers and repetitions together.
    """

    addresses: Sequence[tuple[str, int]]
    timeout_s: float

    async def hosts(self, name: str) -> tuple[list[str], float]:
        """
        Ask for a name's addresses, of both families at once.

        Returns:
            The addresses, at least one, and for how many seconds they may be believed.

        Raises:
            NoAnswer: there are none, or one of the two questions was not answered: half an answer would take servers away.
        """
        near = loopback(name)
        if near is not None:
            return near, _NO_RECORDS
        found: dict[str, Answer | None] = {}
        failed: list[Exception] = []

        async def ask(kind: str) -> None:
            try:
                found[kind] = await self._ask(name, kind)
            except NoAnswer as why:
                failed.append(why)

        async with trio.open_nursery() as nursery:
            for kind in ("A", "AAAA"):
                nursery.start_soon(ask, kind)
        if failed:
            raise failed[0]
        addresses = [record.address for answer in found.values() if answer is not None for record in answer]
        if not addresses:
            raise NoName(f"{name} has no address")
        return addresses, min(_ttl_of(answer) for answer in found.values())

    async def services(self, name: str) -> tuple[list[Service], dict[str, list[str]], float]:
        """
        Ask for a service's records, and for the addresses of their targets.

        Returns:
            The records, the addresses of each target that has any, and for how many seconds all that may be believed.

        Raises:
            NoAnswer: there are no records, or what a target is could not be had. (One that is no name is left out.)
        """
        answer = await self._ask(name, "SRV")
        if answer is None:
            raise NoName(f"{name} is no service")
        services = [
            Service(record.priority, record.weight, record.port, record.target.to_text(omit_final_dot=True))
            for record in answer
        ]
        targets = list(dict.fromkeys(each.target for each in services if each.target != "."))
        if not targets:
            raise NoName(f"{name} says that there is no such service")
        ttl_s = _ttl_of(answer)
        addresses: dict[str, list[str]] = {}
        failed: list[NoAnswer] = []
        missing: list[NoAnswer] = []
        most_at_once = trio.CapacityLimiter(8)

        async def ask(target: str) -> None:
            nonlocal ttl_s
            async with most_at_once:
                try:
                    addresses[target], its_ttl_s = await self.hosts(f"{target}.")
                    ttl_s = min(ttl_s, its_ttl_s)
                except NoName as why:
                    missing.append(why)
                except NoAnswer as why:
                    failed.append(why)

        async with trio.open_nursery() as nursery:
            for target in targets:
                nursery.start_soon(ask, target)
        for why in failed or (() if addresses else missing):
            raise why
        return services, addresses, ttl_s

    async def _ask(self, name: str, kind: str) -> Answer | None:
        """Ask one question; None: the name is known, and has no such records."""
        try:
            resolver = dns.asyncresolver.Resolver(configure=not self.addresses)
            if self.addresses:
                resolver.nameservers = _do53(self.addresses)
            with trio.fail_after(self.timeout_s):  # dnspython's own deadline goes by the wall clock, which may be set
                return await resolver.resolve(
                    name, kind, search=True, raise_on_no_answer=True, lifetime=self.timeout_s, backend=_BACKEND
                )
        except dns.resolver.NoAnswer:
            return None
        except dns.resolver.NXDOMAIN:
            raise NoName(f"there is no name {name}") from None
        except (dns.exception.Timeout, trio.TooSlowError):
            raise NoAnswer(f"nobody said within {self.timeout_s:g}s what {name} is") from None
        except (dns.exception.DNSException, OSError) as cause:
            raise NoAnswer(f"{name} {kind}: {' '.join(str(cause).split()) or type(cause).__name__}") from cause


def _do53(addresses: Iterable[tuple[str, int]]) -> list[dns.nameserver.Nameserver]:
    return [dns.nameserver.Do53Nameserver(address, port) for address, port in addresses]


def _ttl_of(answer: Answer | None) -> float:
    return _NO_RECORDS if answer is None else float(answer.chaining_result.minimum_ttl)
