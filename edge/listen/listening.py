"""
Every socket of the edge: one :class:`Queues` per listener, and the admin's.

Decides what a change of configuration opens and what it leaves alone: a listener is known by its address, so a listener
that stays keeps its sockets and what is pending in them, whatever else about it changes. Nothing is closed
before the generation that used it has left: first :meth:`Listening.open`, later :meth:`Listening.close_except`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.listen.bind import CannotListen
from edge.listen.queues import Queues, Wanted, adopted

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

    def open(self, wanted: Sequence[Plan], places: int) -> list[CannotListen]:
        """
        Open what is wanted and not yet open; what is open gets a queue for each of *places* places.

        Returns:
            Why places share queues, if some must.

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
        return [problem for place in range(places) for problem in self.grow(place)]

    def grow(self, place: int) -> list[CannotListen]:
        """Open a queue for *place* wherever queues are per place. Where that fails, the place shares another's."""
        failed = []
        for queues in self.queues.values():
            try:
                queues.grow(place)
            except CannotListen as problem:
                failed.append(problem)
        return failed

    @classmethod
    def adopt(cls, will: dict[str, Any]) -> Listening:
        """Go on with the sockets that :meth:`will` of a master before us names."""
        named = {name: [adopted(fd) for fd in fds] for name, fds in will["named"].items()}
        listening = cls(named)
        for left in will["queues"]:
            queues = Queues.adopt(left["address"], left["backlog"], left["own"], left["shared"])
            listening.queues[queues.address] = queues
        return listening

    def will(self) -> dict[str, Any]:
        """Return what :meth:`adopt` needs, as JSON can say it. Descriptors are by number: they must be inherited."""
        return {
            "named": {name: [sock.fileno() for sock in socks] for name, socks in self.named.items()},
            "queues": [
                {"address": queues.address, "backlog": queues.backlog, "own": queues.own(), "shared": queues.shared()}
                for queues in self.queues.values()
                if not queues.is_inherited
            ],
        }

    def fds(self) -> list[int]:
        """Return every descriptor that :meth:`will` names."""
        named = [sock.fileno() for socks in self.named.values() for sock in socks]
        ours = [q.fileno() for queues in self.queues.values() if not queues.is_inherited for q in queues.sockets()]
        return named + ours

    def spare_places(self, places: int) -> set[int]:
        """Return the places from *places* on that still have a queue which can be given up."""
        owned = [queues.own() for queues in self.queues.values()]
        return {place for own in owned if len(own) > 1 for place, _ in own if place >= places}

    def pending(self, place: int) -> dict[str, list[socket.socket]]:
        """Accept what waits in the queues of *place*, by address, for another worker to serve."""
        found = {address: queues.pending(place) for address, queues in self.queues.items()}
        return {address: socks for address, socks in found.items() if socks}

    def give_up(self, place: int) -> None:
        """Close the queues of *place*. What is still pending in them is lost, so take :meth:`pending` first."""
        for queues in self.queues.values():
            queues.give_up(place)

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

    def forget_steering(self) -> None:
        """Forget what the kernel was told: another process has told it something else since."""
        for queues in self.queues.values():
            queues.forget_steering()

    def close(self, *, remove_paths: bool) -> None:
        """Close our copies of everything; *remove_paths* unless a successor goes on with them."""
        for queues in self.queues.values():
            if remove_paths:
                queues.remove_path()
            if not queues.is_inherited:
                queues.close()
        self.queues.clear()
        for sockets in self.named.values():
            for sock in sockets:
                sock.close()
        self.named.clear()

    def _close(self, address: str) -> None:
        queues = self.queues.pop(address)
        if not queues.is_inherited:  # those stay, for a later reload
            queues.remove_path()
            queues.close()
