"""When a renewal may not be done in place, and another context takes over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge.tls.contexts import ContextStore
from tests.tls.kit import Listener, Settings

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
