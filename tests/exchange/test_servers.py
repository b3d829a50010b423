"""What an operator hears about servers, and what he orders; any worker answers, and all obey."""

import json

import pytest

from edge.config.tree import Origin, OriginServer
from edge.exchange.admin import Admin
from edge.exchange.purging import Misread
from edge.exchange.servers import ORDERS, Servers
from edge.message.head import RequestHead
from edge.observe.names import GAUGES, NAMES
from edge.origin.balance import ASKED, OPEN
from edge.origin.health import Checked, Health, Order
from edge.origin.members import Member, Members
from edge.share.counters import Counters
from edge.share.fleet import Fleet
from edge.share.scoreboard import Scoreboard

MEMBERS = Members.of(
    [
        Member("http://10.0.0.1:80", "http", "10.0.0.1", 80),
        Member("http://10.0.0.2:80", "http", "10.0.0.2", 80, weight=2, is_backup=True),
    ]
)


class Clock:
    now = 1000.0

    def mono(self):
        return self.now

    wall = mono


@pytest.fixture
def fleet():
    return Fleet(2)


@pytest.fixture
def servers(fleet):
    shop = Origin("shop", (OriginServer("http://10.0.0.1:80"),), slow_start_s=10.0)
    return Servers(fleet, {"shop": shop}, lambda _name: MEMBERS, Clock())


def health_of(fleet, at):
    return Health(fleet, fleet.row(MEMBERS.servers[at].row_name("shop")))


def told(servers):
    (origin,) = servers.told()["origins"]
    return origin["servers"]


def test_everything_is_told_and_summed_over_workers(fleet, servers):
    row = fleet.row(MEMBERS.servers[0].row_name("shop"))
    for slot in range(2):
        fleet.words[fleet.own(row, slot) + OPEN] = 2
        fleet.words[fleet.own(row, slot) + ASKED] = 50
    first, second = told(servers)

    assert ("10.0.0.1:80", "up", "enabled", "unknown", 4, 100, False) == tuple(
        first[key] for key in ("server", "state", "order", "checks", "open", "asked", "backup")
    )
    assert (2, True, 0) == (second["weight"], second["backup"], second["open"])


@pytest.mark.parametrize(
    ("befalls", "expected"),
    [
        (lambda _health: None, "up"),
        (lambda health: health.obey(Order.DRAINING, 1000.0), "draining"),
        (lambda health: health.obey(Order.DISABLED, 1000.0), "disabled"),
        (lambda health: health.checked_as(Checked.DOWN, 1000.0), "down"),
        (lambda health: health.unreachable(1000.0), "unreachable"),
        (lambda health: (health.unreachable(995.0), health.reached(999.0)), "slow-start"),
    ],
)
def test_a_state_is_one_word(fleet, servers, befalls, expected):
    befalls(health_of(fleet, 0))

    assert expected == told(servers)[0]["state"]
    states = [dict(gauge.labels)["state"] for gauge in servers.gauges() if gauge.name == "edge_origin_server_state"]
    assert [expected, "up"] == states


def test_how_long_it_is_left_alone_is_told(fleet, servers):
    health_of(fleet, 0).unreachable(999.5)

    assert 0.5 == told(servers)[0]["again_s"]
    assert told(servers)[1]["again_s"] is None


@pytest.mark.parametrize("what", sorted(ORDERS))
@pytest.mark.parametrize("named", ["http://10.0.0.2:80", "10.0.0.2:80"])
def test_an_order_is_carried_out(fleet, servers, what, named, caplog):
    if what == "enable":
        health_of(fleet, 1).obey(Order.DISABLED, 1.0)
    done = servers.order(what, [("origin", "shop"), ("server", named)])

    assert {"order": what, "origin": "shop", "servers": ["http://10.0.0.2:80"]} == done
    assert [Order.ENABLED, ORDERS[what]] == [health_of(fleet, at).order for at in (0, 1)]
    assert f"an operator says {what} 10.0.0.2:80" in caplog.text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ([], "say origin=NAME once"),
        ([("origin", "shop")], "server=URL for each"),
        ([("origin", "shop"), ("server", "10.0.0.1:80"), ("colour", "red")], "say origin=NAME once"),
        ([("origin", "blog"), ("server", "10.0.0.1:80")], "there is no origin 'blog'; expected one of shop"),
        ([("origin", "shop"), ("server", "10.0.0.9:80")], "no server '10.0.0.9:80'; expected one of http://10.0.0.1"),
        ([("origin", "shop"), ("server", "10.0.0.1:80"), ("server", "nobody")], "no server 'nobody'"),
    ],
)
def test_who_is_not_there_is_not_ordered_about(fleet, servers, query, says):
    with pytest.raises(Misread, match=says.replace("(", r"\(")):
        servers.order("disable", query)

    assert Order.ENABLED is health_of(fleet, 0).order, "all or nothing"


# -- over the admin address -----------------------------------------------------------------------------------


def ask(servers, method, target, *fields):
    admin = Admin(Counters(NAMES, 2, GAUGES), Scoreboard(2), {}, list, lambda: False, servers=servers)
    return admin(RequestHead(method, b"http", b"127.0.0.1:9180", target, list(fields)), 1_800_000_000.0)


def test_the_admin_address_tells_and_obeys(fleet, servers):
    listed = ask(servers, b"GET", b"/origins")
    ordered = ask(servers, b"POST", b"/origins/drain?origin=shop&server=10.0.0.1:80")

    assert (200, 200) == (listed.head.status, ordered.head.status)
    assert "shop" == json.loads(listed.body)["origins"][0]["origin"]
    assert Order.DRAINING is health_of(fleet, 0).order


def test_metrics_have_every_server(servers):
    body = ask(servers, b"GET", b"/metrics").body.decode()

    assert 'edge_origin_server_state{origin="shop",server="10.0.0.1:80",state="up"} 1.0' in body
    assert 'edge_origin_server_up{origin="shop",server="10.0.0.2:80"} 1.0' in body
    assert 'edge_origin_requests_waiting{origin="shop"} 0.0' in body


@pytest.mark.parametrize(
    ("method", "target", "fields", "expected"),
    [
        (b"POST", b"/origins", [], 405),
        (b"GET", b"/origins/drain?origin=shop&server=10.0.0.1:80", [], 405),
        (b"POST", b"/origins/drain?origin=shop&server=nobody", [], 400),
        (b"POST", b"/origins/drain?origin=shop&server=10.0.0.1:80", [(b"origin", b"https://evil.example")], 403),
        (b"POST", b"/origins/drain?origin=shop&server=10.0.0.1:80", [(b"sec-fetch-site", b"cross-site")], 403),
        (b"POST", b"/origins/kill?origin=shop&server=10.0.0.1:80", [], 405),
    ],
)
def test_what_is_no_order_is_refused(fleet, servers, method, target, fields, expected):
    assert expected == ask(servers, method, target, *fields).head.status
    assert Order.ENABLED is health_of(fleet, 0).order
