"""What may be ruled for a route, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import parse
from edge.config import route_kinds as kinds
from edge.config.diff import diff
from edge.config.files import check_files
from edge.config.load import load
from edge.config.route_kinds import REPLY_FIELDS, REQUEST_FIELDS
from edge.config.schema import Change, Unfit
from edge.origin.request import is_claim

FILE = Path("edge.toml")
BASE = Path("/etc/edge")
HEAD = '[[listener]]\naddress = "0.0.0.0:80"\n[origin.shop]\nservers = ["http://10.0.0.1"]\n[[route]]\n'
"""Five lines; what a test says of its route begins in line 6."""


def said(route):
    return [str(problem).removeprefix("edge.toml:") for problem in parse(HEAD + route, FILE).problems]


def refused(kind, value):
    with pytest.raises(Unfit) as problem:
        kind.read(value, BASE)
    return str(problem.value)


def good(route):
    config = parse(HEAD + 'origin = "shop"\n' + route, FILE).config
    assert config is not None
    return config.routes[0]


# -- what may stand there ----------------------------------------------------------------------------------------


def test_every_rule_reaches_the_tree(tmp_path):
    (tmp_path / "sorry.html").write_text("sorry")
    text = HEAD + (
        'origin = "shop"\nrewrite = { prefix = "/v2/" }\nmaintenance = { enabled = true, retry_after = "1m", allow = ["10.0.0.0/8"] }\n'
        'request_headers = { set = { X-A = "{client}" }, add = { b = "c" }, remove = ["x-debug-*"] }\n'
        'response_headers = { set = { X-A = "{host}" }, add = { vary = "x" }, remove = ["Server"] }\n'
        'limits = { body = "1 MiB", headers = "1 KiB" }\ntimeouts = { first_byte = "1s", between_bytes = "2s", total = "3s" }\n'
        'error_pages = { pages = { 404 = "sorry.html", 5xx = "sorry.html" }, of_origins = true }\n'
        'mirror = { origin = "spare", share = "2.5%", body = "1 KiB", at_once = 2, timeout = "1s" }\n'
        '[origin.spare]\nservers = ["http://10.0.0.2"]\n[error_pages]\npages = { 4xx = "sorry.html" }\n'
    )
    config = parse(text, tmp_path / "edge.toml").config
    assert config is not None
    route = config.routes[0]

    assert route.rewrite.prefix == "/v2"
    assert (route.maintenance.enabled, route.maintenance.retry_after_s) == (True, 60.0)
    assert route.request_headers.set == (("x-a", "{client}"),)
    assert route.response_headers.remove == ("server",)
    assert (route.limits.body_bytes, route.limits.header_bytes) == (1 << 20, 1 << 10)
    assert (route.timeouts.first_byte_s, route.timeouts.between_bytes_s, route.timeouts.total_s) == (1.0, 2.0, 3.0)
    assert [(status, page.data) for status, page in route.error_pages.pages] == [("404", b"sorry"), ("5xx", b"sorry")]
    assert (route.mirror.origin, route.mirror.share, route.mirror.at_once) == ("spare", 2.5, 2)
    assert [status for status, _ in config.error_pages.pages] == ["4xx"]


def test_a_route_may_lead_elsewhere_or_nowhere(tmp_path):
    elsewhere = parse(HEAD + 'redirect = { to = "https://{host}/x", status = 301 }\n', FILE).config
    fixed = parse(HEAD + 'respond = { status = 200, body = "hello", content_type = "text/x" }\n', FILE).config

    assert elsewhere is not None
    assert fixed is not None
    assert (elsewhere.routes[0].redirect.status, fixed.routes[0].respond.body) == (301, "hello")


@pytest.mark.parametrize(
    "name", ["host", "Connection", "x-forwarded-for", "X_Forwarded_For", "via", "range", "if-match", "te"]
)
def test_what_is_the_edges_own_business_is_not_said_to_origins(name):
    assert "edge's own business" in refused(kinds.FieldValues(REQUEST_FIELDS), {name: "x"})
    assert "edge's own business" in refused(kinds.FieldPattern(REQUEST_FIELDS), name)


@pytest.mark.parametrize(
    "name", ["content-length", "Content-Encoding", "etag", "age", "via", "cache-status", "transfer_encoding"]
)
def test_what_is_the_edges_own_business_is_not_said_to_clients(name):
    assert "edge's own business" in refused(kinds.FieldValues(REPLY_FIELDS), {name: "x"})
    assert "edge's own business" in refused(kinds.FieldPattern(REPLY_FIELDS), name)


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [(REQUEST_FIELDS, "x-forw*"), (REQUEST_FIELDS, "c*"), (REQUEST_FIELDS, "x_forwarded_*"), (REPLY_FIELDS, "cache-*")],
)
def test_nor_by_the_beginning_of_its_name(fields, pattern):
    assert "edge's own business" in refused(kinds.FieldPattern(fields), pattern)


def test_vary_may_be_added_to_and_not_replaced():
    assert kinds.FieldValues(REPLY_FIELDS, adds=True).read({"Vary": "x-beta"}, BASE) == (("vary", "x-beta"),)
    assert "edge's own business" in refused(kinds.FieldValues(REPLY_FIELDS), {"Vary": "x-beta"})
    assert "edge's own business" in refused(kinds.FieldPattern(REPLY_FIELDS), "vary")


def test_an_origin_may_be_told_who_asks_in_its_own_words():
    """What it reads as the client's address is the operator's to set, and taken off whatever clients send."""
    assert kinds.FieldValues(REQUEST_FIELDS).read({"X-Real-IP": "{client}"}, BASE) == (("x-real-ip", "{client}"),)
    assert is_claim(b"x-real-ip")


@pytest.mark.parametrize(
    ("value", "because"),
    [
        (["x"], "expected a table by header name"),
        ({"x": 1}, "expected text"),
        ({"x y": "1"}, "not a header name"),
        ({"x": "a\r\nset-cookie: b"}, "no line breaks"),
        ({"x": " a"}, "no line breaks, no white space at its ends"),
        ({"x": "{cookie}"}, "there is no {cookie} here"),
        ({"x": "{"}, "stands alone"),
        ({"x": "1", "X": "2"}, "there twice"),
    ],
)
def test_a_value_that_no_header_can_have_is_refused(value, because):
    assert because in refused(kinds.FieldValues(REQUEST_FIELDS), value)


def test_what_differs_for_each_client_is_not_put_on_replies_that_are_for_all():
    assert "there is no {client} here" in refused(kinds.FieldValues(REPLY_FIELDS), {"x": "{client}"})
    assert "there is no {request_id} here" in refused(kinds.FieldValues(REPLY_FIELDS), {"x": "{request_id}"})


def test_shares():
    kind = kinds.Percent()

    assert [kind.read(value, BASE) for value in ("2.5%", "100 %", 10, 0.1)] == [2.5, 100.0, 10.0, 0.1]
    assert kind.show(2.5) == '"2.5%"'
    for wrong in ("101%", -1, "x", True, "5"):
        assert "is not a share" in refused(kind, wrong)


def test_statuses_of_pages(tmp_path):
    kind = kinds.StatusFiles()
    (tmp_path / "a").write_bytes(b"x")

    assert [status for status, _ in kind.read({"5xx": "a", "404": "a"}, tmp_path)] == ["404", "5xx"]
    assert kind.show(kind.read({"404": "a"}, tmp_path)) == f'{{ 404 = "{tmp_path}/a" }}'
    assert kind.show(()) == "{}"
    for wrong in ("200", "6xx", "x", "4x4"):
        assert "no error's status" in refused(kind, {wrong: "a"})
    assert "expected a path" in refused(kind, {"404": ""})
    assert "expected a table" in refused(kind, ["a"])


def test_one_of_a_few_numbers():
    assert kinds.OneOf(301, 302).read(301, BASE) == 301
    assert "expected 301 | 302" in refused(kinds.OneOf(301, 302), 200)


def test_other_words_for_nothing():
    assert "not a path" in refused(kinds.PageFile(), "")
    assert "a number" in refused(kinds.PageFile(), 3)
    assert "no line breaks" in refused(kinds.FieldValue(), "a\nb")
    assert kinds.FieldValue().read("text/x", BASE) == "text/x"


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_page_that_cannot_be_read_is_said_at_its_place(tmp_path):
    (tmp_path / "large.html").write_bytes(b"x" * ((1 << 20) + 1))
    path = tmp_path / "edge.toml"
    path.write_text(
        HEAD
        + 'respond = { status = 200, file = "hello.html" }\n[error_pages.pages]\n404 = "../404.html"\n5xx = "large.html"\n'
    )
    found = [str(problem).replace(f"{tmp_path}/", "").removeprefix("edge.toml:") for problem in check_files(load(path))]

    assert found == [
        "6:34: hello.html cannot be read: No such file or directory",
        "8:7: ../404.html cannot be read: No such file or directory",
        "9:7: large.html has more than 1 MiB",
    ]


def test_a_page_with_another_content_needs_new_workers(tmp_path):
    path = tmp_path / "edge.toml"
    path.write_text(HEAD + 'origin = "shop"\n[error_pages.pages]\n404 = "404.html"\n')
    trees = []
    for text in ("one", "one", "two"):
        (tmp_path / "404.html").write_text(text)
        trees.append(load(path).config)

    assert diff(trees[0], trees[1]) is Change.NOTHING
    assert diff(trees[1], trees[2]) is Change.WORKERS


# -- contradictions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ('origin = "shop"\nredirect = { to = "/x" }', "7:12: origin says already where to; expected one of the two"),
        ('origin = "shop"\nrespond = { status = 200 }', "7:11: origin says already where to"),
        (
            'origin = "shop"\nrewrite = { prefix = "/a", pattern = "/b", to = "/c" }',
            "7:22: a path is rewritten by its prefix or by a",
        ),
        ('origin = "shop"\nrewrite = { pattern = "/b" }', "7:11: expected a prefix, or pattern and to"),
        ('origin = "shop"\nrewrite = { pattern = "/(b)", to = "/{2}" }', "7:36: '/{2}': there is no {2} here"),
        ('origin = "shop"\nrewrite = { pattern = "/b", to = "c" }', "7:34: 'c' is no path"),
        ('origin = "shop"\nrewrite = { pattern = "/b", to = "/c?d" }', "7:34: '/c?d' cannot be asked for"),
        ("redirect = { status = 301 }", "6:12: nobody is sent anywhere; expected to"),
        (
            'redirect = { to = "//evil.example" }',
            "6:19: '//evil.example' could lead to a host that whoever asks has chosen",
        ),
        ('redirect = { to = "https://{1}/" }', "6:19: 'https://{1}/': there is no {1} here"),
        ('path_pattern = "/(.*)"\nredirect = { to = "https://{1}/" }', "7:19: 'https://{1}/' could lead to a host"),
        ('redirect = { to = "/a b" }', "6:19: '/a b' is no address; expected it percent-encoded"),
        ('origin = "shop"\nrespond = { body = "x" }', "7:11: nothing is answered; expected a status"),
        ('respond = { status = 200, body = "x", file = "y" }', "6:34: file says already what"),
        ('respond = { status = 204, body = "x" }', "6:22: a reply with 204 has no body"),
        ("respond = { status = 304 }", "6:22: 304 is an answer to what a request asks"),
        (
            'respond = { status = 200 }\nmirror = { origin = "shop" }',
            "7:10: warning: no origin is asked here; expected no mirror",
        ),
        (
            'origin = "shop"\nlimits = { headers = "64 KiB" }',
            "7:22: warning: [limits] headers, 32 KiB, refuses what is longer",
        ),
        ('origin = "shop"\nmirror = { share = "5%" }', "7:10: nobody listens; expected an origin"),
        ('origin = "shop"\nmirror = { origin = "shop" }', "7:21: warning: 'shop' would be asked twice"),
        ('origin = "shop"\nmirror = { origin = "shadow" }', "7:21: there is no origin 'shadow'"),
        ('origin = "shop"\nmaintenance = { allow = ["10.0.0.0/8"] }', "7:15: warning: nobody is kept out"),
        (
            'origin = "shop"\nerror_pages = { of_origins = true }',
            "7:30: warning: there are no pages to put in their place",
        ),
    ],
)
def test_what_a_route_may_not_say(route, expected):
    found = said(route + "\n")

    assert any(line.startswith(expected) for line in found), found


def test_a_mirror_is_reason_enough_for_an_origin():
    assert (
        said('origin = "shop"\nmirror = { origin = "shadow" }\n[origin.shadow]\nservers = ["http://10.0.0.2"]\n') == []
    )


def test_a_plain_route_rules_nothing():
    route = good("")

    assert (route.redirect.to, route.respond.status, route.maintenance.enabled, route.mirror.origin) == (
        None,
        None,
        False,
        None,
    )
