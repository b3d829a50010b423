"""Certificates for an afternoon: what is made is what OpenSSL and a browser's rules accept."""

from __future__ import annotations

import runpy
import ssl
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from edge.tls.contexts import ContextStore, client_context
from edge.tls.selfsigned import Authority, make
from tests.tls.kit import Certificate, Listener, Settings, meet

if TYPE_CHECKING:
    from tests.tls.kit import House

MAKER = Path(__file__).parents[2] / "certs" / "make.py"


def serve(chain: Path, key: Path) -> ssl.SSLContext:
    return ContextStore.build(Settings((Certificate(chain, key),))).choose(None, Listener())


@pytest.mark.parametrize("name", ["shop.example", "a.shop.example", "127.0.0.1", "::1"])
def test_what_is_made_is_accepted_for_every_name(tmp_path: Path, name: str) -> None:
    """Strictly, as Python 3.13 and browsers look at it."""
    made = make(tmp_path / "made", ["shop.example", "*.shop.example", "127.0.0.1", "::1"])
    client = client_context(ca=made.ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for stream in meet(serve(made.chain, made.key), client, name):
        stream.close()


def test_a_key_is_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "privkey.pem").write_text("there before, and open")
    (tmp_path / "privkey.pem").chmod(0o644)
    made = make(tmp_path, ["shop.example"])

    assert 0o600 == stat.S_IMODE(made.key.stat().st_mode)
    assert b"PRIVATE KEY" in made.key.read_bytes()


def test_the_authoritys_key_is_nowhere(tmp_path: Path) -> None:
    make(tmp_path, ["shop.example"])

    assert {"ca.pem", "fullchain.pem", "privkey.pem"} == {path.name for path in tmp_path.iterdir()}
    assert b"PRIVATE" not in (tmp_path / "ca.pem").read_bytes()


def test_it_lasts_as_long_as_asked(tmp_path: Path) -> None:
    issued = Authority().issue(["shop.example"], days=7)
    leaf = x509.load_pem_x509_certificate(issued.chain)

    assert 7 == (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days


def test_a_long_first_name_is_cut_in_the_subject_only() -> None:
    name = "a" * 60 + ".shop.example"
    leaf = x509.load_pem_x509_certificate(Authority().issue([name]).chain)

    assert [name] == leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def test_a_client_certificate_names_nobodys_host(house: House) -> None:
    leaf = x509.load_pem_x509_certificate(house.customer.read_bytes())

    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_the_maker_works_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["make.py", str(tmp_path / "made"), "shop.example", "--days", "3"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(MAKER), run_name="__main__")

    assert 0 == ended.value.code
    assert f"chain   {tmp_path}/made/fullchain.pem" in capsys.readouterr().out
    assert serve(tmp_path / "made" / "fullchain.pem", tmp_path / "made" / "privkey.pem")


def test_the_maker_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "path", list(sys.path))
    main = runpy.run_path(str(MAKER))["main"]

    assert 1 == main([str(tmp_path / "file"), "shop.example"])
    assert f"{tmp_path}/file: " in capsys.readouterr().err
