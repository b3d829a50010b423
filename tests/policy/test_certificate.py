"""What a certificate says, as fields; and that it cannot say more than fields can hold."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edge.policy.certificate import PARTS, Shown

NAMES = [
    x509.DNSName("a.example"),
    x509.RFC822Name("a@example"),
    x509.UniformResourceIdentifier("spiffe://a"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
]


def made(name: str = "Ada, Countess", *, sans: bool = True) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(0xABC)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_every_part_is_told() -> None:
    der = made()
    shown = Shown(der)

    assert {
        "subject": "CN=Ada\\, Countess",
        "issuer": "CN=Ada\\, Countess",
        "serial": "abc",
        "san": "DNS:a.example, email:a@example, URI:spiffe://a, IP:192.0.2.1",
        "fingerprint": hashlib.sha256(der).hexdigest(),
        "not_after": "2026-01-02T00:00:00Z",
        "certificate": f":{base64.b64encode(der).decode()}:",
    } == {part: shown.part(part) for part in PARTS}


def test_a_name_cannot_break_its_line() -> None:
    fields = Shown(made("Eve\r\nX-Admin: 1 é")).fields({b"x-name": "subject"})

    assert ((b"x-name", b"CN=Eve%0D%0AX-Admin: 1 %C3%A9"),) == fields


def test_what_it_does_not_say_is_not_told() -> None:
    assert () == Shown(made(sans=False)).fields({b"x-names": "san"})
    assert () == Shown(b"no certificate").fields({b"x-name": "subject"})
    assert 1 == len(Shown(b"no certificate").fields({b"x-hash": "fingerprint"}))
