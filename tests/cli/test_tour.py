"""The tour's lines are complete commands, and a stop knows when it did not show what it should."""

import shlex
from pathlib import Path

import pytest

from edge.cli.tour import HOST, Place, Stop, tour

PLACE = Place(
    folder=Path("/tmp/a demo"),
    ca=Path("/tmp/a demo/ca.pem"),
    https_port=8443,
    http_port=8080,
    admin_port=9180,
    master_pid=100,
    orders_pids=(101, 102),
    renewed_year=2031,
)
STOPS = tour(PLACE)


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.title)
def test_a_line_can_be_copied_as_it_is(stop: Stop) -> None:
    words = shlex.split(stop.command)

    assert "\n" not in stop.command
    for at, word in enumerate(words):
        if word.startswith(f"https://{HOST}"):
            assert "/tmp/a demo/ca.pem" in words
            assert f"{HOST}:8443:127.0.0.1" in words
        if word in {"-c", "-b", "--etag-save"}:
            assert words[at + 1].rstrip(";").startswith("/tmp/a demo/")


def test_each_stop_has_a_claim_of_its_own() -> None:
    assert len({stop.title for stop in STOPS}) == len(STOPS)
    for stop in STOPS:
        assert stop.shows
        assert stop.runs
        assert all(stop.runs)


def test_a_stop_says_what_is_missing_and_what_should_not_be_there() -> None:
    stop = Stop("t", "c", "s", runs=(("^one", "two"), ("^three",)), refuses=("bad",))

    assert stop.missing(0, "ONE\nand two") == []
    assert stop.missing(0, "one bad") == ["no 'two'", "but 'bad'"]
    assert stop.missing(1, "three") == []


def test_only_the_second_orders_instance_is_killed() -> None:
    killing = [stop.command for stop in STOPS if "kill -9" in stop.command]

    assert len(killing) == 1
    assert "kill -9 102;" in killing[0]
