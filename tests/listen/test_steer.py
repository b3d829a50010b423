"""The kernel fills the queues it is told to, and no others."""

import pytest

from edge.listen.bind import open_tcp
from edge.listen.steer import Instruction, attach, program
from tests.listen.clients import connect_many, count_pending


def _run(steps, drawn):
    """The two registers' worth of classic BPF that the program uses."""
    accumulator = at = 0
    while True:
        step = steps[at]
        at += 1
        if step.code == 0x20:
            accumulator = drawn
        elif step.code == 0x94:
            accumulator %= step.operand
        elif step.code == 0x15:
            at += step.if_true if accumulator == step.operand else step.if_false
        else:
            assert step.code == 0x06
            return step.operand


@pytest.mark.parametrize("queues", [(0,), (3,), (0, 1), (2, 5, 7), tuple(range(1, 300, 2))])
def test_every_chosen_queue_is_as_likely_as_the_others(queues):
    steps = program(queues)

    assert [_run(steps, drawn) for drawn in range(len(queues) * 2)] == [*queues, *queues]


def test_the_longest_program_fits_the_kernel():
    assert len(program(range(2000))) <= 4096


def test_a_program_chooses_something():
    with pytest.raises(AssertionError):
        program(())


def test_jumps_skip_one_return():
    assert program((4, 9))[2] == Instruction(0x15, 0, 1, 0)


def test_the_kernel_fills_only_what_it_is_told_to():
    first = open_tcp("127.0.0.1", 0, 128)
    port = first.getsockname()[1]
    queues = [first, open_tcp("127.0.0.1", port, 128), open_tcp("127.0.0.1", port, 128)]
    if not attach(first, (0, 2)):
        pytest.skip("this kernel does not steer")
    clients = connect_many(first.getsockname(), 40)
    counts = [count_pending(queue) for queue in queues]
    for sock in clients + queues:
        sock.close()

    assert counts[1] == 0
    assert sum(counts) == 40
    assert min(counts[0], counts[2]) > 5


def test_a_kernel_that_cannot_steer_says_so():
    unix = __import__("socket").socket(1)

    assert not attach(unix, (0,))
    unix.close()
