"""What people and programs read when the edge answers itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from edge.message.head import Framing
from edge.reply.errors import _sentence, choose, error_reply, redirect_reply, unsatisfiable_reply

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
STATUSES = [400, 401, 403, 404, 405, 406, 408, 409, 411, 412, 413, 414, 416, 417, 421, 426, 429, 431]
STATUSES += [500, 501, 502, 503, 504, 505, 508]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, b"text/plain"),
        (b"", b"text/plain"),
        (b"*/*", b"text/plain"),
        (BROWSER, b"text/html"),
        (b"application/json, text/plain, */*", b"application/json"),
        (b"application/problem+json, application/json", b"application/problem+json"),
        (b"application/json;q=0.9, application/problem+json;q=0.5", b"application/json"),
        (b"application/json;q=0.1, text/html;q=0", b"application/json"),
        (b"text/html;q=0.5, text/plain", b"text/plain"),
        (b"TEXT/HTML; Charset=utf-8; Q=1", b"text/html"),
        (b"text/html;q=nonsense", b"text/plain"),
        (b"image/avif,image/*,*/*;q=0.8", b"text/plain"),
        (b"text/*", b"text/plain"),
        (b"application/*", b"text/plain"),
        (b"audio/ogg", b"text/plain"),
        (b"text/html" + b" " * 300, b"text/html"),
    ],
)
def test_the_form_follows_accept_and_plain_text_is_for_all_others(accept, kind):
    assert kind == choose(accept)


@pytest.mark.parametrize("accept", [None, BROWSER, b"application/json"])
@pytest.mark.parametrize("status", STATUSES)
def test_every_error_has_its_own_sentence_the_status_and_the_request_id(status, accept):
    head, body = error_reply(status, now_wall=0, accept=accept, request_id="r-17")

    assert (status, Framing.LENGTH, len(body)) == (head.status, head.framing, head.length)
    assert str(status).encode() in body
    assert b"r-17" in body
    assert status in {400, 500} or _sentence(status) not in {_sentence(499), _sentence(599)}


@pytest.mark.parametrize("accept", [None, BROWSER, b"application/json"])
def test_a_status_nobody_registered_is_answered_too(accept):
    assert b"499" in error_reply(499, now_wall=0, accept=accept)[1]


def test_an_error_is_never_stored_and_runs_nothing():
    head, _ = error_reply(502, now_wall=0, accept=BROWSER)

    assert head.get(b"cache-control") == b"no-store"
    assert head.get(b"content-security-policy").startswith(b"default-src 'none'")
    assert head.get(b"x-content-type-options") == b"nosniff"
    assert head.get(b"date") == b"Thu, 01 Jan 1970 00:00:00 GMT"


def test_a_page_is_whole_html_and_fetches_nothing():
    page = error_reply(503, now_wall=0, accept=BROWSER, request_id="x")[1].decode()

    class Balance(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag, attrs):
            if tag not in {"meta", "!doctype"}:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert tag == self.open.pop()

    reader = Balance()
    reader.feed(page)

    assert reader.open == []
    assert not re.search(r"(?:src|href)=|url\(|<script|@import", page)
    assert "$" not in page


def test_an_id_from_outside_cannot_become_markup():
    hostile = '<script>alert(1)</script>"\x1b[31m\n'

    assert b"<script" not in error_reply(500, now_wall=0, accept=BROWSER, request_id=hostile)[1]
    assert b"\x1b" not in error_reply(500, now_wall=0, request_id=hostile)[1]
    assert json.loads(error_reply(500, now_wall=0, accept=b"application/json", request_id=hostile)[1])


@pytest.mark.parametrize("accept", [None, BROWSER])
def test_without_an_id_none_is_promised(accept):
    assert b"Request" not in error_reply(404, now_wall=0, accept=accept)[1]


def test_json_is_a_problem_as_rfc_9457_has_it():
    said = json.loads(error_reply(429, now_wall=0, accept=b"application/json", request_id="r")[1])

    assert {"type": "about:blank", "status": 429, "request_id": "r"}.items() <= said.items()
    assert said["title"]
    assert said["detail"]


def test_a_failed_origin_is_named_by_its_word_and_nothing_else():
    head, body = error_reply(504, now_wall=0, proxy_error="connection_timeout")

    assert head.get(b"proxy-status") == b"edge; error=connection_timeout"
    assert b"connection_timeout" not in body


def test_a_reply_that_is_no_origins_fault_has_no_proxy_status():
    assert error_reply(404, now_wall=0)[0].get(b"proxy-status") is None


def test_retry_after_and_more_fields_are_sent():
    head, _ = error_reply(503, now_wall=0, retry_after_s=5, extra=((b"cache-status", b"edge; fwd=miss"),))

    assert (b"5", b"edge; fwd=miss") == (head.get(b"retry-after"), head.get(b"cache-status"))


def test_head_gets_the_same_head_and_no_body():
    asked, _ = error_reply(404, now_wall=0)
    head, body = error_reply(404, now_wall=0, to_head=True)

    assert (Framing.NONE, asked.length, asked.fields, b"") == (head.framing, head.length, head.fields, body)


def test_an_unsatisfiable_range_is_told_the_length():
    head, body = unsatisfiable_reply(1024, now_wall=0, request_id="r", extra=((b"age", b"3"),))

    assert (416, b"bytes */1024", b"3") == (head.status, head.get(b"content-range"), head.get(b"age"))
    assert b"416" in body


@pytest.mark.parametrize(
    ("host", "target", "port", "location"),
    [
        (b"shop.example", b"/a?b=c", 443, b"https://shop.example/a?b=c"),
        (b"shop.example", b"//evil.example/", 443, b"https://shop.example//evil.example/"),
        (b"shop.example", b"*", 443, b"https://shop.example/"),
        (b"[::1]", b"/", 8443, b"https://[::1]:8443/"),
    ],
)
def test_a_plain_client_is_sent_to_the_same_place_on_https(host, target, port, location):
    head, body = redirect_reply(host, target, now_wall=0, port=port)

    assert (308, location, len(body)) == (head.status, head.get(b"location"), head.length)


def test_a_redirected_head_gets_no_body():
    head, body = redirect_reply(b"shop.example", b"/", now_wall=0, to_head=True)

    assert (Framing.NONE, b"") == (head.framing, body)
