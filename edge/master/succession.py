"""
``USR2``: another program takes the place of this one, and no socket closes meanwhile.

The old master forks and executes the command line it was started with, as it is installed now. The new one inherits the
listening sockets, systemd's too, and the shared pages, reads the configuration, and starts its workers beside the old
ones. When they are ready it says so; the old master tells systemd who is the service now, answers, asks its own
workers to leave and goes when they have. If the new program does not become ready, it is as if nothing had happened.

The will is JSON in one environment variable: descriptors by number, which both programs must understand across
versions. What the new one cannot use (a page laid out otherwise) it makes anew.

Source: nginx "Upgrading executable on the fly"; sd_notify(3) MAINPID=.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge.listen.listening import Listening
from edge.master import signals
from edge.master.estate import Estate
from edge.share.channel import Channel

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from edge.master.house import House
    from edge.master.regime import Regime

VARIABLE: Final = "EDGE_SUCCESSION"
READY_S: Final = 120.0
"""How long the new program may take until its workers are ready."""


@dataclass(slots=True)
class Successor:
    """
    The new program, seen from the old one.

    Attributes:
        ready_by: when our patience ends, monotonic.
        is_main: it has taken over.
    """

    pid: int
    channel: Channel
    ready_by: float
    is_main: bool = False


@dataclass(slots=True)
class Inheritance:
    """
    What the new program finds.

    Attributes:
        channel: to the old master; None if there is none: we were started, not succeeded to.
        estate: the old pages, or None if they do not fit.
        listening: the open sockets.
        generation: the last number given to a generation.
        origin_blocks, route_blocks: which counters each origin and route was lent.
        complaint: why the pages do not fit.
    """

    channel: Channel | None = None
    estate: Estate | None = None
    listening: Listening = field(default_factory=Listening)
    generation: int = 0
    origin_blocks: dict[str, int] = field(default_factory=dict)
    route_blocks: dict[str, int] = field(default_factory=dict)
    complaint: str = ""


def will(house: House, channel: Channel, generation: int, regime: Regime) -> dict[str, Any]:
    """Return what the new program is told."""
    return {
        "channel": channel.fileno(),
        "estate": house.estate.will(),
        "listening": house.listening.will(),
        "generation": generation,
        "origin_blocks": regime.origin_blocks,
        "route_blocks": regime.route_blocks,
    }


def begin(house: House, generation: int, regime: Regime, now_mono: float) -> Successor:
    """
    Start the new program.

    Raises:
        OSError: the kernel refused to fork. (A program that cannot be executed is one that dies.)
    """
    ours, theirs = Channel.pair()
    environ = {
        **os.environ,
        **house.notifier.variables(),
        VARIABLE: json.dumps(will(house, theirs, generation, regime)),
    }
    inherited = [theirs.fileno(), *house.estate.fds(), *house.listening.fds()]
    command = [sys.executable, *sys.orig_argv[1:]]
    try:
        with signals.held_back():
            pid = os.fork()
            if pid == 0:
                _execute(command, environ, inherited)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return Successor(pid, ours, now_mono + READY_S)


def _execute(command: list[str], environ: dict[str, str], inherited: list[int]) -> None:
    try:
        signals.as_new()
        for fd in inherited:
            os.set_inheritable(fd, True)
        os.execve(command[0], command, environ)  # noqa: S606 - the very command we were started with
    except OSError as error:
        os.write(2, f"cannot execute {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def inherit(environ: MutableMapping[str, str]) -> Inheritance:
    """
    Take what a master before us left, and take the variable out of *environ*.

    Raises:
        ValueError, KeyError: the will cannot be read at all; we must not start beside a master we cannot talk to.
    """
    text = environ.pop(VARIABLE, "")
    if not text:
        return Inheritance()
    left = json.loads(text)
    os.set_inheritable(left["channel"], False)
    found = Inheritance(
        channel=Channel(socket.socket(fileno=left["channel"])),
        listening=Listening.adopt(left["listening"]),
        generation=left["generation"],
        origin_blocks=left["origin_blocks"],
        route_blocks=left.get("route_blocks", {}),
    )
    try:
        found.estate = Estate.adopt(left["estate"])
    except (ValueError, KeyError, OSError) as error:
        found.complaint = str(error)
    return found
