"""
How a child comes into the world. The only place that forks.

Between the fork and the first line of the child's own: signals as a child takes them, everything closed that is not in
its heritage, a name, a log of its own, its code, privileges given up. A failure on the way is said on the channel, and the
child's end is its exit code; it never returns into the master's code.

Python objects of the master's that own descriptors (other children's channels, queues not lent) live on in the
child below the frames it was forked in; they are never finalised, since the child ends by ``os._exit``, so none
can close a number that has been given to somebody else.

``gc.freeze`` before the fork keeps what is inherited out of the child's collections, which would write to every
object and so copy every page.

Source: Varnish ``mgt_child.c`` (descriptors), CPython gc.freeze.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.master import privileges, signals
from edge.observe import error_log
from edge.share.channel import Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.config.tree import Config
    from edge.share.heritage import Heritage

    Main = Callable[[Heritage], int]


@dataclass(frozen=True, slots=True)
class Lazy:
    """
    A life that is imported in the child: the master stays without trio, and a reload brings no old code along.

    Imported before the child gives up its privileges: the program may lie where only its owner reads, and a failure is
    said in the words of what is missing.

    Attributes:
        module: has a function ``main``.
        also: modules that it will import when it runs.
    """

    module: str
    also: tuple[str, ...] = ()

    def load(self, config: Config) -> Main:
        """Import and return the function; the module's own ``prepare`` imports what only some configurations need."""
        for name in self.also:
            importlib.import_module(name)
        module = importlib.import_module(self.module)
        if hasattr(module, "prepare"):
            module.prepare(config)
        main: Main = module.main
        return main


class Unloadable(Exception):  # noqa: N818 - the sentence says what to do
    """What is on disk cannot be imported: it is not whole, or not what this master was begun with."""


SOFTWARE: Final = 70
"""Exit code for an error of our own (sysexits.h EX_SOFTWARE)."""
_OOM_SCORE: Final = "200"
"""The kernel, out of memory, should take a worker, which is replaced, before the master, which is not."""
_KEEPER_NICE: Final = 10

_log = logging.getLogger("edge.master")


def spawn(heritage: Heritage, main: Main | Lazy, somebody: privileges.Identity | None, keep: Iterable[int]) -> int:
    """
    Fork a child that runs *main*.

    Args:
        heritage: what it inherits.
        main: its life; returns its exit code.
        somebody: whom it becomes, or None.
        keep: descriptors that stay open in it besides those of its heritage and the standard three.

    Returns:
        Its pid, in the master; in the child this does not return.

    Raises:
        OSError: the kernel refused to fork.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()
    with signals.held_back():
        pid = os.fork()
        if pid == 0:
            _be_born(heritage, main, somebody, set(keep))
    gc.unfreeze()
    return pid


def inherited(heritage: Heritage) -> set[int]:
    """Return every descriptor the heritage names."""
    fds = {heritage.channel.fileno(), *heritage.bells.fds, *heritage.logs.values()}
    fds |= {heritage.fleet.page.fd, heritage.notices.page.fd}  # of the pages, those in which records are locked
    fds |= {sock.fileno() for _, sock in heritage.listeners}
    if heritage.admin is not None:
        fds.add(heritage.admin.fileno())
    return fds


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor that is not of *kept*."""
    floor = 0
    for fd in sorted(kept):
        if fd > floor:  # CPython hands an empty range on as "up to fd - 1"; for fd 0 that is every descriptor
            os.closerange(floor, fd)
        floor = max(floor, fd + 1)
    os.closerange(floor, os.sysconf("SC_OPEN_MAX"))


def _be_born(heritage: Heritage, main: Main | Lazy, somebody: privileges.Identity | None, keep: set[int]) -> None:
    code = SOFTWARE
    try:
        signals.as_child()
        close_all_but({0, 1, 2} | keep | inherited(heritage))
        _stdin_from_nothing()
        _settle_in(heritage)
        life = _load(main, heritage.config) if isinstance(main, Lazy) else main
        privileges.become(somebody)
        code = _live(heritage, life)
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the master's frames below us
        _last_words(heritage, error)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _load(main: Lazy, config: Config) -> Main:
    """
    Import a life.

    Raises:
        Unloadable: what is on disk is another program than ours, or is not whole.
    """
    try:
        return main.load(config)
    except (ImportError, SyntaxError, AttributeError) as error:
        raise Unloadable(
            f"the program on disk cannot be loaded ({type(error).__name__}: {error}): it is not whole, or another than the "
            "one that runs; once it is whole, send the master USR2"
        ) from error


def _live(heritage: Heritage, main: Main) -> int:
    try:
        return main(heritage)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)


def _settle_in(heritage: Heritage) -> None:
    is_keeper = heritage.place < 0
    name = "keeper" if is_keeper else f"worker {heritage.place}"
    privileges.name_process("edge-" + name.replace(" ", "-"))
    # No /proc, or a stricter kernel: it is only a preference.
    with contextlib.suppress(OSError), privileges.own_proc():
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    if is_keeper:
        with contextlib.suppress(OSError):  # a system call filter may refuse: it works as well, only less politely
            os.nice(_KEEPER_NICE)
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    config: Config = heritage.config
    fd = heritage.logs.get("errors")
    error_log.set_up(config.log.errors, level=config.log.level, process=name, fd=fd)
    faulthandler.enable()


def _stdin_from_nothing() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _last_words(heritage: Heritage, error: BaseException) -> None:
    with contextlib.suppress(Exception):
        is_starting = heritage.place >= 0 and not heritage.row.ready
        if isinstance(error, Unloadable) or (is_starting and isinstance(error, OSError)):
            _log.critical("cannot start: %s", error)  # the world's doing, not ours: a sentence says it
        else:
            _log.critical("ended by an error of its own", exc_info=error)
        if not heritage.row.ready:
            why = f"{error}" if isinstance(error, Unloadable) else f"{type(error).__name__}: {error}"
            heritage.channel.send(Word.FAILED, why.encode())
