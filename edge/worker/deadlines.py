"""
One deadline per session, swept by one task; no timer per request.

A session carries the moment it must have moved on by (``deadline``) and the bucket it waits in (``bucket``). Moving a
deadline later is one attribute write: the sweep finds the session in its old bucket, sees that its time has not
come, and puts it into the right one. Moving it earlier moves it to an earlier bucket at once. Buckets are one
second wide, so a deadline is kept to within two seconds, never early.

Invariant: a session is in at most one bucket, the one it names, and that bucket is not later than its deadline's.

Cost: :meth:`Deadlines.arm` on the hit path is two compares and a write; a sweep touches only sessions whose bucket
is due.
"""

from __future__ import annotations

import math
from typing import Generic, Protocol, TypeVar

NEVER = math.inf


class Timed(Protocol):
    """What can wait here: both attributes start as NEVER. Hashed by identity."""

    deadline: float
    bucket: float


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    """Sessions by the ``mono`` second at which they are next looked at."""

    __slots__ = ("_buckets", "_swept")

    def __init__(self) -> None:
        self._buckets: dict[float, dict[T, None]] = {}
        self._swept = -1.0

    def arm(self, session: T, at: float) -> None:
        """Let *session* expire at *at* unless it is armed again before; NEVER disarms it."""
        session.deadline = at
        if at < session.bucket - 1:
            self._leave(session)
            self._enter(session)

    def forget(self, session: T) -> None:
        """Drop *session*: it closed."""
        session.deadline = NEVER
        self._leave(session)

    def sweep(self, now_mono: float) -> list[T]:
        """Return the sessions whose time has come; each is disarmed."""
        due = math.floor(now_mono)
        expired: list[T] = []
        if due <= self._swept:
            return expired
        self._swept = due
        for bucket in sorted(b for b in self._buckets if b <= due):
            for session in self._buckets.pop(bucket):
                session.bucket = NEVER
                if session.deadline <= now_mono:
                    session.deadline = NEVER
                    expired.append(session)
                elif session.deadline != NEVER:
                    self._enter(session)
        return expired

    def _enter(self, session: T) -> None:
        bucket = max(math.ceil(session.deadline), self._swept + 1)
        session.bucket = bucket
        self._buckets.setdefault(bucket, {})[session] = None

    def _leave(self, session: T) -> None:
        waiting = self._buckets.get(session.bucket)
        if waiting is not None:
            waiting.pop(session, None)
            if not waiting:
                del self._buckets[session.bucket]
        session.bucket = NEVER

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._buckets.values())
