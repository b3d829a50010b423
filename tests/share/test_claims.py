"""A claim is one process's, and ends with it, however that ends."""

import os
import signal

import pytest

from edge.share.claims import Claims

BIG = 2**63 - 1


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims")


def _in_child(tmp_path, act):
    """Run act(claims) in a child that has its own claims; return its pid, once it has acted, and a pipe to end it."""
    told, tell = os.pipe()
    wait, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        done = act(Claims(tmp_path / "claims"))
        os.write(tell, b"1" if done else b"0")
        os.read(wait, 1)
        os._exit(0)
    os.close(tell)
    os.close(wait)
    answer = os.read(told, 1) == b"1"
    os.close(told)
    return pid, answer, go


def test_a_number_is_claimed_once_here(claims):
    assert claims.claim(7)
    assert not claims.claim(7)
    assert claims.holder(7) == os.getpid()
    assert len(claims) == 1


def test_a_released_number_is_free(claims):
    claims.claim(BIG)
    claims.release(BIG)

    assert claims.claim(BIG)


def test_what_another_process_claims_is_refused_and_named(claims, tmp_path):
    pid, done, go = _in_child(tmp_path, lambda theirs: theirs.claim(BIG))

    assert done
    assert not claims.claim(BIG)
    assert claims.holder(BIG) == pid
    assert claims.claim(BIG - 1)
    os.close(go)
    os.waitpid(pid, 0)


def test_a_killed_process_leaves_no_claim_behind(claims, tmp_path):
    pid, _, go = _in_child(tmp_path, lambda theirs: theirs.claim(3))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(go)

    assert claims.claim(3)


def test_our_claims_hold_against_others(claims, tmp_path):
    claims.claim(5)
    pid, done, go = _in_child(tmp_path, lambda theirs: theirs.claim(5))

    assert not done
    os.close(go)
    os.waitpid(pid, 0)


def test_nobody_holds_what_nobody_claimed(claims):
    assert claims.holder(1) is None


def test_releasing_what_is_not_ours_is_a_bug(claims):
    with pytest.raises(AssertionError):
        claims.release(1)


def test_an_open_descriptor_will_do(tmp_path):
    fd = os.open(tmp_path / "claims", os.O_RDWR | os.O_CREAT)

    assert Claims(fd).claim(1)


def test_a_file_that_cannot_be_locked_is_an_error():
    """A read-only descriptor cannot carry a write lock: EBADF is not "somebody has it"."""
    with pytest.raises(OSError, match="Bad file"):
        Claims(os.open("/dev/null", os.O_RDONLY)).claim(1)
