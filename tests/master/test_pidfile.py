"""The pid file names the master, and only ours is removed."""

from edge.master import pidfile


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
