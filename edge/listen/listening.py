"""
Every socket of the edge: one :class:`Queues` per listener, and the admin's.

Decides what a change of configuration opens and what it leaves alone: a listener is known by its address, so a listener
that stays keeps its sockets and what is pending in them, whatever else about it changes. Nothing is closed
before the generation that used it has left: first :meth:`Listening.open`, later :meth:`Listening.close_except`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.listen.bind import CannotListen
from edge.listen.queues import Queues, Wanted

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

Plan = tuple[Wanted, int]
"""A listener and its backlog."""


class Listening:
    """
    What is open, by address.

    Args:
        named: sockets inherited from systemd, by name. They stay open whether a listener uses them or not.
    """

    def __init__(self, named: dict[str, list[socket.socket]] | None = None) -> None:
        self.named = named or {}
        self.queues: dict[str, Queues] = {}

    def open(self, wanted: Sequence[Plan], places: int) -> None:
        """
        Open what is wanted and not yet open; what is open gets a queue for each of *places* places.

        Raises:
            CannotListen: what this call opened is closed again; everything is as before.
        """
        opened: list[str] = []
        try:
            for listener, backlog in wanted:
                if listener.address not in self.queues:
                    self.queues[listener.address] = Queues.open(listener, places, backlog, self.named)
                    opened.append(listener.address)
        except CannotListen:
            for address in opened:
                self._close(address)
            raise
        for place in range(places):
            self.grow(place)

    def grow(self, place: int) -> list[CannotListen]:
        """Open a queue for *place* wherever queues are per place. Where that fails, the place shares another's."""
        failed = []
        for queues in self.queues.values():
            try:
                queues.grow(place)
            except CannotListen as problem:
                failed.append(problem)
        return failed

    def adopt(self, address: str, queues: Queues) -> None:
        """Go on with sockets that a master before us opened for *address*."""
        self.queues[address] = queues

    def close_except(self, addresses: Iterable[str]) -> list[str]:
        """Close our copies of whatever is not of *addresses*; return what was closed."""
        kept = set(addresses)
        closed = [address for address in self.queues if address not in kept]
        for address in closed:
            self._close(address)
        return closed

    def steer(self, places: Iterable[int]) -> None:
        """Let new connections go to *places* only, wherever queues are per place."""
        chosen = tuple(places)
        for queues in self.queues.values():
            queues.steer(chosen)

    def close(self, *, remove_paths: bool) -> None:
        """Close our copies of everything; *remove_paths* unless a successor goes on with them."""
        for queues in self.queues.values():
            if remove_paths:
                queues.remove_path()
            queues.close()
        self.queues.clear()
        for sockets in self.named.values():
            for sock in sockets:
                sock.close()
        self.named.clear()

    def _close(self, address: str) -> None:
        queues = self.queues.pop(address)
        if not address.startswith("systemd:"):  # those stay, for a later reload
            queues.remove_path()
            queues.close()
