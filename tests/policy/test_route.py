"""Of all routes that match, the most specific; and never at a cost the client chooses."""

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.route import RouteTable, rank
from tests.cache import kit


@dataclass(frozen=True)
class Route:
    host: str | None = None
    path: str = "/"
    path_exact: str | None = None
    path_pattern: str | None = None
    methods: tuple = ()
    headers: tuple = ()
    query: tuple = ()
    networks: tuple = ()
    order: int = 0


GET = kit.head("/")


class Table(RouteTable):
    """The one route for whoever asks with a plain GET, or None."""

    def find(self, host, path, head=GET):
        found = super().find(host, path, head)
        assert len(found) <= 1
        assert self.regardless(host) in (None, found)
        return found[0] if found else None


def find(routes, host, path, head=GET):
    return Table(routes).find(host, path, head)


def test_an_empty_table_finds_nothing():
    assert find([], b"shop.example", b"/") is None


def test_a_route_without_host_takes_any_host():
    any_host = Route()

    assert any_host is find([any_host], b"whatever.example", b"/a/b")


@pytest.mark.parametrize(
    ("more", "always"),
    [
        ([], True),
        ([Route("other.example", "/x")], True),
        ([Route("shop.example")], True),
        ([Route("shop.example", "/x")], False),
        ([Route("shop.example", path_exact="/x")], False),
        ([Route("shop.example", methods=("POST",))], False),
        ([Route("shop.example", path_pattern="/.*x")], False),
        ([Route("*.example", "/x")], False),
        ([Route(path="/x")], False),
    ],
)
def test_a_host_with_one_route_for_everything_takes_it_regardless_of_the_path(more, always):
    table = RouteTable([*more, Route(order=1)])

    assert (table.regardless(b"shop.example") is not None) == always


def test_a_route_for_some_networks_is_never_taken_regardless():
    from ipaddress import ip_network

    table = RouteTable([Route(networks=(ip_network("10.0.0.0/8"),)), Route(order=1)])

    assert table.regardless(b"a") is None
    assert RouteTable([]).regardless(b"a") is None


def test_an_exact_host_beats_a_wildcard_and_a_wildcard_beats_none():
    exact, wildcard, any_host = Route("a.shop.example"), Route("*.shop.example"), Route()
    table = Table([any_host, wildcard, exact])

    assert exact is table.find(b"a.shop.example", b"/")
    assert wildcard is table.find(b"b.shop.example", b"/")
    assert any_host is table.find(b"shop.example", b"/")


def test_the_longer_wildcard_wins_and_covers_any_number_of_labels():
    short, long = Route("*.example"), Route("*.shop.example")
    table = Table([short, long])

    assert long is table.find(b"x.y.shop.example", b"/")
    assert short is table.find(b"x.y.other.example", b"/")
    assert short is table.find(b"shop.example", b"/")


def test_a_wildcard_does_not_cover_its_own_name_nor_an_empty_label():
    table = Table([Route("*.shop.example")])

    assert table.find(b"shop.example", b"/") is None
    assert table.find(b".shop.example", b"/") is None
    assert table.find(b"xshop.example", b"/") is None


def test_the_host_counts_before_the_path():
    by_host, by_path = Route("shop.example", "/"), Route(None, "/very/long/prefix")

    assert by_host is find([by_path, by_host], b"shop.example", b"/very/long/prefix/x")


def test_a_host_whose_paths_do_not_match_does_not_hide_less_specific_routes():
    api, wildcard, rest = Route("shop.example", "/api"), Route("*.example", "/img"), Route(None, "/")
    table = Table([api, wildcard, rest])

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
    table = Table(routes)

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
    table = Table([exact, wildcard])

    assert exact is table.find(b"shop.example.", b"/")
    assert wildcard is table.find(b"a.shop.example.", b"/")


def test_an_ipv6_host_is_compared_in_its_brackets():
    six = Route("[2001:db8::1]")

    assert six is find([six], b"[2001:db8::1]", b"/")


def test_a_hostile_request_costs_no_more_than_the_table_allows():
    """A path or host made of borders must not be walked border by border: the table's own length bounds the walk."""
    table = Table([Route("*.shop.example", "/api/v1"), Route("h", "/api/v1")])
    path, host = b"/" * 65536, b"." * 65536
    start = time.process_time()

    for _ in range(1000):
        table.find(b"h", path)
        table.find(host, b"/")

    assert time.process_time() - start < 0.1


# -- what else a route may ask for ---------------------------------------------------------------------------


def test_an_exact_path_beats_a_prefix_and_takes_nothing_else():
    prefix, exact = Route(None, "/a"), Route(path_exact="/a/b")
    table = Table([prefix, exact])

    assert exact is table.find(b"h", b"/a/b")
    assert [prefix] * 2 == [table.find(b"h", path) for path in (b"/a/b/", b"/a/b/c")]


def test_a_pattern_is_for_the_whole_path_below_its_prefix():
    plain, pattern, longer = Route(None, "/a"), Route(None, "/a", path_pattern="/a/[0-9]+"), Route(None, "/a/7")
    table = Table([plain, pattern, longer])

    assert pattern is table.find(b"h", b"/a/12")
    assert [plain] * 2 == [table.find(b"h", path) for path in (b"/a/12/x", b"/a/x12")]
    assert longer is table.find(b"h", b"/a/7")


@pytest.mark.parametrize(
    ("asks", "yes", "no"),
    [
        ({"methods": ("POST", "PUT")}, ("/", "PUT", {}), ("/", "put", {})),
        ({"headers": (("x-beta", "1"),)}, ("/", "GET", {"x-beta": "1"}), ("/", "GET", {"x-beta": "11"})),
        ({"headers": (("x-beta", "*"),)}, ("/", "GET", {"x-beta": "any"}), ("/", "GET", {})),
        ({"headers": (("x-beta", "~[0-9]+"),)}, ("/", "GET", {"x-beta": "12"}), ("/", "GET", {"x-beta": "12a"})),
        ({"query": (("a", "1"),)}, ("/?b&a=1", "GET", {}), ("/?a=2&a=1", "GET", {})),
        ({"query": (("a b", "é"),)}, ("/?a+b=%C3%A9", "GET", {}), ("/?ab=%C3%A9", "GET", {})),
        ({"query": (("a", "*"),)}, ("/?a", "GET", {}), ("/?b=a", "GET", {})),
        ({"query": (("a", "~x.*"),)}, ("/?a=xy", "GET", {}), ("/?a=yx", "GET", {})),
        ({"headers": (("a", "1"), ("b", "2"))}, ("/", "GET", {"a": "1", "b": "2"}), ("/", "GET", {"a": "1"})),
    ],
)
def test_a_route_is_taken_when_all_is_as_it_asks_and_else_hides_nobody(asks, yes, no):
    asking, rest = Route(**asks), Route()

    assert asking is find([rest, asking], b"h", b"/", kit.head(*yes))
    assert rest is find([rest, asking], b"h", b"/", kit.head(*no))


def test_of_two_that_match_the_one_that_asks_for_more_is_taken():
    """In the order of the table in the module: each of these beats all before it."""
    ladder = [
        Route(),
        Route(order=-1),
        Route(networks=(1,)),
        Route(query=(("a", "*"),)),
        Route(query=(("a", "*"), ("b", "*"))),
        Route(headers=(("a", "*"),)),
        Route(headers=(("a", "*"), ("b", "*"))),
        Route(methods=("GET",)),
        Route(path_pattern=".*"),
        Route(path="/a"),
        Route(path="/a/b"),
        Route(path_exact="/a"),
        Route(host="*.b"),
        Route(host="*.a.b"),
        Route(host="b"),
        Route(host="a.b"),
    ]

    assert ladder == sorted(ladder, key=rank)
    assert len({rank(route) for route in ladder}) == len(ladder)


def test_the_smaller_order_decides_between_equals_and_then_who_stands_first():
    head = kit.head("/", "GET", {"a": "1", "b": "1"})
    by_a, by_b, first = (
        Route(headers=(("a", "*"),)),
        Route(headers=(("b", "*"),)),
        Route(headers=(("b", "1"),), order=-1),
    )

    assert by_a is find([by_a, by_b], b"h", b"/", head)
    assert by_b is find([by_b, by_a], b"h", b"/", head)
    assert first is find([by_a, by_b, first], b"h", b"/", head)


def test_routes_that_ask_who_the_client_is_are_all_returned_up_to_one_that_does_not():
    near, far, rest, hidden = Route("h", networks=(1,)), Route("h", networks=(2,), order=1), Route(), Route("*.x")
    table = RouteTable([hidden, rest, far, near])

    assert (near, far, rest) == table.find(b"h", b"/", GET)
    assert (near, far) == RouteTable([near, far]).find(b"h", b"/", GET)
    assert (rest,) == table.find(b"other", b"/", GET)


def test_the_routes_that_an_address_may_lead_to():
    post, beta, rest, hidden = Route("h", methods=("POST",)), Route("h", headers=(("b", "*"),)), Route("h"), Route()
    pattern = Route("h", path_pattern="/x.*")
    table = RouteTable([post, beta, rest, hidden, pattern])

    assert [post, beta, rest] == table.all_for(b"h", b"/")
    assert [pattern] == table.all_for(b"h", b"/xy")


def test_what_a_request_comes_by_and_why_not():
    post, beta, rest = Route("h", methods=("POST",)), Route("h", headers=(("b", "*"),)), Route("h")
    query, pattern = Route("h", query=(("q", "1"),)), Route("h", path_pattern="/x")
    table = RouteTable([rest, beta, post, query, pattern, Route()])

    assert [
        (pattern, "path_pattern"),
        (post, "methods"),
        (beta, "headers: b"),
        (query, "query: q"),
        (rest, None),
    ] == table.passed(b"h", b"/", GET)


def test_more_parameters_than_anybody_reads_are_not_looked_at():
    asking = Route(query=(("last", "1"),))
    many = "&".join(f"p{at}" for at in range(1000))

    assert asking is find([asking], b"h", b"/", kit.head(f"/?{many[:-5]}&last=1"))
    assert find([asking], b"h", b"/", kit.head(f"/?{many}&last=1")) is None


_segments = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3)
_paths = _segments.map(lambda parts: "/" + "/".join(parts))
_names = st.lists(st.sampled_from(["x", "y", "xy"]), min_size=1, max_size=3).map(".".join)
_hosts = st.one_of(st.none(), _names, _names.map("*.{}".format))


def _by_the_letter(routes, host, path, method):
    """The rule as the module's docstring words it, over every route."""

    def matches(route):
        on_host = (
            route.host is None
            or route.host == host
            or (route.host.startswith("*.") and host.endswith(route.host[1:]) and len(host) >= len(route.host))
        )
        prefix = route.path.rstrip("/")
        on_path = (
            path == prefix or path.startswith(prefix + "/") if route.path_exact is None else path == route.path_exact
        )
        return on_host and on_path and (not route.methods or method in route.methods)

    def specific(route):
        exact = route.host is not None and not route.host.startswith("*.")
        path = route.path.rstrip("/") if route.path_exact is None else route.path_exact
        return exact, len(route.host or ""), route.path_exact is not None, len(path), bool(route.methods)

    return max(filter(matches, routes), key=specific, default=None)


_routes = st.one_of(
    st.builds(Route, _hosts, _paths, st.none(), st.none(), st.sampled_from([(), ("GET",), ("POST",)])),
    st.builds(Route, _hosts, st.just("/"), _paths, st.none(), st.sampled_from([(), ("GET",), ("POST",)])),
)


@given(st.lists(_routes, max_size=8, unique=True), _names, _paths, st.sampled_from(["GET", "POST"]))
def test_the_table_agrees_with_the_rule_by_the_letter(routes, host, path, method):
    head = kit.head(path, method)

    assert _by_the_letter(routes, host, path, method) == find(routes, host.encode(), path.encode(), head)
