"""
What a configuration names on this machine: users, addresses, and paths that must be readable or writable.

Looks and touches nothing: no file is made, opened for writing or changed. What is *in* certificates is looked at where
certificates are understood, not here.

Two identities matter. The master, who runs this check, opens logs, the pid file, unix sockets, keys and what origins are
verified with. The workers, who may be another user, write the cache (its directory is made theirs by a master that is root).

Source: path_resolution(7) for who may enter and write where.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config.contents import read
from edge.config.load import parse_servers
from edge.config.problem import Problem, Severity
from edge.config.route_rules import ErrorPages, RouteRespond
from edge.config.tree import Admin, CacheConfig, Certificate, Listener, Log, Origin, OriginTls, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.load import Loaded
    from edge.config.positions import Path as Key


@dataclass(frozen=True, slots=True)
class Identity:
    """Who wants to write. ``name`` is None for whoever we are ourselves."""

    name: str | None
    uid: int
    gids: frozenset[int]

    @classmethod
    def of_user(cls, name: str) -> Identity:
        """
        Look up a user and all groups it is in.

        Raises:
            KeyError: there is no such user.
        """
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))

    @classmethod
    def ours(cls) -> Identity:
        """Who this process is."""
        return cls(None, os.geteuid(), frozenset([os.getegid(), *os.getgroups()]))

    def may(self, path: Path, wanted: int) -> bool:
        """
        Whether *wanted* (of ``os.R_OK | os.W_OK | os.X_OK``) is granted on *path* itself, not on the way to it.

        For another user than ourselves the mode bits decide; where an access control list may say more, it is
        believed to say yes.

        Raises:
            OSError: *path* cannot be looked at.
        """
        if self.name is None or self.uid == os.geteuid():
            return os.access(path, wanted, effective_ids=True)
        if self.uid == 0:
            return True
        status = path.stat()
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid in self.gids:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & wanted == wanted or _has_acl(path)


def is_open(path: Path) -> bool:
    """
    Whether everybody on this machine may read *path*: by its own mode, and by those of the directories on the way to where it
    really is. False where that cannot be seen.
    """
    try:
        if not path.stat().st_mode & stat.S_IROTH:
            return False
        return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
    except OSError:
        return False


def check_files(loaded: Loaded) -> list[Problem]:
    """
    Look at every user and path *loaded* names.

    Only what concerns paths: what is in a certificate, and whether a key belongs to it, is asked elsewhere.

    Returns:
        Problems, errors and warnings, in no particular order.

    Raises:
        Nothing.
    """
    return [
        loaded.problem(key, message, severity)
        for key, message, severity in (
            *_user(loaded),
            *_ours(loaded),
            *_read_by_master(loaded),
            *_pages(loaded),
            *_written_by_master(loaded),
            *_written_by_workers(loaded),
            *_read_by_workers(loaded),
        )
    ] + _in_servers_files(loaded)


_Found = tuple["Key", str, Severity]


def _user(loaded: Loaded) -> Iterator[_Found]:
    for key, server in loaded.parts.all(Server):
        if server.user is None:
            continue
        try:
            pwd.getpwnam(server.user)
        except KeyError:
            is_root = os.geteuid() == 0
            severity = Severity.ERROR if is_root else Severity.WARNING
            yield (
                (*key, "user"),
                f"there is no user {server.user!r} on this machine; expected one of its users",
                severity,
            )


def _ours(loaded: Loaded) -> Iterator[_Found]:
    """Addresses that connections to origins are to come from: ours now, or perhaps later (a standby's)."""
    for key, origin in loaded.parts.all(Origin):
        for at, address in enumerate(origin.source):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                with socket.socket(family, socket.SOCK_STREAM) as taken:
                    taken.bind((address, 0))
            except OSError as error:
                words = f"{address} is no address of this machine now: {error.strerror}; expected one of its own"
                yield (*key, "source", at), words, Severity.WARNING


def _workers(loaded: Loaded) -> Identity | None:
    """Who the workers will be; None if that user does not exist."""
    for _, server in loaded.parts.all(Server):
        if server.user is not None and os.geteuid() == 0:
            try:
                return Identity.of_user(server.user)
            except KeyError:
                return None
    return Identity.ours()


def _read_by_master(loaded: Loaded) -> Iterator[_Found]:
    for key, part in loaded.parts.all(Listener):
        yield from _readable((*key, "client_ca"), part.client_ca)
    for key, certificate in loaded.parts.all(Certificate):
        yield from _readable((*key, "chain"), certificate.chain)
        yield from _readable((*key, "key"), certificate.key)
        yield from _readable((*key, "client_ca"), certificate.client_ca)
        yield from _readable((*key, "directory"), certificate.directory, want_directory=True)
    for key, admin in loaded.parts.all(Admin):
        yield from _readable((*key, "tokens"), admin.tokens)
    for key, tls in loaded.parts.all(OriginTls):
        yield from _readable((*key, "ca"), tls.ca)
        yield from _readable((*key, "chain"), tls.chain)
        yield from _readable((*key, "key"), tls.key)


def _pages(loaded: Loaded) -> Iterator[_Found]:
    """What was read with the configuration, to be sent as it is."""
    for key, answer in loaded.parts.all(RouteRespond):
        if answer.file is not None and answer.file.error:
            yield (*key, "file"), f"{answer.file.path} {answer.file.error}", Severity.ERROR
    for key, pages in loaded.parts.all(ErrorPages):
        for status, page in pages.pages:
            if page.error:
                yield (*key, "pages", status), f"{page.path} {page.error}", Severity.ERROR


def _read_by_workers(loaded: Loaded) -> Iterator[_Found]:
    """What workers look at again and again, after they have become who they will be."""
    workers = _workers(loaded)
    for key, origin in loaded.parts.all(Origin):
        path, where = origin.servers_file, (*key, "servers_file")
        if path is None:
            continue
        yield from _readable(where, path)
        if workers is None or not _exists(path):
            continue
        who = f"{_name(workers.uid)}, who the workers run as"
        if (barred := _barred(path, workers)) is not None:
            yield where, f"{path} cannot be reached by {who}: {barred} may not be entered", Severity.ERROR
        elif not _may(path, workers, os.R_OK):
            yield where, f"{path} may not be read by {who}", Severity.ERROR


def _in_servers_files(loaded: Loaded) -> list[Problem]:
    """What is wrong inside files with servers, where it stands; but for those that cannot be read."""
    problems: list[Problem] = []
    for _, origin in loaded.parts.all(Origin):
        if origin.servers_file is not None:
            contents = read(origin.servers_file)
            if not contents.error:
                problems += parse_servers(contents.data, origin.servers_file)[1]
    return problems


def _readable(key: Key, path: Path | None, *, want_directory: bool = False) -> Iterator[_Found]:
    if path is None:
        return
    expected = "a directory" if want_directory else "a file"
    try:
        is_directory = stat.S_ISDIR(path.stat().st_mode)
        if is_directory != want_directory:
            yield (
                key,
                f"{path} is {'a directory' if is_directory else 'no directory'}; expected {expected}",
                Severity.ERROR,
            )
        elif not Identity.ours().may(path, os.R_OK | (os.X_OK if want_directory else 0)):
            yield key, f"{path} may not be read by {_name(os.geteuid())}", Severity.ERROR
    except OSError as error:
        yield key, f"{path} cannot be read: {error.strerror}; expected {expected}", Severity.ERROR


def _written_by_master(loaded: Loaded) -> Iterator[_Found]:
    us = Identity.ours()
    for key, server in loaded.parts.all(Server):
        if server.pid_file is not None:
            yield from _file_writable((*key, "pid_file"), server.pid_file, us)
    for key, log in loaded.parts.all(Log):
        if isinstance(log.access, Path):
            yield from _file_writable((*key, "access"), log.access, us)
        if isinstance(log.errors, Path):
            yield from _file_writable((*key, "errors"), log.errors, us)
    listeners = [*loaded.parts.all(Listener)]
    listeners += [(key, admin.listener) for key, admin in loaded.parts.all(Admin) if admin.listener is not None]
    for key, listener in listeners:
        if listener.kind == "unix":
            yield from _file_writable((*key, "address"), Path(listener.path), us, socket=True)


def _written_by_workers(loaded: Loaded) -> Iterator[_Found]:
    us, workers = Identity.ours(), _workers(loaded)
    for key, cache in loaded.parts.all(CacheConfig):
        if cache.path is None:
            continue
        where = (*key, "path")
        if not _exists(cache.path):
            yield from _can_be_made(where, cache.path, us)
        elif not cache.path.is_dir():
            yield where, f"{cache.path} is no directory; expected one, for the cache alone", Severity.ERROR
        elif not _may_write_in(cache.path, us):
            yield where, f"{cache.path} may not be written by {_name(us.uid)}", Severity.ERROR
        # The master makes the directory the workers' own; getting there is up to its parents.
        if workers is not None and (barred := _barred(cache.path, workers)) is not None:
            yield (
                where,
                (
                    f"{cache.path} cannot be reached by {_name(workers.uid)}, who the workers run as: "
                    f"{barred} may not be entered; expected mode o+x or another place"
                ),
                Severity.ERROR,
            )


def _barred(path: Path, who: Identity) -> Path | None:
    """The first existing directory above *path* that *who* may not enter."""
    for parent in reversed(path.parents):
        if _exists(parent) and parent.is_dir() and not _may(parent, who, os.X_OK):
            return parent
    return None


def _file_writable(key: Key, path: Path, who: Identity, *, socket: bool = False) -> Iterator[_Found]:
    """A file that will be opened for writing, or made: parents that are missing are made too."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        yield from _can_be_made(key, path, who)
        return
    except OSError as error:
        yield key, f"{path} cannot be looked at: {error.strerror}", Severity.ERROR
        return
    if stat.S_ISDIR(mode):
        yield key, f"{path} is a directory; expected a file", Severity.ERROR
    elif socket and not stat.S_ISSOCK(mode):
        yield key, f"{path} is there and is not a socket; it would have to be replaced", Severity.ERROR
    elif not who.may(path, os.W_OK):
        yield key, f"{path} may not be written by {_name(who.uid)}", Severity.ERROR


def _can_be_made(key: Key, path: Path, who: Identity) -> Iterator[_Found]:
    parent = path.parent
    while not _exists(parent):
        parent = parent.parent
    if not parent.is_dir():
        yield key, f"{path} cannot be made: {parent} is no directory", Severity.ERROR
    elif not _may_write_in(parent, who):
        yield key, f"{path} cannot be made: {parent} may not be written by {_name(who.uid)}", Severity.ERROR


def _exists(path: Path) -> bool:
    """Whether *path* is there, as far as we may see."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _may_write_in(directory: Path, who: Identity) -> bool:
    return _may(directory, who, os.W_OK | os.X_OK)


def _may(path: Path, who: Identity, wanted: int) -> bool:
    try:
        return who.may(path, wanted)
    except OSError:
        return False


def _has_acl(path: Path) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:  # a file system without extended attributes has no lists either
        return False


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"user id {uid}"
