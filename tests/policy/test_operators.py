"""Who may look behind the admin address."""

from __future__ import annotations

import base64

import pytest

from edge.message.head import RequestHead
from edge.policy.operators import Operators, Refused, is_loopback, read_tokens

TOKEN = "correct-horse-battery-staple"
NEARBY, KNOWN = Operators(), Operators(read_tokens(TOKEN))


def asked(path: str = "/metrics", host: str = "127.0.0.1:9180", authorization: str | None = None) -> RequestHead:
    fields = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return RequestHead(b"GET", b"http", host.encode(), path.encode(), fields)


def basic(password: str, user: str = "prometheus") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", ""])
def test_without_tokens_this_machine_may_ask(peer):
    assert NEARBY.refusal(asked(), peer) is None


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "0.0.0.0", "somebody"])
def test_without_tokens_nobody_else_may(peer):
    """Also not through a socket that systemd has bound wherever it was told to."""
    assert Refused.FAR is NEARBY.refusal(asked(), peer)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9180", "edge.localhost:9180", "127.0.0.1", "[::1]:9180", "10.0.0.1", "localhost."]
)
def test_this_machine_is_called_by_a_number_or_as_localhost(host):
    assert NEARBY.refusal(asked(host=host), "127.0.0.1") is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9180", "127.0.0.1.evil.example", "localhost.evil.example", "0x7f000001", "metrics"],
)
def test_a_name_that_somebody_else_may_own_is_refused(host):
    """DNS rebinding: a page's own name leads to 127.0.0.1, and its scripts may read what answers under that name."""
    assert Refused.STRANGE_HOST is NEARBY.refusal(asked(host=host), "127.0.0.1")


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(TOKEN), basic(TOKEN, "")])
def test_who_shows_a_token_may_from_anywhere_and_by_any_name(shown):
    assert KNOWN.refusal(asked(host="edge.internal", authorization=shown), "192.0.2.7") is None


@pytest.mark.parametrize(
    "shown",
    [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, f"Token {TOKEN}", basic("wrong"), f"Basic {TOKEN}",
     "Basic ", "Basic ====", basic(TOKEN)[:-4], f"Bearer {TOKEN}, Bearer {TOKEN}", "Bearer \xff"],
)  # fmt: skip
def test_who_shows_none_may_not_even_from_here(shown):
    assert Refused.NOTHING_SHOWN is KNOWN.refusal(asked(authorization=shown), "127.0.0.1")


@pytest.mark.parametrize(
    ("path", "open_"),
    [
        ("/healthz", True),
        ("/readyz", True),
        ("/healthz/../metrics", False),
        ("/metrics", False),
        ("/purge", False),
        ("/", False),
    ],
)
def test_whether_it_lives_is_told_to_everybody(path, open_):
    assert open_ == (KNOWN.refusal(asked(path), "192.0.2.7") is None)


def test_of_several_tokens_each_is_good_and_a_remark_is_none():
    operators = Operators(read_tokens(f"# the deploy job's\n\n  {TOKEN}\n#{'x' * 20}\nanother-token-for-you\n"))

    assert operators.refusal(asked(authorization=f"Bearer {TOKEN}"), "") is None
    assert operators.refusal(asked(authorization="Bearer another-token-for-you"), "") is None
    assert Refused.NOTHING_SHOWN is operators.refusal(asked(authorization=f"Bearer #{'x' * 20}"), "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no token"),
        ("# only a remark\n", "there is no token"),
        (f"{TOKEN}\nshort\n", "line 2"),
        ("two words of a token", "line 1"),
        ("ünprintäble-" * 3, "line 1"),
    ],
)
def test_a_file_that_holds_none_is_refused_without_showing_it(text, why):
    with pytest.raises(ValueError, match=why) as refused:
        read_tokens(text)

    assert "short" not in str(refused.value)


def test_no_token_is_kept_as_it_is():
    """A worker's memory holds digests only."""
    assert all(len(kept) == 32 and TOKEN.encode() not in kept for kept in read_tokens(TOKEN))


@pytest.mark.parametrize(
    ("address", "near"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("x", False)],
)
def test_an_address_is_this_machines_own_or_not(address, near):
    assert near == is_loopback(address)
