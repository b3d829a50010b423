"""One spelling for whom a request is meant, and few forms for what it asks for."""

from __future__ import annotations

import pytest

from edge.errors import ClientFault
from edge.http.h1.target import canonical_authority, resolve


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"shop.example", b"shop.example"),
        (b"Shop.EXAMPLE", b"shop.example"),
        (b"shop.example.", b"shop.example"),
        (b"shop.example:80", b"shop.example"),
        (b"shop.example:0080", b"shop.example"),
        (b"shop.example:", b"shop.example"),
        (b"shop.example:443", b"shop.example:443"),
        (b"my_shop", b"my_shop"),
        (b"127.0.0.1:8080", b"127.0.0.1:8080"),
        (b"[::1]", b"[::1]"),
        (b"[0:0:0:0:0:0:0:1]:81", b"[::1]:81"),
        (b"[2001:DB8::A]:80", b"[2001:db8::a]"),
        (b"[::ffff:1.2.3.4]", b"[::ffff:102:304]"),
        (b"a" * 63 + b".example", b"a" * 63 + b".example"),
    ],
)
def test_an_authority_has_one_spelling(value: bytes, expected: bytes) -> None:
    if value.startswith(b"[::ffff"):  # 3.13 writes mapped addresses with dots; both are one spelling
        assert canonical_authority(value, b"http") in {expected, b"[::ffff:1.2.3.4]"}
    else:
        assert canonical_authority(value, b"http") == expected


def test_the_default_port_is_the_scheme_s() -> None:
    assert canonical_authority(b"a:443", b"https") == b"a"
    assert canonical_authority(b"a:80", b"https") == b"a:80"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b":80",
        b"a..b",
        b".a",
        b"a b",
        b"a,b",
        b"a, a",
        b"user@a",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"a%41",
        b"\xe9",
        b"a:0",
        b"a:65536",
        b"a:123456",
        b"a:8o",
        b"a:+1",
        b"a:-1",
        b"::1",
        b"[::1",
        b"[]",
        b"[::g]",
        b"[v1.x]",
        b"[::1]x",
        b"[::1%25eth0]",
        b"[:::1]",
        b"a" * 64,
        b".".join([b"a" * 60] * 5),
        b"a\n",
        b"a\0",
        b"a\t",
    ],
)
def test_anything_else_is_no_authority(value: bytes) -> None:
    assert canonical_authority(value, b"http") is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", (b"a", b"/")),
        (b"/x?y=//z", (b"a", b"/x?y=//z")),
        (b"//evil.example/x", (b"a", b"//evil.example/x")),  # a path, not another authority
        (b"http://a/x?y", (b"a", b"/x?y")),
        (b"HTTP://A:80/x", (b"a", b"/x")),
        (b"http://a", (b"a", b"/")),
        (b"http://a?y", (b"a", b"/?y")),
    ],
)
def test_targets_are_brought_to_origin_form(target: bytes, expected: tuple) -> None:
    assert expected == resolve(b"GET", target, b"a", b"http")


@pytest.mark.parametrize(
    "target", [b"*", b"a", b"a:80", b"x/y", b"?x", b"ftp://a/", b"http:/a", b"http:///", b"http://b/", b"http://u@a/", b"http://a:99999/", b"https:a"]
)  # fmt: skip
def test_other_targets_are_refused(target: bytes) -> None:
    with pytest.raises(ClientFault):
        resolve(b"GET", target, b"a", b"http")


def test_options_may_ask_for_the_server_itself() -> None:
    assert resolve(b"OPTIONS", b"*", b"a", b"http") == (b"a", b"*")
    assert resolve(b"OPTIONS", b"http://a", b"a", b"http") == (b"a", b"*")
    assert resolve(b"OPTIONS", b"http://a/", b"a", b"http") == (b"a", b"/")


def test_without_host_the_target_may_still_name_one() -> None:
    assert resolve(b"GET", b"/", None, b"http") == (None, b"/")
    assert resolve(b"GET", b"http://B/", None, b"http") == (b"b", b"/")


def test_an_unreadable_host_is_refused_whatever_the_target_says() -> None:
    with pytest.raises(ClientFault):
        resolve(b"GET", b"http://a/", b"a b", b"http")
