"""Paths become other paths, never places that nobody meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.head import RequestHead
from edge.policy.rewrite import CLIMBS, Location, Rewriter


def head(target, authority=b"shop.example:8443"):
    return RequestHead(b"GET", b"https", authority, target, [])


@pytest.mark.parametrize(
    ("cut", "prefix", "target", "expected"),
    [
        (4, "/v2", b"/api/x?y=1", b"/v2/x?y=1"),
        (4, "/v2", b"/api", b"/v2"),
        (4, "/", b"/api/x", b"/x"),
        (4, "/", b"/api", b"/"),
        (4, "/", b"/api/", b"/"),
        (4, "/", b"/api//evil.example/x", b"/evil.example/x"),
        (4, "/v2", b"/%61pi/x", b"/v2/x"),
        (4, "/v2", b"/api/a%2fb?%2e", b"/v2/a%2Fb?%2e"),
        (0, "/v2", b"/x", b"/v2/x"),
        (11, "/r", b"/robots.txt", b"/r"),
        (4, "/v2", b"*", b"*"),
    ],
)
def test_a_prefix_takes_the_place_of_the_routes_own(cut, prefix, target, expected):
    assert Rewriter(cut, prefix=prefix).target(target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/items/12/x?q", b"/catalog/12/x?q"),
        (b"/items/12", b"/catalog/12"),
        (b"/other", b"/other"),
    ],
)
def test_a_pattern_makes_another_path_of_what_it_caught(target, expected):
    rewriter = Rewriter(0, pattern="/items/([0-9]+)(/.*)?", to="/catalog/{1}{2}")

    assert rewriter.target(target) == expected


@pytest.mark.parametrize(
    "target",
    [b"/api/../secret", b"/api/%2e%2e/secret", b"/api/..%2fsecret", b"/api/..;/secret", b"/api/x\\..\\..\\secret"],
)
def test_nobody_climbs_out_of_a_prefix(target):
    assert Rewriter(4, prefix="/public").target(target) is CLIMBS
    assert Rewriter(0, pattern=".*", to="/public{path}").target(target) is CLIMBS


def test_no_dot_segment_is_made_by_spelling_a_path_anew():
    """``%%32e`` is a percent sign and an escape; decoded where it stands it would be ``%2e``, and a dot to the origin."""
    made = Rewriter(4, prefix="/public").target(b"/api/%%32e%%32e/secret")

    assert made == b"/public/%%32e%%32e/secret"


def test_what_an_expression_caught_does_not_become_a_dot_segment():
    assert Rewriter(0, pattern="/(.)(.)", to="/x/{1}{2}/y").target(b"/a.") == b"/x/a./y"
    assert Rewriter(0, pattern="/a(.)b(.)", to="/x/{1}{2}/y").target(b"/a.b.") is CLIMBS


_SIGNS = st.lists(
    st.sampled_from([b"/", b".", b"..", b"%2e", b"%2F", b"\\", b";", b"a", b"%", b"?", b"=", b"&", b"{1}"]), max_size=14
)


@given(_SIGNS.map(lambda parts: b"/" + b"".join(parts)), st.booleans())
def test_what_comes_out_is_a_target_of_the_signs_that_went_in(target, by_prefix):
    rewriter = Rewriter(0, prefix="/v2") if by_prefix else Rewriter(0, pattern="/(.*)", to="/v2/{1}")
    made = rewriter.target(target)

    if made is CLIMBS:
        return
    assert made.startswith(b"/v2/")
    assert not {*made} & {*b" \r\n\t\0#"}
    assert made.partition(b"?")[2] == target.partition(b"?")[2]


@pytest.mark.parametrize(
    ("to", "target", "expected"),
    [
        ("https://www.{host}{target}", b"/a?b", b"https://www.shop.example/a?b"),
        ("{scheme}://{authority}/x{rest}{query}", b"/old/a?b", b"https://shop.example:8443/x/a?b"),
        ("/new{rest}", b"/old/a?b", b"/new/a"),
        ("/{rest}", b"/old//evil.example", b"/evil.example"),
        ("/{rest}", b"/old/\\evil.example", b"/evil.example"),
        ("{path}", b"//evil.example/x", b"/evil.example/x"),
        ("{target}", b"/\\evil.example", b"/evil.example"),
        ("https://shop.example{rest}", b"/old", b"https://shop.example"),
        ("https://shop.example{path}", b"*", b"https://shop.example/"),
    ],
)
def test_where_a_redirect_leads(to, target, expected):
    assert Location(4, None, to).of(head(target)) == expected


def test_a_redirect_knows_what_the_routes_pattern_caught():
    location = Location(0, "/([a-z]+)/(x)?", "/{2}/{1}")

    assert location.of(head(b"/shoes/")) == b"/shoes"
    assert location.of(head(b"/shoes/x")) == b"/x/shoes"


@pytest.mark.parametrize("to", ["https://{1}/", "//evil.example", "{rest}", "/{nonsense}"])
def test_a_redirect_whose_host_could_be_chosen_is_none(to):
    with pytest.raises(ValueError):
        Location(0, "(.*)", to)


@given(_SIGNS.map(lambda parts: b"/" + b"".join(parts)), st.sampled_from(["{path}", "/{rest}", "{target}", "/x{rest}"]))
def test_no_request_chooses_the_host_of_a_redirect(target, to):
    place = Location(0, None, to).of(head(target))

    assert place.startswith(b"/")
    assert place[1:2] not in {b"/", b"\\"}
