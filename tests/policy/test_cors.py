"""What pages of other sites may do, as a browser asks and is told."""

from __future__ import annotations

import pytest

from edge.message.head import RequestHead
from edge.policy.cors import Cors


def head(method: str = "GET", **fields: str) -> RequestHead:
    made = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return RequestHead(method.encode(), b"https", b"shop.example", b"/", made)


def preflight(origin: str = "https://a.example", method: str = "PUT", **fields: str) -> RequestHead:
    return head("OPTIONS", origin=origin, access_control_request_method=method, **fields)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"https://shop.example", True),
        (b"https://a.shop.example", True),
        (b"https://a.b-c.shop.example", True),
        (b"https://a.shop.example:8443", False),
        (b"https://.shop.example", False),
        (b"https://evilshop.example", False),
        (b"https://evil.example/.shop.example", False),
        (b"https://evil.example#.shop.example", False),
        (b"https://user@a.shop.example", False),
        (b"http://a.shop.example", False),
        (b"null", False),
        (b"https://" + b"a" * 400 + b".shop.example", False),
    ],
)
def test_a_site_is_meant_whole(origin: bytes, allowed: bool) -> None:
    cors = Cors(["https://shop.example", "https://*.shop.example"])

    assert allowed is cors.allows(origin)


def test_a_port_is_a_part_of_a_site() -> None:
    cors = Cors(["https://*.shop.example:8443"])

    assert cors.allows(b"https://a.shop.example:8443")
    assert not cors.allows(b"https://a.shop.example")


def test_a_question_is_one_only_with_its_fields() -> None:
    assert Cors.is_preflight(preflight())
    assert not Cors.is_preflight(head("OPTIONS", origin="https://a.example"))
    assert not Cors.is_preflight(head("GET", origin="https://a.example", access_control_request_method="PUT"))


def test_what_may_be_done_is_told() -> None:
    cors = Cors(["https://a.example"], methods=["PUT"], headers=["x-one"], credentials=True, max_age_s=60)

    assert [
        (b"access-control-allow-origin", b"https://a.example"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-methods", b"PUT"),
        (b"access-control-allow-headers", b"x-one"),
        (b"access-control-max-age", b"60"),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ] == cors.preflight(preflight(access_control_request_headers="X-One"))


@pytest.mark.parametrize(
    "asked",
    [
        preflight("https://b.example"),
        preflight(method="DELETE"),
        preflight(method="put"),
        preflight(access_control_request_headers="x-one, x-two"),
    ],
)
def test_what_may_not_be_done_is_refused(asked: RequestHead) -> None:
    assert None is Cors(["https://a.example"], methods=["PUT"], headers=["x-one"]).preflight(asked)


def test_any_header_is_still_a_header() -> None:
    cors = Cors(["*"], methods=["PUT"], headers=["*"])

    assert (b"access-control-allow-headers", b"x-any") in (
        cors.preflight(preflight(access_control_request_headers="x-any")) or []
    )
    assert None is cors.preflight(preflight(access_control_request_headers="x any"))


def test_replies_differ_by_site_and_say_so() -> None:
    cors = Cors(["https://a.example"])

    assert [(b"access-control-allow-origin", b"https://a.example"), (b"vary", b"Origin")] == cors.fields(
        head(origin="https://a.example")
    )
    assert [(b"vary", b"Origin")] == cors.fields(head(origin="https://b.example")) == cors.fields(head())
    assert [(b"access-control-allow-origin", b"*")] == Cors(["*"]).fields(head())
