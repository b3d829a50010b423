"""What is spoken, in either role, and what is refused: versions, ciphers, protocols."""

from __future__ import annotations

import ssl
import warnings
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge.errors import ClientFault, Fault, Side
from edge.tls.contexts import ContextStore, client_context
from edge.tls.stream import TlsStream
from tests.tls.kit import Listener, Settings, meet, shake, tcp_pair

if TYPE_CHECKING:
    from tests.tls.kit import House

AEAD = ("GCM", "CHACHA20")


@pytest.fixture(params=["ecdsa", "rsa", "ed25519"])
def server_context(request: pytest.FixtureRequest, house: House) -> ssl.SSLContext:
    return ContextStore.build(Settings((house.certificate("shop.example", kind=request.param),))).choose(
        None, Listener()
    )


def attempt(server: ssl.SSLContext, client: ssl.SSLContext) -> TlsStream:
    """Shake hands; the server's fault comes out."""
    ours, theirs = tcp_pair()
    with closing(TlsStream(ours, Side.ORIGIN, client, server_hostname="shop.example")) as calling:
        stream = TlsStream(theirs, Side.CLIENT, server)
        try:
            shake(calling, stream)
        except Fault:
            stream.close()
            raise
        return stream


def old(house: House, version: str, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    """A client as old as OpenSSL still lets one be."""
    context = house.client()
    context.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_1_2_and_1_3_are_spoken(house: House, server_context: ssl.SSLContext, version: str) -> None:
    client, server = meet(server_context, house.client(version=ssl.TLSVersion[version]))
    with closing(client), closing(server):
        assert version.replace("_", ".") == server.version


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_what_is_older_is_refused(house: House, server_context: ssl.SSLContext, version: str) -> None:
    with pytest.raises(ClientFault) as caught:
        attempt(server_context, old(house, version))
    assert ("tls_protocol_error", "UNSUPPORTED_PROTOCOL") == (caught.value.word, caught.value.detail)


@pytest.mark.parametrize(
    "ciphers",
    [
        "ECDHE+AES+SHA:!AESGCM",  # no authenticated encryption
        "kRSA+AESGCM",  # no forward secrecy
        "DHE+AESGCM",  # not ours: slow, and small groups are about
        "ECDHE+AESCCM",
    ],
)
def test_a_client_with_lesser_ciphers_is_refused(house: House, server_context: ssl.SSLContext, ciphers: str) -> None:
    with pytest.raises(ClientFault, match="NO_SHARED_CIPHER"):
        attempt(server_context, old(house, "TLSv1_2", ciphers))


def test_every_cipher_is_authenticated_and_has_forward_secrecy(server_context: ssl.SSLContext) -> None:
    names = [cipher["name"] for cipher in server_context.get_ciphers()]

    assert names
    assert [] == [name for name in names if not name.startswith(("ECDHE-", "TLS_"))]
    assert [] == [name for name in names if not any(kind in name for kind in AEAD)]


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"])
def test_the_client_chooses_among_good_ciphers(house: House, cipher: str) -> None:
    """It knows whether it has AES in hardware; we would only guess."""
    context = ContextStore.build(Settings((house.certificate("shop.example"),))).choose(None, Listener())
    client = house.client(version=ssl.TLSVersion.TLSv1_2)
    client.set_ciphers(f"{cipher}:ECDHE-ECDSA-AES128-GCM-SHA256")
    ours, theirs = meet(context, client)
    with closing(ours), closing(theirs):
        agreed = theirs.tls.cipher()

        assert agreed is not None
        assert cipher == agreed[0]


@pytest.mark.parametrize(("offered", "agreed"), [(["h2", "http/1.1"], "http/1.1"), ([], None), (["h2"], None)])
def test_http_1_1_is_agreed_on(
    house: House, server_context: ssl.SSLContext, offered: list[str], agreed: str | None
) -> None:
    """Where nothing is common OpenSSL goes on without: ``Hello.speaks`` is asked before it."""
    client = house.client()
    if offered:
        client.set_alpn_protocols(offered)
    ours, theirs = meet(server_context, client)
    with closing(ours), closing(theirs):
        assert agreed == theirs.alpn


@pytest.mark.parametrize("option", ["OP_NO_RENEGOTIATION", "OP_NO_COMPRESSION"])
def test_costly_and_leaking_options_are_off_in_either_role(server_context: ssl.SSLContext, option: str) -> None:
    for context in (server_context, client_context()):
        assert context.options & getattr(ssl, option)


def test_towards_an_origin_the_same_is_spoken(server_context: ssl.SSLContext) -> None:
    context = client_context()

    assert ssl.TLSVersion.TLSv1_2 == context.minimum_version
    assert [c["name"] for c in server_context.get_ciphers()] == [c["name"] for c in context.get_ciphers()]


def test_towards_an_origin_certificate_and_name_are_verified() -> None:
    context = client_context()

    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    assert context.cert_store_stats()["x509_ca"], "nobody is trusted"


def test_an_origins_own_certificate_may_be_all_that_is_trusted(house: House, server_context: ssl.SSLContext) -> None:
    """No authority at all: the file pins it."""
    pinned = house.folder / "shop.example" / "fullchain.pem"
    client, server = meet(server_context, client_context(ca=pinned))
    with closing(client), closing(server):
        assert client.peer_certificate


def test_an_own_authority_replaces_the_systems(house: House) -> None:
    assert 1 == client_context(ca=house.ca).cert_store_stats()["x509"]


def test_an_authority_that_cannot_be_read_is_an_error(house: House) -> None:
    with pytest.raises(OSError, match="No such file"):
        client_context(ca=house.folder / "missing.pem")
