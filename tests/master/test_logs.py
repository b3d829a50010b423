"""Log files are opened by the master, all or none."""

import os
from pathlib import Path

import pytest

from edge.config.tree import Log
from edge.master.logs import Logs


def test_only_paths_are_opened(tmp_path):
    logs = Logs(Log(access=tmp_path / "logs" / "access.log", errors="stderr"))
    os.write(logs.fds["access"], b"x")

    assert list(logs.fds) == ["access"]
    assert (tmp_path / "logs" / "access.log").read_text() == "x"
    logs.close()
    assert logs.fds == {}


def test_a_rotated_file_is_left_behind(tmp_path):
    path = tmp_path / "access.log"
    logs = Logs(Log(access=path))
    path.rename(tmp_path / "access.log.1")
    logs.reopen()
    os.write(logs.fds["access"], b"new")

    assert path.read_text() == "new"
    logs.close()


def test_a_file_that_cannot_be_opened_closes_the_others(tmp_path):
    (tmp_path / "errors").mkdir()
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(OSError, match="errors"):
        Logs(Log(access=tmp_path / "access", errors=tmp_path / "errors"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_failed_reopening_changes_nothing(tmp_path):
    path = tmp_path / "access.log"
    logs = Logs(Log(access=path))
    fd = logs.fds["access"]
    path.unlink()
    path.mkdir()

    with pytest.raises(OSError, match="access"):
        logs.reopen()
    assert logs.fds == {"access": fd}
    logs.close()


def test_a_log_is_appended_to(tmp_path):
    path = Path(tmp_path / "access.log")
    path.write_text("old ")
    logs = Logs(Log(access=path))
    os.write(logs.fds["access"], b"new")

    assert path.read_text() == "old new"
    logs.close()
