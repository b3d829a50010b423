"""
The sockets of one listener, and which place accepts from which.

Three shapes, one set of words. *Own queues*: one ``SO_REUSEPORT`` queue per place. *Shared*: one or several sockets
(systemd's, a unix socket) that every place accepts from. A place for which no queue could be opened shares another's.

The life of a queue: opened for a place; filled by the kernel while :meth:`Queues.steer` names its place; when the place
is given up, no longer named, then emptied for a worker that lives on, then closed. What the places are is the
master's business.

Invariant: ``_own`` is in the kernel's order (see ``steer.py``).
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.listen.bind import CannotListen, open_tcp, open_unix, probe_tcp, tcp_address
from edge.listen.steer import attach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Wanted(Protocol):
    """What is read of a listener's configuration (:class:`edge.config.tree.Listener`)."""

    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102 - "tcp", "unix" or "systemd"
    @property
    def host(self) -> str: ...  # noqa: D102
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102


@dataclass(slots=True)
class _Queue:
    place: int
    sock: socket.socket


class Queues:
    """
    What is open for one listener.

    Attributes:
        address: as configured; for port 0 still 0, see :attr:`bound`.
        is_steered: whether the kernel lets us choose queues; None before it was asked.
    """

    def __init__(self, address: str, backlog: int) -> None:
        self.address = address
        self.backlog = backlog
        self.is_steered: bool | None = None
        self._own: list[_Queue] = []
        self._shared: list[socket.socket] = []
        self._path: tuple[str, int] | None = None  # of a unix socket we made, with its inode
        self._steered: tuple[int, ...] = ()

    def __repr__(self) -> str:
        shape = f"places {[queue.place for queue in self._own]}" if self._own else f"{len(self._shared)} shared"
        return f"<Queues {self.address} {shape}>"

    @classmethod
    def open(cls, wanted: Wanted, places: int, backlog: int, named: Mapping[str, list[socket.socket]]) -> Queues:
        """
        Open, or take from *named* (systemd's), what *wanted* needs for *places* places.

        Raises:
            CannotListen: nothing stays open.
        """
        queues = cls(wanted.address, backlog)
        if wanted.kind == "systemd":
            queues._shared = list(named.get(wanted.name, ()))
            if not queues._shared:
                known = ", ".join(sorted(named)) or "none"
                raise CannotListen(
                    f"cannot listen on {wanted.address}: systemd passed no stream socket named {wanted.name!r} "
                    f"(passed: {known}; the name is FileDescriptorName= of the .socket unit)"
                )
        elif wanted.kind == "unix":
            queues._shared = [open_unix(wanted.path, backlog)]
            queues._path = (wanted.path, os.stat(wanted.path).st_ino)  # noqa: PTH116
        else:
            probe_tcp(wanted.host, wanted.port)
            try:
                queues._open_own(wanted.host, wanted.port, range(places))
            except CannotListen:
                queues.close()
                raise
        return queues

    @classmethod
    def adopt(cls, address: str, backlog: int, own: Iterable[tuple[int, int]], shared: Iterable[int]) -> Queues:
        """
        Go on with sockets that a master before us opened.

        *own* are (place, descriptor) in the kernel's order, *shared* are descriptors.
        """
        queues = cls(address, backlog)
        queues._own = [_Queue(place, adopted(fd)) for place, fd in own]
        queues._shared = [adopted(fd) for fd in shared]
        for sock in queues._shared:
            name = sock.getsockname()
            if address.startswith("unix:") and isinstance(name, str):
                with contextlib.suppress(FileNotFoundError):  # somebody removed it: then it is not ours to remove
                    queues._path = (name, os.stat(name).st_ino)  # noqa: PTH116
        return queues

    def _open_own(self, host: str, port: int, places: Iterable[int]) -> None:
        for place in places:
            sock = open_tcp(host, port, self.backlog)
            port = sock.getsockname()[1]
            self._own.append(_Queue(place, sock))

    @property
    def is_inherited(self) -> bool:
        """Whether systemd opened it: it is not ours to close."""
        return self.address.startswith("systemd:")

    @property
    def bound(self) -> str:
        """The address as bound, with the port the kernel chose."""
        first = self.sockets()[0]
        if first.family in {socket.AF_INET, socket.AF_INET6}:
            return tcp_address(*first.getsockname()[:2])
        return f"unix:{first.getsockname()}"

    def sockets(self) -> list[socket.socket]:
        """Return every open socket."""
        return [*(queue.sock for queue in self._own), *self._shared]

    def own(self) -> list[tuple[int, int]]:
        """Return (place, descriptor) of every own queue in the kernel's order; for :meth:`adopt`."""
        return [(queue.place, queue.sock.fileno()) for queue in self._own]

    def shared(self) -> list[int]:
        """Return the descriptors of what is shared by all; for :meth:`adopt`."""
        return [sock.fileno() for sock in self._shared]

    def lend(self, place: int) -> list[socket.socket]:
        """Return what *place* accepts from."""
        if not self._own:
            return self._shared
        mine = [queue.sock for queue in self._own if queue.place == place]
        return mine or [self._own[place % len(self._own)].sock]

    def grow(self, place: int) -> None:
        """
        Open a queue for one place more.

        Raises:
            CannotListen: the place will share another's.
        """
        if self._own and all(queue.place != place for queue in self._own):
            host, port = self._own[0].sock.getsockname()[:2]
            self._open_own(host, port, (place,))
            self.forget_steering()

    def steer(self, places: Iterable[int]) -> None:
        """Let new connections go to the queues of *places* only; all of them if none of those has a queue."""
        chosen = set(places)
        numbers = tuple(at for at, queue in enumerate(self._own) if queue.place in chosen)
        numbers = numbers or tuple(range(len(self._own)))
        if len(self._own) > 1 and numbers != self._steered and self.is_steered is not False:
            self.is_steered = attach(self._own[0].sock, numbers)
            self._steered = numbers

    def forget_steering(self) -> None:
        """Forget what the kernel was told, so that :meth:`steer` tells it again."""
        self._steered = ()

    def pending(self, place: int) -> list[socket.socket]:
        """Accept what waits in the queue of *place*, for another worker to serve. Bounded by the backlog."""
        mine = next((queue.sock for queue in self._own if queue.place == place), None)
        found: list[socket.socket] = []
        while mine is not None and len(found) < self.backlog:
            try:
                found.append(mine.accept()[0])
            except BlockingIOError:
                break
            except OSError:  # that client left before it was accepted (accept(2)); out of descriptors: later, then
                break
        return found

    def give_up(self, place: int) -> None:
        """
        Close the queue of *place*. What is still pending in it is lost, so take :meth:`pending` first.

        The last queue of an address is never given up.
        """
        at = next((at for at, queue in enumerate(self._own) if queue.place == place), None)
        if at is None or len(self._own) == 1:
            return
        with contextlib.suppress(OSError):  # ENOTCONN: it had stopped listening
            self._own[at].sock.shutdown(socket.SHUT_RDWR)  # at once, whoever else may still hold it: numbers change now
        self._own[at].sock.close()
        last = self._own.pop()
        if at < len(self._own):
            self._own[at] = last
        self.forget_steering()

    def close(self) -> None:
        """Close our copies. Workers that were lent them accept on until they leave."""
        for sock in self.sockets():
            sock.close()

    def remove_path(self) -> None:
        """Remove a unix socket we made from the file system, unless another has taken its place since."""
        if self._path:
            path, inode = self._path
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == inode:  # noqa: PTH116
                    os.unlink(path)  # noqa: PTH108


def adopted(fd: int) -> socket.socket:
    """
    Return the socket behind *fd*, which a master before us opened: close-on-exec and non-blocking.

    Raises:
        CannotListen: it is no socket.
    """
    os.set_inheritable(fd, False)
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise CannotListen(f"descriptor {fd} was handed over as a listening socket but is none") from error
    sock.setblocking(False)
    return sock
