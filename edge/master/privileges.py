"""
Who the workers run as, and that they can never be more.

The master may be root, for ports and keys; a worker talks to strangers and is nobody. Giving up happens in the
child, in one order that works: groups, group, user, capabilities, then no_new_privs, so that no set-uid program can
give any back. It does not decide who: the configuration does.

Source: setresuid(2), prctl(2) PR_SET_NO_NEW_PRIVS; nginx ``user``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38

_CAPABILITY_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody to become."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class NobodyThere(Exception):  # noqa: N818 - a sentence for the operator
    """The configured user does not exist. The message says so."""


def identity(user: str | None, *, is_root: bool) -> Identity | None:
    """
    Look *user* up.

    Returns:
        None if we are not root or no user is named: workers are then who the master is.

    Raises:
        NobodyThere: there is no such user.
    """
    if user is None or not is_root:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise NobodyThere(
            f"[server] user {user!r} does not exist on this machine (systemd-sysusers or adduser makes it)"
        ) from None
    return Identity(user, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


def become(somebody: Identity | None) -> None:
    """
    Give up what we have, for good; and leave no core file, nor let anyone of the same user look in: keys are in there.

    Raises:
        OSError: the kernel refused; the child must not go on.
    """
    if somebody is not None:
        os.setgroups(somebody.groups)
        os.setresgid(somebody.gid, somebody.gid, somebody.gid)
        os.setresuid(somebody.uid, somebody.uid, somebody.uid)
        if os.getuid() != somebody.uid or os.geteuid() != somebody.uid:
            raise PermissionError(f"still user {os.geteuid()} after becoming {somebody.name}")
    if os.geteuid() != 0:
        _drop_capabilities()
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    hide()


def hide() -> None:
    """
    Let nobody of the same user look into this process's memory, and leave no core file of it: keys are in there.

    It is lost by executing another program, and inherited by a fork. What belongs to this process under /proc is root's from
    here on; the process itself may still read it.
    """
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # cannot fail with this argument
    with contextlib.suppress(OSError, ValueError):  # a system call filter: then the flag above is what counts
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def own_proc() -> Iterator[None]:
    """Let this process write to what is its own under /proc for the block, which :func:`hide` makes root's."""
    _prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _drop_capabilities() -> None:
    """
    Give up what systemd's AmbientCapabilities= gave us: binding low ports is the master's business.

    A refusal (a system call filter) leaves the child with what the operator has granted to the service; that much
    it may have.
    """
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _libc.capset(header, bytes(24))


def give(directory: Path, somebody: Identity | None) -> None:
    """
    Make *directory* if it is missing and let *somebody* own it and what lies directly in it. Links are not followed.

    Raises:
        OSError: it cannot be made or given.
    """
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    if somebody is None:
        return
    for path in (directory, *directory.iterdir()):
        found = path.lstat()
        if (found.st_uid, found.st_gid) != (somebody.uid, somebody.gid):
            os.chown(path, somebody.uid, somebody.gid, follow_symlinks=False)


def name_process(name: str) -> None:
    """Set what ``top`` and ``ps -o comm`` show; at most 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)
