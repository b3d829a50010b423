"""Of all routes that match, the most specific; and never at a cost the client chooses."""

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.route import RouteTable


@dataclass(frozen=True)
class Route:
    host: str | None = None
    path: str = "/"


def find(routes, host, path):
    return RouteTable(routes).find(host, path)


def test_an_empty_table_finds_nothing():
    assert find([], b"shop.example", b"/") is None


def test_a_route_without_host_takes_any_host():
    any_host = Route()

    assert any_host is find([any_host], b"whatever.example", b"/a/b")


def test_an_exact_host_beats_a_wildcard_and_a_wildcard_beats_none():
    exact, wildcard, any_host = Route("a.shop.example"), Route("*.shop.example"), Route()
    table = RouteTable([any_host, wildcard, exact])

    assert exact is table.find(b"a.shop.example", b"/")
    assert wildcard is table.find(b"b.shop.example", b"/")
    assert any_host is table.find(b"shop.example", b"/")


def test_the_longer_wildcard_wins_and_covers_any_number_of_labels():
    short, long = Route("*.example"), Route("*.shop.example")
    table = RouteTable([short, long])

    assert long is table.find(b"x.y.shop.example", b"/")
    assert short is table.find(b"x.y.other.example", b"/")
    assert short is table.find(b"shop.example", b"/")


def test_a_wildcard_does_not_cover_its_own_name_nor_an_empty_label():
    table = RouteTable([Route("*.shop.example")])

    assert table.find(b"shop.example", b"/") is None
    assert table.find(b".shop.example", b"/") is None
    assert table.find(b"xshop.example", b"/") is None


def test_the_host_counts_before_the_path():
    by_host, by_path = Route("shop.example", "/"), Route(None, "/very/long/prefix")

    assert by_host is find([by_path, by_host], b"shop.example", b"/very/long/prefix/x")


def test_a_host_whose_paths_do_not_match_does_not_hide_less_specific_routes():
    api, wildcard, rest = Route("shop.example", "/api"), Route("*.example", "/img"), Route(None, "/")
    table = RouteTable([api, wildcard, rest])

    assert api is table.find(b"shop.example", b"/api")
    assert wildcard is table.find(b"shop.example", b"/img/logo")
    assert rest is table.find(b"shop.example", b"/")


@pytest.mark.parametrize("path", [b"/api", b"/api/", b"/api/v1", b"/api//x"])
def test_a_prefix_matches_on_segment_borders(path):
    api = Route(None, "/api")

    assert api is find([api], b"h", path)


@pytest.mark.parametrize("path", [b"/apix", b"/ap", b"/API", b"/", b"/x/api", b"/%61pi", b"*"])
def test_a_prefix_does_not_match_inside_a_segment_or_in_another_spelling(path):
    assert find([Route(None, "/api")], b"h", path) is None


def test_the_longest_path_wins():
    routes = [Route(None, path) for path in ("/", "/a", "/a/b", "/a/b/c")]
    table = RouteTable(routes)

    assert [table.find(b"h", path).path for path in (b"/x", b"/a/x", b"/a/b", b"/a/b/c/d/e", b"/a/bc")] == [
        "/",
        "/a",
        "/a/b",
        "/a/b/c",
        "/a",
    ]


def test_a_closing_slash_of_a_prefix_means_nothing():
    api = Route(None, "/api/")

    assert api is find([api], b"h", b"/api")


def test_the_root_takes_the_asterisk_of_options():
    root = Route()

    assert root is find([Route(None, "/api"), root], b"h", b"*")


def test_of_two_equal_routes_the_first_is_used():
    first, second = Route("h"), Route("h")

    assert first is find([first, second], b"h", b"/")


def test_the_absolute_form_of_a_name_is_the_same_name():
    exact, wildcard = Route("shop.example"), Route("*.shop.example")
    table = RouteTable([exact, wildcard])

    assert exact is table.find(b"shop.example.", b"/")
    assert wildcard is table.find(b"a.shop.example.", b"/")


def test_an_ipv6_host_is_compared_in_its_brackets():
    six = Route("[2001:db8::1]")

    assert six is find([six], b"[2001:db8::1]", b"/")


def test_a_hostile_request_costs_no_more_than_the_table_allows():
    """A path or host made of borders must not be walked border by border: the table's own length bounds the walk."""
    table = RouteTable([Route("*.shop.example", "/api/v1"), Route("h", "/api/v1")])
    path, host = b"/" * 65536, b"." * 65536
    start = time.process_time()

    for _ in range(1000):
        table.find(b"h", path)
        table.find(host, b"/")

    assert time.process_time() - start < 0.1


_segments = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3)
_paths = _segments.map(lambda parts: "/" + "/".join(parts))
_names = st.lists(st.sampled_from(["x", "y", "xy"]), min_size=1, max_size=3).map(".".join)
_hosts = st.one_of(st.none(), _names, _names.map("*.{}".format))


def _by_the_letter(routes, host, path):
    """The rule as the module's docstring words it, over every route."""

    def matches(route):
        on_host = (
            route.host is None
            or route.host == host
            or (route.host.startswith("*.") and host.endswith(route.host[1:]) and len(host) >= len(route.host))
        )
        prefix = route.path.rstrip("/")
        return on_host and (path == prefix or path.startswith(prefix + "/"))

    def rank(route):
        exact = route.host is not None and not route.host.startswith("*.")
        return exact, len(route.host or ""), len(route.path.rstrip("/"))

    return max(filter(matches, routes), key=rank, default=None)


@given(st.lists(st.builds(Route, _hosts, _paths), max_size=8, unique=True), _names, _paths)
def test_the_table_agrees_with_the_rule_by_the_letter(routes, host, path):
    assert _by_the_letter(routes, host, path) == find(routes, host.encode(), path.encode())
