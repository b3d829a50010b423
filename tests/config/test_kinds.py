"""What may stand in a file, and what the tree then holds."""

import ipaddress
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import kinds
from edge.config.schema import Unfit, toml

BASE = Path("/etc/edge")


def refused(kind, value):
    with pytest.raises(Unfit) as caught:
        kind.read(value, BASE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (4096, 4096),
        (0, 0),
        ("512", 512),
        ("512 B", 512),
        ("64 MiB", 64 << 20),
        ("64MiB", 64 << 20),
        (" 64 mib ", 64 << 20),
        ("1.5 KiB", 1536),
        ("0.0001 KiB", 0),
        ("1 GiB", 1 << 30),
        ("2 TiB", 2 << 40),
    ],
)
def test_a_size_is_a_number_of_bytes(text, expected):
    assert expected == kinds.Size().read(text, BASE)


@pytest.mark.parametrize("value", ["", "MiB", "64 XiB", "-1 KiB", "1,5 KiB", "1e3", "64 MiB 1 KiB", 1.5, True, [], -1])
def test_what_is_no_size_is_refused_with_an_example(value):
    assert "'64 MiB'" in refused(kinds.Size(), value)


@pytest.mark.parametrize(("value", "meant"), [("64 MB", "64 MiB"), ("64M", "64 MiB"), ("1.5kb", "1.5 KiB")])
def test_a_size_in_tens_is_refused_and_says_what_is_meant(value, meant):
    """Silently reading MB as either would be wrong by 5 % for half of all readers."""
    assert refused(kinds.Size(), value).endswith(f"expected '{meant}'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (30, 30.0),
        (0.5, 0.5),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("5m", 300.0),
        ("1h 30m", 5400.0),
        ("1h30m", 5400.0),
        ("1.5 s", 1.5),
        ("2d", 172800.0),
        ("0", 0.0),
    ],
)
def test_a_time_is_a_number_of_seconds(text, expected):
    assert expected == kinds.Time().read(text, BASE)


@pytest.mark.parametrize(
    "value", ["", "30", "s", "30 S", "-3s", "1e3s", "3w", "1s x", True, -1, float("nan"), float("inf"), []]
)
def test_what_is_no_time_is_refused_with_an_example(value):
    assert "30s" in refused(kinds.Time(), value)


@given(st.integers(0, 1 << 50))
def test_a_size_is_shown_as_it_may_be_written(count):
    assert count == kinds.Size().read(kinds.size_words(count), BASE)


@given(st.integers(0, 10**10))
def test_a_time_is_shown_as_it_may_be_written(millis):
    assert kinds.Time().read(kinds.time_words(millis / 1000), BASE) == pytest.approx(millis / 1000)


def test_workers_are_counted_or_auto():
    assert kinds.Workers().read("auto", BASE) == "auto"
    assert kinds.Workers().read(3, BASE) == 3
    assert 'expected "auto" or a number' in refused(kinds.Workers(), "3")
    assert 'expected "auto" or a number' in refused(kinds.Workers(), True)


def test_a_number_is_not_a_truth_value_and_the_other_way_round():
    assert "expected a whole number" in refused(kinds.Integer(), True)
    assert "expected true or false" in refused(kinds.Boolean(), 1)
    assert "expected a whole number" in refused(kinds.Integer(), 1.0)


def test_paths_are_absolute_in_the_tree():
    assert Path("/etc/edge/certs/x.pem") == kinds.FilePath().read("certs/x.pem", BASE)
    assert Path("/var/x") == kinds.FilePath().read("/var/x", BASE)
    assert kinds.FilePath("off").read("off", BASE) == "off"
    assert "expected a path" in refused(kinds.FilePath(), "")
    assert "expected a path" in refused(kinds.FilePath(), "a\0b")
    assert 'expected "off" | a path' in refused(kinds.FilePath("off"), 3)


def test_a_relative_unix_socket_is_relative_to_the_file_like_any_path():
    assert kinds.ListenAddress().read("unix:run/x.sock", BASE) == "unix:/etc/edge/run/x.sock"
    assert kinds.TargetUrl().read("unix:run/x.sock", BASE) == "unix:/etc/edge/run/x.sock"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("shop.example", "shop.example"),
        ("Shop.Example.", "shop.example"),
        ("*.shop.example", "*.shop.example"),
        ("[2001:DB8::0:1]", "[2001:db8::1]"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_a_routes_host_is_compared_as_clients_send_it(value, expected):
    assert expected == kinds.HostPattern().read(value, BASE)


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ("https://shop.example", "no scheme"),
        ("shop.example:443", "no port"),
        ("*", "whole labels at the front"),
        ("*shop.example", "whole labels at the front"),
        ("shop.*", "whole labels at the front"),
        ("a.*.example", "whole labels at the front"),
        ("shop example", "not a host name"),
        ("bücher.example", "'xn--bcher-kva.example'"),
        ("ü" * 80, "ASCII form"),
        ("[::x]", "not an IPv6 address"),
        ("", "empty"),
        (3, "a number"),
    ],
)
def test_what_no_client_could_ask_for_is_refused(value, because):
    assert because in refused(kinds.HostPattern(), value)


@pytest.mark.parametrize(
    ("value", "expected"), [("/", "/"), ("//", "/"), ("/api", "/api"), ("/api/", "/api"), ("/%C3%A4", "/%C3%A4")]
)
def test_a_routes_path_ends_in_no_slash(value, expected):
    assert expected == kinds.PathPrefix().read(value, BASE)


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ("api", "begin with a slash"),
        ("/api?x", "path alone"),
        ("/api#x", "path alone"),
        ("/api/*", "already a prefix"),
        ("/ä", "percent-encoded"),
        ("/a b", "percent-encoded"),
    ],
)
def test_a_path_that_could_not_match_as_meant_is_refused(value, because):
    assert because in refused(kinds.PathPrefix(), value)


@pytest.mark.parametrize(
    ("value", "expected"), [("/", "/"), ("/robots.txt", "/robots.txt"), ("/a/", "/a/"), ("/%61%c3%a4", "/a%C3%A4")]
)
def test_an_exact_path_is_spelled_as_requests_are_compared(value, expected):
    assert expected == kinds.ExactPath().read(value, BASE)


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ("robots.txt", "begin with a slash"),
        ("/a?x", "path alone"),
        ("/ä", "percent-encoded"),
        ("/a/../b", "can be read as '/b' too"),
        ("/a%2Fb", "can be read as '/a/b' too"),
        ("/a//b", "can be read as '/a/b' too"),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(value, because):
    assert because in refused(kinds.ExactPath(), value)
    if "begin" not in because:
        assert because in refused(kinds.PathPrefix(), value)


def test_an_expression_is_one():
    assert "/a(b|c)" == kinds.Expression().read("/a(b|c)", BASE)
    assert "no regular expression: missing )" in refused(kinds.Expression(), "(a")
    assert "no regular expression" in refused(kinds.Expression(), "(?=a)")


def test_a_methods_case_counts():
    assert ["GET", "PURGE", "x-own"] == [kinds.MethodName().read(value, BASE) for value in ("GET", "PURGE", "x-own")]
    assert "expected 'GET'" in refused(kinds.MethodName(), "get")
    assert "not a method" in refused(kinds.MethodName(), "GET /")


def test_conditions_are_pairs_by_name():
    kind = kinds.Conditions(kinds.FieldName())

    assert (("a", "~[0-9]+"), ("x-beta", "")) == kind.read({"X-Beta": "", "a": "~[0-9]+"}, BASE)
    assert '{ "a" = "*" }' == kind.show((("a", "*"),))
    assert "{}" == kind.show(())
    assert "expected a table" in refused(kind, ["a"])
    assert "expected text" in refused(kind, {"a": 1})
    assert "named twice" in refused(kind, {"a": "1", "A": "2"})
    assert "no regular expression" in refused(kind, {"a": "~("})
    assert "control sign" in refused(kind, {"a": "b\n"})
    assert "not a header name" in refused(kind, {"a b": "1"})


def test_what_clients_are_split_by():
    kind = kinds.SplitKey()

    assert ["address", "cookie:Id", "header:x-user"] == [
        kind.read(value, BASE) for value in ("address", "cookie:Id", "header:X-User")
    ]
    for wrong in ("cookie", "cookie:", "header:a b", "ip"):
        assert "told apart by" in refused(kind, wrong)


def test_a_network_has_nothing_behind_its_prefix():
    assert ipaddress.ip_network("10.0.0.0/8") == kinds.Network().read("10.0.0.0/8", BASE)
    assert ipaddress.ip_network("10.0.0.1/32") == kinds.Network().read("10.0.0.1", BASE)
    assert "expected '10.0.0.0/8'" in refused(kinds.Network(), "10.0.0.1/8")
    assert "not an address or network" in refused(kinds.Network(), "ten")


@pytest.mark.parametrize("value", ["text/*", "*/*", "application/*+json", "application/json", "IMAGE/svg+xml"])
def test_a_media_type_may_be_a_range(value):
    assert value.lower() == kinds.MediaRange().read(value, BASE)


@pytest.mark.parametrize("value", ["json", "text/", "/x", "text/html; charset=utf-8", "*/html", "t*/x"])
def test_what_is_no_media_type_is_refused(value):
    assert "not a media type" in refused(kinds.MediaRange(), value)


def test_a_word_nearly_right_is_answered_with_the_right_one():
    choice = kinds.Choice("round_robin", "ip_hash")

    assert choice.read("ip_hash", BASE) == "ip_hash"
    assert refused(choice, "round-robin") == (
        "'round-robin' is not known here; expected 'round_robin' or 'ip_hash'; did you mean 'round_robin'?"
    )
    assert refused(kinds.Choice("https"), "http") == "'http' is not known here; expected 'https'"


@pytest.mark.parametrize("value", [1, 1.5, True, "x", [], {}, __import__("datetime").date(2020, 1, 1)])
def test_text_is_text_and_anything_else_is_named_for_what_it_is(value):
    if value == "x":
        assert kinds.Text().read(value, BASE) == "x"
    else:
        assert refused(kinds.Text(), value).startswith("this is ")


def test_text_is_neither_empty_nor_cut_by_a_nul():
    assert "empty" in refused(kinds.Text(), "")
    assert "NUL" in refused(kinds.Text(), "a\0b")


@given(st.recursive(st.one_of(st.booleans(), st.integers(), st.text()), lambda inner: st.lists(inner, max_size=3)))
def test_a_value_written_as_toml_reads_back(value):
    assert value == tomllib.loads(f"v = {toml(value)}")["v"]


def test_a_field_name_is_lower_case():
    assert "x-country" == kinds.FieldName().read("X-Country", BASE)
    assert "'x country' is not a header name" in refused(kinds.FieldName(), "x country")


@pytest.mark.parametrize("patterns", [False, True])
def test_a_cookies_name_may_end_in_a_star_where_patterns_are_meant(patterns):
    kind = kinds.CookieName(patterns=patterns)

    assert "Lang" == kind.read("Lang", BASE)
    for wrong in ("a b", "a=b", "a*b", *([] if patterns else ["wp_*"])):
        assert "is not a cookie's name" in refused(kind, wrong)
    if patterns:
        assert "wp_*" == kind.read("wp_*", BASE)


def test_a_parameters_name_may_end_in_a_star():
    assert ["utm_*", "a[]", "page"] == [kinds.ParameterName().read(name, BASE) for name in ("utm_*", "a[]", "page")]
    for wrong in ("a=1", "a&b", "*a", "?a"):
        assert "is not a parameter's name" in refused(kinds.ParameterName(), wrong)


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ([], "this is a list; expected a table of times by status"),
        ({"4xx": "1s"}, "'4xx' is not a status; expected 200 to 599"),
        ({"100": "1s"}, "'100' is not a status"),
        ({"206": "1s"}, "a reply with 206 is an answer to one request alone"),
        ({"404": "soon"}, "404: 'soon' is not a time"),
        ({"404": "400d"}, "404: 400d is too much; expected at most 365d"),
    ],
)
def test_times_by_status_are_refused(value, because):
    assert because in refused(kinds.StatusTimes(never=frozenset({206})), value)


def test_times_by_status_are_sorted_and_shown_as_a_table():
    kind = kinds.StatusTimes()
    value = kind.read({"503": "1s", "404": 10}, BASE)

    assert ((404, 10.0), (503, 1.0)) == value
    assert '{ 404 = "10s", 503 = "1s" }' == kind.show(value)
    assert "{}" == kind.show(())
    assert value == kind.read(tomllib.loads(f"x = {kind.show(value)}")["x"], BASE)


@pytest.mark.parametrize(
    ("value", "expected"), [("20%", 0.2), ("0%", 0.0), (" 12.5 % ", 0.125), (1, 1.0), (0.25, 0.25)]
)
def test_a_share_is_a_part_of_a_whole(value, expected):
    assert expected == kinds.Share().read(value, BASE)


@pytest.mark.parametrize("value", ["20", "%", "-1%", "101%", 1.5, -0.1, True, [], "20 %%"])
def test_what_is_no_share_is_refused(value):
    assert "%" in refused(kinds.Share(), value) or "share" in refused(kinds.Share(), value)


@given(st.integers(0, 1000))
def test_a_share_is_shown_as_it_is_read(permille):
    share = kinds.Share()

    assert permille / 1000 == pytest.approx(share.read(tomllib.loads(f"x = {share.show(permille / 1000)}")["x"], BASE))


def test_a_factor_is_a_number():
    assert 1.25 == kinds.Factor().read(1.25, BASE)
    assert 2.0 == kinds.Factor().read(2, BASE)
    assert "1.25" == kinds.Factor().show(1.25)
    for value in ("1.25", True, None):
        assert "a number such as 1.25" in refused(kinds.Factor(), value)


@pytest.mark.parametrize(
    ("value", "expected"), [(200, (200, 200)), ("204", (204, 204)), ("200-299", (200, 299)), ("2xx", (200, 299))]
)
def test_statuses_are_one_or_some(value, expected):
    kind = kinds.StatusRange()

    assert expected == kind.read(value, BASE)
    assert expected == kind.read(tomllib.loads(f"x = {kind.show(expected)}")["x"], BASE)


@pytest.mark.parametrize("value", [99, 600, "299-200", "6xx", "2x", "", True, [], 200.0])
def test_what_is_no_status_is_refused(value):
    assert "expected" in refused(kinds.StatusRange(), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("target", "target"),
        ("path", "path"),
        ("client", "client"),
        ("header:X-User", "header:x-user"),
        ("cookie:sid", "cookie:sid"),
        ("query:page", "query:page"),
    ],
)
def test_a_hash_key_names_what_is_hashed(value, expected):
    assert expected == kinds.HashKey().read(value, BASE)


@pytest.mark.parametrize("value", ["uri", "header:", "header:a b", "cookie:a;b", "query:a&b", "query:", "path:x", ":x"])
def test_what_cannot_be_hashed_is_refused(value):
    assert "is nothing to hash" in refused(kinds.HashKey(), value)


@pytest.mark.parametrize("value", ["/healthz", "/a?b=c", "/%20"])
def test_a_request_target_is_a_path_with_or_without_a_query(value):
    assert value == kinds.RequestTarget().read(value, BASE)


@pytest.mark.parametrize("value", ["healthz", "/a b", "/a#b", "/ä", "/a\r\nx: y"])
def test_what_cannot_be_asked_for_is_refused(value):
    assert "expected" in refused(kinds.RequestTarget(), value)


@pytest.mark.parametrize("value", ["shop.example", "Shop.example:8080", "127.0.0.1", "[::1]", "[::1]:80"])
def test_a_host_header_is_a_host_and_perhaps_a_port(value):
    assert value == kinds.HostHeader().read(value, BASE)


@pytest.mark.parametrize("value", ["shop example", "a:b", "a\r\nx: y", "http://a", "a/b"])
def test_what_is_no_host_header_is_refused(value):
    assert "is not a host" in refused(kinds.HostHeader(), value)
