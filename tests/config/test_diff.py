"""What differs between two trees, and what a reload must do for it."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from edge.config.diff import Difference, diff, differences
from edge.config.kinds import Table
from edge.config.schema import Change, rows
from edge.config.tree import (
    Admin,
    Certificate,
    Config,
    Levels,
    Listener,
    Origin,
    OriginServer,
    OriginTls,
    Route,
    Server,
)

ORIGIN = Origin("shop", (OriginServer("http://10.0.0.1"),))
OLD = Config(
    listeners=(Listener("0.0.0.0:80"), Listener("0.0.0.0:443", tls=True)),
    certificates=(Certificate(Path("/c"), Path("/k")),),
    origins={"shop": ORIGIN},
    routes=(Route(origin="shop"),),
)


def test_the_same_needs_nothing():
    assert differences(OLD, replace(OLD)) == []
    assert diff(OLD, OLD) is Change.NOTHING


def test_where_the_file_lies_is_no_difference():
    assert differences(OLD, replace(OLD, source=Path("/elsewhere"))) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (replace(OLD, server=Server(pid_file=Path("/x"))), Difference("server.pid_file", Change.NOTHING)),
        (replace(OLD, server=Server(drain_s=1)), Difference("server.drain", Change.WORKERS)),
        (replace(OLD, server=Server(backlog=1)), Difference("server.backlog", Change.LISTENERS)),
        (replace(OLD, listeners=OLD.listeners[:1]), Difference("listener", Change.LISTENERS)),
        (
            replace(OLD, listeners=(OLD.listeners[0], Listener("0.0.0.0:444", tls=True))),
            Difference("listener[1].address", Change.LISTENERS),
        ),
        (
            replace(OLD, listeners=(Listener("0.0.0.0:80", redirect="https"), OLD.listeners[1])),
            Difference("listener[0].redirect", Change.WORKERS),
        ),
        (
            replace(OLD, certificates=(Certificate(Path("/c"), Path("/k2")),)),
            Difference("certificate[0].key", Change.CERTIFICATES),
        ),
        (replace(OLD, certificates=()), Difference("certificate", Change.CERTIFICATES)),
        (
            replace(OLD, certificates=(replace(OLD.certificates[0], client_verify="required"),)),
            Difference("certificate[0].client_verify", Change.WORKERS),
        ),
        (
            replace(OLD, compression=replace(OLD.compression, levels=Levels(br=9))),
            Difference("compression.levels.br", Change.WORKERS),
        ),
        (replace(OLD, origins={}), Difference("origin.shop", Change.WORKERS)),
        (replace(OLD, origins={"shop": ORIGIN, "new": ORIGIN}), Difference("origin.new", Change.WORKERS)),
        (
            replace(OLD, origins={"shop": replace(ORIGIN, tls=OriginTls(verify=False))}),
            Difference("origin.shop.tls.verify", Change.WORKERS),
        ),
        (
            replace(OLD, origins={"shop": replace(ORIGIN, servers=(OriginServer("http://10.0.0.1", weight=2),))}),
            Difference("origin.shop.servers", Change.WORKERS),
        ),
        (replace(OLD, routes=(Route(path="/x", origin="shop"),)), Difference("route[0].path", Change.WORKERS)),
        (replace(OLD, admin=Admin("127.0.0.1:1")), Difference("admin.address", Change.LISTENERS)),
        (replace(OLD, trusted_proxies=(1,)), Difference("trusted_proxies", Change.WORKERS)),
    ],
)
def test_a_difference_has_a_name_and_a_need(new, expected):
    assert [expected] == differences(OLD, new)
    assert expected.needs is diff(OLD, new)


def test_a_reload_needs_the_greatest_of_all_needs():
    new = replace(OLD, certificates=(), server=Server(drain_s=1, pid_file=Path("/x")))

    assert diff(OLD, new) is Change.WORKERS


def test_every_field_is_a_setting_or_follows_from_one():
    """A field that is no row would be read from nowhere and compared by nobody."""
    follows = {"source", "name", "scheme", "host", "port", "unix_path", "kind", "path"}
    follows |= {"kinds", "statuses", "tried_methods"}

    def visit(cls):
        named = {row.field for row in rows(cls)}
        assert {field.name for field in dataclasses.fields(cls)} - named <= follows
        for row in rows(cls):
            assert row.says
            if isinstance(row.kind, Table):
                visit(row.kind.cls)

    visit(Config)
