"""Tokens: every algorithm, every reason, and the tricks that have worked elsewhere."""

from __future__ import annotations

import base64
import contextlib
import json

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from edge.policy.tokens import (
    KeySet,
    Reason,
    Terms,
    Verified,
    bearer,
    cookie,
    judge_times,
    public_key,
    read_set,
    secret_key,
    verify,
)
from edge.tls.selfsigned import Authority

NOW = 1_800_000_000.0
SECRET = b"a shared secret that is long enough for all"
RSA = rsa.generate_private_key(65537, 2048)
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
TERMS = Terms()
PRIVATE = {"HS256": SECRET, "RS256": RSA, "PS256": RSA, "ES256": P256, "ES384": P384, "EdDSA": EDWARDS}


def pem(private) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(private, algorithm: str, **more) -> dict:
    public = private if isinstance(private, bytes) else private.public_key()
    return json.loads(get_default_algorithms()[algorithm].to_jwk(public)) | more


def keys_for(algorithm: str) -> KeySet:
    private = PRIVATE[algorithm]
    return KeySet([secret_key(private, [algorithm]) if algorithm == "HS256" else public_key(pem(private), [algorithm])])


def sign(algorithm: str, claims=None, **headers) -> bytes:
    return pyjwt.encode(
        {"exp": NOW + 60} if claims is None else claims, PRIVATE[algorithm], algorithm, headers or None
    ).encode()


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_of_the_right_key_is_good_and_of_no_other(algorithm: str) -> None:
    token = sign(algorithm, {"exp": NOW, "sub": "ada"})

    good = verify(token, keys_for(algorithm), TERMS)
    assert isinstance(good, Verified)
    assert {"exp": NOW, "sub": "ada"} == good.claims
    for other in PRIVATE.keys() - {algorithm}:
        assert verify(token, keys_for(other), TERMS) in {Reason.ALGORITHM, Reason.SIGNATURE, Reason.KEY}


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_changed_token_is_refused(algorithm: str) -> None:
    head, _, signature = sign(algorithm, {"exp": NOW, "sub": "ada"}).split(b".")
    body = base64.urlsafe_b64encode(b'{"exp":9999999999,"sub":"root"}').rstrip(b"=")

    assert Reason.KEY is verify(b".".join([head, body, signature]), keys_for(algorithm), TERMS)


def test_no_algorithm_is_none() -> None:
    def part(value) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    for name in ("none", "None", "NONE", "", "HS257", None, ["RS256"], 5):
        token = part({"alg": name, "typ": "JWT"}) + b"." + part({"exp": NOW, "sub": "root"}) + b"."

        assert verify(token, keys_for("RS256"), TERMS) in {Reason.ALGORITHM, Reason.MALFORMED}


def test_a_public_key_is_nobodys_shared_secret() -> None:
    """The confusion that RFC 8725 §2.1 tells of: HS256 keyed with the public key's text."""
    import hashlib
    import hmac

    def part(value) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    said = part({"alg": "HS256"}) + b"." + part({"exp": NOW, "sub": "root"})
    signature = base64.urlsafe_b64encode(hmac.digest(pem(RSA), said, hashlib.sha256)).rstrip(b"=")
    both = KeySet([public_key(pem(RSA), ["RS256", "HS256"])])

    assert Reason.ALGORITHM is verify(said + b"." + signature, both, TERMS)


def test_a_set_gives_each_key_the_algorithms_that_fit_it() -> None:
    listed = [
        jwk(RSA, "RS256", kid="r"),
        jwk(RSA, "RS256", kid="p", alg="PS256"),
        jwk(P256, "ES256", kid="e"),
        jwk(EDWARDS, "EdDSA", kid="d"),
        jwk(SECRET, "HS256", kid="s"),
        jwk(P384, "ES384", kid="enc", use="enc"),
        jwk(P384, "ES384", kid="ops", key_ops=["sign"]),
        {"kty": "RSA", "kid": "broken", "n": "AQ", "e": "!"},
        {"kty": "other", "kid": "strange"},
        {"kid": 5, **jwk(P384, "ES384")},
        "no key",
    ]
    document = json.dumps({"keys": listed}).encode()
    wanted = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256"]
    fetched = {key.kid: key.algorithms for key in read_set(document, wanted, is_local=False).keys}

    assert {"r": ("RS256", "PS256"), "p": ("PS256",), "e": ("ES256",), "d": ("EdDSA",)} == fetched
    assert ("HS256",) == {key.kid: key.algorithms for key in read_set(document, wanted, is_local=True).keys}["s"]


def test_a_key_that_names_its_algorithm_is_for_no_other() -> None:
    keys = read_set(
        json.dumps({"keys": [jwk(RSA, "RS256", kid="1", alg="RS256")]}).encode(), ["RS256", "PS256"], is_local=False
    )

    assert isinstance(verify(sign("RS256", kid="1"), keys, TERMS), Verified)
    assert Reason.ALGORITHM is verify(sign("PS256", kid="1"), keys, TERMS)


def test_a_key_is_chosen_by_its_name_and_without_one_all_are_tried() -> None:
    document = {"keys": [jwk(P256, "ES256", kid="1"), jwk(ec.generate_private_key(ec.SECP256R1()), "ES256", kid="2")]}
    keys = read_set(json.dumps(document).encode(), ["ES256"], is_local=False)

    assert isinstance(verify(sign("ES256", kid="1"), keys, TERMS), Verified)
    assert isinstance(verify(sign("ES256"), keys, TERMS), Verified)
    assert Reason.SIGNATURE is verify(sign("ES256", kid="2"), keys, TERMS)
    assert Reason.KEY is verify(sign("ES256", kid="3"), keys, TERMS)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"nonsense", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no set of keys"),
        (b'{"keys": {}}', "no set of keys"),
        (b'{"keys": []}', "no key in it"),
        (b'{"keys": [' + b",".join([b"{}"] * 65) + b"]}", "65 keys"),
        (b" " * 300_000, "at most 256 KiB"),
    ],
)
def test_what_is_no_set_of_keys_is_refused(document: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_set(document, ["RS256"], is_local=False)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "sig", "AQAB"])
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "kid", "alg", "use", "key_ops", "n", "e", "x", "y", "k", "d", "p", "oth"]),
            LEAVES | st.lists(LEAVES, max_size=2),
        ),
        max_size=3,
    )
)
def test_any_set_is_read_or_refused(listed: list) -> None:
    """What a broken service publishes must not cost more than its own tokens."""
    with contextlib.suppress(ValueError):
        assert all(
            key.algorithms
            for key in read_set(
                json.dumps({"keys": listed}).encode(), ["RS256", "ES256", "HS256", "EdDSA"], is_local=True
            ).keys
        )


@pytest.mark.parametrize(
    ("claims", "terms", "reason"),
    [
        ({}, Terms(), Reason.MISSING),
        ({"exp": NOW}, Terms(issuer="me"), Reason.ISSUER),
        ({"exp": NOW, "iss": "you"}, Terms(issuer="me"), Reason.ISSUER),
        ({"exp": NOW}, Terms(audience=("shop",)), Reason.AUDIENCE),
        ({"exp": NOW, "aud": ["other"]}, Terms(audience=("shop",)), Reason.AUDIENCE),
        ({"exp": "soon"}, Terms(), Reason.MALFORMED),
        ({"exp": True}, Terms(), Reason.MALFORMED),
        ({"exp": NOW, "nbf": [1]}, Terms(), Reason.MALFORMED),
    ],
)
def test_what_a_token_says_must_fit(claims: dict, terms: Terms, reason: Reason) -> None:
    assert reason is verify(sign("HS256", claims), keys_for("HS256"), terms)


def test_what_fits_is_good() -> None:
    terms = Terms(issuer="me", audience=("a", "shop"), needs_expiry=False)

    assert isinstance(verify(sign("HS256", {"iss": "me", "aud": ["shop", "x"]}), keys_for("HS256"), terms), Verified)


@pytest.mark.parametrize(
    ("claims", "at", "reason"),
    [
        ({"exp": NOW}, 29, None),
        ({"exp": NOW}, 30, Reason.EXPIRED),
        ({"nbf": NOW}, -30, None),
        ({"nbf": NOW}, -31, Reason.EARLY),
        ({}, 0, None),
    ],
)
def test_times_are_judged_whenever_a_token_is_used(claims: dict, at: float, reason) -> None:
    assert reason is judge_times(Verified(claims), NOW + at, 30.0)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b".".join([data] * 3)))
def test_any_bytes_are_refused_and_raise_nothing(data: bytes) -> None:
    assert isinstance(verify(data, keys_for("HS256"), TERMS), Reason)


def test_what_a_token_calls_critical_is_not_passed_over() -> None:
    assert Reason.MALFORMED is verify(sign("HS256", crit=["b64"], b64=True), keys_for("HS256"), TERMS)


def test_a_token_has_a_length() -> None:
    assert Reason.MALFORMED is verify(sign("HS256", {"exp": NOW, "x": "y" * 9000}), keys_for("HS256"), TERMS)


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: secret_key(b"short", ["HS256"]), "5 bytes"),
        (lambda: secret_key(SECRET, ["HS256", "HS512"]), "expected at least 64"),
        (lambda: secret_key(SECRET, ["RS256"]), "no algorithm is one of HS256"),
        (lambda: public_key(b"nonsense", ["RS256"]), "no public key in PEM"),
        (lambda: public_key(pem(P256), ["RS256", "ES384"]), "none of the algorithms fits"),
        (lambda: public_key(pem(P256), ["HS256"]), "none of the algorithms fits"),
    ],
)
def test_a_key_that_cannot_be_used_is_told(read, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read()


def test_a_certificate_holds_a_key_too() -> None:
    assert ("ES256",) == public_key(Authority().issue(["login.example"]).chain, ["ES256", "RS256"]).algorithms


def test_a_private_key_in_a_set_is_used_as_the_public_one() -> None:
    private = json.loads(get_default_algorithms()["RS256"].to_jwk(RSA)) | {"kid": "1", "key_ops": ["sign", "verify"]}
    keys = read_set(json.dumps({"keys": [private]}).encode(), ["RS256"], is_local=False)

    assert isinstance(verify(sign("RS256", kid="1"), keys, TERMS), Verified)
    assert not hasattr(keys.keys[0].key, "private_numbers")


def test_an_end_of_line_is_no_part_of_a_secret() -> None:
    assert SECRET == secret_key(SECRET + b"\n", ["HS256"]).key


@pytest.mark.parametrize(
    ("value", "token"),
    [(b"Bearer abc", b"abc"), (b"bearer  abc ", b"abc"), (b"Bearer", None), (b"Basic abc", None), (None, None)],
)
def test_a_bearer_is_read(value, token) -> None:
    assert token == bearer(value)


@pytest.mark.parametrize(
    ("line", "token"),
    [
        (b"a=1; t=abc", b"abc"),
        (b't="abc"', b"abc"),
        (b"t=abc; t=abc", b"abc"),
        (b"t=abc; t=def", None),
        (b"a=1,t=abc", b"abc"),
        (b"t=", None),
        (b"xt=abc", None),
        (None, None),
    ],
)
def test_a_cookie_is_read_if_there_is_one(line, token) -> None:
    assert token == cookie(line, b"t")


def test_every_reason_is_given() -> None:
    """But for two that the provider gives: no token, and a claim of the route's."""
    assert set(Reason) - {Reason.ABSENT, Reason.CLAIM} == {
        Reason.MALFORMED, Reason.ALGORITHM, Reason.KEY, Reason.SIGNATURE, Reason.EXPIRED, Reason.EARLY, Reason.ISSUER,
        Reason.AUDIENCE, Reason.MISSING,
    }  # fmt: skip
