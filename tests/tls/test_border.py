"""
Nobody gets round the verification of clients: not with a ticket, not with a name, not with yesterday's authority.

Every way round that was thought of, on both versions: the two resume in different ways.
"""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.errors import ClientFault
from edge.tls.contexts import ContextStore
from edge.tls.selfsigned import Authority
from tests.tls.kit import Listener, Settings, meet

if TYPE_CHECKING:
    from tests.tls.kit import House

LISTENER = Listener()
OPEN, GUARDED = b"open.example", b"guarded.example"


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return ssl.TLSVersion[request.param]


@pytest.fixture
def settings(house: House) -> Settings:
    """An open host, which is the default, and a guarded one."""
    return Settings((house.certificate("open.example"), house.guarded("guarded.example")))


@pytest.fixture
def store(settings: Settings) -> ContextStore:
    return ContextStore.build(settings)


def visit(
    store: ContextStore,
    client: ssl.SSLContext,
    name: bytes,
    session: ssl.SSLSession | None = None,
    *,
    listener: Listener = LISTENER,
) -> tuple[bool, bool, ssl.SSLSession]:
    """Connect as the worker does: choose by name, then shake. (resumed, client is known, what to resume next)."""
    ours, theirs = meet(store.choose(name, listener), client, name.decode(), session=session)
    with closing(ours), closing(theirs):
        assert ours.session is not None
        return theirs.resumed, theirs.peer_certificate is not None, ours.session


def test_who_shows_nothing_is_refused(house: House, store: ContextStore, version: ssl.TLSVersion) -> None:
    with pytest.raises(ClientFault) as caught:
        visit(store, house.client(version=version), GUARDED)

    assert "tls_certificate_error" == caught.value.word


def test_who_shows_a_strangers_certificate_is_refused(
    house: House, store: ContextStore, version: ssl.TLSVersion
) -> None:
    stranger = house.client_certificate("stranger", authority=Authority("another"))
    with pytest.raises(ClientFault) as caught:
        visit(store, house.client(shows=stranger, version=version), GUARDED)

    assert "tls_certificate_error" == caught.value.word


def test_a_servers_certificate_is_no_clients(house: House, store: ContextStore, version: ssl.TLSVersion) -> None:
    """Every tenant has one, and the same authority may have signed it."""
    server = house.folder / "server.pem"
    issued = house.authority.issue(["tenant.example"])
    server.write_bytes(issued.chain + issued.key)
    with pytest.raises(ClientFault):
        visit(store, house.client(shows=server, version=version), GUARDED)


def test_who_shows_its_certificate_is_let_in_and_known_when_it_comes_again(
    house: House, store: ContextStore, version: ssl.TLSVersion
) -> None:
    client = house.client(shows=house.customer, version=version)
    resumed, known, session = visit(store, client, GUARDED)

    assert (False, True) == (resumed, known)
    assert (True, True) == visit(store, client, GUARDED, session)[:2]


def test_a_ticket_from_an_open_host_opens_no_guarded_one(
    house: House, store: ContextStore, version: ssl.TLSVersion
) -> None:
    client = house.client(version=version)
    client.check_hostname = False
    _, _, session = visit(store, client, OPEN)

    assert visit(store, client, OPEN, session)[0], "the ticket is good where it was made"
    with pytest.raises(ClientFault):
        visit(store, client, GUARDED, session)


def test_a_ticket_from_a_guarded_host_says_nothing_at_an_open_one(
    house: House, store: ContextStore, version: ssl.TLSVersion
) -> None:
    client = house.client(shows=house.customer, version=version)
    _, _, session = visit(store, client, GUARDED)

    assert (False, False) == visit(store, client, OPEN, session)[:2]


def test_a_ticket_from_an_open_listener_opens_no_guarded_one(house: House, version: ssl.TLSVersion) -> None:
    """One certificate, two listeners: only the context tells them apart."""
    private = Listener("127.0.0.1:8443", client_ca=house.ca, client_verify="required")
    store = ContextStore.build(Settings((house.certificate("open.example"),), (LISTENER, private)))
    client = house.client(version=version)
    _, _, session = visit(store, client, OPEN)
    with pytest.raises(ClientFault):
        visit(store, client, OPEN, session, listener=private)


def test_an_optional_certificate_may_be_missing_but_not_a_strangers(house: House, version: ssl.TLSVersion) -> None:
    store = ContextStore.build(Settings((house.guarded("guarded.example", verify="optional"),)))
    stranger = house.client_certificate("stranger", authority=Authority("another"))

    assert (False, False) == visit(store, house.client(version=version), GUARDED)[:2]
    with pytest.raises(ClientFault):
        visit(store, house.client(shows=stranger, version=version), GUARDED)


def test_a_guarded_host_is_not_served_by_an_open_door(store: ContextStore) -> None:
    opened = store.choose(OPEN, LISTENER)
    for host in (GUARDED, GUARDED + b"."):
        assert not store.may_serve(opened, LISTENER, host)


@pytest.mark.parametrize("host", [OPEN, b"unknown.example", b"127.0.0.1", b"[::1]", b""])
def test_an_open_host_is_served_by_an_open_door(store: ContextStore, host: bytes) -> None:
    assert store.may_serve(store.choose(None, LISTENER), LISTENER, host)


def test_a_guarded_host_is_served_by_a_door_with_the_same_guard_only(house: House) -> None:
    other_ca = house.folder / "other-ca.pem"
    other_ca.write_bytes(Authority("another").pem)
    store = ContextStore.build(
        Settings(
            (
                house.guarded("guarded.example"),
                house.guarded("twin.example"),
                house.guarded("lenient.example", verify="optional"),
                replace(house.guarded("other.example"), client_ca=other_ca),
            )
        )
    )
    doors = (b"guarded.example", b"twin.example", b"lenient.example", b"other.example")
    served = [store.may_serve(store.choose(door, LISTENER), LISTENER, GUARDED) for door in doors]

    assert [True, True, False, False] == served


def test_an_unknown_host_needs_the_defaults_guard(house: House) -> None:
    store = ContextStore.build(Settings((house.guarded("guarded.example"), house.certificate("open.example"))))

    assert not store.may_serve(store.choose(OPEN, LISTENER), LISTENER, b"unknown.example")


def test_a_context_we_did_not_make_serves_nothing_guarded(store: ContextStore) -> None:
    assert not store.may_serve(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), LISTENER, GUARDED)


def test_without_a_name_one_comes_to_the_default_and_its_guard(store: ContextStore) -> None:
    assert store.choose(None, LISTENER) is store.choose(OPEN, LISTENER)
    assert store.choose(None, LISTENER) is not store.choose(GUARDED, LISTENER)


def test_with_the_authority_go_its_tickets_and_its_open_doors(
    house: House, settings: Settings, store: ContextStore, version: ssl.TLSVersion
) -> None:
    """The file is another one, its path is the same: nothing in the configuration says that anything has changed."""
    client = house.client(shows=house.customer, version=version)
    _, _, session = visit(store, client, GUARDED)
    door = store.choose(GUARDED, LISTENER)
    house.ca.write_bytes(Authority("the next").pem)
    parcel = store.renew(settings)
    assert parcel is not None
    parcel.close()

    with pytest.raises(ClientFault):
        visit(store, client, GUARDED, session)
    assert not store.may_serve(door, LISTENER, GUARDED)


def test_a_renewed_certificate_keeps_its_guard(
    house: House, settings: Settings, store: ContextStore, version: ssl.TLSVersion
) -> None:
    house.certificate("guarded.example", days=60)
    parcel = store.renew(settings)
    assert parcel is not None
    parcel.close()

    with pytest.raises(ClientFault):
        visit(store, house.client(version=version), GUARDED)
