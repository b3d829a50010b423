"""
Passwords: who has which, and whether what was said is it.

Only hashes made to be slow are taken (argon2, bcrypt); others are refused when they are read. Verifying one takes tens of
milliseconds by design: whoever calls :meth:`Passwords.verify` does so where it holds nobody up. A name that is not listed
takes as long as one that is, so that nobody learns names from a clock.

Source: RFC 7617 (Basic, UTF-8); RFC 9106 (Argon2).
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from typing import TYPE_CHECKING, Final

from edge.policy.networks import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 1024
"""Bytes of a password: a longer one is nobody's."""

BCRYPT_BYTES: Final = 72
"""What bcrypt looks at of a password; the library refuses more, and everyone who makes such hashes has cut there."""

MOST_MEMORY_KIB: Final = 1 << 20
MOST_ROUNDS: Final = 16
"""What one verification may take at most: 1 GiB, or 2¹⁶ rounds, which are seconds."""

_ARGON2 = re.compile(
    r"\$argon2(id|i|d)\$v=19\$m=(\d{1,9}),t=(\d{1,4}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}\Z"
)
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}\Z")


def check_hash(text: str) -> None:
    """
    See whether *text* is a hash that can be verified.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    if found := _ARGON2.match(text):
        if int(found[2]) > MOST_MEMORY_KIB:
            raise ValueError(f"each verification of this hash takes {int(found[2]) >> 10} MiB; expected at most 1024")
    elif found := _BCRYPT.match(text):
        if not 4 <= int(found[1]) <= MOST_ROUNDS:
            raise ValueError(f"a cost of {int(found[1])} is not one of 4 to {MOST_ROUNDS}")
    else:
        raise ValueError("this is no argon2 or bcrypt hash; expected one as 'htpasswd -B' or 'argon2' make it")


def user_of(text: str) -> tuple[str, str]:
    """
    Read ``name:hash``.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    name, colon, hash_ = text.partition(":")
    if not colon or not name:
        raise ValueError("expected a name, a colon and a hash")
    check_hash(hash_)
    return name, hash_


def read_users(data: bytes) -> dict[str, str]:
    """
    Read a file of users, one ``name:hash`` a line, as ``htpasswd`` writes it; ``#`` begins a comment line.

    Raises:
        Unreadable: a line is none.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(b"#"):
            continue
        try:
            name, hash_ = user_of(stripped.decode("utf-8"))
        except UnicodeDecodeError:
            raise Unreadable(number, "this is not UTF-8") from None
        except ValueError as wrong:
            raise Unreadable(number, str(wrong)) from None
        if name in users:
            raise Unreadable(number, f"there is a user {name!r} before already; expected each once")
        users[name] = hash_
    return users


def credentials(value: bytes | None) -> tuple[str, bytes] | None:
    """Read ``Authorization: Basic``: the name and the password; None if it says anything else."""
    if value is None or len(value) > 4 * LONGEST:
        return None
    scheme, _, said = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = b64decode(said.strip(b" "), validate=True).partition(b":")
        user = name.decode("utf-8")
    except (NotBase64, UnicodeDecodeError):
        return None
    return (user, password) if colon and len(password) <= LONGEST else None


class Passwords:
    """
    The users of one realm.

    Args:
        users: hashes by name.
    """

    __slots__ = ("_nobody", "_users")

    def __init__(self, users: Iterable[tuple[str, str]]) -> None:
        self._users = dict(users)
        for hash_ in self._users.values():
            _fits(hash_, b"\0")  # loads what verifies it, while the program can be read
        # A stranger is compared with somebody's hash, so that it takes as long.
        self._nobody = next(iter(self._users.values()), None)

    def __len__(self) -> int:
        return len(self._users)

    def verify(self, user: str, password: bytes) -> bool:
        """Whether *password* is *user*'s. Slow by design, and lets other threads run. Never raises."""
        hash_ = self._users.get(user, self._nobody)
        return hash_ is not None and _fits(hash_, password) and user in self._users


def _fits(hash_: str, password: bytes) -> bool:
    if hash_.startswith("$2"):
        import bcrypt  # noqa: PLC0415 - loaded by whoever has such hashes

        # A NUL ends a password there, and no keyboard makes one.
        return b"\0" not in password and bcrypt.checkpw(password[:BCRYPT_BYTES], hash_.encode("ascii"))
    from argon2.exceptions import VerificationError  # noqa: PLC0415 - loaded by whoever has such hashes
    from argon2.low_level import Type, verify_secret  # noqa: PLC0415

    if b"\0" in password:
        return False
    kind = {"id": Type.ID, "i": Type.I, "d": Type.D}[hash_[7 : hash_.index("$", 1)]]
    try:
        return verify_secret(hash_.encode("ascii"), password, kind)
    except VerificationError:
        return False
