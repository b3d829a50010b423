"""Who the client is: believed from the nearest hop outward, and only as far as our own proxies go."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.head import RequestHead
from edge.policy.forwarded import HOPS, Client, TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def head(**fields):
    """Make a head; ``x_forwarded_for=b"…"`` is ``X-Forwarded-For: …``."""
    return RequestHead(
        b"GET",
        b"http",
        b"h",
        b"/",
        [(name.replace("_", "-").encode(), value) for name, value in fields.items()],
    )


def client(peer="10.0.0.1", **fields):
    return PROXIES.client(peer, head(**fields))


def test_a_stranger_is_the_client_whatever_it_says():
    said = {"x_forwarded_for": b"1.2.3.4", "forwarded": b"for=1.2.3.4", "x_forwarded_proto": b"https"}

    assert Client("203.0.113.9", None, trusted=False) == client("203.0.113.9", **said)


def test_without_networks_nobody_is_trusted():
    assert not TrustedProxies([]).trusts("127.0.0.1")


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1", "fd00::1%eth0"])
def test_a_peer_in_one_of_our_networks_is_trusted_however_the_socket_spells_it(peer):
    assert PROXIES.trusts(peer)


@pytest.mark.parametrize("peer", ["11.0.0.1", "fe80::1", "", "unix:", "@abstract", "10.0.0.1:80", "\x00"])
def test_anything_else_is_not(peer):
    assert not PROXIES.trusts(peer)


def test_peers_are_remembered_but_not_without_bound():
    proxies = TrustedProxies([ip_network("10.0.0.0/8")])

    for number in range(10_000):
        proxies.trusts(f"192.0.{number >> 8}.{number & 255}")

    assert len(proxies._known) <= 4096


def test_a_trusted_peer_that_says_nothing_is_the_client():
    assert Client("10.0.0.1", None, trusted=True) == client()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"203.0.113.9", "203.0.113.9"),
        (b"6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the stranger wrote stands left of it
        (b"203.0.113.9, 10.0.0.7, 10.1.1.1", "203.0.113.9"),
        (b"10.0.0.9, 10.0.0.7", "10.0.0.9"),  # a client inside our own house
        (b"2001:db8::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:4711", "2001:db8::1"),
        (b"203.0.113.9:4711", "203.0.113.9"),
        (b"::ffff:203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9,", "203.0.113.9"),
        (b"unknown", "10.0.0.1"),
        (b"203.0.113.9, unknown, 10.0.0.7", "10.0.0.7"),
        (b"203.0.113.9, [::1, 10.0.0.7", "10.0.0.7"),
        (b"203.0.113.9, [::1]x", "10.0.0.1"),
        (b"203.0.113.9, \xff", "10.0.0.1"),
        (b"203.0.113.9, 1.2.3", "10.0.0.1"),
        (b"", "10.0.0.1"),
    ],
)
def test_x_forwarded_for_is_walked_from_the_nearest_hop_to_the_first_stranger(said, expected):
    assert expected == client(x_forwarded_for=said).address


def test_a_longer_chain_than_any_real_one_is_cut():
    said = b", ".join([b"203.0.113.9", *[b"10.0.0.7"] * (HOPS + 10)])

    assert client(x_forwarded_for=said).address == "10.0.0.7"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"for=203.0.113.9", "203.0.113.9"),
        (b"For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        (b'for="[2001:db8::1]:4711"', "2001:db8::1"),
        (b'for=6.6.6.6, for="203.0.113.9"', "203.0.113.9"),
        (b"for=203.0.113.9, for=10.0.0.7", "203.0.113.9"),
        (b"for=203.0.113.9, , for=10.0.0.7,", "203.0.113.9"),
        (b'for="20\\3.0.113.9"', "203.0.113.9"),
        (b"for=_hidden", "10.0.0.1"),
        (b"for=203.0.113.9, by=10.0.0.1", "10.0.0.1"),
        (b"for=203.0.113.9, for=", "10.0.0.1"),
        (b'for=203.0.113.9, for="unclosed', "10.0.0.1"),
        (b'for="x, for=6.6.6.6, for="10.0.0.7"', "10.0.0.1"),
        (b"for=203.0.113.9;for=6.6.6.6", "10.0.0.1"),
        (b"203.0.113.9", "10.0.0.1"),
        (b"", "10.0.0.1"),
    ],
)
def test_forwarded_is_walked_likewise_and_not_at_all_if_it_breaks_the_grammar(said, expected):
    assert expected == client(forwarded=said).address


def test_x_forwarded_for_is_read_alone_where_both_are_there():
    assert client(x_forwarded_for=b"203.0.113.9", forwarded=b"for=6.6.6.6").address == "203.0.113.9"


def test_how_the_client_reached_the_proxy_is_believed_from_the_nearest_one():
    assert client(x_forwarded_proto=b"http, HTTPS").scheme == b"https"
    assert client(x_forwarded_proto=b"gopher").scheme is None
    assert client(forwarded=b"for=203.0.113.9;proto=https, for=10.0.0.7;proto=http").scheme == b"https"
    assert client(forwarded=b"for=203.0.113.9;proto=ftp").scheme is None


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_name_an_address_or_fall_back_to_the_peer(said, modern):
    found = client(**{"forwarded" if modern else "x_forwarded_for": said})

    assert found.trusted
    assert found.address == "10.0.0.1" or found.address.encode() in said or ":" in found.address


@given(st.text(alphabet='for=;,"\\ 10.2[]:_', max_size=60))
def test_a_stranger_cannot_move_the_address_our_proxy_appended(said):
    """Whatever stands left of it, the hop our proxy wrote is found, or nobody is believed."""
    found = client(forwarded=said.encode() + b", for=203.0.113.9")

    assert found.address in {"203.0.113.9", "10.0.0.1"}
