"""What the tests of this room share: settings by hand, certificates made once, and two ends that shake hands."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge.errors import Side
from edge.tls.contexts import CIPHERS
from edge.tls.selfsigned import Authority, KeyKind
from edge.tls.stream import PlainStream, Ready, TlsStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.tls.certificates import ClientVerify


@dataclass(frozen=True)
class Certificate:
    """As a configuration has it."""

    chain: Path | None = None
    key: Path | None = None
    directory: Path | None = None
    client_ca: Path | None = None
    client_verify: ClientVerify = "none"


@dataclass(frozen=True)
class Listener:
    """As a configuration has it."""

    address: str = "127.0.0.1:443"
    tls: bool = True
    client_ca: Path | None = None
    client_verify: ClientVerify = "none"


@dataclass(frozen=True)
class Settings:
    """As a configuration has it."""

    certificates: tuple[Certificate, ...]
    listeners: tuple[Listener, ...] = (Listener(),)


class House:
    """A folder of certificates under one authority, and the settings that name them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.authority.pem)
        self.customer = self.client_certificate("customer")

    def certificate(self, *names: str, at: str | None = None, kind: KeyKind = "ecdsa", days: int = 30) -> Certificate:
        """Issue (or renew) a certificate; it lies in a folder named after its first name."""
        issued = self.authority.issue(names, key_kind=kind, days=days)
        chain, key = issued.write(self.folder / (at or names[0].replace("*", "any")))
        return Certificate(chain, key)

    def guarded(self, *names: str, verify: ClientVerify = "required") -> Certificate:
        """Issue a certificate whose names are only for clients that show one."""
        return replace(self.certificate(*names), client_ca=self.ca, client_verify=verify)

    def client_certificate(self, name: str, *, authority: Authority | None = None) -> Path:
        """Issue what a client shows: one file with chain and key."""
        issued = (authority or self.authority).issue([name], for_client=True)
        path = self.folder / f"client-{name}.pem"
        path.write_bytes(issued.chain + issued.key)
        return path

    def client(self, *, shows: Path | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client that trusts the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        context.set_ciphers(CIPHERS)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # on in Debian 12's Python; ours are made without
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if shows is not None:
            context.load_cert_chain(shows)
        return context


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets, without delay, for what Unix sockets do not have: resets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    for sock in (ours, theirs):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


Either = TlsStream | PlainStream


def shake(client: Either, server: Either, *, turns: int = 50) -> None:
    """Let both ends shake hands; a Fault of either comes out, the server's first."""
    for _ in range(turns):
        done = [server.handshake(), client.handshake()]
        if done == [Ready.DONE, Ready.DONE]:
            return
    raise AssertionError("the handshake does not come to an end")


def meet(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    name: str = "shop.example",
    *,
    session: ssl.SSLSession | None = None,
    connect: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair,
) -> tuple[TlsStream, TlsStream]:
    """Connect a client and a server, shake hands, and exchange a word each way, so that tickets have arrived."""
    ours, theirs = connect()
    client = TlsStream(ours, Side.ORIGIN, client_context, server_hostname=name, session=session)
    server = TlsStream(theirs, Side.CLIENT, server_context)
    try:
        shake(client, server)
        assert 4 == client.push(b"ping")
        assert b"ping" == settled(server)
        assert 4 == server.push(b"pong")
        assert b"pong" == settled(client)
    except BaseException:
        client.close()
        server.close()
        raise
    return client, server


def settled(stream: Either, *, turns: int = 1000) -> bytes:
    """Pull until something is there: the loopback delivers at once, or nearly."""
    for _ in range(turns):
        data = stream.pull()
        if data is not None:
            return data
    raise AssertionError("nothing came")


def hello_bytes(name: str | None = "shop.example", *, alpn: tuple[str, ...] = (), **versions: ssl.TLSVersion) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for attribute, version in versions.items():
        setattr(context, attribute, version)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
