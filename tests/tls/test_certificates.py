"""What is wrong with certificate files, said before anything is started."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa, x25519

from edge.clock import SYSTEM
from edge.tls import certificates
from edge.tls.certificates import ANYONE, MOST_BYTES, Flaw, Pair, Policy, Readings, Supply, read_pair, survey_settings
from edge.tls.selfsigned import Authority
from tests.tls.kit import Certificate, Listener, Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.tls.certificates import ClientVerify, Survey
    from tests.tls.kit import House

DAY_S = 86400


def look(*certificates: Certificate, listeners: tuple[Listener, ...] = (Listener(),)) -> Survey:
    return survey_settings(Settings(certificates, listeners), now_wall=SYSTEM.wall())


def only_flaw(*certificates: Certificate) -> Flaw:
    """The one thing that is wrong, which must be an error."""
    found = look(*certificates)
    assert 1 == len(found.flaws), found.flaws
    assert found.flaws[0].is_error
    assert found.errors == [found.flaws[0].message]
    return found.flaws[0]


def only_doubt(*certificates: Certificate) -> str:
    """The one thing that is doubtful; all can be used."""
    found = look(*certificates)
    assert len(certificates) == len(found.supply.pairs)
    assert 1 == len(found.flaws), found.flaws
    assert [] == found.errors
    return found.flaws[0].message


def pem(key: serialization.PrivateFormat | object, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def path(of: Path | None) -> Path:
    assert of is not None
    return of


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_a_good_pair_is_read_whole(house: House, kind: str) -> None:
    certificate = house.certificate("Shop.example", "*.shop.example", "192.0.2.1", kind=kind, days=10)  # type: ignore[arg-type]
    found = look(certificate)
    (pair,) = found.supply.pairs

    assert [] == found.flaws
    assert (str(certificate.chain), ("shop.example", "*.shop.example"), kind) == (pair.source, pair.names, pair.kind)
    assert 9.9 * DAY_S < pair.not_after - SYSTEM.wall() < 10.1 * DAY_S
    assert pair.not_before < SYSTEM.wall()
    assert ANYONE == pair.client


def test_a_key_is_not_shown_by_repr(house: House) -> None:
    found = look(house.certificate("shop.example"))

    assert "PRIVATE" not in repr(found.supply)
    assert "shop.example" in repr(found.supply)


def test_pairs_come_in_the_order_of_the_configuration(house: House) -> None:
    names = ["b.example", "a.example", "c.example"]

    assert names == [pair.names[0] for pair in look(*map(house.certificate, names)).supply.pairs]


def test_a_directory_gives_every_pair_in_it_by_name(house: House) -> None:
    """Anything else in it is nobody's business: a lost+found, a README, a tool's state."""
    tenants = house.folder / "tenants"
    for name in ("b.example", "a.example"):
        house.certificate(name, at=f"tenants/{name}")
    (tenants / "lost+found").mkdir()
    (tenants / "README").write_text("read me")
    found = look(Certificate(directory=tenants))

    assert [] == found.flaws
    assert [("a.example",), ("b.example",)] == [pair.names for pair in found.supply.pairs]


def test_a_linked_directory_is_followed(house: House) -> None:
    """As certbot's ``live`` has them."""
    house.certificate("a.example", at="archive/a.example")
    (house.folder / "live").mkdir()
    (house.folder / "live" / "a.example").symlink_to(house.folder / "archive" / "a.example")

    assert 1 == len(look(Certificate(directory=house.folder / "live")).supply.pairs)


@pytest.mark.parametrize("what", ["pipe", "endless", "long", "socket", "directory", "loop"])
def test_what_is_no_file_of_keys_is_wrong_and_holds_nobody_up(house: House, what: str) -> None:
    """Whoever may write into a directory of tenants' certificates must not stop the whole node by it."""
    house.certificate("a.example", at="tenants/a.example")
    key = house.folder / "tenants" / "a.example" / "privkey.pem"
    key.unlink()
    if what == "pipe":
        os.mkfifo(key)
    elif what == "endless":
        key.symlink_to("/dev/zero")
    elif what == "long":
        with key.open("wb") as file:
            file.truncate(MOST_BYTES + 1)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(os.path.relpath(key))
    elif what == "directory":
        key.mkdir()
    else:
        key.symlink_to(key)
    found = look(Certificate(directory=house.folder / "tenants"))

    assert () == found.supply.pairs
    assert [f"{key} cannot be read: "] == [error[: error.index(": ") + 2] for error in found.errors]


def test_a_link_to_a_file_that_is_no_key_shows_nothing_of_it(house: House) -> None:
    """A tenant's link to a secret of somebody else's ends as a sentence about the link."""
    house.certificate("a.example", at="tenants/a.example")
    secret = house.folder / "secret"
    secret.write_text("root:$6$not-for-everybody:19000:0:99999:7:::\n")
    key = house.folder / "tenants" / "a.example" / "privkey.pem"
    key.unlink()
    key.symlink_to(secret)
    found = look(Certificate(directory=house.folder / "tenants"))

    assert [f"{key} holds no private key; expected PEM"] == found.errors
    assert "not-for-everybody" not in repr(found)


def test_names_in_a_directory_lead_nowhere_else(house: House) -> None:
    """They are taken from the directory itself, and one level deep: nobody outside says a name that becomes a path."""
    tenants = house.folder / "tenants"
    house.certificate("inside.example", at="tenants/%2e%2e")
    house.certificate("deep.example", at="tenants/deep/deeper")
    house.certificate("outside.example", at="outside")

    assert [("inside.example",)] == [pair.names for pair in look(Certificate(directory=tenants)).supply.pairs]


def test_a_directory_with_one_half_of_a_pair_is_wrong(house: House) -> None:
    house.certificate("a.example", at="tenants/a.example")
    (house.folder / "tenants" / "a.example" / "privkey.pem").unlink()
    flaw = only_flaw(Certificate(directory=house.folder / "tenants"))

    assert ("certificate", 0, "directory") == flaw.key
    assert flaw.unread
    assert f"{house.folder}/tenants/a.example/privkey.pem cannot be read: No such file or directory" == flaw.message


def test_a_directory_with_nothing_in_it_is_doubtful(house: House) -> None:
    (house.folder / "tenants").mkdir()
    found = look(house.certificate("shop.example"), Certificate(directory=house.folder / "tenants"))

    assert [] == found.errors
    assert ["holds no NAME/fullchain.pem" in flaw.message for flaw in found.flaws] == [True]


def test_a_directory_that_is_not_there_is_wrong(house: House) -> None:
    assert only_flaw(Certificate(directory=house.folder / "missing")).unread


@pytest.mark.parametrize("missing", ["chain", "key"])
def test_a_file_that_is_not_there_is_wrong_and_marked(house: House, missing: str) -> None:
    """Who checks paths has said so already and leaves this out."""
    certificate = house.certificate("shop.example")
    getattr(certificate, missing).unlink()
    flaw = only_flaw(certificate)

    assert ("certificate", 0, missing) == flaw.key
    assert flaw.unread


def test_a_chain_that_is_none_is_wrong(house: House) -> None:
    certificate = house.certificate("shop.example")
    path(certificate.chain).write_text("hello")

    assert f"{certificate.chain} holds no certificate; expected PEM, the leaf first" == only_flaw(certificate).message


def test_a_key_that_is_none_is_wrong(house: House) -> None:
    certificate = house.certificate("shop.example")
    path(certificate.key).write_text("hello")
    flaw = only_flaw(certificate)

    assert (("certificate", 0, "key"), False) == (flaw.key, flaw.unread)
    assert f"{certificate.key} holds no private key; expected PEM" == flaw.message


def test_an_encrypted_key_is_wrong(house: House) -> None:
    certificate = house.certificate("shop.example")
    path(certificate.key).write_bytes(pem(rsa.generate_private_key(65537, 2048), b"secret"))

    assert f"{certificate.key} is encrypted" in only_flaw(certificate).message


@pytest.mark.parametrize("kind", ["dsa", "x25519"])
def test_a_key_tls_cannot_sign_with_is_wrong(house: House, kind: str) -> None:
    certificate = house.certificate("shop.example")
    key = dsa.generate_private_key(1024) if kind == "dsa" else x25519.X25519PrivateKey.generate()
    path(certificate.key).write_bytes(pem(key))

    assert "is no key TLS can sign with" in only_flaw(certificate).message


def test_a_key_that_belongs_to_another_certificate_is_wrong(house: House) -> None:
    certificate = house.certificate("shop.example")
    other = house.certificate("other.example")
    flaw = only_flaw(replace(certificate, key=other.key))

    assert ("certificate", 0, "key") == flaw.key
    assert f"{other.key} does not belong to {certificate.chain}; expected the key it was made with" == flaw.message


def test_a_chain_upside_down_is_wrong_and_said_so(house: House) -> None:
    certificate = house.certificate("shop.example")
    chain = path(certificate.chain)
    chain.write_bytes(house.authority.pem + chain.read_bytes())

    assert "the key's certificate is not the first" in only_flaw(certificate).message


def test_a_key_too_small_for_openssl_is_wrong(house: House) -> None:
    """It would be refused at the first handshake, or worse at the first reload."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    good = x509.load_pem_x509_certificate(house.authority.pem)
    small = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(good.not_valid_before_utc)
        .not_valid_after(good.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    chain, private = house.folder / "small.pem", house.folder / "small.key"
    chain.write_bytes(small.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(pem(key))

    assert f"{chain} is refused by OpenSSL: ee key too small" == only_flaw(Certificate(chain, private)).message


def test_every_flaw_is_found_at_once(house: House) -> None:
    broken = house.certificate("a.example"), house.certificate("b.example")
    for certificate in broken:
        path(certificate.chain).write_text("")
        path(certificate.key).write_text("")
    found = look(*broken)

    assert [("certificate", at, what) for at in (0, 1) for what in ("chain", "key")] == [f.key for f in found.flaws]
    assert () == found.supply.pairs


def test_an_expired_certificate_is_doubtful(house: House) -> None:
    """Serving it is better than serving nothing, and whoever reloads at night must hear of it."""
    assert "expired on " in only_doubt(house.certificate("shop.example", days=-1))


def test_a_certificate_of_tomorrow_is_doubtful(house: House) -> None:
    issued = house.authority.issue(["shop.example"], starts_in=timedelta(days=1))
    chain, key = issued.write(house.folder / "tomorrow")

    assert "not valid before " in only_doubt(Certificate(chain, key))


def test_a_chain_of_strangers_is_doubtful(house: House) -> None:
    certificate = house.certificate("shop.example")
    chain = path(certificate.chain)
    chain.write_bytes(chain.read_bytes() + Authority("somebody else").pem)

    assert "certificate 2 did not sign the one before it" in only_doubt(certificate)


def test_a_chain_with_its_authority_is_not_doubtful(house: House) -> None:
    certificate = house.certificate("shop.example")
    chain = path(certificate.chain)
    chain.write_bytes(chain.read_bytes() + house.authority.pem)

    assert [] == look(certificate).flaws


def test_a_name_that_an_earlier_certificate_has_is_doubtful(house: House) -> None:
    first = house.certificate("a.example", "both.example")
    second = house.certificate("b.example", "both.example")

    assert f"{second.chain}: both.example is answered with {first.chain}, which comes first" == only_doubt(
        first, second
    )


def test_a_certificate_that_names_no_host_is_doubtful(house: House) -> None:
    assert "names no host" in only_doubt(house.certificate("192.0.2.1"))


def test_a_subject_counts_where_there_is_no_list_of_names(house: House) -> None:
    issued = house.authority.issue(["Old.example"], for_client=True)  # those have none
    chain, key = issued.write(house.folder / "old")

    assert ("old.example",) == look(Certificate(chain, key)).supply.pairs[0].names


def test_the_same_chain_twice_is_one_pair(house: House) -> None:
    certificate = house.certificate("shop.example")

    assert 1 == len(look(certificate, certificate).supply.pairs)


# -- client certificates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", ["optional", "required"])
def test_who_must_show_what_is_read(house: House, verify: ClientVerify) -> None:
    listener = Listener(client_ca=house.ca, client_verify=verify)
    found = look(house.guarded("shop.example", verify=verify), listeners=(listener, Listener("plain:80", tls=False)))
    expected = Policy(verify, house.authority.pem)

    assert [] == found.flaws
    assert {listener.address: expected} == found.supply.doors
    assert expected == found.supply.pairs[0].client


def test_a_comment_does_not_make_another_authority(house: House) -> None:
    """Tickets go with a policy: a changed comment must not make everyone shake hands anew."""
    before = look(house.guarded("shop.example")).supply.pairs[0].client
    house.ca.write_bytes(b"# our authority\n" + house.ca.read_bytes())

    assert before == look(house.guarded("shop.example")).supply.pairs[0].client


def test_an_authority_nobody_is_asked_about_is_not_read(house: House) -> None:
    assert {"127.0.0.1:443": ANYONE} == look(
        listeners=(Listener(client_ca=house.folder / "missing", client_verify="none"),)
    ).supply.doors


@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_an_authority_that_is_none_is_wrong(house: House, content: str) -> None:
    bad = house.folder / "bad.pem"
    bad.write_text(content)
    found = look(house.certificate("shop.example"), listeners=(Listener(client_ca=bad, client_verify="required"),))

    assert [("listener", 0, "client_ca")] == [flaw.key for flaw in found.flaws]
    assert f"{bad} cannot be used: " in found.errors[0]


def test_an_authority_that_is_not_there_is_wrong(house: House) -> None:
    found = look(replace(house.certificate("a.example"), client_ca=house.folder / "no", client_verify="required"))

    assert [(("certificate", 0, "client_ca"), True)] == [(flaw.key, flaw.unread) for flaw in found.flaws]
    assert found.errors


# -- a pair alone, and on its way -------------------------------------------------------------------------------


def test_one_pair_may_be_read_alone(house: House) -> None:
    certificate = house.certificate("shop.example")
    pair, flaws = read_pair(path(certificate.chain), path(certificate.key), now_wall=SYSTEM.wall())

    assert [] == flaws
    assert pair is not None
    assert look(certificate).supply.pairs == (pair,)


def test_one_pair_that_is_wrong_is_none(house: House) -> None:
    certificate = house.certificate("shop.example")
    path(certificate.key).write_text("")
    pair, flaws = read_pair(path(certificate.chain), path(certificate.key), now_wall=SYSTEM.wall())

    assert None is pair
    assert [("key",)] == [flaw.key for flaw in flaws]


def test_a_supply_that_was_packed_is_the_same(house: House) -> None:
    supply = look(house.guarded("shop.example"), house.certificate("b.example")).supply

    assert supply == msgspec.msgpack.decode(msgspec.msgpack.encode(supply), type=Supply)


def test_the_same_files_make_the_same_pair(house: House) -> None:
    """Else every reload would renew everything."""
    certificate = house.certificate("shop.example")
    copy = house.folder / "copy"
    shutil.copytree(path(certificate.chain).parent, copy)
    pair = look(certificate).supply.pairs[0]
    again = look(Certificate(copy / "fullchain.pem", copy / "privkey.pem")).supply.pairs[0]

    assert pair == look(certificate).supply.pairs[0]
    assert pair == msgspec.structs.replace(again, source=pair.source)
    assert isinstance(pair, Pair)


# -- at a reload ---------------------------------------------------------------------------------------------


@pytest.fixture
def examined(monkeypatch) -> list[Path]:
    """Every chain whose bytes are looked into."""
    seen: list[Path] = []
    honest = certificates._parse_chain

    def parse(key, path, data, flaws):
        seen.append(path)
        return honest(key, path, data, flaws)

    monkeypatch.setattr(certificates, "_parse_chain", parse)
    return seen


def test_what_has_not_changed_is_not_examined_again(house: House, examined: list[Path]) -> None:
    readings = Readings()
    one, two = house.certificate("a.example"), house.certificate("b.example")
    settings = Settings((one, replace(two, client_ca=house.ca, client_verify="required")), (Listener(),))
    first = survey_settings(settings, now_wall=SYSTEM.wall(), readings=readings)
    assert [one.chain, two.chain] == examined
    again = survey_settings(settings, now_wall=SYSTEM.wall(), readings=readings)

    assert [one.chain, two.chain] == examined
    assert first == again
    assert "required" == again.supply.pairs[1].client.verify

    house.certificate("b.example")
    third = survey_settings(settings, now_wall=SYSTEM.wall(), readings=readings)
    assert [one.chain, two.chain, two.chain] == examined
    assert first.supply.pairs[0] == third.supply.pairs[0]
    assert first.supply.pairs[1].pem != third.supply.pairs[1].pem


def _swap_key(house: House, one: Certificate) -> None:
    shutil.copy(path(house.certificate("other.example").key), path(one.key))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_swap_key, "belong"),
        (lambda _, one: path(one.key).unlink(), "cannot be read"),
        (lambda _, one: path(one.chain).write_bytes(path(one.chain).read_bytes()[:-99]), "no certificate"),
    ],
    ids=["another key", "no key", "half a chain"],
)
def test_a_file_that_has_changed_is_wrong_as_ever(
    house: House, change: Callable[[House, Certificate], None], word: str
) -> None:
    readings = Readings()
    one = house.certificate("a.example")
    settings = Settings((one,), (Listener(),))
    assert [] == survey_settings(settings, now_wall=SYSTEM.wall(), readings=readings).flaws
    change(house, one)
    found = survey_settings(settings, now_wall=SYSTEM.wall(), readings=readings)

    assert 1 == len(found.errors)
    assert word in found.errors[0]
    assert () == found.supply.pairs


def test_what_time_makes_of_a_certificate_is_seen_though_it_is_the_same(house: House) -> None:
    readings = Readings()
    settings = Settings((house.certificate("a.example", days=10),), (Listener(),))
    now_wall = SYSTEM.wall()
    words = [
        [flaw.message for flaw in survey_settings(settings, now_wall=now_wall + at * DAY_S, readings=readings).flaws]
        for at in (0, 11, 0, -2)
    ]

    assert [0, 1, 0, 1] == [len(each) for each in words]
    assert "expired" in words[1][0]
    assert "not valid before" in words[3][0]


def test_what_is_doubtful_about_a_chain_is_said_every_time(house: House) -> None:
    readings = Readings()
    one = house.certificate("a.example")
    stranger = Authority("Somebody else").issue(("b.example",)).chain
    path(one.chain).write_bytes(path(one.chain).read_bytes() + stranger)
    settings = Settings((one,), (Listener(),))
    words = [
        [flaw.message for flaw in survey_settings(settings, now_wall=SYSTEM.wall(), readings=readings).flaws]
        for _ in range(3)
    ]

    assert 1 == len(words[0])
    assert words[0] == words[1] == words[2]


def test_what_is_named_no_more_is_forgotten(house: House, examined: list[Path]) -> None:
    readings = Readings()
    one, two = house.certificate("a.example"), house.certificate("b.example")
    for named in [(one, two), (one,), (one, two)]:
        survey_settings(Settings(named, (Listener(),)), now_wall=SYSTEM.wall(), readings=readings)

    assert [one.chain, two.chain, two.chain] == examined
