"""What an origin is told: nothing of this connection, nothing a client made up, and what we know."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.head import Framing, RequestHead
from edge.message.headers import HOP_BY_HOP
from edge.origin.request import Aim, is_claim, origin_request, own_hops, sent_request_id

ENCODINGS = (b"zstd", b"br", b"gzip")
CONDITIONS = [
    (b"if-none-match", b'"a"'),
    (b"if-match", b'"a"'),
    (b"if-modified-since", b"Mon, 01 Jan 2024 00:00:00 GMT"),
    (b"if-unmodified-since", b"Mon, 01 Jan 2024 00:00:00 GMT"),
    (b"range", b"bytes=0-1"),
    (b"if-range", b'"a"'),
]


def head(*fields, **more):
    known = {"method": b"GET", "scheme": b"https", "authority": b"shop.example", "target": b"/a?b"} | more
    return RequestHead(fields=list(fields), **known)


def told(request_head, **more):
    """The fields an origin gets, as a dict."""
    known = {"peer": b"192.0.2.1", "trusted": False, "request_id": b"id-1"} | more
    return dict(origin_request(request_head, **known).fields)


def test_what_we_know_is_added_and_the_rest_passes():
    fields = told(head((b"accept", b"*/*"), (b"cookie", b"a=1")))

    assert {
        b"accept": b"*/*",
        b"cookie": b"a=1",
        b"x-forwarded-for": b"192.0.2.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"shop.example",
        b"via": b"1.1 edge",
        b"x-request-id": b"id-1",
    } == fields


def test_method_target_and_authority_stay_as_asked():
    request = origin_request(head(method=b"PATCH"), peer=b"", trusted=False, request_id=b"1")

    assert (b"PATCH", b"/a?b", b"shop.example") == (request.method, request.target, request.authority)


def test_lines_of_one_name_stay_lines():
    request = origin_request(head((b"cookie", b"a"), (b"cookie", b"b")), peer=b"", trusted=False, request_id=b"1")

    assert [(b"cookie", b"a"), (b"cookie", b"b")] == request.fields[:2]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {b"connection", b"te"}))
def test_nothing_of_this_connection_travels_on(name):
    assert name not in told(head((name, b"x")))


def test_what_connection_names_stays_here():
    fields = told(head((b"connection", b"close, X-Mine"), (b"x-mine", b"1"), (b"x-other", b"1")))

    assert b"x-mine" not in fields
    assert b"connection" not in fields
    assert b"x-other" in fields


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-request-id", b"via"])
def test_connection_cannot_take_away_what_we_add(name):
    """A client must not make an origin believe that nobody stands before it."""
    assert name in told(head((b"connection", name)))


CLAIMS = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-anything",
    b"forwarded",
    b"x-real-ip",
    b"x-client-ip",
    b"true-client-ip",
    b"x-host",
    b"x-original-url",
    b"front-end-https",
    b"x-original-forwarded-for",
    b"x-http-method-override",
    b"x-request-id",
]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_clients_word_about_itself_is_dropped(name):
    fields = told(head((name, b"lie")))

    assert b"lie" not in fields.values()


@pytest.mark.parametrize(("name", "trusted"), list(itertools.product(CLAIMS, [True, False])))
def test_underscores_do_not_smuggle_a_claim(name, trusted):
    """CGI and WSGI fold - and _ into one: X_Forwarded_For would be X-Forwarded-For."""
    disguised = name.replace(b"-", b"_", 1) if b"-" in name else name + b"_"
    expected = b"-" not in name

    assert expected == (disguised in told(head((disguised, b"lie")), trusted=trusted))


def test_an_underscore_alone_is_no_crime():
    assert b"1" == told(head((b"my_field", b"1")))[b"my_field"]
    assert is_claim(b"content_length")
    assert is_claim(b"transfer_encoding")
    assert not is_claim(b"my_field")


def test_a_trusted_proxys_word_stands_and_is_continued():
    fields = told(
        head(
            (b"x-forwarded-for", b"203.0.113.9"),
            (b"x-forwarded-proto", b"HTTP"),
            (b"x-forwarded-host", b"www.example"),
            (b"x-forwarded-port", b"8443"),
            (b"x-real-ip", b"203.0.113.9"),
            (b"forwarded", b"for=203.0.113.9;proto=http"),
            (b"via", b"1.1 lb"),
        ),
        trusted=True,
    )

    assert b"203.0.113.9, 192.0.2.1" == fields[b"x-forwarded-for"]
    assert b"http" == fields[b"x-forwarded-proto"]
    assert b"www.example" == fields[b"x-forwarded-host"]
    assert b"8443" == fields[b"x-forwarded-port"]
    assert b"203.0.113.9" == fields[b"x-real-ip"]
    assert b"for=203.0.113.9;proto=http, for=192.0.2.1" == fields[b"forwarded"]
    assert b"1.1 lb, 1.1 edge" == fields[b"via"]


def test_a_trusted_proxy_that_says_nothing_is_the_client():
    fields = told(head((b"x-forwarded-proto", b"gopher")), trusted=True)

    assert (b"192.0.2.1", b"https") == (fields[b"x-forwarded-for"], fields[b"x-forwarded-proto"])


def test_ipv6_is_written_as_each_field_wants_it():
    fields = told(head((b"forwarded", b"for=_a")), trusted=True, peer=b"2001:db8::1")

    assert b"2001:db8::1" == fields[b"x-forwarded-for"]
    assert b'for=_a, for="[2001:db8::1]"' == fields[b"forwarded"]


def test_an_empty_host_is_not_claimed():
    """HTTP/1.0 may name none."""
    assert b"x-forwarded-host" not in told(head(authority=b"", version=10))


def test_a_peer_without_address_is_unknown():
    assert b"unknown" == told(head(), peer=b"")[b"x-forwarded-for"]


@pytest.mark.parametrize(("version", "via"), [(10, b"1.0 edge"), (11, b"1.1 edge"), (20, b"2.0 edge")])
def test_via_says_how_the_request_reached_us(version, via):
    assert via == told(head(version=version))[b"via"]


def test_the_via_of_those_before_us_is_kept_even_from_strangers():
    """It is how loops are found; nobody gains by it."""
    assert b"1.0 fred, 1.1 edge" == told(head((b"via", b"1.0 fred")))[b"via"]


def test_a_cgi_origin_is_not_given_a_proxy():
    """CVE-2016-5385: Proxy becomes HTTP_PROXY."""
    assert b"proxy" not in told(head((b"proxy", b"http://evil")))


def test_identity_is_asked_for_when_we_compress_ourselves():
    """Without Accept-Encoding an origin may send any coding; so it is said."""
    assert b"identity" == told(head((b"accept-encoding", b"br")), identity=True)[b"accept-encoding"]
    assert b"identity" == told(head(), identity=True)[b"accept-encoding"]
    assert b"br" == told(head((b"accept-encoding", b"br")))[b"accept-encoding"]


def test_trailers_are_welcome_if_the_client_welcomes_them():
    fields = told(head((b"te", b"trailers, deflate;q=0.5"), (b"connection", b"TE")))

    assert (b"trailers", b"te") == (fields[b"te"], fields[b"connection"])
    assert b"te" not in told(head((b"te", b"deflate")))


def test_a_passed_request_keeps_its_conditions_and_ranges():
    fields = told(head(*CONDITIONS))

    assert all(name in fields for name, _ in CONDITIONS)


@pytest.mark.parametrize("aim", [Aim.WHOLE, Aim.REFRESH])
def test_what_is_to_be_stored_is_asked_for_whole(aim):
    fields = told(head(*CONDITIONS), aim=aim)

    assert not {name for name, _ in CONDITIONS} & set(fields)


def test_a_refresh_asks_with_the_copys_validators():
    fields = told(head(*CONDITIONS), aim=Aim.REFRESH, etag=b'W/"c"', last_modified=b"yesterday")

    assert (b'W/"c"', b"yesterday") == (fields[b"if-none-match"], fields[b"if-modified-since"])
    assert b"range" not in fields


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b'W/"abc-br"', b'"abc"'),
        (b'"x", W/"abc-gzip", W/"abc-br"', b'"x", "abc", "abc"'),
        (b'W/"abc-deflate"', b'W/"abc-deflate"'),
        (b"*", b"*"),
        (b"not a list", b"not a list"),
    ],
)
def test_tags_of_our_variants_become_the_origins_again(sent, expected):
    fields = told(head((b"if-none-match", sent), (b"if-match", sent), (b"accept", b"*/*")), encodings=ENCODINGS)

    assert (expected, expected, b"*/*") == (fields[b"if-none-match"], fields[b"if-match"], fields[b"accept"])


def test_a_part_of_our_variant_is_not_a_part_of_the_origins_bytes():
    fields = told(head((b"range", b"bytes=5-"), (b"if-range", b'W/"abc-br"')), encodings=ENCODINGS)

    assert not {b"range", b"if-range"} & set(fields)


def test_a_part_of_the_origins_own_bytes_is_asked_for():
    fields = told(head((b"range", b"bytes=5-"), (b"if-range", b'"abc"')), encodings=ENCODINGS)

    assert (b"bytes=5-", b'"abc"') == (fields[b"range"], fields[b"if-range"])


def make(**more):
    aim = more.pop("aim", Aim.PASS)
    method = more.pop("asked", None)
    return origin_request(head(**more), peer=b"", trusted=False, request_id=b"1", aim=aim, method=method)


def test_a_body_is_announced_as_it_came():
    request = make(framing=Framing.LENGTH, length=5, expect_continue=True)

    assert (Framing.LENGTH, 5, True) == (request.framing, request.length, request.expect_continue)
    assert Framing.CHUNKED is make(framing=Framing.CHUNKED).framing


@pytest.mark.parametrize("aim", [Aim.WHOLE, Aim.REFRESH])
def test_nothing_is_stored_for_a_request_with_a_body_so_none_is_sent(aim):
    request = make(framing=Framing.LENGTH, length=5, expect_continue=True, upgrade=b"websocket", aim=aim)

    assert (Framing.NONE, 0, False, None) == (
        request.framing,
        request.length,
        request.expect_continue,
        request.upgrade,
    )


def test_an_expectation_is_told_to_who_carries_the_body_not_to_the_origin():
    """Whoever says it to the origin must also pass the 100 on: one place does both."""
    waiting = head((b"expect", b"100-continue"), framing=Framing.LENGTH, length=5, expect_continue=True)

    assert origin_request(waiting, peer=b"", trusted=False, request_id=b"1").expect_continue
    assert b"expect" not in told(waiting)


def test_an_upgrade_is_asked_for_by_the_connection_not_by_a_field():
    request = make(upgrade=b"websocket")

    assert b"websocket" == request.upgrade
    assert b"upgrade" not in dict(request.fields)


def test_a_head_may_be_asked_for_as_get():
    assert b"GET" == make(method=b"HEAD", asked=b"GET").method


@pytest.mark.parametrize(
    ("sent", "trusted", "expected"),
    [
        (b"abc-1", True, b"abc-1"),
        (b"abc-1", False, None),
        (b"has space", True, None),
        (b"x" * 129, True, None),
        (None, True, None),
    ],
)
def test_a_request_id_is_taken_over_from_a_trusted_proxy_only(sent, trusted, expected):
    fields = [(b"x-request-id", sent)] if sent is not None else []

    assert expected == sent_request_id(head(*fields), trusted=trusted)


@pytest.mark.parametrize(
    ("via", "expected"),
    [(None, 0), (b"1.1 lb", 0), (b"1.1 edge", 1), (b"1.1 edge, 1.0 x, 1.1 edge (old)", 2), (b"1.1 edgeless", 0)],
)
def test_own_hops_are_counted(via, expected):
    assert expected == own_hops(head(*([(b"via", via)] if via is not None else [])))


NAMES = st.sampled_from([*CLAIMS, b"x_real_ip", b"host", b"content-length", b"transfer-encoding", b"accept", b"x-a"])


@given(st.lists(st.tuples(NAMES, st.just(b"lie")), max_size=8), st.sampled_from(Aim))
def test_a_stranger_never_speaks_through_our_fields(fields, aim):
    """Whatever is sent in whatever order, only end-to-end fields that claim nothing carry the client's value."""
    request = origin_request(head(*fields), peer=b"192.0.2.1", trusted=False, request_id=b"1", aim=aim)
    lies = {name for name, value in request.fields if value == b"lie"}

    assert {b"accept", b"x-a"} >= lies
