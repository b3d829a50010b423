"""An operator's own pages, and for whom."""

from __future__ import annotations

import pytest

from edge.reply.errors import error_reply
from edge.reply.pages import Page, Pages, content_type

HTML = Page(b"<h1>Sorry</h1>", b"text/html; charset=utf-8")
JSON = Page(b'{"sorry":1}', b"application/json")
NOW = 1_800_000_000.0


def test_a_status_goes_before_its_class_and_a_place_before_those_around_it():
    outer = Pages([("404", HTML), ("5xx", HTML)], of_origins=True)
    inner = Pages([("503", JSON), ("4xx", JSON)], outer)

    assert [outer.get(status) for status in (404, 403, 500, 599)] == [HTML, None, HTML, HTML]
    assert [inner.get(status) for status in (404, 403, 503, 500, 200)] == [JSON, JSON, JSON, HTML, None]
    assert not Pages([])


@pytest.mark.parametrize("accept", [None, b"*/*", b"text/html,*/*;q=0.8", b"image/png"])
def test_a_page_takes_the_place_of_our_words(accept):
    head, body = error_reply(503, now_wall=NOW, accept=accept, pages=Pages([("503", HTML)]), retry_after_s=5)

    assert body == HTML.body
    assert (head.get(b"content-type"), head.length) == (HTML.content_type, len(HTML.body))
    assert head.get(b"cache-control") == b"no-store"
    assert head.get(b"retry-after") == b"5"
    assert head.get(b"content-security-policy") is None, "what it loads is its author's business"


def test_who_asks_for_json_gets_json():
    asked = b"application/json"

    assert b'"status": 503' in error_reply(503, now_wall=NOW, accept=asked, pages=Pages([("503", HTML)]))[1]
    assert error_reply(503, now_wall=NOW, accept=asked, pages=Pages([("503", JSON)]))[1] == JSON.body


def test_a_status_without_a_page_gets_our_words():
    assert b"404" in error_reply(404, now_wall=NOW, pages=Pages([("5xx", HTML)]))[1]


def test_head_is_told_how_long_the_page_is():
    head, body = error_reply(503, now_wall=NOW, to_head=True, pages=Pages([("503", HTML)]))

    assert (head.length, body) == (len(HTML.body), b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("404.html", b"text/html"), ("a.JSON", b"application/json"), ("sorry", b"text/html"), ("x.txt", b"text/plain")],
)
def test_the_type_is_by_the_files_name(name, expected):
    assert content_type(name).partition(b";")[0] == expected
