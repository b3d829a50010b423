"""What systemd is told, word by word."""

import socket

import pytest

from edge.master.notify import Notifier


@pytest.fixture
def heard(tmp_path):
    """A service manager: call it for what has been said since."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.setblocking(False)

    def words():
        found = []
        while True:
            try:
                found.append(sock.recv(4096).decode())
            except BlockingIOError:
                return found

    yield words
    sock.close()


@pytest.fixture
def notifier(heard, tmp_path):
    speaker = Notifier(str(tmp_path / "notify"), 5.0)
    yield speaker
    speaker.close()


def test_a_life_is_told_in_systemds_words(notifier, heard):
    notifier.ready()
    notifier.status("2 of 2 workers\nready")
    notifier.reloading(12.3456789)
    notifier.ready()
    notifier.beat()
    notifier.main_pid(99)
    notifier.stopping()

    assert heard() == [
        "READY=1",
        "STATUS=2 of 2 workers ready",
        "RELOADING=1\nMONOTONIC_USEC=12345678",
        "READY=1",
        "WATCHDOG=1",
        "MAINPID=99",
        "STOPPING=1",
    ]


def test_the_same_status_is_said_once(notifier, heard):
    for sentence in ("a", "a", "b", "a"):
        notifier.status(sentence)

    assert heard() == ["STATUS=a", "STATUS=b", "STATUS=a"]


def test_without_a_manager_nothing_is_said():
    notifier = Notifier()
    notifier.ready()
    notifier.status("x")
    notifier.beat()
    notifier.close()

    assert notifier.variables() == {}


def test_a_manager_that_is_gone_stops_nobody(tmp_path):
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.ready()
    notifier.close()


def test_an_abstract_address_is_understood():
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind("\0edge-test-notify")
    notifier = Notifier("@edge-test-notify")
    notifier.ready()

    assert manager.recv(100) == b"READY=1"
    manager.close()
    notifier.close()


def test_the_environment_is_read_and_cleared():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = Notifier.from_environment(environ, pid=7)

    assert environ == {"HOME": "/"}
    assert notifier.watchdog_s == 15.0
    assert notifier.variables() == {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}
    notifier.close()


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}],
)
def test_a_watchdog_that_is_not_meant_for_us_is_not_fed(environ):
    assert Notifier.from_environment(environ, pid=7).watchdog_s is None


def test_no_watchdog_no_beat(heard, tmp_path):
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.beat()

    assert heard() == []
    notifier.close()
