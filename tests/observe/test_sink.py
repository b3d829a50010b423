"""A log that is not read cannot stop whoever writes it, and lines stay whole."""

import os
import socket
import stat
from pathlib import Path

import pytest

from edge.observe import sink as sink_module
from edge.observe.sink import PIPE_BUF, Sink

LINE = b"x" * 99 + b"\n"


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    sink = Sink(path)

    assert sink.write(LINE * 1000) == 100_000
    assert b"before\n" + LINE * 1000 == path.read_bytes()
    assert "file" in repr(sink)
    sink.close()


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "log")

    assert stat.S_IMODE(os.stat(tmp_path / "log").st_mode) & 0o007 == 0
    sink.close()


def test_a_path_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Sink(tmp_path / "missing" / "log")


def test_a_failed_reopen_keeps_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = Sink(folder / "log")
    folder.rename(tmp_path / "moved")
    with pytest.raises(OSError, match="No such file"):
        sink.reopen()

    assert sink.write(LINE) == len(LINE)
    assert LINE == (tmp_path / "moved" / "log").read_bytes()
    sink.close()


@pytest.mark.parametrize("must_poll", [False, True], ids=["own description", "polled"])
def test_a_full_pipe_takes_whole_lines_and_then_nothing_without_waiting(
    must_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    if must_poll:
        monkeypatch.setattr(sink_module.os, "open", refuse)
    sink = Sink("stderr", writer)
    taken = 0
    while count := sink.write(LINE * 500):
        taken += count

    assert taken > 0
    assert taken % len(LINE) == 0
    assert ("polled" if must_poll else "nonblocking") in repr(sink)
    assert os.read(reader, 1 << 20).endswith(b"\n")
    assert sink.write(LINE) == len(LINE)
    os.close(reader)
    sink.close()


def refuse(*_: object, **__: object) -> int:
    raise PermissionError


def test_the_pipe_of_whoever_started_us_stays_blocking() -> None:
    """O_NONBLOCK belongs to the description, which the parent's other children share."""
    reader, writer = os.pipe()
    sink = Sink("stderr", os.dup(writer))
    sink.write(LINE)

    assert os.get_blocking(writer)
    sink.close()
    os.close(reader)
    os.close(writer)


def test_a_line_longer_than_an_atomic_write_gets_through() -> None:
    reader, writer = os.pipe()
    sink = Sink("stderr", writer)
    long = b"y" * (3 * PIPE_BUF) + b"\n"

    assert sink.write(long + LINE) == len(long) + len(LINE)
    assert long + LINE == os.read(reader, 1 << 20)
    os.close(reader)
    sink.close()


def test_a_full_socket_takes_nothing_and_stays_blocking_for_others() -> None:
    ours, theirs = socket.socketpair()
    shared = ours.dup()
    sink = Sink("stderr", ours.detach())
    while sink.write(LINE * 100):
        pass

    assert shared.getblocking()
    assert "socket" in repr(sink)
    assert theirs.recv(1 << 20).startswith(b"xxx")
    sink.close()
    shared.close()
    theirs.close()


def test_a_reader_that_left_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    sink = Sink("stderr", writer)
    os.close(reader)

    assert sink.write(LINE) == 0
    sink.close()


def test_a_closed_sink_takes_nothing_and_can_be_closed_again(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "log")
    sink.close()
    sink.close()

    assert sink.write(LINE) == 0
    assert sink.fileno() == -1


def test_standard_error_is_used_through_a_descriptor_of_our_own() -> None:
    sink = Sink("stderr")

    assert sink.fileno() != 2
    sink.reopen()
    sink.close()
    os.fstat(2)
