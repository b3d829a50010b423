"""Who may pass, told as journeys: a whole worker, an origin that notes what it is told, and clients that try."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import bcrypt
import jwt as pyjwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import ECAlgorithm

from edge.config.contents import Contents
from edge.config.tree import Basic, Certificate, Config, ForwardAuth, Jwt, Listener, Route, RouteAccess, RouteCache
from edge.observe import names
from edge.tls.contexts import ContextStore
from edge.tls.selfsigned import Authority
from tests.kit.client import Client
from tests.kit.house import House
from tests.kit.origin import Origin as Scripted
from tests.kit.origin import reply

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
SECRET = b"a shared secret that is long enough for all"
NOW = 1_800_000_000


def guarded(access: RouteAccess, **more) -> dict:
    return {"routes": (Route(None, "/", "shop", access=access, **more),)}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def token(**claims) -> str:
    return "Bearer " + pyjwt.encode({"exp": NOW + 600, **claims}, SECRET, algorithm="HS256")


def shop(**fields: str) -> Scripted:
    return Scripted({b"*": reply(body=b"hello", **fields)})


STAFF = {"basic": {"staff": Basic("staff", users=(f"alice:{HASH}",))}}
SIGNED = {
    "jwt": {
        "login": Jwt(
            "login",
            ("HS256",),
            secret_file=Contents(Path("s"), SECRET),
            headers=(("x-plan", "plan"), ("x-user", "sub")),
        )
    }
}


# -- networks -------------------------------------------------------------------------------------------------


async def test_who_comes_from_a_denied_network_is_refused_whatever_the_cache_has(edge_at, tmp_path: Path) -> None:
    origin = shop(cache_control="max-age=60")
    access = RouteAccess(deny=(ip_network("192.0.2.0/24"),))
    async with edge_at(tmp_path, origin=origin, **guarded(access)) as edge:
        client = await edge.client()
        got = await client.get("/a")
        entries = await edge.settled(1)

    assert 403 == got.status
    assert b"no-store" == got.get(b"cache-control")
    assert [] == origin.asked
    assert ("http_request_denied", "network: 192.0.2.7 is denied") == entries[0][12:14]
    assert 1 == edge.count(names.REFUSED["network"])


async def test_a_smaller_network_decides(edge_at, tmp_path: Path) -> None:
    access = RouteAccess(deny=(ip_network("192.0.0.0/8"),), allow=(ip_network("192.0.2.7/32"),))
    async with edge_at(tmp_path, origin=shop(), **guarded(access)) as edge:
        got = await (await edge.client()).get("/a")

    assert 200 == got.status


# -- passwords ------------------------------------------------------------------------------------------------


async def test_a_password_opens_and_a_wrong_one_does_not(edge_at, tmp_path: Path) -> None:
    origin = shop()
    async with edge_at(tmp_path, origin=origin, **STAFF, **guarded(RouteAccess(basic="staff"))) as edge:
        client = await edge.client()
        without = await client.get("/a")
        wrong = await client.get("/a", Authorization=basic("alice", "guess"))
        stranger = await client.get("/a", Authorization=basic("mallory", "secret"))
        right = await client.get("/a", Authorization=basic("alice", "secret"))
        again = await client.get("/a", Authorization=basic("alice", "secret"))

    assert [401, 401, 401, 200, 200] == [got.status for got in (without, wrong, stranger, right, again)]
    assert b'Basic realm="Sign in", charset="UTF-8"' == without.get(b"www-authenticate")
    assert 1 == edge.count(names.PASSWORDS["right"])  # the second time it was remembered
    assert 2 == edge.count(names.PASSWORDS["wrong"])


async def test_a_public_copy_is_a_hit_only_for_who_is_admitted(edge_at, tmp_path: Path) -> None:
    """The check comes first, also when the copy is in memory."""
    origin = shop(cache_control="public, max-age=60")
    async with edge_at(tmp_path, origin=origin, **STAFF, **guarded(RouteAccess(basic="staff"))) as edge:
        client = await edge.client()
        await client.get("/a", Authorization=basic("alice", "secret"))
        hit = await client.get("/a", Authorization=basic("alice", "secret"))
        stranger = await client.get("/a")
        wrong = await client.get("/a", Authorization=basic("alice", "guess"))
        conditional = await client.get("/a", If_None_Match="*")

    assert b"edge; hit; ttl=60" == hit.get(b"cache-status")
    assert [401, 401, 401] == [got.status for got in (stranger, wrong, conditional)]
    assert 1 == len(origin.asked)


# -- tokens ---------------------------------------------------------------------------------------------------


async def test_a_token_opens_and_its_claims_reach_the_origin(edge_at, tmp_path: Path) -> None:
    origin = shop()
    async with edge_at(tmp_path, origin=origin, **SIGNED, **guarded(RouteAccess(jwt="login"))) as edge:
        client = await edge.client()
        got = await client.get(
            "/a", Authorization=token(sub="ada", plan=["gold"]), X_User="root", x_user="root", Connection="x-user"
        )
        forged = await client.get("/a", Authorization="Bearer " + pyjwt.encode({"sub": "root"}, "0" * 40))
        none = await client.get("/a", X_User="root")

    assert [200, 401, 401] == [got.status, forged.status, none.status]
    assert b'Bearer realm="edge"' == none.get(b"www-authenticate")
    assert b'error="invalid_token"' in forged.get(b"www-authenticate")
    assert (b"ada", b'["gold"]') == (origin.asked[0].get(b"x-user"), origin.asked[0].get(b"x-plan"))
    assert 1 == len(origin.asked)


async def test_an_expired_token_is_refused_though_it_was_good_before(edge_at, tmp_path: Path, autojump_clock) -> None:
    origin = shop()
    sent = token(sub="ada")
    async with edge_at(tmp_path, origin=origin, **SIGNED, **guarded(RouteAccess(jwt="login"))) as edge:
        client = await edge.client()
        before = await client.get("/a", Authorization=sent)
        await trio.sleep(700)
        after = await (await edge.client()).get("/a", Authorization=sent)

    assert [200, 401] == [before.status, after.status]


@pytest.mark.parametrize(("leeway_s", "status"), [(5.0, 401), (20.0, 200)])
@pytest.mark.parametrize("claims", [{"exp": NOW - 10}, {"nbf": NOW + 10}])
async def test_clocks_may_differ_by_the_leeway(
    edge_at, tmp_path: Path, autojump_clock, leeway_s: float, status: int, claims: dict
) -> None:
    signed = {"jwt": {"login": replace(SIGNED["jwt"]["login"], leeway_s=leeway_s)}}
    async with edge_at(tmp_path, origin=shop(), **signed, **guarded(RouteAccess(jwt="login"))) as edge:
        got = await (await edge.client()).get("/a", Authorization=token(**claims))

    assert status == got.status


@pytest.mark.parametrize(("is_required", "status"), [(True, 401), (False, 200)])
async def test_a_token_says_when_it_ends_unless_it_need_not(
    edge_at, tmp_path: Path, is_required: bool, status: int
) -> None:
    signed = {"jwt": {"login": replace(SIGNED["jwt"]["login"], require_expiry=is_required)}}
    async with edge_at(tmp_path, origin=shop(), **signed, **guarded(RouteAccess(jwt="login"))) as edge:
        sent = "Bearer " + pyjwt.encode({"sub": "ada"}, SECRET, algorithm="HS256")
        got = await (await edge.client()).get("/a", Authorization=sent)

    assert status == got.status


async def test_one_visitors_reply_is_never_anothers(edge_at, tmp_path: Path) -> None:
    """A lifetime alone is no leave: the origin was told who asks."""

    async def mine(asked, wire) -> None:
        await wire.send(reply(body=asked.get(b"x-user"), cache_control="max-age=60, must-revalidate"))

    origin = Scripted({b"*": mine})
    rules = {"cache": RouteCache(ttl_s=60.0, strip_cookies=True)}
    async with edge_at(tmp_path, origin=origin, **SIGNED, **guarded(RouteAccess(jwt="login"), **rules)) as edge:
        client = await edge.client()
        got = [await client.get("/me", Authorization=token(sub=name)) for name in ("ada", "bob", "ada")]

    assert [b"ada", b"bob", b"ada"] == [each.body for each in got]
    assert b"edge; fwd=uri-miss; fwd-status=200; detail=identity" == got[0].get(b"cache-status")


async def test_an_identity_in_a_cookie_is_no_leave_either(edge_at, tmp_path: Path) -> None:
    """Without Authorization nothing in RFC 9111 forbids it; here the route does."""

    async def mine(asked, wire) -> None:
        await wire.send(reply(body=asked.get(b"x-user"), cache_control="max-age=60, must-revalidate"))

    settings = {
        "jwt": {
            "login": Jwt(
                "login", ("HS256",), secret_file=Contents(Path("s"), SECRET), cookie="t", headers=(("x-user", "sub"),)
            )
        }
    }
    origin = Scripted({b"*": mine})
    async with edge_at(tmp_path, origin=origin, **settings, **guarded(RouteAccess(jwt="login"))) as edge:
        client = await edge.client()
        got = [await client.get("/me", Cookie="t=" + token(sub=name)[7:]) for name in ("ada", "bob", "ada")]

    assert [b"ada", b"bob", b"ada"] == [each.body for each in got]
    assert b"edge; fwd=uri-miss; fwd-status=200; detail=identity" == got[0].get(b"cache-status")


async def test_copies_are_told_apart_by_what_the_origin_is_told(edge_at, tmp_path: Path) -> None:
    """``Vary`` names a field that we set: each user has a copy, and a client cannot choose whose."""

    async def mine(asked, wire) -> None:
        await wire.send(reply(body=asked.get(b"x-user"), cache_control="public, max-age=60", vary="X-User"))

    origin = Scripted({b"*": mine})
    async with edge_at(tmp_path, origin=origin, **SIGNED, **guarded(RouteAccess(jwt="login"))) as edge:
        client = await edge.client()
        got = [await client.get("/me", Authorization=token(sub=name)) for name in ("ada", "bob", "ada", "bob")]
        forged = await client.get("/me", Authorization=token(sub="bob"), X_User="ada")

    assert [b"ada", b"bob", b"ada", b"bob"] == [each.body for each in got]
    assert [b"edge; hit; ttl=60"] * 2 == [each.get(b"cache-status") for each in got[2:]]
    assert b"bob" == forged.body
    assert 2 == len(origin.asked)


async def test_who_is_told_is_taken_off_on_routes_without_a_guard_too(edge_at, tmp_path: Path) -> None:
    """Or the same origin could be lied to by another way in."""
    origin = shop()
    routes = (
        Route(None, "/", "shop"),
        Route(None, "/admin", "shop", access=RouteAccess(jwt="login")),
    )
    async with edge_at(tmp_path, origin=origin, **SIGNED, routes=routes) as edge:
        client = await edge.client()
        await client.get("/a", X_User="root", X_Other="1")
        await client.get("/a", x_user="root", X_Other="1")

    assert [None, None] == [asked.get(b"x-user") for asked in origin.asked]
    assert [None, None] == [asked.get(b"x_user") for asked in origin.asked]
    assert [b"1", b"1"] == [asked.get(b"x-other") for asked in origin.asked]


async def test_either_is_enough_where_any_will_do(edge_at, tmp_path: Path) -> None:
    access = RouteAccess(jwt="login", basic="staff", satisfy="any", allow=(ip_network("198.51.100.0/24"),))
    async with edge_at(tmp_path, origin=shop(), **STAFF, **SIGNED, **guarded(access)) as edge:
        client = await edge.client()
        by_token = await client.get("/a", Authorization=token(sub="ada"))
        by_password = await client.get("/a", Authorization=basic("alice", "secret"))
        by_nothing = await client.get("/a")

    assert [200, 200, 401] == [got.status for got in (by_token, by_password, by_nothing)]
    assert b'Bearer realm="edge", Basic realm="Sign in", charset="UTF-8"' == by_nothing.get(b"www-authenticate")


async def test_an_allowed_network_is_enough_where_any_will_do(edge_at, tmp_path: Path) -> None:
    access = RouteAccess(basic="staff", satisfy="any", allow=(ip_network("192.0.2.0/24"),))
    async with edge_at(tmp_path, origin=shop(), **STAFF, **guarded(access)) as edge:
        got = await (await edge.client()).get("/a")

    assert 200 == got.status


async def test_all_that_is_named_must_be_shown(edge_at, tmp_path: Path) -> None:
    settings = {"jwt": {"login": replace(SIGNED["jwt"]["login"], cookie="t")}}
    access = RouteAccess(jwt="login", basic="staff")
    async with edge_at(tmp_path, origin=shop(), **STAFF, **settings, **guarded(access)) as edge:
        client = await edge.client()
        cookie = "t=" + token(sub="ada")[7:]
        one = await client.get("/a", Cookie=cookie)
        other = await client.get("/a", Authorization=basic("alice", "secret"))
        both = await client.get("/a", Authorization=basic("alice", "secret"), Cookie=cookie)

    assert [401, 401, 200] == [got.status for got in (one, other, both)]


async def test_a_claim_that_is_required_must_fit(edge_at, tmp_path: Path) -> None:
    settings = {"jwt": {"login": replace(SIGNED["jwt"]["login"], claims=(("scope", ("orders",)),))}}
    async with edge_at(tmp_path, origin=shop(), **settings, **guarded(RouteAccess(jwt="login"))) as edge:
        client = await edge.client()
        other = await client.get("/a", Authorization=token(scope="catalog"))
        fits = await client.get("/a", Authorization=token(scope="catalog orders"))

    assert [403, 200] == [other.status, fits.status]
    assert b'Bearer realm="edge", error="insufficient_scope"' == other.get(b"www-authenticate")


# -- keys that are fetched ------------------------------------------------------------------------------------


def key(kid: str):
    private = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(ECAlgorithm(ECAlgorithm.SHA256).to_jwk(private.public_key()))
    return private, public | {"kid": kid, "use": "sig"}


def signed(private, kid: str, **claims) -> str:
    return "Bearer " + pyjwt.encode({"exp": NOW + 6000, **claims}, private, algorithm="ES256", headers={"kid": kid})


def keys_at(origin: Scripted, **more) -> dict:
    """A set of keys served by the same scripted origin, under a name of its own."""
    return {"jwt": {"login": Jwt("login", ("ES256",), jwks_origin="shop", jwks_path="/keys", **more)}}


async def test_keys_are_fetched_and_rotated(edge_at, tmp_path: Path, autojump_clock) -> None:
    """A token that names a strange key has the set fetched anew, and waits for it; but not again and again."""
    old, old_jwk = key("1")
    new, new_jwk = key("2")
    origin = shop()
    origin.pages[b"/keys"] = reply(body=json.dumps({"keys": [old_jwk]}).encode())
    async with edge_at(tmp_path, origin=origin, **keys_at(origin), **guarded(RouteAccess(jwt="login"))) as edge:
        client = await edge.client()
        first = await client.get("/a", Authorization=signed(old, "1", sub="ada"))
        origin.pages[b"/keys"] = reply(body=json.dumps({"keys": [new_jwk]}).encode())
        await trio.sleep(11)
        rotated = await client.get("/a", Authorization=signed(new, "2", sub="ada"))
        taken_back = await client.get("/a", Authorization=signed(old, "1", sub="ada"))
        strange = [await client.get("/a", Authorization=signed(old, str(kid), sub="ada")) for kid in range(10, 20)]

    assert [200, 200, 401] == [first.status, rotated.status, taken_back.status]
    assert {401} == {got.status for got in strange}
    assert 2 == origin.paths().count(b"/keys")
    assert 2 == edge.count(names.JWKS_FETCHES["good"])


async def test_who_comes_while_keys_are_fetched_waits_for_them(edge_at, tmp_path: Path, autojump_clock) -> None:
    """Keys have been rotated; the first token with a new one has them fetched, and the others are not refused meanwhile."""
    old, old_jwk = key("1")
    new, new_jwk = key("2")
    origin = shop()
    origin.pages[b"/keys"] = reply(body=json.dumps({"keys": [old_jwk]}).encode())

    async def slowly(asked, wire) -> None:
        await trio.sleep(3)
        await wire.send(reply(body=json.dumps({"keys": [new_jwk]}).encode()))

    async with edge_at(tmp_path, origin=origin, **keys_at(origin), **guarded(RouteAccess(jwt="login"))) as edge:
        one, other = await edge.client(), await edge.client()
        await one.get("/a", Authorization=signed(old, "1"))
        origin.pages[b"/keys"] = slowly
        await trio.sleep(20)
        await one.ask("/a", Authorization=signed(new, "2", sub="ada"))
        await trio.sleep(1)
        await other.ask("/a", Authorization=signed(new, "2", sub="bob"))
        statuses = [(await one.reply()).status, (await other.reply()).status]

    assert [200, 200] == statuses
    assert 2 == origin.paths().count(b"/keys")


async def test_without_keys_nobody_passes_and_it_is_said(edge_at, tmp_path: Path, autojump_clock, caplog) -> None:
    private, _ = key("1")
    origin = shop()
    origin.pages[b"/keys"] = reply(500)
    async with edge_at(tmp_path, origin=origin, **keys_at(origin), **guarded(RouteAccess(jwt="login"))) as edge:
        got = await (await edge.client()).get("/a", Authorization=signed(private, "1"))
        entries = await edge.settled(1)

    assert 503 == got.status
    assert b"1" == got.get(b"retry-after")
    assert "jwt login: there are no keys to verify with" == entries[0][13]
    assert "nobody who needs a token passes" in caplog.text


@pytest.mark.parametrize("wrong", [reply(500), reply(body=b"[" * 300_000)], ids=["failing", "nonsense"])
async def test_the_last_good_keys_are_kept_for_a_time(edge_at, tmp_path: Path, autojump_clock, wrong: bytes) -> None:
    private, jwk = key("1")
    origin = shop()
    origin.pages[b"/keys"] = reply(body=json.dumps({"keys": [jwk]}).encode())
    settings = keys_at(origin, refresh_s=60.0, keep_s=600.0)
    async with edge_at(tmp_path, origin=origin, **settings, **guarded(RouteAccess(jwt="login"))) as edge:
        sent = signed(private, "1", sub="ada")
        first = await (await edge.client()).get("/a", Authorization=sent)
        origin.pages[b"/keys"] = wrong
        await trio.sleep(300)
        kept = await (await edge.client()).get("/a", Authorization=sent)
        await trio.sleep(400)
        late = await (await edge.client()).get("/a", Authorization=sent)

    assert [200, 200, 503] == [first.status, kept.status, late.status]
    assert edge.count(names.JWKS_FETCHES["failed"]) >= 4


# -- a service that is asked ----------------------------------------------------------------------------------


LOGIN = {
    "forward_auth": {"login": ForwardAuth("login", "shop", "/check", copy_headers=("x-user",), user_header="x-user")}
}


async def check(asked, wire) -> None:
    """Lets pass whom a cookie names; others are sent to sign in."""
    cookie = asked.get(b"cookie")
    if cookie is None:
        await wire.send(
            reply(302, b"sign in", location="/login", set_cookie="back=/a", access_control_allow_origin="*")
        )
    elif cookie == b"banned":
        await wire.send(reply(403, b"not you"))
    else:
        await wire.send(reply(body=b"ok", x_user=cookie.decode(), x_other="1"))


async def test_a_service_says_who_passes_and_the_origin_hears_who_it_is(edge_at, tmp_path: Path) -> None:
    origin = shop()
    origin.pages[b"/check"] = check
    async with edge_at(tmp_path, origin=origin, **LOGIN, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        passed = await client.get(
            "/a?b=c", method="DELETE", Cookie="ada", X_User="root", X_Forwarded_Uri="/other", If_None_Match='"1"'
        )
        entries = await edge.settled(1)

    asked, told = origin.asked
    assert 200 == passed.status
    assert (b"GET", b"/check", b"DELETE", b"/a?b=c") == (
        asked.method, asked.target, asked.get(b"x-forwarded-method"), asked.get(b"x-forwarded-uri"),
    )  # fmt: skip
    assert (b"192.0.2.7", None, None) == (
        asked.get(b"x-forwarded-for"),
        asked.get(b"x-user"),
        asked.get(b"if-none-match"),
    )
    assert (b"/a?b=c", b"ada", None) == (told.target, told.get(b"x-user"), told.get(b"x-other"))
    assert 200 == entries[0][4]
    assert 1 == edge.count(names.SUBREQUESTS["yes"])


async def test_a_services_no_is_the_clients_answer(edge_at, tmp_path: Path) -> None:
    origin = shop()
    origin.pages[b"/check"] = check
    async with edge_at(tmp_path, origin=origin, **LOGIN, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        sent_away = await client.get("/a")
        refused = await client.get("/a", Cookie="banned")
        head = await client.get("/a", method="HEAD")
        entries = await edge.settled(3)

    assert (302, b"/login", b"back=/a", b"no-store", b"sign in") == (
        sent_away.status, sent_away.get(b"location"), sent_away.get(b"set-cookie"), sent_away.get(b"cache-control"),
        sent_away.body,
    )  # fmt: skip
    assert (403, b"not you") == (refused.status, refused.body)
    assert (302, b"") == (head.status, head.body)
    assert "forward_auth login: it answered 302" == entries[0][13]
    assert [b"/check"] * 3 == origin.paths()


async def test_a_service_that_fails_lets_nobody_pass_and_it_is_said(
    edge_at, tmp_path: Path, autojump_clock, caplog
) -> None:
    async def never(asked, wire) -> None:
        await trio.sleep_forever()

    origin = shop()
    async with edge_at(tmp_path, origin=origin, **LOGIN, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        statuses = []
        for wrong in (reply(500), reply(304), b"nonsense\r\n\r\n", never):
            origin.pages[b"/check"] = wrong
            statuses.append((await client.get("/a", Cookie="ada")).status)

    assert [503, 503, 503, 503] == statuses
    assert "requests that need it are refused" in caplog.text
    assert b"/a" not in origin.paths()


async def test_a_yes_is_used_again_for_a_bounded_time_for_the_same_request(
    edge_at, tmp_path: Path, autojump_clock
) -> None:
    origin = shop()
    origin.pages[b"/check"] = check
    settings = {"forward_auth": {"login": replace(LOGIN["forward_auth"]["login"], cache_s=5.0)}}
    async with edge_at(tmp_path, origin=origin, **settings, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        for cookie in ("ada", "ada", "bob", "ada"):
            await client.get("/a", Cookie=cookie)
        await client.get("/b", Cookie="ada")
        asked = origin.paths().count(b"/check")
        await trio.sleep(6)
        await client.get("/a", Cookie="ada")

    assert 3 == asked
    assert 4 == origin.paths().count(b"/check")
    assert [b"ada", b"ada", b"bob", b"ada", b"ada", b"ada"] == [
        each.get(b"x-user") for each in origin.asked if each.target != b"/check"
    ]


async def test_a_service_that_forbids_it_is_asked_each_time(edge_at, tmp_path: Path) -> None:
    origin = shop()
    origin.pages[b"/check"] = reply(cache_control="no-store")
    settings = {"forward_auth": {"login": replace(LOGIN["forward_auth"]["login"], cache_s=5.0)}}
    async with edge_at(tmp_path, origin=origin, **settings, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        await client.get("/a")
        await client.get("/a")

    assert 2 == origin.paths().count(b"/check")


@pytest.mark.parametrize(("whole_host", "asked"), [(False, 4), (True, 2)])
async def test_a_service_goes_by_what_it_is_said_to_go_by(
    edge_at, tmp_path: Path, whole_host: bool, asked: int
) -> None:
    origin = shop()
    origin.pages[b"/check"] = check
    login = replace(LOGIN["forward_auth"]["login"], cache_s=5.0, cache_by=("cookie",), cache_whole_host=whole_host)
    async with edge_at(
        tmp_path, origin=origin, forward_auth={"login": login}, **guarded(RouteAccess(forward_auth="login"))
    ) as edge:
        client = await edge.client()
        await client.get("/a", Cookie="ada", User_Agent="1")
        await client.get("/a", Cookie="ada", User_Agent="2")
        await client.get("/a", method="DELETE", Cookie="ada")
        await client.get("/b", Cookie="ada")
        await client.get("/b", Cookie="bob")

    assert asked == origin.paths().count(b"/check")


async def test_a_yes_to_one_request_is_none_to_another(edge_at, tmp_path: Path) -> None:
    async def reads(asked, wire) -> None:
        said = asked.get(b"x-forwarded-method"), asked.get(b"x-forwarded-uri")
        await wire.send(reply(200 if said == (b"GET", b"/a") else 403))

    origin = shop()
    origin.pages[b"/check"] = reads
    login = replace(LOGIN["forward_auth"]["login"], cache_s=5.0, cache_by=("authorization",))
    async with edge_at(
        tmp_path, origin=origin, forward_auth={"login": login}, **guarded(RouteAccess(forward_auth="login"))
    ) as edge:
        client = await edge.client()
        statuses = [
            (await client.get(path, method=method, Authorization="Bearer a")).status
            for method, path in (("GET", "/a"), ("GET", "/admin"), ("DELETE", "/a"), ("GET", "/a"))
        ]

    assert [200, 403, 403, 200] == statuses


async def test_a_copy_waits_for_the_services_yes(edge_at, tmp_path: Path) -> None:
    """What is asked slowly goes on to the ordinary decision: here to a hit."""
    origin = shop(cache_control="public, max-age=60")
    origin.pages[b"/check"] = check
    async with edge_at(tmp_path, origin=origin, **LOGIN, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        first = await client.get("/a", Cookie="ada")
        hit = await client.get("/a", Cookie="ada")
        banned = await client.get("/a", Cookie="banned")
        entries = await edge.settled(3)

    assert [200, 200, 403] == [first.status, hit.status, banned.status]
    assert b"edge; hit; ttl=60" == hit.get(b"cache-status")
    assert ["uri-miss", "hit", "none"] == [entry[7] for entry in entries]
    assert 1 == origin.paths().count(b"/a")


async def test_who_leaves_while_a_service_is_asked_leaves_nothing_behind(edge_at, tmp_path: Path) -> None:
    began = trio.Event()

    async def slow(asked, wire) -> None:
        began.set()
        await trio.sleep_forever()

    origin = shop()
    origin.pages[b"/check"] = slow
    async with edge_at(
        tmp_path, origin=origin, **LOGIN, **guarded(RouteAccess(forward_auth="login", concurrency=1))
    ) as edge:
        client = await edge.client()
        await client.ask("/a", Cookie="ada")
        await began.wait()
        await client.aclose()
        entries = await edge.settled(1)

        assert 0 == edge.worker.fast.slow.carried
    assert "connection_terminated" == entries[0][12]


async def test_an_upload_waits_for_the_services_yes_and_arrives_whole(edge_at, tmp_path: Path) -> None:
    origin = shop()
    origin.pages[b"/check"] = check
    async with edge_at(tmp_path, origin=origin, **LOGIN, **guarded(RouteAccess(forward_auth="login"))) as edge:
        client = await edge.client()
        await client.ask("/up", method="POST", Cookie="ada", Content_Length="300000")
        await client.send(b"x" * 300_000)
        got = await client.reply()

    assert 200 == got.status
    assert (b"", 300_000) == (origin.asked[0].body, len(origin.asked[1].body))


# -- certificates ---------------------------------------------------------------------------------------------

AUTHORITY, CLIENTS = Authority(), Authority("Clients")


async def resumed(edge: House, context: ssl.SSLContext, session: ssl.SSLSession) -> Client:
    """Connect again, taking up the session of before: no certificate is shown in that handshake."""
    ours, theirs = socket.socketpair()
    edge.worker.fast.admit(theirs, "192.0.2.7", edge.worker.doors.plain(edge.listener))
    near = trio.socket.from_stdlib_socket(ours)
    edge.sockets.append(near)
    stream = trio.SSLStream(trio.SocketStream(near), context, server_hostname="shop.example", https_compatible=True)
    stream.session = session
    await stream.do_handshake()
    return Client(stream)


async def test_an_origin_is_told_of_a_certificate_and_of_no_other(edge_at, tmp_path: Path) -> None:
    """Optional in the handshake; required on one route; and nobody can say that they have shown one."""
    ca = tmp_path / "clients.pem"
    ca.write_bytes(CLIENTS.pem)
    chain, private = AUTHORITY.issue(["shop.example"]).write(tmp_path / "server")
    mine = CLIENTS.issue(["somebody"], for_client=True)
    context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    context.load_cert_chain(*mine.write(tmp_path / "client"))
    strange = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    listeners = (Listener("127.0.0.1:1", tls=True),)
    certificates = (Certificate(chain, private, client_ca=ca, client_verify="optional"),)
    store = ContextStore.build(Config(listeners=listeners, certificates=certificates))
    told = (("x-cert", "certificate"), ("x-hash", "fingerprint"), ("x-name", "subject"))
    routes = (
        Route(None, "/", "shop", access=RouteAccess(certificate_headers=told)),
        Route(None, "/admin", "shop", access=RouteAccess(certificate_headers=told, client_certificate="required")),
    )
    origin = shop()
    async with edge_at(tmp_path / "cache", origin=origin, tls=store, listeners=listeners, routes=routes) as edge:
        known = await edge.client(tls=context)
        unknown = await edge.client(tls=strange)
        await known.get("/a")
        again = await resumed(edge, context, known.stream.session)
        assert 200 == (await again.get("/admin")).status
        assert again.stream.session_reused
        statuses = [
            (await client.get(path, X_Hash="0" * 64, x_hash="0" * 64)).status
            for client in (known, unknown)
            for path in ("/a", "/admin")
        ]

    certificate = load_pem_x509_certificate(mine.chain)
    der = certificate.public_bytes(Encoding.DER)
    assert [200, 200, 200, 403] == statuses
    _, back, shown, admin, nobody = origin.asked
    assert shown.get(b"x-hash") == back.get(b"x-hash")
    assert hashlib.sha256(der).hexdigest().encode() == shown.get(b"x-hash") == admin.get(b"x-hash")
    assert b":" + base64.b64encode(der) + b":" == shown.get(b"x-cert")
    assert certificate.subject.rfc4514_string().encode() == shown.get(b"x-name")
    assert [None, None] == [nobody.get(b"x-hash"), nobody.get(b"x-cert")]


async def test_a_certificate_for_one_host_is_none_for_another(edge_at, tmp_path: Path) -> None:
    """A tenant's authority vouches for that tenant's clients, at that tenant's name."""
    ca = tmp_path / "clients.pem"
    ca.write_bytes(CLIENTS.pem)
    tenant = AUTHORITY.issue(["tenant.example"]).write(tmp_path / "tenant")
    shop_ = AUTHORITY.issue(["shop.example"]).write(tmp_path / "shop")
    context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    context.load_cert_chain(*CLIENTS.issue(["somebody"], for_client=True).write(tmp_path / "client"))
    listeners = (Listener("127.0.0.1:1", tls=True),)
    certificates = (Certificate(*shop_), Certificate(*tenant, client_ca=ca, client_verify="optional"))
    store = ContextStore.build(Config(listeners=listeners, certificates=certificates))
    access = RouteAccess(client_certificate="required", certificate_headers=(("x-hash", "fingerprint"),))
    origin = shop()
    async with edge_at(tmp_path / "cache", origin=origin, tls=store, listeners=listeners, **guarded(access)) as edge:
        client = await edge.client(tls=context, name="tenant.example")
        its_own = await client.get("/a", host="tenant.example")
        another = await client.get("/a", host="shop.example")

    assert [200, 403] == [its_own.status, another.status]
    assert 1 == len(origin.asked)


async def test_nobody_says_behind_a_body_who_they_are(edge_at, tmp_path: Path) -> None:
    """An origin that folds trailers into the head would believe it there."""
    trailed: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        while not data.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in data:
            data += await stream.receive_some(65536)
        trailed.append(data.partition(b"\r\n0\r\n")[2])
        await stream.send_all(reply())

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        origin = Scripted(port=listeners[0].socket.getsockname()[1])
        async with edge_at(tmp_path, origin=origin, **SIGNED, **guarded(RouteAccess(jwt="login"))) as edge:
            client = await edge.client()
            await client.ask("/up", method="POST", Authorization=token(sub="ada"), Transfer_Encoding="chunked")
            await client.send(b"1\r\nx\r\n0\r\nX-User: root\r\nx_user: root\r\nX-Sum: 1\r\n\r\n")
            got = await client.reply()
        nursery.cancel_scope.cancel()

    assert 200 == got.status
    assert [b"x-sum: 1\r\n\r\n"] == trailed
