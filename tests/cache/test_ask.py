"""What a request says to a cache."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.ask import Bypassed, Method, ask_of
from edge.message.head import Framing, RequestHead
from edge.message.validators import ANY
from tests.cache.kit import NOW, PREFERENCE, ask


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("GET", Method.GET),
        ("HEAD", Method.HEAD),
        ("OPTIONS", Method.SAFE),
        ("POST", Method.UNSAFE),
        ("DELETE", Method.UNSAFE),
        ("M-SEARCH", Method.UNSAFE),
        ("get", Method.UNSAFE),
    ],
)
def test_a_method_is_what_its_exact_name_says_and_unsafe_if_unknown(name, method):
    assert ask(method=name).method is method


def test_a_method_bypasses():
    assert ask(method="POST").bypass is Bypassed.METHOD
    assert ask(method="OPTIONS").bypass is Bypassed.METHOD


def test_request_body_bypasses():
    assert ask(framing=Framing.LENGTH, length=3).bypass is Bypassed.REQUEST_BODY
    assert ask(framing=Framing.CHUNKED).bypass is Bypassed.REQUEST_BODY
    assert ask(framing=Framing.LENGTH, length=0).bypass is None


def test_upgrade_bypasses():
    assert ask(upgrade=b"websocket").bypass is Bypassed.UPGRADE


@pytest.mark.parametrize(
    "name",
    ["cache-control", "range", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"],
)
def test_a_request_that_says_more_is_not_simple(name):
    assert not ask(fields={name: "x"}).simple


def test_a_plain_get_is_simple_whoever_asks():
    assert ask(fields={"cookie": "a=b", "authorization": "x", "pragma": "no-cache", "accept": "*/*"}).simple
    assert ask(method="HEAD").simple
    assert not ask(method="POST").simple


def test_conditions_are_read_once():
    asked = ask(fields={"if-none-match": '"a", W/"b"', "if-match": "*", "if-modified-since": -5, "range": "bytes=0-1"})

    assert asked.if_none_match == [b'"a"', b'W/"b"']
    assert asked.if_match is ANY
    assert asked.if_modified_since == NOW - 5
    assert asked.if_unmodified_since is None
    assert asked.range == b"bytes=0-1"
    assert asked.is_conditional
    assert not ask(fields={"if-range": '"a"'}).is_conditional


def test_a_condition_that_is_no_date_says_nothing():
    assert ask(fields={"if-modified-since": "yesterday"}).if_modified_since is None


def test_encodings_are_negotiated():
    assert ask(fields={"accept-encoding": "gzip, br"}).encodings == (b"br", b"gzip", b"identity")
    assert ask().encodings == (b"identity",)


def test_the_address_is_whole():
    assert ask("/a?b").url == b"https://shop.example/a?b"


@given(
    st.binary(min_size=1, max_size=8),
    st.lists(
        st.tuples(
            st.sampled_from([b"cache-control", b"range", b"if-none-match", b"if-modified-since", b"accept-encoding"]),
            st.binary(max_size=40),
        )
    ),
)
def test_any_head_makes_an_ask(method, fields):
    asked = ask_of(RequestHead(method, b"https", b"h", b"/", fields), PREFERENCE)

    assert (asked.bypass is Bypassed.METHOD) == (method not in {b"GET", b"HEAD"})


def test_what_connection_names_selects_nothing():
    """The origin does not hear it, so its reply is not the one for that value."""
    fields = {"accept-language": "de", "x-a": "1", "connection": "keep-alive, Accept-Language"}

    assert ((b"accept-language", None), (b"x-a", b"1")) == ask(fields=fields).select((b"accept-language", b"x-a"))
