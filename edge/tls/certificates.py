"""
What is in the certificate files a configuration names, and everything that is wrong with it.

Decides whether a chain and a key can be used together, for which names, until when; which clients are asked for a
certificate of their own. Reads each file once: what was checked is what is used. Does not make contexts, and does not
know a configuration's syntax: a :class:`Flaw` carries the key of the setting, whoever asked knows where it stands.

Shapes: a :class:`Supply` is all that contexts are made of, and nothing else: plain values that can be packed, sent to
another process, and compared. Two equal pairs are the same certificate.

Invariant: every :class:`Pair` here has been loaded by OpenSSL once, under our own security level.

Source: RFC 5280 §4.1.2.5 (validity), RFC 8446 §4.4.2 (the leaf comes first), RFC 9525 §6 (names).
"""

from __future__ import annotations

import errno
import os
import ssl
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from edge.tls.memory import MemoryFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

ClientVerify = Literal["none", "optional", "required"]
Key = tuple[str | int, ...]
"""Where a setting is, from the top: ``("certificate", 0, "chain")``."""


class CertificateSettings(Protocol):
    """What a ``[[certificate]]`` says: chain and key, or a directory of them."""

    @property
    def chain(self) -> Path | None:
        """The certificate and its intermediates, PEM, leaf first."""
        ...

    @property
    def key(self) -> Path | None:
        """Its private key, PEM."""
        ...

    @property
    def directory(self) -> Path | None:
        """Instead of both: a folder with a folder for each certificate."""
        ...

    @property
    def client_ca(self) -> Path | None:
        """What clients' certificates are verified against."""
        ...

    @property
    def client_verify(self) -> ClientVerify:
        """Whether clients must show one."""
        ...


class ListenerSettings(Protocol):
    """What a ``[[listener]]`` says about TLS."""

    @property
    def address(self) -> str:
        """Where it listens; no two listeners have the same."""
        ...

    @property
    def tls(self) -> bool:
        """Whether clients speak TLS here."""
        ...

    @property
    def client_ca(self) -> Path | None:
        """What clients' certificates are verified against."""
        ...

    @property
    def client_verify(self) -> ClientVerify:
        """Whether clients must show one."""
        ...


class Settings(Protocol):
    """What of a configuration concerns certificates."""

    @property
    def certificates(self) -> tuple[CertificateSettings, ...]:
        """In order; the first is the default."""
        ...

    @property
    def listeners(self) -> tuple[ListenerSettings, ...]:
        """Those without TLS too."""
        ...


class Policy(msgspec.Struct, frozen=True, array_like=True):
    """
    Who is asked for a client certificate, and whose signature counts.

    Attributes:
        ca: the authorities' certificates, PEM; empty with ``none``.
    """

    verify: ClientVerify = "none"
    ca: bytes = b""


ANYONE = Policy()

MOST_BYTES: Final = 4 << 20
"""Of a file with certificates or a key; the authorities that a system trusts, all of them, are a quarter of a MiB."""

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)
"""What ``cryptography`` raises when a part of a certificate is not what its standard says, or unknown."""


CLIENTS: Final = "clients"
"""Who looks at a certificate of ours, if nobody else is said."""


class Pair(msgspec.Struct, frozen=True, array_like=True):
    """
    A chain and its key, known to belong together.

    Attributes:
        source: the chain's path: what stays the same when the certificate is renewed.
        names: host names and wildcards, lower case, as the leaf has them.
        kind: the key's: ``rsa``, ``ecdsa``, ``ed25519``, ``ed448``.
        not_before, not_after: seconds since the epoch.
        pem: chain and key, secret.
        client: who must show what to be answered under these names; none: the listener says.
    """

    source: str
    names: tuple[str, ...]
    kind: str
    not_before: float
    not_after: float
    pem: bytes
    client: Policy = ANYONE

    def __repr__(self) -> str:
        return f"<Pair {self.source} {self.kind} {', '.join(self.names)}>"


class Supply(msgspec.Struct, frozen=True, array_like=True):
    """
    All that contexts are made of.

    Attributes:
        pairs: in the order of the configuration, each source once; the first is the default.
        doors: by a TLS listener's address: whom it asks for a certificate.
    """

    pairs: tuple[Pair, ...]
    doors: dict[str, Policy]


@dataclass(frozen=True, slots=True)
class Flaw:
    """
    Something wrong with a file.

    Attributes:
        key: of the setting that names the file.
        is_error: it cannot be used; else it can, but probably does not do what was meant.
        unread: the file itself could not be opened: who has looked at the paths already says so better.
    """

    key: Key
    message: str
    is_error: bool = True
    unread: bool = False


@dataclass(slots=True)
class Survey:
    """What was found: usable if no flaw is an error."""

    supply: Supply
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """Why it cannot be used; empty if it can."""
        return [flaw.message for flaw in self.flaws if flaw.is_error]


class Readings:
    """
    What was found in files before: the same bytes are not examined again.

    A reload of ten thousand certificates of which one is new is to cost that one. A chain and its key are known by their digest;
    what time makes of them is looked at anew. Only the files of the last survey are remembered.
    """

    __slots__ = ("_now", "_seen")

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Reading] = {}
        self._now: dict[tuple[str, str], _Reading] = {}

    def get(self, chain: Path, key: Path, digest: bytes) -> _Reading | None:
        """Return what was found in these files, if they had the same bytes then."""
        where = str(chain), str(key)
        reading = self._now.get(where) or self._seen.get(where)
        if reading is None or reading.digest != digest:
            return None
        self._now[where] = reading
        return reading

    def put(self, chain: Path, key: Path, reading: _Reading) -> None:
        """Remember what was found."""
        self._now[str(chain), str(key)] = reading

    def end(self) -> None:
        """Forget what has not been asked for since the last time."""
        self._seen, self._now = self._now, {}


@dataclass(frozen=True, slots=True)
class _Reading:
    """A pair that can be used, for anybody; and what is doubtful about it at any time."""

    digest: bytes
    pair: Pair
    doubts: tuple[str, ...]


class Unusable(ValueError):  # noqa: N818 - the sentence says what is wrong
    """A certificate cannot be used; the message says every reason, one per line."""


def survey(
    certificates: Iterable[tuple[Key, CertificateSettings]],
    listeners: Iterable[tuple[Key, ListenerSettings]],
    *,
    now_wall: float,
    readings: Readings | None = None,
) -> Survey:
    """
    Read every file that *certificates* and *listeners* name.

    Args:
        certificates: each with the key to complain under.
        listeners: as those.
        now_wall: says whether they are in date.
        readings: of surveys before; None: there were none.

    Raises:
        Nothing: what is wrong is in the flaws.
    """
    flaws: list[Flaw] = []
    pairs: dict[str, Pair] = {}
    taken: dict[str, str] = {}
    for key, certificate in certificates:
        policy = _policy(key, certificate, flaws)
        for chain_key, key_key, chain, private in _files(key, certificate, flaws):
            pair = _read_pair(chain_key, key_key, chain, private, policy, now_wall, flaws, readings=readings)
            if pair is not None:
                flaws += _shadows(chain_key, pair, taken)
                pairs.setdefault(pair.source, pair)
    if readings is not None:
        readings.end()
    doors: dict[str, Policy] = {}
    for key, listener in listeners:
        if listener.tls:
            policy = _policy(key, listener, flaws)
            if doors.setdefault(listener.address, policy) != policy:  # port 0 may be there twice
                message = f"{listener.address} stands for another client_verify or client_ca already"
                flaws.append(Flaw((*key, "address"), f"{message}; expected an address of its own"))
    return Survey(Supply(tuple(pairs.values()), doors), flaws)


def survey_settings(settings: Settings, *, now_wall: float, readings: Readings | None = None) -> Survey:
    """Read every file a whole configuration names (see :func:`survey`)."""
    return survey(
        ((("certificate", at), certificate) for at, certificate in enumerate(settings.certificates)),
        ((("listener", at), listener) for at, listener in enumerate(settings.listeners)),
        now_wall=now_wall,
        readings=readings,
    )


def read_pair(
    chain: Path, key: Path, *, now_wall: float, client: Policy = ANYONE, shown_to: str = CLIENTS
) -> tuple[Pair | None, list[Flaw]]:
    """
    Read one chain and its key.

    Args:
        chain: the certificate, with its intermediates.
        key: its private key.
        now_wall: says whether it is in date.
        client: who must show what to be answered under its names.
        shown_to: who will look at it, for what is said of it; where that is not clients, it need not name a host.

    Returns:
        The pair, or None if it cannot be used; and what is wrong, each under the key ``("chain",)`` or ``("key",)``.
    """
    flaws: list[Flaw] = []
    return _read_pair(("chain",), ("key",), chain, key, client, now_wall, flaws, shown_to), flaws


def private_keys(certificate: CertificateSettings) -> Iterator[tuple[Key, Path]]:
    """Every key's file of one setting, with what in it names the file, or the directory it is in."""
    for _, where, _, private in _files((), certificate, []):
        yield where, private


def _files(key: Key, certificate: CertificateSettings, flaws: list[Flaw]) -> Iterator[tuple[Key, Key, Path, Path]]:
    """Every chain and key of one setting, each with the key to complain under."""
    if certificate.chain is not None and certificate.key is not None:
        yield (*key, "chain"), (*key, "key"), certificate.chain, certificate.key
    if certificate.directory is None:
        return
    where = (*key, "directory")
    try:
        folders = sorted(entry for entry in certificate.directory.iterdir() if entry.is_dir())
    except OSError as error:
        flaws.append(Flaw(where, f"{certificate.directory} cannot be read: {error.strerror}", unread=True))
        return
    found = False
    for folder in folders:
        chain, private = folder / "fullchain.pem", folder / "privkey.pem"
        if chain.exists() or private.exists():
            found = True
            yield where, where, chain, private
    if not found:
        message = f"{certificate.directory} holds no NAME/fullchain.pem with NAME/privkey.pem"
        flaws.append(Flaw(where, message, is_error=False))


def _policy(key: Key, settings: CertificateSettings | ListenerSettings, flaws: list[Flaw]) -> Policy:
    """Read whom clients must be signed by."""
    if settings.client_verify == "none" or settings.client_ca is None:
        return ANYONE
    where = (*key, "client_ca")
    data = _read(where, settings.client_ca, flaws)
    if data is None:
        return ANYONE
    try:
        authorities = x509.load_pem_x509_certificates(data)
        # OpenSSL's own opinion; what is kept is written anew, so that comments do not make another policy.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (*_UNREADABLE, x509.InvalidVersion, ssl.SSLError) as error:
        flaws.append(Flaw(where, f"{settings.client_ca} cannot be used: {_said(error)}; expected certificates in PEM"))
        return ANYONE
    return Policy(
        settings.client_verify, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in authorities)
    )


def _read(key: Key, path: Path, flaws: list[Flaw]) -> bytes | None:
    try:
        return read_file(path)
    except OSError as error:
        flaws.append(Flaw(key, f"{path} cannot be read: {error.strerror}", unread=True))
        return None


def read_file(path: Path) -> bytes:
    """
    Read a file of certificates or a key: a regular one, and no more of it than such a file has.

    A directory of tenants' certificates may be written by tenants. A pipe there would hold whoever opens it for ever, and
    ``/dev/zero`` has no end. Links are followed, since that is how certificates are renewed (certbot's ``live/``); they lead to
    nothing that whoever can place one could not name in a chain of his own, and what is read never leaves as text.

    Raises:
        OSError: it cannot be read, or is not such a file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES >> 20} MiB")
    return data


def _read_pair(
    chain_key: Key,
    key_key: Key,
    chain: Path,
    key: Path,
    client: Policy,
    now_wall: float,
    flaws: list[Flaw],
    shown_to: str = CLIENTS,
    readings: Readings | None = None,
) -> Pair | None:
    """Read one chain and key; None if a flaw is an error."""
    chain_data, key_data = _read(chain_key, chain, flaws), _read(key_key, key, flaws)
    digest = _digest(chain_data, key_data)
    reading = None if readings is None else readings.get(chain, key, digest)
    if reading is None:
        reading = _examine(chain_key, key_key, chain, key, chain_data, key_data, digest, flaws)
        if reading is None:
            return None
        if readings is not None:
            readings.put(chain, key, reading)
    pair = reading.pair if client == ANYONE else msgspec.structs.replace(reading.pair, client=client)
    doubts = [*_doubts_now(pair, now_wall, shown_to), *reading.doubts]
    flaws += [Flaw(chain_key, f"{chain}: {what}", is_error=False) for what in doubts]
    return pair


def _digest(chain_data: bytes | None, key_data: bytes | None) -> bytes:
    """Tell a chain and a key from every other two."""
    digest = blake2b(b"%d " % len(chain_data or b""), digest_size=32)
    digest.update(chain_data or b"")
    digest.update(key_data or b"")
    return digest.digest()


def _examine(
    chain_key: Key,
    key_key: Key,
    chain: Path,
    key: Path,
    chain_data: bytes | None,
    key_data: bytes | None,
    digest: bytes,
    flaws: list[Flaw],
) -> _Reading | None:
    """Look into the bytes of a chain and a key; None if a flaw is an error. Cost: 1 ms."""
    certificates = None if chain_data is None else _parse_chain(chain_key, chain, chain_data, flaws)
    private = None if key_data is None else _parse_key(key_key, key, key_data, flaws)
    if certificates is None or private is None:
        return None
    leaf = certificates[0]
    if not _belongs(leaf, private):
        if any(_belongs(other, private) for other in certificates[1:]):
            message = f"{chain}: the key's certificate is not the first; expected the leaf, then who signed it"
            flaws.append(Flaw(chain_key, message))
        else:
            flaws.append(Flaw(key_key, f"{key} does not belong to {chain}; expected the key it was made with"))
        return None
    names = _names(leaf)
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates) + private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair = Pair(
        str(chain),
        names,
        _kind(private),
        leaf.not_valid_before_utc.timestamp(),
        leaf.not_valid_after_utc.timestamp(),
        pem,
    )
    try:
        with MemoryFile(pem) as file:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.path)
    except ssl.SSLError as error:
        flaws.append(Flaw(chain_key, f"{chain} is refused by OpenSSL: {_said(error)}"))
        return None
    return _Reading(digest, pair, tuple(_doubts(certificates)))


def _parse_chain(key: Key, path: Path, data: bytes, flaws: list[Flaw]) -> list[x509.Certificate] | None:
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion):
        flaws.append(Flaw(key, f"{path} holds no certificate; expected PEM, the leaf first"))
        return None
    for at, certificate in enumerate(certificates, 1):
        try:
            _parse_whole(certificate)
        except _UNREADABLE as error:
            flaws.append(Flaw(key, f"{path}: certificate {at} cannot be read: {_said(error)}"))
            return None
    return certificates


def _parse_whole(certificate: x509.Certificate) -> None:
    """Look at everything in *certificate* that is asked for later: it is parsed only when it is looked at."""
    certificate.public_key()
    for _ in certificate.extensions:
        pass
    _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _parse_key(key: Key, path: Path, data: bytes, flaws: list[Flaw]) -> PrivateKeyTypes | None:
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        flaws.append(Flaw(key, f"{path} is encrypted; expected a key without a password, readable by root only"))
    except (ValueError, UnsupportedAlgorithm):
        flaws.append(Flaw(key, f"{path} holds no private key; expected PEM"))
    else:
        if _kind(private) != "unknown":
            return private
        flaws.append(Flaw(key, f"{path} is no key TLS can sign with; expected ECDSA, RSA or Ed25519"))
    return None


def _kind(private: PrivateKeyTypes) -> str:
    """Which of OpenSSL's places for a certificate a key takes: a context has one of each."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return "ecdsa"
    if isinstance(private, rsa.RSAPrivateKey):
        return "rsa"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, ed448.Ed448PrivateKey):
        return "ed448"
    return "unknown"


def _belongs(certificate: x509.Certificate, private: PrivateKeyTypes) -> bool:
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if isinstance(private, dsa.DSAPrivateKey):
        return False
    return certificate.public_key().public_bytes(*form) == private.public_key().public_bytes(*form)


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """The host names *leaf* is for; its subject counts only where there is no list of names at all."""
    try:
        listed = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        subject = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = [str(attribute.value) for attribute in subject]
    else:
        found = listed.get_values_for_type(x509.DNSName)
    return tuple(dict.fromkeys(name.lower().removesuffix(".") for name in found))


def _doubts_now(pair: Pair, now_wall: float, shown_to: str) -> Iterator[str]:
    """What whoever it is shown to will hold against it today."""
    if pair.not_after <= now_wall:
        yield f"expired on {_day(pair.not_after)}; {shown_to} will refuse it"
    elif pair.not_before > now_wall:
        yield f"not valid before {_day(pair.not_before)}; {shown_to} will refuse it until then"
    if not pair.names and shown_to is CLIENTS:
        yield "names no host; it is served only as the default"


def _doubts(certificates: list[x509.Certificate]) -> Iterator[str]:
    """What anybody will hold against a chain that OpenSSL takes."""
    for at, (lower, upper) in enumerate(pairwise(certificates), 2):
        try:
            lower.verify_directly_issued_by(upper)
        except (*_UNREADABLE, InvalidSignature):
            yield f"certificate {at} did not sign the one before it; expected the leaf, then who signed it, and so on"


def _shadows(key: Key, pair: Pair, taken: dict[str, str]) -> Iterator[Flaw]:
    """Say which of *pair*'s names are answered by an earlier one, and take the others."""
    for name in pair.names:
        first = taken.setdefault(name, pair.source)
        if first != pair.source:
            yield Flaw(key, f"{pair.source}: {name} is answered with {first}, which comes first", is_error=False)


def _day(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _said(error: Exception) -> str:
    """OpenSSL's reason without its file and line."""
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if reason else str(error)
