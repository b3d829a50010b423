"""What operators are told, by any worker for the whole node."""

from __future__ import annotations

import json

import pytest

from edge.config.tree import Route, RouteCache
from edge.exchange.admin import Admin
from edge.exchange.decision import Fetch, Serve
from edge.message.head import Framing
from edge.observe import names
from edge.observe.metrics import Gauge
from edge.policy.operators import Operators, read_tokens
from edge.share.counters import Counters
from edge.share.scoreboard import Scoreboard
from tests.cache import kit
from tests.exchange.kit import NOW, Desk, door


class Office:
    """An admin of two workers, and what it goes by."""

    def __init__(self):
        self.counters = Counters(names.NAMES, 2, names.GAUGES)
        self.scoreboard = Scoreboard(2)
        self.is_leaving = False
        self.admin = Admin(
            self.counters,
            self.scoreboard,
            names.assign_origins(["shop"]),
            lambda: [Gauge("edge_answer", "What it is.", 42)],
            lambda: self.is_leaving,
        )

    def ask(self, target, method="GET", fields={}):
        return self.admin(kit.head(target, method, fields), NOW)


@pytest.fixture
def office():
    return Office()


def test_metrics_are_the_whole_nodes(office):
    office.counters.slot(0)[names.SESSIONS] = 3
    office.counters.slot(1)[names.SESSIONS] = 4
    office.scoreboard.row(1).ready = True
    answer = office.ask("/metrics")
    lines = answer.body.decode().splitlines()

    assert 200 == answer.head.status
    assert "edge_workers_ready 1.0" in lines
    assert "edge_answer 42.0" in lines
    assert any(line.startswith("edge_sessions_total") and line.endswith(" 7.0") for line in lines)
    assert any('origin="shop"' in line for line in lines)


@pytest.mark.parametrize(
    ("tokens", "peer", "host", "fields", "status"),
    [
        ("", "127.0.0.1", "localhost", {}, 200),
        ("", "192.0.2.7", "127.0.0.1", {}, 403),
        ("", "127.0.0.1", "evil.example", {}, 403),
        ("a-token-of-ours-01", "192.0.2.7", "edge.internal", {}, 401),
        ("a-token-of-ours-01", "192.0.2.7", "edge.internal", {"Authorization": "Bearer a-token-of-ours-01"}, 200),
        ("a-token-of-ours-01", "127.0.0.1", "localhost", {"Authorization": "Bearer another-token-01"}, 401),
    ],
)
@pytest.mark.parametrize("target", ["/metrics", "/purge?all=1", "/cache", "/explain?url=x", "/", "/nothing"])
def test_nothing_is_told_or_done_before_it_is_known_who_asks(office, tokens, peer, host, fields, status, target):
    """Whatever is asked for, also where nothing is."""
    office.admin._operators = Operators(read_tokens(tokens) if tokens else ())
    head = kit.head(target, "GET", fields)
    head.authority = host.encode()
    answer = office.admin(head, NOW, peer)

    if status != 200:
        assert status == answer.head.status
        assert "http_request_denied" == answer.word
        assert (status == 401) == (answer.head.get(b"www-authenticate") is not None)
    else:
        assert answer.head.status not in {401, 403}


def test_metrics_come_in_the_form_that_is_asked_for(office):
    plain = office.ask("/metrics").head.get(b"content-type")
    newer = office.ask("/metrics", fields={"accept": "application/openmetrics-text"}).head.get(b"content-type")

    assert (True, True) == (plain.startswith(b"text/plain"), newer.startswith(b"application/openmetrics-text"))


def test_who_answers_is_healthy(office):
    assert (200, b"ok\n") == ((answer := office.ask("/healthz")).head.status, answer.body)


@pytest.mark.parametrize(
    ("ready", "leaving", "status"), [(True, False, 200), (True, True, 503), (False, False, 503), (False, True, 503)]
)
def test_ready_is_who_takes_connections_and_stays(office, ready, leaving, status):
    office.scoreboard.row(0).ready = ready
    office.is_leaving = leaving

    assert status == office.ask("/readyz").head.status


def test_the_front_page_says_what_there_is(office):
    assert [b"/metrics", b"/healthz", b"/readyz"] == office.ask("/").body.split()


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/", "/nothing"])
def test_a_head_gets_the_same_head_and_no_body(office, path):
    whole, head = office.ask(path), office.ask(path, "HEAD")

    assert (b"", Framing.NONE) == (head.body, head.head.framing)
    assert (whole.head.status, len(whole.body)) == (head.head.status, head.head.length)


def test_a_query_changes_nothing(office):
    assert 200 == office.ask("/healthz?now").head.status


def test_elsewhere_is_nothing(office):
    assert 404 == office.ask("/etc/passwd").head.status


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_operators_can_only_look(office, method):
    answer = office.ask("/metrics", method)

    assert (405, b"GET, HEAD", "http_request_denied") == (
        answer.head.status,
        answer.head.get(b"allow"),
        answer.word,
    )


def test_nothing_an_operator_is_told_is_kept_by_anyone(office):
    assert {b"no-store"} == {office.ask(path).head.get(b"cache-control") for path in ("/metrics", "/healthz", "/x")}


def test_the_operators_door_leads_to_the_admin_and_no_other_does(office, folder):
    desk = Desk(None)
    desk.rooms._admin = office.admin
    known = desk.rooms.recognise(kit.head("/healthz"), door(is_admin=True))
    other = desk.rooms.recognise(kit.head("/healthz"), door())

    assert b"ok\n" == desk.rooms.decide(known).body
    assert other.answer is None


@pytest.fixture
def steered(office, desk):
    office.admin._rooms = desk.rooms
    office.desk = desk
    return office


def test_an_operator_purges_with_a_post(steered):
    steered.desk.keep()
    answer = steered.ask("/purge?url=https://shop.example/x", "POST")

    assert (200, b"application/json") == (answer.head.status, answer.head.get(b"content-type"))
    assert {"purged": [{"url": "https://shop.example/x", "copies": 1}], "soft": False} == json.loads(answer.body)
    assert isinstance(steered.desk.decide(), Fetch)


def test_nothing_is_purged_by_looking(steered):
    """A crawler, or a link in a chat, only ever looks."""
    steered.desk.keep()

    assert (405, b"POST") == ((answer := steered.ask("/purge?all")).head.status, answer.head.get(b"allow"))
    assert isinstance(steered.desk.decide(), Serve)


@pytest.mark.parametrize("fields", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_page_in_an_operators_browser_orders_nothing(steered, fields):
    steered.desk.keep()

    assert (403, "http_request_denied") == (
        (answer := steered.ask("/purge?all", "POST", fields)).head.status,
        answer.word,
    )
    assert isinstance(steered.desk.decide(), Serve)


def test_what_is_not_understood_is_answered_with_what_was_expected(steered):
    answer = steered.ask("/purge?al=1", "POST")

    assert (400, "'al' is not known here; expected url, host, prefix, tag, all, or soft") == (
        answer.head.status,
        json.loads(answer.body)["error"],
    )


def test_an_admin_without_rooms_steers_nothing(office):
    assert (405, 404) == (office.ask("/purge?all", "POST").head.status, office.ask("/purge").head.status)


def test_the_front_page_names_what_may_be_ordered(steered):
    assert b"/purge" in steered.ask("/").body.split()


@pytest.mark.parametrize(
    ("target", "key", "value"),
    [
        ("/cache", "copies", 1),
        ("/cache/ls", "next", None),
        ("/cache/show?url=https://shop.example/x", "url", "https://shop.example/x"),
        ("/explain?url=https://shop.example/x", "outcome", "hit; ttl=60"),
    ],
)
def test_operators_are_told_of_the_cache(steered, target, key, value):
    steered.desk.keep()
    answer = steered.ask(target)

    assert (200, b"application/json", b"no-store") == (
        answer.head.status,
        answer.head.get(b"content-type"),
        answer.head.get(b"cache-control"),
    )
    assert value == json.loads(answer.body)[key]


def test_requests_are_told_by_what_the_cache_did(steered):
    steered.counters.slot(1)[names.REQUESTS["hit"]] = 5

    assert 5 == json.loads(steered.ask("/cache").body)["requests"]["hit"]


@pytest.mark.parametrize("target", ["/cache", "/cache/ls", "/cache/show", "/explain"])
def test_the_cache_is_only_looked_at_there(steered, target):
    assert (405, b"GET, HEAD") == ((answer := steered.ask(target, "POST")).head.status, answer.head.get(b"allow"))


@pytest.mark.parametrize("target", ["/cache/ls?x=1", "/cache/show", "/cache/show?url=x", "/explain", "/explain?url=x"])
def test_a_question_that_is_not_understood_is_400(steered, target):
    assert 400 == (answer := steered.ask(target)).head.status
    assert "expected" in json.loads(answer.body)["error"] or "no url" in json.loads(answer.body)["error"]


def test_without_a_cache_there_is_nothing_to_tell(office, bare):
    office.admin._rooms = bare.rooms

    assert [409, 409, 200] == [
        office.ask(target).head.status for target in ("/cache", "/cache/ls", "/explain?url=https://shop.example/x")
    ]


def test_a_purge_finds_what_a_routes_rules_have_stored(office, folder):
    """The key leaves the query out, and so must whoever names the address."""
    desk = Desk(folder, routes=(Route("shop.example", "/", "shop", RouteCache(query="none")),))
    office.admin._rooms = desk.rooms
    kept = desk.rooms.recognise(kit.head("/x?a"), door()).ask
    desk.keep(asked=kept)
    told = json.loads(office.ask("/cache/show?url=https://shop.example/x%3Fb").body)
    purged = json.loads(office.ask("/purge?url=https://shop.example/x%3Fc", "POST").body)
    desk.close()

    assert (1, 1) == (len(told["copies"]), purged["purged"][0]["copies"])
