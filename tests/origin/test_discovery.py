"""Which servers an answer means, and when to ask again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.origin.discovery import (
    MOST_SERVERS,
    Service,
    TooMany,
    by_address,
    by_service,
    from_notice,
    next_ask_s,
    retry_s,
    to_notice,
)
from edge.origin.members import MOST_WEIGHT, Member

NAME = Member("https://app.example:8443", "https", "app.example", 8443, weight=3)
SERVICE = Member("http://_http._tcp.app.example", "http", "_http._tcp.app.example", 80)


def test_each_address_is_a_server_that_goes_by_the_name():
    found = by_address(NAME, ["fd00::1", "10.0.0.10", "10.0.0.9", "10.0.0.10"])

    assert ["https://10.0.0.9:8443", "https://10.0.0.10:8443", "https://[fd00::1]:8443"] == [each.url for each in found]
    assert {("app.example:8443", 3)} == {(each.authority, each.weight) for each in found}
    assert "10.0.0.9:8443" == found[0].label


def weights(services, addresses):
    found = by_service(SERVICE, services, addresses)
    return {each.label: (each.weight, each.is_backup, each.name) for each in found}


def test_a_service_has_ports_weights_and_backups():
    services = [Service(20, 7, 8003, "c"), Service(10, 5, 8001, "a"), Service(10, 1, 8002, "b")]

    assert {
        "10.0.0.1:8001": (5, False, "a"),
        "10.0.0.2:8002": (1, False, "b"),
        "10.0.0.3:8003": (7, True, "c"),
    } == weights(services, {"a": ["10.0.0.1"], "b": ["10.0.0.2"], "c": ["10.0.0.3"]})


def test_the_next_priority_serves_where_nobody_of_the_first_is_there():
    services = [Service(10, 5, 8001, "gone"), Service(20, 5, 8002, "b")]

    assert {"10.0.0.2:8002": (5, False, "b")} == weights(services, {"b": ["10.0.0.2"]})


def test_a_targets_addresses_share_its_weight():
    services = [Service(0, 10, 80, "a"), Service(0, 10, 80, "b")]
    found = weights(services, {"a": ["10.0.0.1"], "b": ["10.0.0.2", "10.0.0.3"]})

    assert [10, 5, 5] == [weight for weight, _, _ in found.values()]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0, 0), (1, 1)),
        ((0, 100), (1, 100)),
        ((1000, 1), (1000, 1)),
        ((65535, 32768), (1000, 500)),
        ((1, 65535), (1, 1000)),
    ],
)
def test_weights_of_any_size_become_ours(given, expected):
    """Those of 0 get hardly anything, but not nothing."""
    services = [Service(0, weight, 80, name) for weight, name in zip(given, "ab", strict=True)]
    found = weights(services, {"a": ["10.0.0.1"], "b": ["10.0.0.2"]})

    assert expected == tuple(found[f"10.0.0.{number}:80"][0] for number in (1, 2))


@given(
    st.lists(
        st.builds(Service, st.integers(0, 3), st.integers(0, 65535), st.integers(1, 65535), st.sampled_from("abcd"))
    ),
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.ip_addresses().map(str), max_size=3)),
)
def test_any_answer_gives_servers_that_fit(services, addresses):
    found = by_service(SERVICE, services, addresses)

    assert all(1 <= each.weight <= MOST_WEIGHT for each in found)
    assert len({each.url for each in found}) == len(found)
    assert not found or not all(each.is_backup for each in found)


def test_an_answer_without_end_is_none():
    addresses = [f"10.0.{number >> 8}.{number & 255}" for number in range(MOST_SERVERS + 1)]

    assert MOST_SERVERS == len(by_address(NAME, addresses[1:]))
    with pytest.raises(TooMany):
        by_address(NAME, addresses)


def test_what_is_told_is_what_is_heard():
    members = (NAME, replace(NAME, url="x", name="n", is_backup=True), Member("unix:/x", "http", "localhost", 0, "/x"))

    assert members == from_notice(to_notice(members))
    assert from_notice(b"\xc1") is None
    assert from_notice(b"") is None


@pytest.mark.parametrize(("ttl_s", "expected"), [(0.0, 1.0), (30.0, 30.0), (86400.0, 300.0)])
def test_it_is_asked_again_when_the_answer_has_run_out(ttl_s, expected):
    assert expected == next_ask_s(ttl_s, 1.0, 300.0)


def test_it_is_asked_again_after_a_failure_ever_more_seldom():
    assert [2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == [retry_s(failures, 1.0) for failures in range(1, 7)]
    assert 60.0 == retry_s(1, 60.0)
    assert 30.0 == retry_s(10**6, 1.0)
