"""
Which of the queues of one address the kernel puts new connections into.

Left alone, the kernel spreads connections over all ``SO_REUSEPORT`` queues of an address, also into one whose worker
is gone, where they would wait. A small classic BPF program, attached to the group, chooses among the queues that
have a worker. So a queue can be emptied before it is closed (closing one with connections pending resets them), and a
place in back-off swallows nothing.

The program draws a random number rather than look at the packet's hash: not every network card provides one, and
without it all connections would land in one queue. A connection's later packets never come here.

Queues are numbered as the kernel does: in the order they began to listen; when one closes, the last one takes its
number (``reuseport_detach_sock``). :class:`~edge.listen.queues.Queues` keeps the same order.

Source: socket(7) SO_ATTACH_REUSEPORT_CBPF; Linux ``net/core/sock_reuseport.c``, ``filter.h`` SKF_AD_RANDOM.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SO_ATTACH_REUSEPORT_CBPF: Final = 51
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_SKIP_UNLESS_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_RANDOM: Final = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM


class Instruction(NamedTuple):
    """``struct sock_filter``."""

    code: int
    if_true: int
    if_false: int
    operand: int


def program(queues: Sequence[int]) -> list[Instruction]:
    """
    Return the program that chooses one of *queues*, each as likely as the others.

    Args:
        queues: the kernel's numbers; at least one, at most 2000 (the kernel takes 4096 instructions).
    """
    assert 0 < len(queues) <= 2000
    steps = [Instruction(_LOAD, 0, 0, _RANDOM), Instruction(_MODULO, 0, 0, len(queues))]
    for drawn, queue in enumerate(queues[:-1]):
        steps += [Instruction(_SKIP_UNLESS_EQUAL, 0, 1, drawn), Instruction(_RETURN, 0, 0, queue)]
    steps.append(Instruction(_RETURN, 0, 0, queues[-1]))
    return steps


def attach(sock: socket.socket, queues: Sequence[int]) -> bool:
    """
    Let the group *sock* belongs to fill only *queues* from now on.

    Returns:
        Whether the kernel can do that. If not, it goes on spreading over all of them.
    """
    steps = program(queues)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    try:
        sock.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", len(steps), ctypes.addressof(code))
        )
    except OSError:  # a kernel or sandbox without it
        return False
    return True
