"""
Where something listens, and where an origin is: the two address notations of the configuration file.

Pure text. It does not resolve names, open sockets or know which addresses the machine has.

    "0.0.0.0:443"  "[::]:443"  "localhost:8080"     TCP
    "unix:/run/edge.sock"                           a socket in the file system
    "systemd:NAME"                                  a socket inherited under FileDescriptorName=NAME

    "http://10.0.0.5:8001"  "https://api.internal"  "unix:/run/app.sock"   an origin's server

An origin's URL has no path, query or user: what is asked of an origin is exactly what the client asked.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["tcp", "unix", "systemd"]

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_SYSTEMD_NAME = re.compile(r"[!-9;-~]{1,255}\Z")  # systemd.socket(5): printable ASCII without ":"
_DEFAULT_PORTS = {"http": 80, "https": 443}

UNIX_PATH_BYTES = 107
"""sockaddr_un holds 108 bytes, one of them the closing NUL (unix(7))."""


@dataclass(frozen=True, slots=True)
class Address:
    """A listening address, taken apart. Only what belongs to its *kind* is filled."""

    kind: Kind
    host: str = ""  # an IP literal without brackets
    port: int = 0
    path: str = ""
    name: str = ""


def parse_address(text: str) -> Address:
    """
    Take a listening address apart.

    Returns:
        The address; ``localhost`` has become ``127.0.0.1``. Port 0 asks the system for a free one.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    if text.startswith("unix:"):
        return Address("unix", path=_unix_path(text[5:]))
    if text.startswith("systemd:"):
        if not _SYSTEMD_NAME.match(text[8:]):
            raise ValueError(f"{text!r} names no systemd socket; expected 'systemd:NAME' as in FileDescriptorName=NAME")
        return Address("systemd", name=text[8:])
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; expected 'HOST:PORT', '[IPv6]:PORT', 'unix:/path' or 'systemd:NAME'")
    port = _port(port_text, text)
    bracketed = host.startswith("[") and host.endswith("]")
    if host == "localhost":
        return Address("tcp", host="127.0.0.1", port=port)
    literal = host[1:-1] if bracketed else host
    try:
        parsed = ipaddress.ip_address(literal)
    except ValueError:
        raise ValueError(
            f"{host!r} is not an IP address; a listener is bound to an address such as '0.0.0.0' or '[::]'"
        ) from None
    if (parsed.version == 6) != bracketed:
        raise ValueError(f"{text!r}: an IPv6 address, and only that, stands in brackets: '[::1]:443'")
    return Address("tcp", host=str(parsed), port=port)


@dataclass(frozen=True, slots=True)
class Target:
    """An origin's server, taken apart. Over a unix socket *host* is ``localhost`` and *port* 0."""

    scheme: Literal["http", "https"]
    host: str  # lower case, IPv6 without brackets
    port: int
    unix_path: str | None = None


def parse_target(text: str) -> Target:
    """
    Take an origin server's URL apart.

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    if text.startswith("unix:"):
        return Target("http", "localhost", 0, _unix_path(text[5:]))
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _DEFAULT_PORTS:
        raise ValueError(
            f"{text!r} is not an origin's URL; expected 'http://HOST:PORT', 'https://HOST' or 'unix:/path'"
        )
    authority = rest.removesuffix("/")
    if any(sign in authority for sign in "/?#@"):
        raise ValueError(
            f"{text!r}: an origin's URL ends after host and port; paths are forwarded as the client sent them"
        )
    host, colon, port_text = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port_text = authority, ""
    port = _port(port_text, text, least=1) if port_text else _DEFAULT_PORTS[scheme]
    if colon and not port_text and not authority.endswith("]"):
        raise ValueError(f"{text!r} has a colon but no port")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{host!r} is not an IPv6 address") from None
    elif not is_host_name(host):
        raise ValueError(f"{host!r} is not a host name or address")
    return Target("https" if scheme == "https" else "http", host.lower(), port)


def is_host_name(text: str) -> bool:
    """Whether *text* could be a DNS name or IPv4 address (RFC 1123 §2.1, underscores tolerated as resolvers do)."""
    if not text or len(text) > 253:
        return False
    labels = text.removesuffix(".").split(".")
    if not all(_LABEL.match(label) for label in labels):
        return False
    if not labels[-1].isdigit():
        return True
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _port(text: str, whole: str, least: int = 0) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not least <= int(text) <= 65535:
        raise ValueError(f"{whole!r}: {text!r} is not a port; expected a number from {least} to 65535")
    return int(text)


def _unix_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"'unix:{path}': a unix socket needs an absolute path, as in 'unix:/run/edge.sock'")
    if "\0" in path or len(path.encode()) > UNIX_PATH_BYTES:
        raise ValueError(f"'unix:{path}': a unix socket's path has at most {UNIX_PATH_BYTES} bytes and no NUL")
    return path
