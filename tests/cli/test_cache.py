"""``edge cache`` and ``edge explain``: what they ask a running edge, and how they tell what it said."""

from __future__ import annotations

import json

import pytest

from edge.cli import main
from edge.cli.cache import moment, part, size, span
from edge.clock import SYSTEM

COPY = {
    "url": "https://shop.example/a",
    "status": 200,
    "state": "stale, served while it is refreshed",
    "age_s": 70,
    "ttl_s": -10,
    "bytes": 3000,
    "stored_bytes": 3013,
    "parts": None,
    "codings": {"identity": 3000, "br": 13},
    "vary": {"x-a": None, "x-b": "1"},
    "tags": ["one", "two"],
    "stored_wall": 1_800_000_000.0,
    "used_wall": 1_800_000_003,
    "uses": 17,
}
FULL = COPY | {
    "lifetime_s": 60.0,
    "lifetime": "by the origin",
    "stale_while_revalidate_s": 30,
    "stale_if_error_s": None,
    "must_revalidate": True,
    "spans": None,
    "etag": '"1"',
    "last_modified": None,
    "asked_wall": 1_800_000_000.0,
    "confirmed_wall": 1_800_000_030.0,
    "fields": [["cache-control", "max-age=60"], ["etag", '"1"']],
}
ADDRESS = {"url": COPY["url"], "key": "ab" * 16, "copies": [FULL], "landing": None, "purged_wall": None}
NUMBERS = {
    "addresses": 2,
    "copies": 3,
    "landing": 1,
    "given_up": 0,
    "standing_purges": 4,
    "used_bytes": 1 << 20,
    "size_bytes": 1 << 30,
    "is_damaged": False,
    "requests": {"hit": 90, "uri-miss": 10, "stale": 0, "none": 7, "method": 5, "bypass": 2},
}


def answers(desk, *values):
    desk.answers += [(200, json.dumps(value).encode()) for value in values]


def run(desk, *argv):
    return main([*argv, "--admin", desk.where])


def test_stats_say_how_much_and_what_for(desk, capsys):
    answers(desk, NUMBERS)

    assert 0 == run(desk, "cache", "stats")
    told = capsys.readouterr().out
    assert [("GET", "/cache", [])] == desk.asked
    assert "3 of 2 addresses" in told
    assert "1.0 MiB of 1.0 GiB, 0.1 %" in told
    assert "90 of 100 requests that the cache was asked about, 90.0 %" in told
    assert "stale" not in told


def test_stats_say_that_a_store_is_damaged(desk, capsys):
    answers(desk, NUMBERS | {"is_damaged": True})

    assert 0 == run(desk, "cache", "stats")
    assert "damaged" in capsys.readouterr().out


def test_ls_goes_on_to_the_last_page(desk, capsys):
    answers(desk, {"copies": [COPY], "next": "aa"}, {"copies": [], "next": "bb"}, {"copies": [COPY], "next": None})

    assert 0 == run(desk, "cache", "ls", "--tag", "one", "--host", "shop.example")
    wanted = [("tag", "one"), ("host", "shop.example"), ("limit", "500")]
    assert [wanted, [*wanted, ("after", "aa")], [*wanted, ("after", "bb")]] == [query for _, _, query in desk.asked]
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("STATUS")
    assert 2 * ["200 1m10s -10s 2.9 KiB 17 stale identity,br https://shop.example/a".split()] == [
        line.split() for line in lines
    ]


def test_what_is_stored_in_part_is_said_to_be(desk, capsys):
    part = {"codings": {"identity": 3000}, "stored_bytes": 1500, "parts": 2, "spans": [[0, 1000], [2000, 2500]]}
    answers(desk, {"copies": [COPY | part], "next": None}, ADDRESS | {"copies": [FULL | part]})

    assert 0 == run(desk, "cache", "ls")
    assert "in part, 50.0 %" in capsys.readouterr().out
    assert 0 == run(desk, "cache", "show", COPY["url"])
    assert "1.5 KiB of 2.9 KiB: bytes 0-999, 2000-2499" in capsys.readouterr().out


def test_ls_for_programs_is_an_object_per_line(desk, capsys):
    answers(desk, {"copies": [COPY, COPY], "next": None})

    assert 0 == run(desk, "cache", "ls", "--json")
    assert [COPY, COPY] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_show_tells_all_there_is(desk, capsys):
    answers(desk, ADDRESS | {"purged_wall": 1_700_000_000.0, "landing": {"bytes": 2048, "of_bytes": 4096}})

    assert 0 == run(desk, "cache", "show", "https://shop.example/a")
    assert [("GET", "/cache/show", [("url", "https://shop.example/a")])] == desk.asked
    told = capsys.readouterr().out
    for fact in (
        "purged or invalidated 2023-11-14 22:13:20 UTC",
        "landing: 2.0 KiB of 4.0 KiB",
        "copy 1 of 1",
        "1m, by the origin; -10s left",
        "while it is refreshed 30s, never else",
        "identity 2.9 KiB, br 13 B",
        "x-a not sent",
        "x-b '1'",
        "one, two",
        "17, last 2027-01-15 08:00:03 UTC",
        "confirmed   2027-01-15 08:00:30 UTC",
        "| cache-control: max-age=60",
    ):
        assert fact in told


def test_show_of_what_is_not_there_fails(desk, capsys):
    answers(desk, ADDRESS | {"copies": []})

    assert 1 == run(desk, "cache", "show", "https://shop.example/a")
    assert "nothing is stored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["cache", "stats"], NUMBERS),
        (["cache", "show", "https://a/"], ADDRESS),
        (["explain", "https://a/"], {"url": "https://a/", "steps": [], "outcome": "hit"}),
    ],
)
def test_programs_get_what_the_edge_said(desk, capsys, argv, answer):
    answers(desk, answer)

    assert 0 == run(desk, *argv, "--json")
    assert answer == json.loads(capsys.readouterr().out)


def test_explain_asks_with_all_that_is_given_and_tells_step_by_step(desk, capsys):
    step = {"step": "weigh", "says": "it is stale", "source": "RFC 9111 §4.2"}
    answers(desk, {"url": "https://a/x", "steps": [step, step | {"source": ""}], "outcome": "fwd=stale"})
    argv = ["https://a/x", "-X", "HEAD", "-H", "A: 1", "--reply", "B: 2", "-H", "C: 3", "--status", "404"]

    assert 0 == run(desk, "explain", *argv)
    assert [("url", "https://a/x"), ("method", "HEAD"), ("field", "A: 1"), ("reply", "B: 2"), ("field", "C: 3"),
            ("status", "404")] == desk.asked[0][2]  # fmt: skip
    assert ["https://a/x", "weigh    it is stale — RFC 9111 §4.2", "weigh    it is stale", "=> fwd=stale"] == [
        line.strip() for line in capsys.readouterr().out.splitlines()
    ]


@pytest.mark.parametrize(
    "argv", [["cache"], ["cache", "list"], ["cache", "show"], ["explain"], ["cache", "stats", "x"]]
)
def test_bad_usage_is_2(argv, capsys):
    assert 2 == main(argv)
    assert "usage: edge" in capsys.readouterr().err


def test_an_edge_that_refuses_is_said_and_fails(desk, capsys):
    desk.answers.append((409, b'{"error": "there is no cache: [cache] path is not set"}'))

    assert 1 == run(desk, "cache", "ls")
    assert "there is no cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes(count, text):
    assert text == size(count)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (3700, "1h1m"), (-5, "-5s"), (90_000, "1d1h")]
)
def test_spans(seconds, text):
    assert text == span(seconds)


def test_moments_and_parts():
    assert moment(SYSTEM.wall() - 60.5).endswith("UTC, 1m ago")
    assert ("50.0 %", "none") == (part(1, 2), part(0, 0))
