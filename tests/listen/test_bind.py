"""Sockets are opened with what connections inherit, or refused with a sentence that helps."""

import os
import socket

import pytest

from edge.listen.bind import CannotListen, open_tcp, open_unix, probe_tcp, tcp_address


def test_a_queue_listens_without_blocking():
    sock = open_tcp("127.0.0.1", 0, 16)

    assert not sock.getblocking()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert not os.get_inheritable(sock.fileno())
    sock.close()


def test_connections_inherit_no_delay_and_probes():
    sock = open_tcp("127.0.0.1", 0, 16)
    client = socket.create_connection(sock.getsockname())
    accepted = sock.accept()[0]

    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for each in (sock, client, accepted):
        each.close()


def test_two_queues_share_an_address():
    first = open_tcp("127.0.0.1", 0, 16)
    second = open_tcp("127.0.0.1", first.getsockname()[1], 16)

    assert first.getsockname() == second.getsockname()
    first.close()
    second.close()


def test_a_second_edge_is_not_let_in_unnoticed():
    """SO_REUSEPORT alone would give it every other connection."""
    sock = open_tcp("127.0.0.1", 0, 16)

    with pytest.raises(CannotListen, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use \(another"):
        probe_tcp(*sock.getsockname())
    sock.close()


def test_any_free_port_needs_no_probe():
    probe_tcp("127.0.0.1", 0)


def test_an_address_of_another_machine_is_refused_with_a_sentence():
    with pytest.raises(CannotListen, match="no interface of this machine has that address"):
        open_tcp("192.0.2.1", 0, 16)


def test_both_families_listen_on_one_port():
    try:
        six = open_tcp("::", 0, 16)
    except CannotListen:
        pytest.skip("no IPv6 here")
    four = open_tcp("0.0.0.0", six.getsockname()[1], 16)
    six.close()
    four.close()


def test_a_unix_socket_is_open_to_everybody(tmp_path):
    sock = open_unix(str(tmp_path / "x"), 16)

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666
    sock.close()


def test_a_unix_socket_left_behind_is_replaced(tmp_path):
    open_unix(str(tmp_path / "x"), 16).close()
    open_unix(str(tmp_path / "x"), 16).close()


def test_a_unix_socket_in_use_is_left_alone(tmp_path):
    sock = open_unix(str(tmp_path / "x"), 16)

    with pytest.raises(CannotListen, match="another program listens there"):
        open_unix(str(tmp_path / "x"), 16)
    socket.socket(socket.AF_UNIX).close()
    sock.close()


def test_a_file_is_not_taken_for_a_socket(tmp_path):
    (tmp_path / "x").write_text("precious")

    with pytest.raises(CannotListen):
        open_unix(str(tmp_path / "x"), 16)
    assert (tmp_path / "x").read_text() == "precious"


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(CannotListen, match="its directory does not exist"):
        open_unix(str(tmp_path / "no" / "x"), 16)


@pytest.mark.parametrize(("host", "said"), [("1.2.3.4", "1.2.3.4:5"), ("::1", "[::1]:5")])
def test_addresses_are_written_as_in_the_configuration(host, said):
    assert tcp_address(host, 5) == said
