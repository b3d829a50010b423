"""
A body that is still arriving: the one who brings it, and what the others see of it.

States of a fill, and what may be done in them:

- FILLING: its bytes up to ``landed_bytes`` may be read by anybody; more may come. If its process is dead, nothing will.
- DONE: all of it has landed and its copy is stored; the body is the copy's.
- FAILED: nothing more will come. What has landed stays readable for a while and then goes.

The numbers are one small record beside the copy's head, rewritten with each append in the same transaction as the bytes, so
that nobody ever sees a length without the bytes.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.cache.storing import NotStored, Unstored, not_stored

if TYPE_CHECKING:
    from edge.cache.copy import Copy
    from edge.cache.store import Store

_PROGRESS: Final = struct.Struct(">QIQcQd")


class FillState(Enum):
    """Where a fill stands; see above."""

    FILLING = b"f"
    DONE = b"d"
    FAILED = b"x"


@dataclass(slots=True)
class Progress:
    """
    How far a fill has come.

    Attributes:
        body_id: whose chunks they are.
        pid, ticks: the process that fills, and when it started, so that another process of its number is not taken for it.
        state: see the module.
        landed_bytes: that can be read.
        since_wall: when its head arrived; of an ended one 0.0, and when the keeper first saw it so, after that.
    """

    body_id: int
    pid: int
    ticks: int
    state: FillState
    landed_bytes: int
    since_wall: float

    def write(self) -> bytes:
        """Return the record."""
        return _PROGRESS.pack(self.body_id, self.pid, self.ticks, self.state.value, self.landed_bytes, self.since_wall)

    @classmethod
    def read(cls, data: bytes) -> Progress:
        """Read a record."""
        body_id, pid, ticks, state, landed, since = _PROGRESS.unpack(data)
        return cls(body_id, pid, ticks, FillState(state), landed, since)

    def ended(self, state: FillState, now_wall: float = 0.0) -> Progress:
        """Return what it is after its end."""
        return Progress(self.body_id, self.pid, self.ticks, state, self.landed_bytes, now_wall)


@dataclass(slots=True)
class FillView:
    """
    A fill, as a joiner sees it.

    Attributes:
        progress: at the moment of asking.
        copy: what it will be; without ids, its ``length`` as announced by the origin, or 0.
    """

    progress: Progress
    copy: Copy

    @property
    def body_id(self) -> int:
        """What to read from."""
        return self.progress.body_id

    @property
    def landed_bytes(self) -> int:
        """How many bytes can be read."""
        return self.progress.landed_bytes

    @property
    def state(self) -> FillState:
        """See the module."""
        return self.progress.state


class Fill:
    """
    The side that brings the body. Made by :meth:`edge.cache.store.Store.begin_fill`.

    Either :meth:`commit` or :meth:`abandon` ends it; whoever does neither and dies is found by the keeper.

    Attributes:
        copy: what it will be.
        progress: how far it is.
        refused: why it ended without a copy; None while it is under way, and when it was stored.
    """

    __slots__ = ("_is_over", "_store", "copy", "progress", "refused")

    def __init__(self, store: Store, copy: Copy, progress: Progress) -> None:
        self._store = store
        self._is_over = False
        self.copy = copy
        self.progress = progress
        self.refused: NotStored | None = None

    @property
    def body_id(self) -> int:
        """Whose chunks they are."""
        return self.progress.body_id

    @property
    def landed_bytes(self) -> int:
        """How many bytes have landed."""
        return self.progress.landed_bytes

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be appended."""
        return self._is_over

    def append(self, data: bytes) -> NotStored | None:
        """
        Land *data* behind what is there; joiners can read it when this returns, and are woken.

        Returns:
            None, or why the fill has failed: there is no room, or the key was purged. It is abandoned then.

        Cost: one transaction; some 15 µs and 3 µs per KiB. Gather small pieces.
        """
        if self._is_over:
            return self.refused or not_stored(Unstored.CLIENT_LEFT)
        if not data:
            return None
        refused = self._store.fill_append(self, data)
        if refused is not None:
            self.abandon(refused.reason)
        return refused

    def commit(self) -> Copy | NotStored:
        """
        Store the copy: all of its body has landed.

        Returns:
            The copy with its ids; or why not, and then the fill is abandoned.
        """
        if self._is_over:
            return self.refused or not_stored(Unstored.CLIENT_LEFT)
        stored = self._store.fill_commit(self)
        if isinstance(stored, NotStored):
            self.abandon(stored.reason)
        self._is_over = True
        return stored

    def abandon(self, reason: Unstored = Unstored.TRUNCATED) -> None:
        """Give it up: joiners learn that nothing more will come. Does nothing when it is over."""
        if not self._is_over:
            self._is_over = True
            self.refused = not_stored(reason)
            self._store.fill_abandon(self)


def start_ticks(pid: int) -> int | None:
    """
    Return when process *pid* started, in the kernel's ticks; None if there is none, or it is a zombie.

    Raises:
        OSError: it cannot be seen from here, whether it is there or not.
    """
    after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return None if after_name[0] in {b"Z", b"X"} else int(after_name[19])


def is_alive(progress: Progress) -> bool:
    """
    Whether the process that fills is still there. Cost: some 20 µs.

    Where processes are invisible to each other (systemd's ``ProtectProc=``), one of that number counts as the same; who
    dies is reaped at once, so a fill of a dead process waits until its number is free, not for ever.
    """
    try:
        return start_ticks(progress.pid) == progress.ticks
    except OSError:
        return _is_there(progress.pid)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's: an older generation's, say
        return True
    return True
