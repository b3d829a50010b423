"""What a request is hashed by, and the cookie that brings a client back to its server."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.origin.binding import Asking, Bonds, attributes, cookie, key_maker, token

SECRET = b"x" * 32


def asking(target=b"/a?page=2", client=b"192.0.2.1", **fields):
    return Asking(
        b"shop.example", target, [(name.replace("_", "-").encode(), value) for name, value in fields.items()], client
    )


@pytest.mark.parametrize(
    ("hash_key", "asks", "expected"),
    [
        ("target", asking(), b"shop.example/a?page=2"),
        ("path", asking(), b"shop.example/a"),
        ("client", asking(), b"192.0.2.1"),
        ("client", asking(client=b""), b"shop.example/a?page=2"),
        ("header:x-user", asking(x_user=b"ann"), b"ann"),
        ("header:x-user", asking(), b"shop.example/a?page=2"),
        ("cookie:sid", asking(cookie=b"a=b; sid=77; c=d"), b"77"),
        ("cookie:sid", asking(cookie=b"a=b"), b"shop.example/a?page=2"),
        ("query:page", asking(), b"2"),
        ("query:page", asking(b"/a?x=1&p%61ge=3&page=4"), b"3"),
        ("query:page", asking(b"/a"), b"shop.example/a"),
    ],
)
def test_a_key_is_what_the_configuration_says(hash_key, asks, expected):
    assert expected == key_maker(hash_key)(asks)


def test_an_ipv6_clients_key_is_its_network():
    make = key_maker("client")

    assert make(asking(client=b"2001:db8::1")) == make(asking(client=b"2001:db8::2"))


def test_fields_of_one_name_are_one_key():
    fields = [(b"x-user", b"a"), (b"y", b"z"), (b"x-user", b"b")]

    assert b"a,b" == key_maker("header:x-user")(Asking(b"h", b"/", fields, b""))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"s=1", b"1"), (b" a=2 ;s=1", b"1"), (b"as=3; s=1; s=2", b"1"), (b"s", b""), (b"S=1", b""), (b"", b"")],
)
def test_a_cookie_is_found_among_others(value, expected):
    assert expected == cookie([(b"accept", b"s=9"), (b"cookie", value)], b"s")


def bonds(*labels, secret=SECRET, origin="shop", **changes):
    settings = {"path": "/", "max_age_s": None, "same_site": "lax", "secure": True, "http_only": True} | changes
    return Bonds(origin, labels, secret, "edge_server", attributes(**settings))


def sent(set_cookie):
    return [(b"cookie", set_cookie.partition(b";")[0])]


def test_a_cookie_brings_a_client_back():
    made = bonds("a:80", "b:80")

    assert [0, 1] == [made.place(sent(made.set_cookie(place))) for place in (0, 1)]
    assert made.place([]) is None


def test_a_cookie_names_the_server_not_its_place():
    """After a reload that puts another in front, and in any worker."""
    cookie_of_b = bonds("a:80", "b:80").set_cookie(1)

    assert 0 == bonds("b:80", "c:80").place(sent(cookie_of_b))
    assert bonds("c:80").place(sent(cookie_of_b)) is None


@settings(deadline=None)
@given(st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=.", max_size=40))
def test_nobody_makes_a_cookie_without_the_secret(forged):
    assert bonds("a:80", "b:80").place([(b"cookie", f"edge_server={forged}".encode())]) is None


def test_a_cookie_of_another_secret_or_origin_is_like_none():
    made = bonds("a:80")

    assert made.place(sent(bonds("a:80", secret=b"y" * 32).set_cookie(0))) is None
    assert made.place(sent(bonds("a:80", origin="blog").set_cookie(0))) is None


def test_a_cookie_does_not_tell_where_the_server_is():
    value = token(SECRET, "shop", "10.0.0.5:8001")

    assert 24 == len(value)
    assert value != token(SECRET, "shop", "10.0.0.5:8002")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, b"; Path=/; SameSite=Lax; Secure; HttpOnly"),
        ({"secure": False, "http_only": False, "same_site": "strict"}, b"; Path=/; SameSite=Strict"),
        (
            {"path": "/shop", "max_age_s": 3600.0, "same_site": "none"},
            b"; Path=/shop; Max-Age=3600; SameSite=None; Secure; HttpOnly",
        ),
    ],
)
def test_a_cookie_has_the_attributes_it_was_given(changes, expected):
    value = bonds("a:80", **changes).set_cookie(0)

    assert value.startswith(b"edge_server=")
    assert expected == value[len(b"edge_server=") + 24 :]
