"""The pid file names the master, and only ours is removed."""

import os

import pytest

from edge.master import pidfile, privileges


def test_it_is_written_whole_and_its_directory_made(tmp_path):
    path = tmp_path / "run" / "edge.pid"
    pidfile.write(path, 4711)

    assert path.read_text() == "4711\n"
    assert [each.name for each in path.parent.iterdir()] == ["edge.pid"]


def test_ours_is_removed(tmp_path):
    path = tmp_path / "edge.pid"
    pidfile.write(path, 4711)
    pidfile.remove(path, 4711)

    assert not path.exists()


def test_a_successors_is_left(tmp_path):
    path = tmp_path / "edge.pid"
    pidfile.write(path, 4712)
    pidfile.remove(path, 4711)

    assert path.read_text() == "4712\n"


def test_a_missing_or_strange_file_is_nobodys(tmp_path):
    path = tmp_path / "edge.pid"
    pidfile.remove(path, 1)
    path.write_text("what?")
    pidfile.remove(path, 1)

    assert path.exists()


@pytest.fixture
def namesake():
    """A process that is called as a master is."""
    heard, told = os.pipe()
    waits, go_on = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go_on)
            privileges.name_process(pidfile.MASTER)
            os.write(told, b"x")
            os.read(waits, 1)
        finally:
            os._exit(0)
    os.read(heard, 1)
    yield pid
    os.close(go_on)
    os.waitpid(pid, 0)
    for fd in (heard, told, waits):
        os.close(fd)


def test_another_master_that_runs_holds_it(tmp_path, namesake):
    path = tmp_path / "edge.pid"
    pidfile.write(path, namesake)

    assert pidfile.holder(path) == namesake


def test_nobody_else_holds_it(tmp_path, namesake, monkeypatch):
    """Nobody, someone who is no master, ourselves, and who began us."""
    path = tmp_path / "edge.pid"
    assert pidfile.holder(path) is None
    for text in ("what?", "1\n", f"{2**30}\n"):
        path.write_text(text)
        assert pidfile.holder(path) is None
    pidfile.write(path, namesake)
    for name in ("getpid", "getppid"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda: namesake)
            assert pidfile.holder(path) is None
