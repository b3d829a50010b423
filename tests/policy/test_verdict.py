"""What a policy function may say, and what it may not."""

from __future__ import annotations

import pytest

from edge.policy.verdict import BODY_BYTES, Pass, Request, Respond, Ruling, Unusable, ruling


def beta(request: Request) -> Pass | Respond:
    """A policy as an operator would write it, and tests it: a plain function."""
    if request.header("x-beta") == "1":
        return Pass(origin="beta", set_headers={"X-Audience": "beta"})
    return Pass() if request.path != "/closed" else Respond(403, "no")


def test_a_policy_is_a_plain_function() -> None:
    request = Request("GET", "https", "shop.example", "/", fields=(("x-beta", "1"),))

    assert beta(request) == Pass(origin="beta", set_headers={"X-Audience": "beta"})
    assert beta(Request("GET", "https", "shop.example", "/closed")) == Respond(403, "no")


def test_lines_of_one_field_are_joined() -> None:
    request = Request("GET", "https", "a", "/", fields=(("x-a", "1"), ("x-b", "2"), ("x-a", "3")))

    assert (request.header("x-a"), request.header("x-c")) == ("1, 3", None)


def test_a_pass_is_put_in_the_words_of_the_wire() -> None:
    said = Pass(set_headers={"X-Audience": "béta"}, remove_headers=("Cookie",), origin="beta")

    assert ruling(said) == Ruling(((b"x-audience", b"b\xe9ta"),), frozenset({b"cookie", b"x-audience"}), "beta")
    assert ruling(Pass()) == Ruling()


def test_what_is_said_with_an_underscore_is_taken_off_in_both_spellings() -> None:
    """An origin that reads CGI's names would else take the client's for the function's."""
    said = ruling(Pass(set_headers={"X_User": "ada"}, remove_headers=("x_b",)))

    assert ((b"x_user", b"ada"),) == said.told
    assert {b"x_user", b"x-user", b"x_b", b"x-b"} == said.removed


def test_an_answer_is_text_or_bytes() -> None:
    assert ruling(Respond(403, "n\N{LATIN SMALL LETTER O WITH DIAERESIS}", {"X-Why": "closed"})).reply == (
        403,
        ((b"x-why", b"closed"),),
        b"n\xc3\xb6",
    )
    assert ruling(Respond(204)).reply == (204, (), b"")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "returned NoneType"),
        ("pass", "returned str"),
        (Pass, "returned type"),
        (Pass(set_headers={"x-a": "1\r\nx-b: 2"}), "cannot stand in a field"),
        (Pass(set_headers={"x-a": " 1"}), "cannot stand in a field"),
        (Pass(set_headers={"x-a": 1}), "expected text"),
        (Pass(set_headers={"x-a": "\N{EURO SIGN}"}), "beyond Latin-1"),
        (Pass(set_headers=[("x-a", "1")]), "expected a mapping"),
        (Pass(set_headers={"x a": "1"}), "no field name"),
        (Pass(set_headers={"": "1"}), "no field name"),
        (Pass(set_headers={"Content-Length": "1"}), "not for a policy function"),
        (Pass(set_headers={"transfer_encoding": "chunked"}), "not for a policy function"),
        (Pass(set_headers={"Host": "a"}), "not for a policy function"),
        (Pass(set_headers={"X-Forwarded-For": "1.2.3.4"}), "not for a policy function"),
        (Pass(set_headers={"X-Original-URL": "/"}), "not for a policy function"),
        (Pass(set_headers={"X_HTTP_Method_Override": "GET"}), "not for a policy function"),
        (Pass(remove_headers=("Via",)), "not for a policy function"),
        (Pass(remove_headers=(1,)), "no field name"),
        (Pass(origin=1), "not a name"),
        (Respond(199), "status 199"),
        (Respond(304), "status 304"),
        (Respond(600), "status 600"),
        (Respond(True), "status True"),
        (Respond("200"), "status '200'"),
        (Respond(200, 5), "a body of int"),
        (Respond(200, b"x" * (BODY_BYTES + 1)), "at most 256 KiB"),
        (Respond(200, "", {"Connection": "close"}), "not for a policy function"),
        (Respond(200, "", {"Date": "today"}), "not for a policy function"),
        (Respond(204, "x"), "a body with status 204"),
        (Respond(205, b"x"), "a body with status 205"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_the_reason(said: object, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        ruling(said)


@pytest.mark.parametrize("name", ["X-Host", "x-http-method-override"])
def test_what_a_client_may_not_say_can_be_taken_off(name) -> None:
    """That is what becomes of it anyway."""
    assert name.lower().encode() in ruling(Pass(remove_headers=(name,))).removed
