"""
Sockets that whoever started us opened already: systemd's, by name.

Reads ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES`` and takes them out of the environment, so that no child
believes they are meant for it. It does not know which listener wants which.

Source: sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST: Final = 3
"""SD_LISTEN_FDS_START."""
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def name_descriptors(environ: MutableMapping[str, str], pid: int) -> list[tuple[str, int]]:
    """
    Return what *environ* says was inherited by process *pid*, as (name, descriptor), and take it out of *environ*.

    Without names, or with too few, a descriptor is called ``unknown``, as sd_listen_fds_with_names does. What is not
    meant for us, or is no number, is nothing.
    """
    said_pid, count, names = (environ.pop(variable, "") for variable in VARIABLES)
    if said_pid != str(pid) or not count.isdecimal():
        return []
    called = names.split(":") if names else []
    called += ["unknown"] * (int(count) - len(called))
    return [(name, FIRST + at) for at, name in enumerate(called[: int(count)])]


def take(environ: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """
    Return the inherited stream sockets by name; several may have one name. They become close-on-exec.

    Descriptors that are no listening stream socket are left alone: they may be something the operator stored.
    """
    found: dict[str, list[socket.socket]] = {}
    for name, fd in name_descriptors(environ, os.getpid()):
        try:
            os.set_inheritable(fd, False)
            sock = socket.socket(fileno=fd)
        except OSError:  # closed, or not a socket
            continue
        if is_listening(sock):
            sock.setblocking(False)
            found.setdefault(name, []).append(sock)
        else:
            sock.detach()
    return found


def is_listening(sock: socket.socket) -> bool:
    """Whether connections can be accepted from *sock*."""
    return sock.type == socket.SOCK_STREAM and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
