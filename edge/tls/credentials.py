"""
What is believed of an origin over TLS, and what is shown to it: authorities, a certificate of our own, its key.

Read by the master, which may read keys; a worker, which may not, gets what was in the files by the fork and makes its context
of that. Decides whether the files can be used. Does not know which origin they are for, or who connects.

Invariant: two credentials are equal if and only if a context made of either would do the same: by that a reload finds out
whether a file has another content under its old name.

Source: RFC 8446 §4.3.2 (a server asks for a certificate), RFC 5280 §4.2.1.12 (what a certificate is for).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge.tls.certificates import Flaw, read_file, read_pair
from edge.tls.contexts import client_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Key = tuple[str | int, ...]


class CredentialSettings(Protocol):
    """What is asked of an origin's TLS settings."""

    @property
    def verify(self) -> bool:
        """Whether its certificate must be valid for its name."""
        ...

    @property
    def ca(self) -> Path | None:
        """Whom to trust instead of the system's authorities."""
        ...

    @property
    def chain(self) -> Path | None:
        """The certificate to show, with its intermediates."""
        ...

    @property
    def key(self) -> Path | None:
        """Its private key."""
        ...


class Credentials(msgspec.Struct, frozen=True):
    """
    What an origin's context is made of.

    Attributes:
        verify: its certificate must be valid for its name.
        ca: whom to trust, PEM; None: the system's authorities.
        pem: chain and key to show, secret; None: nothing is shown.
    """

    verify: bool = True
    ca: bytes | None = None
    pem: bytes | None = None

    def __repr__(self) -> str:
        return f"<Credentials verify={self.verify} ca={self.ca is not None} pem={self.pem is not None}>"

    def context(self) -> ssl.SSLContext:
        """
        Make a context of it.

        Raises:
            OSError: (``ssl.SSLError`` too) OpenSSL refuses something.
        """
        return client_context(verify=self.verify, ca=self.ca, pem=self.pem)


SYSTEMS: Final = Credentials()
"""The system's authorities are believed, and nothing is shown."""


def read_credentials(key: Key, settings: CredentialSettings, *, now_wall: float) -> tuple[Credentials, list[Flaw]]:
    """
    Read every file *settings* name.

    Args:
        key: where the settings stand, to complain under.
        settings: an origin's.
        now_wall: says whether the certificate is in date.

    Returns:
        What can be made of them, of use only if no flaw is an error; and what is wrong.
    """
    flaws: list[Flaw] = []
    ca = pem = None
    if settings.ca is not None:
        ca = _read_ca((*key, "ca"), settings.ca, verify=settings.verify, flaws=flaws)
    if settings.chain is not None and settings.key is not None:
        pair, found = read_pair(settings.chain, settings.key, now_wall=now_wall, shown_to="the origin")
        flaws += [Flaw((*key, *flaw.key), flaw.message, flaw.is_error, flaw.unread) for flaw in found]
        if pair is not None:
            pem = pair.pem
            if not _is_for_clients(pem):
                message = f"{settings.chain} is not meant to be shown by a client; origins may refuse it"
                flaws.append(Flaw((*key, "chain"), message, is_error=False))
    return Credentials(settings.verify, ca, pem), flaws


def credentials_of(
    settings: Mapping[str, CredentialSettings], *, now_wall: float
) -> tuple[dict[str, Credentials], list[str]]:
    """Read those of every origin, by name; and say why some cannot be used."""
    found: dict[str, Credentials] = {}
    errors: list[str] = []
    for name, each in settings.items():
        found[name], flaws = read_credentials((), each, now_wall=now_wall)
        errors += [flaw.message for flaw in flaws if flaw.is_error]
    return found, errors


def _read_ca(key: Key, path: Path, *, verify: bool, flaws: list[Flaw]) -> bytes | None:
    try:
        data = read_file(path)
    except OSError as error:
        flaws.append(Flaw(key, f"{path} cannot be read: {error.strerror}", unread=True))
        return None
    try:
        client_context(verify=verify, ca=data)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        flaws.append(Flaw(key, f"{path} cannot be used: {reason}; expected certificates in PEM"))
        return None
    return data


def _is_for_clients(pem: bytes) -> bool:
    leaf = x509.load_pem_x509_certificates(pem)[0]
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & {*purposes})
