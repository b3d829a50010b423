"""Where what is said about access contradicts itself, one row for each way; and that what is right is not doubted."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import parse
from edge.config.problem import Severity
from edge.config.reference import reference

HASH = "$2b$04$5mMYJHqXkAtWzSRpGxZ/o.VtSEUY/BRj7kLH2wTtWxGv5Io3LvCUe"
BASE = """
[[listener]]
address = "127.0.0.1:8080"
[origin.shop]
servers = ["http://127.0.0.1:8001"]
[origin.login]
servers = ["http://127.0.0.1:8002"]
"""
ROUTES = """
[[route]]
origin = "shop"
[[route]]
path = "/login"
origin = "login"
"""
STAFF = f'[basic.staff]\nusers = ["alice:{HASH}"]\n'
TOKENS = '[jwt.login]\nalgorithms = ["RS256"]\njwks_origin = "login"\nissuer = "me"\n'
ASK = '[forward_auth.ask]\norigin = "login"\npath = "/check"\n'
RATE = "[rate.each]\nlimit = 10\n"


def problems(more: str, access: str = "", cors: str = "") -> list[tuple[Severity, str]]:
    route = (
        '[[route]]\norigin = "shop"\n'
        + (f"[route.access]\n{access}\n" if access else "")
        + (f"[route.cors]\n{cors}\n" if cors else "")
    )
    other = '[[route]]\npath = "/login"\norigin = "login"\n'
    return [(found.severity, found.message) for found in parse(BASE + more + other + route, Path("edge.toml")).problems]


WRONG = [
    ("", 'basic = "staf"', "there is no [basic.staf]; expected [basic.staf]"),
    (STAFF, 'basic = "staf"', "there is no [basic.staf]; did you mean 'staff'?"),
    ("", 'jwt = "login"', "there is no [jwt.login]"),
    ("", 'forward_auth = "ask"', "there is no [forward_auth.ask]"),
    ("", 'rates = ["each"]', "there is no [rate.each]"),
    ("[basic.staff]\n", 'basic = "staff"', "nobody can sign in here"),
    ('[jwt.login]\nalgorithms = ["RS256"]\nissuer = "me"\n', 'jwt = "login"', "there is no key to verify with"),
    (TOKENS.replace('"login"\ni', '"logi"\ni'), 'jwt = "login"', "there is no [origin.logi]; did you mean 'login'?"),
    (TOKENS + 'jwks_path = "keys"\n', 'jwt = "login"', "'keys' is no path"),
    (TOKENS + 'headers = { authorization = "sub" }\n', 'jwt = "login"', "clients send 'authorization' themselves"),
    (ASK.replace('"login"', '"nobody"'), 'forward_auth = "ask"', "there is no [origin.nobody]"),
    (ASK.replace("/check", "check"), 'forward_auth = "ask"', "'check' is no path"),
    (ASK + 'copy_headers = ["x-client-ip"]\n', 'forward_auth = "ask"', "clients send 'x-client-ip' themselves"),
    (ASK + 'copy_headers = ["x-forwarded-for"]\n', 'forward_auth = "ask"', "clients send 'x-forwarded-for' themselves"),
    (RATE + 'by = "header"\n', 'rates = ["each"]', "which header is not said"),
    (RATE + 'by = "claim"\n', 'rates = ["each"]', "which claim is not said"),
    ('[rate.each]\nlimit = 1\nper = "1h"\nburst = 100\n', 'rates = ["each"]', "are not paid off within a day"),
    ('[rate.each]\nlimit = 1000000\nper = "1s"\n', 'rates = ["each"]', "more than 100,000 requests a second"),
    (STAFF + TOKENS, 'basic = "staff"\njwt = "login"', "nobody can show both"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "access", "said"), WRONG)
def test_what_cannot_be_is_an_error(more: str, access: str, said: str) -> None:
    errors = [message for severity, message in problems(more, access) if severity is Severity.ERROR]

    assert 1 == len(errors), errors
    assert said in errors[0]


DOUBTFUL = [
    (STAFF, "", "", "no [route.access] names [basic.staff]"),
    (TOKENS, "", "", "no [route.access] names [jwt.login]"),
    (ASK, "", "", "no [route.access] names [forward_auth.ask]"),
    (RATE, "", "", "no [route.access] names [rate.each]"),
    (TOKENS.replace('issuer = "me"\n', ""), 'jwt = "login"', "", "a token that was made for any other service"),
    (ASK + 'cache_by = ["cookie"]\n', 'forward_auth = "ask"', "", "answers are not used again"),
    (ASK + "cache_whole_host = true\n", 'forward_auth = "ask"', "", "answers are not used again"),
    (RATE + 'header = "x-key"\n', 'rates = ["each"]', "", 'expected by = "header"'),
    (RATE + 'by = "user"\n', 'rates = ["each"]', "", "nobody signs in here"),
    (STAFF, 'basic = "staff"\nsatisfy = "any"', "", "there is nothing to choose from"),
    ("", 'client_certificate = "required"', "", "no client is asked for a certificate"),
    ("", 'certificate_headers = { x-c = "subject" }', "", "no client is asked for a certificate"),
    ("", "", 'methods = ["PUT"]', "nothing is said to any site"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "access", "cors", "said"), DOUBTFUL)
def test_what_does_not_do_what_it_seems_to_is_doubted(more: str, access: str, cors: str, said: str) -> None:
    found = problems(more, access, cors)

    assert [Severity.WARNING] == [severity for severity, _ in found], found
    assert said in found[0][1]


def test_pages_of_every_site_may_not_act_for_whoever_is_signed_in() -> None:
    assert "pages of every site" in problems("", cors='origins = ["*"]\ncredentials = true')[0][1]


def test_what_is_right_is_not_doubted() -> None:
    access = 'allow = ["10.0.0.0/8"]\nbasic = "staff"\njwt = "login"\nforward_auth = "ask"\nsatisfy = "any"\nrates = ["each", "user"]'
    user = RATE + '[rate.user]\nlimit = 5\nper = "1s"\nby = "user"\n'

    assert [] == problems(STAFF + TOKENS + ASK + user, access, 'origins = ["https://a.example"]\ncredentials = true')


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('[route.access]\ncertificate_headers = { x-c = "subjekt" }', "did you mean 'subject'"),
        ('[route.access]\ncertificate_headers = { "x c" = "subject" }', "is not a header name"),
        ('[route.access]\ncertificate_headers = { x-c = "subject", X-C = "san" }', "is there twice"),
        ('[route.access]\ncertificate_headers = "subject"', "expected a table by header name"),
        ('[route.cors]\norigins = ["https://shop.example/"]', "did you mean 'https://shop.example'"),
        ('[route.cors]\norigins = ["shop.example"]', "is not how a browser names"),
        ('[route.cors]\norigins = ["https://shop.example:443"]', "expected 'https://shop.example'"),
        ('[route.cors]\nmethods = ["P UT"]', "is not a method"),
        ("[route.access]\nallow_files = [5]", "expected a path"),
        ("[route.access]\nconcurrency = 0", "too little"),
        ('[jwt.a]\nalgorithms = ["none"]\nsecret_file = "x"', "'none' is not known here"),
        ('[jwt.a]\nalgorithms = []\nsecret_file = "x"', "this list is empty"),
        ('[jwt.a]\nalgorithms = ["HS256"]\nsecret_file = "x"\nclaims = { a = [] }', "this list is empty"),
        ('[jwt.a]\nalgorithms = ["HS256"]\nsecret_file = "x"\nclaims = "a"', "expected a table by claim"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_was_expected(setting: str, said: str) -> None:
    found = parse(BASE + ROUTES + setting, Path("edge.toml")).problems

    assert any(said in problem.message for problem in found), found


def test_tables_that_only_some_want_are_examples_in_the_reference() -> None:
    text = reference()

    assert all(f"\n#[{name}.shop]\n" in text for name in ("basic", "jwt", "forward_auth", "rate"))
    assert "\n[origin.shop]\n" in text
