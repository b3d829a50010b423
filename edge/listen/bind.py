"""
How one socket is opened, and the sentence said when it cannot be.

Knows nothing of places or groups. Options that accepted connections inherit from their listener (no delay,
keep-alive probes) are set here once, not on every connection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

_HINTS: Final = {
    errno.EACCES: "ports below 1024 need root, CAP_NET_BIND_SERVICE, or a socket opened by systemd",
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.ENOENT: "its directory does not exist",
}


class CannotListen(Exception):  # noqa: N818 - a sentence for the operator, not an error of ours
    """A socket could not be opened. The message says which, why, and what helps."""

    @classmethod
    def because(cls, address: str, error: OSError) -> CannotListen:
        """Make the sentence for *error*."""
        hint = _HINTS.get(error.errno or 0)
        return cls(f"cannot listen on {address}: {os.strerror(error.errno or 0)}{f' ({hint})' if hint else ''}")


def probe_tcp(host: str, port: int) -> None:
    """
    Make sure that nobody else listens there.

    With SO_REUSEPORT a second edge of the same user would be let in and take every other connection, unnoticed. A
    bind without that option is refused as long as anybody listens.

    Raises:
        CannotListen: somebody does, or we may not.
    """
    if port == 0:
        return
    with _tcp_socket(host) as sock:
        _bind(sock, host, port)


def open_tcp(host: str, port: int, backlog: int) -> socket.socket:
    """
    Return one queue of an address: non-blocking, listening. Port 0 asks the kernel for a free one.

    Raises:
        CannotListen: it could not be opened.
    """
    sock = _tcp_socket(host)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _bind(sock, host, port)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise CannotListen.because(tcp_address(host, port), error) from error
    except CannotListen:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def open_unix(path: str, backlog: int) -> socket.socket:
    """
    Return a listening socket in the file system. One left behind by a dead process is replaced.

    Everybody may connect to it who may enter its directory.

    Raises:
        CannotListen: it could not be opened, or somebody listens there.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        if _is_left_behind(path):
            os.unlink(path)  # noqa: PTH108 - the address is a string to the kernel, too
        sock.bind(path)
        Path(path).chmod(0o666)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise CannotListen.because(f"unix:{path}", error) from error
    sock.setblocking(False)
    return sock


def tcp_address(host: str, port: int) -> str:
    """Write an address as the configuration does."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tcp_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:  # "[::]:443" and "0.0.0.0:443" are two listeners
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _bind(sock: socket.socket, host: str, port: int) -> None:
    try:
        sock.bind((host, port))
    except OSError as error:
        raise CannotListen.because(tcp_address(host, port), error) from error


def _is_left_behind(path: str) -> bool:
    """Whether *path* is a socket nobody listens on any more."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116
            with socket.socket(socket.AF_UNIX) as caller:
                caller.setblocking(False)
                try:
                    caller.connect(path)
                except ConnectionRefusedError:
                    return True
                except OSError:  # somebody listens, however busy
                    return False
    return False
