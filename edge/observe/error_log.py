"""
What we say to the operator: the error log, over the standard library's logging.

One logger tree, ``edge``; every process sets it up once, with a name for itself. Under systemd a line begins with
the priority the journal reads (``<3>``), elsewhere with time and level. What others said (details of
faults hold bytes from the wire) leaves as one printable line. What can happen a thousand times a second goes
through :class:`Seldom`. A log that cannot be written must not stop a server: such errors are swallowed here.
Source: sd-daemon(3).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from edge.observe.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOGGER: Final = "edge"

SELDOM_S: Final = 60.0
"""How long the same sentence stays unsaid after it was said."""

SELDOM_KEYS: Final = 1024

SELDOM_CAUSES: Final = 8
"""Different causes of one sentence that are said within that time: a cause may hold words of a client's, and be another each time."""

_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class ErrorLog:
    """
    The error log of one process, as :func:`set_up` made it.

    Attributes:
        sink: where it writes.
    """

    def __init__(self, sink: Sink, handler: logging.Handler) -> None:
        self.sink = sink
        self._handler = handler

    def reopen(self) -> None:
        """
        Open the path anew.

        Raises:
            OSError: the path cannot be opened; the old file stays in use.
        """
        self.sink.reopen()

    def replace(self, fd: int) -> None:
        """Go on with *fd*, which a process with the right opened."""
        self.sink.replace(fd)

    def close(self) -> None:
        """Undo what :func:`set_up` did to the logger, and close the file."""
        logger = logging.getLogger(LOGGER)
        logger.removeHandler(self._handler)
        logger.propagate = True
        self.sink.close()


def set_up(
    target: str | Path = "stderr",
    *,
    level: str = "info",
    process: str = "master",
    environ: Mapping[str, str] = os.environ,
    fd: int | None = None,
) -> ErrorLog:
    """
    Make the ``edge`` logger write to *target*; what an earlier call set up is taken off and closed.

    Args:
        target: ``"stderr"`` or a path.
        level: debug, info, warning or error.
        process: who speaks: ``"master"``, ``"worker 3"``, ``"keeper"``.
        environ: where systemd says that standard error is the journal.
        fd: an open descriptor of the target, when another process opened it.

    Raises:
        OSError: the path cannot be opened; nothing was changed.
    """
    sink = Sink(target, fd)
    handler = _SinkHandler(sink)
    handler.setFormatter(_Formatter(process, journal=target == "stderr" and is_journal(environ)))
    logger = logging.getLogger(LOGGER)
    for old in [old for old in logger.handlers if isinstance(old, _SinkHandler)]:
        logger.removeHandler(old)
        old.sink.close()
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    return ErrorLog(sink, handler)


def current() -> ErrorLog | None:
    """Return the error log that :func:`set_up` made in this process, or one it has inherited; None without one."""
    for handler in logging.getLogger(LOGGER).handlers:
        if isinstance(handler, _SinkHandler):
            return ErrorLog(handler.sink, handler)
    return None


def is_journal(environ: Mapping[str, str]) -> bool:
    """Tell whether standard error is the very stream systemd connected to its journal (device and inode agree)."""
    try:
        here = os.fstat(2)
    except OSError:  # closed: nobody reads it
        return False
    return environ.get("JOURNAL_STREAM") == f"{here.st_dev}:{here.st_ino}"


class Seldom:
    """
    Lets a sentence through once a minute, and then says how often it was held back.

    Where it has a cause it is let through for another cause, too, but for SELDOM_CAUSES of them in a minute and no more.
    Bounded: with more than SELDOM_KEYS different keys it forgets them all and speaks again.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[object, _Held] = {}

    def may_say(self, key: object, now_mono: float, cause: object = None) -> int | None:
        """
        Ask whether the sentence *key* stands for may be said now.

        Args:
            key: who has failed, or what has happened.
            now_mono: the time.
            cause: why, as far as that makes another sentence of it.

        Returns:
            None: not now. Otherwise how often it was held back, for whatever cause, since it was last said.
        """
        held = self._held.get(key)
        if held is None or now_mono - held.since_mono >= SELDOM_S:
            if len(self._held) >= SELDOM_KEYS:
                self._held.clear()
            self._held[key] = _Held(now_mono, hash(cause))
            return 0 if held is None else held.times
        if hash(cause) in held.causes or len(held.causes) >= SELDOM_CAUSES:
            held.times += 1
            return None
        held.causes.add(hash(cause))
        times, held.times = held.times, 0
        return times


class _Held:
    """What was said of one key within a minute: since when, for which causes (their hashes), and how often it was held back since."""

    __slots__ = ("causes", "since_mono", "times")

    def __init__(self, since_mono: float, cause: int) -> None:
        self.since_mono = since_mono
        self.causes = {cause}
        self.times = 0


def printable(text: str) -> str:
    r"""Return *text* on one line: what does not print (line ends, escapes, direction marks) as ``\\xHH`` or ``\\uHHHH``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class _Formatter(logging.Formatter):
    """One line per record; a traceback follows indented, each of its lines under the same priority."""

    def __init__(self, process: str, *, journal: bool) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self._process = process
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        lines = [printable(record.getMessage())]
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            lines += [f"    {printable(line)}" for line in record.exc_text.splitlines()]
        if self._journal:
            start = f"<{_PRIORITIES.get(record.levelno, 6)}>{self._process}: "
        else:
            start = (
                f"{self.formatTime(record, self.datefmt)} {record.levelname.lower()} {self._process}[{os.getpid()}]: "
            )
        return "".join(f"{start}{line}\n" for line in lines)


class _SinkHandler(logging.Handler):
    """Writes to a sink; what the sink does not take now is lost, for waiting would stop a server."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.sink.write(self.format(record).encode("utf-8", "backslashreplace"))
        except (TypeError, ValueError) as error:  # a record whose arguments do not fit: our bug, but not the exchange's
            self.sink.write(
                f"{record.pathname}:{record.lineno}: log record {record.msg!r}: {error}\n".encode(
                    "utf-8", "backslashreplace"
                )
            )
