"""Who has which password: what is read, what is refused, and what fits."""

from __future__ import annotations

from base64 import b64encode

import argon2
import bcrypt
import pytest

from edge.policy.networks import Unreadable
from edge.policy.passwords import Passwords, check_hash, credentials, read_users, user_of

QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
HASHES = {
    "argon2id": QUICK.hash("secret"),
    "argon2i": argon2.PasswordHasher(1, 64, 1, type=argon2.Type.I).hash("secret"),
    "argon2d": argon2.PasswordHasher(1, 64, 1, type=argon2.Type.D).hash("secret"),
    "bcrypt": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode(),
    "htpasswd": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
}


@pytest.mark.parametrize("hash_", HASHES.values(), ids=HASHES)
def test_the_right_password_fits_and_no_other(hash_: str) -> None:
    check_hash(hash_)
    users = Passwords([("alice", hash_)])

    assert users.verify("alice", b"secret")
    assert not users.verify("alice", b"Secret")
    assert not users.verify("alice", b"")
    assert not users.verify("alice", b"secret\0")
    assert not users.verify("bob", b"secret")


def test_a_stranger_takes_as_long_as_a_user(monkeypatch) -> None:
    """Nobody learns names from a clock: somebody's hash is worked out."""
    calls = []
    users = Passwords([("alice", HASHES["bcrypt"])])
    monkeypatch.setattr(bcrypt, "checkpw", lambda *args: calls.append(args) or True)

    assert not users.verify("nobody", b"x")
    assert 1 == len(calls)


def test_nobody_is_nobody() -> None:
    assert not Passwords([]).verify("alice", b"")


def test_a_long_password_fits_bcrypt_as_it_fits_htpasswd() -> None:
    long = b"x" * 100
    users = Passwords([("alice", bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode())])

    assert users.verify("alice", long)


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "$apr1$salt$hash",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "$2b$31$" + "a" * 53,
        "$2b$03$" + "a" * 53,
        HASHES["argon2id"].replace("m=64", "m=99999999"),
        HASHES["bcrypt"][:-1],
        "",
    ],
)
def test_a_hash_that_is_quick_or_endless_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|cost"):
        check_hash(text)


def test_a_file_is_as_htpasswd_writes_it() -> None:
    data = f"# staff\nalice:{HASHES['bcrypt']}\r\n\nbob:{HASHES['argon2id']}\n".encode()

    assert {"alice": HASHES["bcrypt"], "bob": HASHES["argon2id"]} == read_users(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"alice\n", "line 1: expected a name"),
        (b"\nalice:secret\n", "line 2: this is no argon2"),
        (b"\xff:x\n", "line 1: this is not UTF-8"),
        (f"a:{HASHES['bcrypt']}\na:{HASHES['bcrypt']}".encode(), "line 2: there is a user 'a' before"),
    ],
)
def test_a_line_that_is_none_is_named(data: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        read_users(data)


def test_a_user_is_a_name_and_a_hash() -> None:
    assert ("alice", HASHES["bcrypt"]) == user_of(f"alice:{HASHES['bcrypt']}")
    with pytest.raises(ValueError, match="expected a name"):
        user_of(f":{HASHES['bcrypt']}")


def encoded(text: bytes) -> bytes:
    return b"Basic " + b64encode(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (encoded(b"alice:se:cret"), ("alice", b"se:cret")),
        (encoded("zoë:x".encode()), ("zoë", b"x")),
        (encoded(b"alice:x").replace(b"Basic", b"bAsIc"), ("alice", b"x")),
        (encoded(b"alice"), None),
        (encoded(b"\xff:x"), None),
        (encoded(b"alice:" + b"x" * 1025), None),
        (b"Basic not base64!", None),
        (b"Basic", None),
        (b"Bearer abc", None),
        (b"Basic " + b"A" * 5000, None),
        (None, None),
    ],
)
def test_credentials_are_read_or_are_none(value, said) -> None:
    assert said == credentials(value)
