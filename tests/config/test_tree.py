"""The tree can be made without a file, and every default is a value its own row would accept."""

import os

import pytest

from edge.config.kinds import Table
from edge.config.schema import REQUIRED, rows
from edge.config.tree import Admin, Config, Levels, Listener, OriginServer, Server


def every_row(cls=Config):
    for row in rows(cls):
        yield row
        if isinstance(row.kind, Table):
            yield from every_row(row.kind.cls)


def test_a_listener_knows_its_address_apart():
    listener = Listener("[::1]:8443", tls=True)

    assert (listener.kind, listener.host, listener.port) == ("tcp", "::1", 8443)
    assert Listener("unix:/run/x").path == "/run/x"
    assert Listener("systemd:https").name == "https"


def test_a_server_of_an_origin_knows_its_url_apart():
    server = OriginServer("https://api.internal", weight=3)

    assert (server.scheme, server.host, server.port, server.weight) == ("https", "api.internal", 443, 3)
    assert OriginServer("unix:/run/app").unix_path == "/run/app"


def test_what_is_no_address_cannot_be_made():
    with pytest.raises(ValueError, match="no port"):
        Listener("0.0.0.0")


def test_auto_workers_are_the_cores_we_may_use():
    assert len(os.sched_getaffinity(0)) == Server().worker_count
    assert Server(workers=3).worker_count == 3


def test_the_admin_address_is_a_listener_for_whoever_binds_it():
    assert Admin().listener is None
    assert Listener("127.0.0.1:9180") == Admin("127.0.0.1:9180").listener


def test_levels_are_a_mapping():
    assert dict(Levels(br=4)) == {"gzip": 6, "br": 4, "zstd": 6}
    assert Levels().get("deflate") is None
    assert len(Levels()) == 3


@pytest.mark.parametrize("row", list(every_row()), ids=lambda row: row.name)
def test_a_default_is_within_the_bounds_of_its_row(row):
    if row.default in (REQUIRED, None) or not isinstance(row.default, (int, float)) or isinstance(row.default, bool):
        return
    assert row.least is None or row.least <= row.default
    assert row.most is None or row.default <= row.most


@pytest.mark.parametrize("row", list(every_row()), ids=lambda row: row.name)
def test_a_setting_is_explained_in_a_sentence_and_shown(row):
    assert row.says[0].isupper() or row.says.startswith("HOST:PORT")
    assert row.says.endswith(".")
    assert row.example is not None or row.default not in (REQUIRED, None) or row.name == "redirect"
