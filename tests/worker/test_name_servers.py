"""What name servers say, and what it means when they say nothing."""

from __future__ import annotations

import pytest

from edge.origin.discovery import Service
from edge.worker.name_servers import NameServers, NoAnswer, NoName
from tests.kit.dns import NameServer


@pytest.fixture
async def server(nursery) -> NameServer:
    made = NameServer()
    await nursery.start(made.serve)
    return made


def asked(server: NameServer, timeout_s: float = 5.0) -> NameServers:
    return NameServers([("127.0.0.1", server.port)], timeout_s)


async def test_a_name_has_addresses_of_both_families(server) -> None:
    server.records = {("app.example", "A"): ["10.0.0.1", "10.0.0.2"], ("app.example", "AAAA"): ["fd00::1"]}
    addresses, ttl_s = await asked(server).hosts("app.example")

    assert {"10.0.0.1", "10.0.0.2", "fd00::1"} == set(addresses)
    assert 30.0 == ttl_s


@pytest.mark.parametrize("name", ["localhost", "LocalHost.", "app.localhost"])
async def test_nobody_is_asked_where_localhost_is(server, name: str) -> None:
    """RFC 6761 §6.3: and nobody could lead it elsewhere."""
    server.records = {(name.rstrip(".").lower(), "A"): ["10.0.0.1"]}
    addresses, _ = await asked(server).hosts(name)

    assert {"127.0.0.1", "::1"} == set(addresses)
    assert not server.asked


async def test_a_name_may_have_addresses_of_one_family_only(server) -> None:
    server.records = {("app.example", "AAAA"): ["fd00::1"]}

    assert ["fd00::1"] == (await asked(server).hosts("app.example"))[0]


async def test_an_answer_that_does_not_fit_is_asked_for_again_over_tcp(server) -> None:
    many = [f"10.0.{number}.1" for number in range(200)]
    server.records = {("app.example", "A"): many}
    addresses, _ = await asked(server).hosts("app.example")

    assert set(many) == set(addresses)
    assert ("app.example", "A", True) in server.asked


@pytest.mark.parametrize(
    ("fails", "records", "kind", "words"),
    [
        ("", {}, NoName, "there is no name app.example"),
        ("", {("app.example", "TXT"): ["x"]}, NoName, "app.example has no address"),
        ("SERVFAIL", {}, NoAnswer, "SERVFAIL"),
        ("REFUSED", {}, NoAnswer, "REFUSED"),
        ("silent", {}, NoAnswer, "nobody said within 0.3s what app.example is"),
    ],
)
async def test_what_is_no_answer_is_said(server, fails: str, records, kind, words: str) -> None:
    server.fails, server.records = fails, records
    with pytest.raises(kind, match=words) as raised:
        await asked(server, 0.3).hosts("app.example")

    assert kind is type(raised.value)


async def test_half_an_answer_is_none(server) -> None:
    """One that leaves the addresses of one family out would take servers away."""
    server.records = {("app.example", "A"): ["10.0.0.1"]}
    real = server._answer

    def half(wire, *, is_tcp):
        answer = real(wire, is_tcp=is_tcp)
        return None if answer.question[0].rdtype == 28 else answer

    server._answer = half
    with pytest.raises(NoAnswer, match="nobody said"):
        await asked(server, 0.3).hosts("app.example")


async def test_a_service_has_records_and_its_targets_addresses(server) -> None:
    server.records = {
        ("_http._tcp.example", "SRV"): ["10 5 8001 a.example.", "20 0 8002 b.example.", "10 1 1 gone.example."],
        ("a.example", "A"): ["10.0.0.1"],
        ("b.example", "A"): ["10.0.0.2"],
        ("b.example", "AAAA"): ["fd00::2"],
    }
    services, addresses, ttl_s = await asked(server).services("_http._tcp.example")

    assert {Service(10, 5, 8001, "a.example"), Service(20, 0, 8002, "b.example")} < set(services)
    assert ({"a.example", "b.example"}, ["10.0.0.1"]) == (set(addresses), addresses["a.example"])
    assert {"10.0.0.2", "fd00::2"} == set(addresses["b.example"])
    assert 30.0 == ttl_s


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({}, "there is no name _http._tcp.example"),
        ({("_http._tcp.example", "A"): ["10.0.0.1"]}, "is no service"),
        ({("_http._tcp.example", "SRV"): ["0 0 0 ."]}, "there is no such service"),
        ({("_http._tcp.example", "SRV"): ["0 0 80 gone.example."]}, "there is no name gone.example"),
    ],
)
async def test_what_is_no_service_is_said(server, records, words: str) -> None:
    server.records = records
    with pytest.raises(NoName, match=words):
        await asked(server).services("_http._tcp.example")


async def test_who_is_asked_may_be_what_the_system_says(server, monkeypatch, tmp_path) -> None:
    """Read anew each time: a laptop's, a container's, a VPN's changes."""
    import dns.resolver

    read = []
    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", lambda self, name: read.append(name))
    for _ in range(2):
        with pytest.raises(NoAnswer):
            await NameServers((), 0.2).hosts("app.example")

    assert len(read) >= 2
