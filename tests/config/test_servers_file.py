"""A file that lists an origin's servers: the same form as in the configuration, with the same words where it is wrong."""

from pathlib import Path

import pytest

from edge.config.files import check_files
from edge.config.load import parse, parse_servers

TOML, JSON = Path("servers.toml"), Path("servers.json")

WHOLE = """
servers = [
    "http://10.0.0.1:8001",
    { url = "https://[fd00::1]", weight = 3, backup = true },
    "unix:/run/app.sock",
]
"""


def said(text, path=TOML):
    servers, problems = parse_servers(text.encode(), path)
    assert bool(servers) is not bool(problems)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (WHOLE, TOML),
        (
            '["http://10.0.0.1:8001", {"url": "https://[fd00::1]", "weight": 3, "backup": true}, "unix:/run/app.sock"]',
            JSON,
        ),
        (
            '{"servers": ["http://10.0.0.1:8001", {"url": "https://[fd00::1]", "weight": 3, "backup": true}, "unix:/run/app.sock"]}',
            JSON,
        ),
    ],
)
def test_servers_are_listed_as_in_the_configuration(text, path):
    servers, problems = parse_servers(text.encode(), path)

    assert [] == problems
    assert [("10.0.0.1", 8001, 1), ("fd00::1", 443, 3)] == [(each.host, each.port, each.weight) for each in servers[:2]]
    assert [False, True, False] == [each.backup for each in servers]
    assert "/run/app.sock" == servers[2].unix_path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "servers.toml:1:1: the file has no 'servers'; expected servers = "),
        ("servers = [", "this is not TOML"),
        ("\nservers = []", "servers.toml:2:11: servers: this list is empty"),
        ('servers = "http://10.0.0.1"', "servers.toml:1:11: servers: this is text; expected a list"),
        ('servers = ["http://10.0.0.1", "ftp://x"]', "servers.toml:1:31: "),
        ('servers = ["http://10.0.0.1"]\nservres = 1', "servers.toml:2:1: the file has no setting 'servres'"),
        (
            'servers = [{ url = "http://app.internal", discover = "srv" }]',
            "servers.toml:1:54: a list of servers names servers; expected no discover here",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(text, problem):
    (found,) = said(text)

    assert problem in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "servers.json:1:2: this is not JSON"),
        ("7", "servers.json:1:1: this is a number; expected a list of servers"),
        ("[7]", "servers.json:1:1: "),
        ("[" * 100_000, "this is not JSON"),
        ('["http://10.0.0.1", {"url": "x"}]', "servers.json:1:1: "),
    ],
)
def test_what_is_wrong_in_json_is_said(text, problem):
    assert problem in said(text, JSON)[0]


def test_bytes_that_are_no_text_are_said():
    assert parse_servers(b"\xff", TOML)[1]


def test_the_check_looks_into_it(tmp_path):
    (tmp_path / "s.toml").write_text('servers = ["ftp://x"]')
    text = '[[listener]]\naddress = "127.0.0.1:0"\n[[route]]\norigin = "o"\n[origin.o]\nservers_file = "s.toml"\n'
    (found,) = check_files(parse(text, tmp_path / "edge.toml"))
    (gone,) = check_files(parse(text.replace("s.toml", "gone.toml"), tmp_path / "edge.toml"))

    assert str(found).startswith(f"{tmp_path}/s.toml:1:12: ")
    assert str(gone).endswith("gone.toml cannot be read: No such file or directory; expected a file")
