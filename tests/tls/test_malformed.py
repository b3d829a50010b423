"""
Whatever is in a file, looking at it gives flaws and no exception: the master looks at every reload.

``cryptography`` parses most of a certificate only when it is asked for, so a broken one is found late or never.
"""

from __future__ import annotations

import base64
import ssl
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import SYSTEM
from edge.tls.certificates import read_pair, survey
from edge.tls.contexts import ContextStore, Supply
from edge.tls.selfsigned import Authority
from tests.tls.kit import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue(["shop.example", "*.shop.example", "127.0.0.1"])
LEAF, KEY, CA = (
    base64.b64decode(b"".join(pem.splitlines()[1:-1])) for pem in (ISSUED.chain, ISSUED.key, AUTHORITY.pem)
)


def pem(kind: str, der: bytes) -> bytes:
    return f"-----BEGIN {kind}-----\n".encode() + base64.encodebytes(der) + f"-----END {kind}-----\n".encode()


def damaged(der: bytes) -> st.SearchStrategy[bytes]:
    """*der* with a few bytes changed, or cut short."""

    def change(changes: list[tuple[int, int]], cut: int) -> bytes:
        made = bytearray(der)
        for at, value in changes:
            made[at] = value
        return bytes(made[:cut])

    changes = st.lists(st.tuples(st.integers(0, len(der) - 1), st.integers(0, 255)), min_size=1, max_size=3)
    return st.builds(change, changes, st.just(len(der)) | st.integers(0, len(der)))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def _odd_but_readable() -> Iterator[None]:
    """What is only odd (a serial number of zero) is warned of, which is no flaw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def looked_at(folder: Path, chain: bytes, key: bytes) -> None:
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    pair, flaws = read_pair(folder / "chain.pem", folder / "key.pem", now_wall=SYSTEM.wall())

    assert (pair is None) == any(flaw.is_error for flaw in flaws)
    assert all("\n" not in flaw.message for flaw in flaws)
    if pair is not None:
        ContextStore(Supply((pair,), {}), spares=0)


@settings(max_examples=150, deadline=None)
@given(chain=damaged(LEAF))
def test_a_damaged_certificate_gives_flaws(folder: Path, chain: bytes) -> None:
    looked_at(folder, pem("CERTIFICATE", chain), ISSUED.key)


@settings(max_examples=100, deadline=None)
@given(upper=damaged(CA))
def test_a_damaged_intermediate_gives_flaws(folder: Path, upper: bytes) -> None:
    looked_at(folder, ISSUED.chain + pem("CERTIFICATE", upper), ISSUED.key)


@settings(max_examples=100, deadline=None)
@given(key=damaged(KEY))
def test_a_damaged_key_gives_flaws(folder: Path, key: bytes) -> None:
    looked_at(folder, ISSUED.chain, pem("PRIVATE KEY", key))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_flaws(folder: Path, data: bytes) -> None:
    looked_at(folder, data, ISSUED.key)
    looked_at(folder, ISSUED.chain, data)


@settings(max_examples=150, deadline=None)
@given(authority=damaged(CA))
def test_a_damaged_authority_is_a_flaw_or_verified_against(folder: Path, authority: bytes) -> None:
    """Never a listener that asks nobody because its authority could not be read."""
    path = folder / "ca.pem"
    path.write_bytes(pem("CERTIFICATE", authority))
    listener = Listener(client_ca=path, client_verify="required")
    (folder / "chain.pem").write_bytes(ISSUED.chain)
    (folder / "key.pem").write_bytes(ISSUED.key)
    pair, _ = read_pair(folder / "chain.pem", folder / "key.pem", now_wall=SYSTEM.wall())
    assert pair is not None
    found = survey([], [(("listener", 0), listener)], now_wall=SYSTEM.wall())
    if not found.errors:
        store = ContextStore(Supply((pair,), found.supply.doors), spares=0)

        assert ssl.CERT_REQUIRED == store.choose(None, listener).verify_mode
