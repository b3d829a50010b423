"""``edge origins``: what it asks a running edge, and how it tells what it heard."""

from __future__ import annotations

import json

import pytest

from edge.cli import main
from edge.cli.origins import line

SERVER = {
    "server": "10.0.0.1:80",
    "url": "http://10.0.0.1:80",
    "state": "up",
    "order": "enabled",
    "checks": "up",
    "weight": 2,
    "share": 1.0,
    "backup": False,
    "open": 3,
    "asked": 1234,
    "failures": 0,
    "ejections": 1,
    "again_s": None,
    "reply_s": None,
    "check_status": 200,
    "check_age_s": 1.5,
}


def run(desk, *argv):
    return main(["origins", *argv, "--admin", desk.where])


def test_servers_are_listed_a_line_each(desk, capsys):
    told = {"origins": [{"origin": "shop", "balance": "round_robin", "waiting": 2, "servers": [SERVER]}]}
    desk.answers.append((200, json.dumps(told).encode()))

    assert 0 == run(desk, "ls")
    assert [("GET", "/origins", [])] == desk.asked
    heading, server, waiting = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ORIGIN", "STATE", "WEIGHT", "OPEN", "ASKED", "OUT", "CHECK", "SERVER"]
    assert server.split() == ["shop", "up", "2", "3", "1234", "1", "up", "200", "http://10.0.0.1:80"]
    assert waiting.split() == ["shop", "2", "requests", "wait", "for", "a", "server"]


def test_programs_get_json(desk, capsys):
    desk.answers.append((200, b'{"origins": []}'))

    assert 0 == run(desk, "ls", "--json")
    assert {"origins": []} == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"share": 0.25}, " 0.5 "),
        ({"backup": True}, "(backup)"),
        ({"state": "ejected", "again_s": 3.5}, "(asked again in 3.5s)"),
        ({"check_status": None, "checks": "unknown"}, " unknown "),
    ],
)
def test_a_line_says_what_is_special(changes, part):
    assert part in line("shop", SERVER | changes)


@pytest.mark.parametrize("what", ["drain", "disable", "enable"])
def test_an_order_is_passed_on(desk, capsys, what):
    desk.answers.append(
        (200, json.dumps({"order": what, "origin": "shop", "servers": ["http://a", "http://b"]}).encode())
    )

    assert 0 == run(desk, what, "shop", "http://a", "http://b")
    assert [
        ("POST", f"/origins/{what}", [("origin", "shop"), ("server", "http://a"), ("server", "http://b")])
    ] == desk.asked
    assert capsys.readouterr().out.splitlines() == [f"{what}: shop http://a", f"{what}: shop http://b"]


def test_who_is_not_there_is_told_and_bad_usage(desk, capsys):
    desk.answers.append((400, b'{"error": "there is no origin \'blog\'; expected one of shop"}'))

    assert 2 == run(desk, "drain", "blog", "http://a")
    assert "there is no origin 'blog'" in capsys.readouterr().err


def test_bad_usage_is_two(capsys):
    assert 2 == main(["origins"])
    assert 2 == main(["origins", "drain", "shop"])
