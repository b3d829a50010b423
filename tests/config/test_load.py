"""A file becomes a tree, or every problem it has, each with its place."""

import dataclasses
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Severity, load, parse
from edge.config.tree import Certificate, Config, Levels, Listener, OriginServer, Route

FILE = Path("/etc/edge/edge.toml")

CONTRACT = """\
[server]
workers = "auto"
user = "edge"
pid_file = "run/edge.pid"
drain = "30s"

[[listener]]
address = "0.0.0.0:443"
tls = true
[[listener]]
address = "0.0.0.0:80"
redirect = "https"

[[certificate]]
chain = "certs/shop/fullchain.pem"
key = "certs/shop/privkey.pem"
[[certificate]]
directory = "certs/tenants"

[cache]
path = "cache"
size = "1 GiB"
memory = "64 MiB"

[compression]
encodings = ["zstd", "br", "gzip"]

[origin.shop]
servers = ["http://127.0.0.1:8001", { url = "http://127.0.0.1:8002", weight = 2 }]
balance = "round_robin"

[[route]]
host = "shop.example"
path = "/"
origin = "shop"

[log]
access = "stderr"
format = "json"

[admin]
address = "127.0.0.1:9180"
"""

ENOUGH = '[[listener]]\naddress = "127.0.0.1:80"\n[origin.o]\nservers = ["http://10.0.0.1"]\n[[route]]\norigin = "o"\n'


def good(text):
    loaded = parse(text, FILE)
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.config is not None
    return loaded.config


def problems(text):
    """What is wrong with *text*, as printed, without the file's name."""
    return [str(problem).removeprefix(f"{FILE}:") for problem in parse(text, FILE).problems]


def test_the_contracts_file_says_what_it_says():
    config = good(CONTRACT)

    assert config.server.workers == "auto"
    assert config.server.user == "edge"
    assert Path("/etc/edge/run/edge.pid") == config.server.pid_file
    assert config.server.drain_s == 30.0
    assert (Listener("0.0.0.0:443", tls=True), Listener("0.0.0.0:80", redirect="https")) == config.listeners
    assert config.certificates == (
        Certificate(Path("/etc/edge/certs/shop/fullchain.pem"), Path("/etc/edge/certs/shop/privkey.pem")),
        Certificate(directory=Path("/etc/edge/certs/tenants")),
    )
    assert Path("/etc/edge/cache") == config.cache.path
    assert config.cache.size == 1 << 30
    assert config.cache.memory == 64 << 20
    assert config.compression.encodings == ("zstd", "br", "gzip")
    assert (OriginServer("http://127.0.0.1:8001"), OriginServer("http://127.0.0.1:8002", weight=2)) == config.origins[
        "shop"
    ].servers
    assert config.origins["shop"].name == "shop"
    assert (Route("shop.example", "/", "shop"),) == config.routes
    assert config.log.access == "stderr"
    assert config.admin.address == "127.0.0.1:9180"
    assert config.source == FILE


def test_a_silent_file_has_the_trees_defaults():
    config = good(ENOUGH)
    plain = Config()

    for room in ("server", "cache", "compression", "log", "admin", "limits", "timeouts", "trusted_proxies"):
        assert getattr(plain, room) == getattr(config, room)


def test_a_table_in_a_table_is_read():
    config = good(ENOUGH + "[compression]\nlevels = { br = 4 }\n")

    assert Levels(br=4) == config.compression.levels
    assert dict(config.compression.levels) == {"gzip": 6, "br": 4, "zstd": 6}


def test_trusted_proxies_are_found_at_the_top_and_where_they_slip_into_server():
    """In TOML what follows a header is inside it: this is where the setting ends up when it is written second."""
    expected = (ip_network("10.0.0.0/8"),)

    assert expected == good('trusted_proxies = ["10.0.0.0/8"]\n' + ENOUGH).trusted_proxies
    assert expected == good(ENOUGH + '[server]\ntrusted_proxies = ["10.0.0.0/8"]\n').trusted_proxies
    assert problems(ENOUGH + '[log]\ntrusted_proxies = ["10.0.0.0/8"]\n') == [
        "8:1: [log] has no setting 'trusted_proxies'; it belongs at the top of the file, before any [table]"
    ]


def test_listeners_take_the_servers_backlog_unless_they_have_their_own():
    config = good(ENOUGH + '[[listener]]\naddress = "127.0.0.1:81"\nbacklog = 7\n[server]\nbacklog = 99\n')

    assert [listener.backlog for listener in config.listeners] == [99, 7]


def test_every_problem_is_told_at_once_in_the_order_of_the_file():
    text = """\
[server]
worker = 3
drain = "30 sekunden"
[[listener]]
adress = ":80"
[cache]
size = "1 GB"
path = 3
[origin.api]
servers = ["10.0.0.1", { weight = 0, url = "http://x/y" }]
[[route]]
origin = "apis"
"""
    found = problems(text)

    assert [line.split(" ")[0] for line in found] == [
        "2:1:", "3:9:", "4:1:", "5:1:", "7:8:", "8:8:", "9:1:", "10:12:", "10:35:", "10:44:", "12:10:",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[admin]\naddress = '9180'",
            "2:11: address: '9180' has no port; expected 'HOST:PORT', '[IPv6]:PORT', 'unix:/path' or 'systemd:NAME'",
        ),
        ("[server]\nworker = 3", "2:1: [server] has no setting 'worker'; did you mean 'workers'?"),
        ("[servers]", "1:2: the file has no setting 'servers'; did you mean 'server'?"),
        ("[cache]\npath='c'\ndrain = '1s'", "3:1: [cache] has no setting 'drain'; it belongs in [server]"),
        (
            "[log]\nconnect = '1s'",
            "2:1: [log] has no setting 'connect'; it belongs in [origin.NAME]",
        ),
        (
            "[log]\nxyzzy = 1",
            "2:1: [log] has no setting 'xyzzy'; expected access, format, errors, level, slow",
        ),
        ("[log]\nredirect = 1", "2:1: [log] has no setting 'redirect'; it belongs in [[listener]] or in [[route]]"),
        ("[[listener]]\ntls = false", "1:1: [[listener]] has no 'address'; expected address = \"0.0.0.0:443\""),
        ("[[route]]\npath = '/x'", "1:1: [[route]] has no 'origin'; expected origin = \"shop\""),
        ("[listener]\naddress = ':80'", "1:1: listener: there can be several; expected [[listener]], not [listener]"),
        ("[[server]]", "1:1: server: there can be only one; expected [server], not [[server]]"),
        ("server = 3", "1:10: server: this is a number; expected [server]"),
        ("listener = 3", "1:12: listener: this is a number; expected tables, each headed [[listener]]"),
        ("origin = 3", "1:10: origin: this is a number; expected tables, each headed [origin.NAME]"),
        ("[origin]\nservers = ['x']", "2:1: every origin has a name; expected [origin.NAME], not [origin]"),
        ("[origin]\nx = 3", "2:5: x: this is a number; expected [origin.x]"),
        ("[[origin.x]]\nservers = []", "1:1: x: there can be only one; expected [origin.x], not [[origin.x]]"),
        (
            '[origin."a b"]\nservers = ["http://x"]',
            "1:9: 'a b' is no name; expected letters, digits, '_', '-' and '.'",
        ),
        (
            "[origin.a]\nservers = []",
            "2:11: servers: this list is empty; expected at least one, each a url, or a table with a url",
        ),
        (
            "[origin.a]\nservers = 'http://x'",
            '2:11: servers: this is text; expected a list, as in ["http://x"]',
        ),
        ("[compression]\nencodings = 3", "2:13: encodings: this is a number; expected a list, as in [...]"),
        ("[origin.a]\nservers = [3]", "2:12: this is a number; expected a url, or a table with a url"),
        ("[timeouts]\nidle = '10d'", "2:8: idle: 10d is too much; expected at most 1d"),
        ("[cache]\npath = 'c'\nsize = 5", "3:8: size: 5 B is too little; expected at least 1 MiB"),
        ("[server]\nworkers = 0", "2:11: workers: 0 is too little; expected at least 1"),
        ("[compression.levels]\nbr = 12", "2:6: br: 12 is too much; expected at most 11"),
    ],
)
def test_a_problem_says_what_and_what_was_expected(text, expected):
    assert expected in problems(text)


def test_a_server_that_is_wrong_does_not_shift_the_places_of_the_others():
    found = problems(ENOUGH.replace('"http://10.0.0.1"', '"x", "http://127.0.0.1:80"'))

    assert found[0].startswith("4:12: url: 'x' is not")
    assert found[1] == "4:17: warning: 'http://127.0.0.1:80' is this edge itself: requests would go in a circle"


@pytest.mark.parametrize(
    ("text", "place", "because"),
    [
        ("a = ", (1, 5), "Invalid value"),
        ("[server\n", (1, 8), "Expected ']'"),
        ('x = "', (1, 6), "Unterminated string"),
        ("[a]\n[a]\n", (2, 3), "Cannot declare"),
        ("x = 1\n\nx = 2", (3, 6), "Cannot overwrite"),
        ("x = " + "9" * 5000, (1, 1), "Exceeds the limit"),
        ("x = " + "[" * 5000, (1, 1), "nested too deeply"),
    ],
)
def test_what_is_not_toml_is_one_problem_at_its_place(text, place, because):
    (problem,) = parse(text, FILE).problems

    assert place == (problem.line, problem.col)
    assert because in problem.message


def test_a_file_that_is_not_there_is_a_problem_like_any_other(tmp_path):
    path = tmp_path / "edge.toml"

    assert [f"{path}:1:1: cannot be read: No such file or directory"] == [
        str(problem) for problem in load(path).problems
    ]
    assert [f"{tmp_path}:1:1: cannot be read: Is a directory"] == [str(problem) for problem in load(tmp_path).problems]


def test_a_byte_that_is_not_utf_8_is_found(tmp_path):
    path = tmp_path / "edge.toml"
    path.write_bytes("# ä\n# ö \xff".encode("latin-1").replace(b"\xe4", "ä".encode()).replace(b"\xf6", "ö".encode()))

    (problem,) = load(path).problems

    assert (problem.line, problem.col) == (2, 5)
    assert "byte 0xff is not UTF-8" in problem.message


def test_paths_are_relative_to_the_file_not_to_where_we_are(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "edge.toml").write_text(ENOUGH + '[cache]\npath = "cache"\n')
    monkeypatch.chdir(tmp_path)

    config = load("conf/edge.toml").config

    assert config is not None
    assert tmp_path / "conf" / "cache" == config.cache.path
    assert tmp_path / "conf" / "edge.toml" == config.source


def test_a_warning_does_not_take_the_tree_away_and_an_error_does():
    warned = parse(ENOUGH + '[origin.spare]\nservers = ["http://x"]\n', FILE)
    failed = warned.and_also([warned.problem(("route", 0, "origin"), "no")])

    assert warned.ok
    assert [problem.severity for problem in warned.problems] == [Severity.WARNING]
    assert not failed.ok
    assert str(failed.problems[0]) == f"{FILE}:6:10: no"
    assert warned is warned.and_also([])
    assert warned.and_also([warned.problem((), "hm", Severity.WARNING)]).ok


def test_a_configuration_is_frozen():
    config = good(ENOUGH)

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.server.drain_s = 1.0
    with pytest.raises(TypeError):
        config.origins["x"] = None


_SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
_NAMES = [
    "server",
    "listener",
    "certificate",
    "cache",
    "compression",
    "origin",
    "route",
    "log",
    "admin",
    "trusted_proxies",
]


def _toml(value):
    from edge.config.schema import toml

    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return toml(value)


@given(st.dictionaries(st.sampled_from(_NAMES), _TREES, max_size=3))
def test_whatever_a_file_holds_it_becomes_a_tree_or_problems(document):
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in document.items())

    loaded = parse(text, FILE)

    assert loaded.ok != any(problem.severity is Severity.ERROR for problem in loaded.problems)
    assert all(problem.line >= 1 and problem.col >= 1 and "\n" not in problem.message for problem in loaded.problems)


@given(st.text(max_size=80))
def test_whatever_text_a_file_is_nothing_is_raised(text):
    assert not parse(text, FILE).ok
