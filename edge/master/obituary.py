"""
One line per dead child: who, how old, of what, and what it had promised.

Pure text.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.master.roster import Child


def cause(status: int) -> str:
    """Say what a wait status means: ``exit 0``, ``SIGKILL``, ``SIGSEGV, core dumped``."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:  # a real-time signal without a name
            name = f"signal {number}"
        return f"{name}, core dumped" if os.WCOREDUMP(status) else name
    return f"exit {os.waitstatus_to_exitcode(status)}"


def obituary(child: Child, status: int, now_mono: float) -> str:
    """Return the line. ``late 3.2s`` says how long ago the last promise had run out."""
    words = [f"{child.name} (pid {child.pid}, generation {child.generation}, slot {child.slot})"]
    words.append("left" if child.was_asked and status == 0 else "died")
    words.append(f"after {now_mono - child.born_mono:.1f}s, {child.state.value}: {cause(status)}")
    if child.deadline and child.deadline < now_mono:
        words.append(f"(late {now_mono - child.deadline:.1f}s)")
    line = " ".join(words)
    return f"{line}: {child.reason}" if child.reason else line


def is_peaceful(child: Child, status: int) -> bool:
    """Whether it left as asked: nobody needs to be woken for it."""
    return child.was_asked and status == 0
