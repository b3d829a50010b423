"""
Tokens that somebody else has signed: which keys may have signed them, and what they say (JWT).

A key is for one algorithm, or for the few that fit it among those the operator named; what a token's own header says about
it can only agree or be refused. ``none`` is no algorithm. A key that is a shared secret is taken from this machine only, never
from a set that was fetched: whoever could read that could sign.

Time is given, not read: what a token says of it is judged here, and PyJWT judges the rest. What was verified may be remembered
(:class:`Verified`), because a signature stays right; its times are judged anew each time.

Source: RFC 7515, RFC 7517, RFC 7519; RFC 8725 §3.1 (algorithms), §3.8-§3.9 (issuer, audience); RFC 6750 §3 (how it is told).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import (
    InvalidAudienceError,
    InvalidIssuerError,
    MissingRequiredClaimError,
    PyJWTError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST: Final = 8192
"""Bytes of a token."""

MOST_KEYS: Final = 64
SET_BYTES: Final = 256 * 1024
"""What a set of keys may have."""

LEAST_SECRET: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes of a shared secret: as many as its hash has (RFC 7518 §3.2)."""

_ALGORITHMS: Final = get_default_algorithms()

_CURVES: Final = {
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "secp256k1": ("ES256K",),
}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_HMAC: Final = tuple(LEAST_SECRET)


class Reason(Enum):
    """Why a token is not taken. The value is told in the log, and to the client as ``error_description``."""

    ABSENT = "no token"
    MALFORMED = "it is no signed token"
    ALGORITHM = "its algorithm is none of this key's"
    KEY = "its key is not known"
    SIGNATURE = "its signature is wrong"
    EXPIRED = "it has expired"
    EARLY = "it is not valid yet"
    ISSUER = "its issuer is another"
    AUDIENCE = "it is for another audience"
    MISSING = "it lacks a claim"
    CLAIM = "a claim does not fit"


@dataclass(frozen=True, slots=True)
class Key:
    """
    What signatures are verified with.

    Attributes:
        kid: how tokens name it; None: they need not.
        algorithms: that it is for.
        key: as PyJWT wants it for these.
    """

    kid: str | None
    algorithms: tuple[str, ...]
    key: Any


class KeySet:
    """Keys, by name."""

    __slots__ = ("keys",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)

    def __len__(self) -> int:
        return len(self.keys)

    def candidates(self, kid: object) -> list[Key]:
        """Return the keys that may have signed a token which names *kid*, or names none."""
        if kid is None:
            return list(self.keys)
        return [key for key in self.keys if key.kid == kid] or [key for key in self.keys if key.kid is None]


def secret_key(data: bytes, algorithms: Iterable[str]) -> Key:
    """
    Read a shared secret; an end of line behind it is not part of it.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    secret = data.rstrip(b"\r\n")
    fitting = tuple(name for name in algorithms if name in _HMAC)
    if not fitting:
        raise ValueError("this is a shared secret, but no algorithm is one of HS256, HS384, HS512")
    least = max(LEAST_SECRET[name] for name in fitting)
    if len(secret) < least:
        raise ValueError(f"this secret has {len(secret)} bytes; expected at least {least}")
    return Key(None, fitting, secret)


def public_key(data: bytes, algorithms: Iterable[str]) -> Key:
    """
    Read a public key, or a certificate, in PEM.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    try:
        if b"BEGIN CERTIFICATE" in data:
            key: Any = load_pem_x509_certificate(data).public_key()
        else:
            key = load_pem_public_key(data)
    except ValueError:
        raise ValueError("this is no public key in PEM") from None
    fitting = tuple(name for name in algorithms if name not in _HMAC and _fits(key, name))
    if not fitting:
        raise ValueError("none of the algorithms fits this key")
    return Key(None, fitting, key)


def _fits(key: Any, algorithm: str) -> bool:
    """Whether a public key is of the sort, and the curve, that *algorithm* wants."""
    kind = json.loads(_jwk_text(key))
    return algorithm in _fitting(kind)


def _jwk_text(key: Any) -> str:
    for name in ("RS256", "ES256", "EdDSA"):
        try:
            return str(_ALGORITHMS[name].to_jwk(key))
        except (PyJWTError, TypeError, AttributeError, ValueError):
            continue
    raise ValueError("this is no RSA, elliptic curve or Edwards curve key")


def _fitting(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    match jwk.get("kty"):
        case "RSA":
            return _RSA
        case "EC":
            return _CURVES.get(str(jwk.get("crv")), ())
        case "OKP":
            return ("EdDSA",)
        case "oct":
            return _HMAC
    return ()


def read_set(data: bytes, algorithms: Iterable[str], *, is_local: bool) -> KeySet:
    """
    Read a JSON Web Key Set. Keys that are for something else, or of a sort that no algorithm here fits, are passed over.

    Args:
        data: the document.
        algorithms: that the operator takes.
        is_local: it is a file of ours, and may hold shared secrets.

    Raises:
        ValueError: it is none, or no key of it can be used.
    """
    if len(data) > SET_BYTES:
        raise ValueError(f"a set of keys has at most {SET_BYTES >> 10} KiB")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None
    listed = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise ValueError(  # noqa: TRY004 - it is the document that is wrong
            'this is no set of keys; expected {"keys": [...]}'
        )
    if len(listed) > MOST_KEYS:
        raise ValueError(f"these are {len(listed)} keys; expected at most {MOST_KEYS}")
    wanted = tuple(algorithms)
    keys = [key for jwk in listed if (key := _read_jwk(jwk, wanted, is_local=is_local)) is not None]
    if not keys:
        raise ValueError(f"no key in it can be used for {' or '.join(wanted)}")
    return KeySet(keys)


def _read_jwk(jwk: object, algorithms: tuple[str, ...], *, is_local: bool) -> Key | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if jwk.get("kty") == "oct" and not is_local:
        return None
    named = jwk.get("alg")
    fitting = tuple(
        name
        for name in algorithms
        if name in _fitting(jwk) and (named is None or name == named or (named == "Ed25519" and name == "EdDSA"))
    )
    kid = jwk.get("kid")
    if not fitting or not (kid is None or isinstance(kid, str)):
        return None
    try:
        key = _ALGORITHMS[fitting[0]].from_jwk(jwk)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    if hasattr(key, "private_numbers") or hasattr(key, "private_bytes"):
        key = key.public_key()  # somebody has published a private key; what it signs is no worse for it here
    if isinstance(key, bytes):
        fitting = tuple(name for name in fitting if len(key) >= LEAST_SECRET[name])
        if not fitting:
            return None
    return Key(kid, fitting, key)


@dataclass(slots=True)
class Verified:
    """A token whose signature is right, with what it claims. Its times are judged whenever it is used."""

    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a token must say beside being signed.

    Attributes:
        issuer: of it; None: anybody.
        audience: it must be for one of these; empty: for anybody.
        leeway_s: how far its clock and ours may be apart.
        needs_expiry: it must say when it ends.
    """

    issuer: str | None = None
    audience: tuple[str, ...] = ()
    leeway_s: float = 0.0
    needs_expiry: bool = True


def verify(token: bytes, keys: KeySet, terms: Terms) -> Verified | Reason:
    """
    Verify a token's signature, and what it says of itself but for its times.

    Returns:
        ``Reason.KEY`` where the set may be too old to know its key.

    Raises:
        Nothing.

    Cost: 30 to 150 µs, by algorithm; the caller remembers.
    """
    if len(token) > LONGEST:
        return Reason.MALFORMED
    try:
        head = jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError):
        return Reason.MALFORMED
    if "crit" in head:  # it must be refused by whoever does not know what is meant (RFC 7515 §4.1.11)
        return Reason.MALFORMED
    candidates = keys.candidates(head.get("kid"))
    if not candidates:
        return Reason.KEY
    algorithm = head.get("alg")
    fitting = [key for key in candidates if algorithm in key.algorithms]
    if not fitting:
        return Reason.ALGORITHM
    for key in fitting:
        judged = _verify(token, key, str(algorithm), terms)
        if judged is not Reason.SIGNATURE:
            return judged
    # A token that names no key may be of one that this set does not have yet.
    return Reason.SIGNATURE if head.get("kid") is not None else Reason.KEY


def _verify(token: bytes, key: Key, algorithm: str, terms: Terms) -> Verified | Reason:
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            issuer=terms.issuer,
            audience=terms.audience or None,
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": bool(terms.audience),
                "verify_iss": terms.issuer is not None,
                "require": ["exp"] if terms.needs_expiry else [],
            },
        )
    except InvalidIssuerError:
        return Reason.ISSUER
    except InvalidAudienceError:
        return Reason.AUDIENCE
    except MissingRequiredClaimError as missing:
        return {"iss": Reason.ISSUER, "aud": Reason.AUDIENCE}.get(missing.claim, Reason.MISSING)
    except jwt.InvalidSignatureError:
        return Reason.SIGNATURE
    except (PyJWTError, ValueError, TypeError, RecursionError):
        return Reason.MALFORMED
    for name in ("exp", "nbf"):
        if name in claims and (isinstance(claims[name], bool) or not isinstance(claims[name], (int, float))):
            return Reason.MALFORMED
    return Verified(claims)


def judge_times(verified: Verified, now_wall: float, leeway_s: float) -> Reason | None:
    """Say what stands against a token now, if anything."""
    claims = verified.claims
    if "exp" in claims and not now_wall < claims["exp"] + leeway_s:
        return Reason.EXPIRED
    if "nbf" in claims and not now_wall >= claims["nbf"] - leeway_s:
        return Reason.EARLY
    return None


def bearer(value: bytes | None) -> bytes | None:
    """Read ``Authorization: Bearer``; None if it says anything else."""
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    return token.strip(b" ") or None if scheme.lower() == b"bearer" else None


def cookie(line: bytes | None, name: bytes) -> bytes | None:
    """Return the one cookie of a name; None if there is none, or several that differ: which one would the origin believe?"""
    if line is None:
        return None
    found = {
        value.strip(b' \t"')
        for pair in line.replace(b",", b";").split(b";")
        for other, equals, value in [pair.strip(b" \t").partition(b"=")]
        if equals and other == name
    }
    return found.pop() or None if len(found) == 1 else None
