"""Privileges are given up in the child, for good."""

import os
import pwd
import resource
from pathlib import Path

import pytest

from edge.master import privileges
from edge.master.privileges import Identity, NobodyThere, become, give, identity, name_process

IS_ROOT = os.geteuid() == 0


def _in_child(act):
    """Run *act* in a child; return what it returns, a string."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = act()
        except BaseException as error:
            said = repr(error)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said


def test_who_is_not_root_becomes_nobody_else():
    assert identity("daemon", is_root=False) is None
    assert identity(None, is_root=True) is None


def test_a_user_is_found_with_all_groups():
    entry = pwd.getpwnam("daemon")
    found = identity("daemon", is_root=True)

    assert (found.uid, found.gid) == (entry.pw_uid, entry.pw_gid)
    assert entry.pw_gid in found.groups


def test_a_missing_user_is_a_sentence():
    with pytest.raises(NobodyThere, match="'no-such-user' does not exist"):
        identity("no-such-user", is_root=True)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_what_was_given_up_cannot_be_had_again():
    somebody = identity("daemon", is_root=True)

    def try_to_return():
        become(somebody)
        try:
            os.setuid(0)
        except PermissionError:
            return f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())}"
        return "root again"

    uid, gid = somebody.uid, somebody.gid
    assert _in_child(try_to_return) == f"{(uid,) * 3} {(gid,) * 3} {sorted(somebody.groups)}"


def test_no_program_can_give_any_back():
    def no_new_privs():
        become(None)
        with open("/proc/self/status") as status:
            return next(line.split()[1] for line in status if line.startswith("NoNewPrivs"))

    assert _in_child(no_new_privs) == "1"


PR_GET_DUMPABLE = 3


def dumpable() -> str:
    return f"{privileges._prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)} {resource.getrlimit(resource.RLIMIT_CORE)}"


@pytest.mark.parametrize("hide", [privileges.hide, lambda: become(None)], ids=["master", "child"])
def test_no_core_is_left_and_nobody_looks_in(hide):
    def hidden():
        hide()
        return dumpable()

    assert _in_child(hidden) == "0 (0, 0)"


def test_a_child_may_write_to_what_is_its_own_and_is_hidden_again():
    """The kernel is to take a worker before the master; whoever is hidden may not say so about himself."""

    def says_so():
        privileges.hide()
        if not IS_ROOT:
            with pytest.raises(PermissionError):
                Path("/proc/self/oom_score_adj").write_text("200")
        with privileges.own_proc():
            Path("/proc/self/oom_score_adj").write_text("200")
        return Path("/proc/self/oom_score_adj").read_text().strip() + " " + dumpable()

    assert _in_child(says_so) == "200 0 (0, 0)"


def test_a_missing_directory_is_made(tmp_path):
    give(tmp_path / "a" / "cache", None)

    assert (tmp_path / "a" / "cache").stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(not IS_ROOT, reason="only root can give")
def test_the_cache_and_what_lies_in_it_is_given_but_no_link_followed(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "data.mdb").write_text("x")
    (tmp_path / "precious").write_text("x")
    (cache / "link").symlink_to(tmp_path / "precious")
    give(cache, Identity("somebody", 1234, 1235, ()))

    assert [(path.lstat().st_uid, path.lstat().st_gid) for path in (cache, cache / "data.mdb", cache / "link")] == [
        (1234, 1235)
    ] * 3
    assert (tmp_path / "precious").stat().st_uid == 0


def test_a_process_has_a_name():
    def named():
        name_process("edge-worker-12345")
        with open("/proc/self/comm") as comm:
            return comm.read().strip()

    assert _in_child(named) == "edge-worker-123"


def test_a_kernel_that_refuses_is_not_ignored(monkeypatch):
    monkeypatch.setattr(privileges, "_prctl", lambda *_: -1)

    with pytest.raises(OSError, match="NO_NEW_PRIVS"):
        become(None)


@pytest.mark.skipif(not IS_ROOT, reason="only root has capabilities to lose")
def test_capabilities_are_lost_as_well():
    """As under systemd's AmbientCapabilities=: not root, yet able to bind low ports."""
    somebody = identity("daemon", is_root=True)

    def capabilities_after():
        privileges._prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        become(somebody)
        with open("/proc/self/status") as status:
            return " ".join(line.split()[1] for line in status if line.startswith(("CapEff", "CapPrm", "CapAmb")))

    assert _in_child(capabilities_after) == " ".join(["0" * 16] * 3)


@pytest.mark.skipif(not IS_ROOT, reason="only root can stay root")
def test_root_that_is_to_stay_root_keeps_what_it_has():
    def capabilities_after():
        become(None)
        with open("/proc/self/status") as status:
            return next(line.split()[1] for line in status if line.startswith("CapEff"))

    assert set(_in_child(capabilities_after)) != {"0"}
