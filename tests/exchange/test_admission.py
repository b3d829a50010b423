"""Who may pass, decided: which rule comes first, what is told to whom, and what is remembered. Journeys are in tests/journeys."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path

import pytest

from edge.cache.ask import Bypassed
from edge.config.contents import Contents
from edge.config.load import parse
from edge.config.tree import Basic, ForwardAuth, Jwt, Rate, Route, RouteAccess, RouteCache, RouteCors
from edge.exchange.access_flaws import access_flaws
from edge.exchange.admission import MOST_DERIVED, Visit, clean, derived
from edge.exchange.decision import Admit, Answer
from edge.exchange.explain import explain, read_question
from edge.exchange.proof import AskKeys, AskPassword, AskService, Yes
from edge.message.head import RequestHead
from edge.observe import names
from edge.policy.certificate import Shown
from edge.policy.verdict import Ruling
from tests.exchange.kit import Desk

HASH = "$2b$04$5mMYJHqXkAtWzSRpGxZ/o.VtSEUY/BRj7kLH2wTtWxGv5Io3LvCUe"
BASIC = {"authorization": "Basic YWxpY2U6c2VjcmV0"}
PEOPLE = {
    "basic": {"staff": Basic("staff", users=(f"alice:{HASH}",))},
    "jwt": {"login": Jwt("login", ("ES256",), jwks_origin="shop", headers=(("x-user", "sub"),))},
    "forward_auth": {"ask": ForwardAuth("ask", "shop", "/check", copy_headers=("x-user", "x-plan"))},
    "rates": {"each": Rate("each", 2, 60.0), "user": Rate("user", 1, 60.0, by="user")},
}


def desk(access: RouteAccess = RouteAccess(), **more) -> Desk:
    route = {name: more.pop(name) for name in ("cors", "cache") if name in more}
    return Desk(None, routes=(Route("shop.example", "/", "shop", access=access, **route),), **PEOPLE | more)


def visit(at: Desk, address: str = "192.0.2.7", shown: Shown | None = None, **head) -> Visit:
    known = at.known(**head)
    assert at.rooms.admission is not None
    return at.rooms.admission.visit(known, address, address, shown)


def go(one: Visit, at: Desk):
    return one.advance(at.clock.mono(), at.rooms.now_wall)


def refusal(answer) -> tuple[int, str]:
    assert type(answer) is Answer
    return answer.head.status, answer.detail


def test_a_route_without_rules_has_no_guard_and_a_node_without_any_has_no_admission() -> None:
    assert None is Desk(None).rooms.admission
    assert None is desk().known().guard


def test_whoever_is_denied_is_heard_no_further() -> None:
    at = desk(RouteAccess(deny=(ip_network("192.0.2.0/24"),), rates=("each",), basic="staff", satisfy="any"))

    assert (403, "network: 192.0.2.7 is denied") == refusal(go(visit(at, fields=BASIC), at))


def test_limits_by_address_come_before_what_is_slow_and_limits_by_user_after_it() -> None:
    at = desk(RouteAccess(rates=("each", "user"), forward_auth="ask"))
    for status in (None, 429):
        one = visit(at)
        assert Admit(one) == go(one, at)
        assert isinstance(one.asks, AskService)
        one.said = Yes((), "ada")
        answer = go(one, at)
        assert status == (answer.head.status if answer else None)

    assert (429, "rate each") == refusal(go(visit(at), at))


@pytest.mark.parametrize(
    ("said", "one", "other", "refused"),
    [
        ({}, "192.0.2.7", "192.0.2.8", False),
        ({"ipv4_prefix": 24}, "192.0.2.7", "192.0.2.8", True),
        ({"ipv4_prefix": 24}, "192.0.2.7", "192.0.3.7", False),
        ({"ipv6_prefix": 48}, "192.0.2.7", "192.0.2.8", False),
        ({}, "2001:db8:0:1::7", "2001:db8:0:2::7", False),
        ({"ipv6_prefix": 48}, "2001:db8:0:1::7", "2001:db8:0:2::7", True),
        ({"ipv6_prefix": 128}, "2001:db8::7", "2001:db8::8", False),
        ({"by": "network", "ipv4_prefix": 32}, "192.0.2.7", "192.0.2.8", False),
    ],
)
def test_as_many_bits_of_an_address_count_as_a_limit_says(said: dict, one: str, other: str, refused: bool) -> None:
    at = desk(RouteAccess(rates=("each",)), rates={"each": Rate("each", 1, 60.0, **said)})
    first, second = go(visit(at, one), at), go(visit(at, other), at)

    assert type(first) is not Answer
    assert refused == (type(second) is Answer)


def test_one_who_is_asked_is_asked_once() -> None:
    at = desk(RouteAccess(basic="staff"))
    one = visit(at, fields=BASIC)
    assert Admit(one) == go(one, at)
    assert isinstance(one.asks, AskPassword)
    assert b"secret" == one.asks.password
    assert "secret" not in repr(one.asks)
    one.said = False

    assert (401, "basic staff: wrong user or password") == refusal(go(one, at))


def test_too_many_passwords_at_once_are_told_to_come_again() -> None:
    at = desk(RouteAccess(basic="staff"))
    one = visit(at, fields=BASIC)
    go(one, at)
    one.said = None
    answer = go(one, at)

    assert (503, b"1") == (answer.head.status, answer.head.get(b"retry-after"))


def test_a_password_that_was_right_is_remembered_for_its_time() -> None:
    at = desk(RouteAccess(basic="staff"))
    one = visit(at, fields=BASIC)
    go(one, at)
    assert isinstance(one.asks, AskPassword)
    one.asks.provider.learn(one.asks, at.clock.mono())
    again = visit(at, fields=BASIC)
    assert None is go(again, at)
    assert not any(b"secret" in key for key in one.asks.provider._verified)
    at.turn(301)

    assert type(go(visit(at, fields=BASIC), at)) is Admit


def test_keys_that_were_never_had_are_asked_for_and_then_it_is_our_fault() -> None:
    at = desk(RouteAccess(jwt="login"))
    one = visit(at, fields={"authorization": "Bearer a.b.c"})
    assert Admit(one) == go(one, at)
    assert isinstance(one.asks, AskKeys)
    one.said = True

    assert (503, "jwt login: there are no keys to verify with") == refusal(go(one, at))


def test_without_a_token_no_keys_are_asked_for() -> None:
    at = desk(RouteAccess(jwt="login"))

    assert (401, "jwt login: no token") == refusal(go(visit(at), at))


def test_of_two_who_tell_the_same_the_last_is_believed() -> None:
    at = desk(RouteAccess(forward_auth="ask"))
    one = visit(at, fields={"x-user": "root", "X_Plan".lower(): "gold"})
    go(one, at)
    one.said = Yes(((b"x-user", b"ada"), (b"x-user", b"too")), "ada")
    assert None is go(one, at)

    assert [(b"x-user", b"ada"), (b"x-user", b"too")] == [
        entry for entry in one.known.asked.fields if entry[0].startswith(b"x")
    ]


def test_what_is_told_is_a_part_of_the_question() -> None:
    """It selects among copies; the key, and what the client asked of the cache, are the same."""
    at = desk(RouteAccess(forward_auth="ask"))
    known = at.known(fields={"x-user": "root", "if-none-match": '"1"'})
    told = derived(known, ((b"x-user", b"ada"),))

    assert (None, b"ada") == (known.ask.selecting(b"x-user"), told.ask.selecting(b"x-user"))
    assert (known.ask.key, known.ask.if_none_match) == (told.ask.key, told.ask.if_none_match)
    assert known.head is told.head
    assert told is derived(known, ((b"x-user", b"ada"),)) is not derived(known, ((b"x-user", b"bob"),))


def test_the_meanings_of_one_head_are_bounded() -> None:
    at = desk(RouteAccess(forward_auth="ask"))
    known = at.known()
    for number in range(100):
        derived(known, ((b"x-user", b"%d" % number),))

    assert len(known.derived or ()) <= MOST_DERIVED


def test_what_is_admitted_by_identity_is_marked_and_an_address_is_no_identity() -> None:
    for access, marked in (
        (RouteAccess(basic="staff"), True),
        (RouteAccess(jwt="login"), True),
        (RouteAccess(forward_auth="ask"), True),
        (RouteAccess(client_certificate="required"), True),
        (RouteAccess(certificate_headers=(("x-c", "subject"),)), True),
        (RouteAccess(deny=(ip_network("10.0.0.0/8"),)), False),
        (RouteAccess(rates=("each",)), False),
    ):
        assert marked is desk(access).known().ask.is_identified


def test_a_mark_stands_where_the_cache_has_rules_and_fields_are_taken_off() -> None:
    at = desk(RouteAccess(forward_auth="ask"), cache=RouteCache(query="none"))
    known = at.known("/x?a=b", fields={"x-user": "root"})

    assert known.ask.is_identified
    assert b"/x" == known.asked.target
    assert derived(known, ((b"x-user", b"ada"),)).ask.is_identified


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ([(b"x-user", b"1"), (b"x_user", b"1"), (b"a", b"1")], [(b"a", b"1")]),
        ([(b"connection", b"close, X-User"), (b"a", b"1")], [(b"a", b"1"), (b"connection", b"close")]),
        ([(b"connection", b"x-user")], []),
    ],
)
def test_a_client_says_nothing_of_who_it_is(fields, left) -> None:
    """Nor has it dropped what we say of it, by naming that in Connection."""
    head = RequestHead(b"GET", b"https", b"shop.example", b"/", fields)

    assert left == clean(head, frozenset({b"x-user"})).fields


def test_a_head_with_nothing_to_take_off_stays_the_same_object() -> None:
    head = RequestHead(b"GET", b"https", b"shop.example", b"/", [(b"connection", b"close")])

    assert head is clean(head, frozenset({b"x-user"}))


def test_refusals_are_counted_by_rule_and_kept_by_nobody() -> None:
    at = desk(RouteAccess(client_certificate="required"))
    answer = go(visit(at), at)

    assert (403, b"no-store") == (answer.head.status, answer.head.get(b"cache-control"))
    assert 1 == at.cells[names.REFUSED["certificate"]]
    assert set(names.RULES) == set(names.REFUSED)


def test_what_is_under_way_is_given_back_once() -> None:
    at = desk(RouteAccess(concurrency=1))
    one, other = visit(at), visit(at)
    assert None is go(one, at)
    assert None is go(other, at)
    fetch = at.rooms.decide(one.known)
    assert fetch is one.hold(fetch, 0.0)
    assert (503, "concurrency: 1 are under way") == refusal(other.hold(fetch, 0.0))
    one.release()
    one.release()

    assert fetch is other.hold(fetch, 0.0)


# -- explained ------------------------------------------------------------------------------------------------


def told(at: Desk, *query: tuple[str, str]) -> tuple[list[str], str]:
    answer = explain(at.rooms, read_question([("url", "https://shop.example/x"), *query]), at.rooms.now_wall)
    return [step["says"] for step in answer["steps"] if step["step"] == "admit"][1:], answer["outcome"]


def test_every_rule_is_explained_in_order() -> None:
    access = RouteAccess(
        allow=(ip_network("10.0.0.0/8"),), client_certificate="required", jwt="login", basic="staff", forward_auth="ask",
        satisfy="any", rates=("user", "each"), concurrency=5, client_concurrency=2,
    )  # fmt: skip
    steps, outcome = told(desk(access, cors=RouteCors(origins=("https://a.example",))))

    assert [
        "the client's address is looked up among networks; who is in none of them may not pass",
        "pages of https://a.example may ask",
        "2 requests in 60 s, 2 at once, for each client",
        "it must have shown a certificate; one of them is enough",
        "it must show a token of login; one of them is enough",
        "it must sign in with a password of staff; one of them is enough",
        "the service ask is asked; one of them is enough",
        "1 requests in 60 s, 1 at once, for each user",
        "at most 5 requests may be under way",
        "at most 2 of each client",
        "who asks matters here: a reply is kept only if the origin says public or s-maxage",
    ] == steps
    assert "fwd=uri-miss: fetched, not stored" == outcome


def test_what_is_certain_is_said() -> None:
    at = desk(RouteAccess(deny=(ip_network("10.0.0.0/8"),)), cors=RouteCors(origins=("https://a.example",)))
    asks = [("method", "OPTIONS"), ("field", "Access-Control-Request-Method: GET")]

    assert "refused with 403" == told(at, ("client", "10.0.0.1"))[1]
    assert "the edge itself answers 204" == told(at, ("field", "Origin: https://a.example"), *asks)[1]
    assert "the edge itself answers 403" == told(at, ("field", "Origin: https://b.example"), *asks)[1]
    assert "192.0.2.1 is in no network; others may pass" == told(at, ("client", "192.0.2.1"))[0][0]


# -- what is wrong in files -----------------------------------------------------------------------------------


def flaws(tmp_path: Path, text: str, **files: bytes) -> list[str]:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    loaded = parse(text, tmp_path / "edge.toml")
    assert loaded.parts.made, loaded.problems
    return [
        f"{'.'.join(map(str, key))}: {message.replace(str(tmp_path) + '/', '')}"
        for key, message in access_flaws(loaded.parts)
    ]


@pytest.mark.parametrize(
    ("text", "files", "said"),
    [
        ('[basic.a]\nusers = ["alice:plain"]', {}, "basic.a.users.0: 'alice': this is no argon2 or bcrypt hash; expected one as"),
        (f'[basic.a]\nusers = ["alice:{HASH}", "alice:{HASH}"]', {}, "basic.a.users.1: there is a user 'alice' before"),
        ('[basic.a]\nfile = "f"', {}, "basic.a.file: f cannot be read: No such file"),
        ('[basic.a]\nfile = "f"', {"f": b"alice"}, "basic.a.file: f, line 1: expected a name, a colon"),
        ('[basic.a]\nfile = "f"', {"f": b"# nobody\n"}, "basic.a.file: f is empty"),
        (f'[basic.a]\nusers = ["alice:{HASH}"]\nfile = "f"', {"f": f"alice:{HASH}".encode()}, "basic.a.file: f: 'alice' is in users"),
        ('[jwt.a]\nalgorithms = ["HS256"]\nsecret_file = "f"', {"f": b"short"}, "jwt.a.secret_file: f: this secret has 5 bytes"),
        ('[jwt.a]\nalgorithms = ["RS256"]\nkey_file = "f"', {"f": b"x"}, "jwt.a.key_file: f: this is no public key"),
        ('[jwt.a]\nalgorithms = ["RS256"]\njwks_file = "f"', {"f": b"x"}, "jwt.a.jwks_file: f: this is not JSON"),
        ('[jwt.a]\nalgorithms = ["RS256"]\njwks_file = "."', {}, "jwt.a.jwks_file: "),
        ('[[route]]\norigin = "a"\n[route.access]\ndeny_files = ["f"]', {"f": b"\n10.0.0.1/8"}, "route.0.access.deny_files.0: f, line 2: '10.0.0.1/8' has bits"),
        ('[[route]]\norigin = "a"\n[route.access]\nallow_files = ["f"]', {}, "route.0.access.allow_files.0: f cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_told_before_anything_starts(
    tmp_path: Path, text: str, files: dict, said: str
) -> None:
    found = flaws(tmp_path, text, **files)

    assert 1 == len(found), found
    assert found[0].startswith(said)


def test_what_is_right_is_not(tmp_path: Path) -> None:
    text = f'[basic.a]\nusers = ["alice:{HASH}"]\n[[route]]\norigin = "a"\n[route.access]\nallow_files = ["f"]'

    assert [] == flaws(tmp_path, text, f=b"10.0.0.0/8\n")


def test_a_reload_takes_up_what_has_changed_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"10.0.0.0/8")
    text = '[[route]]\norigin = "a"\n[route.access]\nallow_files = ["f"]'

    def read() -> tuple[Contents, ...]:
        return next(part for _, part in parse(text, tmp_path / "edge.toml").parts.all(RouteAccess)).allow_files

    before = read()
    assert before == read()
    path.write_bytes(b"11.0.0.0/8")

    assert before != read()
    assert b"secret" not in repr(dataclasses.replace(before[0], data=b"secret")).encode()


def test_a_limit_by_user_is_charged_once_though_a_function_is_asked_after_it() -> None:
    """The visit passes the limits again when the function has answered."""
    at = desk(RouteAccess(rates=("user",), forward_auth="ask"))
    one = visit(at)
    go(one, at)
    one.said = Yes((), "ada")
    rulings: list[object] = [AskKeys(None), Ruling()]  # type: ignore[arg-type] - any Ask will do

    class Program:
        def check(self, asked: Visit) -> object:
            return rulings.pop(0)

    one.guard.program = Program()  # type: ignore[assignment]

    assert Admit(one) == go(one, at)
    assert None is go(one, at)
    assert b'"user";r=0;t=60' == dict(one.dress.fields)[b"ratelimit"]


@pytest.mark.parametrize(("origin", "why"), [("other", Bypassed.ROUTE_POLICY), ("shop", None), (None, None)])
def test_what_a_function_sends_elsewhere_passes_the_cache_by(origin: str | None, why: Bypassed | None) -> None:
    at = desk(RouteAccess(rates=("each",)))
    one = visit(at)
    assert at.rooms.admission is not None
    at.rooms.admission.origins = {**at.rooms.admission.origins, "other": object()}  # type: ignore[dict-item] - nobody is asked

    class Program:
        def check(self, _: Visit) -> object:
            return Ruling(origin=origin)

    one.guard.program = Program()  # type: ignore[assignment]
    go(one, at)

    assert why is one.known.ask.bypass
