"""Whatever a head says to a route with every rule there is, it is admitted, refused, or somebody must be asked; nothing is raised."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.contents import Contents
from edge.config.tree import Basic, ForwardAuth, Jwt, Rate, Route, RouteAccess, RouteCors
from edge.exchange.decision import Admit, Answer
from edge.exchange.proof import Yes
from edge.exchange.recognise import Door
from edge.http.h1.render import reply_head, request_head
from edge.message.head import RequestHead
from tests.exchange.kit import Desk, door

HASH = "$2b$04$5mMYJHqXkAtWzSRpGxZ/o.VtSEUY/BRj7kLH2wTtWxGv5Io3LvCUe"
SECRET = b"a shared secret that is long enough for all"
NAMES = [b"authorization", b"cookie", b"origin", b"access-control-request-method", b"access-control-request-headers",
         b"x-user", b"x_user", b"connection", b"x-key", b"x-forwarded-for"]  # fmt: skip
VALUES = st.binary(max_size=60).map(lambda data: bytes(byte for byte in data if byte >= 0x20 and byte != 0x7F).strip()) | st.sampled_from(
    [b"Basic YTpi", b"Bearer a.b.c", b"Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", b"t=a.b.c; t=d", b"https://a.example", b"x-user, x_user",
     b"PUT", b"null", b"Basic " + b"=" * 50, b"Basic /w=="]
)  # fmt: skip
HEADS = st.builds(
    lambda method, fields: RequestHead(method, b"https", b"shop.example", b"/x", fields),
    st.sampled_from([b"GET", b"OPTIONS", b"POST", b"HEAD"]),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6),
)


def desk(satisfy: str) -> Desk:
    access = RouteAccess(
        allow=(ip_network("192.0.2.0/24"),), jwt="login", basic="staff", forward_auth="ask", satisfy=satisfy,  # type: ignore[arg-type]
        rates=("each", "user"), concurrency=1000, client_concurrency=1000,
    )  # fmt: skip
    return Desk(
        None,
        routes=(
            Route(
                "shop.example",
                "/",
                "shop",
                access=access,
                cors=RouteCors(origins=("https://a.example",), methods=("PUT",)),
            ),
        ),
        basic={"staff": Basic("staff", users=(f"alice:{HASH}",))},
        jwt={
            "login": Jwt(
                "login", ("HS256",), secret_file=Contents(Path("s"), SECRET), headers=(("x-user", "sub"),), cookie="t"
            )
        },
        forward_auth={"ask": ForwardAuth("ask", "shop", "/check", copy_headers=("x-user",), cache_s=60.0)},
        rates={
            "each": Rate("each", 1000, 60.0, by="header", header="x-key"),
            "user": Rate("user", 1000, 60.0, by="user"),
        },
    )


DESKS = {satisfy: desk(satisfy) for satisfy in ("all", "any")}


@pytest.mark.parametrize("satisfy", DESKS)
@given(head=HEADS, address=st.sampled_from(["192.0.2.7", "198.51.100.1", "2001:db8::1", "", "unix"]), yes=st.booleans())
def test_any_head_is_admitted_or_refused_in_words_that_can_be_sent(
    satisfy: str, head: RequestHead, address: str, yes: bool
) -> None:
    """And what the origin would be told holds nothing that a client said of who it is."""
    at = DESKS[satisfy]
    assert at.rooms.admission is not None
    here: Door = door()
    known = at.rooms.recognise(head, here)
    visit = at.rooms.admission.visit(known, address, address, None)
    said = visit.advance(0.0, at.rooms.now_wall)
    for _ in range(4):
        if type(said) is not Admit:
            break
        visit.said = Yes(((b"x-user", b"ada"),), "ada") if "Service" in type(visit.asks).__name__ else yes
        said = visit.advance(0.0, at.rooms.now_wall)

    assert said is None or type(said) is Answer
    if said is not None:
        worn = said.head if visit.dress is None else visit.dress.on(said.head)
        assert reply_head(worn.status, worn.reason, worn.fields)
    else:
        asked = visit.known.asked
        assert [b"ada"] * len(visit.known.asked.index.keys() & {b"x-user"}) == [
            value for name, value in asked.fields if name.replace(b"_", b"-") == b"x-user"
        ]
        assert request_head(asked.method, asked.target, asked.authority, asked.fields)
