"""What a renewal changes in the contexts of one process, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edge.clock import SYSTEM
from edge.tls.certificates import Supply, Unusable
from edge.tls.contexts import SPARES, ContextStore
from tests.tls.kit import Certificate, Listener, Settings

if TYPE_CHECKING:
    from tests.tls.kit import House

LISTENER = Listener()


def renew(store: ContextStore, settings: Settings) -> bool:
    """Whether there was anything to send."""
    parcel = store.renew(settings)
    if parcel is None:
        return False
    parcel.close()
    parcel.close()
    return True


def test_a_name_leads_to_its_certificate_and_any_other_to_the_first(house: House) -> None:
    store = ContextStore.build(
        Settings((house.certificate("a.example"), house.certificate("b.example", "*.b.example")))
    )
    chosen = {name: store.choose(name, LISTENER) for name in (None, b"a.example", b"b.example", b"x.b.example", b"c")}

    assert chosen[None] is chosen[b"a.example"] is chosen[b"c"]
    assert chosen[b"b.example"] is chosen[b"x.b.example"]
    assert chosen[b"a.example"] is not chosen[b"b.example"]


def test_listeners_that_ask_for_the_same_share_a_context(house: House) -> None:
    """So tickets from one are good at the other; where they ask for something else, they are not."""
    asking = replace(LISTENER, address="c", client_ca=house.ca, client_verify="required")
    listeners = (LISTENER, Listener("b"), asking, replace(asking, address="d"))
    store = ContextStore.build(Settings((house.certificate("a.example"),), listeners))
    chosen = [store.choose(b"a.example", listener) for listener in listeners]

    assert chosen[0] is chosen[1]
    assert chosen[2] is chosen[3]
    assert chosen[0] is not chosen[2]


def test_nothing_new_is_nothing_to_send(house: House) -> None:
    settings = Settings((house.certificate("a.example"), house.certificate("b.example")))
    store = ContextStore.build(settings)
    for certificate in settings.certificates:
        assert certificate.chain is not None
        certificate.chain.touch()

    assert not renew(store, settings)


def test_a_renewal_keeps_every_context(house: House) -> None:
    settings = Settings((house.certificate("a.example"), house.certificate("b.example")))
    store = ContextStore.build(settings)
    before = [store.choose(name, LISTENER) for name in (b"a.example", b"b.example")]
    house.certificate("a.example", "more.example", days=60)

    assert renew(store, settings)
    assert before == [store.choose(name, LISTENER) for name in (b"a.example", b"b.example")]
    assert before[0] is store.choose(b"more.example", LISTENER)


def test_what_did_not_change_is_not_sent(house: House) -> None:
    """Ten thousand tenants renew one at a time."""
    settings = Settings((house.certificate("a.example"), house.certificate("b.example")))
    store = ContextStore.build(settings)
    house.certificate("b.example", days=60)
    parcel = store.renew(settings)
    assert parcel is not None
    (fd,) = parcel.fds
    content = Path(f"/proc/self/fd/{fd}").read_bytes()
    parcel.close()

    sources, pairs, _ = msgspec.msgpack.decode(content)
    assert 2 == len(sources)
    assert [sources[1]] == [pair[0] for pair in pairs]


def test_the_first_becomes_the_default_when_the_order_changes(house: House) -> None:
    one, other = house.certificate("a.example"), house.certificate("b.example")
    store = ContextStore.build(Settings((one, other)))
    assert renew(store, Settings((other, one)))

    assert store.choose(None, LISTENER) is store.choose(b"b.example", LISTENER)


def test_a_new_certificate_takes_a_context_made_before(house: House) -> None:
    one = house.certificate("a.example")
    store = ContextStore.build(Settings((one,)))
    assert f"<ContextStore 1 certificates, {SPARES} spare contexts>" == repr(store)
    assert renew(store, Settings((one, house.certificate("b.example"))))

    assert f"<ContextStore 2 certificates, {SPARES - 1} spare contexts>" == repr(store)


def test_without_spare_contexts_new_ones_are_made(house: House) -> None:
    one = house.certificate("a.example")
    store = ContextStore(ContextStore.build(Settings((one,))).supply, spares=0)
    assert renew(store, Settings((one, house.certificate("b.example"))))

    assert store.choose(b"b.example", LISTENER) is not store.choose(b"a.example", LISTENER)


def test_a_key_of_another_kind_takes_another_context(house: House) -> None:
    """OpenSSL would keep the old one beside it and go on showing it to some."""
    settings = Settings((house.certificate("a.example"),))
    store = ContextStore.build(settings)
    before = store.choose(None, LISTENER)
    house.certificate("a.example", kind="ed25519")
    assert renew(store, settings)

    assert before is not store.choose(None, LISTENER)


def test_another_policy_takes_another_context_and_the_old_one_again_its_own(house: House) -> None:
    """A context has one policy for its life: tickets given without one must not outlive its coming."""
    open_to_all = Settings((house.certificate("a.example"),))
    guarded = Settings((replace(open_to_all.certificates[0], client_ca=house.ca, client_verify="required"),))
    store = ContextStore.build(open_to_all)
    before = store.choose(None, LISTENER)
    assert renew(store, guarded)
    between = store.choose(None, LISTENER)
    assert renew(store, open_to_all)
    after = store.choose(None, LISTENER)

    assert 3 == len({id(context) for context in (before, between, after)})
    assert ["none", "required", "none"] == [context.client.verify for context in (before, between, after)]


def test_a_broken_renewal_says_why_and_changes_nothing(house: House) -> None:
    settings = Settings((house.certificate("a.example"), house.certificate("b.example")))
    store = ContextStore.build(settings)
    before = store.choose(b"a.example", LISTENER), store.supply
    house.certificate("a.example", days=60)
    assert settings.certificates[1].key is not None
    settings.certificates[1].key.write_text("half a ke")

    with pytest.raises(Unusable, match="holds no private key"):
        store.renew(settings)
    assert before == (store.choose(b"a.example", LISTENER), store.supply)


def test_what_openssl_refuses_is_found_before_anything_is_loaded(house: House) -> None:
    store = ContextStore.build(Settings((house.certificate("a.example"), house.certificate("b.example"))))
    before = store.supply
    one, other = before.pairs
    broken = msgspec.structs.replace(other, pem=one.pem[: len(one.pem) // 2])

    with pytest.raises(Unusable):
        store.reload(Supply((one, broken), before.doors))
    assert before is store.supply


def test_every_reason_is_said_at_once(house: House) -> None:
    settings = Settings((Certificate(Path("/no/1"), Path("/no/2")), Certificate(directory=Path("/no/3"))))

    with pytest.raises(Unusable) as caught:
        ContextStore.build(settings)
    assert 3 == len(str(caught.value).splitlines())


def test_a_store_without_certificates_is_refused() -> None:
    with pytest.raises(Unusable, match="no certificate"):
        ContextStore.build(Settings(()))


def test_a_renewal_to_nothing_is_refused(house: House) -> None:
    store = ContextStore.build(Settings((house.certificate("a.example"),)))

    with pytest.raises(Unusable, match="no certificate"):
        store.renew(Settings(()))
    assert store.choose(b"a.example", LISTENER)


def test_it_says_until_when_each_certificate_is_valid(house: House) -> None:
    certificate = house.certificate("a.example", days=5)
    ((source, until_wall),) = ContextStore.build(Settings((certificate,))).expiry.items()

    assert str(certificate.chain) == source
    assert 4.9 < (until_wall - SYSTEM.wall()) / 86400 < 5.1
