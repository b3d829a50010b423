"""A child has what its heritage names, and nothing else."""

import os
import sys

import pytest

from edge.config.tree import Config
from edge.master.spawn import Lazy, Unloadable, _load, close_all_but


def _in_child(act):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _open_now():
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def test_everything_but_the_kept_is_closed():
    one, two = os.pipe()
    os.dup2(one, 300)

    def act():
        close_all_but({0, 1, 2, two})
        return int(_open_now() != {0, 1, 2, two})

    assert _in_child(act) == 0
    for fd in (one, two, 300):
        os.close(fd)


def test_keeping_the_first_descriptor_does_not_close_everything():
    """CPython hands closerange(0, 0) to the kernel as "up to fd -1", which is all of them."""

    def act():
        close_all_but({0})
        os.fstat(0)
        return 0

    assert _in_child(act) == 0


def test_a_descriptor_that_is_closed_already_is_not_kept():
    def act():
        close_all_but({0, 1, 2, -1})
        return int(_open_now() != {0, 1, 2})

    assert _in_child(act) == 0


@pytest.mark.parametrize(
    "text",
    ["def main(:", "from edge import no_such_thing", "import edge.no_such_module", "", "import os\nos.no_such_thing"],
)
def test_a_program_that_was_replaced_under_us_is_said_to_be(tmp_path, monkeypatch, text):
    """What is imported after the fork may be of another version than what was before."""
    (tmp_path / "another_life.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "another_life", raising=False)

    with pytest.raises(Unloadable, match="another than the one that runs; once it is whole, send the master USR2"):
        _load(Lazy("another_life"), Config())


def test_an_error_in_a_program_that_is_whole_is_its_own(tmp_path, monkeypatch):
    (tmp_path / "broken_life.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ZeroDivisionError):
        _load(Lazy("broken_life"), Config())
