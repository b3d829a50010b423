"""Who may pass, told as journeys: a whole worker, an origin that notes what it is told, and clients that try."""

from __future__ import annotations

import base64
from ipaddress import ip_network
from pathlib import Path

import bcrypt
import jwt as pyjwt
import trio

from edge.config.contents import Contents
from edge.config.tree import (
    Basic,
    Jwt,
    Route,
    RouteAccess,
    RouteCache,
)
from edge.observe import names
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
