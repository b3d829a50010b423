"""
Who the servers of an origin are, and what is different about another list of them.

A list may come from the configuration, from a name server or from a file; wherever it comes from, it is a :class:`Members`,
and whoever has a new one says so to the origin (``Group.become`` in :mod:`edge.worker.pools`). A server *is* its URL: one
whose weight or rank changes is the same server, with its connections, its health and what an operator ordered for it.

Does not know where a list comes from, how a server stands, or who is asked next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_WEIGHT: Final = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """
    One server of an origin.

    Attributes:
        url: who it is; unique within its origin.
        scheme, host, port, unix_path: where it is, and how it is spoken to. The path is instead of host and port.
        weight: its share, 1 … MOST_WEIGHT.
        is_backup: it is asked only while none of the others can be.
        name: what it was found by, if *host* is an address that a name server gave: what it is called in TLS and in ``host``.
    """

    url: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    unix_path: str | None = None
    weight: int = 1
    is_backup: bool = False
    name: str | None = None

    @property
    def label(self) -> str:
        """What logs and hashes call it: ``10.0.0.5:8001``, or the socket's path."""
        if self.unix_path is not None:
            return self.unix_path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def row_name(self, origin: str) -> bytes:
        """What its row in the fleet page is found by, as a server of *origin*."""
        return f"{origin}\0{self.url}".encode()

    @property
    def authority(self) -> str:
        """What it is called in ``host``, which leaves out the scheme's own port."""
        if self.unix_path is not None:
            return "localhost"
        host = self.name or (f"[{self.host}]" if ":" in self.host else self.host)
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class News:
    """
    What is different about another list.

    Attributes:
        joined: servers that were not there.
        left: servers that are not there any more.
        altered: servers that stay, as they are now.
    """

    joined: tuple[Member, ...]
    left: tuple[Member, ...]
    altered: tuple[Member, ...]

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.altered)


@dataclass(frozen=True, slots=True)
class Members:
    """
    The servers of one origin, each once. Make one with :meth:`of`.

    Attributes:
        servers: in the order they were named.
    """

    servers: tuple[Member, ...]

    @classmethod
    def of(cls, servers: Iterable[Member]) -> Members:
        """Return the list of *servers*; one that is named more than once has the weights of all together."""
        found: dict[str, Member] = {}
        for server in servers:
            earlier = found.get(server.url)
            if earlier is None:
                found[server.url] = server
            else:
                found[server.url] = replace(server, weight=min(MOST_WEIGHT, earlier.weight + server.weight))
        return cls(tuple(found.values()))

    def news(self, later: Members) -> News:
        """Return what is different about *later*."""
        before = {server.url: server for server in self.servers}
        after = {server.url: server for server in later.servers}
        return News(
            joined=tuple(server for url, server in after.items() if url not in before),
            left=tuple(server for url, server in before.items() if url not in after),
            altered=tuple(server for url, server in after.items() if url in before and server != before[url]),
        )
