"""A redirect leads to a host that the request cannot choose."""

from __future__ import annotations

import pytest

from edge.message.place import is_place


@pytest.mark.parametrize(
    "text",
    [
        "/new",
        "/",
        "/new{rest}",
        "{path}",
        "{target}",
        "https://shop.example",
        "https://shop.example/x{path}",
        "https://shop.example{path}",
        "https://shop.example:8443{target}",
        "https://{host}{target}",
        "https://www.{host}{target}",
        "{scheme}://{authority}/x",
        "http://[2001:db8::1]/",
        "https://shop.example?x={1}",
        "https://shop.example{query}",
    ],
)
def test_a_place(text):
    assert is_place(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "new",
        "//elsewhere.example/",
        "/\\elsewhere.example/",
        "{rest}",
        "{query}",
        "{1}",
        "https://{1}/",
        "https://shop.example{1}",
        "https://{path}/",
        "https://shop.example:{1}/",
        "https://me@shop.example/",
        "ftp://shop.example/",
        "javascript:alert(1)",
        "{scheme}:{path}",
        "https:/x",
    ],
)
def test_no_place(text):
    assert not is_place(text)
