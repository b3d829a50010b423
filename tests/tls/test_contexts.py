"""
Which context answers a name, and what a renewal does to those that exist.

What sessions and workers make of it is in ``test_resumption``, what guests without a certificate try in ``test_border``.
"""

from __future__ import annotations

import errno
import os
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.config import tree
from edge.tls import contexts
from edge.tls.certificates import Supply, Unusable
from edge.tls.contexts import ContextStore, Parcel
from edge.tls.selfsigned import Authority
from tests.tls.kit import Certificate, House, Listener, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTENER = Listener()


@pytest.fixture
def settings(house: House) -> Settings:
    return Settings(
        (
            house.certificate("shop.example", "www.shop.example"),
            house.certificate("*.shop.example"),
            house.certificate("other.example"),
        )
    )


@pytest.fixture
def store(settings: Settings) -> ContextStore:
    return ContextStore.build(settings)


def renewed(store: ContextStore, settings: Settings) -> bool:
    """Renew; whether anything was new."""
    parcel = store.renew(settings)
    if parcel is not None:
        parcel.close()
    return parcel is not None


@contextmanager
def nothing_changes(store: ContextStore, settings: Settings) -> Iterator[None]:
    """Whatever happens in the block, the same contexts answer with the same certificates afterwards."""
    names = [None, b"shop.example", b"a.shop.example", b"other.example", b"new.example"]
    before = [store.choose(name, LISTENER) for name in names]
    supply, looks = store.supply, repr(store)
    yield
    assert before == [store.choose(name, LISTENER) for name in names]
    assert (supply, looks) == (store.supply, repr(store))


# -- choosing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "at"),
    [
        (b"shop.example", 0),
        (b"www.shop.example", 0),
        (b"eu.shop.example", 1),
        (b"a.eu.shop.example", 0),
        (b"other.example", 2),
        (b"unknown.example", 0),
        (None, 0),
    ],
)
def test_a_name_chooses_the_context_of_its_certificate(store: ContextStore, name: bytes | None, at: int) -> None:
    """Exact, a wildcard for one label, else the first."""
    expected = [b"shop.example", b"any.shop.example", b"other.example"][at]

    assert store.choose(expected, LISTENER) is store.choose(name, LISTENER)


def test_every_certificate_has_a_context_of_its_own(store: ContextStore) -> None:
    names = (b"shop.example", b"any.shop.example", b"other.example")

    assert 3 == len({store.choose(name, LISTENER) for name in names})


def test_listeners_with_the_same_guard_share_contexts(house: House) -> None:
    doors = (LISTENER, Listener("[::1]:443"), Listener("127.0.0.1:8443", client_ca=house.ca, client_verify="required"))
    store = ContextStore.build(Settings((house.certificate("shop.example"),), doors))
    first, second, third = (store.choose(None, door) for door in doors)

    assert first is second
    assert first is not third
    assert (ssl.CERT_NONE, ssl.CERT_REQUIRED) == (first.verify_mode, third.verify_mode)


def test_a_certificates_own_guard_replaces_its_listeners(house: House) -> None:
    listener = Listener(client_ca=house.ca, client_verify="optional")
    store = ContextStore.build(
        Settings((house.certificate("open.example"), house.guarded("guarded.example")), (listener,))
    )
    modes = [store.choose(name, listener).verify_mode for name in (b"open.example", b"guarded.example")]

    assert [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED] == modes


def test_a_configuration_as_it_is_read_will_do(house: House) -> None:
    """The settings here are made by hand; the real ones have the same attributes."""
    made = house.certificate("shop.example")
    listener = tree.Listener("127.0.0.1:443", tls=True)
    config = tree.Config(
        listeners=(listener, tree.Listener("127.0.0.1:80")),
        certificates=(tree.Certificate(chain=made.chain, key=made.key),),
    )
    store = ContextStore.build(config)

    assert store.choose(None, listener) is store.choose(b"shop.example", listener)


# -- what cannot be used ------------------------------------------------------------------------------------------


def test_without_a_certificate_there_is_nothing_to_make(house: House) -> None:
    with pytest.raises(Unusable, match="no certificate"):
        ContextStore.build(Settings(()))


def test_everything_that_is_wrong_is_said_at_once(house: House) -> None:
    one, two = house.certificate("one.example"), house.certificate("two.example")
    assert one.chain is not None
    assert two.key is not None
    one.chain.write_text("not a chain")
    two.key.write_text("not a key")
    with pytest.raises(Unusable) as caught:
        ContextStore.build(Settings((one, two)))

    assert [str(one.chain), str(two.key)] == [line.split()[0] for line in str(caught.value).splitlines()]


def test_one_address_with_two_guards_is_refused(house: House) -> None:
    """Port 0 may be listened on twice; whoever is guarded must not be taken for the other."""
    doors = (Listener("127.0.0.1:0"), Listener("127.0.0.1:0", client_ca=house.ca, client_verify="required"))
    with pytest.raises(Unusable, match="another client_verify"):
        ContextStore.build(Settings((house.certificate("shop.example"),), doors))


# -- renewing -----------------------------------------------------------------------------------------------------


def test_without_news_there_is_no_parcel(store: ContextStore, settings: Settings) -> None:
    assert store.renew(settings) is None


def test_a_renewal_keeps_every_context(house: House, store: ContextStore, settings: Settings) -> None:
    before = store.choose(b"shop.example", LISTENER)
    house.certificate("shop.example", days=60)

    assert renewed(store, settings)
    assert before is store.choose(b"shop.example", LISTENER)


def test_a_name_added_to_a_certificate_is_answered_by_its_context(
    house: House, store: ContextStore, settings: Settings
) -> None:
    before = store.choose(b"other.example", LISTENER)
    house.certificate("other.example", "new.example")

    assert renewed(store, settings)
    assert before is store.choose(b"new.example", LISTENER)


def test_another_order_is_another_default(store: ContextStore, settings: Settings) -> None:
    assert renewed(store, Settings(settings.certificates[::-1]))
    assert store.choose(None, LISTENER) is store.choose(b"other.example", LISTENER)


def test_a_directory_is_read_anew(house: House) -> None:
    issued = house.authority.issue(["first.example"])
    tenants = house.folder / "tenants"
    issued.write(tenants / "first")
    settings = Settings((Certificate(directory=tenants),))
    store = ContextStore.build(settings)
    house.authority.issue(["second.example"]).write(tenants / "second")

    assert renewed(store, settings)
    assert store.choose(b"second.example", LISTENER) is not store.choose(b"first.example", LISTENER)


def test_later_certificates_take_spares_and_then_what_is_made_for_them(house: House, store: ContextStore) -> None:
    spares = contexts.SPARES
    certificates = tuple(house.certificate(f"t{at}.example") for at in range(spares + 2))

    assert renewed(store, Settings(certificates))
    assert f"<ContextStore {spares + 2} certificates, 0 spare contexts>" == repr(store)
    assert spares + 2 == len({store.choose(b"t%d.example" % at, LISTENER) for at in range(spares + 2)})


def test_a_context_that_served_a_name_is_not_used_for_another(
    house: House, store: ContextStore, settings: Settings
) -> None:
    """Its tickets would open the other one."""
    gone = store.choose(b"other.example", LISTENER)
    renewed(store, Settings(settings.certificates[:2]))
    renewed(store, Settings((*settings.certificates[:2], house.certificate("new.example"))))

    assert gone is not store.choose(b"new.example", LISTENER)


@pytest.mark.parametrize("what", ["chain", "key"])
def test_a_renewal_that_cannot_be_read_changes_nothing(
    house: House, store: ContextStore, settings: Settings, what: str
) -> None:
    """Also not for the certificates that are well."""
    house.certificate("shop.example", days=60)
    path: Path = getattr(settings.certificates[2], what)
    path.write_text("junk")
    with nothing_changes(store, settings), pytest.raises(Unusable, match="holds no"):
        store.renew(settings)


def test_a_renewal_with_the_key_of_another_changes_nothing(
    house: House, store: ContextStore, settings: Settings
) -> None:
    key = settings.certificates[0].key
    assert key is not None
    key.write_bytes(Authority().issue(["shop.example"]).key)
    with nothing_changes(store, settings), pytest.raises(Unusable, match="does not belong"):
        store.renew(settings)


def test_an_empty_renewal_changes_nothing(store: ContextStore, settings: Settings) -> None:
    with nothing_changes(store, settings), pytest.raises(Unusable, match="no certificate"):
        store.renew(Settings(()))


def test_a_supply_openssl_refuses_changes_nothing(store: ContextStore, settings: Settings) -> None:
    broken = contexts.Pair("/x", ("x.example",), "ecdsa", 0, 0, b"not a pem")
    with nothing_changes(store, settings), pytest.raises(Unusable):
        store.reload(Supply((broken, *store.supply.pairs), store.supply.doors))


def test_without_descriptors_nothing_changes(
    house: House, store: ContextStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.certificate("shop.example", days=60)

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(contexts, "seal", none_left)
    with nothing_changes(store, settings), pytest.raises(OSError, match="too many"):
        store.renew(settings)


def test_a_renewal_that_fails_late_leaves_no_descriptor(
    house: House, store: ContextStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.certificate("shop.example", days=60)
    before = os.listdir("/proc/self/fd")

    def fails(*_: object) -> None:
        raise Unusable("late")

    monkeypatch.setattr(ContextStore, "reload", fails)
    with pytest.raises(Unusable, match="late"):
        store.renew(settings)

    assert before == os.listdir("/proc/self/fd")


# -- a parcel -----------------------------------------------------------------------------------------------------


def test_a_parcel_carries_only_what_is_new(house: House, store: ContextStore, settings: Settings) -> None:
    house.certificate("shop.example", days=60)
    parcel = store.renew(settings)
    assert parcel is not None
    try:
        sent = os.pread(parcel.fds[0], 1 << 20, 0)
    finally:
        parcel.close()

    assert 1 == sent.count(b"PRIVATE KEY-----\n") // 2
    assert b"PRIVATE KEY" not in parcel.payload


def test_a_parcel_that_names_a_certificate_nobody_sent_changes_nothing(
    house: House, store: ContextStore, settings: Settings
) -> None:
    other = ContextStore.build(Settings((house.certificate("elsewhere.example"),)))
    house.certificate("shop.example", days=60)
    parcel = store.renew(settings)
    assert parcel is not None
    try:
        with nothing_changes(other, settings), pytest.raises(Unusable, match="cannot be used"):
            other.accept(parcel.payload, parcel.fds)
    finally:
        parcel.close()


def test_a_parcel_is_closed_once() -> None:
    one, other = os.pipe()
    parcel = Parcel(b"", [one, other])
    parcel.close()
    parcel.close()

    assert [] == parcel.fds
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(one)


def test_when_each_certificate_ends_is_known(house: House, store: ContextStore, settings: Settings) -> None:
    assert [str(certificate.chain) for certificate in settings.certificates] == list(store.expiry)
    assert store.expiry == {pair.source: pair.not_after for pair in store.supply.pairs}
