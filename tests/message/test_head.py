"""Heads answer the questions every room asks, whatever protocol made them."""

from __future__ import annotations

import pytest

from edge.message.head import ReplyHead, RequestHead, index


def request(target: bytes = b"/", authority: bytes = b"shop.example", fields: list | None = None) -> RequestHead:
    return RequestHead(b"GET", b"https", authority, target, fields or [])


def test_lines_of_one_name_are_one_value() -> None:
    """RFC 9110 §5.3: a list may be sent in several lines."""
    assert {b"accept": b"a, b", b"x": b"1"} == index([(b"accept", b"a"), (b"x", b"1"), (b"accept", b"b")])


def test_lines_that_differ_are_one_value_each() -> None:
    assert {b"accept": b"a", b"x": b"1"} == index([(b"accept", b"a"), (b"x", b"1")])


def test_a_head_indexes_its_fields_by_itself() -> None:
    head = request(fields=[(b"accept", b"a")])

    assert head.get(b"accept") == b"a"
    assert head.get(b"cookie") is None


def test_cookies_set_are_read_line_by_line() -> None:
    head = ReplyHead(200, [(b"set-cookie", b"a=1, 2"), (b"x", b"y"), (b"set-cookie", b"b=2")])

    assert [b"a=1, 2", b"b=2"] == head.all(b"set-cookie")
    assert head.get(b"x") == b"y"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [(b"/a", b"/a", None), (b"/a?", b"/a", b""), (b"/a?b?c", b"/a", b"b?c"), (b"*", b"*", None)],
)
def test_a_target_is_a_path_and_perhaps_a_query(target: bytes, path: bytes, query: bytes | None) -> None:
    head = request(target)

    assert path == head.path
    assert query == head.query


@pytest.mark.parametrize(
    ("authority", "host"),
    [(b"a.example", b"a.example"), (b"a.example:8080", b"a.example"), (b"[::1]:8080", b"[::1]"), (b"[::1]", b"[::1]")],
)
def test_a_host_is_an_authority_without_its_port(authority: bytes, host: bytes) -> None:
    assert host == request(authority=authority).host
