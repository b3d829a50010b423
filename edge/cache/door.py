"""
Who may come in to the store's directory, and what is done with a database that cannot be trusted.

Every process opens the store for itself, after its fork. Openers pass one at a time (the lock on ``door``) and then hold a
shared lock on ``users`` for as long as they live. Who finds that lock free is alone: only then is what lies there examined,
because only then can it be replaced. Who is last to leave marks it clean.

LMDB keeps its promise when a process is killed at any point, so after that the database is trusted. It does not when the machine
stops before its pages were written: we never wait for the disk. So a database written under another boot is trusted only
if it was left clean; else it is discarded. One that is damaged is moved aside, one at most, for whoever wants to know why.

States on disk (``state``): *open*: in use, or left by a kill; *clean*: everything is on the disk.
Invariant: no process has the database open while it is replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import lmdb

from edge.cache.copy import FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

with contextlib.suppress(ImportError):  # not every version has it, and those that do import it with the first opening:
    import lmdb._envid

_T = TypeVar("_T")

DATA: Final = "data.mdb"
LOCK: Final = "lock.mdb"
ASIDE: Final = "damaged-"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

DAMAGED: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadTxnError,
    lmdb.BadDbiError,
)
"""Errors of LMDB that say: this file is not what we wrote."""


def boot_id() -> str:
    """Return what the kernel calls this run of the machine."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


class Door:
    """
    The locks of one process on the directory *path*, which is made if it is missing.

    Args:
        path: the store's directory.
        size: bytes the database may grow to.
        boot: see :func:`boot_id`; a test gives another.

    Raises:
        OSError: the directory cannot be made or written to.
    """

    __slots__ = ("_boot", "_door", "_users", "note", "path", "size")

    def __init__(self, path: Path, size: int, boot: str | None = None) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self.size = size
        self.note: str | None = None
        self._boot = boot or boot_id()
        self._door = os.open(path / "door", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._users = os.open(path / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def enter(
        self, make: Callable[[], lmdb.Environment], outline: Callable[[lmdb.Environment], _T]
    ) -> tuple[lmdb.Environment, _T]:
        """
        Open the database, after replacing it if it cannot be trusted. ``note`` then says what was done, for the log.

        Args:
            make: opens it in ``path``, without looking into it.
            outline: finds what the caller needs in it, or begins it.

        Raises:
            lmdb.Error: not even an empty one can be opened.
        """
        with self._locked_door():
            if not self._is_alone():
                return self._opened(make, outline)
            self._examine()
            try:
                found = self._opened(make, outline)
            except DAMAGED as damage:
                self._set_aside(f"{type(damage).__name__}: {damage}")
                found = self._opened(make, outline)
            self._write_state("open")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return found

    def leave(self, env: lmdb.Environment | None) -> None:
        """
        Close the database. Whoever leaves last waits for the disk and marks it clean.

        Args:
            env: None if it is not to be vouched for.
        """
        with self._locked_door():
            fcntl.flock(self._users, fcntl.LOCK_UN)
            if env is not None:
                if self._is_alone() and not (self.path / "damage").exists():
                    env.sync(True)  # by force: the environment is opened without
                    env.close()
                    self._write_state("clean")
                else:
                    env.close()
        self.drop()

    def drop(self) -> None:
        """Give the locks back without touching the database."""
        os.close(self._users)
        os.close(self._door)

    def report_damage(self, what: str) -> None:
        """Have the database set aside by the next process that finds itself alone. Never raises."""
        with contextlib.suppress(OSError):  # a full or read-only disk: then it is found damaged again
            (self.path / "damage").write_text(what, encoding="utf-8")

    @contextlib.contextmanager
    def _locked_door(self) -> Iterator[None]:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _is_alone(self) -> bool:
        """Whether nobody else is in; if so nobody can come in while we hold the door. Else we are counted in."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return False
        return True

    def _examine(self) -> None:
        """Replace what must not even be opened."""
        data = self.path / DATA
        if not data.exists():
            self._discard(None)
            return
        damage = self.path / "damage"
        if damage.exists():
            self._set_aside(damage.read_text(encoding="utf-8", errors="replace") or "reported")
            return
        state = self._read_state()
        if state is None:
            self._discard("the cache's state is unreadable: started empty")
        elif state.get("format") != FORMAT:
            self._discard("the cache was written in another format: started empty")
        elif state.get("boot") != self._boot and state.get("state") != "clean":
            self._discard("the machine stopped before the cache was on the disk: started empty")
        elif data.stat().st_size > self.size:
            self._discard("the cache is larger than its new size: started empty")

    def _opened(
        self, make: Callable[[], lmdb.Environment], outline: Callable[[lmdb.Environment], _T]
    ) -> tuple[lmdb.Environment, _T]:
        """Open the database and read its outline, if all of it is there: a page beyond the file's end kills with SIGBUS."""
        env = make()
        try:
            self._measure(env)
            return env, outline(env)
        except BaseException:
            env.close()
            raise

    def _measure(self, env: lmdb.Environment) -> None:
        pages = env.info()["last_pgno"] + 1
        if (self.path / DATA).stat().st_size < pages * env.stat()["psize"]:
            raise lmdb.CorruptedError("the file is shorter than its pages")

    def _set_aside(self, why: str) -> None:
        """Move the damaged database out of the way; of several only the last is kept, so that they never fill the disk."""
        for older in self.path.glob(ASIDE + "*"):
            older.unlink()
        data = self.path / DATA
        name = f"{ASIDE}{data.stat().st_mtime_ns // 10**9}.mdb"
        data.rename(self.path / name)
        self._discard(f"the cache was damaged ({why}): set aside as {name}, started empty")

    def _discard(self, note: str | None) -> None:
        for name in (DATA, LOCK, "damage", "state"):
            (self.path / name).unlink(missing_ok=True)
        self.note = note

    def _read_state(self) -> dict[str, object] | None:
        try:
            state = json.loads((self.path / "state").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return state if isinstance(state, dict) else None

    def _write_state(self, state: str) -> None:
        text = json.dumps({"format": FORMAT, "boot": self._boot, "state": state})
        part = self.path / "state.part"
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / "state")
