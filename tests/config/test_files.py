"""Users and paths a configuration names, looked at and not touched."""

import os
import pwd
from pathlib import Path

import pytest

from edge.config import Severity, files, parse
from edge.config.files import Identity, check_files

STRANGER = Identity("stranger", 54321, frozenset({54321}))
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs workers as somebody else")
AS_SOMEBODY = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")

LISTENER = '[[listener]]\naddress = "127.0.0.1:80"\nredirect = "https"\n'


@pytest.fixture
def said(tmp_path):
    """Check a file that lies in tmp_path; what is found, without that path."""

    def check(text):
        before = sorted(tmp_path.rglob("*"))
        loaded = parse(LISTENER + text, tmp_path / "edge.toml")
        found = [str(problem).replace(f"{tmp_path}/", "") for problem in check_files(loaded)]
        assert sorted(tmp_path.rglob("*")) == before
        return found

    return check


@pytest.fixture
def nobody():
    """Some user of this machine that is not us."""
    return next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid not in (0, os.geteuid()))


def test_a_configuration_that_names_nothing_is_fine(said):
    assert said("") == []


def test_a_user_that_is_not_there(said):
    loaded = parse(LISTENER + '[server]\nuser = "no-such-user"\n', Path("/edge.toml"))

    (problem,) = check_files(loaded)

    assert (problem.line, problem.col) == (5, 8)
    assert "no user 'no-such-user'" in problem.message
    assert problem.severity is (Severity.ERROR if os.geteuid() == 0 else Severity.WARNING)


def test_certificates_that_are_not_there(said):
    assert said('[[certificate]]\nchain = "c.pem"\nkey = "k.pem"\n[[certificate]]\ndirectory = "d"\n') == [
        "edge.toml:5:9: c.pem cannot be read: No such file or directory; expected a file",
        "edge.toml:6:7: k.pem cannot be read: No such file or directory; expected a file",
        "edge.toml:8:13: d cannot be read: No such file or directory; expected a directory",
    ]


def test_a_file_where_a_directory_is_expected_and_the_other_way_round(said, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    assert said('[[certificate]]\nchain = "folder"\nkey = "file"\n[[certificate]]\ndirectory = "file"\n') == [
        "edge.toml:5:9: folder is a directory; expected a file",
        "edge.toml:8:13: file is no directory; expected a directory",
    ]


def test_every_ca_is_looked_at(said, tmp_path):
    (tmp_path / "x").touch()
    text = (
        'client_ca = "a"\n[[certificate]]\nchain = "x"\nkey = "x"\nclient_ca = "b"\n'
        '[origin.o]\nservers = ["https://h"]\n[origin.o.tls]\nca = "c"\n'
    )

    assert [line.partition(" cannot")[0] for line in said(text)] == [
        "edge.toml:4:13: a",
        "edge.toml:8:13: b",
        "edge.toml:12:6: c",
    ]


def test_missing_parents_are_no_problem_because_they_are_made(said):
    assert (
        said('[server]\npid_file = "run/edge/edge.pid"\n[cache]\npath = "var/cache"\n[log]\naccess = "log/a"\n') == []
    )


def test_a_parent_that_is_a_file_is_one(said, tmp_path):
    (tmp_path / "file").touch()

    assert [
        line.partition(": ")[2].replace(str(tmp_path), "") for line in said('[server]\npid_file = "file/edge.pid"\n')
    ] == ["file/edge.pid cannot be looked at: Not a directory"]
    assert said('[cache]\npath = "file/x"\n') == ["edge.toml:5:8: file/x cannot be made: file is no directory"]


def test_a_directory_cannot_be_written_as_a_file(said, tmp_path):
    (tmp_path / "folder").mkdir()

    assert said('[log]\naccess = "folder"\nerrors = "folder"\n') == [
        "edge.toml:5:10: folder is a directory; expected a file",
        "edge.toml:6:10: folder is a directory; expected a file",
    ]


def test_a_file_cannot_be_a_cache(said, tmp_path):
    (tmp_path / "file").touch()

    assert said('[cache]\npath = "file"\n') == [
        "edge.toml:5:8: file is no directory; expected one, for the cache alone"
    ]


def test_a_unix_socket_does_not_replace_a_file(said, tmp_path):
    (tmp_path / "file").touch()

    assert said('[[listener]]\naddress = "unix:file"\nredirect = "https"\n[admin]\naddress = "unix:file"\n') == [
        "edge.toml:5:11: file is there and is not a socket; it would have to be replaced",
        "edge.toml:8:11: file is there and is not a socket; it would have to be replaced",
    ]


@AS_SOMEBODY
def test_what_we_may_not_write_is_said(said, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "closed.log").touch(mode=0o400)

    found = said(
        '[log]\naccess = "closed.log"\nerrors = "closed/x"\n[cache]\npath = "closed"\n[server]\npid_file = "closed/p"\n'
    )

    assert len(found) == 4
    assert all("may not be written" in line for line in found)


def test_an_unwritable_place_is_said_of_whoever_we_are(monkeypatch, tmp_path):
    """As seen by somebody who owns nothing here."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "a.log").touch()
    (tmp_path / "key").touch()
    for path in (tmp_path, tmp_path / "cache", tmp_path / "a.log", tmp_path / "key"):
        path.chmod(0o700)
    monkeypatch.setattr(Identity, "ours", classmethod(lambda cls: STRANGER))
    text = '[cache]\npath = "cache"\n[log]\naccess = "a.log"\nerrors = "new/e.log"\n[[certificate]]\nchain = "key"\nkey = "key"\n'

    found = [
        str(problem).replace(f"{tmp_path}/", "") for problem in check_files(parse(LISTENER + text, tmp_path / "f"))
    ]

    assert [line.split(" ")[1] for line in found if "may not be written" in line] == ["a.log", "new/e.log", "cache"]
    assert len([line for line in found if "may not be read" in line]) == 2
    assert any("cannot be reached" in line for line in found)


@AS_ROOT
def test_a_cache_the_workers_cannot_get_to_is_said(said, tmp_path, nobody):
    (tmp_path / "closed").mkdir(mode=0o700)

    found = said(f'[server]\nuser = "{nobody}"\n[cache]\npath = "closed/cache"\n')

    assert len(found) == 1
    assert f"cannot be reached by user '{nobody}', who the workers run as" in found[0]


@AS_ROOT
def test_without_a_user_to_be_workers_the_cache_is_not_judged_for_them(said):
    found = said('[server]\nuser = "no-such-user"\n[cache]\npath = "c"\n')

    assert len(found) == 1
    assert "no user" in found[0]


@pytest.mark.parametrize(
    ("mode", "uid", "gids", "expected"),
    [
        (0o700, 1, {9}, True),
        (0o077, 1, {2}, False),  # the owner's bits decide for the owner, even if the others' say more
        (0o070, 3, {2, 9}, True),
        (0o707, 3, {2}, False),
        (0o007, 3, {9}, True),
        (0o770, 3, {9}, False),
        (0o000, 0, {0}, True),
        (0o500, 1, {9}, False),
    ],
)
def test_mode_bits_decide_for_somebody_else(monkeypatch, mode, uid, gids, expected):
    class Status:
        st_mode, st_uid, st_gid = mode, 1, 2

    monkeypatch.setattr(Path, "stat", lambda self: Status)
    monkeypatch.setattr(os, "geteuid", lambda: 77)
    monkeypatch.setattr(files, "_has_acl", lambda path: False)

    assert expected is Identity("x", uid, frozenset(gids)).may(Path("/x"), os.W_OK | os.X_OK)


def test_an_access_control_list_is_believed_to_say_yes(monkeypatch, tmp_path):
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"])

    assert STRANGER.may(tmp_path, os.W_OK)


def test_a_user_is_in_all_its_groups(nobody):
    found = Identity.of_user(nobody)

    assert pwd.getpwnam(nobody).pw_uid == found.uid
    assert pwd.getpwnam(nobody).pw_gid in found.gids


def test_an_address_that_is_not_ours_is_doubtful(said):
    """Doubtful only: a standby has its address when the other fails."""
    text = 'servers = ["http://127.0.0.1:1"]\nsource = ["192.0.2.1", "::1"]\n'
    found = said("[origin.o]\n" + text)

    assert [line.split(": expected")[0].partition(" ")[2] for line in found] == [
        "warning: 192.0.2.1 is no address of this machine now: Cannot assign requested address; expected one of its own"
    ]
