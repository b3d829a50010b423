"""Listening addresses and origin URLs, taken apart; what is neither is refused with a sentence."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.address import Address, Target, is_host_name, parse_address, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:443", Address("tcp", "0.0.0.0", 443)),
        ("[::]:443", Address("tcp", "::", 443)),
        ("[2001:DB8:0::1]:80", Address("tcp", "2001:db8::1", 80)),
        ("127.0.0.1:0", Address("tcp", "127.0.0.1", 0)),
        ("localhost:8080", Address("tcp", "127.0.0.1", 8080)),
        ("unix:/run/edge.sock", Address("unix", path="/run/edge.sock")),
        ("systemd:https", Address("systemd", name="https")),
    ],
)
def test_a_listening_address_is_taken_apart(text, expected):
    assert expected == parse_address(text)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "no port"),
        ("0.0.0.0", "no port"),
        (":443", "not an IP address"),
        ("*:443", "not an IP address"),
        ("shop.example:443", "not an IP address"),
        ("0.0.0.0:https", "not a port"),
        ("0.0.0.0:65536", "not a port"),
        ("0.0.0.0:-1", "not a port"),
        ("0.0.0.0:٣", "not a port"),
        ("0.0.0.0:", "not a port"),
        ("::1:443", "in brackets"),
        ("[127.0.0.1]:443", "in brackets"),
        ("256.0.0.1:443", "not an IP address"),
        ("http://0.0.0.0:80", "not an IP address"),
        ("unix:run/x", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        ("unix:/a\0b", "no NUL"),
        ("systemd:", "names no systemd socket"),
        ("systemd:a:b", "names no systemd socket"),
    ],
)
def test_what_is_no_listening_address_is_refused_with_the_reason(text, because):
    with pytest.raises(ValueError, match=because):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8001", Target("http", "127.0.0.1", 8001)),
        ("http://shop.internal", Target("http", "shop.internal", 80)),
        ("HTTPS://Shop.Internal/", Target("https", "shop.internal", 443)),
        ("https://[2001:DB8::1]", Target("https", "2001:db8::1", 443)),
        ("https://[::1]:8443", Target("https", "::1", 8443)),
        ("http://under_score.internal", Target("http", "under_score.internal", 80)),
        ("unix:/run/app.sock", Target("http", "localhost", 0, "/run/app.sock")),
    ],
)
def test_an_origins_url_is_taken_apart(text, expected):
    assert expected == parse_target(text)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("127.0.0.1:8001", "not an origin's URL"),
        ("ftp://x", "not an origin's URL"),
        ("//x", "not an origin's URL"),
        ("http://", "not a host name"),
        ("http://x/path", "ends after host and port"),
        ("http://x?q", "ends after host and port"),
        ("http://x#f", "ends after host and port"),
        ("http://user:pw@x", "ends after host and port"),
        ("http://x:", "no port"),
        ("http://x:0", "not a port"),
        ("http://x:80:80", "not a host name"),
        ("http://::1", "not a host name"),
        ("http://[::1", "not a host name"),
        ("http://[zz]:80", "not an IPv6 address"),
        ("http://1.2.3.400", "not a host name"),
        ("http://-x", "not a host name"),
        ("http://ä.example", "not a host name"),
        ("unix:app.sock", "absolute path"),
    ],
)
def test_what_is_no_origins_url_is_refused_with_the_reason(text, because):
    with pytest.raises(ValueError, match=because):
        parse_target(text)


@pytest.mark.parametrize("text", ["a", "a.b", "a.b.", "xn--bcher-kva.example", "1.2.3.4", "3com.com"])
def test_a_host_name_is_recognised(text):
    assert is_host_name(text)


@pytest.mark.parametrize("text", ["", ".", "a..b", "a b", "-a", "a-", "a" * 64, ".".join(["a"] * 128), "1.2.3", "a\n"])
def test_what_is_no_host_name_is_not(text):
    assert not is_host_name(text)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_value_error(text):
    for parse in (parse_address, parse_target):
        with contextlib.suppress(ValueError):
            assert parse(text)
