"""``edge check``: every problem on a line of its own, and a last line that sums up."""

from pathlib import Path

import pytest

from edge.cli import main
from edge.cli.check import run

LISTENER = '[[listener]]\naddress = "127.0.0.1:0"\n'
GOOD = LISTENER + 'redirect = "https"\n'


@pytest.fixture
def check(tmp_path, capsys):
    """Check a text as a file; the exit code, and the lines that were printed, without the folder."""

    def check(text):
        path = tmp_path / "edge.toml"
        path.write_text(text)
        code = main(["check", "-c", str(path)])
        printed = capsys.readouterr()
        assert printed.err == ""
        return code, printed.out.replace(f"{tmp_path}/", "").splitlines()

    return check


def test_a_good_file_is_0(check):
    assert check(GOOD) == (0, ["edge.toml: good"])


def test_warnings_are_said_and_still_0(check):
    assert check(LISTENER) == (
        0,
        [
            "edge.toml:1:1: warning: nothing can be answered here; expected at least one [[route]]",
            "edge.toml: good, with 1 warning",
        ],
    )


def test_errors_are_1(check):
    assert check(LISTENER + "[sever]\n") == (
        1,
        [
            "edge.toml:1:1: warning: nothing can be answered here; expected at least one [[route]]",
            "edge.toml:3:2: the file has no setting 'sever'; did you mean 'server'?",
            "edge.toml: 1 error and 1 warning",
        ],
    )


def test_the_file_and_what_it_names_are_checked_in_one_go(check):
    code, lines = check(GOOD + '[server]\nworkers = 0\npid_file = "edge.toml/x"\n')

    assert code == 1
    assert [line.split(" ")[0] for line in lines] == ["edge.toml:5:11:", "edge.toml:6:12:", "edge.toml:"]
    assert lines[-1] == "edge.toml: 2 errors"


def test_a_file_that_is_not_there_is_1(tmp_path, capsys):
    path = tmp_path / "nowhere.toml"

    assert run(path) == 1
    assert capsys.readouterr().out == f"{path}:1:1: cannot be read: No such file or directory\n{path}: 1 error\n"


def test_a_file_is_named_as_it_was_asked_for(tmp_path, capsys, monkeypatch):
    (tmp_path / "edge.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)

    assert run(Path("edge.toml")) == 0
    assert capsys.readouterr().out == "edge.toml: good\n"


def test_nothing_is_made_or_started(check, tmp_path):
    check(GOOD + '[cache]\npath = "cache"\n[log]\naccess = "log/access"\n[server]\npid_file = "run/pid"\n')

    assert [path.name for path in tmp_path.iterdir()] == ["edge.toml"]


def test_a_policy_function_is_tried_where_it_stands(check, tmp_path):
    (tmp_path / "rules_checked.py").write_text("def good(request): ...\n")
    text = GOOD + '[origin.a]\nservers = ["http://127.0.0.1:1"]\n[[route]]\norigin = "a"\npolicy = "{}"\n'

    assert check(text.format("rules_checked:good")) == (0, ["edge.toml: good"])
    assert check(text.format("rules_checked:absent"))[1][0] == "edge.toml:8:10: rules_checked has no absent"
    assert check(text.format("rules_checked"))[1][0].startswith(
        "edge.toml:8:10: policy: 'rules_checked' is no function's name"
    )
