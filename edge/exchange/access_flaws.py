"""
What is wrong in the files and lists that access is decided with: users, keys, networks. Found before anything is started.

Everything is read just as a worker will read it, so what passes here cannot fail there. By being looked at here, what verifies
tokens and passwords is also loaded into the master, and workers have it without being able to read the program's files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.tree import Basic, Jwt, RouteAccess
from edge.exchange.proof import UnusableKey, static_keys
from edge.policy.networks import read_networks
from edge.policy.passwords import Passwords, read_users, user_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.agree import Parts
    from edge.config.contents import Contents
    from edge.config.positions import Path as Key

Flaw = tuple["Key", str]
"""Where in the configuration, and what is wrong there."""


def access_flaws(parts: Parts) -> Iterator[Flaw]:
    """Find everything in *parts* that cannot be read. Raises nothing."""
    for key, basic in parts.all(Basic):
        yield from _users(key, basic)
    for key, jwt in parts.all(Jwt):
        yield from _keys(key, jwt)
    for key, access in parts.all(RouteAccess):
        for name, files in (("allow_files", access.allow_files), ("deny_files", access.deny_files)):
            for at, file in enumerate(files):
                yield from _networks((*key, name, at), file)


def _users(key: Key, basic: Basic) -> Iterator[Flaw]:
    users: dict[str, str] = {}
    for at, text in enumerate(basic.users):
        try:
            name, hash_ = user_of(text)
        except ValueError as wrong:
            yield (*key, "users", at), f"{text.partition(':')[0]!r}: {wrong}"
            continue
        if name in users:
            yield (*key, "users", at), f"there is a user {name!r} before already; expected each once"
        users[name] = hash_
    if basic.file is not None:
        where = (*key, "file")
        if basic.file.error:
            yield where, f"{basic.file.path} {basic.file.error}"
            return
        try:
            found = read_users(basic.file.data)
        except ValueError as wrong:
            yield where, f"{basic.file.path}, {wrong}"
            return
        for name in sorted(users.keys() & found.keys()):
            yield where, f"{basic.file.path}: {name!r} is in users already; expected each once"
        if not users and not found:
            yield where, f"{basic.file.path} is empty: nobody can sign in; expected lines of a name, a colon and a hash"
        users |= found
    Passwords(users.items())


def _keys(key: Key, jwt: Jwt) -> Iterator[Flaw]:
    unread = False
    for name, file in (("secret_file", jwt.secret_file), ("key_file", jwt.key_file), ("jwks_file", jwt.jwks_file)):
        if file is not None and file.error:
            yield (*key, name), f"{file.path} {file.error}"
            unread = True
    if unread:
        return
    try:
        static_keys(jwt)
    except UnusableKey as wrong:
        yield (*key, wrong.setting), str(wrong)


def _networks(key: Key, file: Contents) -> Iterator[Flaw]:
    if file.error:
        yield key, f"{file.path} {file.error}"
        return
    try:
        read_networks(file.data)
    except ValueError as wrong:
        yield key, f"{file.path}, {wrong}"
