"""A child has what its heritage names, and nothing else."""

import os

from edge.master.spawn import close_all_but


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
