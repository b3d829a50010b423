"""What is coded, and above all what is left alone."""

from __future__ import annotations

import pytest

from edge.compress.eligible import Rules, is_eligible
from edge.message.head import Framing, ReplyHead

RULES = Rules(["text/*", "application/json", "application/*+json", "image/svg+xml"], 256)
EVERYTHING = Rules(["*/*"], 0)


def reply(*fields, status=200, length=1000):
    framing = Framing.CHUNKED if length is None else Framing.LENGTH
    return ReplyHead(status, list(fields), framing=framing, length=length)


HTML = (b"content-type", b"text/html")


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/html",
        b"Text/HTML; charset=utf-8",
        b"text/event-stream",
        b"application/json",
        b"application/ld+json",
        b"image/svg+xml",
    ],
)
def test_a_type_on_the_list_is_coded(content_type):
    assert is_eligible(reply((b"content-type", content_type)), RULES)


@pytest.mark.parametrize("content_type", [b"image/png", b"application/octet-stream", b"xtext/html", b"text", b""])
def test_a_type_not_on_the_list_is_not(content_type):
    assert not is_eligible(reply((b"content-type", content_type)), RULES)


@pytest.mark.parametrize(
    "content_type",
    [
        b"image/png",
        b"image/webp",
        b"video/mp4",
        b"audio/ogg",
        b"font/woff2",
        b"application/zip",
        b"application/pdf",
        b"application/gzip",
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        b"multipart/byteranges; boundary=x",
    ],
)
def test_what_is_compressed_in_itself_is_left_alone_whatever_the_operator_wrote(content_type):
    assert not is_eligible(reply((b"content-type", content_type)), EVERYTHING)


@pytest.mark.parametrize("content_type", [b"image/svg+xml", b"image/bmp", b"image/x-icon", b"font/ttf"])
def test_images_and_fonts_that_are_not_compressed_in_themselves_can_be_coded(content_type):
    assert is_eligible(reply((b"content-type", content_type)), EVERYTHING)


def test_a_reply_without_a_type_is_left_alone():
    assert not is_eligible(reply(), EVERYTHING)


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"GZIP", b"identity, gzip"])
def test_what_the_origin_coded_is_left_alone(coding):
    assert not is_eligible(reply(HTML, (b"content-encoding", coding)), RULES)


def test_an_origin_that_says_identity_has_coded_nothing():
    assert is_eligible(reply(HTML, (b"content-encoding", b"identity")), RULES)


def test_no_transform_is_obeyed():
    assert not is_eligible(reply(HTML, (b"cache-control", b"max-age=60, no-transform")), RULES)
    assert is_eligible(reply(HTML, (b"cache-control", b"max-age=60")), RULES)


@pytest.mark.parametrize("status", [100, 103, 204, 205, 206, 304])
def test_a_status_with_a_partial_body_or_none_is_left_alone(status):
    assert not is_eligible(reply(HTML, status=status), RULES)


@pytest.mark.parametrize("status", [200, 203, 301, 404, 410, 500])
def test_pages_of_every_other_status_are_coded(status):
    assert is_eligible(reply(HTML, status=status), RULES)


def test_a_partial_body_is_left_alone_even_under_a_wrong_status():
    assert not is_eligible(reply(HTML, (b"content-range", b"bytes 0-9/100")), RULES)


def test_a_short_body_is_left_alone_and_one_of_unknown_length_is_not():
    assert not is_eligible(reply(HTML, length=255), RULES)
    assert is_eligible(reply(HTML, length=256), RULES)
    assert is_eligible(reply(HTML, length=None), RULES)


def test_a_head_that_answers_head_is_judged_by_the_length_it_tells():
    """Both must say the same ``Vary``."""
    asked = ReplyHead(200, [HTML], framing=Framing.NONE, length=1000)

    assert is_eligible(asked, RULES)


def test_rules_without_types_want_nothing():
    assert not is_eligible(reply(HTML), Rules([], 0))


def test_an_origin_with_endless_types_does_not_fill_the_memory():
    rules = Rules(["text/*"], 0)
    for n in range(3000):
        assert rules.wants(b"text/html; v=%d" % n)

    assert len(rules._known) <= 512
