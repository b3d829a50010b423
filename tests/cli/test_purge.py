"""``edge purge``: what it asks a running edge, and what it says of the answer."""

from __future__ import annotations

import json

import pytest

from edge.cli import main
from edge.cli.operator import Operator, Unanswered


def done(*purged, soft=False):
    return 200, json.dumps({"purged": list(purged), "soft": soft}).encode()


def test_what_is_named_is_asked_for_in_order_and_told(desk, capsys):
    desk.answers.append(done({"url": "https://a/1", "copies": 2}, {"url": "https://a/2", "copies": 1}, {"tag": "t"}))

    assert 0 == main(["purge", "--admin", desk.where, "https://a/1", "https://a/2", "--tag", "t"])
    asked = [("POST", "/purge", [("url", "https://a/1"), ("url", "https://a/2"), ("tag", "t")])]
    assert asked == desk.asked
    assert "purged: url https://a/1 (2 copies)\npurged: url https://a/2 (1 copy)\npurged: tag t\n" == (
        capsys.readouterr().out
    )


def test_everything_softly(desk, capsys):
    desk.answers.append(done({"all": 1}, soft=True))

    assert 0 == main(["purge", "--soft", "--all", "--admin", desk.where])
    assert [("POST", "/purge", [("all", "1"), ("soft", "1")])] == desk.asked
    assert "purged softly: all\n" == capsys.readouterr().out


def test_hosts_and_prefixes(desk):
    desk.answers.append(done({"host": "a"}, {"prefix": "b/"}))

    assert 0 == main(["purge", "--host", "a", "--prefix", "b/", "--admin", desk.where])
    assert [("host", "a"), ("prefix", "b/")] == desk.asked[0][2]


def test_more_than_fits_a_request_line_is_asked_for_in_several(desk):
    urls = [f"https://shop.example/{number:0500}" for number in range(20)]
    desk.answers += [done()] * 20

    assert 0 == main(["purge", "--admin", desk.where, *urls])
    assert urls == [value for _, _, query in desk.asked for _, value in query]
    assert 2 < len(desk.asked) < 10


def test_what_makes_no_sense_to_the_edge_is_bad_usage(desk, capsys):
    desk.answers.append((400, b'{"error": "\'x\' is not an address"}'))

    assert 2 == main(["purge", "--admin", desk.where, "x"])
    assert "'x' is not an address\n" == capsys.readouterr().err


def test_the_edges_refusal_is_said_and_fails(desk, capsys):
    desk.answers.append((409, b'{"error": "nothing is stored here"}'))

    assert 1 == main(["purge", "--admin", desk.where, "--all"])
    assert "nothing is stored here\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((414, b"<html>"), "answers /purge with 414"),
        ((400, b"<html>"), "answers /purge with 400"),
        ((200, b"hello"), "is not an edge's admin address"),
    ],
)
def test_another_answer_is_said_and_fails(desk, capsys, answer, why):
    desk.answers.append(answer)

    assert 1 == main(["purge", "--admin", desk.where, "--all"])
    assert why in capsys.readouterr().err


def test_an_edge_that_is_not_there_is_said_and_fails(tmp_path, capsys):
    assert 1 == main(["purge", "--admin", f"unix:{tmp_path}/none", "--all"])
    assert "the edge does not answer at unix:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("admin", "why"),
    [
        ("", "there is no [admin] address to ask"),
        ('[admin]\naddress = "systemd:admin"\n', "name its address with --admin"),
        ('[admin]\naddres = "127.0.0.1:1"\n', "did you mean"),
    ],
)
def test_a_file_that_names_no_address_is_said_and_fails(tmp_path, capsys, admin, why):
    path = tmp_path / "edge.toml"
    path.write_text('[[listener]]\naddress = "127.0.0.1:0"\nredirect = "https"\n' + admin)

    assert 1 == main(["purge", "-c", str(path), "--all"])
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "why"),
    [("localhost", "has no port"), ("", "has no port"), ("systemd:admin", "is a socket of systemd's")],
)
def test_an_address_that_is_none_is_bad_usage(tmp_path, capsys, address, why):
    assert 2 == main(["purge", "-c", str(tmp_path / "none.toml"), "--admin", address, "--all"])
    assert why in capsys.readouterr().err


def test_the_address_is_where_the_file_says(tmp_path):
    path = tmp_path / "edge.toml"
    admin = '[admin]\naddress = "[::]:9180"\ntokens = "tokens"\n'
    path.write_text('[[listener]]\naddress = "127.0.0.1:0"\nredirect = "https"\n' + admin)
    operator = Operator(path)

    assert "[::]:9180" == str(operator)
    assert "::1" == operator._connection().host


@pytest.mark.parametrize("is_named", [False, True])
def test_a_token_is_shown_where_the_file_names_one(tmp_path, desk, is_named):
    path = tmp_path / "edge.toml"
    (tmp_path / "tokens").write_text("# who: the deploy job\n\n0123456789abcdef\nfedcba9876543210\n")
    path.write_text(
        '[[listener]]\naddress = "127.0.0.1:0"\nredirect = "https"\n'
        f'[admin]\naddress = "{desk.where}"\ntokens = "tokens"\n'
    )
    desk.answers.append((200, b"{}"))
    Operator(path, desk.where if is_named else None).ask("GET", "/cache")

    assert ["Bearer 0123456789abcdef"] == desk.shown


def test_tokens_that_cannot_be_read_are_said(tmp_path, desk):
    path = tmp_path / "edge.toml"
    path.write_text(
        '[[listener]]\naddress = "127.0.0.1:0"\nredirect = "https"\n'
        f'[admin]\naddress = "{desk.where}"\ntokens = "missing"\n'
    )
    with pytest.raises(
        Unanswered, match=r"missing, with the tokens for the admin address, cannot be read: No such file"
    ):
        Operator(path).ask("GET", "/cache")


def test_naming_nothing_is_bad_usage(capsys):
    assert 2 == main(["purge"])
    assert "name what to purge" in capsys.readouterr().err
