"""
What a client's certificate says of it, as fields an origin can read.

The certificate has been verified in the handshake; here it is only put into words. What they are is not for us to judge.

Source: RFC 4514 (names as text); RFC 5280 §4.2.1.6; RFC 9440 §2.2 (``Client-Cert``).
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography import x509

from edge.policy.identity import field_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.message.head import Field

PARTS: Final = ("subject", "issuer", "serial", "san", "fingerprint", "not_after", "certificate")
"""What can be told: the last is all of it, as RFC 9440 has it."""


class Shown:
    """
    A certificate that a client has shown.

    Args:
        der: as it came.
    """

    __slots__ = ("_der", "_said", "fingerprint")

    def __init__(self, der: bytes) -> None:
        self._der = der
        self.fingerprint = sha256(der).hexdigest()
        self._said: dict[str, str] | None = None

    def part(self, name: str) -> str:
        """Return one of PARTS; empty if it does not say."""
        if name == "fingerprint":
            return self.fingerprint
        if name == "certificate":
            return f":{b64encode(self._der).decode()}:"
        if self._said is None:
            self._said = _read(self._der)
        return self._said.get(name, "")

    def fields(self, names: Mapping[bytes, str]) -> tuple[Field, ...]:
        """Return the fields that tell of it, by field name."""
        made = ((name, field_value(self.part(part))) for name, part in names.items())
        return tuple((name, value) for name, value in made if value is not None)


def _read(der: bytes) -> dict[str, str]:
    """Take a certificate apart; what cannot be read is not said."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        said = {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    except ValueError:
        return {}
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return said
    said["san"] = ", ".join(text for name in names if (text := _name(name)))
    return said


def _name(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
    return ""
