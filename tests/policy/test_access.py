"""A list of networks, and who is in it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from edge.policy.access import AccessList

LIST = AccessList([ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


@pytest.mark.parametrize("address", ["127.0.0.1", "10.200.0.1", "::ffff:10.0.0.1", "fd00::1", "fd00::1%eth0"])
def test_who_is_in_a_network_is_admitted(address):
    assert LIST.admits(address)


@pytest.mark.parametrize("address", ["127.0.0.2", "11.0.0.1", "::1", "", "localhost", "10.0.0", "10.0.0.1:80", "\0"])
def test_who_is_not_is_not(address):
    assert not LIST.admits(address)


def test_who_comes_over_a_unix_socket_is_admitted_by_name():
    assert AccessList(["unix"])
    assert AccessList(["unix"]).admits("")
    assert not AccessList(["unix"]).admits("127.0.0.1")


def test_a_list_of_nothing_admits_nobody():
    assert not AccessList([])
    assert LIST
    assert not AccessList([]).admits("127.0.0.1")
