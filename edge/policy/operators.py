"""
Who may look behind the admin address, and order things there.

With tokens: whoever shows one, from wherever, as ``Authorization: Bearer TOKEN`` or as the password of Basic. Only whether the
node lives (``/healthz``, ``/readyz``) is told to everybody: balancers ask that, and keep no secrets.
Without tokens: whoever is on this machine, and calls it by an address or ``localhost``. A page in a browser on this machine may have
its own name lead to 127.0.0.1 (DNS rebinding), but the browser then says that name in ``Host``.

Decides that from a request's own words. Knows tokens by their digests only, so that none can be read from a worker's memory or
a dump of it; and nothing of files.

Source: RFC 9110 §11, RFC 6750 §2.1, RFC 7617; the rules of Jupyter's and Vite's servers against rebinding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.message.head import RequestHead

LEAST: Final = 16
"""Characters of a token: shorter ones can be guessed."""

OPEN: Final = frozenset({b"/healthz", b"/readyz"})
"""What is told without a token."""


class Refused(Enum):
    """Why somebody is no operator; the value is what he is told."""

    FAR = "this address is for this machine alone as long as [admin] tokens names no file"
    STRANGE_HOST = "call this address by its number or as localhost, or set [admin] tokens"
    NOTHING_SHOWN = "show one of the tokens in the file that [admin] tokens names"


def read_tokens(text: str) -> frozenset[bytes]:
    """
    Read a file of tokens, one a line; empty lines and what follows ``#`` at a line's beginning are passed over.

    Returns:
        Their digests.

    Raises:
        ValueError: there is none, or one is too short or has a space or a control character; says which line, and not what it holds.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if len(token) < LEAST or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(
                f"line {number} is no token; expected at least {LEAST} printable characters without a space, "
                "as 'openssl rand -hex 24' makes them"
            )
        found.add(digest(token.encode()))
    if not found:
        raise ValueError("there is no token in it; expected one a line")
    return frozenset(found)


def digest(token: bytes) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token).digest()


class Operators:
    """
    Those who may.

    Args:
        tokens: digests of the tokens; none: whoever is near.
    """

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Iterable[bytes] = ()) -> None:
        self._tokens = tuple(tokens)

    def refusal(self, head: RequestHead, peer: str) -> Refused | None:
        """
        Say why whoever sent *head* may not; None if he may.

        Args:
            head: as received.
            peer: the other end's address; empty for a Unix socket's, whose permissions have decided already.
        """
        if self._tokens:
            return None if head.path in OPEN or self._knows(head.get(b"authorization")) else Refused.NOTHING_SHOWN
        if not peer:
            return None
        if not is_loopback(peer):
            return Refused.FAR
        return None if _is_no_name(head.host) else Refused.STRANGE_HOST

    def _knows(self, shown: bytes | None) -> bool:
        """Whether a token was shown, compared in a time that says nothing."""
        if shown is None:
            return False
        scheme, _, said = shown.partition(b" ")
        said = said.strip()
        if scheme.lower() == b"basic":
            try:
                said = base64.b64decode(said, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        mine = digest(said)
        return any([hmac.compare_digest(mine, token) for token in self._tokens])  # noqa: C419 - all are compared


def is_loopback(address: str) -> bool:
    """Whether an address, as a socket or a configuration names it, is this machine's own."""
    if address == "localhost":
        return True
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _is_no_name(host: bytes) -> bool:
    """Whether a host can be nobody's name but this machine's: a number, or localhost."""
    text = host.decode("latin-1").lower().rstrip(".")
    if text == "localhost" or text.endswith(".localhost"):
        return True
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True
