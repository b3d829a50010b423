"""
A certificate authority for an afternoon: what the demo and the tests show to clients they also tell whom to trust.

Decides the shape of what it makes: an ECDSA P-256 root that signs leaves directly, valid from an hour ago (clocks
differ) for as many days as asked. Does not know where a public certificate comes from; nothing made here is for the
public. The root's key stays in memory unless someone writes it down: a forgotten folder cannot sign for anyone.

Source: RFC 5280 §4.2 (extensions), RFC 9525 (names are in the subject alternative name, not in the subject).
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

EARLY = timedelta(hours=1)
"""Valid from this long ago: the client's clock may be behind ours."""

KeyKind = Literal["ecdsa", "rsa", "ed25519"]


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf with its key, both PEM."""

    chain: bytes
    key: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``fullchain.pem`` and ``privkey.pem`` (mode 0600) into *folder*, made if need be; return both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = folder / "fullchain.pem", folder / "privkey.pem"
        chain.write_bytes(self.chain)
        _write_secret(key, self.key)
        return chain, key


class Authority:
    """
    A root certificate and its key.

    Args:
        name: what it calls itself.
        days: how long it is valid.
    """

    def __init__(self, name: str = "Edge test authority", *, days: int = 3650, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._key: CertificateIssuerPrivateKeyTypes = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name)
        public = self._key.public_key()
        start = _now(clock) - EARLY
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + EARLY + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """What clients are told to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        names: Sequence[str],
        *,
        days: int = 30,
        key_kind: KeyKind = "ecdsa",
        for_client: bool = False,
        starts_in: timedelta = -EARLY,
    ) -> Issued:
        """
        Sign a leaf for *names*: host names, ``*.`` wildcards, or IP addresses. The first is also its subject.

        It becomes valid *starts_in* from now and stays so until *days* from now; negative days make an expired one.
        With *for_client* it is one that a client shows: the first name is whoever that is, and no host.
        """
        key = _new_key(key_kind)
        now = _now(self._clock)
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if for_client else ExtendedKeyUsageOID.SERVER_AUTH
        leaf = (
            x509.CertificateBuilder(extensions=[] if for_client else [_host_names(names)])
            .subject_name(_subject(names[0]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + min(starts_in, timedelta(days=days) - EARLY))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            leaf.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


@dataclass(frozen=True, slots=True)
class Made:
    """Where :func:`make` put things."""

    ca: Path
    chain: Path
    key: Path


def make(folder: Path, names: Sequence[str], *, days: int = 30, clock: Clock = SYSTEM) -> Made:
    """
    Make an authority and one leaf for *names* in *folder*: ``ca.pem``, ``fullchain.pem``, ``privkey.pem``.

    What was there under these names is overwritten. The authority's key is not kept.

    Raises:
        OSError: the folder cannot be made or written.
    """
    authority = Authority(days=max(days, 1), clock=clock)
    chain, key = authority.issue(names, days=days).write(folder)
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    return Made(ca, chain, key)


def _write_secret(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, at no moment."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)  # it may have been there with another mode
        file.write(data)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(int(clock.wall()), UTC)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _host_names(names: Sequence[str]) -> x509.Extension[x509.ExtensionType]:
    listed = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return x509.Extension(listed.oid, critical=False, value=listed)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key(kind: KeyKind) -> CertificateIssuerPrivateKeyTypes:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())
